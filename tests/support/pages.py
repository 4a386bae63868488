"""Pages of HTML as a test reads them, and what strangers write into them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "input", "br"}
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\" onmouseover='alert(1)",
    "a\u2028b\u2029c",
    "</title></style></textarea>]]>",
    "\x00\x1b[31m\ud800",
    "&lt;b&gt; & <i>",
    "javascript:alert(1)",
)


class Document(HTMLParser):
    """A page with its tags balanced, ids, links, handlers, scripts and data blocks."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.blocks: dict[str, Any] = {}
        self.tags: list[str] = []
        self.policy = ""
        self.cells: list[str] = []
        self._block: str | None = None
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [given["id"]] if given.get("id") else []
        self.refers += [str(given[n]) for n in ("href", "src", "action") if n in given]
        self.handlers += [name for name in given if name.startswith("on")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        if tag == "td":
            self.cells.append("")
        if tag == "script":
            self._block = given.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if self._block:
                self.blocks[self._block] = json.loads(data)
            else:
                self.scripts.append(data)
        elif self.open[-1:] == ["td"]:
            self.cells[-1] += data
