"""Hostile input of every kind is read, or refused in a sentence: nothing else ever happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from landscape.data_store import layout
from landscape.data_store.address import check_run_name, is_run_name, parse_address
from landscape.data_store.conditions import clause, parse_condition
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.store import Store, open_store
from tests.support import fuzz, fuzz_corpus
from tests.support.fuzz_seals import lookup3
from tests.support.tally import Tally

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this machine")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="no limit of memory is kept")
ROOT = Path(__file__).resolve().parent.parent

# inputs of a target in `make test`, and in `make test-slow`
EFFORT = {
    "address": (400, 10_000),
    "name": (200, 6_000),
    "condition": (150, 5_000),
    "size": (100, 2_000),
    "level": (160, 14_000),
    "object": (120, 10_000),
    "resume": (120, 9_000),
    "ticket": (120, 9_000),
    "hdf5": (60, 3_000),
    "result": (160, 12_000),
    "manifest": (400, 14_000),
    "exported": (150, 8_000),
    "torch": (250, 12_000),
    "safetensors": (300, 12_000),
    "open-lth": (50, 3_000),
    "resumed": (12, 1_000),
    "store": (40, 5_000),
    "index": (12, 1_000),
}
GUIDED = {
    "words": 100_000, "manifest": 8_000, "record": 4_000, "level": 8_000, "safetensors": 10_000,
    "pickle": 3_000, "embedded": 8_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The corpus' store, beside files that nobody may reach."""
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz_corpus.write(folder, {"run.json": b"", "outside/run.json": b"", "runs/x/run.json": b""})
    fuzz_corpus.write(folder / "store", fuzz_corpus.store_files())
    return open_store(folder / "store", create=False)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything that hostile input meets, imported before workers are forked."""
    from tests.support.fuzz_commands import warm_up

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warm_up(tmp_path_factory.mktemp("warm"))


@forked
def test_every_target_is_tried() -> None:
    from tests.support.fuzz_table import TARGETS

    assert set(EFFORT) == set(TARGETS)


def test_the_slow_suite_tries_a_hundred_thousand_inputs() -> None:
    assert sum(slow for _, slow in EFFORT.values()) >= 100_000


@forked
@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("name", EFFORT)
def test_hostile_input_is_read_or_refused(name: str, tally: Tally) -> None:
    attack(name, range(EFFORT[name][0]), tally)


@forked
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
@pytest.mark.parametrize("name", EFFORT)
def test_much_hostile_input_is_read_or_refused(name: str, tally: Tally) -> None:
    attack(name, range(1_000_000, 1_000_000 + EFFORT[name][1]), tally)


def attack(name: str, seeds: range, tally: Tally) -> None:
    """Give a target the inputs of all seeds, and fail with every fault and how to replay it."""
    from tests.support.fuzz_table import TARGETS
    from tests.support.fuzz_watch import campaign

    report = campaign(TARGETS[name], seeds)
    tally.add("hostile inputs", report.inputs, faults=len(report.faults))
    assert not report.faults, "\n\n".join(map(str, report.faults))
    assert report.inputs == len(seeds)
    assert report.refused or name == "index", "nothing in it was hostile"  # one is made anew


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: extra fuzz")
@pytest.mark.parametrize("name", GUIDED)
def test_input_guided_by_coverage_is_read_or_refused(
    name: str, tmp_path: Path, tally: Tally
) -> None:
    command = [
        sys.executable, "-m", "tests.support.fuzz_atheris", name, str(tmp_path),
        f"-runs={GUIDED[name]}", "-seed=1", "-timeout=20", "-rss_limit_mb=4096", "-max_len=20000",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    again = f"replay: {' '.join(command[:5])} {tmp_path}/crash-… -runs=1"
    assert done.returncode == 0, f"{done.stderr[-5000:]}\n{again}"
    runs = re.search(r"Done ([0-9]+) runs", done.stderr)
    assert runs, done.stderr[-2000:]
    tally.add("guided inputs", int(runs[1]), faults=0)


# Words: what hypothesis thinks of


def words() -> st.SearchStrategy[str]:
    """Names and addresses, hostile ones and almost right ones."""
    almost = st.from_regex(r"[a-z0-9._@/-]{0,20}(@[0-9a-z]{0,6})?(\.[a-z]{0,8}(-[0-9]{0,13})?)?")
    return st.one_of(
        st.text(), st.sampled_from(fuzz.NAMES), almost, *map(st.just, ["imp", "imp@1"])
    )


@effort(max_examples=200, deadline=None)
@given(words())
def test_a_name_that_is_let_through_is_a_folder_of_the_store(name: str) -> None:
    if not is_run_name(name):
        with pytest.raises(UsageError, match="is no name for a run"):
            check_run_name(name)
        return
    assert check_run_name(name) == name
    place = layout.run_folder(Path("/store"), name)
    assert place.parent == Path("/store/runs")
    assert Path(os.path.normpath(place)) == place
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)
    assert len(name) <= 64


@effort(max_examples=200, deadline=None)
@given(words())
def test_an_address_is_parsed_as_it_is_written_or_refused(text: str) -> None:
    try:
        place = parse_address(text)
    except UsageError:
        return
    assert parse_address(str(place)) == place
    check_run_name(place.run)
    assert place.level is None or place.level in ("first", "last") or 0 <= int(place.level) <= 9999


@effort(max_examples=100, deadline=None)
@given(text=words())
def test_a_store_gives_its_own_runs_or_nothing(store: Store, text: str) -> None:
    for ask in (store.__getitem__, store.checkpoint):
        try:
            found = ask(text)
        except LandscapeError:
            continue
        assert (found.name if hasattr(found, "name") else found.run) in ("imp", "mailed")


@effort(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[a-z_]{1,8}\s*[=<>!]{1,2}.{0,20}")))
def test_a_condition_becomes_values_never_sql(text: str) -> None:
    fields = {"task": "task:TEXT", "level": "level:REAL", "points": "points:"}
    try:
        sql, values = clause([parse_condition(text)], fields, "results")
    except UsageError:
        return
    assert re.fullmatch(r"(task|level|points) (=|IS|IS NOT|<|<=|>|>=) \?", sql)
    assert len(values) == 1


# The fuzzer itself


@forked
def test_the_same_seed_gives_the_same_input() -> None:
    from tests.support.fuzz_table import TARGETS

    for target in TARGETS.values():
        for seed in range(3):
            assert repr(target.input(seed)) == repr(target.input(seed))


@pytest.mark.parametrize(
    ("content", "hash_"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_the_checksum_of_hdf5_is_that_of_its_author(content: bytes, hash_: int) -> None:
    """Test vectors in Bob Jenkins' lookup3.c."""
    assert lookup3(content) == hash_


