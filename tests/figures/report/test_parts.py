"""Parts: which panels have something to draw."""

from __future__ import annotations

from landscape.figures.report.parts import Line, Panel, drawn


def panel(*values: float) -> Panel:
    return Panel("view", "x", "y", [Line("imp", [1.0] * len(values), values, [""] * len(values))])


def test_panels_without_points_are_dropped() -> None:
    empty, full = panel(float("nan")), panel(float("nan"), 0.0)
    assert drawn([empty, full]) == ([full], "")


def test_nothing_to_draw_is_said() -> None:
    for panels in ([], [panel()], [panel(float("nan"), float("inf"))]):
        assert drawn(panels) == ([], " No value is known that could be drawn.")
