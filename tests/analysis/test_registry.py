"""The table of analyses: what a line of it promises to the command line and the workbench."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from landscape.analysis.registry import ANALYSES
from landscape.data_store.errors import UsageError
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.settings import from_json, to_json

NAMES = list(ANALYSES)


def test_the_analyses_in_order():
    order = (
        "barrier",
        "bezier",
        "sublevel",
        "volume",
        "curvature",
        "surface",
        "tickets",
        "overlap",
    )
    assert [name for name in order if name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_answers_in_its_own_schema(name):
    analysis = ANALYSES.load(name)
    assert analysis.schema is SCHEMAS[name]
    assert analysis.schema.kind == name
    measures = analysis.printed(analysis.settings())
    assert measures
    assert set(measures) <= set(analysis.schema.variables)
    assert "status" in analysis.schema.variables


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_frozen_and_every_field_is_an_option(name):
    settings = ANALYSES.load(name).settings
    assert is_dataclass(settings)
    assert settings.__dataclass_params__.frozen
    for setting in fields(settings):
        assert setting.metadata["help"]
    assert from_json(settings, to_json(settings())) == settings()


@pytest.mark.parametrize("name", NAMES)
def test_compute_takes_checkpoints_settings_and_landscape(name):
    analysis = ANALYSES.load(name)
    assert len(inspect.signature(analysis.compute).parameters) == 4
    grouping = analysis.grouping(analysis.settings())
    assert grouping.least >= 1
    assert grouping.most is None or grouping.most >= grouping.least
    uses_a_network = {setting.name for setting in fields(analysis.settings)} & {"bn", "splits"}
    assert bool(uses_a_network) <= analysis.needs_landscape(analysis.settings())


@pytest.mark.parametrize("name", NAMES)
def test_a_line_says_what_is_done_and_whence(name):
    entry = ANALYSES[name]
    assert entry.summary.endswith(".")
    assert entry.reference
    assert not entry.reference.endswith(".")


def test_an_unknown_analysis_names_the_nearest():
    message = "unknown analysis 'barier'; did you mean 'barrier'"
    with pytest.raises(UsageError, match=message):
        ANALYSES.load("barier")


def test_the_table_imports_nothing_heavy():
    code = """
import sys
import landscape.analysis.registry
print(*sorted({"matplotlib", "xarray", "numpy", "scipy", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
