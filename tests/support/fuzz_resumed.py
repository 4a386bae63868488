"""Hostile resume files of a run that somebody mailed, and that is gone on with."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import landscape
import landscape.trainer
from landscape.data_store import image as landscape_image
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.params import Array
from landscape.data_store.resume_file import read_resume, save_resume
from landscape.data_store.store import open_store
from tests.support import fuzz_corpus as corpus
from tests.support import fuzz_seals as seals
from tests.support.fuzz import altered, strange
from tests.support.fuzz_files import altered_arrays
from tests.support.fuzz_watch import SIZE_LIMIT, Target
from tests.support.trained import Stop, stop_at
from tests.support.witness import files

SETTINGS: dict[str, Any] = {
    "task": "digits", "model": corpus.MODEL, "levels": 2, "iterations": 6, "eval_every": 2,
    "batch_size": 20, "rewind_step": 1,
}  # fmt: skip
_RESUME, _LEVEL = "runs/imp/resume.h5", "runs/imp/level_0000.h5"
_MANIFEST = "runs/imp/run.json"


@cache
def _stopped() -> tuple[dict[str, bytes], str, dict[str, Array]]:
    """A store whose run was stopped in level 1; the run's identity, and its state."""
    before = landscape.trainer.RESUME_SECONDS
    landscape.trainer.RESUME_SECONDS = -1.0
    try:
        with tempfile.TemporaryDirectory() as place:
            store = landscape.open(Path(place) / "store")
            with suppress(Stop):
                landscape.train(store=store, name="imp", listener=stop_at(1, 4), **SETTINGS)
            _, state = read_resume(store.root / _RESUME)
            return files(store.root), store["imp"].identity, state
    finally:
        landscape.trainer.RESUME_SECONDS = before


def _mailed(draws: Random) -> dict[str, bytes]:
    """The stopped run with a hostile state, level, starting point or manifest."""
    stored, identity, state = _stopped()
    kind = draws.randrange(10)
    if kind < 6:
        changed = altered_arrays(draws, state)
        if draws.random() < 0.2:
            changed["step"] = np.array([draws.choice((-1, 0, 3, 6, 7, 10**9, 2**62))])
        with suppress(LandscapeError, ValueError, TypeError):  # what the format cannot hold
            return {**stored, _RESUME: _image(changed, identity)}
        return stored
    if kind < 8:
        header = seals.header_of(stored[_LEVEL])
        part = draws.choice(("metrics", "origins", "status", "level", "points", "spec", "prunable"))
        header[part] = altered(draws, header[part]) if draws.random() < 0.7 else strange(draws)
        image = seals.with_header(stored[_LEVEL], json.dumps(header).encode())
        return {**stored, _LEVEL: image}
    if kind < 9:
        arrays = altered_arrays(draws, seals.opened(stored[_LEVEL]))
        return {**stored, _LEVEL: landscape_image.seal({}, arrays, compress=True)}
    record = json.loads(stored[_MANIFEST])
    part = draws.choice(("config", "provenance", "data", "init", "prunable", "spec", "name"))
    record[part] = altered(draws, record[part]) if draws.random() < 0.7 else strange(draws)
    for name in ("format", "version", "sha256"):
        record.pop(name)
    content = manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, record)
    return {**stored, _MANIFEST: content}


def _image(state: dict[str, Array], identity: str) -> bytes:
    """The bytes of a resume file of level 1."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "resume.h5"
        save_resume(path, 1, state, run=identity)
        return path.read_bytes()


def _go_on(files: dict[str, bytes], scratch: Path) -> None:
    """Go on with the run."""
    root = scratch / "store"
    corpus.write(root, files)
    threads = torch.get_num_threads()
    run = landscape.train(store=open_store(root, size_limit=SIZE_LIMIT), name="imp", **SETTINGS)
    assert run.levels == [0, 1]
    assert torch.get_num_threads() == threads


TARGETS = (Target("resumed", _mailed, _go_on),)
