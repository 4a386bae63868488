"""Tickets on the axes are those of the dataset: means and bands, references, open markers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.tickets import RESCALINGS, TICKET_KINDS, TICKETS
from landscape.figures.planted import of_schedule, panels, plot_planted
from tests.support.planted import LADDER, TRUTH, labelled, seeking

ONE = ["magnitude", "synflow"]


def curves(ax):
    """The lines of the criteria, without markers and references, as (x, y)."""
    grey = {to_hex("0.35"), to_hex("0.8")}
    found = [x for x in ax.lines if to_hex(x.get_color()) not in grey and x.get_marker() == "None"]
    return [np.array(line.get_data(), dtype=float) for line in found]


def markers(ax, face=None):
    """Places of the markers with a face."""
    found = []
    for line in ax.lines:
        if line.get_marker() != "None":
            is_open = to_hex(line.get_markerfacecolor()) == to_hex("white")
            if (face == "open") == is_open:
                found += [tuple(map(float, xy)) for xy in zip(*line.get_data(), strict=True)]
    return found


def references(ax):
    """Heights of the dashed and the dotted line, and place of the vertical one."""
    found = {}
    for line in ax.lines:
        if to_hex(line.get_color()) == to_hex("0.35"):
            found[line.get_linestyle()] = float(line.get_ydata()[0])
        if to_hex(line.get_color()) == to_hex("0.8"):
            found["|"] = float(line.get_xdata()[0])
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def values(ds, name, ticket, rescale, criterion):
    """Replicates by density, (density, replicate)."""
    one = ds[name].sel(ticket=ticket, split="test", rescale=rescale)
    return one.values[ds["criterion"].values == criterion].reshape(len(LADDER), -1)


@pytest.mark.parametrize(
    ("ticket", "usual", "rescale"),
    [("strong", "none", None), ("weak", "none", None), ("weak", "planted", "planted")],
)
def test_lines_are_mean_accuracies_of_classes(ticket, usual, rescale):
    ds = seeking("circle", ONE)
    ax = plot_planted(ds, ticket, rescale=rescale)
    for (x, y), criterion in zip(curves(ax), ONE, strict=True):
        np.testing.assert_allclose(x, 100 * np.array(LADDER))
        want = 100 * (1 - values(ds, "error", ticket, usual, criterion))
        np.testing.assert_allclose(y, want.mean(1))
    assert ax.get_ylabel() == "test accuracy (%)"
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("ticket", TICKET_KINDS)
def test_lines_are_mean_errors_of_regressions_on_a_logarithmic_axis(ticket):
    ds = seeking("helix", ONE)
    ax = plot_planted(ds, ticket)
    for (_, y), criterion in zip(curves(ax), ONE, strict=True):
        want = values(ds, "loss", ticket, "least-squares", criterion)
        np.testing.assert_allclose(y, want.mean(1))
    assert (ax.get_ylabel(), ax.get_yscale()) == ("test MSE", "log")
    assert (ax.get_xlabel(), ax.get_xscale()) == ("weights remaining (%)", "log")
    assert ax.xaxis.get_inverted()


def test_bands_run_from_the_least_to_the_greatest_replicate():
    ds = seeking("helix", ONE)
    ax = plot_planted(ds)
    assert len(ax.collections) == len(ONE)
    for band, criterion in zip(ax.collections, ONE, strict=True):
        corners = band.get_paths()[0].vertices
        want = values(ds, "loss", "weak", "least-squares", criterion)
        for density, found in zip(LADDER, want, strict=True):
            at = corners[np.isclose(corners[:, 0], 100 * density), 1]
            assert (at.min(), at.max()) == pytest.approx((found.min(), found.max()))


def test_bands_may_be_one_standard_deviation_to_each_side():
    ds = seeking("helix", ONE)
    ax = plot_planted(ds, spread="std")
    for band, criterion in zip(ax.collections, ONE, strict=True):
        corners = band.get_paths()[0].vertices
        want = values(ds, "loss", "weak", "least-squares", criterion)
        for density, found in zip(LADDER, want, strict=True):
            at = corners[np.isclose(corners[:, 0], 100 * density), 1]
            half = found.std(ddof=1)
            assert (at.min(), at.max()) == pytest.approx((found.mean() - half, found.mean() + half))
    assert "± 1 standard deviation" in legend(ax.figure)


@pytest.mark.parametrize("width", [3.25, 6.75])
def test_tasks_stand_beside_each_other_as_far_as_they_fit(width):
    parts = [seeking(task, ONE) for task in ("circle", "helix")]
    ds = xr.concat(parts, "checkpoint").assign_coords(
        target=("checkpoint", [t for t, p in zip(("circle", "helix"), parts, strict=True)
                               for _ in range(p.sizes["checkpoint"])])
    )  # fmt: skip
    canvas = panels(ds, width=width)
    titles = [ax.get_title(loc="left").split(":")[0] for ax in canvas.axes]
    strong = [ax for ax in canvas.axes if "strong" in ax.get_title(loc="left")]
    assert sorted(titles) == ["circle"] * 2 + ["helix"] * 2
    left = {round(ax.get_window_extent().x0) for ax in strong}
    assert len(left) == (1 if width < 4 else 2)


def test_one_replicate_has_no_band():
    ax = plot_planted(seeking("helix", ONE, replicates=1))
    assert not ax.collections
    assert "least to greatest" not in legend(ax.figure)


def test_densities_that_differ_by_two_percent_are_one():
    ds = seeking("helix", ["random"], replicates=2)
    ds["density"].values[1::2] *= 0.985
    ((x, _),) = curves(plot_planted(ds))
    np.testing.assert_allclose(x, 100 * np.array(LADDER) * (1 + 0.985) / 2)
    ds["density"].values[1::2] *= 0.985
    ((x, _),) = curves(plot_planted(ds))
    assert len(x) == 2 * len(LADDER)


@pytest.mark.parametrize(("task", "factor"), [("circle", None), ("helix", 1.0)])
def test_references_are_the_planted_ticket_the_floor_and_its_density(task, factor):
    ds = seeking(task, ONE)
    name = "loss" if factor else "error"
    truth = ds[f"truth_{name}"].sel(split="test", rescale="planted").mean().item()
    floor = ds[f"floor_{name}"].sel(split="test").mean().item()
    shown = [v if factor else 100 * (1 - v) for v in (truth, floor)]
    got = references(plot_planted(ds))
    assert got == pytest.approx({"--": shown[0], ":": shown[1], "|": 100 * TRUTH})


def test_a_truth_without_scale_is_taken_as_it_is():
    ds = seeking("helix", ONE)
    ds["truth_loss"].loc[{"rescale": "planted"}] = np.nan
    want = ds["truth_loss"].sel(split="test", rescale="none").mean().item()
    assert references(plot_planted(ds))["--"] == pytest.approx(want)


def test_without_a_truth_there_are_no_lines_of_it():
    ds = seeking("circle", ONE)
    for name in ("truth_loss", "truth_error", "truth_density"):
        ds[name][:] = np.nan
    ax = plot_planted(ds, "strong", rescale="none")
    assert set(references(ax)) == {":"}
    assert legend(ax.figure) == [*ONE, "least to greatest", "floor"]


def test_values_that_cannot_be_rescaled_are_open_and_as_they_are():
    ds = seeking("helix", ["grasp"], replicates=1)
    ds["loss"].loc[{"rescale": "least-squares", "checkpoint": ds["checkpoint"][2]}] = np.nan
    ax = plot_planted(ds)
    want = ds["loss"].sel(ticket="weak", split="test", rescale="none").values[2]
    assert markers(ax, "open") == [pytest.approx((100 * LADDER[2], want))]
    assert len(markers(ax)) == len(LADDER) - 1
    assert "not rescaled" in legend(ax.figure)
    assert curves(ax)[0][1][2] == pytest.approx(want)


def test_what_is_unknown_either_way_is_a_gap():
    ds = seeking("helix", ["grasp"], replicates=1)
    ds["loss"].loc[{"checkpoint": ds["checkpoint"][2]}] = np.nan
    ax = plot_planted(ds)
    assert np.isnan(curves(ax)[0][1]).tolist() == [k == 2 for k in range(len(LADDER))]
    assert not markers(ax, "open")


def test_a_network_without_weights_has_no_place():
    ds = seeking("helix", ["grasp"], replicates=1)
    ds["density"].values[-1] = 0.0
    ((x, _),) = curves(plot_planted(ds))
    np.testing.assert_allclose(x, 100 * np.array(LADDER[:-1]))


def test_criteria_look_alike_whatever_others_there_are():
    both, one = (plot_planted(seeking("circle", names)) for names in (ONE, ONE[1:]))
    colour = {ax: [x.get_color() for x in ax.lines if len(x.get_xdata()) > 2] for ax in (both, one)}
    assert colour[both][-1] == colour[one][-1] != colour[both][0]


def test_settings_that_vary_within_a_criterion_make_lines_of_their_own():
    ds = seeking("circle", ["edge-popup", "synflow"], replicates=2)
    annealed = np.arange(ds.sizes["checkpoint"]) % 2 == 1
    annealed[ds["criterion"].values == "synflow"] = False
    rounds = np.where(ds["criterion"].values == "synflow", 100, 1)
    ds = labelled(ds, score_annealed=annealed, score_rounds=rounds)
    ax = plot_planted(ds)
    assert legend(ax.figure)[:3] == ["edge-popup", "edge-popup, annealed", "synflow"]
    assert len(curves(ax)) == 3
    ds = labelled(ds, scope=np.where(annealed, "layer", "global")).drop_vars("score_annealed")
    assert legend(plot_planted(ds).figure)[:2] == [
        "edge-popup, scope global", "edge-popup, scope layer",
    ]  # fmt: skip


def test_titles_say_what_the_outputs_are_multiplied_by():
    for task, titles in (
        ("circle", ["strong", "weak"]),
        ("helix", ["strong (least squares)", "weak (least squares)"]),
    ):
        ds = seeking(task, ONE)
        assert [plot_planted(ds, t).get_title(loc="left") for t in TICKET_KINDS] == titles


def test_an_axes_of_ones_own_and_another_split():
    figure = Figure()
    ds = seeking("circle", ONE)
    ax = plot_planted(ds, ax=figure.subplots(), split="train", legend=False)
    assert ax.get_ylabel() == "train accuracy (%)"
    assert not figure.legends
    assert plot_planted(ds.isel(split=[0])).get_ylabel() == "train accuracy (%)"


def test_panels_are_tasks_by_tickets():
    ds = seeking(["circle", "helix"], ONE)
    axes = panels(ds).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "circle: strong", "helix: strong (least squares)",
        "circle: weak", "helix: weak (least squares)",
    ]  # fmt: skip
    assert [ax.get_yscale() for ax in axes] == ["linear", "log"] * 2
    helix = ds.isel(checkpoint=ds["target"].values == "helix")
    for got, want in zip(curves(axes[3]), curves(plot_planted(helix)), strict=True):
        np.testing.assert_array_equal(got, want)


def test_planted_networks_name_the_tasks_where_no_target_does():
    ds = seeking(["circle", "helix"], ONE).rename({"target": "plant"})
    assert panels(ds).axes[1].get_title(loc="left") == "helix: strong (least squares)"


def test_a_run_of_unknown_criterion_is_one_line_in_one_column():
    ds = seeking("circle", ["random"], replicates=1).drop_vars(
        ["criterion", "target", "densities", "seed", "target_density"]
    )
    ds["run"].values[:] = "imp"
    figure = panels(ds)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["strong", "weak"]
    assert [len(curves(ax)) for ax in figure.axes] == [1, 1]
    assert legend(figure) == ["ticket", "planted ticket", "its density", "floor"]


def test_runs_of_unknown_criteria_have_a_line_each():
    ds = seeking("circle", ONE, replicates=1).drop_vars(["criterion", "target_density"])
    ds["run"].values[:] = ["one"] * len(LADDER) + ["two"] * len(LADDER)
    ax = plot_planted(ds)
    assert legend(ax.figure)[:2] == ["one", "two"]
    assert [len(x) for x, _ in curves(ax)] == [len(LADDER)] * 2
    assert len({x.get_color() for x in ax.lines[:4]}) == 2


def test_of_a_schedule_are_those_with_its_name():
    ds = seeking("circle", ONE)
    other = np.arange(ds.sizes["checkpoint"]) % 2 == 0
    ds = labelled(ds, densities=np.where(other, "multishot", "singleshot"))
    got = of_schedule(ds, ("multishot", "exponential"))
    assert got["checkpoint"].values.tolist() == ds["checkpoint"].values[other].tolist()
    assert of_schedule(ds.drop_vars("densities"), ("multishot",)).identical(
        ds.drop_vars("densities")
    )
    with pytest.raises(
        LandscapeError, match="these tickets were not found linear, but multishot, singleshot; give"
    ):
        of_schedule(ds, ("linear",))


def test_of_a_sweep_the_last_level_of_a_run_is_its_ticket():
    ds = seeking("circle", ["random"], replicates=1)
    ds["run"].values[:] = ["a", "a", "b", "a"]
    ds["level"].values[:] = [0, 2, 1, 1]
    got = of_schedule(ds, ("multishot",))
    assert got["checkpoint"].values.tolist() == ds["checkpoint"].values[[1, 2]].tolist()
    whole = ds.drop_vars("target_density")
    assert of_schedule(whole, ("multishot",)).sizes == whole.sizes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ticket": "week"}, "unknown ticket 'week'; did you mean 'weak'"),
        ({"rescale": "plant"}, "unknown rescaling 'plant'; did you mean 'planted'"),
        ({"split": "tests"}, "unknown split 'tests'; did you mean 'test'"),
    ],
)
def test_unknown_names_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        plot_planted(seeking("circle", ONE), **options)


@pytest.mark.parametrize("draw", [plot_planted, panels, lambda ds: of_schedule(ds, ("linear",))])
def test_another_dataset_is_refused(draw):
    with pytest.raises(LandscapeError, match="a tickets dataset needs 'loss' over"):
        draw(TICKETS.example().drop_vars("loss"))


def test_the_rescalings_of_the_schema_are_those_with_a_title():
    ds = seeking("circle", ONE)
    titles = {plot_planted(ds, rescale=name).get_title(loc="left") for name in RESCALINGS}
    assert len(titles) == len(RESCALINGS)
