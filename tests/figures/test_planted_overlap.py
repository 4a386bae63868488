"""Overlaps with a planted truth on the axes are those of the dataset."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.overlap import OVERLAP
from landscape.figures.planted_overlap import SHOWN, draw, plot_planted_overlap


def example(**changes):
    """Nine pairs: two criteria, random at 0.1 twice and at 0.01, others three times at two."""
    density = np.array([0.1, 0.1001, 0.01, 0.5, 0.5, 0.5, 0.005, 0.005, 0.005])
    criteria = ["random"] * 3 + ["synflow"] * 6
    ds = OVERLAP.example().isel(pair=[0] * 9)
    ds = ds.assign_coords(
        pair=("pair", [f"r{i}@0 r{i}@0.planted" for i in range(9)], ds["pair"].attrs),
        density_a=("pair", density, ds["density_a"].attrs),
        criterion=("pair", criteria),
    )
    for name in (*SHOWN, *(f"expected_{name}" for name in SHOWN)):
        values = np.linspace(0.1, 0.9, 9)[:, None] * np.array([1.0, 0.5, 0.25])
        scaled = values * (0.5 if name.startswith("expected") else 1.0)
        ds[name] = (("pair", "layer"), scaled, ds[name].attrs)
    return ds.assign(changes)


def curves(ax, line):
    """The drawn lines that are dashed, or that are not."""
    return [one for one in ax.lines if (one.get_linestyle() == "--") == (line == "--")]


@pytest.mark.parametrize("measure", SHOWN)
def test_lines_are_means_over_replicates_and_dashes_are_chance(measure):
    ds = example()
    values = ds[measure].sel(layer="all").values
    ax = plot_planted_overlap(ds, measure)
    random, synflow = curves(ax, "-")
    np.testing.assert_allclose(random.get_xdata(), [10.005, 1.0])
    np.testing.assert_allclose(random.get_ydata(), [values[:2].mean(), values[2]])
    np.testing.assert_allclose(synflow.get_xdata(), [50.0, 0.5])
    np.testing.assert_allclose(synflow.get_ydata(), [values[3:6].mean(), values[6:].mean()])
    for line, chance in zip((random, synflow), curves(ax, "--"), strict=True):
        np.testing.assert_allclose(chance.get_xdata(), line.get_xdata())
        np.testing.assert_allclose(chance.get_ydata(), line.get_ydata() / 2)
        assert chance.get_color() == line.get_color()
    assert random.get_color() != synflow.get_color()
    assert ax.get_ylabel() == SHOWN[measure]


def test_bands_run_from_the_least_to_the_greatest():
    ds = example()
    values = ds["recall"].sel(layer="all").values
    bands = plot_planted_overlap(ds, "recall").collections
    for band, rows in zip(bands, ([0, 1], [3, 4, 5]), strict=True):
        drawn = band.get_paths()[0].vertices[:, 1]
        assert values[rows].min() in drawn
        assert values[rows].max() in drawn


def test_density_is_logarithmic_and_dense_on_the_left():
    ax = plot_planted_overlap(example())
    assert ax.get_xscale() == "log"
    assert ax.xaxis.get_inverted()
    assert ax.get_xlabel() == "weights remaining (%)"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["random", "synflow", "expected by chance"]


def test_an_unknown_value_is_left_out_of_the_mean_and_alone_is_a_gap():
    ds = example()
    ds["precision"][4, 0] = np.nan
    ds["precision"][2, 0] = np.nan
    random, synflow = curves(plot_planted_overlap(ds), "-")
    values = ds["precision"].sel(layer="all").values
    assert np.isnan(random.get_ydata()).tolist() == [False, True]
    assert synflow.get_ydata()[0] == pytest.approx((values[3] + values[5]) / 2)


def test_an_empty_mask_has_no_place():
    ds = example()
    ds["density_a"][2] = 0.0
    random, _ = curves(plot_planted_overlap(ds), "-")
    np.testing.assert_allclose(random.get_xdata(), [10.005])


def test_the_order_of_the_pairs_does_not_matter():
    one, other = example(), example().isel(pair=[2, 0, 1, 8, 3, 6, 4, 7, 5])
    for line, turned in zip(
        plot_planted_overlap(one).lines, plot_planted_overlap(other).lines, strict=True
    ):
        np.testing.assert_allclose(line.get_data(), turned.get_data())


def test_without_criteria_there_is_one_line():
    ax = plot_planted_overlap(example().drop_vars("criterion"))
    assert len(curves(ax, "-")) == 1
    assert ax.get_legend().get_texts()[0].get_text() == "ticket"


def test_pairs_without_a_truth_are_left_out_where_there_are_some_with_one():
    ds = example()
    pairs = ["r0@0 r0@1", *ds["pair"].values.tolist()[1:]]
    mixed = ds.assign_coords(pair=("pair", pairs, ds["pair"].attrs))
    random, _ = curves(plot_planted_overlap(mixed), "-")
    np.testing.assert_allclose(random.get_xdata(), [10.01, 1.0])
    others = [f"r{i}@0 truth@0" for i in range(9)]
    given = ds.assign_coords(pair=("pair", others, ds["pair"].attrs))
    random, _ = curves(plot_planted_overlap(given), "-")
    np.testing.assert_allclose(random.get_xdata(), [10.005, 1.0])


def test_a_result_of_the_first_version_has_no_chance_for_precision():
    ds = example().drop_vars(["expected_precision", "expected_recall"])
    assert not curves(plot_planted_overlap(ds, "precision"), "--")
    assert len(curves(plot_planted_overlap(ds, "jaccard"), "--")) == 2


def test_the_figure_has_a_panel_for_each_measure_and_one_legend():
    canvas = draw(example())
    assert [ax.get_ylabel() for ax in canvas.axes] == list(SHOWN.values())
    assert len(canvas.legends) == 1
    assert all(ax.get_legend() is None for ax in canvas.axes)


def test_what_is_not_there_is_refused():
    with pytest.raises(UsageError, match="unknown measure 'jacard'; did you mean 'jaccard'"):
        plot_planted_overlap(example(), "jacard")
    with pytest.raises(LandscapeError, match="this overlap dataset has no layer 'all'; ask"):
        plot_planted_overlap(example().isel(layer=[1, 2]))


def test_every_task_has_a_row_and_only_iterative_schedules_are_drawn():
    ds = example().assign_coords(
        target=("pair", ["circle"] * 3 + ["helix"] * 6),
        densities=("pair", ["multishot"] * 8 + ["singleshot"]),
    )
    axes = draw(ds).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["circle"] * 3 + ["helix"] * 3
    line = curves(axes[3], "-")[0]
    np.testing.assert_allclose(line.get_xdata(), [50.0, 0.5])
    values = ds["precision"].sel(layer="all").values
    np.testing.assert_allclose(line.get_ydata(), [values[3:6].mean(), values[6:8].mean()])
