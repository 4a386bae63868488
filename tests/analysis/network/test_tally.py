"""Tally: sums and rows of the same losses, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape.analysis.network.batches import Data
from landscape.analysis.network.tally import Rows, Sums

LOSSES = np.random.default_rng(0).exponential(size=(3, 11))
WRONG = LOSSES > 1
CPU = torch.device("cpu")


def filled(tally, losses=LOSSES, wrong=WRONG, size=4):
    for start in range(0, losses.shape[1], size):
        for point in reversed(range(len(losses))):
            part = slice(start, start + size)
            mistakes = None if wrong is None else torch.tensor(wrong[point, part])
            tally.add(point, start, torch.tensor(losses[point, part]), mistakes)
    return tally


def data(classes=True):
    targets = torch.zeros(11, dtype=torch.int64) if classes else torch.zeros(11)
    return Data(torch.zeros(11, 1), targets)


def test_sums_are_means_and_standard_errors():
    got = filled(Sums(3, CPU)).evaluation(data())
    np.testing.assert_allclose(got.loss, LOSSES.mean(1), rtol=1e-14)
    np.testing.assert_array_equal(got.error, WRONG.mean(1))
    root = math.sqrt(11)
    np.testing.assert_allclose(got.loss_se, LOSSES.std(1, ddof=1) / root, rtol=1e-12)
    np.testing.assert_allclose(got.error_se, WRONG.std(1, ddof=1) / root, rtol=1e-12)
    assert got.examples == 11


def test_rows_are_what_was_put_in():
    got = filled(Rows(3, 11)).examples()
    assert got.loss.tobytes() == LOSSES.tobytes()
    np.testing.assert_array_equal(got.error, WRONG)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_unknown(bad):
    losses = LOSSES.copy()
    losses[1, 6] = bad
    means, rows = filled(Sums(3, CPU), losses).evaluation(data()), filled(Rows(3, 11), losses)
    for values in (means.loss, means.error, means.loss_se, means.error_se):
        assert np.isnan(values).tolist() == [False, True, False]
    for values in (rows.examples().loss, rows.examples().error):
        assert np.argwhere(np.isnan(values)).tolist() == [[1, 6]]


def test_without_classes_there_is_no_error():
    got = filled(Sums(3, CPU), wrong=None).evaluation(data(classes=False))
    assert np.isfinite(got.loss).all()
    assert np.isnan(got.error).all()
    assert np.isnan(filled(Rows(3, 11), wrong=None).examples().error).all()


def test_equal_losses_have_no_spread():
    same = np.full((1, 11), 0.1)
    assert filled(Sums(1, CPU), same, same > 1).evaluation(data()).loss_se[0] < 1e-9
