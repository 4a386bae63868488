"""The density on the axes is that of the dataset, and the eigenvalues are marked on it."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.data_store.schemas.curvature import CURVATURE
from landscape.figures.spectrum import FIGURE, plot_spectrum


def example(count=3):
    """Densities with a bulk at 0 and eigenvalues 9, 5 and -1."""
    ds = CURVATURE.example().isel(checkpoint=np.zeros(count, int))
    names = [f"imp@{i}" for i in range(count)]
    ds = ds.assign_coords(checkpoint=("checkpoint", names, ds["checkpoint"].attrs))
    ds["level"] = ("checkpoint", np.arange(count, dtype=float), ds["level"].attrs)
    ds["grid_eigenvalue"][:] = np.array([-2.0, -0.5, 0.0, 2.0, 12.0])
    ds["spectral_density"][:] = (
        np.array([1e-9, 0.1, 2.0, 0.05, 1e-4]) * np.arange(1, count + 1)[:, None]
    )
    ds["eigenvalue"][:] = np.array([9.0, 5.0, -1.0])
    ds["linear_below"][:] = np.linspace(0.01, 0.02, count)
    return ds


def curves(ax):
    """Lines as (x, y): densities, then marks."""
    data = [np.array(line.get_data()) for line in ax.lines]
    joined = [line.get_linestyle() != "None" for line in ax.lines]
    densities = [xy for xy, is_line in zip(data, joined, strict=True) if is_line]
    return densities, [xy for xy, is_line in zip(data, joined, strict=True) if not is_line]


def legend(target):
    return [text.get_text() for text in target.get_legend().get_texts()]


def test_a_line_is_the_density_of_a_checkpoint():
    ds = example()
    densities, _ = curves(plot_spectrum(ds))
    assert len(densities) == 3
    for i, (x, y) in enumerate(densities):
        np.testing.assert_array_equal(x, ds.grid_eigenvalue[i])
        np.testing.assert_array_equal(y, ds.spectral_density[i])


def test_marks_stand_on_the_curve_at_the_eigenvalues():
    ds = example(1)
    _, ((x, y),) = curves(plot_spectrum(ds))
    assert x.tolist() == [9, 5, -1]
    on_curve = [0.05 + 0.7 * (1e-4 - 0.05), 0.05 + 0.3 * (1e-4 - 0.05), 1e-9 + 2 / 3 * 0.1]
    np.testing.assert_allclose(y, on_curve, rtol=1e-6)


def test_axes_are_logarithmic_on_both_sides_of_the_smallest_linear_part():
    ax = plot_spectrum(example())
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "log")
    assert ax.xaxis.get_transform().linthresh == 0.01
    assert ax.get_xlabel() == "eigenvalue (nats per example)"
    assert ax.get_ylabel() == "spectral density\n(1 / (nats per example))"


@pytest.mark.parametrize(
    ("linear", "ticks"),
    [
        (0.01, [-1, -0.1, 0, 0.1, 1, 10]),
        (1e-6, [-10, -0.1, -0.001, -1e-5, 0, 1e-5, 0.001, 0.1, 10]),
        (1.0, [0, 10]),
    ],
)
def test_ticks_are_zero_and_a_few_decades(linear, ticks):
    ds = example()
    ds["linear_below"][:] = linear
    np.testing.assert_allclose(plot_spectrum(ds).get_xticks(), ticks)


def test_what_lies_far_below_every_mark_is_not_shown():
    lower, upper = plot_spectrum(example()).get_ylim()
    assert 1e-9 < lower < 0.015
    assert upper > 6


def test_unknown_eigenvalues_have_no_mark_and_the_density_stays():
    ds = example(1)
    ds["eigenvalue"][0, 1:] = np.nan
    densities, ((x, _),) = curves(plot_spectrum(ds))
    assert x.tolist() == [9]
    assert len(densities) == 1


def test_an_unknown_density_is_no_line_among_the_others():
    ds = example(2)
    for name in ("spectral_density", "grid_eigenvalue", "eigenvalue", "linear_below"):
        ds[name][0] = np.nan
    ax = plot_spectrum(ds)
    densities, _ = curves(ax)
    assert np.isnan(densities[0]).all()
    assert ax.xaxis.get_transform().linthresh == 0.02
    assert not ax.texts


def test_few_checkpoints_are_named_and_many_have_a_scale_of_levels():
    assert legend(plot_spectrum(example(3))) == ["imp@0", "imp@1", "imp@2"]
    ax = plot_spectrum(example(6))
    assert ax.get_legend() is None
    assert ax.figure.axes[1].get_ylabel() == CURVATURE.coordinates["level"].long_name
    colours = [line.get_color() for line in ax.lines if line.get_linestyle() != "None"]
    assert len(set(map(tuple, colours))) == 6


def test_many_checkpoints_without_a_level_are_named():
    ds = example(6)
    ds["level"] = ("checkpoint", np.full(6, np.nan), ds["level"].attrs)
    assert legend(plot_spectrum(ds)) == [f"imp@{i}" for i in range(6)]


def test_runs_of_many_levels_have_their_own_lines():
    ds = example(6)
    ds["run"] = ("checkpoint", ["a"] * 3 + ["b"] * 3, ds["run"].attrs)
    ax = plot_spectrum(ds)
    assert legend(ax) == ["a", "b"]
    styles = [line.get_linestyle() for line in ax.lines if line.get_linestyle() != "None"]
    assert len(set(styles)) == 2


def test_nothing_known_is_said():
    ds = example(1)
    for name in ("spectral_density", "grid_eigenvalue", "eigenvalue", "linear_below"):
        ds[name][:] = np.nan
    assert [text.get_text() for text in plot_spectrum(ds).texts] == ["no value is known (all NaN)"]


def test_given_axes_are_drawn_on_and_the_legend_can_be_left_out():
    first = plot_spectrum(example(1), legend=False)
    assert first.get_legend() is None
    assert plot_spectrum(example(1), ax=first) is first
    assert len(first.lines) == 4


def test_the_figure_is_one_panel():
    assert len(FIGURE.draw(example()).axes) == 1


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a curvature dataset needs"):
        plot_spectrum(example().drop_vars("spectral_density"))
