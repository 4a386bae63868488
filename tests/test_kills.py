"""kill -9 of training, of an analysis and of a catalogue rebuild: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import landscape
from landscape.data_store import layout
from tests.support.kills import (
    NAMES,
    SETTINGS,
    Trial,
    kill_at,
    kill_at_random,
    one_of_each,
    operations,
    three_trials,
)
from tests.support.tally import Tally
from tests.support.witness import files, is_temporary, kept

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    """The three commands as they go when nobody disturbs them."""
    return three_trials(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(("name", "kills"), [("training", 7), ("analysis", 7), ("catalogue", 6)])
def test_killed_at_random_moments_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str, kills: int
) -> None:
    kill_at_random(trials[name], tmp_path, 20, kills, tally)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", NAMES)
def test_killed_often_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str, seed: int
) -> None:
    kill_at_random(trials[name], tmp_path, seed, 20, tally)


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_each_kind_of_file_operation_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str
) -> None:
    points = operations(trials[name], tmp_path / "counted")
    for at in one_of_each(points):
        kill_at(trials[name], tmp_path, at, points[at], tally)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_every_file_operation_nothing_is_lost(
    trials: dict[str, Trial], tmp_path: Path, tally: Tally, name: str
) -> None:
    points = operations(trials[name], tmp_path / "counted")
    for at, point in enumerate(points):
        kill_at(trials[name], tmp_path, at, point, tally)


def test_a_name_is_given_after_the_content_reached_the_disk(
    trials: dict[str, Trial], tmp_path: Path
) -> None:
    # kill -9 cannot show this, only a power cut could: the order of the operations does
    points = operations(trials["training"], tmp_path / "counted")
    given = [i for i, point in enumerate(points) if point.startswith(("link ", "rename "))]
    assert len(given) >= len(trials["training"].expected)
    for i, following in zip(given, [*given[1:], len(points)], strict=True):
        folder, _, name = points[i].split(" ", 1)[1].rpartition("/")
        if name == "resume.h5":  # a torn one is refused by its digest, and its level begun anew
            continue
        place = f"{folder}/" if folder else ""
        assert points[i - 1].startswith(f"fsync {place}.{name}."), points[i - 1 : i + 1]
        assert f"fsync {folder or '.'}" in points[i:following], points[i:following]


def command(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A command line in a process of its own."""
    words = [sys.executable, "-m", "landscape", *arguments, "--store", str(root)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something happened; fail if the command ends before."""
    while not happened():
        assert process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_real_commands_killed_go_on_to_the_same_bytes(
    tmp_path: Path, tally: Tally, seed: int
) -> None:
    settings = SETTINGS | {"iterations": 1500}
    undisturbed = tmp_path / "undisturbed"
    landscape.train(store=landscape.open(undisturbed), name="run", **settings)
    expected = {name: c for name, c in kept(files(undisturbed)).items() if name.endswith(".h5")}

    root, draws = tmp_path / "store", Random(seed)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    for number in range(2):
        level = layout.level_file(root, "run", number)
        with command(root, "train", "--name", "run", *options) as process:
            wait_for(level.exists, process)
            time.sleep(draws.uniform(0.0, 0.1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        tally.add("kills", files_lost=0, half_visible=0)
        found = {name: c for name, c in kept(files(root)).items() if name.endswith(".h5")}
        assert level.relative_to(root).as_posix() in found
        assert found.items() <= expected.items()
    with command(root, "train", "--name", "run", *options) as process:
        assert process.wait() == 0

    with command(root, "barrier", "run@0", "run@1", "--points", "3") as process:
        wait_for(layout.results(root).exists, process)
        process.kill()
    tally.add("kills", files_lost=0, half_visible=0)
    with command(root, "barrier", "run@0", "run@1", "--points", "3") as process:
        assert process.wait() == 0
    found = files(root)
    assert {name: c for name, c in found.items() if name.endswith(".h5")} == expected
    assert len([name for name in found if name.startswith("results/")]) == 1
    assert not [name for name in found if is_temporary(name.rpartition("/")[2])]
