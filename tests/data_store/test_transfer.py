"""Where a run's masks were found, and where they were trained: read from manifests alone."""

from __future__ import annotations

import pytest

from landscape.data_store.store import open_store
from landscape.data_store.transfer import transfer

SGD = {"task": "fashion-mnist", "optimizer": "sgd", "retrain": "rewind", "levels": 13}
ADAM = {"task": "mnist", "optimizer": "adam", "retrain": "rewind", "levels": 1}


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    store.create("a", {"config": SGD, "provenance": {}})
    return store


def branch(store, name, parent, config=ADAM, **said):
    """A run that begins at `parent`."""
    record = {"parent": parent, "mask": "preserved", **said}
    return store.create(name, {"config": config, "provenance": {}, "branch": record})


def test_a_run_that_is_no_branch_is_its_own_source(store):
    assert transfer(store["a"]) == {
        "parent": "",
        "source": "fashion-mnist",
        "source_optimizer": "sgd",
        "target": "fashion-mnist",
        "optimizer": "sgd",
        "mask": "preserved",
        "retrain": "rewind",
    }


def test_the_source_of_a_branch_is_the_run_it_begins_at(store):
    assert transfer(branch(store, "b", "a@3")) == {
        "parent": "a",
        "source": "fashion-mnist",
        "source_optimizer": "sgd",
        "target": "mnist",
        "optimizer": "adam",
        "mask": "preserved",
        "retrain": "rewind",
    }


def test_random_tickets_say_how_they_were_made(store):
    found = transfer(branch(store, "r", "a@3", {**ADAM, "retrain": "reinit"}, mask="permuted"))
    assert (found["mask"], found["retrain"]) == ("permuted", "reinit")


def test_a_ticket_handed_on_keeps_its_source(store):
    branch(store, "b", "a@3")
    last = branch(store, "c", "b@0", {**ADAM, "task": "svhn"})
    assert (transfer(last)["source"], transfer(last)["parent"]) == ("fashion-mnist", "b")


def test_a_level_that_a_branch_pruned_itself_is_the_branchs(store):
    branch(store, "b", "a@3", {**ADAM, "levels": 4})
    assert transfer(branch(store, "c", "b@2"))["source"] == "mnist"
    assert transfer(branch(store, "d", "b@0"))["source"] == "fashion-mnist"
    assert transfer(branch(store, "e", "b@0", mask="pruned"))["source"] == "mnist"


def test_a_branch_that_prunes_on_finds_its_masks_itself(store):
    assert transfer(branch(store, "b", "a@0", {**ADAM, "levels": 4}))["source"] == "mnist"


@pytest.mark.parametrize("name", ["gone", "../a", ""])
def test_a_parent_that_is_not_in_the_store_leaves_the_source_unknown(store, name):
    found = transfer(branch(store, "b", f"{name}@3"))
    assert (found["parent"], found["source"], found["source_optimizer"]) == (name, "", "")
    assert found["target"] == "mnist"


def test_branches_in_a_circle_have_no_source(store):
    branch(store, "b", "c@0")
    assert transfer(branch(store, "c", "b@0"))["source"] == ""


def test_an_imported_run_knows_nothing_of_its_optimiser(store):
    run = store.create("foreign", {"config": {"task": "mnist"}, "provenance": {}})
    found = transfer(run)
    assert (found["source"], found["optimizer"], found["retrain"]) == ("mnist", "", "")
