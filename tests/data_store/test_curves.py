"""Training curves: the traces of runs side by side, unknown where one has no row."""

import numpy as np
import pytest

import landscape
from landscape.data_store.curves import strategy, training
from landscape.data_store.errors import LandscapeError
from landscape.data_store.records import TRACE_COLUMNS
from landscape.data_store.schemas.training import TRAINING
from landscape.data_store.store import open_store
from tests.support.runs import SMALL


@pytest.fixture(scope="module")
def uneven(small_store, tmp_path_factory):
    """Runs with other levels, steps, seeds and criteria."""
    store = landscape.open(tmp_path_factory.mktemp("uneven") / "store")
    settings = {**SMALL, "levels": 1, "eval_every": 30, "seed": 5, "snapshots": ()}
    short = landscape.train(store=store, name="short", **settings)
    return [small_store["imp"], short, small_store["random"]]


def test_training_curves_of_several_runs(uneven):
    ds = training(uneven)
    TRAINING.validate(ds)
    assert list(ds.run.values) == ["imp", "short", "random"]
    assert list(ds.criterion.values) == ["magnitude", "magnitude", "random"]
    assert list(ds.strategy.values) == ["magnitude", "magnitude", "random"]
    assert list(ds.seed.values) == [0, 5, 0]
    assert list(ds.model.values) == ["mlp:64-20-10"] * 3
    assert list(ds.scope.values) == ["layer"] * 3
    assert list(ds.source.values) == list(ds.target.values) == ["digits"] * 3
    assert list(ds.level.values) == [0, 1, 2]
    assert list(ds.step.values) == [0, 20, 30, 40, 60]
    for run in uneven:
        for number in ds.level.values:
            cell = ds.sel(run=run.name, level=number)
            if number not in run.levels:
                assert int(cell.status) == 2
                rest = cell.drop_vars(
                    ["status", "criterion", "strategy", "seed"]
                ).data_vars.values()
                assert all(np.isnan(v).all() for v in rest)
                continue
            level = run.level(int(number))
            assert int(cell.status) == 0
            assert float(cell.density) == level.mask.density
            steps = level.trace.column("step")
            for name in TRACE_COLUMNS[1:]:
                np.testing.assert_array_equal(cell[name].sel(step=steps), level.trace.column(name))
                others = [s for s in ds.step.values if s not in steps]
                assert np.isnan(cell[name].sel(step=others)).all()
            for split in ("train", "test"):
                for measure in ("loss", "error"):
                    got = float(cell[f"final_{split}_{measure}"])
                    assert got == level.metrics[f"{split}_{measure}"]
            validation = level.trace.column("validation_loss")
            row = int(np.argmin(validation))
            assert float(cell.early_stop_step) == steps[row] == level.metrics["early_stop_step"]
            assert float(cell.early_stop_test_error) == level.trace.column("test_error")[row]


def test_a_run_gives_its_own_curves(uneven):
    assert uneven[1].training().identical(training(uneven[1:2]))


def test_training_of_no_level(tmp_path):
    store = open_store(tmp_path / "store")
    config = {"config": {}, "provenance": {}}
    runs = [store.create(name, config) for name in ("a", "b")]
    with pytest.raises(LandscapeError, match=r"^no level of a, b is finished yet; train on first$"):
        training(runs)


@pytest.fixture(scope="module")
def branched(small_store, tmp_path_factory):
    """A store with a run and branches of two kinds."""
    store = landscape.open(tmp_path_factory.mktemp("branched") / "store")
    landscape.train(store=store, name="imp", **SMALL)
    for level in (1, 2):
        name = f"imp-reinit-{level}"
        landscape.branch(f"imp@{level}", store=store, name=name, retrain="reinit")
    for density in (0.3, 0.6):
        name = f"imp-one-shot-{density:g}"
        landscape.branch("imp@0", store=store, name=name, mask="pruned", mask_density=density)
    return store


def test_branches_of_one_kind_are_one_row_at_their_parents_levels(branched):
    ds = training([branched[name] for name in branched])
    assert sorted(ds.run.values) == ["imp", "imp-one-shot", "imp-reinit"]
    by_strategy = dict(zip(ds.strategy.values, ds.run.values, strict=True))
    assert set(by_strategy) == {"magnitude", "magnitude, one-shot", "magnitude, reinit"}
    reinit = ds.sel(run="imp-reinit")
    assert (str(reinit.parent.values), str(reinit.retrain.values)) == ("imp", "reinit")
    assert str(ds.mask.sel(run="imp-one-shot").values) == "pruned"
    assert np.isnan(reinit.density.values[0])
    for level in (1, 2):
        own = branched[f"imp-reinit-{level}"].level(0)
        assert float(reinit.density.sel(level=level)) == branched["imp"].level(level).mask.density
        assert float(reinit.final_test_error.sel(level=level)) == own.metrics["test_error"]
    one_shot = ds.sel(run="imp-one-shot").density.values
    assert one_shot[1] > one_shot[2]
    assert np.isnan(one_shot[0])
    alone = training([branched["imp-reinit-2"]])
    assert alone.run.values.tolist() == ["imp-reinit-2"]
    assert alone.level.values.tolist() == [0]


@pytest.mark.parametrize(
    ("config", "branch", "words"),
    [
        ({"criterion": "random"}, {}, "random"),
        ({"criterion": "magnitude", "retrain": "rewind"}, {"mask": "preserved"}, "magnitude"),
        ({"criterion": "magnitude", "retrain": "finetune"}, {}, "magnitude, finetune"),
        ({"criterion": "magnitude"}, {"mask": "pruned"}, "magnitude, one-shot"),
        (
            {"criterion": "magnitude", "retrain": "reinit", "init_noise": 0.5, "task": "mnist"},
            {"mask": "permuted", "transfer": True},
            "magnitude, random ticket, reinit, noise 0.5, on mnist",
        ),
    ],
)
def test_a_strategy_in_words(config, branch, words):
    assert strategy(config, branch) == words
