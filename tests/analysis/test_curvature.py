"""The curvature analysis: known Hessians, masks, subsets, blocks, and networks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from landscape.analysis.curvature import ANALYSIS, CurvatureSettings, curvature
from landscape.analysis.extremes import DENSE
from landscape.analysis.sampling import subset
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import UsageError
from landscape.data_store.schemas.curvature import CURVATURE
from tests.support.hessians import Bowls, bowl, dense, pruned

SMALL, LARGE = 30, DENSE + 60
FAST = {"eigenvalues": 3, "smallest": 2, "probes": 6, "steps": 20, "grid": 200}


def spectrum(size):
    bulk = np.random.default_rng(0).uniform(-0.01, 0.1, size - 6)
    return np.concatenate([[9.0, 5.0, 4.9, 2.0], bulk, [-0.5, -1.0]])


def settings(**changes):
    return CurvatureSettings(**{**FAST, **changes})


def asked(landscape, checkpoint, work=None, **changes):
    return curvature(checkpoint, landscape, settings(**changes), work or AtOnce())


def integral(ds):
    """Of the density of the first checkpoint, by trapezoids."""
    x, y = ds.grid_eigenvalue.values[0], ds.spectral_density.values[0]
    return (np.diff(x) * (y[1:] + y[:-1]) / 2).sum()


class Kept:
    """Work that keeps its blocks, and stops after some of them."""

    def __init__(self, blocks=None, stop=None):
        self.blocks, self.stop = blocks if blocks is not None else {}, stop
        self.expected, self.computed = 0, []

    def expect(self, blocks):
        self.expected += blocks

    def block(self, name, compute):
        if name not in self.blocks:
            if self.stop is not None and len(self.computed) == self.stop:
                raise KeyboardInterrupt
            self.computed.append(name)
            self.blocks[name] = dict(compute())
        return self.blocks[name]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("shape", [lambda values: values, dense])
def test_a_known_hessian(size, shape):
    values = spectrum(size)
    ds = asked(bowl(shape(values)), pruned(np.ones(size, bool)), tolerance=1e-8)
    CURVATURE.validate(ds)
    ordered = np.sort(values)[::-1]
    assert ds["rank"].values.tolist() == [1, 2, 3, -2, -1]
    expected = [*ordered[:3], *ordered[-2:]]
    np.testing.assert_allclose(ds.eigenvalue.values[0], expected, atol=1e-7)
    assert (ds.residual <= 1e-7).all()
    assert not ds.eigenvalue_status.any()
    assert not ds.status.any()
    assert abs(ds.trace.item() - values.sum()) <= 4 * ds.trace_se.item() + 1e-9
    assert ds.trace_per_dimension.item() == ds.trace.item() / size
    assert ds.n_parameters.item() == size
    assert ds.examples.item() == 1
    assert ds.split.item() == "train"
    assert integral(ds) == pytest.approx(1, abs=2e-3)


def test_of_few_weights_everything_is_exact():
    values = spectrum(SMALL)
    work = Kept()
    ds = asked(bowl(dense(values)), pruned(np.ones(SMALL, bool)), work)
    assert ds.trace.item() == pytest.approx(values.sum(), rel=1e-12)
    assert ds.trace_se.item() == 0
    assert not ds.spectral_density_se.any()
    assert work.expected == len(work.computed) == 1


def test_the_trace_of_many_weights_has_an_honest_error():
    values = spectrum(LARGE)
    ds = asked(bowl(dense(values)), pruned(np.ones(LARGE, bool)), probes=20)
    assert abs(ds.trace.item() - values.sum()) <= 4 * ds.trace_se.item()
    left = np.sort(values)[:-3]  # of the whole matrix the error would be five times this
    expected = np.sqrt(2 * (left**2).sum() / 20)
    assert 0.5 * expected < ds.trace_se.item() < 1.5 * expected


def test_the_mask_restricts_to_the_submatrix():
    kept = np.random.default_rng(2).random(40) < 0.5
    whole = dense(spectrum(40))
    ds = asked(bowl(whole), pruned(kept))
    part = np.linalg.eigvalsh(whole[np.ix_(kept, kept)])
    np.testing.assert_allclose(ds.eigenvalue.sel(rank=[1, 2, 3])[0], part[::-1][:3], atol=1e-12)
    np.testing.assert_allclose(ds.eigenvalue.sel(rank=[-2, -1])[0], part[1::-1], atol=1e-12)
    assert ds.trace.item() == pytest.approx(part.sum())
    assert ds.n_parameters.item() == kept.sum()


def test_buffers_are_no_dimensions():
    values = spectrum(SMALL)
    whole = np.concatenate([values, [1e6] * 4])
    ds = asked(bowl(whole), pruned(np.ones(SMALL, bool), buffers=4))
    assert ds.eigenvalue.sel(rank=1).item() == pytest.approx(9)
    assert ds.n_parameters.item() == SMALL


def test_a_subset_is_that_of_the_seed():
    landscape = Bowls(np.random.default_rng(0).random((10, SMALL)))
    ds = asked(landscape, pruned(np.ones(SMALL, bool)), examples=4, seed=7)
    places = subset(10, 4, 7)
    assert ds.examples.item() == 4
    assert {tuple(p) for p, _ in landscape.asked} == {tuple(places)}
    np.testing.assert_allclose(
        ds.eigenvalue.sel(rank=1).item(), landscape.hessians[places].mean(axis=0).max()
    )
    assert asked(landscape, pruned(np.ones(SMALL, bool)), examples=99).examples.item() == 10


def test_vectors_are_kept_if_asked_for():
    kept = np.arange(40) % 3 > 0
    whole = dense(spectrum(40))
    ds = asked(bowl(whole), pruned(kept), vectors=True)
    assert ds.parameter.values.tolist() == np.flatnonzero(kept).tolist()
    part = whole[np.ix_(kept, kept)]
    for rank in (1, 2, 3, -1):
        vector = ds.eigenvector.sel(rank=rank).values[0]
        value = ds.eigenvalue.sel(rank=rank).item()
        np.testing.assert_allclose(part @ vector, value * vector, atol=1e-12)
        assert vector[abs(vector).argmax()] > 0
    assert "eigenvector" not in asked(bowl(whole), pruned(kept))
    assert "parameter" not in asked(bowl(whole), pruned(kept)).coords


def test_ranks_beyond_the_dimensions_are_unknown_and_said():
    ds = asked(bowl(np.array([3.0, 1.0])), pruned(np.ones(2, bool)), vectors=True)
    assert ds.eigenvalue.sel(rank=[1, 2])[0].values.tolist() == [3, 1]
    assert np.isnan(ds.eigenvalue.sel(rank=3).item())
    assert np.isnan(ds.eigenvector.sel(rank=3)).all()
    flags = CURVATURE.variables["eigenvalue_status"].flags
    assert flags[ds.eigenvalue_status.sel(rank=3).item()] == "fewer_dimensions"
    assert ds.status.item() == 0


def test_a_point_whose_loss_is_not_finite_is_unknown_and_said():
    values = spectrum(LARGE)
    values[3] = np.nan
    ds = asked(bowl(values), pruned(np.ones(LARGE, bool)), vectors=True)
    assert CURVATURE.variables["status"].flags[ds.status.item()] == "not_finite"
    assert np.isnan(ds.eigenvalue).all()
    assert (ds.eigenvalue_status == 2).all()
    for name in ("trace", "trace_se", "spectral_density", "grid_eigenvalue", "eigenvector"):
        assert np.isnan(ds[name]).all()
    assert ds.n_parameters.item() == LARGE


def test_a_network_without_a_free_weight_has_no_curvature():
    ds = asked(bowl(spectrum(SMALL)), pruned(np.zeros(SMALL, bool)))
    assert CURVATURE.variables["status"].flags[ds.status.item()] == "no_free_weights"
    assert np.isnan(ds.trace).all()
    assert (ds.eigenvalue_status == 3).all()
    assert ds.n_parameters.item() == 0


def test_eigenvalues_that_do_not_settle_are_said():
    values = np.concatenate([np.linspace(1.0, 1.0001, 200), np.linspace(0, 1e-4, 200)])
    changes = {"eigenvalues": 12, "tolerance": 1e-12, "restarts": 1}
    ds = asked(bowl(values), pruned(np.ones(400, bool)), **changes)
    assert CURVATURE.variables["status"].flags[ds.status.item()] == "eigenvalues_not_converged"
    assert (ds.eigenvalue_status == 1).all()
    assert abs(ds.trace.item() - values.sum()) <= 4 * ds.trace_se.item() + 1e-9
    assert integral(ds) == pytest.approx(1, abs=2e-3)


def test_an_interrupted_question_goes_on_where_it_stopped():
    landscape, point = bowl(dense(spectrum(LARGE))), pruned(np.ones(LARGE, bool))
    whole = Kept()
    ds = asked(landscape, point, whole)
    assert whole.expected == len(whole.computed) == 1 + FAST["probes"]
    first = Kept(stop=3)
    with pytest.raises(KeyboardInterrupt):
        asked(landscape, point, first)
    second = Kept(first.blocks)
    again = asked(landscape, point, second)
    assert len(second.computed) == len(whole.computed) - 3
    xr.testing.assert_identical(again, ds)


def test_the_answer_depends_on_the_seed_only():
    landscape, point = bowl(dense(spectrum(LARGE))), pruned(np.ones(LARGE, bool))
    xr.testing.assert_identical(asked(landscape, point), asked(landscape, point))
    assert asked(landscape, point, seed=1).trace.item() != asked(landscape, point).trace.item()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eigenvalues": 0}, "eigenvalues is 0; it must be at least 1"),
        ({"probes": 1}, "probes is 1; it must be at least 2"),
        ({"examples": 0}, "examples is 0; it must be at least 1"),
        ({"width": 0.0}, "width is 0.0; it must be above 0"),
        ({"grid": 10, "width": 0.01}, "grid of 10 points"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        settings(**changes)


def test_the_table_entry_asks_the_analysis():
    point, landscape = pruned(np.ones(SMALL, bool)), bowl(spectrum(SMALL))
    ds = ANALYSIS.compute([point], settings(), landscape, AtOnce())
    xr.testing.assert_identical(ds, asked(landscape, point))
    assert ANALYSIS.uses_loss
    assert [len(g) for g in ANALYSIS.grouping(settings()).split([point, point])] == [1, 1]


def test_the_cost_counts_the_products_on_the_examples_that_are_looked_at():
    settings = CurvatureSettings(eigenvalues=3, smallest=1, probes=2, steps=10, examples=50)
    assert ANALYSIS.cost(settings, {"train": 200, "test": 10}, 1) == 3 * (20 + 80) * 50
    whole = CurvatureSettings(eigenvalues=3, smallest=1, probes=2, steps=10)
    assert ANALYSIS.cost(whole, {"train": 200}, 1) == 3 * (20 + 80) * 200
