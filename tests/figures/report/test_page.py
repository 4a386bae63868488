"""The page: well-formed, self-contained, with every number, and deaf to what strangers write."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from typing import Any

import pytest

from landscape.data_store.errors import LandscapeError
from landscape.figures.report import page as module
from landscape.figures.report.page import KEPT_ROWS, SHOWN_ROWS, page, plotly_script, shown
from landscape.figures.report.parts import (
    Chart,
    Column,
    Command,
    Line,
    Numbers,
    Panel,
    Report,
    Section,
)
from tests.support.pages import HOSTILE, Document

PLOTLY = "/* plotly */"


def chart(text: str = "imp", rows: int = 2, **more: Any) -> Chart:
    """A chart with text of a stranger in every place."""
    line = Line(text, [100.0, 50.0], [1.0, float("nan")], [text, text])
    panels = [
        Panel(text, text, text, [line], levels=[(text, 1.0)], note=text),
        Panel(f"{text} again", text, text, [line], density=True),
    ]
    numbers = Numbers(
        [Column(text, text), Column("share", "share", True)],
        [[text, 0.1 + i] for i in range(rows - 1)] + [[text, None]],
    )
    shown_panels = more.pop("panels", panels)
    return Chart(text, text, shown_panels, numbers, [Command(text, text)], text, **more)


def report(*charts: Chart, text: str = "imp") -> Report:
    section = Section("one", text, text, charts, [Command(text)], [text])
    return Report(text, [(text, text)], [section])


def made(*charts: Chart, text: str = "imp") -> Document:
    return Document(page(report(*charts, text=text), PLOTLY))


def test_it_is_well_formed_and_refers_to_nothing_outside() -> None:
    document = made(chart(), chart(), chart(panels=()), chart(panels=(), is_folded=True))
    assert len(set(document.ids)) == len(document.ids)
    assert set(document.refers) == {"#main", "#one"}
    assert all(refers[1:] in document.ids for refers in document.refers)
    assert document.handlers == []
    assert "link" not in document.tags
    assert "iframe" not in document.tags


def test_labels_point_at_what_is_there() -> None:
    text = page(report(chart()), PLOTLY).decode()
    named = re.findall(r'(?: for|aria-labelledby|data-copy|data-csv)="([^"]+)"', text)
    assert named
    assert set(named) <= set(Document(text.encode()).ids)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_strangers_write_stays_text(text: str) -> None:
    plain, hostile = made(chart()), made(chart(text), text=text)
    assert hostile.tags == plain.tags
    assert hostile.ids == plain.ids
    assert hostile.handlers == []
    assert hostile.refers == plain.refers
    assert hostile.scripts == plain.scripts


def test_no_script_runs_but_the_two_of_the_page() -> None:
    document = made(chart("</script><script>alert(1)</script>"))
    own = module._own("page.js")
    assert document.scripts == [PLOTLY, own]
    digests = re.findall(r"'sha256-([^']+)'", document.policy)
    assert digests == [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in (PLOTLY, own)
    ]
    assert document.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in document.policy
    assert "http" not in document.policy


def test_own_files_hold_nothing_from_outside() -> None:
    for name in ("page.js", "page.css"):
        text = module._own(name)
        assert not re.search(r"https?:|url\(|@import|</script|<!--", text)


def test_the_data_are_the_numbers_with_all_digits() -> None:
    document = made(chart(rows=4))
    assert document.blocks["one-1-numbers"] == {
        "columns": ["imp", "share"],
        "rows": [["imp", 0.1], ["imp", 1.1], ["imp", 2.1], ["imp", None]],
    }
    first, second = document.blocks["one-1-panels"]
    assert first["data"][-1]["y"] == [1.0, None]
    assert second["layout"]["xaxis"]["type"] == "log"
    assert document.cells == ["imp", "10 %", "imp", "110 %", "imp", "210 %", "imp", "–"]


def test_long_tables_are_cut_and_it_is_said() -> None:
    content = page(report(chart(rows=SHOWN_ROWS + 1)), PLOTLY)
    document = Document(content)
    assert len(document.cells) == 2 * SHOWN_ROWS
    assert len(document.blocks["one-1-numbers"]["rows"]) == SHOWN_ROWS + 1
    said = f"The first {SHOWN_ROWS} of {SHOWN_ROWS + 1} rows are shown; Copy as CSV gives all of"
    assert said in content.decode()
    content = page(report(chart(rows=KEPT_ROWS + 1)), PLOTLY)
    assert len(Document(content).blocks["one-1-numbers"]["rows"]) == KEPT_ROWS
    assert f"gives the first {KEPT_ROWS}" in content.decode()


def test_a_table_too_wide_for_paper_says_so() -> None:
    for count, wide in ((14, False), (15, True)):
        numbers = Numbers([Column(f"c{i}", f"c{i}") for i in range(count)], [[1.0] * count])
        text = page(report(Chart("t", "", (), numbers)), PLOTLY).decode()
        assert ("A table of 15 columns is too wide for paper" in text) is wide


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page(report(chart()), PLOTLY) == page(report(chart()), PLOTLY)


def test_numbers_of_a_plot_are_folded_others_open() -> None:
    text = page(report(chart()), PLOTLY).decode()
    assert '<details class="numbers"><summary>Numbers (2 rows)</summary>' in text
    text = page(report(chart(panels=())), PLOTLY).decode()
    assert '<div class="numbers">' in text
    text = page(report(chart(panels=(), is_folded=True)), PLOTLY).decode()
    assert '<details class="numbers">' in text


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (None, False, "–"), (0.0, False, "0"), (0.0, True, "0 %"), (12345678.0, False, "12345678"),
        (0.5, True, "50 %"), (-1.23456789, False, "-1.23457"), (1e300, False, "1e+300"),
    ],
)  # fmt: skip
def test_numbers_are_shown_short(value: float | None, percent: bool, text: str) -> None:
    assert shown(value, percent) == text


def test_without_plotly_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(
        LandscapeError,
        match=r"^a report needs plotly, which is not installed: pip install "
        r"'landscape-workbench\[report\]'$",
    ):
        plotly_script()


def test_plotly_is_inlined_once_and_ends_no_script() -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    source = plotly_script()
    assert "plotly.js v" in source[:200]
    content = page(report(chart()), source)
    assert content.count(source[:2000].encode()) == 1
    assert Document(content).scripts[0] == source
