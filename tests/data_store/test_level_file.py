"""Level and object files: what goes in comes out, bit for bit, or is refused by name."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.image import read_image, seal
from landscape.data_store.level_file import level_image, object_image, read_level, read_object
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.points import file_checkpoint
from landscape.data_store.records import TRACE_COLUMNS, Level, Point, Trace

SPEC = ParamSpec(("w1", "b1", "gain", "w2"), ((3, 4), (4,), (), (2, 4)))
PRUNABLE = ("w1", "w2")
ORIGINS = {"init": "a" * 64, "rewind": "b" * 64}
METRICS = {"test_loss": 0.1, "test_error": 1 / 3, "train_loss": math.nan, "early_stop_step": 400.0}
LENET = ParamSpec(
    ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"),
    ((300, 784), (300,), (100, 300), (100,), (10, 100), (10,)),
)


def random_mask(spec=SPEC, prunable=PRUNABLE, density=0.4, seed=0):
    dense = Mask.dense(spec, prunable)
    kept = dense.kept.copy()
    kept[dense.covered] = np.random.default_rng(seed).random(dense.prunable_size) < density
    return Mask(spec, prunable, kept)


def weights(mask, seed=0):
    """Normal weights under a mask: pruned entries are +0.0."""
    draws = np.random.default_rng(seed).standard_normal(mask.spec.size)
    return mask.apply(draws.astype(mask.spec.dtype))


def trace(rows=4):
    values = np.random.default_rng(1).random((rows, len(TRACE_COLUMNS)))
    values[:1, 2:4] = np.nan
    return Trace(values)


def level(mask=None, points=None, **changes):
    mask = random_mask() if mask is None else mask
    made = {
        "number": 3,
        "mask": mask,
        "points": {"final": Point(weights(mask))} if points is None else points,
        "trace": trace(),
        "metrics": METRICS,
        "origins": ORIGINS,
        **changes,
    }
    return Level(**made)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_point(got, want):
    assert same(got.theta, want.theta)
    assert list(got.buffers) == list(want.buffers)
    for name in want.buffers:
        assert same(got.buffers[name], want.buffers[name])


def assert_same_level(got, want):
    assert (got.number, got.status) == (want.number, want.status)
    assert got.mask.spec == want.mask.spec
    assert got.mask.prunable == want.mask.prunable
    np.testing.assert_array_equal(got.mask.kept, want.mask.kept)
    assert list(got.points) == list(want.points)
    for name in want.points:
        assert_same_point(got.points[name], want.points[name])
    assert same(got.trace.values, want.trace.values)
    assert got.metrics.keys() == want.metrics.keys()
    np.testing.assert_array_equal(
        list(got.metrics.values()), [want.metrics[k] for k in got.metrics]
    )
    assert got.origins == want.origins


@pytest.fixture
def file(tmp_path):
    return tmp_path / "level_0003.h5"


def encoding(path):
    header, _ = read_image(path, format_name=layout.LEVEL_FORMAT, version=layout.LEVEL_VERSION)
    return header["encoding"]


def round_trip(made, file, want_encoding="survivors"):
    file.write_bytes(level_image(made))
    assert_same_level(read_level(file), made)
    assert encoding(file) == want_encoding


def test_a_level_comes_back(file):
    round_trip(level(), file)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_nothing_or_everything_pruned(file, density):
    round_trip(level(random_mask(density=density)), file)


def test_nothing_prunable(file):
    round_trip(level(Mask.dense(SPEC, ())), file)


def test_everything_prunable(file):
    round_trip(level(random_mask(prunable=SPEC.names)), file)


def test_double_precision(file):
    round_trip(level(random_mask(ParamSpec(SPEC.names, SPEC.shapes, "float64"))), file)


def test_a_diverged_level_without_a_curve(file):
    mask = random_mask()
    theta = mask.apply(np.full(SPEC.size, np.nan, np.float32))
    made = level(mask, {"final": Point(theta)}, trace=trace(0), metrics={}, status="diverged")
    round_trip(made, file)


def test_several_points_with_normalisation_statistics(file):
    mask = random_mask()

    def statistics(seed):
        draws = np.random.default_rng(seed)
        return {
            "bn.running_mean": draws.standard_normal(4).astype(np.float32),
            "bn.num_batches_tracked": np.array(2**53 + seed, np.int64),
            "bn.running_var": draws.random((2, 2)).astype(np.float32),
            "table": draws.integers(0, 255, 3).astype(np.uint8),
            "half": draws.random(2).astype(np.float16),
            "double": draws.random(1),
            "on": np.array([True, False]),
            "large": np.array([2**64 - 1], np.uint64),
            "none": np.zeros((0, 3), np.float32),
        }

    names = ["step-40", "final", "step-7"]
    points = {name: Point(weights(mask, i), statistics(i)) for i, name in enumerate(names)}
    points["step-7"].buffers["double"][0] = np.nan
    round_trip(level(mask, points), file)


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble])
def test_a_buffer_that_cannot_be_stored_exactly_is_refused_when_it_is_written(dtype):
    buffers = {"bn.mean": np.zeros(2, np.float32), "rotary": np.ones(3, dtype)}
    point = Point(weights(random_mask()), buffers)
    match = "^buffer 'rotary' is .*; a store keeps booleans, integers and floats up to 64 bits$"
    with pytest.raises(LandscapeError, match=match):
        level_image(level(points={"final": point}))
    with pytest.raises(LandscapeError, match=match):
        object_image(SPEC, point)


@pytest.mark.parametrize("bits", [0x80000000, 0x7FC00123, 1])
def test_a_pruned_entry_that_is_not_zero_is_kept(file, bits):
    mask = random_mask()
    place = np.flatnonzero(~mask.kept)[2]
    points = {name: Point(weights(mask, i)) for i, name in enumerate(["final", "step-2"])}
    points["step-2"].theta.view(np.uint32)[place] = bits
    round_trip(level(mask, points), file, "dense")
    assert read_level(file).points["step-2"].theta.view(np.uint32)[place] == bits


def test_kept_weights_may_be_anything(file):
    mask = random_mask(density=0.8)
    theta = weights(mask)
    places = np.flatnonzero(mask.kept)[:6]
    odd = [0x80000000, 0, 0x7FC00123, 0x7F800000, 0xFF800000, 1]
    theta.view(np.uint32)[places] = odd
    round_trip(level(mask, {"final": Point(theta)}), file)
    assert list(read_level(file).points["final"].theta.view(np.uint32)[places]) == odd


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_bits_under_any_mask(tmp_path_factory, data):
    bits = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
    raw = data.draw(st.binary(min_size=4 * SPEC.size, max_size=4 * SPEC.size))
    dense = Mask.dense(SPEC, PRUNABLE)
    kept = dense.kept.copy()
    kept[dense.covered] = bits
    mask = Mask(SPEC, PRUNABLE, kept)
    theta = np.frombuffer(raw, np.float32)
    zeroed = mask.apply(theta)
    file = tmp_path_factory.mktemp("any") / "a.h5"
    pruned_is_zero = not theta[~kept].view(np.uint32).any()
    round_trip(
        level(mask, {"final": Point(theta)}), file, "survivors" if pruned_is_zero else "dense"
    )
    round_trip(level(mask, {"final": Point(zeroed)}), file)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_unknown(file, value):
    file.write_bytes(level_image(level(metrics={"test_loss": value, "test_error": 0.5})))
    header, _ = read_image(file, format_name=layout.LEVEL_FORMAT, version=layout.LEVEL_VERSION)
    assert header["metrics"] == {"test_loss": None, "test_error": 0.5}
    metrics = read_level(file).metrics
    assert math.isnan(metrics["test_loss"])
    assert metrics["test_error"] == 0.5


def test_equal_levels_have_equal_bytes():
    assert level_image(level()) == level_image(level())
    assert level_image(level()) != level_image(level(number=4))


def test_a_sparse_level_is_small():
    mask = random_mask(LENET, LENET.names[::2], density=0.2)
    theta = weights(mask)
    size = len(level_image(level(mask, {"final": Point(theta)})))
    assert size < 0.25 * theta.nbytes
    dense = len(level_image(level(Mask.dense(LENET, LENET.names[::2]), {"final": Point(theta)})))
    assert size < dense


def test_a_lenet_level_comes_back(file):
    mask = random_mask(LENET, LENET.names[::2], density=0.2)
    points = {name: Point(weights(mask, i)) for i, name in enumerate(["final", "step-40"])}
    round_trip(level(mask, points), file)


def test_flips_and_cuts_are_refused(file):
    content = level_image(level())
    draws = np.random.default_rng(0)
    for place in draws.integers(0, len(content), 100):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(draws.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(LandscapeError, match=r"level_0003\.h5 is (not|damaged)"):
            read_level(file)
    for length in draws.integers(0, len(content), 30):
        file.write_bytes(content[:length])
        with pytest.raises(LandscapeError, match=r"level_0003\.h5 is (not|damaged)"):
            read_level(file)


def resealed(file, change_header=None, change_arrays=None):
    """A level file with a right digest and a changed header or arrays."""
    file.write_bytes(level_image(level()))
    header, arrays = read_image(file, format_name=layout.LEVEL_FORMAT, version=layout.LEVEL_VERSION)
    header = {**header, **(change_header or {})}
    arrays = {**arrays, **(change_arrays or {})}
    header = {k: v for k, v in header.items() if v != "drop"}
    arrays = {k: v for k, v in arrays.items() if v is not None}
    file.write_bytes(seal(header, arrays, compress=True))


@pytest.mark.parametrize("wrong", ["drop", None, 3, "text", [], {}, [[]], {"a": []}])
@pytest.mark.parametrize(
    "name", ["spec", "prunable", "points", "buffers", "metrics", "origins", "level"]
)
def test_a_wrong_header_is_refused_or_reads_as_a_level(file, name, wrong):
    resealed(file, {name: wrong})
    try:
        found = read_level(file)
    except LandscapeError:
        return
    assert found.points["final"].theta.shape == (SPEC.size,)
    assert isinstance(found.number, int)
    assert isinstance(found.metrics, dict)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"spec": "drop"}, "is no readable landscape-level file: 'spec'"),
        ({"spec": {"names": ["w"], "shapes": []}}, "is no readable landscape-level file: 'dtype'"),
        ({"spec": {"names": ["w"], "shapes": [], "dtype": "float32"}}, "one shape per unique name"),
        (
            {"spec": {"names": [], "shapes": [], "dtype": "float16"}},
            "are 'float16'; expected float32",
        ),
        ({"prunable": ["w3"]}, "is no readable landscape-level file: .*not in"),
        ({"prunable": ["w1"]}, r"'dense': \(1, 5\), .* entries for {'dense': \(1, 13\)"),
        ({"prunable": ["w1", "w1", "w2", "w2"]}, r"entries for {'dense': \(1, -15\)"),
        ({"points": ["final", "step-1"]}, r"entries for {'dense': \(2, 5\)"),
        ({"points": ["step-1"]}, r"is an incomplete level file: KeyError\('final'\)"),
        ({"points": []}, r"entries for {'dense': \(0, 5\)"),
        ({"encoding": "dense"}, r"is an incomplete level file: .*\(7,\) values for 20"),
        ({"encoding": "sparse"}, r"is an incomplete level file: KeyError\('sparse'\)"),
        ({"encoding": "drop"}, r"incomplete level file: KeyError\('encoding'\)"),
        ({"buffers": [["x", [2], "float32"]]}, r"entries for .*'buffers': \(1, 2\)"),
        ({"buffers": [["x", [2], "int8"]]}, r"entries for .*'counters': \(1, 2\)"),
        ({"buffers": [["x", [2], "no type"]]}, "is no readable landscape-level file: 'no type'"),
        ({"buffers": [["x", [0], "S1000000000"]]}, "no readable .*: 'S1000000000'"),
        ({"buffers": [["x", [0], "complex128"]]}, "no readable .*: 'complex128'"),
        ({"buffers": [["x", [0], []]]}, "no readable landscape-level file"),
        ({"buffers": [["x", [-4], "int8"], ["y", [4], "int8"]]}, r"a buffer of shape \[-4\]"),
        ({"buffers": [["x", [0.0], "int8"]]}, r"a buffer of shape \[0.0\]"),
        ({"buffers": [["x", [True, 0], "int8"]]}, r"a buffer of shape \[True, 0\]"),
        ({"buffers": [["x", 0, "int8"]]}, "no readable landscape-level file"),
        ({"buffers": [["x"]]}, "is no readable landscape-level file"),
        ({"buffers": [["\ud800", [0], "int8"]]}, "no readable .*surrogates not allowed"),
        ({"buffers": [[3, [0], "int8"]]}, "no readable .*has no attribute 'encode'"),
        ({"metrics": []}, "is an incomplete level file"),
        ({"metrics": {"test_loss": "low"}}, "is an incomplete level file: ValueError"),
        ({"metrics": {"test_loss": []}}, "is an incomplete level file: TypeError"),
        ({"origins": 3}, "is an incomplete level file"),
        ({"level": "three"}, "is an incomplete level file"),
        ({"level": float("inf")}, "is an incomplete level file"),
        ({"status": "drop"}, r"incomplete level file: KeyError\('status'\)"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(file, header, match):
    resealed(file, header)
    with pytest.raises(LandscapeError, match=match):
        read_level(file)


@pytest.mark.parametrize("sides", [[10**5, 10**5], [2**40], [2**62, 4], [-3]])
def test_a_claim_of_many_weights_is_refused_before_they_are_made(file, monkeypatch, sides):
    for prunable in ([], ["w"]):
        spec = {"names": ["w"], "shapes": [sides], "dtype": "float32"}
        resealed(file, {"spec": spec, "prunable": prunable})
        with monkeypatch.context() as patch:
            for name in ("zeros", "ones", "full"):
                patch.setattr(np, name, lambda shape, *_, **__: pytest.fail(f"allocates {shape}"))
            with pytest.raises(DamagedFile, match="is no readable landscape-level file: "):
                read_level(file)


def claiming(file, points, sides):
    """A level of many points without a weight in them: a few hundred bytes of zeros."""
    spec = {"names": ["w"], "shapes": [sides], "dtype": "float32"}
    size = math.prod(sides)
    header = {"spec": spec, "prunable": ["w"], "points": [f"step-{i}" for i in range(points)]}
    resealed(
        file,
        header,
        {
            "values": np.zeros((points, 0), np.float32),
            "dense": np.zeros((points, 0), np.float32),
            "mask": np.zeros((size + 7) // 8, np.uint8),
            "buffers": np.zeros((points, 0)),
            "counters": np.zeros((points, 0), np.int64),
        },
    )


def test_many_points_of_pruned_weights_are_refused_before_they_are_made(file, monkeypatch):
    """All weights pruned, they take no room in the file, and each of the points 4 MB unpacked."""
    claiming(file, 2000, (1000, 1000))
    assert file.stat().st_size < 40_000
    wanted = 2000 * 4 * 10**6 + 4 * 10**6
    monkeypatch.setattr(np, "zeros", lambda *_, **__: pytest.fail("it was made"))
    monkeypatch.setattr(np, "ones", lambda *_, **__: pytest.fail("it was made"))
    message = f"takes {wanted} bytes unpacked; more than {2**32} is refused unless --max-size"
    with pytest.raises(LandscapeError, match=message) as caught:
        read_level(file)
    assert not isinstance(caught.value, DamagedFile)


def test_a_larger_limit_lets_more_be_made(file):
    claiming(file, 1, (10**6,))
    with pytest.raises(LandscapeError, match="takes 8000000 bytes unpacked; more than 7999999 is"):
        read_level(file, limit=7_999_999)
    with pytest.raises(LandscapeError, match="incomplete level file: KeyError"):
        read_level(file, limit=8_000_000)  # it has no final weights


@pytest.mark.parametrize(
    "arrays",
    [
        {"values": np.zeros((1, 1), np.float32)},  # would be spread over all
        {"values": np.zeros((1, 7, 1), np.float32)},
        {"values": np.zeros((1, 7))},
        {"dense": np.zeros((1, 5))},
        {"dense": np.zeros((1, 5), np.int32)},
        {"mask": np.zeros(3, bool)},
        {"mask": np.zeros((3, 1), np.uint8)},
        {"values": np.zeros(7, np.float32)},
    ],
)
def test_arrays_that_numpy_would_bend_are_refused(file, arrays):
    assert int(random_mask().kept_size) == 7
    resealed(file, {}, arrays)
    with pytest.raises(DamagedFile, match=r"level_0003\.h5 is (no readable|an incomplete)"):
        read_level(file)


@pytest.mark.parametrize("digest", [5, None, [1], "../../x"])
def test_origins_are_text_whatever_they_say(file, digest):
    resealed(file, {"origins": {"init": digest}})
    assert read_level(file).origins == {"init": str(digest)}


def test_a_level_of_a_newer_version_names_it(file):
    resealed(file, {"version": [2, 0], "written_by": "3.4"})
    message = r"level_0003\.h5 is of format version 2 and this .* up to 1: it needs landscape 3\.4;"
    with pytest.raises(LandscapeError, match=message) as caught:
        read_level(file)
    assert not isinstance(caught.value, DamagedFile)  # nobody may move it aside


@pytest.mark.parametrize("name", ["values", "mask", "dense", "trace", "buffers", "counters"])
def test_an_array_that_is_missing_or_misshapen_is_refused(file, name):
    resealed(file, {"buffers": [["a", [1], "float32"], ["n", [], "int64"]]}, {name: None})
    with pytest.raises(DamagedFile, match=r"incomplete level file|no readable landscape-level"):
        read_level(file)
    resealed(
        file, {"buffers": [["a", [1], "float32"], ["n", [], "int64"]]}, {name: np.zeros((1, 3))}
    )
    with pytest.raises(DamagedFile, match=r"incomplete level file|no readable landscape-level"):
        read_level(file)


def test_other_formats_are_named(file):
    file.write_bytes(object_image(SPEC, Point(weights(random_mask()))))
    with pytest.raises(
        LandscapeError, match="is a landscape-object file; expected landscape-level"
    ):
        read_level(file)
    file.write_bytes(level_image(level()))
    with pytest.raises(
        LandscapeError, match="is a landscape-level file; expected landscape-object"
    ):
        read_object(file, "0" * 64)


def test_a_missing_file_is_named(file):
    with pytest.raises(LandscapeError, match=r"cannot read .*level_0003\.h5: No such file"):
        read_level(file)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_object_comes_back(file, dtype):
    spec = ParamSpec(SPEC.names, SPEC.shapes, dtype)
    theta = np.random.default_rng(0).standard_normal(spec.size).astype(dtype)
    theta[[0, 1]] = -0.0, np.nan
    point = Point(theta, {"mean": np.ones((2, 1), dtype), "count": np.array(7, np.int64)})
    file.write_bytes(object_image(spec, point))
    assert_same_point(read_object(file, point.digest(spec)), point)


@pytest.mark.parametrize("change", [{"theta": 1}, {"mean": 1}, {"name": "other"}, {"spec": "w2"}])
def test_an_object_under_another_ones_digest_is_refused(file, change):
    """Whole files, sealed as they must be: only their content is another point's."""
    buffers = {"mean": np.ones(2), "count": np.array(7, np.int64)}
    point = Point(np.arange(SPEC.size, dtype=np.float32), buffers)
    digest = point.digest(SPEC)
    spec = ParamSpec(("w1", "b1", "loss", "w2"), SPEC.shapes) if "spec" in change else SPEC
    other = Point(
        point.theta + change.get("theta", 0),
        {change.get("name", "mean"): np.ones(2) + change.get("mean", 0), "count": buffers["count"]},
    )
    file.write_bytes(object_image(spec, other))
    found = other.digest(spec)[:12]
    message = rf"level_0003\.h5 holds the point {found}, not the one it is named after; it was cop"
    with pytest.raises(DamagedFile, match=message):
        read_object(file, digest)
    assert_same_point(read_object(file, other.digest(spec)), other)


