"""Densities of layers: counts of the masks, unknown where a run has no such layer or level."""

from __future__ import annotations

import numpy as np
import pytest

import landscape
from landscape.data_store.errors import LandscapeError
from landscape.data_store.layers import layers
from landscape.data_store.schemas.layers import LAYERS
from landscape.data_store.store import open_store
from tests.support.runs import SMALL


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run pruned by layer, one pruned over all layers, and one of another network."""
    store = landscape.open(tmp_path_factory.mktemp("layers") / "store")
    landscape.train(store=store, name="by-layer", **SMALL)
    landscape.train(store=store, name="global", **{**SMALL, "scope": "global", "levels": 2})
    landscape.train(store=store, name="deeper", **{**SMALL, "model": "mlp:64-9-8-10", "levels": 1})
    landscape.branch("by-layer@2", store=store, name="random", mask="permuted", retrain="reinit")
    return store


def test_densities_are_counts_of_the_mask(store):
    runs = [store[name] for name in ("by-layer", "global")]
    ds = layers(runs)
    LAYERS.validate(ds)
    assert ds["layer"].values.tolist() == ["fc1.weight", "fc2.weight"]
    assert ds["scope"].values.tolist() == ["layer", "global"]
    assert ds["model"].values.tolist() == ["mlp:64-20-10"] * 2
    np.testing.assert_array_equal(ds["layer_size"], [[64 * 20, 20 * 10]] * 2)
    for run in runs:
        for number in run.levels:
            here, kept, size = ds.sel(run=run.name, level=number), 0, 0
            for name in ("fc1.weight", "fc2.weight"):
                bits = run.level(number).mask.layer(name)
                assert float(here["layer_density"].sel(layer=name)) == sum(bits) / len(bits)
                kept, size = kept + sum(bits), size + len(bits)
            assert float(here["density"]) == kept / size
            assert int(here["status"]) == 0


def test_pruning_by_layer_takes_the_same_share_of_each_but_the_output(store):
    ds = layers([store["by-layer"]]).isel(run=0)
    np.testing.assert_allclose(
        ds["layer_density"].sel(layer="fc1.weight"), 0.8 ** np.arange(3), atol=1e-3
    )
    np.testing.assert_allclose(
        ds["layer_density"].sel(layer="fc2.weight"), 0.9 ** np.arange(3), atol=1e-2
    )


def test_a_level_or_layer_that_a_run_lacks_is_unknown(store):
    ds = layers([store["global"], store["deeper"], store["by-layer"]])
    assert ds["layer"].values.tolist() == ["fc1.weight", "fc2.weight", "fc3.weight"]
    np.testing.assert_array_equal(ds["status"], [[0, 0, 2], [0, 2, 2], [0, 0, 0]])
    assert np.isnan(ds["layer_density"].sel(run="global", layer="fc3.weight")).all()
    assert np.isnan(ds["layer_size"].sel(run="global", layer="fc3.weight"))
    assert np.isnan(ds["layer_density"].sel(run="deeper", level=1)).all()
    assert np.isnan(ds["density"].sel(run="deeper", level=1))
    assert float(ds["layer_size"].sel(run="deeper", layer="fc3.weight")) == 80


def test_a_branch_of_one_level_is_a_row_of_its_own(store):
    ds = layers([store["by-layer"], store["random"]])
    assert ds["strategy"].values.tolist() == ["magnitude", "magnitude, random ticket, reinit"]
    parent, own = ds["density"].sel(run="by-layer", level=2), ds["density"].sel(run="random")
    assert float(own.sel(level=0)) == float(parent)


def test_layers_of_no_level(tmp_path):
    run = open_store(tmp_path / "store").create("a", {"config": {}, "provenance": {}})
    with pytest.raises(LandscapeError, match=r"^no level of a is finished yet; train on first$"):
        layers([run])
