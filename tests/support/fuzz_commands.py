"""The command line, asked in this process: an exit code and one sentence, whatever it is given."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from landscape.data_store.errors import LandscapeError
from tests.support import fuzz_corpus as corpus
from tests.support.fuzz_watch import SECRET

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def command(*arguments: str) -> str:
    """What a command printed; `LandscapeError` with its sentence if it failed.

    Fails unless the exit code is 0, 1 or 2, and what is printed is words without a traceback,
    without a character that a terminal would obey, and with one sentence if it failed.
    """
    from landscape.cli import run

    output, errors = _Terminal("strict"), _Terminal("backslashreplace")
    with redirect_stdout(output.text), redirect_stderr(errors.text):
        code = run(list(arguments))
    printed, said = output.content(), errors.content()
    lines = said.splitlines()
    failed = [line for line in lines if line.startswith("Error: ")]
    strange = [line for line in lines if not line.startswith(("Error: ", "Warning: "))]
    assert code in (0, 1, 2), f"exit code {code}"
    found = arguments[0] == "verify" and code == 1 and printed  # what is wrong is its answer
    assert len(failed) == (code != 0 and not found), f"code {code} and {said!r}"
    assert not strange, f"neither error nor warning: {strange!r}"
    assert "Traceback" not in said, said
    assert "out of memory" not in said, said
    assert SECRET.decode() not in printed + said, "it told what lies beside the store"
    control = _CONTROL.search(printed.replace("\n", "")) or _CONTROL.search(said)
    assert not control, f"control character {control.group()!r} printed: {printed!r} {said!r}"
    if failed:
        raise LandscapeError(failed[0])
    return printed


class _Terminal:
    """A stream that treats what it cannot encode as Python's own do."""

    def __init__(self, faults: str) -> None:
        self._bytes = io.BytesIO()
        self.text = io.TextIOWrapper(self._bytes, "utf-8", faults, write_through=True)

    def content(self) -> str:
        """What was written."""
        self.text.flush()
        return self._bytes.getvalue().decode()


def written_store(scratch: Path, files: Mapping[str, bytes] | None = None) -> Path:
    """The corpus' store in a folder."""
    root = scratch / "store"
    corpus.write(root, corpus.store_files() if files is None else files)
    return root


def kept_store(scratch: Path) -> Path:
    """The corpus' store beside the scratch folder, written once; for what only reads it."""
    root = scratch.parent / "kept" / "store"
    if not root.exists():
        corpus.write(root, corpus.store_files())
        for folder, _, _ in os.walk(root):
            os.utime(folder, (1, 1))  # so long ago that the catalogue takes it for settled
    return root


def warm_up(folder: Path) -> None:
    """Ask everything once, so that forked workers find it imported."""
    root = folder / "store"
    corpus.write(root, corpus.store_files())
    level = str(root / "runs" / "imp" / "level_0001.h5")
    result = next(n for n in corpus.store_files() if n.startswith("results/barrier/"))[-43:-35]
    questions = [
        ["ls"], ["ls", "results"], ["show", "imp"], ["show", "imp@1"], ["show", result],
        ["overlap", "imp@0", "imp@1"], ["barrier", "imp@0", "imp@1"],
        ["export", "imp@1", str(folder / "a.h5")], ["export", "imp@1", str(folder / "a.pt")],
        ["export", "imp@1", str(folder / "a.safetensors")],
        ["export", result, str(folder / "b.h5")], ["verify"], ["verify", "--repair"],
        ["import", level, "--name", "new"], ["import", str(folder / "a.pt"), "--name", "other"],
        ["import", str(folder / "a.safetensors"), "--name", "third"],
    ]  # fmt: skip
    for question in questions:
        with suppress(LandscapeError):
            command(*question, "--store", str(root))
