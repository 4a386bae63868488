"""Planning: names, seeds, levels, grids, and what is refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.brancher import numbered
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Store
from landscape.data_store.truth import planted_density
from landscape.experiment import Experiment, Offshoot, Plant, Variant
from landscape.planning import exists, plan, plantings
from landscape.planter import plant
from landscape.sweep_grid import Rule

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


GRID: dict[str, tuple[Any, ...]] = {
    "criterion": ("random", "magnitude"),
    "densities": ("one-shot", "exponential"),
    "density": (0.5, 0.25),
}
RULES = (
    Rule({"densities": ("one-shot",)}, {"levels": 2}),
    Rule({"densities": ("exponential",), "density": (0.25,)}, {"levels": 4}),
)
CIRCLE = Plant("circle", "circle", {"depth": 3, "width": 20})
HELIX = Plant("helix", "helix", {"depth": 3, "width": 40, "iterations": 7})


def test_every_combination_of_a_grid_is_a_run_of_every_replicate() -> None:
    planned = plan(Experiment("a", {**TINY, "seed": 5}, grid=GRID, rules=RULES, replicates=2))
    assert len(planned) == 2 * 8
    assert [run.name for run in planned][:3] == [
        "a-s5-random-one-shot-d0.5",
        "a-s5-random-one-shot-d0.25",
        "a-s5-random-exponential-d0.5",
    ]
    assert planned[-1].name == "a-s6-magnitude-exponential-d0.25"
    assert all(run.parent is None for run in planned)
    for run in planned:
        config, place = run.config, run.place
        assert (config.criterion, config.densities, config.density) == tuple(place.values())
        assert config.seed == int(run.name[3])
        quarter = config.densities == "exponential" and config.density == 0.25
        assert config.levels == (2 if config.densities == "one-shot" else 4 if quarter else 3)


def test_a_grid_without_replicates_and_train_table() -> None:
    planned = plan(Experiment("a", grid={"augment": (True, False)}))
    assert [run.name for run in planned] == ["a-augment", "a"]


def test_a_model_of_the_grid_has_its_protocol() -> None:
    planned = plan(Experiment("a", {"levels": 2}, grid={"model": ("conv-2", "conv-6")}))
    assert [(run.name, run.config.iterations) for run in planned] == [
        ("a-conv-2", 20_000),
        ("a-conv-6", 30_000),
    ]


def test_combinations_begin_dense_at_every_planted_network() -> None:
    experiment = Experiment(
        "a",
        {"iterations": 50},
        grid={"criterion": ("random",), "densities": ("multishot",), "density": ("planted",)},
        rules=(Rule({"densities": ("multishot",)}, {"levels": 3}),),
        plants=(CIRCLE, HELIX),
        replicates=2,
    )
    assert [(p.name, p.plant, p.target, p.settings["seed"]) for p in plantings(experiment)] == [
        ("a-s0-circle", "circle", "circle", 0),
        ("a-s0-helix", "helix", "helix", 0),
        ("a-s1-circle", "circle", "circle", 1),
        ("a-s1-helix", "helix", "helix", 1),
    ]
    planned = plan(experiment)
    assert [(run.name, run.parent) for run in planned] == [
        (f"{name}-random-multishot-dplanted", (name, 0))
        for name in ("a-s0-circle", "a-s0-helix", "a-s1-circle", "a-s1-helix")
    ]
    for run in planned:
        assert run.settings["mask"] == "dense"
        assert run.settings["density"] == "planted"
        assert (run.config.levels, run.config.iterations) == (3, 50)
        assert run.config.task == run.place["plant"]
        assert run.config.batch_size == 32  # of the protocol of planted networks
    assert [run.config.model for run in planned][:2] == ["mlp:2-20-4", "mlp:1-40-3"]
    assert [run.config.seed for run in planned] == [0, 0, 1, 1]


def test_the_density_is_the_truths_once_it_is_planted(tmp_path: Any) -> None:
    import landscape

    store = landscape.open(tmp_path / "s")
    grid: dict[str, tuple[Any, ...]] = {
        "prune_biases": (True, False),
        "densities": ("multishot",),
        "density": ("planted", 0.5),
    }
    experiment = Experiment("a", {"levels": 2}, grid=grid, plants=(CIRCLE,))
    before = plan(experiment, store)
    mother = plant("circle", store=store, name="a-circle", **CIRCLE.settings)
    after = plan(experiment, store)
    assert [run.name for run in after] == [run.name for run in before]
    assert [run.settings for run in after] == [run.settings for run in before]
    densities = [run.config.density for run in after]
    with_biases, without = planted_density(mother, True), planted_density(mother, False)
    assert densities == [with_biases, 0.5, without, 0.5]
    assert with_biases != without
    assert numbered(mother, after[0].settings)["density"] == with_biases
    assert numbered(mother, after[1].settings) == after[1].settings
    stored = Experiment(None, branches=(Offshoot("b", 0, "a-circle", {**after[2].settings}),))
    (branch,) = plan(stored, store)
    assert (branch.parent, branch.config.density) == (("a-circle", 0), without)


def test_a_density_of_a_run_that_nothing_is_planted_in(small_store: Store) -> None:
    settings = {"density": "planted", "densities": "exponential", "levels": 2}
    stored = Experiment(None, branches=(Offshoot("b", 0, "imp", settings),))
    with pytest.raises(UsageError, match="nothing is planted in run 'imp'"):
        plan(stored, small_store)


PLANTED = {"density": "planted", "densities": "exponential"}


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (
            Experiment("a", TINY, (Variant("v", {}),), grid=GRID),
            r"there is a grid and a variant, 'v'",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", 0, None, {}),), grid=GRID),
            r"there is a grid and a branch, 'b'",
        ),
        (Experiment(None, grid=GRID), r"a grid needs a name"),
        (
            Experiment("a", {"model": "mlp:2-30-4"}, grid=GRID, plants=(CIRCLE,)),
            r"model is given, but runs that begin at a planted network have its model",
        ),
        (
            Experiment("a", {}, grid={"task": ("digits",)}, plants=(CIRCLE,)),
            r"task is given, but .* give it to the \[\[plant\]\]",
        ),
        (Experiment("a", {**TINY, **PLANTED}), r"density is 'planted', but the run begins at no"),
        (
            Experiment("a", TINY, (Variant("v", PLANTED),)),
            r"variant 'v': density is 'planted', but the run begins at no planted network",
        ),
        (
            Experiment("a", TINY, branches=(Offshoot("b", 0, None, PLANTED),)),
            r"branch 'b': density is 'planted', but the run begins at no planted network",
        ),
        (
            Experiment("a", {**TINY, "densities": "one-shot"}, grid={"density": ("planted",)}),
            r"run 'a-dplanted': density is 'planted', but the run begins at no planted network",
        ),
        (
            Experiment("a", TINY, grid={"densities": ("one-shot",), "density": (0.5,)}),
            r"run 'a-one-shot-d0\.5': levels is 3; one-shot pruning has 2",
        ),
        (
            Experiment("a", TINY, grid={"criterion": ("randm",)}),
            r"run 'a-randm': unknown criterion 'randm'; did you mean 'random'\?",
        ),
        (
            Experiment("a" * 60, TINY, grid={"criterion": ("random",)}),
            r"is no name for a run: it has 67 characters, 64 are possible; shorten 'name'",
        ),
        (
            Experiment("a", TINY, grid={"task": ("digits", "Digits")}),
            r"run 'a-digits': unknown task 'Digits'",
        ),
        (
            Experiment("a", {}, grid={"nested": (False,)}, plants=(CIRCLE,)),
            r"without nesting, fractions",
        ),
        (
            Experiment("a", {}, grid={"augment": (False,)}, plants=(CIRCLE,)),
            r"two runs would be called 'a-circle'",
        ),
        (
            Experiment("a", {}, grid=GRID, plants=(Plant("c", "cirle", {}),)),
            r"plant 'c': .*did you mean 'circle'\?",
        ),
        (
            Experiment("a", {}, grid=GRID, plants=(Plant("c", "circle", {"depth": 2}),)),
            r"plant 'c': depth is 2; it must be at least 3",
        ),
        (
            Experiment("a", TINY, grid=GRID, rules=(Rule({"plant": ("circle",)}, {}),)),
            r"unknown setting of the grid 'plant'",
        ),
    ],
)
def test_grids_that_cannot_be(experiment: Experiment, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(experiment)
