"""Dask clusters of this machine, whose parts are processes that end with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import distributed

PRE_SPAWN = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON"


@contextmanager
def process(*words: str, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of a cluster, which ends with the test."""
    with (cwd / f"{words[0]}.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            cwd=cwd,
            env=os.environ | {"DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "30s"} | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield started
        finally:
            for signum in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(started.pid, signum)
                    started.wait(5)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def scheduler(cwd: Path, **environment: str) -> Iterator[str]:
    """The address of a scheduler whose jobs may take one worker with them."""
    port = free_port()
    words = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"
    with process(*words, cwd=cwd, **environment):
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def worker(address: str, cwd: Path, *more: str, **environment: str) -> Iterator[int]:
    """A worker of one thread, with a nanny that starts it again; the nanny's process."""
    words = ("worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", ".")
    environment = {PRE_SPAWN: '{"MALLOC_TRIM_THRESHOLD_": None}'} | environment
    with process(*words, *more, cwd=cwd, **environment) as started:
        yield started.pid


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """The address of a scheduler with workers, all of which were started in `folder`."""
    with ExitStack() as stack:
        address = stack.enter_context(scheduler(folder))
        for _ in range(workers):
            stack.enter_context(worker(address, folder))
        with client_of(address, workers):
            pass
        yield address


@contextmanager
def client_of(address: str, workers: int) -> Iterator[Any]:
    """A client of a cluster that has this many workers."""
    with distributed.Client(address, timeout=20, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=25)
        yield client


def pids(address: str) -> list[int]:
    """The processes of the workers."""
    with client_of(address, 1) as client:
        return list(client.run(os.getpid).values())
