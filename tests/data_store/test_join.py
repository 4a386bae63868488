"""Joins against xarray's own concatenation, and what must not be joined."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.data_store import join as joins
from landscape.data_store.errors import LandscapeError
from landscape.data_store.join import join
from landscape.data_store.result_file import Result, Variable
from landscape.data_store.results import with_record
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from tests.support.results import pair, record

REFINED = ["refinement", "refined_alpha", "refined_loss", "refined_error"]
STATUS = {
    "units": "1", "flag_values": np.arange(3, dtype=np.int8), "flag_meanings": "ok odd absent",
}  # fmt: skip
KNOWN = {"alpha": (np.linspace(0, 1, 5), {"units": "1"}), "split": (["train", "test"], {})}


def joined(*parts):
    """Datasets joined, as a dataset."""
    return join([Result.of(part) for part in parts]).dataset()


def by_xarray(parts):
    """The ground truth: xarray's outer concatenation, and by hand what it leaves to floats."""
    whole = xr.concat(
        parts, "pair", data_vars="minimal", coords="minimal", compat="override", join="outer",
        combine_attrs="override",
    )  # fmt: skip
    whole["status"] = whole.status.fillna(2).astype(np.int8)
    if "note" in whole:
        whole["note"] = whole.note.fillna("").astype(np.str_)
    return whole


def present(parts, dim):
    """Which labels of a dimension each pair has, by looking each one up."""
    rows = []
    for part in parts:
        own = set(part[dim].values.tolist()) if dim in part.dims else set()
        rows += [own] * part.sizes["pair"]
    return lambda i, label: int(label in rows[i])


