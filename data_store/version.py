"""The version of landscape that runs, which everything that is written states."""

from __future__ import annotations

from functools import cache
from importlib import metadata

PACKAGE = "landscape-workbench"


@cache
def own_version() -> str:
    """The version of this process; to look it up takes a millisecond."""
    return metadata.version(PACKAGE)