@forked
@pytest.mark.parametrize(
    ("crime", "seen"),
    [
        ("open(beside + '/x', 'w').close()", "changed files outside"),
        ("open(beside + '/x', 'w').close()", "it did: open"),
        ("os.remove(beside + '/x')", "os.remove"),
        ("os.rename(beside + '/x', beside + '/y')", "os.rename"),
        ("os.symlink('x', beside + '/y')", "os.symlink"),
        ("os.mkdir(beside + '/y')", "os.mkdir"),
        ("os.system('true')", "os.system"),
        ("subprocess.run(['true'])", "subprocess.Popen"),
        ("socket.create_connection(('127.0.0.1', 9), 0.1)", "socket"),
        ("pickle.loads(b'cposix\\nsystem\\n.')", "pickle.find_class"),
        pytest.param("bytearray(2**33)", "MemoryError", marks=on_linux),
        ("1 / 0", "ZeroDivisionError"),
        ("sys.exit(3)", "SystemExit"),
        ("os.kill(os.getpid(), 9)", "ended with status -9"),
        ("os._exit(0)", "ended with status 0 before its batch"),
        ("time.sleep(60)", "it hung for 1 s"),
    ],
)
def test_the_watch_sees_a_crime_and_goes_on(
    crime: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of six inputs does it; the other five are tried nevertheless."""
    from tests.support import fuzz_watch

    names = ("os", "pickle", "socket", "subprocess", "sys", "time")
    modules = {name: __import__(name) for name in names}

    def use(number: float, scratch: Path) -> None:
        if number == culprit:
            exec(crime, {**modules, "beside": str(scratch.parent.parent / "outside")})

    target = fuzz_watch.Target("crime", lambda draws: draws.random(), use)
    culprit = target.input(2)
    monkeypatch.setattr(fuzz_watch, "PATIENCE", 1.0)
    report = fuzz_watch.campaign(target, range(6))
    assert [fault.seed for fault in report.faults] == [2]
    assert seen in report.faults[0].what
    assert "replay: python -m tests.support.fuzz_replay crime 2" in str(report.faults[0])
    assert (report.read, report.refused, report.inputs) == (5, 0, 6)
