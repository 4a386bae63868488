"""Reach: the same version and the same store, or a sentence that says what is wrong."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import landscape
from landscape import reach
from landscape.data_store.errors import LandscapeError
from landscape.data_store.store import Store
from landscape.data_store.version import own_version
from landscape.reach import identity, misfit, unreachable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new store."""
    return landscape.open(tmp_path / "s")


def test_every_store_has_an_identity_of_its_own_which_stays(store: Store, tmp_path: Path) -> None:
    assert identity(store.root) == identity(landscape.open(store.root).root)
    assert identity(store.root) != identity(landscape.open(tmp_path / "t").root)
    moved = store.root.rename(tmp_path / "moved")
    assert unreachable(moved, identity(moved)) == ""


def test_without_a_store_there_is_no_identity(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match=str(tmp_path / "none")):
        identity(tmp_path / "none")


def test_what_keeps_a_process_from_a_store(store: Store, tmp_path: Path) -> None:
    whose = identity(store.root)
    assert unreachable(store.root, whose) == ""
    missing = unreachable(tmp_path / "none", whose)
    assert missing.startswith(f"cannot reach the store {tmp_path / 'none'}: ")
    assert missing.endswith("; share the folder under the same path")
    other = landscape.open(tmp_path / "t").root
    assert unreachable(other, whose).startswith(f"has another store at {other} than this one")


def test_a_store_that_must_not_be_written_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whose = identity(store.root)
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    assert unreachable(store.root, whose) == (
        f"must not write to the store {store.root}; give write access"
    )


def test_another_version_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = own_version()
    assert misfit(ours) == ""
    assert misfit("99.1") == f"has landscape {ours}, and the sweep 99.1; install the same there"

    def unknown() -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(reach, "own_version", unknown)
    assert misfit(ours).startswith("has landscape of unknown version, and the sweep ")
