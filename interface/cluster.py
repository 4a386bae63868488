"""A cluster: the steps of an experiment, done by the workers of a Dask scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from importlib import import_module

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.version import own_version
from landscape.dispatch import Client, Dispatch, elsewhere
from landscape.reach import identity, unreachable
from landscape.steps import Executor, Place, Report, Reporter, Step

PATIENCE = 10
"""Seconds that a scheduler has to answer."""

ABSENCE = 60
"""Seconds that a scheduler which was there has to come back."""

_TRIM, _MANY = "MALLOC_TRIM_THRESHOLD_", 2**24  # bytes that are kept rather than given back

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:[0-9]+")


def on_cluster(address: str) -> Executor:
    """What has the steps done by a cluster, each by a worker, in one thread.

    A step begins as soon as the level that it needs is finished. What it makes is written to the
    store by the worker, which must reach the store under the same path; only reports travel. A
    step that fails does not stop the others. One whose worker dies is done again by another; if it
    takes too many with it (Dask's ``allowed-failures``), it is tried once more, alone, when the
    others are done, and fails if that ends so as well.

    Parameters
    ----------
    address
        Of the scheduler, as ``tcp://HOST:PORT``.

    Raises `UsageError` if `address` is none; the steps, begun, `LandscapeError` if the scheduler
    does not answer within `PATIENCE`, ends and is not back within `ABSENCE`, and if the scheduler
    or a worker has another version of landscape, or a worker cannot reach the store.
    """
    if not _ADDRESS.fullmatch(address):
        raise UsageError(f"{address!r} is no address of a scheduler; write it as tcp://HOST:PORT")

    def execute(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
        there, left, failed = elsewhere(place), list(steps), dict[str, str]()
        while True:
            with _connected(address) as client:
                _require_alike(client, address)
                _require_reach(client, there)
                for told in _slowness(client):
                    report(Report(left[0].name, "warning", told))
                if not client.nthreads():
                    text = f"the cluster at {address} has no workers yet; waiting for them"
                    report(Report(left[0].name, "warning", text))
                dispatch = Dispatch(client, there, report)
                is_whole = dispatch.carry_out(left)
            failed |= dispatch.failed
            if is_whole:
                return failed
            left = [step for step in left if step.name not in dispatch.ended]
            warning = f"the cluster at {address} is gone; waiting for its scheduler to come back"
            report(Report(left[0].name, "warning", warning))
            _await_return(address)

    return execute


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A connection to a scheduler; what is not done when it closes is called off."""
    dask, utils = import_module("distributed"), import_module("distributed.utils")
    with utils.silence_logging_cmgr(logging.CRITICAL):  # what is wrong is said in a sentence
        try:
            _require_answer(address)
            client = dask.Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise LandscapeError(
                f"the cluster at {address} does not answer within {PATIENCE} seconds; give the "
                "address that its scheduler printed when it was started"
            ) from error
        try:
            yield client
        finally:
            client.close()


def _require_answer(address: str) -> None:
    """Raise `OSError` or `TimeoutError` without an answer, `LandscapeError` without a scheduler."""
    with futures.ThreadPoolExecutor(1) as beside:  # a notebook has a loop of its own
        asked = beside.submit(asyncio.run, asyncio.wait_for(_identified(address), PATIENCE))
        try:
            asked.result()
        except (OSError, TimeoutError):
            raise
        except Exception as error:  # a web page read as a message is one of 3 EiB
            raise LandscapeError(
                f"what answers at {address} is no Dask scheduler; give the address that the "
                "scheduler printed when it was started, not that of its dashboard"
            ) from error


def _slowness(client: Client) -> Iterator[str]:
    """What makes workers slow that need not be so."""
    set_to = client.run(os.getenv, _TRIM)
    slow = [
        name for name, value in set_to.items() if value and value.isdigit() and int(value) < _MANY
    ]
    if slow:
        yield (
            f"{len(slow)} of {len(set_to)} workers have {_TRIM}={set_to[slow[0]]}, which Dask sets "
            "and under which torch takes up to 1.4 times as long; start them with "
            "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON='{\"MALLOC_TRIM_THRESHOLD_\": None}'"
        )


def _await_return(address: str) -> None:
    """Wait until a scheduler answers again; raise `LandscapeError` if it does not."""
    end = time.monotonic() + ABSENCE
    while True:
        try:
            return _require_answer(address)
        except (OSError, TimeoutError) as error:
            if time.monotonic() > end:
                raise LandscapeError(
                    f"the cluster at {address} is gone; what was finished is stored, the same "
                    "command goes on"
                ) from error
            time.sleep(1)


async def _identified(address: str) -> None:
    """Ask a scheduler who it is: `Client` waits for ever for one that listens and says nothing."""
    core = import_module("distributed.core")
    keys = import_module("distributed").Security().get_connection_args("client")
    line = await core.connect(address, timeout=PATIENCE, **keys)
    try:
        await core.send_recv(line, op="identity")
    finally:
        line.abort()


def _require_alike(client: Client, address: str) -> None:
    """Raise `LandscapeError` unless scheduler and workers have this version of landscape."""

    def theirs() -> str:  # sent as it is: a function of a module needs our module over there
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"landscape {version('landscape-workbench')}"
        except PackageNotFoundError:
            return "no landscape"

    ours = f"landscape {own_version()}"
    found = {f"the scheduler at {address}": client.run_on_scheduler(theirs)}
    found |= {f"worker {name}": has for name, has in client.run(theirs).items()}
    for who, has in found.items():
        if has != ours:
            raise LandscapeError(f"{who} has {has}, and this is {ours}; install the same there")


def _require_reach(client: Client, place: Place) -> None:
    """Raise `LandscapeError` unless every worker reaches the store, with a process for each job."""
    root = place.store.root
    for name, fault in client.run(unreachable, root, identity(root)).items():
        if fault:
            raise LandscapeError(f"worker {name} {fault}")
    for name, threads in client.nthreads().items():
        if threads != 1:
            raise LandscapeError(
                f"worker {name} does {threads} jobs in one process, where torch and its "
                "threads are shared; start workers with --nthreads 1, and as many as there are "
                "cores"
            )
