"""Contours, edges and checkpoints are those of the dataset, at their coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from landscape.data_store.schemas.surface import SURFACE
from landscape.figures import plane
from landscape.figures.plane import EDGE
from tests.support.surfaces import example, height


def plot_plane(ds, **options):
    return plane.plot_plane(ds, ax=Figure().subplots(), **options)


def contours(ax):
    """Vertices of the contours by level, and of the edge of the set."""
    by_level, edge = {}, None
    for drawn in ax.collections:
        if not hasattr(drawn, "levels"):
            continue
        vertices = [path.vertices for path in drawn.get_paths()]
        if drawn.filled:
            continue
        if np.allclose(drawn.get_edgecolor()[0], to_rgba(EDGE)):
            edge = vertices[0]
        else:
            by_level = dict(zip(drawn.levels, vertices, strict=True))
    return by_level, edge


@pytest.mark.parametrize(("split", "above"), [("train", 0.0), ("test", 0.2)])
def test_contours_and_edge_run_where_the_loss_says(split, above):
    ax = plot_plane(example(nx=201, ny=151), split=split)
    by_level, edge = contours(ax)
    assert len(by_level) >= 5
    for level, vertices in by_level.items():
        np.testing.assert_allclose(height(*vertices.T) + above, level, atol=0.02)
    np.testing.assert_allclose(height(*edge.T) + above, 1.0, atol=0.01)


def test_the_edge_may_be_of_the_error():
    ds = example(measure=["error"])
    ds["error"].values[0, :] = np.linspace(0, 1, 21)[:, None]
    ds["threshold"].values[0] = 0.5
    for measure in ("loss", "error"):
        _, edge = contours(plot_plane(ds, measure=measure))
        np.testing.assert_allclose(edge[:, 0], 0.5)
    words = [t.get_text() for t in plot_plane(ds).get_legend().get_texts()]
    assert words[-1] == "error ≤ 50 % (train), 50 % (test)"


@pytest.mark.parametrize("threshold", [np.nan, 0.0, 1e9])
def test_a_set_without_an_edge_in_the_picture_has_none(threshold):
    assert contours(plot_plane(example(threshold=threshold)))[1] is None


@pytest.mark.parametrize(
    ("threshold", "share", "word"), [(1e9, 1.0, "everywhere"), (0.01, 0.0, "nowhere")]
)
def test_a_set_that_is_all_or_nothing_of_the_plane_is_called_so(threshold, share, word):
    ds = example(threshold=threshold)
    ds["member_share"][:] = share
    ax = plot_plane(ds)
    words = ax.get_legend().get_texts()[-1].get_text()
    assert f"(train: {word})" in words
    shaded = [drawn for drawn in ax.collections if getattr(drawn, "filled", False)]
    assert bool(shaded) == (word == "everywhere")


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.3, 1.0])
def test_names_of_neighbours_do_not_cover_each_other(apart):
    ds = example(point_name=[["imp@3", "imp@4.baseline", "imp@4"]])
    ds["point_x"].values[0] = [0.0, apart, 2.9]
    ds["point_y"].values[0] = [0.0, 0.0, 1.9]
    figure = plane.draw(ds)
    figure.draw_without_rendering()
    for ax in figure.axes:
        names = [text for text in ax.texts if text.get_text().startswith("@")]
        assert [name.get_text() for name in names] == ["@3", "@4.baseline", "@4"]
        boxes = [name.get_window_extent() for name in names]
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k])
            assert ax.bbox.padded(6).contains(box.x0, box.y0)
            assert ax.bbox.padded(6).contains(box.x1, box.y1)


def test_checkpoints_are_at_their_coordinates_with_the_fields_markers():
    ax = plot_plane(example())
    marks = [line for line in ax.lines if line.get_marker() in ("^", "x", "o")]
    assert [line.get_marker() for line in marks] == ["^", "x", "o"]
    places = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marks]
    assert places == [(0.0, 0.0), (1.0, 0.0), (2.0, 1.5)]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [False, False, True]
    assert [t.get_text() for t in ax.texts if t.get_text().startswith("@")] == [
        "@3", "@4.baseline", "@4.rewind",
    ]  # fmt: skip
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words == [
        "solution",
        "baseline",
        "rewind point",
        "hollow: off the plane",
        "loss ≤ 1 (train), 1 (test)",
    ]


def test_names_of_files_lose_their_folders():
    ax = plot_plane(example(point_name=[["a/one.pt", "b\\two.pt", "three.pt"]]))
    assert {"one.pt", "two.pt", "three.pt"} <= {text.get_text() for text in ax.texts}


def test_axes_say_where_they_point_and_how_long_a_unit_is():
    ds = example(direction=[["from imp@3 to imp@4", "random direction 1"]])
    ds["unit"].values[0] = [1.0, 12.34]
    ax = plot_plane(ds)
    assert ax.get_xlabel() == "from imp@3 to imp@4\n(Euclidean distance)"
    assert ax.get_ylabel() == "random direction 1\n(1 is 12.3 in Euclidean distance)"
    assert ax.get_aspect() == "auto"
    assert plot_plane(example()).get_aspect() == 1.0
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-2, 3, -1, 2)


def test_facts_of_the_axes_are_told():
    ds = example().assign(
        eigenvalue=SURFACE.example()["eigenvalue"],
        explained_variance=SURFACE.example()["explained_variance"],
    )
    assert "\n90 % of the variance\neigenvalue 0.9\n" in plot_plane(ds).get_xlabel()


def test_cells_without_a_finite_loss_are_grey_and_explained():
    ds = example()
    ds["loss"].values[0, :, :3] = np.nan
    ds["status"].values[0, :, :3] = 1
    ax = plot_plane(ds)
    (grey,) = [c for c in ax.collections if not hasattr(c, "levels")]
    assert (~grey.get_array().mask).sum() == 3 * 17
    assert ax.get_legend().get_texts()[-1].get_text() == "not finite"
    for vertices in contours(ax)[0].values():
        assert (vertices[:, 0] >= ds.x.values[0, 3]).all()


def test_one_split_may_be_unknown():
    ds = example()
    ds["loss"].values[0, 0] = np.nan
    train, test = plane.draw(ds).axes
    assert "no value is known (all NaN)" in [text.get_text() for text in train.texts]
    assert len(contours(test)[0]) >= 6


def test_panels_of_the_splits_share_their_contours():
    train, test = plane.draw(example()).axes
    assert train.get_title() == "train loss (nats per example)"
    one, other = (contours(ax)[0] for ax in (train, test))
    assert set(one) >= set(other) - {max(other)}
    assert (train.get_ylabel(), test.get_ylabel()) == ("example\n(Euclidean distance)", "")
