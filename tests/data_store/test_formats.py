"""Formats: stores that earlier versions wrote are opened by this one, number for number."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landscape
from landscape.cli import run as command
from landscape.data_store import layout
from landscape.data_store.store import Store, open_store
from landscape.data_store.verify import check, files

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what one version wrote."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / "kept"))


@pytest.fixture
def store(kept: Path) -> Store:
    """Its store."""
    return open_store(kept / "store", create=False)


@pytest.fixture
def expected(kept: Path) -> dict[str, Any]:
    """What that version read in it."""
    found: dict[str, Any] = json.loads((kept / "expected.json").read_text(encoding="utf-8"))
    return found


def test_this_version_is_among_them() -> None:
    assert f"store-{'.'.join(map(str, layout.STORE_VERSION))}" in VERSIONS


def test_every_checkpoint_is_the_same_to_the_last_bit(
    store: Store, expected: dict[str, Any]
) -> None:
    for address, digest in expected["checkpoints"].items():
        assert store.checkpoint(address).digest == digest, address
    for part, digest in expected["parts"].items():
        assert store["imp"][2, part].digest == digest, part


def test_every_result_is_the_same(store: Store, expected: dict[str, Any]) -> None:
    barriers, overlaps = store.results("barrier"), store.results("overlap")
    np.testing.assert_array_equal(barriers["loss_barrier"], expected["barriers"])
    np.testing.assert_array_equal(overlaps["jaccard"], expected["overlaps"])
    errors = store["imp"].training()["final_test_error"]
    np.testing.assert_array_equal(errors, expected["errors"])


def test_asked_again_the_answer_is_the_stored_one(store: Store) -> None:
    before = {path: path.read_bytes() for path in store.root.rglob("*.nc")}
    landscape.barrier("imp", store=store, points=5)
    assert {path: path.read_bytes() for path in store.root.rglob("*.nc")} == before


@pytest.mark.parametrize("suffix", ["h5", "safetensors", "pt"])
def test_its_tickets_come_back(
    kept: Path, store: Store, expected: dict[str, Any], suffix: str
) -> None:
    run = landscape.import_run(kept / f"ticket.{suffix}", name=f"new-{suffix}", store=store)
    assert run[0, "ticket"].digest == expected["ticket"]


def test_nothing_is_wrong_with_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(store, files(store)) == []
    for words in (["ls"], ["ls", "results"], ["show", "imp@2"]):
        assert command([*words, "--store", str(store.root)]) == 0
    assert capsys.readouterr().err == ""


def test_its_runs_are_gone_on_with(store: Store) -> None:
    settings = {**store["imp"].config.__dict__, "levels": 3}
    before = [path.read_bytes() for path in sorted(store.root.rglob("level_*.h5"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another processor or torch than it was made with
        landscape.train(store=store, name="imp", **settings)
    assert [path.read_bytes() for path in sorted(store.root.rglob("level_*.h5"))] == before
