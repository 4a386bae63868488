"""Page: a report as one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from landscape.data_store.errors import LandscapeError
from landscape.figures.report.markup import Markup, data_block, element, joined
from landscape.figures.report.parts import Chart, Command, Numbers, Report, Section, Value
from landscape.figures.report.plot import numbered, plot

SHOWN_ROWS = 500
KEPT_ROWS = 5000
_MOST_PRINTED = 14  # columns
_SHORT = 20  # letters of what is not folded
_OPEN_COMMANDS, _OPEN_LENGTH = 2, 400


def plotly_script() -> str:
    """The source of plotly.js, as the installed plotly has it.

    Raises `LandscapeError` if plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise LandscapeError(
            "a report needs plotly, which is not installed: pip install "
            "'landscape-workbench[report]'"
        ) from error
    return str(get_plotlyjs())


def page(report: Report, plotly: str) -> bytes:
    """The whole file.

    Parameters
    ----------
    report
        What is on it.
    plotly
        The source of plotly.js.

    Text from runs and results is escaped. Besides, the page states a content security policy by
    which no script runs but its own two, and nothing is loaded or sent. The same report gives the
    same bytes.
    """
    scripts = [Markup(text) for text in (plotly, _own("page.js"))]
    digests = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", report.title),
        element("style", Markup(_own("page.css"))),
    )
    body = element("body", *_body(report), *(element("script", text) for text in scripts))
    return ("<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n").encode()


def _own(name: str) -> str:
    """A file that lies beside this one."""
    return files("landscape.figures.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The digest of a script as a content security policy has it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _body(report: Report) -> Iterator[Markup]:
    """Everything that is seen."""
    links = [
        element("li", element("a", section.title, href=f"#{section.name}"))
        for section in report.sections
    ]
    facts = [joined(element("dt", name), element("dd", value)) for name, value in report.facts]
    yield element("a", "Skip to the results", class_="skip", href="#main")
    yield element("header", element("h1", report.title), element("dl", *facts, class_="facts"))
    yield element("nav", element("ul", *links), aria_label="Sections")
    note = "Plots and copy buttons need JavaScript; all numbers and commands are readable without."
    known = _known(report)
    sections = [_section(section, known) for section in report.sections]
    yield element("main", element("noscript", element("p", note)), *sections, id="main")


def _known(report: Report) -> dict[str, int]:
    """Numbers of the names of the first plot, which look the same in all others."""
    panels = (panel for section in report.sections for c in section.charts for panel in c.panels)
    first = next(panels, None)
    return numbered([line.name for line in first.lines if not line.reference], {}) if first else {}


def _section(section: Section, known: Mapping[str, int]) -> Markup:
    """One section, its charts and what is missing."""
    parts = [element("h2", section.title), element("p", section.says)]
    faults = [element("li", fault) for fault in section.faults]
    if faults:
        parts.append(
            element("div", element("h3", "Left out"), element("ul", *faults), class_="faults")
        )
    parts += [
        _chart(chart, f"{section.name}-{i}", known) for i, chart in enumerate(section.charts, 1)
    ]
    if section.missing:
        wanted = _commands(section.missing, f"{section.name}-missing")
        what = element("h3", "Not stored yet")
        how = element("p", "This would add it; what is stored already is not computed again:")
        parts.append(element("div", what, how, *wanted, class_="missing"))
    return element("section", *parts, id=section.name)


def _chart(chart: Chart, name: str, known: Mapping[str, int]) -> Markup:
    """A plot with its views, numbers and commands."""
    heading = element("h3", chart.title, id=f"{name}-title")
    kind = "chart folded" if chart.is_folded and not chart.panels else "chart"
    parts = [heading, element("p", chart.says)]
    if chart.asked:
        parts.append(element("p", f"Asked with {chart.asked}.", class_="asked"))
    if chart.panels:
        parts += _plot(chart, name, known)
    parts.append(_numbers(chart, name))
    if chart.commands:
        count = len(chart.commands)
        alone = count == 1 and chart.commands[0].line
        title = element("summary", "The command that made it" if alone else "Commands")
        made = _commands(chart.commands, f"{name}-made")
        few = count <= _OPEN_COMMANDS and sum(len(c.line) for c in chart.commands) <= _OPEN_LENGTH
        parts.append(element("details", title, *made, class_="commands", open=few))
    return element("article", *parts, class_=kind, aria_labelledby=f"{name}-title")


def _plot(chart: Chart, name: str, known: Mapping[str, int]) -> Iterator[Markup]:
    """Where a plot is drawn, and what it is drawn from."""
    panels = [plot(panel, known) for panel in chart.panels]
    if len(panels) > 1:
        options = [
            element("option", panel.label, value=str(i)) for i, panel in enumerate(chart.panels)
        ]
        label = element("label", "Shown", for_=f"{name}-view")
        select = element("select", *options, id=f"{name}-view", autocomplete="off")
        yield element("p", label, select, class_="view")
    what = f"{chart.title}: {chart.panels[0].y_title or 'comparisons'}; the numbers follow"
    tall = " bars" if chart.panels[0].bars else ""
    drawn = element("div", class_=f"plot{tall}", id=f"{name}-plot", role="img", aria_label=what)
    legend = element("div", class_="legend", role="group", aria_label="Lines shown or hidden")
    yield element("div", legend, drawn, class_="drawn", data_chart=name)
    yield element("p", chart.panels[0].note, class_="note", id=f"{name}-note", aria_live="polite")
    yield data_block(panels, f"{name}-panels")


def _numbers(chart: Chart, name: str) -> Markup:
    """The numbers, folded under a plot."""
    numbers = chart.numbers
    count = len(numbers.rows)
    block = data_block(
        {
            "columns": [column.name for column in numbers.columns],
            "rows": [list(row) for row in numbers.rows[:KEPT_ROWS]],
        },
        f"{name}-numbers",
    )
    said = element("span", role="status", class_="said")
    button = element("button", "Copy as CSV", type="button", data_csv=f"{name}-numbers")
    parts = [element("p", button, said, class_="tools"), _table(numbers, chart.title), block]
    if count > SHOWN_ROWS:
        rest = "all of them" if count <= KEPT_ROWS else f"the first {KEPT_ROWS}"
        text = f"The first {SHOWN_ROWS} of {count} rows are shown; Copy as CSV gives {rest}."
        parts.insert(1, element("p", text, class_="note"))
    if not chart.panels and not chart.is_folded:
        return element("div", *parts, class_="numbers")
    title = f"Numbers ({count} row{'s' * (count != 1)})"
    return element("details", element("summary", title), *parts, class_="numbers")


def _table(numbers: Numbers, caption: str) -> Markup:
    """The first rows as a table."""
    heads = [
        element("th", column.heading, scope="col", class_=_class(numbers, i))
        for i, column in enumerate(numbers.columns)
    ]
    rows = [
        element(
            "tr",
            *(
                _cell(value, column.percent)
                for value, column in zip(row, numbers.columns, strict=True)
            ),
        )
        for row in numbers.rows[:SHOWN_ROWS]
    ]
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
    )
    label, count = f"Numbers of {caption}", len(numbers.columns)
    wide = count > _MOST_PRINTED
    box = element(
        "div", table, class_="scroll wide" if wide else "scroll", tabindex="0", role="region",
        aria_label=label,
    )  # fmt: skip
    if not wide:
        return box
    text = f"A table of {count} columns is too wide for paper; it is on the page."
    return joined(box, element("p", text, class_="on-paper"))