THREE = {"names": ["w"], "shapes": [[3]], "dtype": "float32"}


@pytest.mark.parametrize(
    ("header", "arrays", "match"),
    [
        ({"spec": "drop"}, {}, "is no readable landscape-object file: 'spec'"),
        ({"buffers": "drop"}, {}, "is no readable landscape-object file: 'buffers'"),
        ({"buffers": None}, {}, "is no readable landscape-object file"),
        ({"buffers": [["a", [5], "float32"]]}, {}, r"entries for .*'buffers': \(1, 5\)"),
        ({"buffers": [[]]}, {}, "is no readable landscape-object file"),
        ({"spec": {**THREE, "shapes": [[4]]}}, {}, r"entries for {'theta': \(4,\)"),
        ({"spec": {**THREE, "shapes": [[2**62, 2**62]]}}, {}, "entries for {'theta'"),
        ({"spec": {**THREE, "shapes": [[-3]]}}, {}, r"is no readable landscape-object file: .*-3"),
        ({}, {"theta": None}, "entries for {'theta'"),
        ({}, {"theta": np.ones((3, 1), np.float32)}, "entries for {'theta'"),
        ({}, {"theta": np.ones(3)}, r"incomplete object file: .*values that are not float32"),
        ({}, {"extra": np.ones(3)}, "entries for {'theta'"),
        ({}, {"counters": np.zeros((2, 0), int)}, "entries for {'theta'"),
    ],
)
def test_an_incomplete_object_is_refused(file, header, arrays, match):
    header = {
        "format": layout.OBJECT_FORMAT,
        "version": layout.OBJECT_VERSION,
        "spec": THREE,
        "buffers": [],
        **header,
    }
    plain = {
        "theta": np.ones(3, np.float32),
        "buffers": np.zeros((1, 0)),
        "counters": np.zeros((1, 0), int),
        **arrays,
    }
    header = {k: v for k, v in header.items() if v != "drop"}
    plain = {k: v for k, v in plain.items() if v is not None}
    file.write_bytes(seal(header, plain, compress=True))
    with pytest.raises(DamagedFile, match=match):
        read_object(file, "0" * 64)


