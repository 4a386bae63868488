"""Grids: all combinations in order, what follows from them, names, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.address import is_run_name
from landscape.data_store.errors import UsageError
from landscape.sweep_grid import Rule, cells

GRID = {
    "criterion": ["random", "edge-popup"],
    "densities": ["singleshot", "multishot"],
    "density": ["planted", 0.01, 1.0],
}


def test_every_combination_once_the_last_setting_fastest() -> None:
    found = cells(GRID)
    assert [tuple(cell.values.values()) for cell in found] == list(
        itertools.product(*GRID.values())
    )
    assert all(cell.settings == cell.values for cell in found)


def test_names_have_the_values_in_the_order_of_the_grid() -> None:
    assert [cell.name for cell in cells(GRID)][:4] == [
        "random-singleshot-dplanted",
        "random-singleshot-d0.01",
        "random-singleshot-d1",
        "random-multishot-dplanted",
    ]
    turned = {name: GRID[name] for name in ("density", "criterion")}
    assert cells(turned)[-1].name == "d1-edge-popup"


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("lr", 1e-5, "lr1e-05"),
        ("lr", 0.1, "lr0.1"),
        ("lr", 1e30, "lr1e30"),
        ("iterations", 2820, "iterations2820"),
        ("batch_size", 32, "batch-size32"),
        ("density", 1, "d1"),
        ("density", 0.123456789, "d0.123456789"),
        ("density", "planted", "dplanted"),
        ("nested", True, "nested"),
        ("nested", False, ""),
        ("task", "circle:noise=0.1", "circle-noise-0.1"),
        ("task", "my/Tasks.py:blobs", "my-tasks.py-blobs"),
        ("exclude", ["output", "fc1.weight"], "exclude-output-fc1.weight"),
        ("exclude", [], "exclude-none"),
        ("snapshots", [10, 20], "snapshots-10-20"),
    ],
)
def test_the_word_of_a_value(name: str, value: Any, word: str) -> None:
    assert [cell.name for cell in cells({name: [value]})] == [word]


@given(st.lists(st.floats(min_value=1e-9, max_value=1.0), min_size=1, max_size=5, unique=True))
def test_other_numbers_have_other_names_that_runs_may_have(densities: list[float]) -> None:
    names = [cell.name for cell in cells({"density": densities})]
    assert len(set(names)) == len(densities)
    assert all(map(is_run_name, names))


def test_rules_apply_where_all_of_what_they_ask_for_is_taken() -> None:
    rules = [
        Rule({"densities": ("multishot",)}, {"levels": 11, "iterations": 10}),
        Rule({"densities": ("singleshot",)}, {"levels": 1}),
        Rule({"criterion": ("random", "snip"), "densities": ("multishot",)}, {"iterations": 20}),
    ]
    grid = {"criterion": ["random", "magnitude"], "densities": ["singleshot", "multishot"]}
    follows = [
        {key: value for key, value in cell.settings.items() if key not in cell.values}
        for cell in cells(grid, rules)
    ]
    assert follows == [
        {"levels": 1},
        {"levels": 11, "iterations": 20},
        {"levels": 1},
        {"levels": 11, "iterations": 10},
    ]


def test_a_rule_goes_before_the_grid_which_keeps_the_name_and_the_place() -> None:
    rule = Rule({"densities": ("multishot",)}, {"densities": "singleshot"})
    (cell,) = cells({"densities": ["multishot"]}, [rule])
    assert (cell.name, cell.values["densities"]) == ("multishot", "multishot")
    assert cell.settings["densities"] == "singleshot"


def test_a_rule_about_the_planted_network() -> None:
    rules = [Rule({"plant": ("helix",)}, {"iterations": 7})]
    grid = {"criterion": ["random"]}
    assert cells(grid, rules, "helix")[0].settings["iterations"] == 7
    assert "iterations" not in cells(grid, rules, "circle")[0].settings
    with pytest.raises(UsageError, match="unknown setting of the grid 'plant'"):
        cells(grid, rules)


@pytest.mark.parametrize(
    ("grid", "rules", "sentence"),
    [
        ({}, (), "the grid is empty"),
        ({"criterion": []}, (), "criterion in the grid is an empty list"),
        ({"density": [0.5, 1, 1.0]}, (), r"density in the grid has 1\.0 twice"),
        ({"seed": [1]}, (), "seed is in the grid; .* give replicates"),
        (
            {"densities": ["rate"]},
            (Rule({"density": (1.0,)}, {}),),
            r"a \[\[when\]\] table: unknown setting of the grid 'density'; "
            r"did you mean 'densities'\?",
        ),
    ],
)
def test_what_is_no_grid(grid: dict[str, Any], rules: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        cells(grid, rules)
