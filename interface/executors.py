"""What does the steps of an experiment: this process, processes of this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from landscape.data_store.errors import UsageError
from landscape.in_turn import in_turn
from landscape.steps import Executor


@contextmanager
def executor(jobs: int | None = None, scheduler: str | None = None) -> Iterator[Executor]:
    """What does the steps, for as long as the context lasts.

    Parameters
    ----------
    jobs
        Steps done side by side: 1 is in this process, more are processes of this machine. None:
        as `landscape.local_cluster.cores` counts.
    scheduler
        Address of a Dask cluster that does them instead.

    Raises `UsageError` if both are given, and as `landscape.cluster.on_cluster` does.
    """
    if scheduler is not None:
        from landscape.cluster import on_cluster

        if jobs is not None:
            raise UsageError(
                f"jobs = {jobs} is of this machine, and the cluster at {scheduler} has workers of "
                "its own; give one of the two"
            )
        yield on_cluster(scheduler)
        return
    if jobs == 1:
        yield in_turn
        return
    from landscape.local_cluster import cores, side_by_side

    with side_by_side(jobs or cores()) as execute:
        yield execute
