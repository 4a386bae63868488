"""Foreign files: how tests write them, and what reading them must give or refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from landscape.data_store.errors import LandscapeError
from landscape.data_store.foreign import read_state

W = torch.arange(6.0).reshape(2, 3)
STATE = {"fc.weight": W, "fc.bias": torch.tensor([1.0, float("nan")])}


def saved(path, obj, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates some of what is saved here
        torch.save(obj, path, **options)
    return path


def assert_states_equal(got, want):
    assert list(got) == list(want)
    for name in want:
        expected = want[name].detach().numpy()
        assert got[name].dtype == expected.dtype
        assert got[name].shape == expected.shape
        np.testing.assert_array_equal(got[name], expected)
        assert got[name].flags["OWNDATA"] or got[name].base.flags["OWNDATA"]


def refused(path, match, error=LandscapeError, **options):
    with pytest.raises(error, match=match) as caught:
        read_state(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "weights_only" not in message
    assert "\n" not in message
