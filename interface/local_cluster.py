"""A cluster of this machine: processes that do the steps of an experiment side by side."""

from __future__ import annotations

import logging
import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from landscape.data_store.errors import LandscapeError
from landscape.dispatch import Client, Dispatch, elsewhere
from landscape.steps import Executor, Place, Reporter, Step

PATIENCE = 60
"""Seconds that a process has to begin."""

_SETTINGS: Mapping[str, Any] = {
    "distributed.nanny.pre-spawn-environ": {  # without the MALLOC_TRIM_THRESHOLD_ that slows torch
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
    "distributed.scheduler.allowed-failures": 1,  # then it is tried alone
    "distributed.scheduler.worker-saturation": 1.0,  # none waits at a worker, to die with it
    "distributed.scheduler.http.routes": [],  # nobody is told anything
    "distributed.worker.http.routes": [],
    "distributed.admin.low-level-log-length": 1000,  # what the scheduler remembers stays small
    "distributed.admin.tick.limit": "1h",  # torch may hold the interpreter as long as it likes
    "distributed.worker.memory.target": False,  # nothing is kept that could be moved to disk
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # what a step has taken is not given back
    "distributed.worker.memory.terminate": 0.95,
}


@contextmanager
def side_by_side(jobs: int) -> Iterator[Executor]:
    """What has the steps done by at most `jobs` processes, each step by one, in one thread.

    The processes begin with the first step, and end with the context, or with this process. A step
    begins as soon as the level that it needs is finished; one that fails does not stop the others.
    One whose process dies is done again, and if that dies too once more, alone, when the others are
    done. A process may take its share of the memory of the machine, and is stopped if it takes
    more. Nobody else on the machine can give them work.

    The numbers are those of `landscape.in_turn.in_turn`. A script that calls this must have its
    own beginning under ``if __name__ == "__main__"``, since the processes import it.
    """
    with ExitStack() as stack:
        started: list[tuple[Any, Client]] = []

        def execute(steps: Sequence[Step], place: Place, report: Reporter) -> dict[str, str]:
            if not started:
                started.append(stack.enter_context(_cluster(jobs)))
            cluster, client = started[0]
            processes = _Processes(cluster, max(len(cluster.workers), min(jobs, len(steps))))
            processes.tend()
            _await_one(client)
            dispatch = Dispatch(client, elsewhere(place), report, processes.tend)
            if not dispatch.carry_out(steps):
                raise LandscapeError(
                    "the sweep's scheduler ended; what was finished is stored, the same command "
                    "goes on"
                )
            return dispatch.failed

        yield execute


def cores() -> int:
    """How many steps go side by side on this machine: a GPU each, or else a core."""
    import torch

    count: int = import_module("dask.system").CPU_COUNT
    return torch.cuda.device_count() or count


@contextmanager
def _cluster(jobs: int) -> Iterator[tuple[Any, Client]]:
    """A cluster of no processes yet, whose messages are encrypted, and its client."""
    memory = import_module("distributed.system").MEMORY_LIMIT
    dask, distributed = import_module("dask"), import_module("distributed")
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls://",
                security=distributed.Security.temporary(),
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                memory_limit=memory // jobs,
                silence_logs=logging.CRITICAL,
            )
        )
        multiprocessing.resource_tracker.ensure_running()  # that would let its starter hear again
        cluster.sync(_no_interrupts)
        yield cluster, stack.enter_context(distributed.Client(cluster, set_as_default=False))


async def _no_interrupts() -> None:
    """Have the thread that starts the processes, and so these, not see Ctrl-C while they begin."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Processes:
    """So many processes, whatever happens to them.

    Dask begins one that dies anew, unless it dies while it begins.
    """

    def __init__(self, cluster: Any, count: int) -> None:
        self._cluster, self._count = cluster, count
        self._dead: set[object] = set()

    def tend(self) -> None:
        """Let go of those that were dead the last time too, and have others begin for them."""
        there = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        dead = {
            name
            for name, nanny in list(self._cluster.workers.items())
            if name not in there and not (nanny.process and nanny.process.is_alive())
        }
        for name in dead & self._dead:
            self._cluster.worker_spec.pop(name, None)
        self._dead = dead
        self._cluster.scale(self._count)


def _await_one(client: Client) -> None:
    """Wait for a process to be there; raises `LandscapeError` if none is in a minute."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise LandscapeError(
            f"no process to work in has begun within {PATIENCE} seconds; a script that has some "
            'begin needs its own beginning under if __name__ == "__main__", and --jobs 1 is '
            "without any"
        ) from error
