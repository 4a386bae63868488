"""The four formats, read back by other readers, with names that are made to break them."""

from __future__ import annotations

import csv
import doctest
import io
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import landscape.sheet_formats as sheet_formats
from landscape.data_store.schemas.table import SCHEMAS
from landscape.printing import width_of
from landscape.sheet import Column, Quantity, Sheet
from landscape.sheet_formats import FORMATS, csv_text, latex, markdown, text
from landscape.tables import TABLES, table

HOSTILE = "a_b|c&d%$#{x}\\~^\"<script>`*[1]\r\n\x1b[2J,'é→"
COLUMNS = (
    Column("layer", "layer"),
    Column("test_accuracy", "test accuracy", "fraction", "std"),
    Column("trace", "trace", "nats per example", "se"),
    Column("early_stop_step", "early stop", "iterations", "range"),
    Column("kept", "weights", "count"),
    Column("run", "run", is_detail=True),
    Column("status", "status"),
)
ROWS = (
    ("fc1", Quantity(0.97816, 0.00123), Quantity(-3.5, 0.25),
     Quantity(5312.0, low=5100.0, high=5500.0), Quantity(23520.0), "imp", "ok"),
    ("fc2", Quantity(math.nan), Quantity(math.nan), Quantity(math.nan), Quantity(0.0), "imp",
     "diverged"),
)  # fmt: skip
SHEET = Sheet("training", "Training of imp", COLUMNS, ROWS, ("± is one standard deviation.",))


def named(name: str) -> Sheet:
    """A sheet with that name everywhere."""
    columns = (Column("layer", name), Column("kept", "kept", "count"))
    return Sheet("overlap", name, columns, ((name, Quantity(1.0)),), (name,))


def test_examples_in_docstrings_run():
    outcome = doctest.testmod(sheet_formats)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_text_has_units_in_its_headings_and_quantities_to_the_right():
    assert text(SHEET).splitlines() == [
        "Training of imp",
        "layer  test accuracy (%)  trace (nats per example)  early stop (iterations)  weights"
        "  status",
        "fc1         97.82 ± 0.12              -3.50 ± 0.25         5310 (5100–5500)    23520  ok",
        "fc2                    –                         –                        –        0"
        "  diverged",
        "",
        "± is one standard deviation.",
    ]


def test_markdown_is_aligned_in_its_source():
    lines = markdown(SHEET).splitlines()
    assert lines[0] == "Training of imp"
    table = [line for line in lines if line.startswith("|")]
    assert len({width_of(line) for line in table}) == 1
    assert re.fullmatch(r"\| -+ \| (-+: \| ){4}-+ +\|", table[1])
    assert [cell.strip() for cell in table[2].strip("|").split("|")] == [
        "fc1", "97.82 ± 0.12", "-3.50 ± 0.25", "5310 (5100–5500)", "23520", "ok",
    ]  # fmt: skip
    assert lines[-1] == "± is one standard deviation."


def test_latex_is_of_booktabs():
    lines = latex(SHEET).splitlines()
    assert r"  \begin{tabular}{lrrrrl}" in lines
    assert r"    layer & test accuracy & trace & early stop & weights & status \\" in lines
    assert r"     & (\%) & (nats per example) & (iterations) &  &  \\" in lines
    row = r"    fc1 & $97.82 \pm 0.12$ & $-3.50 \pm 0.25$ & $5310$ ($5100$ to $5500$) & $23520$"
    assert rf"{row} & ok \\" in lines
    assert r"    fc2 & -- & -- & -- & $0$ & diverged \\" in lines
    assert r"  \caption{Training of imp. $\pm$ is one standard deviation.}" in lines
    rules = [line.strip() for line in lines if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]


def test_csv_has_every_digit_every_column_and_nothing_for_what_is_unknown():
    content = csv_text(SHEET)
    assert content.count("\r\n") == 3
    head, first, second = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert head == [
        "layer", "test_accuracy (fraction)", "test_accuracy_std (fraction)",
        "trace (nats per example)", "trace_se (nats per example)",
        "early_stop_step (iterations)", "early_stop_step_min (iterations)",
        "early_stop_step_max (iterations)", "kept (count)", "run", "status",
    ]  # fmt: skip
    assert first == [
        "fc1", "0.97816", "0.00123", "-3.5", "0.25", "5312", "5100", "5500", "23520", "imp", "ok",
    ]  # fmt: skip
    assert second == ["fc2", "", "", "", "", "", "", "", "0", "imp", "diverged"]


