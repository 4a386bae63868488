"""Executors: which one is given for jobs and a scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from landscape import cluster, local_cluster
from landscape.data_store.errors import UsageError
from landscape.executors import executor
from landscape.in_turn import in_turn


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What processes and clusters were asked for, and which ended; none is started."""
    found: list[Any] = []

    @contextmanager
    def side_by_side(jobs: int) -> Iterator[str]:
        found.append(jobs)
        yield f"{jobs} processes"
        found.append("ended")

    monkeypatch.setattr(local_cluster, "side_by_side", side_by_side)
    monkeypatch.setattr(local_cluster, "cores", lambda: 5)
    return found


def test_one_job_is_in_this_process(entered: list[Any]) -> None:
    with executor(1) as execute:
        assert execute is in_turn
    assert entered == []


@pytest.mark.parametrize(("jobs", "count"), [(2, 2), (7, 7), (None, 5)])
def test_more_are_processes_that_end_with_the_context(
    jobs: int | None, count: int, entered: list[Any]
) -> None:
    with executor(jobs) as execute:
        assert execute == f"{count} processes"
        assert entered == [count]
    assert entered == [count, "ended"]


def test_an_address_is_a_cluster(entered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "on_cluster", lambda address: f"cluster at {address}")
    with executor(scheduler="tcp://host:1") as execute:
        assert execute == "cluster at tcp://host:1"
    assert entered == []


def test_a_cluster_has_workers_of_its_own() -> None:
    sentence = (
        r"jobs = 2 is of this machine, and the cluster at tcp://host:1 has workers of its own; "
        "give one of the two"
    )
    with pytest.raises(UsageError, match=sentence), executor(2, "tcp://host:1"):
        pass
    with (
        pytest.raises(UsageError, match="'host' is no address of a scheduler"),
        executor(scheduler="host"),
    ):
        pass


def test_what_is_raised_inside_is_passed_on(entered: list[Any]) -> None:
    with pytest.raises(KeyboardInterrupt), executor(1):
        raise KeyboardInterrupt
