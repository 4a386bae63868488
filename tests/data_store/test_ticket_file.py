"""Ticket files: what is exported comes back, bit for bit, or is refused by name."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.image import read_image, seal
from landscape.data_store.level_file import object_image
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint, Point
from landscape.data_store.ticket_file import read_ticket, ticket_image

SPEC = ParamSpec(("w1", "b1", "gain", "w2"), ((3, 4), (4,), (), (2, 4)))
PRUNABLE = ("w1", "w2")
RECORD = {"run": "imp", "task": "digits", "config": {"lr": 0.1, "levels": 3}, "written_by": "0.1.0"}


def random_mask(spec=SPEC, prunable=PRUNABLE, density=0.4, seed=0):
    dense = Mask.dense(spec, prunable)
    drawn = np.random.default_rng(seed).random(spec.size) < density
    return Mask(spec, prunable, drawn | ~dense.covered)


def ticket(mask=None, theta=None, **changes):
    mask = random_mask() if mask is None else mask
    if theta is None:
        draws = np.random.default_rng(1).standard_normal(mask.spec.size)
        theta = mask.apply(draws.astype(mask.spec.dtype))
    made = {
        "buffers": {"bn.mean": np.ones(4, np.float32), "bn.count": np.array(7, np.int64)},
        "address": "imp@3.ticket",
        "level": 3,
        "part": "ticket",
        **changes,
    }
    return Checkpoint(mask.spec, theta, mask, **made)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_checkpoint(got, want):
    assert got.spec == want.spec
    assert same(got.theta, want.theta)
    assert got.mask.prunable == want.mask.prunable
    assert same(got.mask.kept, want.mask.kept)
    assert list(got.buffers) == list(want.buffers)
    assert all(same(got.buffers[name], want.buffers[name]) for name in want.buffers)
    assert got.metrics.keys() == want.metrics.keys()
    np.testing.assert_array_equal(
        [got.metrics[name] for name in want.metrics], list(want.metrics.values())
    )
    assert (got.level, got.part, got.status) == (want.level, want.part, want.status)
    assert got.digest == want.digest


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ticket.h5"


def content(path):
    return read_image(path, format_name=layout.TICKET_FORMAT, version=layout.TICKET_VERSION)


def round_trip(made, file, encoding="survivors"):
    file.write_bytes(ticket_image(made, RECORD))
    got, record = read_ticket(file)
    assert_same_checkpoint(got, made)
    assert (got.address, got.home, got.run, got.trace) == (str(file), None, "", None)
    assert {name: record[name] for name in RECORD} == RECORD
    assert record["digest"] == made.digest
    assert content(file)[0]["encoding"] == encoding


def test_a_ticket_comes_back(file):
    round_trip(ticket(), file)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_nothing_or_everything_pruned(file, density):
    round_trip(ticket(random_mask(density=density)), file)


def test_nothing_prunable_has_no_density(file):
    round_trip(ticket(Mask.dense(SPEC, ())), file)
    assert read_ticket(file)[1]["density"] is None


def test_double_precision(file):
    round_trip(ticket(random_mask(ParamSpec(SPEC.names, SPEC.shapes, "float64"))), file)


def test_a_rewind_point_is_kept_whole(file):
    theta = np.random.default_rng(1).standard_normal(SPEC.size).astype(np.float32)
    round_trip(ticket(theta=theta, part="rewind"), file, "dense")


def test_minus_zero_in_a_pruned_place_is_kept(file):
    mask = random_mask()
    theta = mask.apply(np.ones(SPEC.size, np.float32))
    theta[np.flatnonzero(~mask.kept)[0]] = -0.0
    round_trip(ticket(mask, theta), file, "dense")


def test_a_kept_weight_that_is_zero_stays_kept(file):
    mask = random_mask()
    theta = mask.apply(np.ones(SPEC.size, np.float32))
    theta[np.flatnonzero(mask.kept & mask.covered)[:2]] = 0.0, -0.0
    round_trip(ticket(mask, theta), file)


def test_final_weights_keep_their_metrics_and_status(file):
    metrics = {"test_loss": math.nan, "test_error": 1 / 3}
    round_trip(ticket(part="final", status="diverged", metrics=metrics, level=None), file)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_bits_under_any_mask(tmp_path_factory, data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    spec = ParamSpec(SPEC.names, SPEC.shapes, dtype)
    size = np.dtype(dtype).itemsize * spec.size
    raw = data.draw(st.binary(min_size=size, max_size=size))
    dense = Mask.dense(spec, PRUNABLE)
    kept = dense.kept.copy()
    kept[dense.covered] = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
    mask = Mask(spec, PRUNABLE, kept)
    theta = np.frombuffer(raw, dtype)
    file = tmp_path_factory.mktemp("any") / "a.h5"
    for made in (ticket(mask, theta), ticket(mask, mask.apply(theta))):
        file.write_bytes(ticket_image(made, RECORD))
        assert_same_checkpoint(read_ticket(file)[0], made)


def test_equal_tickets_have_equal_bytes():
    assert ticket_image(ticket(), RECORD) == ticket_image(ticket(), RECORD)
    assert ticket_image(ticket(), RECORD) != ticket_image(ticket(level=2), RECORD)


def test_a_sparse_ticket_is_a_fraction_of_its_weights():
    spec = ParamSpec(("w",), ((200, 500),))
    made = ticket(random_mask(spec, ("w",), 0.2), buffers={})
    assert made.mask.packed().nbytes == 100_000 / 8
    assert len(ticket_image(made, RECORD)) < 0.25 * made.theta.nbytes


def test_flips_and_cuts_are_refused(file):
    whole = ticket_image(ticket(), RECORD)
    draws = np.random.default_rng(0)
    for place in draws.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(draws.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(LandscapeError, match=r"ticket\.h5 is (not|damaged)"):
            read_ticket(file)
    for length in draws.integers(0, len(whole), 20):
        file.write_bytes(whole[:length])
        with pytest.raises(LandscapeError, match=r"ticket\.h5 is (not|damaged)"):
            read_ticket(file)


def resealed(file, header=None, record=None, arrays=None):
    """A ticket with a right SHA-256 and a changed header, record or arrays."""
    file.write_bytes(ticket_image(ticket(), RECORD))
    old, values = content(file)
    changed = {**old, "record": {**old["record"], **(record or {})}, **(header or {})}
    changed["record"] = _without_dropped(changed["record"])
    new = {**values, **(arrays or {})}
    file.write_bytes(seal(_without_dropped(changed), _without_dropped(new), compress=True))


def _without_dropped(values):
    if not isinstance(values, dict):
        return values
    return {k: v for k, v in values.items() if not (isinstance(v, str) and v == "drop")}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"header": {"record": "drop"}}, "is an incomplete ticket file: KeyError"),
        ({"header": {"record": 3}}, "is an incomplete ticket file: TypeError"),
        ({"header": {"points": ["a", "b"]}}, "no readable landscape-ticket file|incomplete"),
        ({"header": {"encoding": "dense"}}, "is an incomplete ticket file"),
        ({"header": {"buffers": [["x", [9], "float32"]]}}, "is no readable landscape-ticket file"),
        ({"header": {"spec": {"names": [1], "shapes": [[1]], "dtype": "float32"}}}, "ticket"),
        ({"record": {"digest": "0" * 64}}, r"holds other weights .* recorded 000000000000\)"),
        ({"record": {"digest": "drop"}}, "has an incomplete record: KeyError"),
        ({"record": {"metrics": [1]}}, "has an incomplete record: AttributeError"),
        ({"record": {"metrics": {"a": "b"}}}, "has an incomplete record: ValueError"),
        ({"record": {"level": "three"}}, "has an incomplete record: ValueError"),
        ({"record": {"level": math.inf}}, "has an incomplete record: OverflowError"),
        ({"record": {"part": "drop"}}, "has an incomplete record: KeyError"),
        ({"arrays": {"mask": "drop"}}, "'mask'"),
        ({"arrays": {"values": np.zeros((1, 3), np.float32)}}, "is an incomplete ticket file"),
    ],
)
def test_what_does_not_fit_together_is_refused(file, changes, match):
    resealed(file, **changes)
    with pytest.raises(LandscapeError, match=match):
        read_ticket(file)


@pytest.mark.parametrize(
    ("names", "sides"), [([1], [[2, 2]]), (["w"], [[-2, -2]]), ([["w"]], [[2, 2]])]
)
def test_tensors_that_cannot_be_are_refused(file, names, sides):
    spec = {"names": names, "shapes": sides, "dtype": "float32"}
    plain = {"values": np.zeros((1, 0)), "mask": np.zeros(0, np.uint8), "dense": np.zeros((1, 4))}
    resealed(file, {"spec": spec, "prunable": [], "buffers": []}, arrays=plain)
    with pytest.raises(LandscapeError, match=r"incomplete|no readable|negative|text"):
        read_ticket(file)


def test_a_claim_of_many_weights_is_refused_before_they_are_made(file, monkeypatch):
    resealed(file, {"spec": {"names": ["w"], "shapes": [[2**40]], "dtype": "float32"}})

    def small_only(shape, *_, **__):
        if np.prod(shape, dtype=float) > 1e6:
            pytest.fail(f"allocates {shape}")
        return np.ndarray(shape, np.uint8)

    for name in ("zeros", "ones", "empty"):
        monkeypatch.setattr(np, name, small_only)
    with pytest.raises(LandscapeError, match=r"ticket\.h5 is no readable"):
        read_ticket(file)


def test_other_formats_and_versions_are_named(file):
    file.write_bytes(object_image(SPEC, Point(np.zeros(SPEC.size, np.float32))))
    with pytest.raises(LandscapeError, match="is a landscape-object file; expected landscape-tick"):
        read_ticket(file)
    resealed(file, {"version": [2, 0], "written_by": "7.1"})
    with pytest.raises(LandscapeError, match=r"format version 2 .* needs landscape 7\.1"):
        read_ticket(file)
    resealed(file, {"version": [1, 9]})
    assert_same_checkpoint(read_ticket(file)[0], ticket())


def test_a_file_over_the_limit_is_refused(file):
    file.write_bytes(ticket_image(ticket(), RECORD))
    with pytest.raises(LandscapeError, match="more than 100 is refused"):
        read_ticket(file, limit=100)


@pytest.mark.parametrize("record", [{"lr": math.nan}, {"data": object()}])
def test_a_record_that_is_no_json_is_refused_when_it_is_written(record):
    with pytest.raises(LandscapeError, match=r"imp@3\.ticket cannot be described in plain JSON"):
        ticket_image(ticket(), record)
