"""Repair: what is damaged or foreign in a store, moved out of the way; nothing is deleted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import groupby
from pathlib import Path

from landscape.data_store import layout
from landscape.data_store.address import is_run_name
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import move_aside, sweep
from landscape.data_store.lock import holding
from landscape.data_store.store import Run, Store, make_manifest
from landscape.data_store.verify import Finding, check, files


def repair(store: Store, findings: Iterable[Finding]) -> dict[Path, str]:
    """Move what is damaged or foreign to ``damaged``, and make the rest right that can be.

    Temporary files of dead writers are removed, the store's manifest and the catalogue made
    again. A run whose manifest is damaged moves as a whole: without it, nobody can say how its
    levels were trained. Each file is looked at again first, a run's under its lock; of a run
    that another process is writing nothing is touched.

    Returns what was done about each finding, in words, by its path; those that nothing could
    be done about are left out.
    """
    done: dict[Path, str] = {}
    for run, group in groupby(findings, key=lambda finding: _run_of(store, finding.path)):
        there = list(group)
        try:
            with _alone(store, run):
                done |= _mended(store, run, there)
        except LandscapeError as error:
            done |= {f.path: f"left as it is: {error}" for f in there if _is_curable(f)}
    if not layout.manifest(store.root).exists():
        make_manifest(store.root)
        done.setdefault(layout.manifest(store.root), "made again")
    Catalog(store.root, store.size_limit).rebuilt()
    return done


def _run_of(store: Store, path: Path) -> str:
    """The run that a file belongs to, empty if none."""
    parts = path.relative_to(store.root).parts
    return parts[1] if len(parts) > 2 and parts[0] == "runs" and is_run_name(parts[1]) else ""


def _alone(store: Store, run: str) -> AbstractContextManager[None]:
    """The run's lock, if there is a run, and its lock is none that was put in its place."""
    lock = layout.run_lock(store.root, run) if run else None
    return nullcontext() if lock is None or lock.is_symlink() else holding(Run(store.root, run))


def _is_curable(finding: Finding) -> bool:
    """True if a repair has something to do."""
    return finding.aside is not None or not finding.is_wrong


def _mended(store: Store, run: str, findings: list[Finding]) -> dict[Path, str]:
    """What was done about the findings of one run, or of what is in none."""
    seen = [finding.path for finding in findings]
    here = [p for p in files(store) if _run_of(store, p) == run] if run else seen
    still = {finding.path: finding for finding in check(store, here, alone=True)}
    curable = [finding for finding in findings if _is_curable(finding)]
    curable.sort(key=lambda f: len((f.aside or f.path).parts))  # a run before what is in it
    return {f.path: _cure(store.root, f, still.get(f.path)) for f in curable}


def _cure(root: Path, finding: Finding, now: Finding | None) -> str:
    """Do what can be done about one finding; in words."""
    path = finding.path
    if not os.path.lexists(path):
        return "gone by itself" if path.parent.exists() else "moved with its run"
    if now is None:
        return "right by itself since"
    if now.aside is None:
        sweep(path.parent)
        return "left as it is" if os.path.lexists(path) else "removed"
    place = move_aside(root, now.aside)
    if place.is_dir() and not place.is_symlink():  # the lock's, if it was a whole run
        with suppress(OSError):
            (place / layout.run_holder(root, "").name).unlink()
    return f"moved to {place}"
