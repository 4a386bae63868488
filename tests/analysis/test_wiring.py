"""Units, empty layers and weights on a path, counted as a naive loop counts them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.analysis.wiring import collapsed, effective, unit_overlap
from landscape.data_store.params import ParamSpec

SPEC = ParamSpec(("w1", "b1", "conv", "w2"), ((5, 3), (5,), (4, 5, 2, 2), (2, 4)))
LAYERS = ("w1", "b1", "conv", "w2")


def drawn(seed, density):
    return np.random.default_rng(seed).random(SPEC.size) < density


@pytest.mark.parametrize("seed", range(5))
def test_units_are_rows_with_a_kept_weight(seed):
    a, b = drawn(seed, 0.1), drawn(100 + seed, 0.15)
    numbers = unit_overlap(a, b, SPEC, LAYERS)
    sums = np.zeros(4)
    for i, name in enumerate(LAYERS, start=1):
        row = [numbers[n][i] for n in ("units", "units_a", "units_b", "units_both")]
        shape = SPEC.shape(name)
        if len(shape) == 1:
            assert all(map(math.isnan, row))
            continue
        tensors = [kept[SPEC.slices[name]].reshape(shape) for kept in (a, b)]
        used = [{u for u in range(shape[0]) if kept[u].sum() > 0} for kept in tensors]
        expected = [shape[0], len(used[0]), len(used[1]), len(used[0] & used[1])]
        assert row == expected
        sums += expected
        if used[0]:
            assert numbers["unit_precision"][i] == len(used[0] & used[1]) / len(used[0])
        if used[1]:
            assert numbers["unit_recall"][i] == len(used[0] & used[1]) / len(used[1])
    assert [numbers[n][0] for n in ("units", "units_a", "units_b", "units_both")] == list(sums)
    assert numbers["unit_recall"][0] == sums[3] / sums[2]


def test_other_weights_of_the_same_units_are_the_same_units():
    a, b = np.zeros((2, SPEC.size), bool)
    for kept, column in ((a, 0), (b, 2)):
        kept[SPEC.slices["w1"]].reshape(5, 3)[1:3, column] = True
    numbers = unit_overlap(a, b, SPEC, ("w1",))
    assert not (a & b).any()
    assert list(numbers["units_both"]) == [2, 2]
    assert list(numbers["unit_precision"]) == [1, 1]


def test_shares_of_no_units_are_unknown():
    none = np.zeros(SPEC.size, bool)
    numbers = unit_overlap(none, none, SPEC, LAYERS)
    assert np.isnan(numbers["unit_precision"]).all()
    assert np.isnan(numbers["unit_recall"]).all()
    assert numbers["units"][0] == 11


def test_a_layer_without_weights_has_collapsed_and_so_has_the_whole():
    kept = np.ones(SPEC.size, bool)
    np.testing.assert_array_equal(collapsed(kept, SPEC, LAYERS), [0, 0, np.nan, 0, 0])
    kept[SPEC.slices["b1"]] = False
    np.testing.assert_array_equal(collapsed(kept, SPEC, LAYERS), [0, 0, np.nan, 0, 0])
    kept[SPEC.slices["conv"]] = False
    np.testing.assert_array_equal(collapsed(kept, SPEC, LAYERS), [1, 0, np.nan, 1, 0])
    np.testing.assert_array_equal(collapsed(kept, SPEC, ("w2",)), [0, 0])


def test_weights_on_a_path_are_counted_and_biases_are_none():
    on_path = drawn(0, 0.3)
    counts, density = effective(on_path, SPEC, LAYERS)
    own = [on_path[SPEC.slices[name]].sum() for name in ("w1", "conv", "w2")]
    np.testing.assert_array_equal(counts, [sum(own), own[0], np.nan, own[1], own[2]])
    sizes = [15 + 80 + 8, 15, np.nan, 80, 8]
    np.testing.assert_array_equal(density, counts / np.array(sizes))


def test_no_layers_have_nothing():
    kept = np.ones(SPEC.size, bool)
    assert unit_overlap(kept, kept, SPEC, ())["units"].tolist() == [0]
    assert collapsed(kept, SPEC, ()).tolist() == [0]
    counts, density = effective(kept, SPEC, ())
    assert counts.tolist() == [0]
    assert np.isnan(density).all()
