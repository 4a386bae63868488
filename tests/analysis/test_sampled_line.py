"""Sampled lines: intervals that hold whenever the search stops, and examples used once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.analysis.heights import heights
from landscape.analysis.paths import grid
from landscape.analysis.sampled_line import FIRST, SampledLine, Tolerance, sampled
from landscape.analysis.sampling import subset
from tests.support.examples import OnExamples, made_up

ENDS = np.array([[0.0], [1.0]])
KINDS = ("zero", "independent", "plateau", "peak", "rare", "still", "step")


def searched(landscape: OnExamples, tol: float, seed: int = 0) -> SampledLine:
    landscape.asked.clear()
    return sampled(landscape, ENDS, landscape.alpha, "train", Tolerance(tol, seed))


def truth(landscape: OnExamples) -> dict[str, np.ndarray]:
    return {
        name: heights(landscape.alpha, getattr(landscape, name).mean(axis=1))[:, 0]
        for name in ("loss", "error")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_are_as_narrow_as_was_asked_for(kind):
    landscape = made_up(kind, grid(9), 12_000)
    for tol in (0.1, 0.04):
        found = searched(landscape, tol)
        for known in found.split.values():
            assert ((known.high - known.low) / 2 <= tol).all()
        assert landscape.evaluations < 9 * 12_000


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_nested_the_same_at_all_positions_and_used_once(kind):
    landscape = made_up(kind, grid(9), 12_000)
    found = searched(landscape, 0.03, seed=4)
    seen: set[int] = set()
    positions = set(landscape.alpha)
    for alpha, columns in landscape.asked:
        assert not seen & set(columns)
        seen |= set(columns)
        assert set(alpha) <= positions  # what was left out stays out
        positions = set(alpha)
    assert len(seen) == found.line.examples == found.examples.max()
    assert sorted(seen) == subset(12_000, len(seen), 4).tolist()
    assert found.line.alpha.tolist() == sorted(positions)
    assert {0.0, 1.0} <= positions


def test_curves_are_of_the_examples_evaluated_at_each_position():
    landscape = made_up("peak", grid(9), 12_000)
    found = searched(landscape, 0.03)
    assert found.examples.min() >= FIRST
    assert len(set(found.examples)) > 1
    for k, count in enumerate(found.examples):
        places = subset(12_000, int(count), 0)
        assert found.curves["loss"][k] == pytest.approx(landscape.loss[k, places].mean())
        assert found.curves["error"][k] == pytest.approx(landscape.error[k, places].mean())


def test_a_larger_tolerance_takes_less():
    landscape = made_up("peak", grid(25), 40_000)
    taken = []
    for tol in (0.2, 0.05, 0.02):
        searched(landscape, tol)
        taken.append(landscape.evaluations)
    assert 25 * FIRST <= taken[0] < taken[1] < taken[2]
    assert taken[2] < 25 * 40_000 / 8


def test_a_tolerance_that_needs_everything_gives_the_whole_splits_barriers():
    landscape = made_up("peak", grid(9), 3_000)
    found = searched(landscape, 1e-9)
    assert found.line.examples == 3_000
    for name, height in truth(landscape).items():
        measured = heights(found.line.alpha, found.line.curves[name])[:, 0]
        np.testing.assert_allclose(measured, height, atol=1e-12)
        np.testing.assert_allclose(found.split[name].low, height, atol=1e-12)
        np.testing.assert_allclose(found.split[name].high, height, atol=1e-9)
        assert (found.population[name].high > found.split[name].high).all()


def test_a_small_split_is_evaluated_whole():
    landscape = made_up("zero", grid(9), FIRST + 200)
    found = searched(landscape, 0.5)
    assert landscape.evaluations == 9 * (FIRST + 200)
    assert (found.examples == FIRST + 200).all()


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    landscape = made_up("plateau", grid(9), 12_000)
    first, again, other = (searched(landscape, 0.04, seed) for seed in (0, 0, 1))
    for name in first.curves:
        assert first.curves[name].tobytes() == again.curves[name].tobytes()
    assert first.split["loss"].high.tobytes() == again.split["loss"].high.tobytes()
    assert (first.curves["loss"] != other.curves["loss"]).any()


def test_a_loss_that_is_no_number_ends_the_search():
    landscape = made_up("peak", grid(9), 12_000)
    landscape.loss[4, :] = np.nan
    found = searched(landscape, 0.01)
    assert landscape.evaluations == 9 * FIRST
    assert np.isnan(found.curves["loss"][4])
    assert np.isnan(found.split["loss"].low).all()


def test_an_error_that_is_not_defined_is_not_waited_for():
    landscape = made_up("peak", grid(9), 12_000)
    landscape.error[:] = np.nan
    found = searched(landscape, 0.05)
    assert found.line.examples < 12_000
    assert np.isnan(found.split["error"].high).all()
    assert ((found.split["loss"].high - found.split["loss"].low) / 2 <= 0.05).all()


def covered(kind, positions, examples, tol, seeds) -> np.ndarray:
    """Share of the seeds whose intervals hold the whole split's barriers: (measures, 4)."""
    landscape = made_up(kind, grid(positions), examples)
    known = truth(landscape)
    inside = np.zeros((2, 4))
    for seed in range(seeds):
        found = searched(landscape, tol, seed)
        for i, name in enumerate(("loss", "error")):
            limits = found.split[name]
            inside[i] += (limits.low <= known[name] + 1e-12) & (known[name] <= limits.high + 1e-12)
    return inside / seeds


@pytest.mark.parametrize("kind", ["zero", "peak"])
def test_intervals_hold_the_barriers_of_the_whole_split(kind):
    assert (covered(kind, 5, 4_000, 0.08, 40) >= 0.9).all()


@pytest.mark.slow
@pytest.mark.parametrize("tol", [0.08, 0.04])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_at_their_stated_rate_whenever_the_search_stops(kind, tol):
    rate = covered(kind, 9, 10_000, tol, 200)
    assert (rate >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 200)).all()
