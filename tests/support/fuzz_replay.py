"""One input of the fuzzer again, with its traceback: ``python -m tests.support.fuzz_replay``."""

from __future__ import annotations

import faulthandler
import sys
import tempfile
from pathlib import Path

from landscape.data_store.errors import LandscapeError
from tests.support.fuzz_table import TARGETS
from tests.support.fuzz_watch import Guard, attempt, confine, outside


def main(name: str, seed: int) -> None:
    """Give a target the input of a seed; the folder it used is kept."""
    faulthandler.enable()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-{seed}-"))
    scratch = folder / "inside" / "scratch"
    (folder / "inside" / "kept").mkdir(parents=True)
    print(f"in {folder}")
    print(f"input: {TARGETS[name].input(seed)!r:.2000}")
    guard = Guard(folder / "inside")
    confine()
    with outside(folder) as look:
        before = look()
        try:
            print("read" if attempt(TARGETS[name], seed, scratch, guard) else "refused")
        except LandscapeError as error:
            print(f"refused: {error}")
        if guard.crimes or look() != before:
            print(f"it did {guard.crimes or 'change what lies outside'}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
