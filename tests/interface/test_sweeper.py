"""Sweeps: everything once, what is done passed over, failures that stay alone, answers joined."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landscape
from landscape.agenda import agenda
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.truth import planted_density
from landscape.executors import executor
from landscape.experiment import Ask, Experiment, Offshoot, Plant, Variant
from landscape.in_turn import in_turn
from landscape.steps import Place, Report
from landscape.sweeper import gather, sweep
from tests.support.sweeps import (
    BLOBS,
    DIGITS,
    SEEK,
    TINY,
    Doer,
    Study,
    carried_out,
    copied,
    nothing,
)


@pytest.fixture(autouse=True)
def _layers_may_be_emptied() -> Iterator[None]:
    """So small a network loses whole layers now and then, of which training warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A grid of runs that begin dense."""
    return carried_out(DIGITS, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def seek(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A grid of runs that begin at a planted network."""
    return carried_out(SEEK, tmp_path_factory.mktemp("seek"))


def test_every_step_is_done_once_each_after_the_one_it_needs(digits: Study, seek: Study) -> None:
    for experiment, study in ((DIGITS, digits), (SEEK, seek)):
        steps = agenda(experiment, study.place.store).steps
        assert study.done == [step.name for step in steps]
        assert len(set(study.done)) == len(steps)
        places = {name: i for i, name in enumerate(study.done)}
        assert all(places[s.parent[0]] < places[s.name] for s in steps if s.parent)
        assert [report.run for report in study.heard if report.what == "done"] == study.done
        assert (study.swept.failed, study.swept.missing) == ({}, ())
    assert len(digits.done) == 8 + 16
    assert len(seek.done) == 1 + 8 + 8


def test_the_answers_are_those_of_the_analyses(digits: Study) -> None:
    store = digits.place.store
    line = digits.swept["line"]
    assert line.sizes["pair"] == 8
    for i, name in enumerate(line.run.values):
        alone = landscape.ask("barrier", f"{name}@0", f"{name}@last", store=store, points=5)
        np.testing.assert_array_equal(line.loss_barrier.values[i], alone.loss_barrier.values[0])
        config = store[str(name)].config
        one = line.isel(pair=i)
        assert (str(one.criterion.values), float(one.pruning_fraction), int(one.seed)) == (
            config.criterion, config.pruning_fraction, config.seed
        )  # fmt: skip
    overlap = digits.swept["overlap"].sel(criterion="magnitude").sel(pruning_fraction=0.5)
    assert overlap.seed.values.tolist() == [0, 1]
    assert list(digits.swept) == ["overlap", "line"]
    assert len(digits.swept) == 2


def test_the_planted_density_is_found_and_the_truth_compared_with(seek: Study) -> None:
    store = seek.place.store
    planted = planted_density(store["seek-circle"], True)
    ds = seek.swept["overlap"]
    assert ds.sizes["pair"] == 4 * 1 + 4 * 3
    found = ds.sel(asked_density="planted")
    assert set(found.target_density.values) == {planted}
    run = store["seek-circle-random-singleshot-dplanted"]
    assert run.config.density == planted
    assert run.description["branch"]["mask"] == "dense"
    truth = store["seek-circle"][0].mask
    of_run = ds.isel(pair=[str(r) == run.name for r in ds.run.values]).sel(layer="all")
    mask = run[0].mask
    assert float(of_run.kept_both[0]) == np.count_nonzero(truth.kept & mask.kept & mask.covered)
    assert float(of_run.recall[0]) == of_run.kept_both[0] / np.count_nonzero(
        truth.kept & truth.covered
    )
    last = store["seek-circle-random-multishot-d0.5"].level(2)
    assert last.trace.column("step")[-1] == 40
    assert set(ds.plant.values) == {"circle"}


