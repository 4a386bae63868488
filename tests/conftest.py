"""What all tests share: one thread, a data folder if there is one, a small trained run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tally import Tally

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny networks, and exact results

ROOT = Path(__file__).resolve().parent.parent
TALLY = pytest.StashKey[Tally]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run only when asked for by marker."""
    if "slow" in (config.getoption("-m") or ""):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: make test-slow"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what the suites counted."""
    line = config.stash.get(TALLY, Tally()).line()
    if line:
        terminalreporter.write_sep("-", "figures")
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Figures of this session: ``tally.add("kills", 20, levels_lost=0)``."""
    return pytestconfig.stash.setdefault(TALLY, Tally())


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, or a skip that names what is missing."""
    named = os.environ.get("LANDSCAPE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "mnist" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no MNIST in {folder}: set LANDSCAPE_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory):
    """A store with two small runs on the digits: ``imp`` and ``random``, levels 0 to 2.

    Shared by the session: tests may add results to it, never runs or changed files.
    """
    import landscape
    from tests.support.runs import SMALL

    store = landscape.open(tmp_path_factory.mktemp("small") / "store")
    landscape.train(store=store, name="imp", **SMALL)
    landscape.train(store=store, name="random", **{**SMALL, "criterion": "random"})
    return store
