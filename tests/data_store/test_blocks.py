"""Blocks: what an interrupted computation finds again, and what it does not believe."""

from __future__ import annotations

import numpy as np
import pytest

import landscape
from landscape.data_store import blocks as module
from landscape.data_store import layout
from landscape.data_store.blocks import Blocks, read_block
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.verify import check, files

RESULT = "ab" * 20


@pytest.fixture
def blocks(tmp_path) -> Blocks:
    landscape.open(tmp_path / "store")
    return Blocks(tmp_path / "store", RESULT)


def test_a_block_comes_back_bit_for_bit(blocks):
    arrays = {
        "loss": np.array([[1.5, np.nan], [-0.0, np.inf]]),
        "count": np.array([3, -1]),
        "weights": np.array([0.1], dtype=np.float32),
        "status": np.array([0, 1], dtype=np.int8),
        "none": np.zeros((0, 3)),
    }
    assert blocks.read("cells 0") is None
    blocks.write("cells 0", arrays)
    again = blocks.read("cells 0")
    assert again is not None
    assert list(again) == list(arrays)
    for name, values in arrays.items():
        assert again[name].dtype == values.dtype
        assert again[name].tobytes() == values.tobytes()
    assert blocks.read("cells 1") is None


def test_the_first_of_a_name_wins(blocks):
    blocks.write("a", {"x": np.zeros(1)})
    blocks.write("a", {"x": np.ones(1)})
    found = blocks.read("a")
    assert found is not None
    assert found["x"].tolist() == [0.0]


def test_a_damaged_block_is_removed_and_computed_again(blocks):
    blocks.write("a", {"x": np.zeros(100)})
    (path,) = layout.blocks(blocks.root, RESULT).iterdir()
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert blocks.read("a") is None
    assert not path.exists()


def test_a_block_of_another_result_or_name_is_not_taken(blocks):
    blocks.write("a", {"x": np.zeros(1)})
    (path,) = layout.blocks(blocks.root, RESULT).iterdir()
    other = Blocks(blocks.root, "cd" * 20)
    other.write("a", {"x": np.ones(1)})
    (place,) = layout.blocks(blocks.root, other.result).iterdir()
    place.write_bytes(path.read_bytes())
    with pytest.raises(DamagedFile, match="is a block of another result"):
        read_block(place, other.result)
    assert other.read("a") is None
    blocks.write("b", {"x": np.ones(1)})
    (second,) = (p for p in layout.blocks(blocks.root, RESULT).iterdir() if p != path)
    second.write_bytes(path.read_bytes())
    assert blocks.read("b") is None


def test_they_go_when_the_result_is_stored(blocks):
    blocks.write("a", {"x": np.zeros(1)})
    blocks.clear()
    assert not layout.blocks(blocks.root, RESULT).exists()
    blocks.clear()


def test_verify_names_what_is_left_and_what_is_damaged(blocks):
    store = landscape.open(blocks.root)
    blocks.write("a", {"x": np.zeros(100)})
    (left,) = check(store, files(store))
    assert not left.is_wrong
    assert "analysis that is not finished" in str(left)
    left.path.write_bytes(left.path.read_bytes()[:-1])
    (cut,) = check(store, files(store))
    assert cut.is_wrong
    assert "the analysis computes it again" in str(cut)


def test_a_block_whose_folder_goes_while_it_is_written_is_not_missed(blocks, monkeypatch):
    def gone(*_arguments, **_more):
        raise LandscapeError("could not write") from FileNotFoundError("no such folder")

    monkeypatch.setattr(module, "write_new", gone)
    blocks.write("a", {"x": np.zeros(1)})
    assert blocks.read("a") is None

    def full(*_arguments, **_more):
        raise LandscapeError("could not write: no space left") from OSError("no space left")

    monkeypatch.setattr(module, "write_new", full)
    with pytest.raises(LandscapeError, match="no space left"):
        blocks.write("a", {"x": np.zeros(1)})
