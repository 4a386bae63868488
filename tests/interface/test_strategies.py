"""Strategies: which runs of a store belong to a run of IMP, as what, and which do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.brancher import branch
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store, open_store
from landscape.strategies import Gathered, gather, missing_command, rank
from landscape.trainer import train

SMALL = {
    "task": "digits", "model": "mlp:64-12-10", "levels": 3, "iterations": 8, "eval_every": 8,
    "batch_size": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of IMP, its variants and branches, and runs that only look like some."""
    made = open_store(tmp_path_factory.mktemp("strategies") / "store")
    train(store=made, name="imp", **SMALL)
    variants = {
        "tuned": {"retrain": "finetune"},
        "rate": {"retrain": "lr-rewind"},
        "anyhow": {"criterion": "random"},
        "anyhow-tuned": {"criterion": "random", "retrain": "finetune"},
        "large": {"criterion": "magnitude-largest"},
        "anew": {"retrain": "reinit"},
        "once": {"densities": "one-shot", "density": 0.65, "levels": 2},
        "sparser": {"pruning_fraction": 0.6, "criterion": "random"},
        "longer": {"iterations": 10, "criterion": "random"},
        "other-seed": {"seed": 1},
    }
    for name, changes in variants.items():
        train(store=made, name=name, **{**SMALL, **changes})
    branches = {
        "b-reinit-0": ("imp@0", {"retrain": "reinit"}),
        "b-reinit": ("imp@2", {"retrain": "reinit"}),
        "b-survivors": ("imp@2", {"retrain": "reinit-survivors"}),
        "b-once": ("imp@0", {"mask": "pruned", "mask_density": 0.66}),
        "b-once-anyhow": ("imp@0", {"mask": "pruned", "mask_density": 0.66, "criterion": "random"}),
        "b-step-tuned": (
            "imp@1", {"mask": "pruned", "mask_density": 0.66, "retrain": "finetune"}
        ),
        "b-step": ("imp@1", {"mask": "pruned", "mask_density": 0.66}),
        "b-noise-1": ("imp@1", {"order_seed": 7}),
        "b-noise-2": ("imp@1", {"order_seed": 8}),
        "b-ticket": ("imp@2", {"mask": "permuted", "retrain": "reinit"}),
        "b-chain": ("imp@0", {"criterion": "random", "levels": 2}),
        "b-more": ("imp@1", {"retrain": "finetune"}),
        "b-copy": ("imp@1", {}),
        "b-thin": ("imp@0", {"mask": "pruned", "mask_density": 0.1}),
        "b-on": ("imp@1", {"order_seed": 9, "levels": 2}),
    }  # fmt: skip
    for name, (parent, changes) in branches.items():
        branch(parent, store=made, name=name, **changes)
    return made


@pytest.fixture(scope="module")
def found(store: Store) -> Gathered:
    return gather(store, "imp", 0.05)


@pytest.mark.parametrize(
    ("address", "strategy", "level", "previous"),
    [
        ("imp@1", "imp", 1, "imp@0"),
        ("imp@2", "imp", 2, "imp@1"),
        ("tuned@2", "finetune", 2, "tuned@1"),
        ("rate@1", "lr-rewind", 1, "rate@0"),
        ("anyhow@2", "random", 2, "anyhow@1"),
        ("anyhow-tuned@1", "random-finetune", 1, "anyhow-tuned@0"),
        ("large@1", "largest-first", 1, "large@0"),
        ("anew@1", "iterative-reinit", 1, "anew@0"),
        ("once@1", "one-shot", 2, "once@0"),
        ("b-reinit@0", "reinit", 2, "imp@1"),
        ("b-survivors@0", "reinit-survivors", 2, "imp@1"),
        ("b-once@0", "one-shot-2", 2, "imp@0"),
        ("b-once-anyhow@0", "one-shot-random", 2, "imp@0"),
        ("b-step-tuned@0", "finetune-2", 2, "imp@1"),
        ("b-step@0", "one-step", 2, "imp@1"),
        ("b-noise-1@0", "noise", 1, "imp@0"),
        ("b-noise-2@0", "noise-2", 1, "imp@0"),
        ("b-on@0", "noise-3", 1, "imp@0"),
        ("b-ticket@0", "random-ticket", 2, "imp@1"),
        ("b-chain@1", "random-2", 1, "b-chain@0"),
    ],
)
def test_a_solution_is_classified_by_masks_and_retraining(
    found, address, strategy, level, previous
):
    (got,) = [s for s in found.solutions if s.address == address]
    assert got.strategy == strategy
    assert (got.level, got.previous) == (level, previous)


