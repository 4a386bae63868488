"""Tables on a terminal: words stay whole while there is room, and cases become lines."""

from __future__ import annotations

import os
import re

import pytest

from landscape.printing import plain_table, print_table

COLUMNS = ["pair", "layer", "precision", "expected_precision", "p_value"]
ROWS = [
    [f"circle@{level} circle@{level}.planted", layer, "12.34 %", "0.12 %", 1.234e-56]
    for level in (0, 10)
    for layer in ("all", "fc1.weight")
]


@pytest.fixture
def table(monkeypatch, capsys):
    """Lines of a table on a terminal of so many columns; 0 is a pipe."""

    def printed(width, **options):
        monkeypatch.setattr("sys.stdout.isatty", lambda: width > 0)
        monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 24)))
        print_table(COLUMNS, ROWS, **options)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return printed


@pytest.mark.parametrize("grouped", [False, True])
def test_where_there_is_room_a_row_is_a_line(table, grouped):
    assert table(0, grouped=grouped) == table(200, grouped=grouped)
    assert len(table(0)) == 5


def test_words_stay_whole_as_long_as_they_fit(table):
    head, second, *body = table(62)
    assert head.split() == ["pair", "layer", "precision", "expected_", "p_value"]
    assert second.split() == ["precision"]
    assert body[0].split() == ["circle@0", "all", "12.34", "%", "0.12", "%", "1.234e-56"]
    assert [line.split() for line in body[1:3]] == [["circle@0."], ["planted"]]
    assert max(map(len, [head, second, *body])) <= 62


def test_a_case_becomes_a_line_if_there_is_no_room_for_its_column(table):
    head, *body = table(67, grouped=True)
    assert head.split()[0] == "layer"
    assert body[0] == "circle@0 circle@0.planted"
    assert [line.split()[0] for line in body] == [
        "circle@0", "all", "fc1.weight", "circle@10", "all", "fc1.weight",
    ]  # fmt: skip
    assert table(67) != table(67, grouped=True)


def test_words_are_cut_where_even_they_do_not_fit(table):
    lines = table(36, grouped=True)
    rows = [line for line in lines if not line.startswith("circle@")]
    assert max(map(len, rows)) <= 36
    assert any(line.endswith("1.234e-5") for line in rows)


def test_a_plain_table_is_the_piped_one(capsys):
    columns, rows = ("layer", "kept"), [("fc1", 12), ("fc2\x1b", None)]
    print_table(columns, rows, title="overlap")
    assert plain_table(columns, rows, title="overlap") + "\n" == capsys.readouterr().out
    assert plain_table(columns, rows).splitlines()[0] == "layer    kept"


def test_written_cells_stand_where_they_are_told_to():
    lines = plain_table(("a", "b"), [("1 ± 1", "x"), ("10 ± 1", "y")], [True, False])
    assert lines.splitlines() == ["     a  b", " 1 ± 1  x", "10 ± 1  y"]
