"""Flipped bits and cut files: each is refused by name wherever it is read, and made again."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import landscape
from landscape.cli import run as command
from landscape.data_store import layout, snapshot
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError
from landscape.data_store.results import load_result
from landscape.data_store.resume_file import load_resume, read_resume, save_resume
from landscape.data_store.store import Run, Store, open_store
from landscape.data_store.ticket_file import read_ticket, ticket_image
from landscape.data_store.verify import check, files
from tests.support.tally import Tally

SETTINGS: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-8-10",
    "levels": 3,
    "iterations": 20,
    "eval_every": 10,
    "batch_size": 50,
    "rewind_step": 4,
}
OPTIONS = [f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items()]
KINDS = ("level", "object", "resume", "ticket", "run", "store", "result", "index")


@dataclass(frozen=True)
class Kept:
    """One file of a store, and how it is read.

    Parameters
    ----------
    path
        Where it lies.
    read
        Reads it as commands do; raises `LandscapeError` if it is not whole.
    in_store
        Whether a store has a place for it, so that it is verified.
    """

    path: Path
    read: Callable[[], Any]
    in_store: bool = True


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a file of every kind."""
    store = open_store(tmp_path_factory.mktemp("flips") / "store")
    run = landscape.train(store=store, name="run", **SETTINGS)
    landscape.barrier("run", store=store, points=3)
    state = {"theta": np.arange(300.0, dtype=np.float32), "order": np.arange(50)}
    save_resume(layout.resume_file(store.root, "run"), 2, state)
    ticket = ticket_image(run[2, "ticket"], {"task": "digits", "run": "run"})
    store.root.with_name("ticket.h5").write_bytes(ticket)
    os.utime(layout.run_folder(store.root, "run"), (1, 1))  # long ago, for the catalogue
    store.runs()
    assert check(store, files(store)) == []
    return store


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    """A copy that a test may change."""
    return Store(Path(shutil.copytree(made.root, tmp_path / "store")))


def kept(store: Store, kind: str) -> Kept:
    """The file of a kind."""
    root = store.root
    run = Run(root, "run")
    if kind == "level":
        return Kept(layout.level_file(root, "run", 1), lambda: run.level(1))
    if kind == "object":
        digest = run.level(0).origins["rewind"]
        return Kept(layout.object_file(root, digest), lambda: run.point(digest))
    if kind == "resume":
        path = layout.resume_file(root, "run")
        return Kept(path, lambda: read_resume(path, root=root))
    if kind == "ticket":
        path = root.with_name("ticket.h5")
        return Kept(path, lambda: read_ticket(path), in_store=False)
    if kind == "run":
        return Kept(layout.run_manifest(root, "run"), lambda: run.description)
    if kind == "store":
        return Kept(layout.manifest(root), lambda: open_store(root, create=False))
    if kind == "result":
        path = sorted(layout.results(root).rglob("*.nc"))[0]
        return Kept(path, lambda: load_result(path, root=root))
    path = layout.index(root)

    def read() -> None:
        """Readers make a damaged catalogue again: that it was refused shows in its bytes."""
        db = snapshot.stored(path, root=root)
        if db is None:
            raise LandscapeError(f"{path} was not read")
        db.close()

    return Kept(path, read)


def flipped(content: bytes, draws: Random) -> bytes:
    """`content` with one bit the other way."""
    at = draws.randrange(len(content))
    changed = content[at] ^ (1 << draws.randrange(8))
    return content[:at] + bytes([changed]) + content[at + 1 :]


def cut(content: bytes, draws: Random) -> bytes:
    """The beginning of `content`, of any length but the whole."""
    return content[: draws.randrange(len(content))]


def extended(content: bytes, draws: Random) -> bytes:
    """`content` with a few bytes behind it."""
    return content + draws.randbytes(draws.randrange(1, 9))


class Harmed:
    """A file whose content is replaced again and again, unseen by its time of change."""

    def __init__(self, file: Kept) -> None:
        self.content = file.path.read_bytes()
        self._path, self._state = file.path, file.path.stat()

    def becomes(self, content: bytes) -> None:
        """Replace the content in place, as a disk that forgets does."""
        self._path.write_bytes(content)
        os.utime(self._path, ns=(self._state.st_atime_ns, self._state.st_mtime_ns))


def accepted(store: Store, kind: str, count: int, harm: Callable[..., bytes]) -> list[str]:
    """What was not refused, or not named by verify alone, of many harmed files of a kind."""
    draws = Random(f"{kind} {harm.__name__}")
    file = kept(store, kind)
    harmed = Harmed(file)
    faults = []
    for number in range(count):
        harmed.becomes(harm(harmed.content, draws))
        try:
            file.read()
            faults.append(f"{kind} {number} was read")
        except LandscapeError as error:
            if str(file.path) not in str(error):
                faults.append(f"{kind} {number} was not named: {error}")
        if file.in_store and number % 10 == 0:
            named = [f.path for f in check(store, files(store)) if f.is_wrong]
            if named != [file.path]:
                faults.append(f"{kind} {number}: verify named {named}")
    harmed.becomes(harmed.content)
    file.read()
    return faults


