"""What readers see of a sheet: no details, and no status that says nothing."""

from __future__ import annotations

from landscape.sheet import Column, Quantity, Sheet

COLUMNS = (
    Column("layer", "layer"),
    Column("kept", "kept", "count"),
    Column("run", "run", is_detail=True),
    Column("status", "status"),
)


def names(*rows) -> list[str]:
    shown = Sheet("overlap", "x", COLUMNS, rows, ("note",)).for_readers()
    assert shown.notes == ("note",)
    assert all(len(row) == len(shown.columns) for row in shown.rows)
    return [column.name for column in shown.columns]


def test_details_and_an_idle_status_are_left_out():
    fine, bad = (("fc1", Quantity(1.0), "imp", status) for status in ("ok", "an empty mask"))
    assert names(fine, fine) == ["layer", "kept"]
    assert names(fine, bad) == ["layer", "kept", "status"]


def test_text_has_no_units():
    assert [column.is_text for column in COLUMNS] == [True, False, True, True]
