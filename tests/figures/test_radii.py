"""Distributions on the axes are those of the rays, censored ones beside them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.volume import RAY_STATUSES, STATUSES, VOLUME
from landscape.figures.radii import FIGURE, plot_radii

DENSITY = np.array([1.0, 0.8, 0.64])
RAYS = 40
CENSORED, LOST, ENDS, ABSENT = (
    RAY_STATUSES.index(name)
    for name in ("censored", "not_converged", "ends_at_not_finite", "absent")
)


def example():
    ds = VOLUME.example().isel(ray=[0] * RAYS).copy(deep=True)
    ds = ds.assign_coords(
        ray=("ray", np.arange(1.0 * RAYS), ds["ray"].attrs),
        density=("checkpoint", DENSITY, ds["density"].attrs),
    )
    ds["radius"][:] = np.exp(np.random.default_rng(0).normal(2.0, 0.5, ds["radius"].shape))
    ds["largest_radius"][:] = 100.0
    return ds


def spread(ax):
    """Thin and thick lines and dots of the first run: low, first, median, third, high."""
    thin, thick = (np.array(lines.get_segments()) for lines in ax.collections[:2])
    dots = ax.lines[0]
    np.testing.assert_allclose(thin[:, 0, 0], dots.get_xdata())
    values = thin[:, 0, 1], thick[:, 0, 1], dots.get_ydata(), thick[:, 1, 1], thin[:, 1, 1]
    return np.array(dots.get_xdata(), dtype=float), np.array(values, dtype=float)


def arrows(ax):
    (line,) = [line for line in ax.lines if line.get_marker() == r"$\uparrow$"]
    return np.array(line.get_data(), dtype=float).T.tolist()


def words(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("estimator", ["monte-carlo", "hessian"])
def test_lines_and_dots_are_the_quantiles_of_the_rays(estimator):
    ds = example()
    x, found = spread(plot_radii(ds, estimator=estimator))
    np.testing.assert_allclose(x, 100 * DENSITY)
    want = np.sort(ds["radius"].sel(estimator=estimator).values, axis=1)
    np.testing.assert_allclose(found[0], want[:, 0])
    np.testing.assert_allclose(found[4], want[:, -1])
    np.testing.assert_allclose(found[2], want[:, RAYS // 2 - 1 : RAYS // 2 + 1].mean(axis=1))
    assert (np.diff(found, axis=0) > 0).all()


def test_censored_rays_are_arrows_and_no_part_of_the_distribution():
    ds = example()
    ds["ray_status"][1, 0, :3] = CENSORED
    ds["radius"][1, 0, :3] = np.nan
    ax = plot_radii(ds)
    assert arrows(ax) == [[80.0, 100.0]]
    assert spread(ax)[1][0][1] == pytest.approx(float(ds["radius"][1, 0].min()))
    assert words(ax)[-1] == f"censored at the largest radius: monte-carlo 3/{3 * RAYS} rays"


def test_a_checkpoint_whose_rays_are_all_censored_has_an_arrow_only():
    ds = example()
    ds["ray_status"][1, 0] = CENSORED
    ds["radius"][1, 0] = np.nan
    ax = plot_radii(ds)
    assert spread(ax)[0].tolist() == [100.0, 64.0]
    assert arrows(ax) == [[80.0, 100.0]]


def test_rays_that_end_where_the_loss_does_are_part_of_it_and_lost_ones_are_counted():
    ds = example()
    ds["ray_status"][0, 0, 0], ds["radius"][0, 0, 0] = ENDS, 1000.0
    ds["ray_status"][0, 0, 1], ds["radius"][0, 0, 1] = LOST, np.nan
    ax = plot_radii(ds)
    assert spread(ax)[1][4][0] == 1000.0
    assert arrows(ax) == []
    assert words(ax)[1:] == [f"radius not known: monte-carlo 1/{3 * RAYS} rays"]


def test_checkpoints_without_rays_are_named_with_their_reason():
    ds = example()
    ds["ray_status"][2, 0], ds["radius"][2, 0] = ABSENT, np.nan
    ds["status"][2, 0] = STATUSES.index("cutoff_below_own_loss")
    ax = plot_radii(ds)
    assert spread(ax)[0].tolist() == [100.0, 80.0]
    assert words(ax)[-1] == "no rays: cutoff below own loss (1 of 3 checkpoints)"


def test_an_estimator_without_rays_has_no_panel():
    ds = example()
    ds["ray_status"][:, 1], ds["radius"][:, 1] = ABSENT, np.nan
    assert [ax.get_title() for ax in FIGURE.draw(ds).axes] == ["monte-carlo"]
    assert len(FIGURE.draw(example()).axes) == 2


def test_no_rays_at_all_is_said_in_every_panel():
    ds = example()
    ds["ray_status"][:], ds["radius"][:] = ABSENT, np.nan
    for ax in FIGURE.draw(ds).axes:
        assert [text.get_text() for text in ax.texts] == ["no value is known (all NaN)"]


def test_runs_stand_beside_each_other_in_their_colours():
    ds = example().isel(checkpoint=[0, 0, 1, 1]).copy(deep=True)
    ds["run"] = ("checkpoint", ["a", "b", "a", "b"], ds["run"].attrs)
    ax = plot_radii(ds)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    first, second = (np.array(line.get_xdata()) for line in dots)
    assert (first > second).all()
    np.testing.assert_allclose(np.sqrt(first * second), [100.0, 80.0])
    assert np.log(first / second).max() < np.log(100 / 80) / 2
    assert len({to_hex(line.get_color()) for line in dots}) == 2
    assert words(ax)[:2] == ["a", "b"]


def test_one_level_draws_and_unknown_densities_have_a_place_each():
    assert len(spread(plot_radii(example().isel(checkpoint=[1])))[0]) == 1
    ds = example()
    ds["density"][:] = np.nan
    ax = plot_radii(ds)
    assert spread(ax)[0].tolist() == [0, 1, 2]
    assert ax.get_xlabel() == "checkpoint"


def test_radii_are_logarithmic_and_labelled():
    ax = plot_radii(example())
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "Euclidean distance\nto the boundary"


def test_an_unknown_estimator_names_the_nearest():
    with pytest.raises(UsageError, match="unknown estimator 'hesian'; did you mean 'hessian'"):
        plot_radii(example(), estimator="hesian")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a volume dataset needs 'radius'"):
        plot_radii(example().drop_vars("radius"))
