"""The resume file: a state comes back bit for bit, or the level is begun anew."""

import errno
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import seal
from landscape.data_store.resume_file import load_resume, save_resume

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
