"""Markup: text never becomes HTML, whatever it is."""

from __future__ import annotations

import doctest
import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.figures.report import cases, markup, page, plot
from landscape.figures.report.markup import Markup, clean, data_block, element, joined
from tests.support.pages import HOSTILE


class Seen(HTMLParser):
    """Elements, attributes and text of a page, as a browser would tokenise it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_and_attributes_come_back_as_they_were(text: str) -> None:
    seen = Seen(element("p", text, title=text, data_more=text))
    assert [tag for tag, _ in seen.tags] == ["p"]
    assert "".join(seen.text) == clean(text)
    assert set(seen.tags[0][1]) == {"title", "data-more"}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_data_blocks_hold_what_was_put_in_and_end_nothing(text: str) -> None:
    block = data_block({"name": [text, 1.5, None]}, "x")
    inner = block.removeprefix('<script type="application/json" id="x">')
    inner = inner.removesuffix("</script>")
    assert "<" not in inner
    assert "\u2028" not in inner
    assert json.loads(inner) == {"name": [clean(text), 1.5, None]}


@given(st.text())
def test_any_text_is_one_text(text: str) -> None:
    seen = Seen(element("td", text))
    assert [tag for tag, _ in seen.tags] == ["td"]
    assert "".join(seen.text) == clean(text)
    element("td", text).encode()


def test_numbers_that_are_not_finite_are_null() -> None:
    block = data_block([float("nan"), float("inf"), -float("inf"), 0.0, -0.0], "x")
    assert "[null,null,null,0.0,-0.0]" in block


def test_markup_is_not_escaped_twice_and_text_is_once() -> None:
    assert element("p", element("b", "a<b"), "c&d") == "<p><b>a&lt;b</b>c&amp;d</p>"
    assert joined("<", Markup("<br>")) == "&lt;<br>"
    assert element("input", type="radio", checked=True, name=None, disabled=False) == (
        '<input type="radio" checked>'
    )


@pytest.mark.parametrize("module", [markup, cases, page, plot], ids=lambda m: m.__name__)
def test_examples_in_docstrings_run(module: object) -> None:
    outcome = doctest.testmod(module)  # type: ignore[arg-type]
    assert outcome.attempted > 0
    assert outcome.failed == 0