def test_limits_and_roots_are_passed_down(file):
    point = Point(np.zeros(SPEC.size, np.float32))
    link = file.with_name("link.h5")
    link.symlink_to(file)
    for content, read in (
        (level_image(level()), lambda path, **kw: read_level(path, **kw)),
        (object_image(SPEC, point), lambda path, **kw: read_object(path, point.digest(SPEC), **kw)),
    ):
        file.write_bytes(content)
        size = len(content)
        read(file, limit=size, root=file.parent)
        with pytest.raises(LandscapeError, match=f"has {size} bytes; more than {size - 1} is ref"):
            read(file, limit=size - 1)
        read(link)
        with pytest.raises(LandscapeError, match="is a symbolic link"):
            read(link, root=file.parent)


def test_a_level_file_anywhere_is_a_checkpoint(file):
    made = level()
    file.write_bytes(level_image(made))
    found = file_checkpoint(file)
    assert same(found.theta, made.points["final"].theta)
    assert (found.level, found.part, found.status) == (3, "final", "done")
    assert (found.address, found.home, found.run) == (str(file), None, "")
    assert found.metrics["test_error"] == METRICS["test_error"]
    assert same(found.trace.values, made.trace.values)
    np.testing.assert_array_equal(found.mask.kept, made.mask.kept)