@st.composite
def results(draw):
    """A result like a barrier: labelled dimensions, text, a status, an optional variable."""
    pairs = draw(st.integers(1, 3))
    alpha = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, unique=True))
    split = draw(st.lists(st.sampled_from(["train", "test", "a name"]), min_size=1, unique=True))
    number = st.sampled_from([np.nan, np.inf, -0.0, 1.5, 3.0])
    sizes = {"pair": pairs, "split": len(split), "alpha": len(alpha)}

    def drawn(*dims, of=number):
        shape = [sizes[dim] for dim in dims]
        flat = draw(st.lists(of, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return np.array(flat).reshape(shape)

    text = st.text("abü", max_size=4)
    ds = xr.Dataset(
        {
            "loss": (
                ("pair", "split", "alpha"),
                drawn("pair", "split", "alpha"),
                {"units": "nats"},
            ),
            "best": (("pair", "alpha"), drawn("pair", "alpha"), {"units": "1"}),
            "status": (
                ("pair", "split"),
                drawn("pair", "split", of=st.integers(0, 1)).astype(np.int8),
                STATUS,
            ),
            "distance": ("pair", drawn("pair"), {"units": "1"}),
        },
        {
            "pair": ("pair", [f"p{i}" + draw(text) for i in range(pairs)]),
            "run": ("pair", drawn("pair", of=text).astype(np.str_)),
            "split": ("split", split),
            "alpha": ("alpha", alpha, {"units": "1"}),
        },
    )
    if draw(st.booleans()):
        ds["extra"] = (("pair", "split"), drawn("pair", "split"), {"units": "1"})
    if draw(st.booleans()):
        ds["note"] = ("pair", drawn("pair", of=text).astype(np.str_), {"units": "1"})
    return ds


@given(st.lists(results(), min_size=2, max_size=4))
@settings(deadline=None, max_examples=60)
def test_a_join_is_xarrays_outer_concatenation(parts):
    for i, part in enumerate(parts):
        part["pair"] = [f"{i} {name}" for name in part.pair.values]
    whole, truth = joined(*parts), by_xarray(parts)
    marks = {f"{dim}_present" for dim in ("alpha", "split")} & set(whole.coords)
    assert set(whole.variables) - marks == set(truth.variables)
    assert list(whole.pair.values) == list(truth.pair.values)
    for dim in ("alpha", "split"):
        assert len(set(whole[dim].values)) == len(whole[dim])
        assert set(whole[dim].values) == set(truth[dim].values)
    aligned = truth.sel(alpha=whole.alpha.values, split=whole.split.values)
    for name in truth.variables:
        got, want = whole[name], aligned[name]
        assert got.dims == want.dims
        assert got.dtype.kind == np.asarray(want.values.tolist()).dtype.kind or got.size == 0
        if got.dtype.kind == "f":
            unequal = got.values.view(np.uint64) != want.values.astype(float).view(np.uint64)
            assert np.isnan(got.values[unequal]).all()
            assert np.isnan(want.values[unequal]).all()
        else:
            np.testing.assert_array_equal(got.values, want.values)
        assert got.attrs.keys() == next(p[name] for p in parts if name in p).attrs.keys()


@given(st.lists(results(), min_size=2, max_size=4))
@settings(deadline=None, max_examples=30)
def test_what_was_measured_is_told_from_what_is_absent(parts):
    for i, part in enumerate(parts):
        part["pair"] = [f"{i} {name}" for name in part.pair.values]
    whole = joined(*parts)
    for dim in ("alpha", "split"):
        ragged = len({frozenset(part[dim].values.tolist()) for part in parts}) > 1
        assert (f"{dim}_present" in whole.coords) == ragged
        if ragged:
            mark, expected = whole[f"{dim}_present"], present(parts, dim)
            assert mark.dims == ("pair", dim)
            assert mark.attrs == {"long_name": f"1 where the result has this {dim}", "units": "1"}
            for i in range(mark.sizes["pair"]):
                for j, label in enumerate(whole[dim].values.tolist()):
                    assert int(mark[i, j]) == expected(i, label)


@given(st.lists(results(), min_size=3, max_size=4), st.integers(1, 2))
@settings(deadline=None, max_examples=30)
def test_joining_what_was_joined_is_joining_all(parts, first):
    for i, part in enumerate(parts):
        part["pair"] = [f"{i} {name}" for name in part.pair.values]
    at_once = joined(*parts)
    in_turn = joined(joined(*parts[:first]), joined(*parts[first:]))
    assert set(in_turn.variables) == set(at_once.variables)
    labels = {dim: at_once[dim].values for dim in ("alpha", "split")}
    xr.testing.assert_equal(in_turn.sel(labels).drop_attrs(), at_once.drop_attrs())


def test_the_same_labels_in_another_order_are_put_in_order():
    there, back = pair("a b"), pair("b c").isel(split=[1, 0], alpha=slice(None, None, -1))
    whole = joined(there, back)
    assert "split_present" not in whole.coords
    assert "alpha_present" not in whole.coords
    for name in there.data_vars:
        want = (
            back.sel(split=there.split.values)[name].sel(alpha=there.alpha.values)
            if "alpha" in back[name].dims
            else back[name]
        )
        if "split" in want.dims:
            want = want.sel(split=there.split.values)
        np.testing.assert_array_equal(whole[name].sel(pair="b c"), want.isel(pair=0))


def test_one_result_is_joined_to_itself():
    result = Result.of(pair())
    assert join([result]) is result


def test_joined_pairs_keep_their_numbers():
    parts = [pair(f"imp@{i} imp@{i + 1}", shift=i / 100) for i in range(3)]
    whole = joined(*parts)
    BARRIER.validate(whole)
    assert list(whole.pair.values) == ["imp@0 imp@1", "imp@1 imp@2", "imp@2 imp@3"]
    assert whole.attrs == {}
    for i, part in enumerate(parts):
        for name in part.data_vars:
            np.testing.assert_array_equal(whole[name].isel(pair=i), part[name].isel(pair=0))
            assert whole[name].dtype == part[name].dtype
            assert whole[name].attrs.keys() == part[name].attrs.keys()


def test_points_of_another_grid_are_unknown():
    fine, coarse = pair("a b"), pair("b c").isel(alpha=[0, 2, 4])
    for parts in ([fine, coarse], [coarse, fine]):
        whole = joined(*parts)
        BARRIER.validate(whole)
        assert list(whole.alpha.values) == [0, 0.25, 0.5, 0.75, 1]
        for name in ("loss", "loss_se", "error", "error_se"):
            row = whole[name].sel(pair="b c")
            assert np.isnan(row.sel(alpha=[0.25, 0.75])).all()
            np.testing.assert_array_equal(row.sel(alpha=[0, 0.5, 1]), coarse[name].isel(pair=0))
            np.testing.assert_array_equal(whole[name].sel(pair="a b"), fine[name].isel(pair=0))
        assert whole.alpha_present.sel(pair="b c").values.tolist() == [1, 0, 1, 0, 1]
        assert (whole.alpha_present.sel(pair="a b") == 1).all()
        assert (whole.status == 0).all()  # what was measured is whole
        assert whole.status.dtype == np.int8


def test_a_split_that_one_lacks_is_absent():
    both, test = pair("a b"), pair("b c", split=["test"])
    for parts in ([both, test], [test, both]):
        whole = joined(*parts)
        BARRIER.validate(whole)
        assert set(whole.split.values) == {"train", "test"}
        status = whole.status.sel(pair="b c")
        meanings = whole.status.attrs["flag_meanings"].split()
        assert meanings[int(status.sel(split="train"))] == "absent"
        assert meanings[int(status.sel(split="test"))] == "ok"
        assert (whole.status.sel(pair="a b") == 0).all()
        assert np.isnan(whole.loss_barrier.sel(pair="b c", split="train")).all()
        np.testing.assert_array_equal(
            whole.loss_barrier.sel(pair="b c", split="test"),
            test.loss_barrier.isel(pair=0, split=0),
        )


def test_a_status_other_than_ok_survives_a_join():
    bad, test = pair("a b"), pair("b c", split=["test"])
    bad.status.values[0] = [1, 2]
    whole = joined(test, bad).sel(pair="a b")
    assert [int(whole.status.sel(split=s)) for s in ("train", "test")] == [1, 2]


def test_refined_and_plain_results_are_joined():
    refined, plain = pair("a b"), pair("b c").drop_vars(REFINED)
    for parts in ([refined, plain], [plain, refined]):
        whole = joined(*parts)
        BARRIER.validate(whole)
        assert np.isnan(whole.refined_loss.sel(pair="b c")).all()
        assert (whole.refinement_present.sel(pair="b c") == 0).all()
        assert (whole.refinement_present.sel(pair="a b") == 1).all()
        np.testing.assert_array_equal(
            whole.refined_loss.sel(pair="a b"), refined.refined_loss.isel(pair=0)
        )


def test_overlaps_of_other_layers_are_joined():
    a = pair("a b", OVERLAP)
    b = pair("b c", OVERLAP, layer=["all", "fc2.weight"])
    whole = joined(a, b)
    OVERLAP.validate(whole)
    assert int(whole.status.sel(pair="b c", layer="fc1.weight")) == 2
    assert (whole.status.sel(pair="a b") == 0).all()
    assert np.isnan(whole.jaccard.sel(pair="b c", layer="fc1.weight"))


def test_labels_that_are_unknown_stay_one_label():
    a, b = pair("a b").isel(alpha=[0, 1]), pair("b c").isel(alpha=[0, 1, 2])
    a = a.assign_coords(alpha=("alpha", [0.5, np.nan], a.alpha.attrs))
    b = b.assign_coords(alpha=("alpha", [np.nan, 0.0, 0.5], b.alpha.attrs))
    whole = joined(a, b)
    np.testing.assert_array_equal(whole.alpha, [0.0, 0.5, np.nan])
    np.testing.assert_array_equal(whole.loss.values[0, 0], [np.nan, *a.loss.values[0, 0]])
    np.testing.assert_array_equal(whole.loss.values[1, 0], b.loss.values[0, 0, [1, 2, 0]])


def test_records_are_kept_and_one_without_leaves_none():
    records = [record(level=level) for level in range(2)]
    parts = [Result.of(with_record(pair(f"p{i}"), r)) for i, r in enumerate(records)]
    assert json.loads(join(parts).record) == {"kind": "barrier", "results": records}
    assert join([*parts, Result.of(pair("c"))]).record == ""


# What must not be joined.


def plain(values=(1.0,), dims=("pair", "x"), name="v", attrs=None, labels=None, **more):
    """A small result with one variable."""
    shape = [1] * (len(dims) - 1) + [len(values)] if dims else []
    array = np.array(values).reshape(shape) if dims else np.array(values[0])
    variables = {
        "pair": Variable(("pair",), np.array(["a b"]), {}, True),
        name: Variable(dims, array, {"units": "1"} if attrs is None else attrs, False),
        **more,
    }
    if labels is not None:
        variables["x"] = Variable(("x",), np.array(labels), {}, True)
    return Result("", variables)


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (
            [plain(), plain(dims=("pair", "y"))],
            r"^'v' has dims \('pair', 'x'\) in one result and \('pair', 'y'\) in another; ask for",
        ),
        (
            [plain(), plain(attrs={"units": "nats"})],
            r"^'v' has units '1' in one result and 'nats' in another; ask for one kind of them$",
        ),
        (
            [plain([0.5], labels=[0.0]),
             Result("", {**plain([0.5], labels=[0.0]).variables,
                         "x": Variable(("x",), np.array([0.0]), {"units": "m"}, True)})],
            r"^'x' has units None in one result and 'm' in another",
        ),
        (
            [plain(attrs={"flag_meanings": "ok absent"}),
             plain(attrs={"flag_meanings": "ok b absent"})],
            r"^'v' has flag_meanings 'ok absent' in one result and 'ok b absent' in another",
        ),
        (
            [plain(attrs={"flag_meanings": "ok"}, labels=[0.0]),
             plain(attrs={"flag_meanings": "ok"}, labels=[1.0])],
            r"^'v' has no flag 'absent' for what some of the results lack; ask for results of one",
        ),
        ([plain([1.0]), plain(["a"])], r"^'v' is text in one result and a number in another; ask"),
        ([plain(labels=[1.0]), plain(labels=["a"])], r"^'x' is text in one result and a number in"),
        (
            [plain([1.0]), plain([1.0, 2.0])],
            r"^dimension 'x' has entries without labels that differ between the results; such",
        ),
        ([plain(labels=[0.0]), plain()], r"^dimension 'x' has entries without labels that differ"),
        (
            [plain([1.0, 2.0], labels=[0.0, 0.0]), plain(labels=[1.0])],
            r"^dimension 'x' has a label twice in one of the results; such results cannot be join",
        ),
        (
            [plain([1.0, 2.0], labels=["a", "a"]), plain(labels=["b"])],
            r"^dimension 'x' has a label twice in one of the results",
        ),
        (
            [plain([1.0], dims=()), plain([2.0], dims=())],
            r"^'v' differs between the results and has no 'pair' to tell them apart; ask for fewer",
        ),
        (
            [plain([1.0], dims=("x",), labels=[0.0]),
             plain([1.0, 2.0], dims=("x",), labels=[0.0, 1.0])],
            r"^'v' differs between the results and has no 'pair'",
        ),
        ([plain(dims=("x", "pair"))] * 2, r"^'v' has dims \('x', 'pair'\); 'pair' must be the fir"),
        ([Result("", {}), plain()], r"^a result without labels of 'pair'.* cannot be joined$"),
        (
            [Result("", {"pair": Variable(("x",), np.zeros(1), {}, True)})] * 2,
            r"^a result without labels of 'pair', 'checkpoint', .* cannot be joined$",
        ),
        (
            [plain(name="x_present", dims=("pair",), labels=[0.0]), plain(labels=[0.0])],
            r"^'x_present' has dims \('pair',\); expected \('pair', 'x'\)$",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused_by_name(parts, match):
    for order in (parts, parts[::-1]):
        if order is parts or "in one result" not in match:
            with pytest.raises(LandscapeError, match=match):
                join(order)
        else:
            with pytest.raises(LandscapeError, match=r" in one result and .* in another"):
                join(order)


def test_equal_entries_without_labels_are_joined():
    whole = join([plain([1.0, 2.0]), plain([3.0, 4.0])])
    assert whole.variables["v"].values.tolist() == [[1, 2], [3, 4]]
    assert "x_present" not in whole.variables


def test_a_dimension_without_labels_that_one_lacks_is_unknown_there():
    other = plain([5.0], name="w", dims=("pair",))
    whole = join([plain([1.0, 2.0]), other])
    np.testing.assert_array_equal(whole.variables["v"].values, [[1, 2], [np.nan, np.nan]])
    assert whole.variables["x_present"].values.tolist() == [[1, 1], [0, 0]]


def test_equal_texts_of_other_widths_are_the_same():
    wide = Variable((), np.array("ab", dtype="U9"), {}, False)
    narrow = Variable((), np.array("ab", dtype="U2"), {}, False)
    assert str(join([plain(t=wide), plain(t=narrow)]).variables["t"].values) == "ab"


def test_equal_unknowns_are_the_same():
    assert np.isnan(join([plain([np.nan], dims=())] * 2).variables["v"].values)


def test_a_join_that_takes_more_memory_than_files_may_is_refused(monkeypatch):
    monkeypatch.setattr(joins, "SIZE_LIMIT", 63)
    parts = [plain([1.0, 2.0], labels=[0.0, 1.0]), plain([1.0, 2.0], labels=[2.0, 3.0])]
    with pytest.raises(LandscapeError, match=r"^'v' of all these results takes 64 bytes, as their"):
        join(parts)
