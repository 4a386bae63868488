"""The tables of an experiment file have every setting of what they state, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import ValidationError

from landscape.analysis.registry import ANALYSES
from landscape.branch_settings import BranchSettings
from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.experiment_tables import FILE, LISTS, TABLES, analysis_table, is_alternative
from landscape.plant_settings import PlantSettings


def names(*classes: Any) -> set[str]:
    """The settings of some classes."""
    return {setting.name for cls in classes for setting in fields(cls)}


RUN = names(RunConfig)
KEYS = {
    "train": RUN,
    "quick": RUN | {"replicates"},
    "variant": RUN | {"name", "quick"},
    "branch": RUN | names(BranchSettings) | {"name", "at", "of", "quick"},
    "plant": RUN | names(PlantSettings) | {"name", "target", "quick"},
    "grid": RUN | {"quick"},
    "when": RUN | {"plant", "set", "quick"},
}


@pytest.mark.parametrize("table", KEYS)
def test_a_table_has_every_setting(table: str) -> None:
    assert set(TABLES) == set(KEYS)
    _, whole, inside = TABLES[table]
    assert set(whole.model_fields) == KEYS[table]
    assert set(inside.model_fields) >= RUN


@pytest.mark.parametrize("kind", ANALYSES)
def test_an_analysis_has_the_settings_of_its_kind(kind: str) -> None:
    settings = names(ANALYSES.load(kind).settings)
    assert not settings & {"kind", "name", "at", "quick"}
    whole, quick = analysis_table(kind)
    assert set(whole.model_fields) == settings | {"kind", "name", "at", "quick"}
    assert set(quick.model_fields) == settings | {"at"}


def test_an_analysis_that_there_is_none_of() -> None:
    with pytest.raises(UsageError, match=r"unknown analysis 'overlp'; did you mean 'overlap'\?"):
        analysis_table("overlp")


def test_settings_that_are_lists() -> None:
    assert set(LISTS) == {"exclude", "snapshots", "lr_milestones"}


@pytest.mark.parametrize(
    ("table", "is_right"),
    [
        ({"train": {"density": "planted", "lr": 1}}, True),
        ({"train": {"density": "found"}}, False),
        ({"train": {"lr": "planted"}}, False),
        ({"grid": {"density": ["planted", 0.1, 1], "exclude": [["output"], []]}}, True),
        ({"grid": {"density": "planted"}}, False),
        ({"grid": {"exclude": ["output"]}}, False),
        ({"grid": {"lr": [0.1], "quick": {"lr": [0.2]}}}, True),
        ({"grid": {"lr": [0.1], "quick": False}}, False),
        ({"when": [{"plant": "circle", "lr": [0.1, 0.2], "set": {"levels": 2}}]}, True),
        ({"when": [{"plant": 3, "set": {}}]}, False),
        ({"when": [{"lr": 0.1}]}, False),
        ({"plant": [{"name": "c", "target": "circle", "width": 50, "quick": False}]}, True),
        ({"plant": [{"name": "c", "target": "circle", "width": 50.5}]}, False),
        ({"analysis": [{"kind": "overlap", "anything": 1}]}, True),
        ({"analysis": [{}]}, False),
    ],
)
def test_types(table: dict[str, Any], is_right: bool) -> None:
    if is_right:
        FILE.model_validate(table)
    else:
        with pytest.raises(ValidationError):
            FILE.model_validate(table)


def test_what_pydantic_adds_to_a_place_is_no_key() -> None:
    record = {
        "grid": {"density": ["x"]},
        "when": [{"lr": "x", "set": {}}],
        "plant": [{"name": "p", "target": "t", "quick": {"widht": 1}}],
        "branch": [{"name": "b", "at": 1.5, "quick": 3}],
    }
    with pytest.raises(ValidationError) as caught:
        FILE.model_validate(record)
    added = {
        part
        for error in caught.value.errors()
        for part in error["loc"]
        if isinstance(part, str) and part not in {*FILE.model_fields, *RUN, "quick", "widht", "at"}
    }
    assert added
    assert all(map(is_alternative, added))
    assert not any(map(is_alternative, ("lr", "widht", "density", 0)))
