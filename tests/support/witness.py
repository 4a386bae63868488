"""A witness of a store's files that trusts no code of the project: bytes, names, digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CACHES = ("index.sqlite", "arrays.sqlite")
_BLOCK, _MAGIC = 512, b"landscape-image/1 sha256 "


def is_temporary(name: str) -> bool:
    """True for a file that was never announced."""
    return name.startswith(".") and name.endswith(".tmp")


def files(root: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by its relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def kept(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that a store promises to keep: no caches, locks, logs, rolling or hidden ones."""
    return {name: content for name, content in found.items() if _promised(name)}


def _promised(name: str) -> bool:
    """True unless the file may come, go or change at will."""
    last = name.rpartition("/")[2]
    return not (
        name.startswith(CACHES) or last.startswith(".") or last in ("log.jsonl", "resume.h5")
    )


@dataclass
class Faults:
    """What a witness saw that must not be."""

    lost: list[str] = field(default_factory=list)
    half_visible: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.half_visible or self.left)


class Witness:
    """Looks at one store again and again; knows what an undisturbed run leaves in it.

    Parameters
    ----------
    root
        The store.
    expected
        Promised files by relative path, as the undisturbed run left them. ``store.json`` has
        an identity of its own: as first seen, so it stays.
    """

    def __init__(self, root: Path, expected: Mapping[str, bytes]) -> None:
        self._root = root
        self._expected = dict(expected)
        self._expected.pop("store.json", None)
        self._seen: set[str] = set()

    def look(self, announced: Iterable[str] = ()) -> Faults:
        """What is wrong now; `announced` are the files that a command said were finished."""
        found = files(self._root)
        promised = kept(found)
        if "store.json" in promised:
            self._expected.setdefault("store.json", promised["store.json"])
        self._seen |= set(announced)
        faults = Faults(lost=sorted(self._seen - set(promised)))
        faults.half_visible = [n for n, c in promised.items() if self._expected.get(n) != c]
        faults.half_visible += [n for n, c in found.items() if not self._rolling_is_whole(n, c)]
        self._seen |= set(promised)
        return faults

    def look_at_the_end(self) -> Faults:
        """What is wrong after the command ended well: all files are there, and nothing else."""
        faults = self.look(self._expected)
        found = files(self._root)
        allowed = {*kept(found), *CACHES}
        faults.left = [
            name
            for name in found
            if name not in allowed and name.rpartition("/")[2] not in (".lock", "log.jsonl")
        ]
        return faults

    @staticmethod
    def _rolling_is_whole(name: str, content: bytes) -> bool:
        """True unless this is a resume file, a log or a store's manifest that is not whole."""
        last = name.rpartition("/")[2]
        if last == "resume.h5":
            stated = content[len(_MAGIC) :][:64].decode("latin-1")
            return hashlib.sha256(content[_BLOCK:]).hexdigest() == stated
        if last == "log.jsonl":  # a kill may tear a line, the next one must not be glued to it
            return all(_is_json(line) or line.count(b"{") < 2 for line in content.split(b"\n"))
        return name != "store.json" or _is_json(content)


def _is_json(content: bytes) -> bool:
    """True for a complete JSON text."""
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