@pytest.mark.parametrize(
    "count", [pytest.param(50, id="fast"), pytest.param(2000, id="slow", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_flip_is_refused_by_name(
    kind: str, count: int, store: Store, made: Store, tally: Tally
) -> None:
    shutil.copy(made.root.with_name("ticket.h5"), store.root.with_name("ticket.h5"))
    faults = accepted(store, kind, count, flipped)
    tally.add("flipped bits", count, accepted=len(faults))
    assert faults == []
    for harm, share in ((cut, 5), (extended, 25)):
        faults = accepted(store, kind, count // share, harm)
        tally.add("cut or extended files", count // share, accepted=len(faults))
        assert faults == []


@pytest.mark.slow
def test_every_single_bit_of_a_small_manifest_is_refused(store: Store, tally: Tally) -> None:
    file = kept(store, "store")
    content = file.path.read_bytes()
    for at in range(len(content) * 8):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        file.path.write_bytes(changed)
        with pytest.raises(LandscapeError, match=re.escape(str(file.path))):
            file.read()
    tally.add("flipped bits", len(content) * 8, accepted=0)


def test_a_flipped_resume_file_counts_as_none(store: Store) -> None:
    path = layout.resume_file(store.root, "run")
    assert load_resume(path, 2) is not None
    harmed = Harmed(kept(store, "resume"))
    draws = Random(0)
    for harm in (flipped, cut) * 25:
        harmed.becomes(harm(harmed.content, draws))
        assert load_resume(path, 2) is None


def test_a_flipped_catalogue_is_made_again_and_its_rows_are_right(store: Store) -> None:
    catalog = Catalog(store.root)
    right = [catalog.rows("runs"), catalog.levels("run"), catalog.rows("results")]
    harmed = Harmed(kept(store, "index"))
    draws = Random(1)
    for harm in (flipped, cut) * 25:
        harmed.becomes(harm(harmed.content, draws))
        assert [catalog.rows("runs"), catalog.levels("run"), catalog.rows("results")] == right
        db = snapshot.stored(layout.index(store.root), root=store.root)
        assert db is not None
        db.close()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("harm", [flipped, cut])
def test_the_next_analysis_computes_a_damaged_result_again(
    harm: Callable[..., bytes], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["barrier", "run", "--points=3", "--store", str(store.root), "--json"]
    file = kept(store, "result")
    right = load_result(file.path)
    damaged = harm(file.path.read_bytes(), Random(2))
    file.path.write_bytes(damaged)
    assert command(arguments) == 0
    aside = store.root / "damaged" / file.path.relative_to(store.root)
    assert f"it is now {aside}, and computed again" in capsys.readouterr().err
    assert aside.read_bytes() == damaged
    assert load_result(file.path).equals(right)
    assert check(store, files(store)) == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("harm", [flipped, cut])
@pytest.mark.parametrize("kind", ["level", "object"])
def test_the_next_training_makes_damaged_files_again_byte_for_byte(
    kind: str, harm: Callable[..., bytes], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kept(store, kind)
    before = {path: path.read_bytes() for path in store.root.rglob("*.h5")}
    file.path.write_bytes(harm(before[file.path], Random(3)))
    assert command(["train", "--name=run", *OPTIONS, "--store", str(store.root)]) == 0
    assert str(file.path) in capsys.readouterr().err
    before.pop(layout.resume_file(store.root, "run"))
    assert {path: path.read_bytes() for path in before} == before
    assert check(store, files(store)) == []


def test_a_level_missing_in_the_middle_is_named_and_made_again(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = layout.level_file(store.root, "run", 1)
    content = path.read_bytes()
    path.unlink()
    assert [f.path for f in check(store, files(store))] == [path]
    assert command(["barrier", "run", "--points=3", "--store", str(store.root)]) == 1
    assert "run 'run' lacks level 1 of 0 to 2: repeat the command" in capsys.readouterr().err
    assert command(["train", "--name=run", *OPTIONS, "--store", str(store.root)]) == 0
    assert path.read_bytes() == content
    assert check(store, files(store)) == []


def test_another_file_under_a_stores_name_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    strangers = open_store(tmp_path / "strangers")
    other = landscape.train(store=strangers, name="run", **{**SETTINGS, "seed": 1})
    landscape.overlap("run", store=strangers)
    run = Run(store.root, "run")
    origin = layout.object_file(strangers.root, other.level(0).origins["init"])
    result = kept(store, "result")
    foreign = next(layout.results(strangers.root).rglob("*.nc")).read_bytes()
    level = layout.level_file(store.root, "run", 1).read_bytes()
    seen: dict[Path, tuple[bytes, Callable[[], Any] | None]] = {
        layout.level_file(store.root, "run", 2): (level, lambda: run.level(2)),
        kept(store, "object").path: (origin.read_bytes(), kept(store, "object").read),
        result.path: (foreign, result.read),
        # whole, rightly numbered, and of another run: only its origins tell
        layout.level_file(store.root, "run", 0): (
            layout.level_file(strangers.root, "run", 0).read_bytes(), None,
        ),
        layout.level_file(store.root, "run", 1): (b"a text", lambda: run.level(1)),
        layout.run_manifest(store.root, "run"): (
            layout.manifest(store.root).read_bytes(), lambda: run.description,
        ),
    }  # fmt: skip
    for path, (content, read) in seen.items():
        right = path.read_bytes()
        path.write_bytes(content)
        if read is not None:
            with pytest.raises(LandscapeError, match=re.escape(str(path))):
                read()
        named = {f.path for f in check(store, files(store)) if f.is_wrong}
        assert path in named
        path.write_bytes(right)
    assert check(store, files(store)) == []
