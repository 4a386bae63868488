"""HTML, built so that text cannot become markup."""

from __future__ import annotations

import html
import json
from typing import Any

VOID = {"meta", "input", "br"}


class Markup(str):
    """Text that is HTML already; any other is escaped by `element`."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | bool | None) -> Markup:
    """An HTML element.

    Parameters
    ----------
    tag
        Its name.
    children
        `Markup` as it is; other text escaped.
    attributes
        Escaped; ``_`` at the end of a name is dropped and within it becomes ``-``. True is an
        attribute without a value, False and None none at all.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    words = "".join(
        f" {name}" if value is True else f' {name}="{html.escape(clean(str(value)))}"'
        for name, value in ((k.rstrip("_").replace("_", "-"), v) for k, v in attributes.items())
        if value is not None and value is not False
    )
    if tag in VOID:
        return Markup(f"<{tag}{words}>")
    return Markup(f"<{tag}{words}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Markup:
    """Pieces one after the other, escaped unless they are `Markup`."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(clean(c)) for c in children))


def clean(text: str) -> str:
    """`text` without what HTML has no place for: control characters and halves of pairs.

    >>> clean("a\\x00b\\ud800c")
    'a\\ufffdb\\ufffdc'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000)
        else "\ufffd"
        for c in text
    )  # fmt: skip


def data_block(value: Any, name: str) -> Markup:
    """JSON in a ``script`` element that no browser runs, and that no text in it can end.

    Numbers that are not finite are null: JSON has none.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return element("script", Markup(text), type="application/json", id=name)


def _finite(value: Any) -> Any:
    """`value` with None for every number that is not finite, and its text `clean`."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return clean(value) if isinstance(value, str) else value
