"""How long the command line takes to say something.

Run with ``python -m benchmarks.startup``. ``landscape --help`` and ``landscape ls`` (over a
store with one run of two levels and one result) beside the imports a command would otherwise pay.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import landscape
from benchmarks.measure import report, side_by_side

RUN = [sys.executable, "-m", "landscape"]


def main() -> None:
    """Time whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        run = landscape.train(
            store=landscape.open(store), name="small", task="digits", levels=2, iterations=20
        )
        landscape.overlap(run[0], run[1])
        commands = {
            "landscape --help": [*RUN, "--help"],
            "landscape ls": [*RUN, "ls", "--store", str(store)],
            "landscape ls results": [*RUN, "ls", "results", "--store", str(store)],
            "python -c pass": [sys.executable, "-c", "pass"],
            "import xarray": [sys.executable, "-c", "import xarray"],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        timings = side_by_side(
            {
                name: lambda words=words: subprocess.run(words, check=True, capture_output=True)
                for name, words in commands.items()
            }
        )
        report(__doc__.splitlines()[0], timings, ours="landscape --help")


if __name__ == "__main__":
    main()