def test_what_is_done_is_only_read(digits: Study, seek: Study) -> None:
    for experiment, study in ((DIGITS, digits), (SEEK, seek)):
        before = {p: p.stat().st_mtime_ns for p in study.place.store.root.rglob("*.h5")}
        again = sweep(experiment, study.place, nothing)
        stored = gather(agenda(experiment, study.place.store), study.place)
        for other in (again, stored):
            assert (other.failed, other.missing) == ({}, ())
            xr.testing.assert_identical(other.runs, study.swept.runs)
            for name in study.swept:
                xr.testing.assert_identical(other[name], study.swept[name])
        assert before == {p: p.stat().st_mtime_ns for p in study.place.store.root.rglob("*.h5")}


def test_a_sweep_goes_on_with_what_is_missing(digits: Study, tmp_path: Path) -> None:
    place = copied(digits.place, tmp_path)
    gone = "a-s0-random-pruning-fraction0.5"
    shutil.rmtree(layout.run_folder(place.store.root, gone))
    (answer, *_) = sorted(layout.results(place.store.root).glob("overlap/*/*.nc"))
    left = gather(agenda(DIGITS, place.store), place)
    assert set(left.missing) == {gone, f"{gone} overlap", f"{gone} line"}
    assert left.runs.sizes["run"] == 7
    assert left["line"].sizes["pair"] == 7
    answer.unlink()
    doer = Doer([])
    swept = sweep(DIGITS, place, doer)
    assert {gone, f"{gone} overlap", f"{gone} line"} <= set(doer.done)
    assert len(doer.done) in (3, 4)  # the answer that was removed may have been of the run
    for name in swept:
        xr.testing.assert_equal(swept[name], digits.swept[name])


def test_a_damaged_level_is_made_again(digits: Study, tmp_path: Path) -> None:
    place = copied(digits.place, tmp_path)
    name = "a-s1-magnitude-pruning-fraction0.2"
    level = layout.level_file(place.store.root, name, 1)
    image = level.read_bytes()
    level.write_bytes(image[:-1] + bytes([image[-1] ^ 1]))
    doer = Doer([])
    swept = sweep(DIGITS, place, doer)
    assert name in doer.done
    assert (swept.failed, swept.missing) == ({}, ())
    assert level.read_bytes() == image


def test_a_run_that_fails_is_listed_and_the_rest_completes(tmp_path: Path) -> None:
    experiment = Experiment(
        "a",
        {**TINY, "optimizer": "sgd"},
        grid={"lr": (1e30, 0.1)},
        asks=(Ask("overlap", "overlap"),),
    )
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    swept = sweep(experiment, place, in_turn)
    assert list(swept.failed) == ["a-lr1e30", "a-lr1e30 overlap"]
    assert "diverged" in swept.failed["a-lr1e30"]
    assert "which it asks about, is not there" in swept.failed["a-lr1e30 overlap"]
    assert swept.missing == tuple(swept.failed)
    assert swept.runs.run.values.tolist() == ["a-lr0.1"]
    assert swept["overlap"].lr.values.tolist() == [0.1]
    again = sweep(experiment, place, in_turn)
    assert again.failed == swept.failed


def test_a_name_that_another_run_has_fails_alone(tmp_path: Path) -> None:
    experiment = Experiment("a", TINY, grid={"lr": (0.1, 0.2)})
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    landscape.train(store=place.store, name="a-lr0.1", **{**TINY, "lr": 0.3})
    swept = sweep(experiment, place, in_turn)
    assert list(swept.failed) == ["a-lr0.1"]
    assert "exists with lr = 0.3, not 0.1" in swept.failed["a-lr0.1"]
    assert swept.missing == ("a-lr0.1",)


def test_another_planted_network_of_the_name_is_refused(seek: Study, tmp_path: Path) -> None:
    place = copied(seek.place, tmp_path)
    other = replace(SEEK, plants=(replace(SEEK.plants[0], settings={"depth": 3, "width": 24}),))
    swept = sweep(other, place, in_turn)
    assert "exists and is not this planted network" in swept.failed["seek-circle"]


