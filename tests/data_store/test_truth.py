"""The planted part of an address: through branches, limited to what is pruned, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from landscape.brancher import branch
from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, UsageError
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.store import Store, open_store
from landscape.data_store.truth import planted_run, scales
from landscape.planter import plant


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A planted network, a run that seeks its ticket, and a branch of that."""
    store = open_store(tmp_path_factory.mktemp("truth") / "store")
    short = {"iterations": 4, "eval_every": 4}
    plant("circle", store=store, name="planted", width=30, **short)
    branch("planted@0", store=store, name="seek", mask="dense", levels=2, prune_biases=False)
    branch("seek@1", store=store, name="again", retrain="reinit")
    branch("planted@0", store=store, name="whole", mask="dense")
    return store


@pytest.mark.parametrize("name", ["planted", "seek", "again", "whole"])
def test_it_is_found_through_any_number_of_branches(store: Store, name: str) -> None:
    assert planted_run(store[name]).name == "planted"
    truth, ticket = store[name][0, "planted"], store["planted"][0]
    assert np.array_equal(truth.theta, ticket.theta)
    assert truth.address == f"{name}@0.planted"
    assert [truth.metrics[f"scale-{k}"] for k in range(4)] == scales(store["planted"])


def test_its_mask_is_that_of_what_the_run_prunes(store: Store) -> None:
    whole, weights = store["whole"][0, "planted"], store["seek"][1, "planted"]
    assert np.array_equal(whole.mask.kept, store["planted"][0].mask.kept)
    assert weights.mask.prunable == store["seek"][1].mask.prunable
    assert weights.mask.kept_size == 108
    assert weights.mask.kept[~weights.mask.covered].all()


def test_the_target_is_the_ticket_with_its_outputs_divided(store: Store) -> None:
    ticket, target = store["seek"][1, "planted"], store["seek"][1, "target"]
    spec, scale = ticket.spec, np.array(scales(store["planted"]))
    moved = np.flatnonzero(ticket.theta != target.theta)
    places = [spec.slices[name] for name in ("fc4.weight", "fc4.bias")]
    assert all(any(p.start <= i < p.stop for p in places) for i in moved)
    last = ticket.theta[places[0]].reshape(4, -1) / scale[:, None]
    assert np.allclose(target.theta[places[0]].reshape(4, -1), last)
    assert [target.metrics[f"scale-{k}"] for k in range(4)] == [1.0] * 4
    assert target.address == "seek@1.target"
    assert np.array_equal(target.mask.kept, ticket.mask.kept)


def test_a_run_without_one_is_refused(small_store: Store) -> None:
    with pytest.raises(UsageError, match=r"^nothing is planted in run 'imp'; train one --from"):
        small_store.checkpoint("imp@1.planted")


def test_a_manifest_that_says_nothing_of_it_is_damaged(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    path = layout.run_manifest(tmp_path / "copy", "planted")
    record = {k: v for k, v in store["planted"].description.items() if k != "sha256"}
    for scale in (None, "many", ["x"]):
        record["planted"] = {"scale": scale}
        known = {k: v for k, v in record.items() if k not in ("format", "version")}
        path.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))
        with pytest.raises(DamagedFile, match=r"run\.json does not say what is planted"):
            scales(open_store(tmp_path / "copy")["planted"])


def test_a_lost_planted_run_is_missed(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "runs" / "planted")
    with pytest.raises(UsageError, match=r"^nothing is planted in run 'seek'"):
        open_store(tmp_path / "copy").checkpoint("seek@1.planted")
