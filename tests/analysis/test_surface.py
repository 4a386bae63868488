"""Surfaces: every cell equals the closed form, whatever the axes; interrupted ones go on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis import surface as surface_module
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.surface import ANALYSIS, SurfaceSettings, _axes, _chosen, surface
from landscape.analysis.work import AtOnce
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.records import Checkpoint
from landscape.data_store.results import load_result, save_result
from landscape.data_store.schemas.surface import SURFACE
from landscape.training.models import buffer_values, parameter_spec
from landscape.training.task import cross_entropy
from tests.support.landscapes import ClosedForm, at, quadratic
from tests.support.results import place, record

CURVATURES = np.array([1.0, 4.0, 0.5, 9.0, 2.0, 3.0])


def some(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, 6))
    return [at(*row, address=f"imp@{i}") for i, row in enumerate(rows)]


def asked(points, landscape=None, work=None, /, **settings):
    """A surface of few cells over one split."""
    chosen = SurfaceSettings(**{"points": (5, 4), "splits": ("train",), **settings})
    return surface(points, landscape or quadratic(CURVATURES), chosen, work)


@dataclass
class Kept:
    """Work that keeps its blocks, and may be stopped before one of them."""

    blocks: dict = field(default_factory=dict)
    expected: list = field(default_factory=list)
    computed: list = field(default_factory=list)
    stop_before: int | None = None

    def expect(self, blocks):
        assert not self.computed
        self.expected.append(blocks)

    def block(self, name, compute):
        if name not in self.blocks:
            if len(self.computed) == self.stop_before:
                raise KeyboardInterrupt
            self.computed.append(name)
            self.blocks[name] = dict(compute())
        return self.blocks[name]


def walked(points, ds, settings, landscape):
    """The points of all cells by adding up displacements: (columns, rows, n)."""
    chosen = SurfaceSettings(**settings)
    kind, count = _chosen(len(points), chosen)
    axes = _axes(kind, count, points, chosen, landscape, AtOnce(), {"train": None})
    cells = np.empty((ds.sizes["column"], ds.sizes["row"], len(points[0].theta)))
    for i, x in enumerate(ds.x.values[0]):
        for j, y in enumerate(ds.y.values[0]):
            cells[i, j] = axes.plane.corners[0].theta
            for step, direction in zip((x, y), axes.plane.directions, strict=False):
                cells[i, j] += step * direction
    return cells, axes


KINDS = [
    (1, {}),
    (1, {"normalization": "none", "seed": 3}),
    (1, {"axes": 1, "points": (7,)}),
    (2, {"points": (7,)}),
    (2, {"axes": 2}),
    (3, {}),
    (3, {"points": (9, 33)}),
    (5, {}),
    (4, {"directions": "pca", "axes": 1, "points": (6,)}),
    (2, {"directions": "eigenvectors"}),
    (3, {"directions": "random", "range": (-2.0, 3.0, 0.0, 1.0)}),
]


@pytest.mark.parametrize(("count", "settings"), KINDS)
def test_every_cell_equals_the_closed_form_at_the_point_its_coordinates_name(count, settings):
    """A 2-D walk that shifts odd rows, and non-square grids transposed."""
    settings = {"points": (5, 4), "splits": ("train",), **settings}
    points, bowl = some(count), quadratic(CURVATURES)
    ds = surface(points, bowl, SurfaceSettings(**settings))
    cells, axes = walked(points, ds, settings, bowl)
    flat = cells.reshape(-1, 6)
    want = 0.5 * (flat**2 * CURVATURES).sum(axis=1).reshape(cells.shape[:2])
    np.testing.assert_allclose(ds.loss.values[0, 0], want, rtol=1e-9)
    away = np.linalg.norm(cells - axes.plane.corners[0].theta, axis=2)
    np.testing.assert_allclose(ds.displacement.values[0], away, rtol=1e-9, atol=1e-12)
    assert (ds.status.values == 0).all()
    SURFACE.validate(ds)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_coordinates_of_spanned_surfaces_are_the_displacement_walked(count):
    """An axis label that is not the displacement, in Landscaper and rebasin."""
    ds = asked(some(count), points=(7,)).isel(surface=0)
    np.testing.assert_allclose(ds.unit, 1, rtol=1e-12)
    away = np.hypot(ds.x.values[:, None], ds.y.values[None, :])
    np.testing.assert_allclose(ds.displacement, away, rtol=1e-9)


def test_along_random_directions_a_unit_is_as_long_as_it_says():
    ds = asked(some(1), points=(3,), axes=1, range=(-2.0, 2.0)).isel(surface=0)
    assert ds.displacement.values[:, 0].tolist() == pytest.approx(
        [2 * ds.unit.item(), 0, 2 * ds.unit.item()]
    )
    assert ds.unit.item() == pytest.approx(np.linalg.norm(some(1)[0].theta))  # one filter


@pytest.mark.parametrize(
    ("count", "settings"),
    [(1, {"points": (5,)}), (2, {"points": (25,)}), (3, {"points": (7, 31)}), (2, {"axes": 2})],
)
def test_checkpoints_have_exactly_their_own_loss(count, settings):
    points, bowl = some(count), quadratic(CURVATURES)
    ds = asked(points, bowl, **settings).isel(surface=0, split=0)
    own = [bowl.loss(p.theta[None])[0] for p in points]
    assert ds.point_loss.values.tolist() == own
    assert ds.point_name.values.tolist() == [p.address for p in points]
    assert ds.point_residual.values.tolist() == [0.0] * count
    for k in range(count):
        at_x, at_y = ds.x.values == ds.point_x.values[k], ds.y.values == ds.point_y.values[k]
        if at_x.any() and at_y.any():
            assert ds.loss.values[at_x][:, at_y].item() == own[k]
    if "axes" not in settings and count < 3:
        assert np.isin(ds.point_x.values, ds.x.values).all()


def test_a_line_runs_half_its_length_beyond_both_ends():
    points = some(2)
    ds = asked(points, points=(25,)).isel(surface=0)
    distance = np.linalg.norm(points[0].theta - points[1].theta)
    np.testing.assert_allclose(ds.x.values / distance, np.linspace(-0.5, 1.5, 25), atol=1e-12)
    assert ds.point_x.values.tolist() == pytest.approx([0, distance])
    tight = asked(points, points=(25,), margin=0.0).isel(surface=0)
    assert tight.x.values[[0, -1]].tolist() == tight.point_x.values.tolist()
    assert ds.y.values.tolist() == [0.0]
    assert ds.axis.values.tolist() == ["x"]


def test_a_plane_runs_a_quarter_of_the_extent_beyond_the_checkpoints():
    ds = asked(some(3), points=(9, 8)).isel(surface=0)
    marks = np.stack([ds.point_x.values, ds.point_y.values])
    extent = np.ptp(marks, axis=1).max()
    for grid, mark in zip((ds.x.values, ds.y.values), marks, strict=True):
        half_a_cell = (grid[1] - grid[0]) / 2
        ends = [mark.min() - extent / 4, mark.max() + extent / 4]
        assert grid[[0, -1]] == pytest.approx(ends, abs=half_a_cell * 1.001)
        assert 0.0 in grid
    wide = asked(some(2), axes=2).isel(surface=0)
    assert np.ptp(wide.y.values) == pytest.approx(np.ptp(wide.x.values))
    assert abs(wide.y.values.mean()) <= np.diff(wide.y.values)[0] / 2 * 1.001


def test_the_range_is_what_is_asked_for():
    ds = asked(some(1), range=(-1.0, 2.0, 0.0, 3.0)).isel(surface=0)
    np.testing.assert_array_equal(ds.x, np.linspace(-1, 2, 5))
    np.testing.assert_array_equal(ds.y, np.linspace(0, 3, 4))
    ds = asked(some(3), range=(-1.0, 2.0)).isel(surface=0)
    np.testing.assert_array_equal(ds.x, np.linspace(-1, 2, 5))
    np.testing.assert_array_equal(ds.y, np.linspace(-1, 2, 4))
    assert asked(some(1)).x.values[0].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_members_are_the_cells_up_to_the_threshold():
    points = some(3)
    ds = asked(points, points=(9, 8), epsilon=0.7).isel(surface=0, split=0)
    assert ds.threshold.item() == ds.point_loss.values[0] + 0.7
    np.testing.assert_array_equal(ds.member == 1, ds.loss <= ds.threshold)
    assert ds.member_share.item() == (ds.loss <= ds.threshold).mean()
    assert 0 < ds.member_share.item() < 1
    fixed = asked(points, cutoff=4.0).isel(surface=0, split=0)
    assert fixed.threshold.item() == 4.0
    trajectory = asked(some(5)).isel(surface=0, split=0)
    assert trajectory.threshold.item() == trajectory.point_loss.values[-1] + 0.1


def test_the_sublevel_set_may_be_of_the_error():
    landscape = ClosedForm(lambda t: (t**2).sum(axis=1), lambda t: np.minimum(abs(t[:, 0]), 1))
    ds = asked(some(1), landscape, measure="error", epsilon=0.25, points=(9,)).isel(surface=0)
    assert ds.measure.item() == "error"
    assert ds.threshold.item() == ds.point_error.item() + 0.25
    np.testing.assert_array_equal(ds.member == 1, ds.error <= ds.threshold)


def hollow(theta):
    """A bowl with a pit that is not a number and a rim that is infinite."""
    away = (theta**2).sum(axis=1)
    return np.where(away < 1, np.nan, np.where(away > 9, np.inf, away))


def test_what_is_not_finite_stays_unknown_with_a_status_also_in_a_file(tmp_path):
    """NaN replaced, in Landscaper; a sentinel that clashes with data, in tomgoldstein's."""
    ds = asked([at(2.0, 0.0, address="imp@1")], ClosedForm(hollow), points=(13,), range=(-2.0, 2.0))
    loss, status = ds.loss.values, ds.status.values
    np.testing.assert_array_equal(status == 1, np.isnan(loss))
    np.testing.assert_array_equal(np.isnan(ds.member.values), np.isnan(loss))
    assert 0 < np.isnan(loss).mean() < 1
    assert not np.isinf(loss).any()
    finite = loss[np.isfinite(loss)]
    assert ds.member_share.item() == (finite <= ds.threshold.item()).mean()
    save_result(tmp_path, ds, record("surface"))
    found = load_result(place(tmp_path, record("surface")))
    for name in ds.variables:
        assert (found[name].values == ds[name].values).all() or (
            found[name].values.tobytes() == ds[name].values.tobytes()
        )
    assert (
        asked(
            [at(2.0, 0.0)], ClosedForm(hollow), points=(13,), range=(-2.0, 2.0)
        ).loss.values.tobytes()
        == loss.tobytes()
    )