def test_no_two_solutions_share_a_place(found):
    places = [(s.strategy, s.level) for s in found.solutions]
    assert len(set(places)) == len(places)


def test_a_run_keeps_one_name_for_all_its_levels(found):
    for run in ("tuned", "anyhow", "b-chain"):
        names = {s.strategy for s in found.solutions if s.address.startswith(f"{run}@")}
        assert len(names) == 1


def test_densities_are_those_of_the_masks(found, store):
    for solution in found.solutions:
        assert solution.density == store.checkpoint(solution.address).density
        assert solution.density == pytest.approx(found.densities[solution.level], rel=0.052)


@pytest.mark.parametrize(
    "sentence",
    [
        "longer: its iterations is 10, not 8",
        "sparser@1: the run has no level of density 0.4",
        "b-more: goes on from imp@1 under the same mask",
        "b-copy: is the same training as imp@1",
        "b-thin: the run has no level of density 0.1",
        "b-on: of this branch only level 0 is compared",
    ],
)
def test_what_is_passed_over_is_said(found, sentence):
    assert any(said.startswith(sentence) for said in found.left_out), found.left_out


def test_runs_of_other_weights_and_dense_branches_are_not_mentioned(found):
    words = " ".join([*found.left_out, *(s.address for s in found.solutions)])
    assert "other-seed" not in words
    assert "b-reinit-0" not in words


def test_tolerance_decides_what_counts_as_the_same_density(store):
    strict = {s.address for s in gather(store, "imp", 0.001).solutions}
    assert "anyhow@1" in strict
    assert "b-once@0" not in strict
    assert "b-thin@0" in {s.address for s in gather(store, "imp", 3.0).solutions}


@pytest.mark.parametrize(
    ("run", "what"),
    [
        ("tuned", "'tuned' is of strategy 'finetune'"),
        ("once", "'once' is of strategy 'one-shot'"),
        ("b-noise-1", "'b-noise-1' is a branch of imp@1"),
    ],
)
def test_only_a_run_of_imp_is_looked_into(store, run, what):
    with pytest.raises(UsageError, match=f"run {what}; give the run of iterative magnitude"):
        gather(store, run, 0.05)


def test_a_dense_run_alone_has_nothing_to_say(tmp_path: Path):
    made = open_store(tmp_path / "store")
    train(store=made, name="dense", **{**SMALL, "levels": 1})
    with pytest.raises(
        UsageError, match="run 'dense' has 1 finished level; insights need at least"
    ):
        gather(made, "dense", 0.05)


def test_a_branch_of_a_level_that_was_trained_anew_is_left_out(store, monkeypatch):
    """A parent of the same name with other weights: the branch's mask is not of these."""
    from landscape.data_store.store import Run

    real = Run.description.fget

    def altered(run):
        record = real(run)
        if run.name == "b-noise-1":
            record["branch"]["digest"] = "0" * 64
        return record

    monkeypatch.setattr(Run, "description", property(altered))
    found = gather(store, "imp", 0.05)
    assert "b-noise-1: imp@1 is no longer what it began at" in found.left_out


def test_strategies_are_ordered_as_a_reader_expects():
    names = ["zigzag", "reinit", "imp", "noise", "one-shot", "ally"]
    assert sorted(names, key=rank) == ["imp", "one-shot", "reinit", "noise", "ally", "zigzag"]


def test_a_command_names_a_run_that_is_not_there_yet(found, store):
    config = store["imp"].config
    taken = ["imp", "imp-random", "imp-random-2"]
    command = missing_command(found, "random", config, taken)
    assert command == ("landscape branch imp@0 --name imp-random-3 --criterion random --levels 3")
    density = f"{found.densities[2]:.4g}"
    assert missing_command(found, "one-shot", config, taken) == (
        f"landscape branch imp@0 --name imp-one-shot-2 --mask pruned --mask-density {density}"
    )
    assert missing_command(found, "reinit", config, taken) == (
        "landscape branch imp@2 --name imp-reinit-2 --retrain reinit"
    )


def test_a_command_repeats_the_ladder_of_the_run(found, tmp_path):
    made = open_store(tmp_path / "store")
    ladder = {"densities": "exponential", "density": 0.3}
    run = train(store=made, name="steep", **{**SMALL, **ladder})
    command = missing_command(found, "finetune", run.config, [])
    assert command.endswith("--retrain finetune --levels 3 --densities exponential --density 0.3")
