"""Table: the named choices of a package, imported only when one is taken."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from landscape.data_store.errors import unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One line of a table.

    Parameters
    ----------
    target
        ``module:attribute`` of the object; the module is imported on first use.
    summary
        One line for ``--help``.
    reference
        Paper and section the entry follows, empty where it is our own.
    """

    target: str
    summary: str
    reference: str = ""


class Table(Generic[T]):
    """Names to objects of one type, without importing what is not asked for.

    ``table[name]`` is the `Entry`; ``table.load(name)`` imports and returns the object.
    Both raise `UsageError` with the nearest name for a name that is not there.
    """

    def __init__(self, noun: str, entries: Mapping[str, Entry]) -> None:
        self.noun = noun
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown(self.noun, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterable[tuple[str, Entry]]:
        """Names and entries, in order."""
        return self._entries.items()

    def load(self, name: str) -> T:
        """Import and return the object called `name`."""
        module, _, attribute = self[name].target.partition(":")
        loaded: T = getattr(importlib.import_module(module), attribute)
        return loaded