def test_a_network_that_cannot_be_planted_fails_with_its_runs(tmp_path: Path) -> None:
    narrow = Plant("narrow", "circle", {"depth": 3, "width": 2})
    experiment = replace(SEEK, plants=(narrow,), grid={"criterion": ("random",)}, rules=(), asks=())
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    swept = sweep(experiment, place, in_turn)
    assert list(swept.failed) == ["seek-narrow", "seek-narrow-random"]
    assert "where it begins, is not there" in swept.failed["seek-narrow-random"]


def test_what_would_fail_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    experiment = Experiment("a", TINY, grid={"model": ("mlp:64-20-10", "mlp:63-20-10")})
    store = landscape.open(tmp_path / "s")
    with pytest.raises(LandscapeError, match="mlp:63-20-10 takes 63 inputs"):
        sweep(experiment, Place(store), nothing)
    assert list(store) == []


def test_a_sweep_of_variants_and_branches(tmp_path: Path) -> None:
    experiment = Experiment(
        "a",
        {**TINY, "rewind_epoch": 0},
        (Variant("v", {"criterion": "random"}),),
        (Offshoot("b", 1, "each", {"retrain": "reinit"}),),
        asks=(Ask("overlap", "overlap", {}, (0, "last.rewind")),),
    )
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    swept = sweep(experiment, place, in_turn)
    assert swept.failed == {}
    assert swept.runs.run.values.tolist() == ["a", "a-v", "a-b", "a-b-v"]
    assert swept["overlap"].variant.values.tolist() == ["", "v", "", "v"]
    assert swept["overlap"].branch.values.tolist() == ["", "", "b", "b"]
    assert sweep(experiment, place, nothing).missing == ()


@pytest.mark.slow
def test_processes_come_to_the_same_answers(seek: Study, tmp_path: Path) -> None:
    place = Place(landscape.open(tmp_path / "s"), threads=1)
    heard: list[Report] = []
    with executor(2) as execute:
        swept = sweep(SEEK, place, execute, heard.append)
    assert swept.failed == {}
    assert {report.run for report in heard if report.what == "done"} == set(seek.done)
    for name in swept:
        xr.testing.assert_equal(swept[name], seek.swept[name])
    xr.testing.assert_equal(swept.runs, seek.swept.runs)


def test_somebodys_code_is_named_again_for_the_analyses(tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(BLOBS)
    settings = {**TINY, "task": f"{tmp_path / 'my_task.py'}:blobs", "model": "mlp:3-4-2"}
    settings |= {"batch_size": 4}
    experiment = Experiment(
        "a", settings, grid={"lr": (0.1,)}, asks=(Ask("line", "barrier", {"points": 3}),)
    )
    swept = sweep(experiment, Place(landscape.open(tmp_path / "s"), threads=1), in_turn)
    assert swept.failed == {}
    assert swept["line"].sizes["pair"] == 1


def test_from_python_by_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "a"\n[train]\ntask = "digits"\nmodel = "mlp:64-20-10"\nlevels = 2\n'
        "iterations = 20\n[quick]\nlevels = 1\n[grid]\nlr = [0.1, 0.2]\n"
        '[[analysis]]\nkind = "overlap"\nquick = false\n'
    )
    store = landscape.open(tmp_path / "s")
    before = landscape.sweep(path, store=store, only_stored=True)
    assert before.missing == ("a-lr0.1", "a-lr0.2", "a-lr0.1 overlap", "a-lr0.2 overlap")
    assert (list(before), before.runs.sizes["run"]) == ([], 0)
    swept = landscape.sweep(path, store=store)
    assert swept["overlap"].lr.values.tolist() == [0.1, 0.2]
    after = landscape.sweep(path, store=store, only_stored=True)
    xr.testing.assert_identical(after["overlap"], swept["overlap"])
    assert landscape.sweep(path, store=store, quick=True).runs.run.values.tolist() == [
        "a-quick-lr0.1",
        "a-quick-lr0.2",
    ]
