"""Answers with their place in the grid: what each is about, and means over replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from landscape.data_store.errors import LandscapeError
from landscape.data_store.records import RunConfig
from landscape.data_store.results import together
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.data_store.schemas.tickets import TICKETS
from landscape.data_store.store import Store
from landscape.experiment import Planned
from landscape.sweep_results import along, joined, last_levels, summary, varied


def planned(name: str, seed: int = 0, known: float | None = None, **place: Any) -> Planned:
    """A run at a place of a grid; `known` is its density in a number."""
    settings: dict[str, Any] = {"seed": seed, "densities": "singleshot", "levels": 1}
    config = RunConfig(**settings, density=known) if known else RunConfig(seed=seed)
    return Planned(name, config, {}, place=place)


def answer(name: str, shift: float = 0.0, pairs: int = 1) -> xr.Dataset:
    """An overlap of successive levels of a run."""
    ds = OVERLAP.example().isel(pair=slice(pairs))
    labels = [f"{name}@{k} {name}@{k + 1}" for k in range(pairs)]
    ds = ds.assign_coords(pair=("pair", labels, ds.pair.attrs))
    ds = ds.assign_coords(run=("pair", [name] * pairs, ds.run.attrs))
    return ds.assign(jaccard=ds.jaccard * 0 + shift)


GRID = [("random", "planted"), ("random", 0.5), ("snip", "planted"), ("snip", 0.5)]


@pytest.fixture
def parts() -> list[tuple[Planned, xr.Dataset]]:
    """Four cells of two replicates, two pairs a run; jaccard is 10 × cell + seed."""
    made = []
    for seed in (0, 1):
        for number, (criterion, density) in enumerate(GRID):
            known = 0.05 if density == "planted" else 0.5
            run = planned(
                f"r{seed}{number}", seed, known, plant="c", criterion=criterion, density=density
            )
            made.append((run, answer(run.name, 10.0 * number + seed, pairs=2)))
    return made


def test_every_entry_is_at_the_place_of_its_run(parts: list[tuple[Planned, xr.Dataset]]) -> None:
    ds = joined(parts)
    assert ds.sizes["pair"] == 16
    for i in range(16):
        run = parts[i // 2][0]
        one = ds.isel(pair=i)
        assert str(one.run.values) == run.name
        assert str(one.criterion.values) == run.place["criterion"]
        assert str(one.asked_density.values) == str(run.place["density"])
        assert float(one.target_density) == run.config.density
        assert int(one.seed) == run.config.seed
        assert str(one.plant.values) == "c"
    assert varied(ds) == ["plant", "criterion", "asked_density"]


def test_sel_and_groupby_take_the_places(parts: list[tuple[Planned, xr.Dataset]]) -> None:
    ds = joined(parts)
    chosen = ds.sel(criterion="snip").sel(asked_density="0.5").sel(layer="all")
    assert sorted(chosen.jaccard.values) == [30.0, 30.0, 31.0, 31.0]
    means = ds.jaccard.sel(layer="all").groupby("criterion").mean()
    assert dict(zip(means.criterion.values, means.values, strict=True)) == {
        "random": 5.5,
        "snip": 25.5,
    }
    by_density = ds.jaccard.sel(layer="all").groupby("target_density").mean()
    assert by_density.target_density.values.tolist() == [0.05, 0.5]


def test_the_join_is_that_of_the_store(parts: list[tuple[Planned, xr.Dataset]]) -> None:
    ds = joined(parts)
    whole = together([one for _, one in parts])
    left = ds.drop_vars(["plant", "criterion", "asked_density", "target_density", "seed"])
    xr.testing.assert_identical(left, whole)


def test_a_setting_that_the_answers_have_a_variable_for_has_another_name() -> None:
    runs = [planned(f"r{k}", k, weights=k + 0.5) for k in (0, 1)]
    ds = joined([(run, answer(run.name)) for run in runs])
    assert ds.target_weights.values.tolist() == [0.5, 1.5]
    assert "weights" in ds.data_vars


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([True, False], "b", [True, False]),
        ([1, 2], "i", [1, 2]),
        ([1, 2.5], "f", [1.0, 2.5]),
        ([1, None], "f", [1.0, np.nan]),
        (["a", None], "U", ["a", ""]),
        (["planted", 0.25], "U", ["planted", "0.25"]),
        ([True, None], "U", ["True", ""]),
        ([["output"], []], "U", ["output", ""]),
        ([None, None], "U", ["", ""]),
    ],
)
def test_the_type_of_a_place(values: list[Any], dtype: str, expected: list[Any]) -> None:
    runs = [planned(f"r{k}", k, spot=value) for k, value in enumerate(values)]
    ds = joined([(run, answer(run.name)) for run in runs])
    assert ds.spot.dtype.kind == dtype
    np.testing.assert_array_equal(ds.spot.values, np.array(expected))


def test_runs_of_variants_and_branches() -> None:
    runs = [
        planned("a"),
        planned("a-v", variant="v"),
        planned("a-b", branch="b", begins_at=2),
    ]
    ds = joined([(run, answer(run.name)) for run in runs])
    assert ds.variant.values.tolist() == ["", "v", ""]
    assert ds.branch.values.tolist() == ["", "", "b"]
    np.testing.assert_array_equal(ds.begins_at.values, [np.nan, np.nan, 2])
    assert [row["place"] for row in summary(ds, ("jaccard",)).rows] == [
        {"variant": "", "branch": "", "begins_at": None},
        {"variant": "v", "branch": "", "begins_at": None},
        {"variant": "", "branch": "b", "begins_at": 2.0},
    ]


def test_a_summary_is_over_the_replicates_of_a_cell(
    parts: list[tuple[Planned, xr.Dataset]],
) -> None:
    found = summary(joined(parts), ("jaccard", "no_such"))
    assert found.places == ("plant", "criterion", "asked_density")
    assert found.measures == {"jaccard": "fraction"}
    assert found.taken == {"layer": "all"}
    assert len(found.rows) == 4
    for number, (criterion, density) in enumerate(GRID):
        row = found.rows[number]
        assert row["place"] == {"plant": "c", "criterion": criterion, "asked_density": str(density)}
        assert row["runs"] == 2
        assert row["measures"]["jaccard"] == {
            "mean": 10.0 * number + 0.5, "min": 10.0 * number, "max": 10.0 * number + 1, "known": 2
        }  # fmt: skip


def test_the_last_entry_of_a_run_counts() -> None:
    ds = answer("r", pairs=3)
    ds.jaccard[:] = np.arange(3.0)[:, None]
    (row,) = summary(joined([(planned("r", criterion="x"), ds)]), ("jaccard",)).rows
    assert row["measures"]["jaccard"]["mean"] == 2.0


def test_what_is_unknown_is_left_out_and_counted() -> None:
    numbers = [np.nan, 1.0, 4.0]
    runs = [(planned(f"r{k}", k, spot="x"), answer(f"r{k}", v)) for k, v in enumerate(numbers)]
    (row,) = summary(joined(runs), ("jaccard",)).rows
    assert row["measures"]["jaccard"] == {"mean": 2.5, "min": 1.0, "max": 4.0, "known": 2}
    (row,) = summary(joined(runs[:1]), ("jaccard",)).rows
    assert np.isnan(row["measures"]["jaccard"]["mean"])
    assert row["measures"]["jaccard"]["known"] == 0


def test_further_dimensions_stand_in_one_column_or_one_each() -> None:
    ds = TICKETS.example().isel(checkpoint=[0])
    ds.loss[:] = np.arange(ds.loss.size, dtype=float).reshape(ds.loss.shape)
    found = summary(joined([(planned("imp"), ds)]), ("loss", "truth_loss"))
    assert found.taken == {"split": "test", "rescale": "none"}
    assert list(found.measures) == ["loss, strong", "loss, weak", "truth_loss"]
    chosen = ds.loss.sel(split="test", rescale="none").isel(checkpoint=0)
    for ticket in ("strong", "weak"):
        mean = found.rows[0]["measures"][f"loss, {ticket}"]["mean"]
        assert mean == float(chosen.sel(ticket=ticket))
    ds = joined([(planned("imp"), BARRIER.example().isel(pair=[0]))])
    assert summary(ds, ("loss_barrier",)).taken["split"] == "test"


def test_the_last_levels_of_runs(small_store: Store) -> None:
    runs = [
        Planned(name, small_store[name].config, {}, place={"criterion": name})
        for name in ("imp", "random")
    ]
    ds = last_levels(small_store, runs)
    assert ds.run.values.tolist() == ["imp", "random"]
    assert varied(ds) == ["criterion"]
    for name in ("imp", "random"):
        level = small_store[name].level(2)
        assert float(ds.density.sel(run=name)) == level.mask.density
        assert float(ds.test_error.sel(run=name)) == level.metrics["test_error"]
    (row, _) = summary(ds, ("density",)).rows
    assert (row["place"], row["runs"]) == ({"criterion": "imp"}, 1)


def test_no_runs_are_an_empty_dataset(small_store: Store) -> None:
    assert last_levels(small_store, []).sizes["run"] == 0


def test_a_dataset_about_nothing() -> None:
    with pytest.raises(LandscapeError, match="a dataset over x is about no checkpoint"):
        along(xr.Dataset({"y": ("x", [1.0])}))
