"""Histograms of surviving initial weights, beside a count made one weight at a time."""

from __future__ import annotations

import numpy as np
import pytest

import landscape
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.histograms import histograms
from landscape.data_store.schemas.histograms import HISTOGRAMS
from landscape.data_store.store import open_store
from tests.support.runs import SMALL

LAYERS = ("fc1.weight", "fc2.weight")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two seeds, the second with fewer levels, and a branch of the first."""
    store = landscape.open(tmp_path_factory.mktemp("histograms") / "store")
    landscape.train(store=store, name="a", **SMALL)
    landscape.train(store=store, name="b", **{**SMALL, "levels": 1, "seed": 7})
    landscape.branch("a@2", store=store, name="a-reinit", retrain="reinit")
    return store


def survivors(run, number, layer):
    """Initial weights of a layer where a level's mask is True, as plain numbers."""
    init, mask = run[0, "init"], run.level(number).mask
    place = init.spec.slices[layer]
    pairs = zip(init.theta[place].tolist(), mask.kept[place].tolist(), strict=True)
    return [value for value, kept in pairs if kept]


def test_counts_are_those_of_the_surviving_initial_weights(store):
    runs = [store["a"], store["b"]]
    ds = histograms(runs, bins=8)
    HISTOGRAMS.validate(ds)
    assert ds["layer"].values.tolist() == list(LAYERS)
    assert ds["bin"].values.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    for layer in LAYERS:
        most = max(abs(value) for run in runs for value in survivors(run, 0, layer))
        width = 2 * most / 8
        np.testing.assert_allclose(
            ds["centre"].sel(layer=layer), [-most + (k + 0.5) * width for k in range(8)]
        )
        for run in runs:
            for number in run.levels:
                naive = [0] * 8
                for value in survivors(run, number, layer):
                    naive[min(int((value + most) / width), 7)] += 1
                here = ds.sel(run=run.name, level=number, layer=layer)
                np.testing.assert_array_equal(here["count"], naive)
                np.testing.assert_allclose(
                    here["probability_density"], np.array(naive) / sum(naive) / width
                )


def test_the_area_is_one_and_the_count_that_of_the_mask(store):
    ds = histograms([store["a"]])
    width = ds["centre"].diff("bin").isel(bin=0)
    np.testing.assert_allclose((ds["probability_density"] * width).sum("bin"), 1.0)
    for number in (0, 1, 2):
        mask = store["a"].level(number).mask
        kept = [np.count_nonzero(mask.layer(layer)) for layer in LAYERS]
        np.testing.assert_array_equal(ds["count"].sum("bin").sel(run="a", level=number), kept)
        assert float(ds["density"].sel(run="a", level=number)) == mask.density


def test_zero_is_an_edge_and_the_bins_are_symmetric(store):
    centre = histograms([store["a"]])["centre"].values
    np.testing.assert_allclose(centre, -centre[:, ::-1], rtol=1e-12)
    assert (centre != 0).all()


def test_magnitude_pruning_empties_the_middle(store):
    """Surviving initial weights of the paper's tickets are the large ones, more or less."""
    here = histograms([store["a"]], bins=4).sel(run="a", layer="fc1.weight")["count"]
    share = here.sum("bin").where(here.sum("bin") > 0)
    middle = here.isel(bin=[1, 2]).sum("bin") / share
    assert float(middle.sel(level=2)) < float(middle.sel(level=0))


def test_a_level_that_a_run_lacks_is_unknown(store):
    ds = histograms([store["a"], store["b"]])
    np.testing.assert_array_equal(ds["status"], [[0, 0, 0], [0, 2, 2]])
    assert np.isnan(ds["count"].sel(run="b", level=1)).all()
    assert np.isnan(ds["density"].sel(run="b", level=1))


def test_a_branch_keeps_the_initial_weights_of_its_parent(store):
    ds = histograms([store["a"], store["a-reinit"]], bins=8)
    parent, own = ds["count"].sel(run="a", level=2), ds["count"].sel(run="a-reinit", level=0)
    np.testing.assert_array_equal(parent, own)


def test_unknown_initial_weights_are_said(store, monkeypatch):
    class Foreign:
        """A level that was imported: of where it began nothing is known."""

        def __init__(self, level):
            self.mask, self.status, self.origins, self.number = level.mask, level.status, {}, 0

    run = store["b"]
    foreign = Foreign(run.level(0))
    monkeypatch.setattr(type(run), "level", lambda self, number: foreign)
    ds = histograms([run], bins=4)
    flags = ds["status"].attrs["flag_meanings"].split()
    assert flags[ds["status"].item()] == "no_initial_weights"
    assert np.isnan(ds["count"]).all()
    assert np.isnan(ds["centre"]).all()
    assert ds["density"].item() == 1.0


@pytest.mark.parametrize("bins", [0, 7, -2])
def test_bins_are_even_so_that_zero_is_an_edge(store, bins):
    with pytest.raises(UsageError, match=f"bins is {bins}; give an even number from 2"):
        histograms([store["a"]], bins=bins)


def test_histograms_of_no_level(tmp_path):
    run = open_store(tmp_path / "store").create("a", {"config": {}, "provenance": {}})
    with pytest.raises(LandscapeError, match=r"^no level of a is finished yet; train on first$"):
        histograms([run])
