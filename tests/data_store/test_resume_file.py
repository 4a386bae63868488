"""The resume file: a state comes back bit for bit, or the level is begun anew."""

import errno
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.image import seal
from landscape.data_store.resume_file import load_resume, read_resume, save_resume

STATE = {
    "step": np.array([60]),
    "trace": np.array([[1.0, np.nan], [2.0, -0.0]]),
    "theta/": np.linspace(-1, 1, 50, dtype=np.float32),
    "theta/step-40": np.full(50, np.nan, np.float32),
    "buffer//bn.num_batches_tracked": np.array(60),
    "buffer/step-40/bn.running_mean": np.zeros((2, 3), np.float32),
    "buffer//causal": np.tri(3, dtype=bool),
    "optimizer/exp_avg": np.zeros(0, np.float32),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "resume.h5"


def test_a_state_comes_back(path):
    save_resume(path, 2, STATE)
    found = load_resume(path, 2)
    assert list(found) == list(STATE)
    for name, want in STATE.items():
        assert found[name].dtype == want.dtype
        assert found[name].shape == want.shape
        assert found[name].tobytes() == want.tobytes()


def test_a_state_may_be_empty(path):
    save_resume(path, 0, {})
    assert load_resume(path, 0) == {}


def test_the_last_state_replaces_the_others(path):
    for step in (20, 40):
        save_resume(path, 2, {"step": np.array([step])})
    assert list(load_resume(path, 2)["step"]) == [40]
    assert [file.name for file in path.parent.iterdir()] == ["resume.h5"]


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_state_of_another_level_is_none(path, level):
    save_resume(path, 2, STATE)
    assert load_resume(path, level) is None


def test_an_absent_file_is_none(path):
    assert load_resume(path, 0) is None


def test_a_damaged_file_is_none(path):
    save_resume(path, 2, STATE)
    content = path.read_bytes()
    draws = np.random.default_rng(0)
    for place in draws.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(damaged)
        assert load_resume(path, 2) is None
    for length in (0, 100, 511, 512, len(content) - 1):
        path.write_bytes(content[:length])
        assert load_resume(path, 2) is None


def test_a_file_of_a_newer_version_is_none(path):
    path.parent.mkdir()
    header = {"format": layout.RESUME_FORMAT, "version": [2, 0], "level": 2, "names": []}
    path.write_bytes(seal(header, {}, compress=False))
    assert load_resume(path, 2) is None


def test_a_full_disk_leaves_the_last_state(path, monkeypatch):
    save_resume(path, 2, STATE)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(LandscapeError, match=r"could not write .*resume\.h5: No space left"):
        save_resume(path, 2, {"step": np.array([80])})
    assert list(load_resume(path, 2)["step"]) == [60]


def test_what_is_wrong_with_a_file_is_said_to_who_asks(path):
    save_resume(path, 2, STATE)
    level, state = read_resume(path)
    assert level == 2
    assert list(state) == list(STATE)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match=r"resume\.h5 is damaged: its content does not match"):
        read_resume(path)
    with pytest.raises(LandscapeError, match=r"cannot read .*absent: No such file"):
        read_resume(path.with_name("absent"))


ONE = ["step", "int64", [1], False]


def forged(path, header=None, arrays=None):
    """A resume file under a right seal, with one array as `save_resume` writes it, changed."""
    path.parent.mkdir(exist_ok=True)
    fixed = {"format": layout.RESUME_FORMAT, "version": layout.RESUME_VERSION}
    whole = {**fixed, "run": "", "level": 2, "arrays": [ONE], **(header or {})}
    whole = {k: v for k, v in whole.items() if v != "drop"}
    plain = {"int64": np.array([7]), **(arrays or {})}
    path.write_bytes(seal(whole, plain, compress=False))


def test_what_the_next_test_changes_is_whole(path):
    forged(path)
    assert list(load_resume(path, 2)["step"]) == [7]
    forged(path, {"arrays": [["a", "int64", [3], True]]}, {"filled": np.array([64], np.uint8)})
    assert list(load_resume(path, 2)["a"]) == [0, 7, 0]


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        ({"level": "drop"}, {}),
        ({"level": None}, {}),
        ({"level": "two"}, {}),
        ({"level": float("inf")}, {}),
        ({"run": "drop"}, {}),
        ({"arrays": "drop"}, {}),
        ({"arrays": 3}, {}),
        ({"arrays": [[]]}, {}),
        ({"arrays": [["a", "int64", [2], False]]}, {}),
        ({"arrays": [["a", "int64", [-1], False]]}, {}),
        ({"arrays": [["a", "int64", 1, False]]}, {}),
        ({"arrays": [["a", "int64", [1.0], False]]}, {}),
        ({"arrays": [["a", "float32", [1], False]]}, {}),
        ({"arrays": [["a", "S2000000000", [1], False]]}, {"S2000000000": np.array([1])}),
        ({"arrays": [["a", [], [1], False]]}, {}),
        ({"arrays": [[[], "int64", [1], False]]}, {}),
        ({"arrays": [["a", "int64", [3], True]]}, {}),
        ({"arrays": [["a", "int64", [3], True]]}, {"filled": np.array([255], np.uint8)}),
        ({"arrays": [["a", "int64", [30], True]]}, {"filled": np.array([64], np.uint8)}),
        ({"arrays": [["a", "int64", [3], True]]}, {"filled": np.array([64])}),
    ],
)
def test_an_incomplete_file_is_none_and_named(path, header, arrays):
    forged(path, header, arrays)
    assert load_resume(path, 2) is None
    with pytest.raises(
        DamagedFile, match=r"resume\.h5 is (an incomplete|no readable landscape-) ?"
    ):
        read_resume(path)


@pytest.mark.parametrize("count", [10**15, 2**33])
def test_a_claim_of_many_zeros_is_refused_before_they_are_made(path, monkeypatch, count):
    forged(path, {"arrays": [["a", "int64", [count], True]]}, {"filled": np.zeros(1, np.uint8)})
    for name in ("zeros", "ones"):
        monkeypatch.setattr(np, name, lambda *_, **__: pytest.fail("they were made"))
    assert load_resume(path, 2) is None
    with pytest.raises(LandscapeError, match=rf"takes {9 * count} bytes unpacked; more than"):
        read_resume(path)


def test_a_state_of_another_run_is_none(path):
    save_resume(path, 2, STATE, run="one")
    assert list(load_resume(path, 2, run="one")) == list(STATE)
    assert load_resume(path, 2, run="other") is None
    assert load_resume(path, 2) is None


def test_a_link_or_a_file_over_the_limit_is_none_and_kept(path, tmp_path):
    save_resume(path, 2, STATE)
    root = tmp_path / "run"
    (root / "link.h5").symlink_to(path)
    assert load_resume(root / "link.h5", 2, root=root) is None
    with pytest.raises(LandscapeError, match=r"link\.h5 is a symbolic link"):
        save_resume(root / "link.h5", 2, STATE, root=root)
    assert load_resume(path, 2, root=root, limit=path.stat().st_size - 1) is None
    assert list(load_resume(path, 2, root=root)) == list(STATE)


def test_a_folder_in_its_place_is_none(path):
    path.mkdir(parents=True)
    assert load_resume(path, 2) is None
