"""Cells of the matrix are the barriers of the dataset, at the places of their checkpoints."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import BARRIER, DEFINITIONS
from landscape.figures.barrier_matrix import FIGURE, plot_barrier_matrix

LADDER = 0.8 ** np.arange(4)


def example(pairs=None, run="imp", ladder=LADDER):
    """All pairs of the levels of a run, with heights that tell them apart."""
    pairs = list(combinations(range(len(ladder)), 2)) if pairs is None else pairs
    ds = BARRIER.example().isel(pair=[0] * len(pairs)).copy(deep=True)
    coords = {
        "pair": [f"{run}@{a} {run}@{b}" for a, b in pairs],
        "run": [run] * len(pairs),
        "level_a": [float(a) for a, _ in pairs],
        "level_b": [float(b) for _, b in pairs],
        "density_a": [ladder[a] for a, _ in pairs],
        "density_b": [ladder[b] for _, b in pairs],
    }
    for name, values in coords.items():
        ds = ds.assign_coords({name: ("pair", values, ds[name].attrs)})
    for measure, unit in (("error", 0.01), ("loss", 1.0)):
        heights = ds[f"{measure}_barrier"]
        for p, (a, b) in enumerate(pairs):
            heights[p] = unit * (10 * a + b + np.arange(2)[:, None] / 4 + np.arange(4) / 16)
    return ds


def cells(ax):
    """The drawn matrix, NaN where nothing is drawn."""
    (mesh,) = ax.collections
    return np.ma.filled(np.ma.masked_invalid(mesh.get_array()), np.nan)


def naive(ds, measure, definition, above, below):
    """The matrix, transcribed pair by pair."""
    order = sorted({int(n[-1]) for pair in ds["pair"].values.tolist() for n in pair.split()})
    want = np.full((len(order), len(order)), np.nan)
    for pair in ds["pair"].values.tolist():
        a, b = sorted(order.index(int(name[-1])) for name in pair.split())
        one = ds[f"{measure}_barrier"].sel(pair=pair, definition=definition)
        want[a, b], want[b, a] = one.sel(split=above), one.sel(split=below)
    return want * (100 if measure == "error" else 1)


def words(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("measure", ["error", "loss"])
def test_test_is_above_the_diagonal_and_train_below(measure, definition):
    ds = example()
    ax = plot_barrier_matrix(ds, measure=measure, definition=definition)
    np.testing.assert_allclose(cells(ax), naive(ds, measure, definition, "test", "train"))
    assert ax.get_title() == "test above, train below the diagonal"


@pytest.mark.parametrize("order", [[5, 0, 3, 2, 1, 4], [2, 1, 0, 5, 4, 3]])
def test_the_order_of_the_pairs_and_of_their_ends_does_not_matter(order):
    want = cells(plot_barrier_matrix(example()))
    pairs = [tuple(reversed(list(combinations(range(4), 2))[k])) for k in order]
    turned = example(pairs)
    for p, (b, a) in enumerate(pairs):
        turned["error_barrier"][p] += 0.01 * ((10 * a + b) - (10 * b + a))
    np.testing.assert_allclose(cells(plot_barrier_matrix(turned)), want)


def test_densities_stand_at_the_cells_dense_first():
    ax = plot_barrier_matrix(example())
    for axis in (ax.xaxis, ax.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["100", "80", "64", "51.2"]
        np.testing.assert_array_equal(axis.get_ticklocs(), np.arange(4) + 0.5)
    assert ax.get_xlabel() == ax.get_ylabel() == "weights remaining (%)"
    assert ax.yaxis_inverted()


def test_splits_may_be_exchanged_and_one_is_below():
    ds = example()
    ax = plot_barrier_matrix(ds, splits=("train", "test"))
    np.testing.assert_allclose(cells(ax), naive(ds, "error", "lmc", "train", "test"))
    alone = plot_barrier_matrix(ds.sel(split=["test"]))
    assert alone.get_title() == "test"
    assert np.isnan(cells(alone)[np.triu_indices(4)]).all()
    np.testing.assert_allclose(
        cells(alone)[np.tril_indices(4, -1)],
        naive(ds, "error", "lmc", "test", "test")[np.tril_indices(4, -1)],
    )


def test_the_colour_scale_begins_at_no_barrier():
    (mesh,) = plot_barrier_matrix(example()).collections
    assert mesh.norm.vmin == 0
    assert mesh.norm.vmax == pytest.approx(23.25)


def test_dots_mark_what_is_over_the_threshold():
    ds = example()
    ds["error_barrier"][:] = 0.01
    ds["error_barrier"].loc[{"pair": "imp@1 imp@3", "split": "test"}] = 0.021
    ax = plot_barrier_matrix(ds)
    (dot,) = ax.lines
    assert int(dot.get_xdata()[0]) == 3
    assert int(dot.get_ydata()[0]) == 1
    assert words(ax) == ["unstable, above 2 %: 1 of 12 barriers"]
    for options in ({"measure": "loss"}, {"definition": "deviation"}):
        other = plot_barrier_matrix(ds, **options)
        assert not other.lines
        assert words(other) == []


def test_few_checkpoints_have_their_numbers_in_the_cells():
    ds = example()
    ax = plot_barrier_matrix(ds)
    found = {tuple(map(int, t.get_position()[::-1])): float(t.get_text()) for t in ax.texts}
    want = naive(ds, "error", "lmc", "test", "train")
    assert len(found) == 12
    for cell, number in found.items():
        assert number == pytest.approx(want[cell], abs=0.51)
    many = example(ladder=0.9 ** np.arange(10))
    assert not plot_barrier_matrix(many).texts


def test_missing_pairs_stay_white_and_are_counted():
    ds = example([(0, 1), (1, 2), (2, 3)])
    ax = plot_barrier_matrix(ds)
    np.testing.assert_allclose(cells(ax), naive(ds, "error", "lmc", "test", "train"))
    assert words(ax)[-1] == "not measured: 3 pairs"


def test_what_is_not_known_is_hatched_and_counted():
    ds = example()
    ds["error_barrier"].loc[{"pair": "imp@0 imp@2", "split": "train"}] = np.nan
    ax = plot_barrier_matrix(ds)
    (hatched,) = [patch for patch in ax.patches if patch.get_hatch()]
    assert hatched.get_xy() == (0, 2)
    assert words(ax)[-1] == "measured, not known (NaN): 1 barriers"


def test_nothing_known_is_said():
    ds = example()
    ds["error_barrier"][:] = np.nan
    ax = plot_barrier_matrix(ds)
    assert [text.get_text() for text in ax.texts] == ["no value is known (all NaN)"]


@pytest.mark.parametrize(("pairs", "texts"), [([0], 2), ([], 1)])
def test_one_pair_or_none_still_draws(pairs, texts):
    for ax in FIGURE.draw(example().isel(pair=pairs)).axes:
        assert len(ax.texts) == texts


def test_files_are_named_where_densities_are_unknown():
    ds = example()
    ds["density_b"][:] = np.nan
    ds["density_a"][:] = np.nan
    ax = plot_barrier_matrix(ds)
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"imp@{k}" for k in range(4)]
    assert ax.get_xlabel() == "checkpoint"


def test_paths_with_blanks_are_two_names():
    ds = example([(0, 1)])
    ds = ds.assign_coords(pair=("pair", ["my run/a.pt my run/b.pt"], ds["pair"].attrs))
    ds["density_a"][:] = np.nan
    ax = plot_barrier_matrix(ds)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["my run/a.pt", "my run/b.pt"]


def test_runs_without_a_common_checkpoint_have_a_row_each():
    both = xr.concat([example(run="imp-a"), example(run="imp-b")], "pair")
    both["error_barrier"][:6] /= 10
    figure = FIGURE.draw(both)
    tops = [ax.collections[0].norm.vmax for ax in figure.axes]
    assert tops[0] == tops[2] == pytest.approx(23.25)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title().startswith("imp-a\n")
    assert figure.axes[2].get_title().startswith("imp-b\n")


def test_runs_with_pairs_between_them_share_a_matrix():
    ds = example([(0, 1), (1, 2)])
    names = ["imp-a@0 imp-b@0", "imp-b@0 imp-b@1"]
    ds = ds.assign_coords(pair=("pair", names, ds["pair"].attrs))
    ax = plot_barrier_matrix(ds)
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "imp-a 100",
        "imp-b 80",
        "imp-b 64",
    ]


def test_the_figure_is_error_and_loss_with_one_legend():
    figure = FIGURE.draw(example())
    bars = [ax.child_axes[0].get_ylabel() for ax in figure.axes]
    assert bars == ["error barrier (%)", "loss barrier (nats per example)"]
    assert len(figure.legends) == 1
    assert FIGURE.settings == {"pairs": "all"}


def test_in_a_column_the_panels_stand_below_each_other():
    upper, lower = FIGURE.draw(example(), width=3.25).axes
    assert lower.get_position().y1 < upper.get_position().y0


def test_another_definition_is_named():
    ax = plot_barrier_matrix(example(), definition="over_max")
    assert ax.child_axes[0].get_ylabel() == "error barrier (%), over_max"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "accuracy"}, "unknown measure 'accuracy'"),
        ({"definition": "lcm"}, "unknown definition 'lcm'; did you mean 'lmc'"),
        ({"splits": ("tset", "train")}, "unknown split 'tset'; did you mean 'test'"),
    ],
)
def test_an_unknown_choice_names_the_nearest(options, message):
    with pytest.raises(UsageError, match=message):
        plot_barrier_matrix(example(), **options)


def test_another_dataset_is_refused():
    with pytest.raises(LandscapeError, match="a barrier dataset needs 'level_b'"):
        plot_barrier_matrix(example().drop_vars("level_b"))
