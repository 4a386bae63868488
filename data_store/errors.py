"""The errors a user meets: each is one sentence and becomes an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LandscapeError(Exception):
    """Something failed; the message says what, what was received and what would be right.

    The command line prints the message without a traceback and exits with 1.
    """


class DamagedFile(LandscapeError):
    """A file of the store is not what its name says: cut, flipped, foreign or renamed.

    What made it can make it again; it is moved aside first, never overwritten.
    """


class OtherFormat(DamagedFile):
    """A whole file of landscape, but of another format than expected: `found`."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(message)
        self.found = found


class UsageError(LandscapeError, ValueError):
    """The question was wrong: an unknown name, a bad option. The command line exits with 2."""


def unknown(noun: str, name: str, available: Iterable[str]) -> UsageError:
    """Error for a name that is not in a list, with the nearest one that is.

    >>> str(unknown("criterion", "magntude", ["magnitude", "random"]))
    "unknown criterion 'magntude'; did you mean 'magnitude'? available: magnitude, random"
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(
        f"unknown {noun} {name!r}; {hint}available: {', '.join(names) if names else 'none yet'}"
    )
