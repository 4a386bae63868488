"""Every table in every format, by its kind or by a figure's name; what is refused."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

import landscape
from landscape.commands.table import _FIGURE_OF
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.table import SCHEMAS
from landscape.figures.registry import FIGURES
from landscape.sheet_formats import FORMATS
from landscape.tables import SPREADS, TABLES, kind_of, sheet, table


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_in_every_format(kind, form):
    ds = SCHEMAS[kind].example()
    for spread in SPREADS:
        written = table(kind, ds, form, spread=spread)
        assert len(written.splitlines()) > len(sheet(kind, ds).rows)
        assert not re.search(r"\bnan\b", written)
        assert "array(" not in written


@pytest.mark.parametrize("kind", TABLES)
def test_the_csv_has_the_same_columns_in_every_row_and_a_status(kind):
    content = csv.reader(io.StringIO(table(kind, SCHEMAS[kind].example(), "csv"), newline=""))
    head, *body = list(content)
    assert len(set(head)) == len(head)
    assert head[-1] == "status"
    assert {len(row) for row in body} == {len(head)}


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_known_is_dashes_with_a_reason(kind):
    ds = SCHEMAS[kind].example()
    for name, variable in SCHEMAS[kind].variables.items():
        if variable.dtype == "float64" and name != "density":
            ds[name] = ds[name].where(False).assign_attrs(ds[name].attrs)
    for row in sheet(kind, ds).rows:
        assert row[-1] not in ("", "ok")
    assert "–" in table(kind, ds)
    assert "nan" not in table(kind, ds, "csv")


def test_a_figures_name_is_a_table_of_its_data():
    assert kind_of("lth-accuracy") == "training"
    assert kind_of("barrier-levels") == "barrier"
    assert kind_of("overlap") == "overlap"
    ds = SCHEMAS["training"].example()
    assert table("lth-early-stop", ds) == table("training", ds) == landscape.table("training", ds)


def test_the_command_asks_for_the_data_of_each_kind():
    assert set(_FIGURE_OF) == set(TABLES)
    for kind, figure in _FIGURE_OF.items():
        assert FIGURES.load(figure).schema.kind == kind


def test_what_is_no_table_format_or_spread_is_refused():
    ds = SCHEMAS["training"].example()
    with pytest.raises(UsageError, match="unknown table 'trainig'; did you mean 'training'"):
        table("trainig", ds)
    with pytest.raises(UsageError, match="figure 'plane' draws surface, of which there is no"):
        table("plane", SCHEMAS["surface"].example())
    with pytest.raises(UsageError, match="unknown format of a table 'html'; available: csv, latex"):
        table("training", ds, "html")
    with pytest.raises(UsageError, match="unknown spread 'iqr'; available: range, std"):
        table("training", ds, spread="iqr")


def test_another_dataset_is_refused_in_the_schemas_words():
    ds = SCHEMAS["training"].example()
    with pytest.raises(LandscapeError, match="a barrier dataset needs"):
        table("barrier", ds)


def test_a_table_changes_no_dataset():
    for kind in TABLES:
        ds = SCHEMAS[kind].example()
        before = ds.copy(deep=True)
        table(kind, ds)
        assert ds.identical(before)
    assert np.isfinite(ds["density"]).all()
