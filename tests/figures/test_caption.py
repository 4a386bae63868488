"""The text beside a figure says what it shows, of how much, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.results import with_record
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.caption import caption
from landscape.figures.registry import FIGURES
from tests.support.results import record

ACCURACY = FIGURES.load("lth-accuracy")
LEVELS = FIGURES.load("barrier-levels")


def training(**changes):
    ds = TRAINING.example()
    ds["strategy"] = ("run", ["magnitude", "magnitude", "random"], ds["strategy"].attrs)
    ds["seed"] = ("run", [0.0, 1.0, 0.0], ds["seed"].attrs)
    one = {
        "kind": "training", "task": "mnist", "model": "lenet-300-100", "landscape": "0.1.0",
        "data": {"digest": "d", "examples": {"train": 55000, "test": 10000}}, **changes,
    }  # fmt: skip
    records = [{**one, "run": run, "identity": run * 5} for run in ds["run"].values.tolist()]
    return with_record(ds, {"kind": "training", "results": records})


def barrier(**changes):
    return with_record(BARRIER.example(), record(settings={"points": 5, "bn": "first"}, **changes))


def text(figure, ds, ids=("a1", "b2"), command="landscape figure x", **options):
    return caption(figure, ds, ids, command, **options)


def line(said, name):
    """What is said under a name, unfolded."""
    (found,) = [part for part in said.split("\n") if part.startswith(f"{name}: ")]
    rest = said.split(found)[1].split("\n")[1:]
    folded = [found.removeprefix(f"{name}: ")]
    for part in rest:
        if not part.startswith("  "):
            break
        folded.append(part.strip())
    return " ".join(folded)


def test_the_first_paragraph_is_a_caption():
    said = " ".join(text(ACCURACY, training()).split("\n\n")[0].split())
    assert said.startswith(
        "Test accuracy against the weights remaining, at early stop and at the end "
        "(after Frankle & Carbin 2019, figure 4). Solid lines are"
    )
    assert said.endswith(
        "Bars and bands run from the least to the greatest of the replicates. "
        "lenet-300-100 on mnist; 3 runs, 3 levels; 55000 train and 10000 test examples."
    )


def test_a_standard_deviation_is_called_one():
    said = text(ACCURACY, training(), spread="std")
    assert "one sample standard deviation to each side of the mean" in " ".join(said.split())
    assert "least" not in said


def test_a_figure_without_spread_speaks_of_none():
    said = text(LEVELS, barrier())
    assert "standard deviation" not in said
    assert "Bars and bands" not in said


def test_replicates_are_counted_with_their_seeds():
    alike = training()
    alike["density"][1] = alike["density"].values[0]
    assert line(text(ACCURACY, alike), "Replicates") == (
        "magnitude: 2 runs (seeds 0, 1); random: 1 run (seed 0)"
    )


def test_runs_that_are_drawn_apart_are_counted_apart():
    assert line(text(ACCURACY, training()), "Replicates") == (
        "magnitude: imp-a: 1 run (seed 0); magnitude: imp-b: 1 run (seed 1); random: 1 run (seed 0)"
    )


def test_what_has_no_replicates_counts_none():
    assert "Replicates: " not in text(LEVELS, barrier())


def test_runs_results_settings_and_the_command_are_named():
    said = text(LEVELS, barrier(), ("a1", "b2"), "landscape figure barrier-levels --run imp")
    assert line(said, "Results") == "a1, b2"
    assert line(said, "Settings") == "bn first, points 5"
    assert line(said, "Command") == "landscape figure barrier-levels --run imp"
    assert line(text(ACCURACY, training()), "Runs") == "imp-a, imp-b, random"
    assert line(said, "Software").startswith("landscape 0.1.0 (data), landscape ")
    assert "matplotlib" in line(said, "Software")


def test_runs_of_both_ends_are_named():
    ds = barrier().isel(pair=[0])
    ds = ds.assign_coords(pair=("pair", ["imp@0 other@3"], ds["pair"].attrs))
    ds = ds.assign_coords(run=("pair", ["imp"], ds["run"].attrs))
    assert line(text(LEVELS, ds), "Runs") == "imp, other"


def test_nothing_missing_is_said_as_such():
    assert line(text(ACCURACY, training()), "Missing") == "nothing"


def test_what_is_missing_is_counted_and_named():
    ds = training()
    ds["early_stop_test_error"][1, 2] = np.nan
    ds["final_test_error"][:] = np.nan
    ds["status"][2, 1:] = [1, 2]
    ds["test_loss"][:] = np.nan  # not drawn
    assert line(text(ACCURACY, ds), "Missing") == (
        "final_test_error unknown: all 9; early_stop_test_error unknown: 1 of 9 (imp-b 2); "
        "status diverged: 1 of 9 (random 1); status absent: 1 of 9 (random 2)"
    )


def test_many_missing_values_are_named_up_to_a_few():
    ds = training()
    ds["early_stop_test_error"][:2] = np.nan
    found = line(text(ACCURACY, ds), "Missing")
    assert found == (
        "early_stop_test_error unknown: 6 of 9 (imp-a 0, imp-a 1, imp-a 2, imp-b 0, …)"
    )


def test_a_subset_of_the_examples_is_said():
    data = {"digest": "d", "examples": {"train": 55000, "test": 10000}}
    for splits, words in (
        (["train"], "500 of 55000 train examples"),
        (["test", "train"], "500 of 10000 test and 500 of 55000 train examples"),
    ):
        asked = record(settings={"examples": 500, "splits": splits}, data=data)
        said = text(LEVELS, with_record(BARRIER.example(), asked))
        assert f"; {words}." in " ".join(said.split())


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_figure_has_a_caption_of_whole_sentences(name):
    figure = FIGURES.load(name)
    said = text(figure, figure.schema.example())
    assert said.endswith("\n")
    assert max(map(len, said.split("\n"))) <= 100
    assert figure.caption.endswith(".")
    assert set(figure.shows) <= set(figure.schema.variables)
    assert figure.shows
    assert figure.spread in ("", "range", "std")


def test_a_dataset_without_a_record_says_what_it_can():
    said = text(ACCURACY, TRAINING.example(), ())
    assert "3 runs, 3 levels." in " ".join(said.split("\n\n")[0].split())
    assert "Results: " not in said
    assert "Settings: " not in said
