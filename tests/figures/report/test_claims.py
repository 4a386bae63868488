"""The charts of claims: verdicts in words, comparisons in numbers, commands for what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.insights import INSIGHTS
from landscape.figures.report.claims import claims, wanted


def example():
    ds = INSIGHTS.example()
    ds["comparisons"].values[:] = 10
    ds["in_favour"].values[:] = np.arange(7)
    ds["against"].values[:] = 2
    missing = ["", "land a; b", "b", "", "", "", ""]
    return ds.assign(missing=(ds["missing"].dims, [missing], ds["missing"].attrs))


def test_verdicts_are_the_stored_words() -> None:
    chart, _ = claims(example())
    assert [row[0] for row in chart.numbers.rows] == [str(n) for n in range(1, 8)]
    assert {row[1] for row in chart.numbers.rows} == {"example"}
    assert not chart.panels


def test_comparisons_add_up() -> None:
    _, chart = claims(example())
    names = [column.name for column in chart.numbers.columns]
    for i, row in enumerate(chart.numbers.rows):
        at = dict(zip(names, row, strict=True))
        assert (at["for"], at["against"], at["too_close"]) == (i, 2.0, 10.0 - i - 2.0)
    (panel,) = chart.panels
    assert [line.name for line in panel.lines] == ["for", "against", "too close"]
    assert list(panel.lines[0].x) == list(range(7))
    assert panel.bars


def test_without_comparisons_there_is_no_plot() -> None:
    ds = example()
    for name in ("comparisons", "in_favour", "against"):
        ds[name].values[:] = 0
    assert not claims(ds)[1].panels
    ds["comparisons"].values[:] = np.nan
    _, chart = claims(ds)
    assert not chart.panels
    assert chart.numbers.rows[0][-1] is None


def test_commands_are_named_once() -> None:
    assert wanted(example()) == ["land a", "b"]


def test_other_datasets_are_refused() -> None:
    with pytest.raises(LandscapeError, match="insights dataset needs"):
        claims(BARRIER.example())