def test_an_unknown_reference_leaves_the_set_unknown():
    ds = asked([at(0.5, 0.0)], ClosedForm(hollow), range=(-4.0, 4.0)).isel(surface=0, split=0)
    assert np.isnan(ds.threshold)
    assert np.isnan(ds.member).all()
    assert np.isnan(ds.member_share)
    assert ds.point_status.values.tolist() == [1]
    assert ds.point_loss.isnull().all()


def same(one, other):
    """Two datasets, bit for bit."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        assert one[name].values.tobytes() == other[name].values.tobytes(), name
    return True


@pytest.mark.parametrize("settings", [{}, {"directions": "eigenvectors"}, {"bn": "recompute"}])
def test_a_resumed_surface_equals_an_uninterrupted_one_bit_for_bit(settings, monkeypatch):
    monkeypatch.setattr(surface_module, "_BLOCK", 20)
    settings = {"points": (11, 7), "splits": ("train", "test"), **settings}
    checkpoints, landscape = [near(0)], network_landscape(settings.get("bn", "interpolate"))
    whole = Kept()
    want = asked(checkpoints, landscape, whole, **settings)
    blocks = len(whole.computed)
    assert whole.expected == [blocks]
    assert blocks == 2 * 5 + (settings.get("directions") == "eigenvectors")
    for stop in (1, blocks - 1):
        work = Kept(stop_before=stop)
        with pytest.raises(KeyboardInterrupt):
            asked(checkpoints, landscape, work, **settings)
        again = Kept(blocks=work.blocks)
        assert same(asked(checkpoints, landscape, again, **settings), want)
        assert len(again.computed) == blocks - stop


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(70, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 4))


def near(seed, kept=0.5):
    """A checkpoint of the network with weights, statistics and a mask of its own."""
    rng, module = np.random.default_rng(seed), net()
    spec = parameter_spec(module)
    names = ("0.weight", "3.weight")
    free = np.ones(spec.size, dtype=bool)
    for name in names:
        free[spec.slices[name]] = rng.random(np.prod(spec.shape(name))) < kept
    mask = Mask(spec, names, free)
    theta = mask.apply(rng.normal(0, 0.5, spec.size).astype(np.float32))
    buffers = {
        name: np.abs(b + rng.normal(0, 0.3, b.shape)).astype(b.dtype)
        for name, b in buffer_values(module).items()
    }
    return Checkpoint(spec, theta, mask, buffers, address=f"net@{seed}", level=seed)


def network_landscape(bn="interpolate"):
    draws = torch.Generator().manual_seed(0)
    splits = {
        name: (torch.randn(40, 70, generator=draws), torch.randint(0, 4, (40,), generator=draws))
        for name in ("train", "test")
    }
    return Evaluator(net(), splits, cross_entropy, bn=bn)


@pytest.mark.parametrize("settings", [{"points": (25,)}, {"points": (5,)}])
def test_a_networks_checkpoints_lie_on_their_surface_exactly(settings):
    points, landscape = [near(0), near(1), near(2)], network_landscape()
    given = points[:2] if settings["points"] == (25,) else points
    ds = asked(given, landscape, splits=("train", "test"), **settings).isel(surface=0)
    for split, (k, point) in itertools.product(("train", "test"), enumerate(given)):
        own = landscape.evaluate(point.point[None], np.ones((1, 1)), split=split)
        here = ds.sel(split=split)
        assert here.point_loss.values[k] == own.loss[0]
        assert here.point_error.values[k] == own.error[0]
        on_grid = here.loss.values[ds.x.values == ds.point_x.values[k]]
        if settings["points"] == (25,):
            assert on_grid.item() == own.loss[0]


def test_every_cell_of_a_network_is_that_of_its_weights():
    points, landscape = [near(0), near(1), near(2)], network_landscape()
    ds = asked(points, landscape, points=(4, 6)).isel(surface=0, split=0)
    a, b, c = (p.point.astype(np.float64) for p in points)
    frame = np.array([[ds.point_x.values[k], ds.point_y.values[k], 1] for k in range(3)]).T
    for i, j in itertools.product(range(4), range(6)):
        u = np.linalg.solve(frame, [ds.x.values[i], ds.y.values[j], 1])
        theta = (u @ [a, b, c]).astype(np.float32)
        own = landscape.evaluate(theta[None], np.ones((1, 1)), split="train")
        if np.isfinite(own.loss[0]):
            assert ds.loss.values[i, j] == pytest.approx(own.loss[0], rel=1e-4)
        else:  # statistics beyond the checkpoints can be negative
            assert np.isnan(ds.loss.values[i, j])


def test_a_subset_of_the_examples_and_the_same_in_every_cell():
    landscape = network_landscape()
    some_of_it = asked([near(0)], landscape, examples=10, seed=4)
    again = asked([near(0)], landscape, examples=10, seed=4)
    assert same(some_of_it, again)
    assert (
        some_of_it.loss.values[0, 0, 2, 0]
        != asked([near(0)], landscape, seed=4).loss.values[0, 0, 2, 0]
    )


def test_labels_say_what_it_is_about():
    points = [replace(p, level=i) for i, p in enumerate(some(5))]
    ds = asked(points)
    assert ds.surface.values.tolist() == ["imp@0 … imp@4 (5)"]
    assert (ds.directions.item(), ds.level.item()) == ("pca", 4)
    assert asked(points[:3]).surface.values.tolist() == ["imp@0 imp@1 imp@2"]
    assert asked(points[:3]).level.item() == 0
    parts = [replace(points[0], part="baseline"), points[1]]
    assert asked(parts, points=(5,)).point_part.values.tolist() == [["baseline", "final"]]
    for name, variable in ds.variables.items():
        if name not in ("split", "column", "row", "axis", "point"):
            assert variable.dims[0] == "surface", name


def test_directions_are_kept_as_seeds_and_digests():
    ds = asked(some(1), seed=2**63 - 1)
    assert ds.direction_seed.values.tolist() == [[f"{2**63 - 1}/0", f"{2**63 - 1}/1"]]
    assert all(len(digest) == 64 for digest in ds.direction_digest.values[0])
    assert same(ds, asked(some(1), seed=2**63 - 1))
    assert abs(ds.cosine.item()) < 1


def test_facts_of_eigenvectors_and_components():
    eigen = asked([at(*np.ones(6))], directions="eigenvectors", range=(-1.0, 1.0), points=(3,))
    np.testing.assert_allclose(eigen.eigenvalue, [[9, 4]], atol=1e-4)
    middle = eigen.loss.values[0, 0, 1, 1]
    slope, bend = eigen.loss.values[0, 0, [0, 2], 1] - middle
    assert slope + bend == pytest.approx(9, rel=1e-4)  # second difference at distance 1
    pca = asked(some(6))
    assert 0 < pca.explained_variance.values.sum() < 1
    assert pca.point_x.values[0, -1] == pca.point_y.values[0, -1] == 0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"points": (3, 4, 5)}, r"points is \(3, 4, 5\); give one number, or one for each axis"),
        ({"points": ()}, r"points is \(\); give one number"),
        ({"points": (1,)}, "points is 1; it must be at least 2"),
        ({"range": (1.0, -1.0)}, r"range is \(1.0, -1.0\); give two numbers, as -1,1, or two"),
        ({"range": (0.0, 1.0, 2.0)}, "give two numbers"),
        ({"splits": ()}, r"splits is \(\); name one or more, each once"),
        ({"splits": ("a", "a")}, "name one or more, each once"),
        ({"directions": "randm"}, "unknown directions 'randm'; did you mean 'random'"),
        ({"axes": 3}, "axes is 3; it must be at most 2"),
    ],
)
def test_wrong_settings_are_refused(settings, match):
    with pytest.raises(UsageError, match=match):
        SurfaceSettings(**settings)


@pytest.mark.parametrize(
    ("count", "settings", "match"),
    [
        (1, {"directions": "checkpoints"}, "needs at least 2 checkpoints, got 1; give more, or"),
        (1, {"directions": "pca"}, "directions is pca, which needs at least 2 checkpoints"),
        (2, {"points": (3, 4)}, r"points is \(3, 4\), which is for two axes, and this is a line"),
        (1, {"axes": 1, "points": (3,), "range": (0.0, 1.0, 0.0, 1.0)}, "range is .* two axes"),
    ],
)
def test_settings_that_do_not_fit_the_checkpoints_are_refused(count, settings, match):
    with pytest.raises(UsageError, match=match):
        asked(some(count), **settings)


def test_checkpoints_of_other_networks_are_refused():
    with pytest.raises(LandscapeError, match="hold different networks and cannot be compared"):
        asked([some(1)[0], at(1.0, address="other")], directions="random")


def test_cost_counts_the_cells_and_checkpoints():
    settings = SurfaceSettings(points=(5, 4), splits=("train", "test"), examples=50)
    assert ANALYSIS.cost(settings, {"train": 100, "test": 20}, 1) == 21 * 70
    assert ANALYSIS.cost(replace(settings, points=(5,)), {"train": 100, "test": 20}, 2) == 7 * 70