def _class(numbers: Numbers, place: int) -> str | None:
    """``number`` for a column without text, ``long`` for a heading of lines."""
    values = [row[place] for row in numbers.rows[:SHOWN_ROWS]]
    words = [] if any(isinstance(value, str) for value in values) else ["number"]
    length = len(numbers.columns[place].heading)
    words += ["longer"] if length > 2 * _SHORT else ["long"] if length > _SHORT else []
    return " ".join(words) or None


def _cell(value: Value, percent: bool) -> Markup:
    """One entry; what is not known is a dash."""
    if isinstance(value, str):
        return element("td", value, class_="short" if len(value) <= _SHORT else None)
    return element("td", shown(value, percent), class_="number")


def shown(value: float | None, percent: bool = False) -> str:
    """A number as the table shows it; the data have all its digits.

    >>> shown(None), shown(0.9876, True), shown(3.0), shown(0.000123456)
    ('–', '98.76 %', '3', '0.000123456')
    """
    if value is None:
        return "–"
    if percent:
        return f"{100 * value:.4g} %"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _commands(commands: Sequence[Command], name: str) -> Iterator[Markup]:
    """Commands in one block, with a button that copies them."""
    lines = [f"{c.line}  # {c.says}" if c.says else c.line for c in commands if c.line]
    if lines:
        code = element("pre", element("code", "\n".join(lines)), id=name, tabindex="0")
        button = element("button", "Copy", type="button", data_copy=name)
        said = element("span", role="status", class_="said")
        yield element("div", code, element("p", button, said, class_="tools"), class_="command")
    for command in commands:
        if command.says and not command.line:
            yield element("p", command.says)
