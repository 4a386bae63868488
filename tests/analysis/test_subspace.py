"""Subspace: free coordinates, against a mask written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.subspace import Subspace, in_matrices
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint

SPEC = ParamSpec(("fc.weight", "fc.bias", "norm.weight"), ((2, 3), (2,), (2,)), "float64")
KEPT = np.array([1, 0, 1, 0, 0, 1, 1, 1, 1, 1], dtype=np.bool_)


@pytest.fixture
def checkpoint() -> Checkpoint:
    theta = np.where(KEPT, np.arange(1.0, 11.0), 0.0)
    mask = Mask(SPEC, ("fc.weight",), KEPT)
    buffers = {"norm.running_mean": np.zeros(2), "norm.steps": np.array(3)}
    return Checkpoint(SPEC, theta, mask, buffers=buffers)


def test_what_the_mask_keeps_is_free_and_buffers_are_not(checkpoint):
    subspace = Subspace.of(checkpoint)
    assert subspace.size == 12  # ten weights and two statistics; the counter is none
    assert subspace.free.tolist() == [0, 2, 5, 6, 7, 8, 9]
    assert subspace.dims == 7


def test_tensors_of_one_dimension_can_be_held_fixed(checkpoint):
    subspace = Subspace.of(checkpoint, one_dimensional=False)
    assert subspace.free.tolist() == [0, 2, 5]
    assert in_matrices(SPEC).tolist() == [True] * 6 + [False] * 4


def test_embedding_and_restricting_are_inverse_and_leave_the_rest_zero(checkpoint):
    subspace = Subspace.of(checkpoint)
    vectors = np.random.default_rng(0).standard_normal((3, 7))
    whole = subspace.embed(vectors)
    assert whole.shape == (3, 12)
    assert np.array_equal(subspace.restrict(whole), vectors)
    assert not whole[:, np.setdiff1d(np.arange(12), subspace.free)].any()
    assert np.array_equal(subspace.embed(vectors[0]), whole[0])
    assert subspace.embed(vectors.astype(np.float32)).dtype == np.float32
