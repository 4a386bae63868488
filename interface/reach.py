"""Reach: whether a process has this version of landscape, and the store of a sweep."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.manifest import read_manifest
from landscape.data_store.version import own_version


def identity(root: Path) -> str:
    """The id of a store; raises `LandscapeError` if there is none."""
    path = layout.manifest(root)
    return str(read_manifest(path, layout.STORE_FORMAT, layout.STORE_VERSION, root=root)["id"])


def unreachable(root: Path, whose: str) -> str:
    """Why this process cannot work in the store with the id `whose`; empty if it can."""
    try:
        found = identity(root)
    except LandscapeError as error:
        return f"cannot reach the store {root}: {error}; share the folder under the same path"
    if found != whose:
        return f"has another store at {root} than this one; share the folder under the same path"
    if not os.access(root, os.W_OK):
        return f"must not write to the store {root}; give write access"
    return ""


def misfit(theirs: str) -> str:
    """What is wrong with this process's version of landscape, if a sweep has `theirs`."""
    try:
        ours = own_version()
    except PackageNotFoundError:
        ours = "of unknown version"
    if ours == theirs:
        return ""
    return f"has landscape {ours}, and the sweep {theirs}; install the same there"
