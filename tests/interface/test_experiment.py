"""An experiment's plan: names, seeds, levels, and what is refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store
from landscape.experiment import Experiment, Offshoot, Variant, exists, plan

TINY: dict[str, Any] = {"task": "digits", "model": "mlp:64-20-10", "levels": 3}


def test_names_seeds_and_beginnings() -> None:
    experiment = Experiment(
        "a",
        {**TINY, "seed": 5},
        (Variant("v", {"criterion": "random"}),),
        (
            Offshoot("all", "each", None, {"retrain": "reinit"}),
            Offshoot("end", "last", "v", {"mask": "permuted"}),
            Offshoot("one", (1,), None, {"levels": 2}),
            Offshoot("first", 0, None, {}),
        ),
        replicates=2,
    )
    planned = plan(experiment)
    expected = []
    for seed in (5, 6):
        a = f"a-s{seed}"
        expected += [
            (a, seed, None),
            (f"{a}-v", seed, None),
            *[(f"{a}-all-{level}", seed, (a, level)) for level in range(3)],
            (f"{a}-end", seed, (f"{a}-v", 2)),
            (f"{a}-one-1", seed, (a, 1)),
            (f"{a}-first", seed, (a, 0)),
        ]
    assert [(run.name, run.config.seed, run.parent) for run in planned] == expected
    levels = {run.name: run.config.levels for run in planned}
    assert (levels["a-s5-v"], levels["a-s5-all-0"], levels["a-s5-one-1"]) == (3, 1, 2)
    criteria = {run.name: run.config.criterion for run in planned}
    assert (criteria["a-s5"], criteria["a-s5-v"], criteria["a-s5-end"]) == (
        "magnitude",
        "random",
        "random",
    )


def test_a_branch_of_each_begins_at_the_run_and_at_every_variant() -> None:
    variants = (Variant("v", {"levels": 2}), Variant("w", {}))
    branches = (Offshoot("all", "each", "each", {}), Offshoot("end", "last", "each", {}))
    planned = plan(Experiment("a", TINY, variants, branches))
    assert [(run.name, run.parent) for run in planned if run.parent] == [
        *[(f"a-all-{level}", ("a", level)) for level in range(3)],
        *[(f"a-all-v-{level}", ("a-v", level)) for level in range(2)],
        *[(f"a-all-w-{level}", ("a-w", level)) for level in range(3)],
        ("a-end", ("a", 2)),
        ("a-end-v", ("a-v", 1)),
        ("a-end-w", ("a-w", 2)),
    ]


def test_without_replicates_the_run_has_the_name_itself() -> None:
    assert [run.name for run in plan(Experiment("a", TINY))] == ["a"]
    assert [run.name for run in plan(Experiment("a", TINY, replicates=1))] == ["a-s0"]


def test_a_variant_of_another_model_has_its_protocol() -> None:
    experiment = Experiment("a", {"levels": 2}, (Variant("c", {"model": "conv-6"}),))
    configs = {run.name: run.config for run in plan(experiment)}
    assert (configs["a"].iterations, configs["a-c"].iterations) == (50_000, 30_000)


def test_branches_of_a_stored_run(small_store: Store) -> None:
    experiment = Experiment(
        None, branches=(Offshoot("x", "each", "imp", {}), Offshoot("y", "last", "imp", {}))
    )
    planned = plan(experiment, small_store)
    assert [(run.name, run.parent) for run in planned] == [
        ("x-0", ("imp", 0)),
        ("x-1", ("imp", 1)),
        ("x-2", ("imp", 2)),
        ("y", ("imp", 2)),
    ]
    assert planned[0].config.iterations == 60


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (
            Experiment("a", TINY, branches=(Offshoot("b", 3, None, {}),)),
            r"branch 'b' begins at level 3, but a has levels 0 to 2",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", (0, -1), None, {}),)),
            r"branch 'b' begins at level -1, but a has levels 0 to 2",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", "eech", None, {}),)),
            r"branch 'b': unknown level 'at' 'eech'; did you mean 'each'\?",
        ),
        (
            Experiment(
                "a", TINY, branches=(Offshoot("b", 0, None, {}), Offshoot("b", 1, None, {}))
            ),
            r"two runs would be called 'a-b'",
        ),
        (
            Experiment(
                "a",
                TINY,
                (Variant("b-1", {}),),
                (Offshoot("b", "each", None, {}),),
            ),
            r"two runs would be called 'a-b-1'",
        ),
        (
            Experiment("a", TINY, (Variant("v", {}),), (Offshoot("b", 0, "w", {}),)),
            r"branch 'b': unknown variant 'w'.*available: v",
        ),
        (
            Experiment("a", TINY, (Variant("each", {}),)),
            r"a variant is called 'each', which means all of them; rename it",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", 0, None, {"mask": "pruned"}),)),
            r"branch 'b': mask is pruned and mask_density is None",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", 0, None, {"task": "cifar11"}),)),
            r"branch 'b': unknown task 'cifar11'; did you mean 'cifar10'\?",
        ),
        (
            Experiment("a", TINY, (Variant("v", {"criterion": "randm"}),)),
            r"variant 'v': unknown criterion 'randm'; did you mean 'random'\?",
        ),
        (
            Experiment("a", {**TINY, "rewind_step": 5000}),
            r"rewind_step 5000 is not before the last of 1000 iterations",
        ),
        (Experiment("A b", TINY), r"'A b' is no name for a run"),
        (Experiment("a" * 63, TINY, replicates=1), r"is no name for a run"),
        (Experiment(None, branches=(Offshoot("b", 0, None, {}),)), r"branch 'b' begins at no run"),
        (
            Experiment(None, branches=(Offshoot("b", 0, "each", {}),)),
            r"branch 'b' begins at no run",
        ),
    ],
)
def test_what_cannot_be_is_said_before_training(experiment: Experiment, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(experiment)


def test_a_run_exists_by_its_whole_name(small_store: Store) -> None:
    assert exists(small_store, "imp")
    assert not exists(small_store, "im")
