"""One process does all its work within one moment of another: every such moment, in order."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import landscape
from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Store
from tests.support.children import Job, Tell
from tests.support.kills import SETTINGS
from tests.support.meetings import meetings, no_temporaries, numbers, reader, training

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one run, ``run-0``, trained where nobody else was."""
    store = landscape.open(tmp_path_factory.mktemp("alone") / "store")
    landscape.train(store=store, name="run-0", seed=0, **SETTINGS)
    return store


def opening(root: Path) -> Job:
    """A process that opens a store, and says what its manifest holds."""
    return lambda tell: layout.manifest(landscape.open(root).root).read_bytes()


@pytest.mark.parametrize("there", [True, False])
def test_at_any_moment_of_a_first_use_another_may_make_the_store(
    tmp_path: Path, there: bool
) -> None:
    def first(root: Path) -> Job:
        if there:
            root.mkdir()
        return opening(root)

    for _, met in meetings(tmp_path, first, opening, None):
        assert met.second[0].returned() == met.first


MOMENTS = pytest.mark.parametrize("few", [8, pytest.param(None, marks=pytest.mark.slow)])


@MOMENTS
def test_at_any_moment_of_training_another_may_start_the_same_run(
    known: Store, tmp_path: Path, few: int | None
) -> None:
    expected = numbers(known)

    def start(root: Path) -> Job:
        return training(root, "run-0", 0)

    for root, met in meetings(tmp_path, start, start, few):
        second = met.second[0]
        if second.error is None:
            assert second.returned() == [0, 1, 2]
        else:
            assert isinstance(second.error, LandscapeError), second.trace
            assert "run 'run-0' is being written by" in str(second.error)
        assert met.first == [0, 1, 2]
        assert numbers(Store(root)) == expected
        no_temporaries(root)


@MOMENTS
def test_at_any_moment_of_training_another_may_read(
    known: Store, tmp_path: Path, few: int | None
) -> None:
    looker = reader(tmp_path, known)

    def look(root: Path) -> Job:
        return replace(looker, root=root).look

    for root, met in meetings(tmp_path, lambda root: training(root, "run-0", 0), look, few):
        met.second[0].returned()
        assert numbers(Store(root)) == numbers(known)


@MOMENTS
def test_at_any_moment_of_an_analysis_another_may_ask_the_same(
    known: Store, tmp_path: Path, few: int | None
) -> None:
    run = known["run-0"]

    def ask(root: Path) -> Job:
        return lambda tell: landscape.barrier(run[0], run[1], store=landscape.open(root), points=3)

    for root, met in meetings(tmp_path, ask, ask, few):
        assert met.first.identical(met.second[0].returned())
        no_temporaries(root)


@MOMENTS
def test_at_any_moment_of_a_catalogue_rebuild_another_may_rebuild_it(
    known: Store, tmp_path: Path, few: int | None
) -> None:
    expected = Catalog(known.root).rows("runs")

    def ask(root: Path) -> Job:
        def job(tell: Tell) -> list[dict[str, Any]]:
            layout.index(root).unlink(missing_ok=True)
            return Catalog(root).rows("runs")

        return job

    def copied(root: Path) -> Job:
        shutil.copytree(known.root, root)
        return ask(root)

    for _, met in meetings(tmp_path, copied, ask, few):
        assert met.first == met.second[0].returned() == expected
