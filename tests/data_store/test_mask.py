"""Mask: what is kept, packed, applied and compared."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec

SPEC = ParamSpec(("w1", "b1", "w2"), ((2, 3), (3,), (1, 5)))
PRUNABLE = ("w1", "w2")


def mask_of(bits, spec=SPEC, prunable=PRUNABLE):
    """The mask with these bits on its prunable weights."""
    dense = Mask.dense(spec, prunable)
    kept = dense.kept.copy()
    kept[dense.covered] = bits
    return Mask(spec, prunable, kept)


BITS = st.lists(st.booleans(), min_size=11, max_size=11)


def test_a_dense_mask_keeps_everything():
    mask = Mask.dense(SPEC, PRUNABLE)
    assert mask.kept.all()
    assert (mask.prunable_size, mask.kept_size, mask.density) == (11, 11, 1.0)
    np.testing.assert_array_equal(mask.covered, [True] * 6 + [False] * 3 + [True] * 5)


def test_density_is_over_the_prunable_weights():
    mask = mask_of([True] * 4 + [False] * 7)
    assert (mask.kept_size, mask.density) == (4, 4 / 11)
    np.testing.assert_array_equal(mask.layer("w1"), [True] * 4 + [False] * 2)
    assert not mask.layer("w2").any()
    assert mask.layer("b1").all()


def test_density_is_unknown_where_nothing_is_prunable():
    assert math.isnan(Mask.dense(SPEC, ()).density)


@pytest.mark.parametrize("kept", [np.ones(13, bool), np.ones(14, np.uint8), np.ones((14, 1), bool)])
def test_a_mask_needs_one_boolean_per_weight(kept):
    with pytest.raises(LandscapeError, match=r"needs booleans of shape \(14,\), got \w+ of shape"):
        Mask(SPEC, PRUNABLE, kept)


def test_a_mask_prunes_only_prunable_weights():
    kept = np.ones(14, bool)
    kept[7] = False
    with pytest.raises(LandscapeError, match="prunes weights outside its prunable tensors"):
        Mask(SPEC, PRUNABLE, kept)


@pytest.mark.parametrize("prunable", [("w3",), ("w1", "w1.weight"), ("",)])
def test_what_is_prunable_must_be_a_parameter(prunable):
    match = f"^prunable tensor '{prunable[-1]}' is not among the parameters$"
    with pytest.raises(LandscapeError, match=match):
        Mask(SPEC, prunable, np.ones(14, bool))


def test_density_is_unknown_where_the_prunable_tensors_are_empty():
    spec = ParamSpec(("w", "b"), ((0, 3), (2,)))
    mask = Mask.dense(spec, ("w",))
    assert (mask.prunable_size, mask.kept_size) == (0, 0)
    assert math.isnan(mask.density)
    assert Mask.unpack(spec, ("w",), mask.packed()).kept.all()


@given(BITS)
def test_unpack_inverts_pack(bits):
    mask = mask_of(bits)
    packed = mask.packed()
    assert packed.dtype == np.uint8
    assert packed.shape == (2,)
    again = Mask.unpack(SPEC, PRUNABLE, packed)
    np.testing.assert_array_equal(again.kept, mask.kept)
    assert again.prunable == PRUNABLE


def test_the_first_weight_is_the_highest_bit():
    assert list(mask_of([True] + [False] * 9 + [True]).packed()) == [0b1000_0000, 0b0010_0000]


@pytest.mark.parametrize("bits", [np.zeros(1, np.uint8), np.zeros(3, np.uint8), np.zeros(2)])
def test_unpack_refuses_bytes_of_another_mask(bits):
    with pytest.raises(LandscapeError, match="packed mask of 11 weights needs 2 bytes, got"):
        Mask.unpack(SPEC, PRUNABLE, bits)


@given(BITS)
def test_apply_zeroes_what_is_pruned_and_nothing_else(bits):
    mask = mask_of(bits)
    theta = np.linspace(-1, 1, 14, dtype=np.float32)
    theta[[0, 13]] = -0.0, np.nan
    before = theta.copy()
    applied = mask.apply(theta)
    assert applied.dtype == np.float32
    assert applied[mask.kept].tobytes() == theta[mask.kept].tobytes()
    assert applied[~mask.kept].tobytes() == bytes(4 * int((~mask.kept).sum()))  # +0.0
    np.testing.assert_array_equal(theta, before)
    assert mask.apply(applied).tobytes() == applied.tobytes()


@given(BITS, BITS)
def test_nesting_is_set_inclusion(first, second):
    a, b = mask_of(first), mask_of(second)
    inside = {i for i, kept in enumerate(first) if kept} <= {
        i for i, kept in enumerate(second) if kept
    }
    assert a.is_within(b) == inside
    assert a.is_within(a)
    assert a.is_within(Mask.dense(SPEC, PRUNABLE))


def test_exact_zeros_of_matrices_are_pruned():
    theta = np.ones(14, np.float32)
    theta[[0, 1, 6, 13]] = 0.0, -0.0, 0.0, 1e-45
    mask = Mask.from_zeros(SPEC, theta)
    assert mask.prunable == PRUNABLE
    assert list(np.flatnonzero(~mask.kept)) == [0, 1]


def test_nan_is_no_zero():
    assert Mask.from_zeros(SPEC, np.full(14, np.nan)).kept.all()


def test_from_zeros_finds_the_mask_that_was_applied():
    mask = mask_of([True, False, True] * 3 + [False, True])
    found = Mask.from_zeros(SPEC, mask.apply(np.full(14, 0.5)))
    np.testing.assert_array_equal(found.kept, mask.kept)
