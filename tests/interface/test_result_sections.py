"""The sections about results: what is drawn, what made it, what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from landscape.data_store.store import Store
from landscape.inventory import taken
from landscape.result_sections import MOST_ALIKE, SUBJECTS, answers, others
from landscape.stored import alike
from tests.support.reported import answer, fill, keep


@pytest.fixture
def store(small_store: Store, tmp_path: Path) -> Store:
    """A copy of the small store without results."""
    root = tmp_path / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)
    return Store(root)


@pytest.fixture(scope="module")
def filled(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the small store with a result of every kind."""
    root = tmp_path_factory.mktemp("filled") / "store"
    shutil.copytree(small_store.root, root)
    shutil.rmtree(root / "results", ignore_errors=True)
    fill(root)
    return Store(root)


def section(store: Store, name: str, runs: list[str] | None = None):
    found = taken(store, runs)
    subject = next(subject for subject in SUBJECTS if subject.name == name)
    return answers(found, alike(found.rows), subject)


def test_every_subject_draws_what_is_stored(filled: Store) -> None:
    for subject in SUBJECTS:
        found = section(filled, subject.name, ["imp"])
        assert found.charts, subject.name
        assert found.faults == [], subject.name
        for chart in found.charts:
            assert chart.commands[0].line.startswith(f"landscape {subject.kind} imp")
            assert chart.numbers.rows


def test_every_command_is_the_whole_question(filled: Store) -> None:
    lines = {
        subject.name: [c.line for c in section(filled, subject.name).charts[0].commands]
        for subject in SUBJECTS
    }
    assert lines == {
        "barriers": ["landscape barrier imp --points 5"],
        "sublevel": ["landscape sublevel imp"],
        "claims": ["landscape insights imp"],
        "volume": ["landscape volume imp"],
        "overlap": ["landscape overlap imp"],
        "truth": ["landscape overlap imp --planted"],
        "tickets": ["landscape tickets imp"],
    }
    assert section(filled, "barriers").charts[0].asked == "points 5"


def test_what_is_not_stored_is_named_with_its_command(store: Store) -> None:
    keep(store.root, "barrier", ["imp@0", "imp@1"], points=5)
    found = section(store, "barriers")
    assert [(c.line, c.says) for c in found.missing] == [
        ("landscape barrier imp", "1 of 2 stored"), ("landscape barrier random", ""),
    ]  # fmt: skip
    nothing = section(store, "volume")
    assert nothing.says.endswith("Nothing is stored of these runs.")
    assert [c.line for c in nothing.missing] == [
        "landscape volume imp", "landscape volume random",
    ]  # fmt: skip


def test_planted_tickets_are_missed_only_where_something_is_planted(store: Store) -> None:
    for name in ("truth", "tickets"):
        assert section(store, name).missing == []


def test_the_claims_are_asked_of_runs_of_imp(store: Store) -> None:
    assert [c.line for c in section(store, "claims").missing] == ["landscape insights imp"]


def test_undecided_claims_name_what_would_decide_them(store: Store) -> None:
    ds = answer("insights", ["imp@0"])
    missing = ds["missing"].values.astype("U90")
    missing[:] = ""
    missing[0, 1] = "landscape branch imp@0 --name x; landscape branch imp@0 --name y"
    ds = ds.assign(missing=(ds["missing"].dims, missing, ds["missing"].attrs))
    keep(store.root, "insights", ["imp@0"], ds=ds)
    lines = [c.line for c in section(store, "claims").missing]
    assert lines == ["landscape branch imp@0 --name x", "landscape branch imp@0 --name y"]


def test_other_ways_of_asking_are_charts_of_their_own(store: Store) -> None:
    keep(store.root, "volume", ["imp@0"], rays=5)
    keep(store.root, "volume", ["imp@0"], rays=7)
    charts = section(store, "volume").charts
    assert [chart.asked for chart in charts] == ["rays 5", "rays 7"]
    assert {chart.title for chart in charts} == {"Volumes"}
    keep(store.root, "volume", ["far@0"], task="mnist")
    titles = [chart.title for chart in section(store, "volume").charts]
    assert "Volumes: mnist, mlp:64-20-10" in titles


def test_too_many_ways_are_cut_and_said(store: Store) -> None:
    for rays in range(2, MOST_ALIKE + 4):
        keep(store.root, "volume", ["imp@0"], rays=rays)
    found = section(store, "volume")
    assert len(found.charts) == MOST_ALIKE
    assert f"The first {MOST_ALIKE} of {MOST_ALIKE + 2} ways" in found.says


def test_many_runs_are_told_apart_by_strategy(store: Store) -> None:
    for i in range(9):
        keep(store.root, "volume", [f"gone-{i}@0"])
    keep(store.root, "volume", ["imp@0"])
    names = {line.name for line in section(store, "volume").charts[0].panels[0].lines}
    assert "magnitude, monte-carlo" in names
    assert "gone-0, monte-carlo" in names


def test_results_of_another_shape_are_said_and_not_drawn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store.root, "volume", ["imp@0"])

    def broken(_ds: object) -> None:
        raise KeyError("split")

    monkeypatch.setattr("landscape.figures.report.volumes.volumes", broken)
    found = section(store, "volume")
    assert found.charts == []
    assert found.faults == ["volume results of an unknown shape: 'split'"]


def test_kinds_that_are_not_drawn_are_listed(filled: Store) -> None:
    (chart,) = others(alike(taken(filled, None).rows)).charts
    assert chart.numbers.rows == [["curvature", 1.0, 3.0]]
    assert chart.commands[0].line == "landscape ls results --where kind=curvature"
    assert others([]).charts == []
