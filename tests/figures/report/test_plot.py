"""Plots as JSON: valid for plotly, lines of a name together, gaps as null, text as text."""

from __future__ import annotations

import math

import pytest

from landscape.figures.report.parts import Line, Panel
from landscape.figures.report.plot import numbered, plot, safe

NAN = float("nan")


def panel(*lines: Line, **more: object) -> Panel:
    return Panel("view", "x", "y", lines, **more)  # type: ignore[arg-type]


def line(name: str = "imp", y: tuple[float, ...] = (1.0, 2.0), **more: object) -> Line:
    x = [100.0 * 0.5**i for i in range(len(y))]
    return Line(name, x, y, [f"{name} {v}" for v in y], **more)  # type: ignore[arg-type]


def test_plotly_takes_every_kind_of_panel() -> None:
    go = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    panels = [
        panel(line(low=(0.5, NAN), high=(1.5, NAN), doubtful=(True, False)), density=True,
              levels=[("floor", 0.5)], log_y=True),
        panel(line(joined=False), line("imp, by chance", reference=True)),
        panel(line("for"), line("against"), bars=True, categories=["a", "b"]),
        panel(),
    ]  # fmt: skip
    for one in panels:
        made = plot(one)
        data = [{k: v for k, v in trace.items() if k != "meta"} for trace in made["data"]]
        go.Figure(data=data, layout=made["layout"])


def test_lines_of_one_name_are_one_trace_with_a_gap() -> None:
    made = plot(panel(line(), line("other"), line(y=(3.0, NAN, 5.0))))
    first, second = made["data"]
    assert (first["name"], second["name"]) == ("imp", "other")
    assert first["y"] == [1.0, 2.0, None, 3.0, None, 5.0]
    assert first["x"] == [100.0, 50.0, None, 100.0, 50.0, 25.0]
    assert len(first["hovertext"]) == 6


def test_bars_are_distances_to_the_ends() -> None:
    (trace,) = plot(panel(line(low=(0.5, NAN), high=(1.75, NAN))))["data"]
    assert trace["error_y"]["array"] == [0.75, None]
    assert trace["error_y"]["arrayminus"] == [0.5, None]


def test_doubtful_points_are_open() -> None:
    (trace,) = plot(panel(line(doubtful=(True, False))))["data"]
    assert trace["marker"]["symbol"] == ["circle-open", "circle"]


def test_no_two_names_look_alike() -> None:
    names = [f"run-{i}" for i in range(24)]
    made = plot(panel(*(line(name) for name in names)))
    looks = {(t["meta"]["colour"], t["marker"]["symbol"], t["line"]["dash"]) for t in made["data"]}
    assert len(looks) == 24


def test_what_a_line_is_compared_with_has_its_colour() -> None:
    made = plot(panel(line("a"), line("ab"), line("ab, by chance", reference=True)))
    reference, *_, own = made["data"]
    assert reference["meta"]["colour"] == own["meta"]["colour"]
    assert reference["meta"]["owner"] == own["meta"]["owner"]
    assert reference["meta"]["reference"]


def test_known_names_keep_their_number() -> None:
    assert numbered(["new", "b", "other"], {"a": 0, "b": 1}) == {"new": 0, "b": 1, "other": 2}


def test_density_runs_down_from_the_densest() -> None:
    axis = plot(panel(line(), density=True))["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert axis["range"][0] > 2.0 > axis["range"][1]
    assert axis["range"][1] < math.log10(50)
    assert axis["tickvals"] == [100.0, 50.0]
    assert axis["ticktext"] == ["100", "50"]


@pytest.mark.parametrize("lines", [(), (Line("a", [NAN], [1.0], ["a"]),)])
def test_no_density_at_all_still_draws(lines: tuple[Line, ...]) -> None:
    assert plot(panel(*lines, density=True))["layout"]["xaxis"]["type"] == "log"


def test_lines_across_that_have_no_place_are_left_out() -> None:
    made = plot(panel(line(), log_y=True, levels=[("zero", 0.0), ("one", 1.0)]))
    assert made["across"] == [{"name": "one", "dash": "dash"}]
    across = made["data"][0]
    assert across["y"] == [1.0, 1.0]
    assert across["x"] == [100.0, 50.0]


def test_text_is_not_markup_for_plotly() -> None:
    assert safe("<a href='javascript:x'>\n&") == "&lt;a href='javascript:x'&gt;<br>&amp;"
    made = plot(panel(line("<img onerror=x>")))
    assert "<" not in made["data"][0]["name"]
    assert "<img" not in made["data"][0]["hovertext"][0]
