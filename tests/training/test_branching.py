"""What a branch carries to another network: counts, places and bits of masks and weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Point
from landscape.training.branching import (
    carried_mask,
    carried_point,
    output_tensors,
    permuted,
    require_transferable,
)
from tests.support.experiments import bits, random_mask

SPEC = ParamSpec(
    ("conv.weight", "norm.weight", "head.weight", "head.bias"), ((5, 2, 3, 3), (5,), (4, 5), (4,))
)
OTHER = ParamSpec(  # another order, seven classes
    ("norm.weight", "conv.weight", "head.weight", "head.bias"), ((5,), (5, 2, 3, 3), (7, 5), (7,))
)
PRUNABLE = ("conv.weight", "head.weight")
KINDS = {"conv.weight": "conv", "head.weight": "output"}
HEAD = ("head.weight", "head.bias")


def point(spec: ParamSpec, seed: int, **shapes: tuple[int, ...]) -> Point:
    """Random weights, and buffers of these shapes."""
    draws = np.random.default_rng(seed)
    buffers = {name: draws.random(shape) for name, shape in shapes.items()}
    return Point(draws.standard_normal(spec.size).astype(spec.dtype), buffers)


def counts(mask: Mask) -> list[int]:
    """Kept weights of each prunable tensor."""
    return [int(mask.layer(name).sum()) for name in mask.prunable]


@given(st.floats(0, 1), st.integers(0, 20), st.booleans())
def test_permuting_keeps_the_counts(density: float, seed: int, by_layer: bool) -> None:
    mask = random_mask(SPEC, PRUNABLE, density, seed=seed)
    before = mask.kept.copy()
    ticket = permuted(mask, seed, 1, by_layer=by_layer)
    assert ticket.kept_size == mask.kept_size
    assert ticket.prunable == PRUNABLE
    if by_layer:
        assert counts(ticket) == counts(mask)
    np.testing.assert_array_equal(mask.kept, before)


def test_permuting_over_all_exchanges_the_layers_counts() -> None:
    dense = Mask.dense(SPEC, PRUNABLE)
    kept = dense.kept.copy()
    kept[SPEC.slices["conv.weight"]] = False  # 90 of 110 weights gone, all of one layer
    mask = Mask(SPEC, PRUNABLE, kept)
    found = {tuple(counts(permuted(mask, seed, 1, by_layer=False))) for seed in range(20)}
    assert len(found) > 3
    assert all(sum(pair) == 20 for pair in found)
    assert counts(permuted(mask, 0, 1, by_layer=True)) == [0, 20]


def test_every_place_is_as_likely() -> None:
    dense = Mask.dense(SPEC, ("head.weight",))
    kept = dense.kept.copy()
    kept[SPEC.slices["head.weight"]] = np.arange(20) < 5
    mask, draws = Mask(SPEC, ("head.weight",), kept), 400
    for by_layer in (True, False):
        times: Counter[int] = Counter()
        for seed in range(draws):
            times.update(np.flatnonzero(permuted(mask, seed, 1, by_layer=by_layer).layer(
                "head.weight")).tolist())  # fmt: skip
        spread = (draws * 0.25 * 0.75) ** 0.5
        assert all(abs(times[place] - draws * 0.25) < 5 * spread for place in range(20))


def test_a_permutation_is_a_function_of_the_seed_and_the_level() -> None:
    mask = random_mask(SPEC, PRUNABLE, 0.5)
    for by_layer in (True, False):
        first, again, other = (
            permuted(mask, seed, 1, by_layer=by_layer).kept for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
        assert (first != mask.kept).any()
        assert (first != permuted(mask, 1, 2, by_layer=by_layer).kept).any()


def test_layers_are_permuted_apart() -> None:
    spec = ParamSpec(("a", "b"), ((50,), (50,)))
    half = np.tile(np.arange(50) < 25, 2)
    mask = permuted(Mask(spec, ("a", "b"), half), 0, 1, by_layer=True)
    assert (mask.layer("a") != mask.layer("b")).any()


def test_a_mask_is_carried_by_name() -> None:
    mask = random_mask(SPEC, PRUNABLE, 0.5)
    carried = carried_mask(mask, OTHER, ("conv.weight",))
    assert bits(carried.layer("conv.weight")) == bits(mask.layer("conv.weight"))
    assert carried.prunable == ("conv.weight",)
    assert carried.kept_size == int(mask.layer("conv.weight").sum())
    same = carried_mask(mask, SPEC, PRUNABLE)
    assert bits(same.kept) == bits(mask.kept)


def test_what_the_source_did_not_prune_is_carried_whole() -> None:
    mask = random_mask(SPEC, ("conv.weight",), 0.5)
    carried = carried_mask(mask, SPEC, PRUNABLE)
    assert carried.prunable == PRUNABLE
    assert carried.layer("head.weight").all()
    assert counts(carried)[0] == counts(mask)[0]


def test_weights_and_buffers_are_carried_by_name_and_the_rest_is_fresh() -> None:
    source = point(SPEC, 1, mean=(5,), count=())
    fresh = point(OTHER, 2, count=(), mean=(5,))
    carried = carried_point(source, SPEC, fresh, OTHER, HEAD)
    old, new = SPEC.unflatten(source.theta), OTHER.unflatten(fresh.theta)
    found = OTHER.unflatten(carried.theta)
    for name in OTHER.names:
        assert bits(found[name]) == bits(new[name] if name in HEAD else old[name])
    assert list(carried.buffers) == ["count", "mean"]  # in the order of the new network
    for name, buffer in carried.buffers.items():
        assert bits(buffer) == bits(source.buffers[name])


def test_to_the_same_network_everything_is_carried() -> None:
    source, fresh = point(SPEC, 1, mean=(5,)), point(SPEC, 2, mean=(5,))
    carried = carried_point(source, SPEC, fresh, SPEC, ())
    assert carried.digest(SPEC) == source.digest(SPEC)


def test_the_output_layer_is_its_weight_and_bias() -> None:
    assert output_tensors(SPEC, KINDS) == HEAD
    no_bias = ParamSpec(SPEC.names[:3], SPEC.shapes[:3])
    assert output_tensors(no_bias, KINDS) == ("head.weight",)
    assert output_tensors(SPEC, {"conv.weight": "conv"}) == ()


def test_only_the_output_layer_may_differ() -> None:
    old, new = (SPEC, point(SPEC, 1, mean=(5,))), (OTHER, point(OTHER, 2, mean=(5,)))
    require_transferable(old, new, HEAD, "a@1")
    require_transferable(old, old, (), "a@1")
    message = r"a@1 does not fit .*: 'head.weight' is \(4, 5\), and \(7, 5\) is needed"
    with pytest.raises(UsageError, match=message):
        require_transferable(old, new, (), "a@1")


LARGER = ParamSpec(SPEC.names, ((5, 3, 3, 3), *SPEC.shapes[1:]))
FEWER = ParamSpec(SPEC.names[1:], SPEC.shapes[1:])
DOUBLE = ParamSpec(SPEC.names, SPEC.shapes, "float64")


@pytest.mark.parametrize(
    ("spec", "buffers", "message"),
    [
        (LARGER, {"mean": (5,)}, r"'conv.weight' is \(5, 2, 3, 3\), and \(5, 3, 3, 3\) is needed"),
        (FEWER, {"mean": (5,)}, r"'conv.weight' is \(5, 2, 3, 3\), and not there is needed"),
        (SPEC, {"mean": (6,)}, r"'mean' is \(5,\), and \(6,\) is needed"),
        (SPEC, {}, r"'mean' is \(5,\), and not there is needed"),
        (SPEC, {"mean": (5,), "more": (2,)}, r"'more' is not there, and \(2,\) is needed"),
        (DOUBLE, {"mean": (5,)}, "a@1 holds float32 weights and .* float64 ones; give the --model"),
    ],
)
def test_what_does_not_fit_is_named(
    spec: ParamSpec, buffers: dict[str, tuple[int, ...]], message: str
) -> None:
    old = SPEC, point(SPEC, 1, mean=(5,))
    with pytest.raises(UsageError, match=message):
        require_transferable(old, (spec, point(spec, 2, **buffers)), HEAD, "a@1")


@pytest.mark.parametrize("by_layer", [True, False])
def test_the_tickets_of_two_levels_are_independent(by_layer: bool) -> None:
    """Of places that level 1 keeps, level 2 keeps no more than its density: hypergeometric."""
    spec = ParamSpec(("a",), ((4000,),))
    first, second = (random_mask(spec, ("a",), density) for density in (0.8, 0.4))
    assert second.is_within(first)  # as masks of one run are
    one, two = (
        permuted(mask, 0, level, by_layer=by_layer) for level, mask in ((1, first), (2, second))
    )
    common = int((one.kept & two.kept).sum())
    p, q = one.density, two.density
    spread = (4000 * p * q * (1 - p) * (1 - q)) ** 0.5
    assert abs(common - 4000 * p * q) < 4 * spread
    assert not two.is_within(one)
