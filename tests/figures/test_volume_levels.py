"""Volumes on the axes are those of the dataset, and every rejected one is open and named."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.volume import STATUSES, VOLUME
from landscape.figures.volume_levels import FIGURE, plot_volume_levels

DENSITY = np.array([1.0, 0.8, 0.64])
ESTIMATORS = VOLUME.samples["estimator"]


def example(**status):
    """Three levels; `status` by estimator, its dashes underscores, is a verdict per level."""
    ds = VOLUME.example()
    ds = ds.assign_coords(density=("checkpoint", DENSITY, ds["density"].attrs))
    ds["split"][:], ds["cutoff_mode"][:] = "train", "absolute"
    ds["cutoff"][:] = 0.1
    ds["n_parameters"][:] = [100.0, 80.0, 64.0]
    for name, verdicts in status.items():
        codes = [STATUSES.index(verdict) for verdict in verdicts]
        ds["status"].loc[{"estimator": name.replace("_", "-")}] = codes
    return ds


def unknown(ds, estimator, level):
    """The dataset without one estimate."""
    for name in ("log_volume", "log_volume_per_dimension", "log_volume_per_dimension_se"):
        ds[name].loc[{"estimator": estimator, "checkpoint": f"imp@{level}"}] = np.nan
    return ds


def lines(ax):
    """Lines between estimates as (x, y)."""
    drawn = [line for line in ax.lines if line.get_linestyle() != "None"]
    return [np.array(line.get_data(), dtype=float) for line in drawn]


def marks(ax, colour):
    """By marker and fill: where the markers of a colour stand."""
    found = {}
    for line in ax.lines:
        if line.get_marker() == "None" or to_hex(line.get_color()) != to_hex(colour):
            continue
        filled = to_hex(line.get_markerfacecolor()) == to_hex(colour)
        if len(line.get_xdata()):
            found[(line.get_marker(), filled)] = np.array(line.get_data(), dtype=float)
    return found


def words(ax):
    return [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]


def colour_of(ax, estimator):
    texts, handles = ax.get_legend().get_texts(), ax.get_legend().get_lines()
    return next(
        h.get_color() for h, t in zip(handles, texts, strict=True) if t.get_text() == estimator
    )


def test_lines_are_the_log_volumes_per_dimension():
    ds = example()
    ax = plot_volume_levels(ds)
    for (x, y), estimator in zip(lines(ax), ESTIMATORS, strict=True):
        np.testing.assert_allclose(x, 100 * DENSITY)
        np.testing.assert_allclose(y, ds["log_volume_per_dimension"].sel(estimator=estimator))
    assert ax.get_ylabel() == "log volume per dimension (nats)"
    assert ax.get_xlabel() == "weights remaining (%)"


def test_bars_are_one_standard_error_to_each_side():
    ds = example()
    ds["log_volume_per_dimension_se"][1, 0] = np.nan
    bars = np.array(plot_volume_levels(ds).collections[0].get_segments())
    one = ds.isel(estimator=0, checkpoint=[0, 2])
    value, se = one["log_volume_per_dimension"], one["log_volume_per_dimension_se"]
    np.testing.assert_allclose(bars[:, 0, 1], value - se)
    np.testing.assert_allclose(bars[:, 1, 1], value + se)


def test_accepted_are_filled_and_rejected_open_by_reason():
    ds = example(hessian=["ok", "effective_sample_size_too_small", "not_converged"])
    ax = plot_volume_levels(ds)
    found = marks(ax, colour_of(ax, "hessian"))
    assert {key: xy[0].tolist() for key, xy in found.items()} == {
        ("o", True): [100.0],
        ("o", False): [80.0],
        ("s", False): [64.0],
    }
    assert words(ax)[2:] == [
        "accepted (monte-carlo 3/3, hessian 1/3)",
        "rejected: effective sample size too small (hessian 1/3)",
        "rejected: not converged (hessian 1/3)",
    ]


def test_what_has_no_number_stands_at_the_foot_with_its_reason():
    ds = unknown(example(hessian=["ok", "cutoff_below_own_loss", "ok"]), "hessian", 1)
    ds["log_volume_lower_bound"][:] = np.nan
    ax = plot_volume_levels(ds)
    x, y = marks(ax, colour_of(ax, "hessian"))[("x", True)]
    assert x.tolist() == [80.0]
    assert 0 < y[0] < 0.1
    assert words(ax)[-1] == "no number: cutoff below own loss (hessian 1/3)"


def test_a_censored_estimate_is_an_arrow_at_its_lower_bound():
    ds = unknown(example(hessian=["ok", "censored_rays", "ok"]), "hessian", 1)
    ds["log_volume_lower_bound"].loc[{"estimator": "hessian", "checkpoint": "imp@1"}] = -40.0
    ax = plot_volume_levels(ds)
    x, y = marks(ax, colour_of(ax, "hessian"))[(r"$\uparrow$", True)]
    assert (x.tolist(), y.tolist()) == ([80.0], [-0.5])
    assert words(ax)[-1] == "lower bound: censored rays (hessian 1/3)"


def test_every_verdict_of_the_schema_is_drawn_and_named():
    for verdict in STATUSES[1:-1]:
        for known in (True, False):
            ds = example(hessian=[verdict] * 3)
            for level in range(3 * (not known)):
                ds = unknown(ds, "hessian", level)
            ds["log_volume_lower_bound"][:] = np.nan
            ax = plot_volume_levels(ds)
            drawn = marks(ax, colour_of(ax, "hessian"))
            assert sum(np.isfinite(xy[1]).sum() for xy in drawn.values()) == 3
            assert verdict.replace("_", " ") in words(ax)[-1]


def test_an_estimator_that_a_result_lacks_is_a_gap_without_a_word():
    ds = unknown(example(hessian=["ok", "absent", "ok"]), "hessian", 1)
    ds["log_volume_lower_bound"][:] = np.nan
    ax = plot_volume_levels(ds)
    assert np.isnan(lines(ax)[1][1]).tolist() == [False, True, False]
    assert len(words(ax)) == 3


def test_the_title_says_what_the_volume_is_of():
    assert plot_volume_levels(example()).get_title().startswith("train loss ≤ 0.1, ")
    mixed = example()
    mixed["split"][0] = "test"
    assert plot_volume_levels(mixed).get_title() == ""
    relative = example()
    modes = ("checkpoint", ["relative"] * 3, relative["cutoff_mode"].attrs)
    relative = relative.assign_coords(cutoff_mode=modes)
    relative["cutoff"][:] = [0.1, 0.2, 0.3]
    relative["normalization"][:] = "filter"
    title = plot_volume_levels(relative).get_title()
    assert title == "train loss up to a cutoff, relative,\nfilter unit of length"


def test_runs_have_their_own_line_styles_and_names():
    ds = example()
    ds["run"] = ("checkpoint", ["imp-a", "imp-b", "imp-b"], ds["run"].attrs)
    ax = plot_volume_levels(ds)
    assert words(ax)[2:4] == ["imp-a", "imp-b"]
    assert len(lines(ax)) == 4


def test_an_estimator_has_its_colour_whichever_are_there():
    both, alone = plot_volume_levels(example()), plot_volume_levels(example().isel(estimator=[1]))
    assert colour_of(both, "hessian") == colour_of(alone, "hessian")


def test_accuracy_is_the_coordinates_or_that_of_volumes_on_the_test_split():
    ds = example().assign_coords(test_error=("checkpoint", [0.02, 0.03, np.nan]))
    ax = plot_volume_levels(ds, quantity="accuracy")
    np.testing.assert_allclose(lines(ax)[0][1], [98.0, 97.0, np.nan])
    assert ax.get_ylabel() == "test accuracy (%)"
    assert len(FIGURE.draw(ds).axes) == 2
    own = example()
    own["split"][:] = "test"
    (line,) = lines(plot_volume_levels(own, quantity="accuracy"))
    np.testing.assert_allclose(line[1], 100 * (1 - own["own_error"]))


def test_without_accuracies_there_are_only_volumes():
    (ax,) = FIGURE.draw(example()).axes
    assert ax.get_ylabel().startswith("log volume")


def test_one_level_draws_and_unknown_densities_have_a_place_each():
    assert len(lines(plot_volume_levels(example().isel(checkpoint=[1])))) == 2
    ds = example()
    ds["density"][:] = np.nan
    ax = plot_volume_levels(ds)
    assert lines(ax) == []
    assert [label.get_text() for label in ax.get_xticklabels()] == ["imp@0", "imp@1", "imp@2"]
    assert ax.get_xlabel() == "checkpoint"


def test_an_unknown_quantity_names_the_nearest():
    with pytest.raises(UsageError, match="unknown quantity 'volumes'; did you mean 'volume'"):
        plot_volume_levels(example(), quantity="volumes")


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a volume dataset needs 'cutoff'"):
        plot_volume_levels(example().drop_vars("cutoff"))