def test_a_status_that_is_ok_everywhere_is_left_to_the_csv():
    sheet = Sheet("training", "x", COLUMNS, ROWS[:1])
    assert "status" not in text(sheet)
    assert "status" not in markdown(sheet)
    assert "status" not in latex(sheet)
    assert "status" in csv_text(sheet)


def test_a_hostile_name_stays_one_cell_of_csv():
    rows = list(csv.reader(io.StringIO(csv_text(named(HOSTILE)), newline=""), strict=True))
    assert rows == [["layer", "kept (count)"], [HOSTILE, "1"]]


def test_a_hostile_name_breaks_neither_text_nor_markdown():
    for written in (text(named(HOSTILE)), markdown(named(HOSTILE))):
        assert "\x1b" not in written
        assert "\r" not in written
    cells = re.split(r"(?<!\\)\|", markdown(named(HOSTILE)).splitlines()[4])
    assert len(cells) == 4
    shown = re.sub(r"\\([\\`*_\[\]<>|~&#])", r"\1", cells[1].strip())
    assert shown == HOSTILE.replace("\r\n\x1b", "\\r\\n\\x1b")
    assert not re.search(r"(?<!\\)[<`*_\[]", cells[1])


def test_a_hostile_name_breaks_no_latex():
    row = latex(named(HOSTILE)).splitlines()[9]
    assert row.startswith(r"    a\_b\textbar{}c\&d\%\$\#\{x\}\textbackslash{}\textasciitilde{}")
    assert row.endswith(r" & $1$ \\")
    bare = re.sub(
        r"\\[a-z]+\{\}|\\[_&%$#{}]|\{[\[\]*]\}|\{\\char34\}|\$\\[a-z]+\$|\{\}", "",
        row[: -len(r" & $1$ \\")],
    )  # fmt: skip
    assert not set(bare) & set('\\{}$&#^_~%"<>|[]*`')


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("--volume", "-{}-volume"),
        ("a---b", "a-{}-{}-b"),
        ("a''b,,c", "a'{}'b,{},c"),
        ("[x", "{[}x"),
        ("imp–1 ± 2", r"imp--1 $\pm$ 2"),
    ],
)
def test_latex_makes_no_dash_quote_or_option_of_a_name(name, shown):
    assert f"    {shown} & $1$ \\\\" in latex(named(name)).splitlines()


def test_long_words_are_paragraphs_of_latex():
    columns = (Column("a", "a"), Column("b", "b"), Column("n", "n", "1"))
    sheet = Sheet("x", "x", columns, (("w " * 40, "short", Quantity(1.0)),))
    assert r"  \begin{tabular}{p{0.5\linewidth}lr}" in latex(sheet).splitlines()
    both = Sheet("x", "x", columns, (("w " * 40, "v " * 40, Quantity(1.0)),))
    assert r"  \begin{tabular}{p{0.25\linewidth}p{0.25\linewidth}r}" in latex(both).splitlines()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_sets_every_table_and_the_hostile_name(tmp_path):
    sheets = [SHEET, named(HOSTILE), named("[x"), named("*"), named("a -- b '' ,, ∞ − – ±")]
    made = [table(kind, SCHEMAS[kind].example(), "latex") for kind in TABLES]
    body = "\n".join([*map(latex, sheets), *made])
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").is_file()


@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=40))
def test_no_name_raises_or_makes_a_second_row(name):
    for form, write in FORMATS.items():
        written = write(named(name))
        written.encode("utf-8")
        if form != "csv":
            assert len(written.splitlines()) == len(write(named("plain")).splitlines())
    rows = list(csv.reader(io.StringIO(csv_text(named(name)), newline=""), strict=True))
    assert [len(row) for row in rows] == [2, 2]


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_without_rows_is_its_headings(form):
    written = FORMATS[form](Sheet("training", "x", COLUMNS, ()))
    assert "layer" in written
