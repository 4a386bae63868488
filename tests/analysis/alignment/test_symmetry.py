"""Permutation symmetry: what moves, what does not, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.alignment.symmetry import (
    Group,
    Member,
    Permutations,
    entries,
    permuted,
    permuted_vector,
)
from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import ParamSpec

STRUCTURE = Permutations(
    (
        Group(3, (Member("w", 0), Member("mean", 0, buffer=True), Member("v", 1, block=2))),
        Group(2, (Member("v", 0),)),
    )
)
ORDERS = [np.array([2, 0, 1]), np.array([1, 0])]


def test_every_axis_moves_with_its_group() -> None:
    w, mean, v = np.arange(6.0).reshape(3, 2), np.arange(3.0), np.arange(12.0).reshape(2, 6)
    moved = permuted(STRUCTURE, {"w": w, "mean": mean, "v": v, "other": w}, ORDERS)
    assert moved["w"].tolist() == [[4, 5], [0, 1], [2, 3]]
    assert moved["mean"].tolist() == [2, 0, 1]
    assert moved["v"].tolist() == [[10, 11, 6, 7, 8, 9], [4, 5, 0, 1, 2, 3]]
    assert moved["other"].tolist() == w.tolist()
    assert moved["other"] is not w


def test_one_tensor_with_both_axes_in_a_group_moves_along_both() -> None:
    square = Permutations((Group(3, (Member("w", 0), Member("w", 1))),))
    w = np.arange(9).reshape(3, 3)
    assert np.array_equal(permuted(square, {"w": w}, ORDERS[:1])["w"], w[ORDERS[0]][:, ORDERS[0]])


def test_the_identity_changes_nothing_and_the_inverse_order_undoes() -> None:
    tensors = {"w": np.arange(6.0).reshape(3, 2), "v": np.arange(12.0).reshape(2, 6)}
    same = permuted(STRUCTURE, tensors, STRUCTURE.identity())
    there = permuted(STRUCTURE, tensors, ORDERS)
    back = permuted(STRUCTURE, there, [np.argsort(order) for order in ORDERS])
    for name, tensor in tensors.items():
        assert np.array_equal(same[name], tensor)
        assert np.array_equal(back[name], tensor)


def test_masks_keep_their_dtype_and_pruned_weights_stay_positive_zeros() -> None:
    spec = ParamSpec(("w", "v"), ((3, 2), (2, 6)), "float32")
    rng = np.random.default_rng(0)
    kept = rng.random(spec.size) < 0.5
    theta = np.where(kept, rng.normal(size=spec.size), 0.0).astype(np.float32)
    moved_mask = permuted_vector(STRUCTURE, spec, kept, ORDERS)
    moved = permuted_vector(STRUCTURE, spec, theta, ORDERS)
    assert (moved_mask.dtype, moved.dtype) == (np.bool_, np.float32)
    assert np.array_equal(moved != 0, moved_mask)
    assert not np.signbit(moved[~moved_mask]).any()
    assert sorted(moved.tolist()) == sorted(theta.tolist())


def test_drawn_orders_are_permutations_by_the_generator() -> None:
    drawn = STRUCTURE.drawn(np.random.default_rng(3))
    assert [sorted(order.tolist()) for order in drawn] == [[0, 1, 2], [0, 1]]
    again = STRUCTURE.drawn(np.random.default_rng(3))
    assert all(np.array_equal(x, y) for x, y in zip(drawn, again, strict=True))


def test_entries_of_blocks() -> None:
    assert entries(np.array([1, 0]), 3).tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize(
    "orders",
    [ORDERS[:1], [ORDERS[0], np.array([0, 0])], [ORDERS[1], ORDERS[0]], [*ORDERS, ORDERS[1]]],
)
def test_orders_that_are_no_permutations_are_refused(orders: list[np.ndarray]) -> None:
    with pytest.raises(LandscapeError, match=r"one permutation per group, of \[3, 2\] units"):
        permuted(STRUCTURE, {}, orders)


@pytest.mark.parametrize("shape", [(4, 2), ()])
def test_a_tensor_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LandscapeError, match=r"'w' has shape .* expected 3 entries along axis 0"):
        permuted(STRUCTURE, {"w": np.zeros(shape)}, ORDERS)


def test_a_vector_of_another_length_is_refused() -> None:
    spec = ParamSpec(("w", "v"), ((3, 2), (2, 6)), "float32")
    with pytest.raises(LandscapeError, match=r"shape \(5,\) does not hold .* expected \(18,\)"):
        permuted_vector(STRUCTURE, spec, np.zeros(5), ORDERS)
