"""ParamSpec: flat vectors and tensors, differences in words, digests."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import ParamSpec, array_digest

SPEC = ParamSpec(("w", "b", "gain"), ((2, 3), (2,), ()))


def tensors(spec=SPEC, start=0.0):
    vector = start + np.arange(spec.size, dtype=spec.dtype)
    return spec.unflatten(vector), vector


def test_a_vector_holds_the_tensors_in_order_row_by_row():
    state = {
        "gain": np.float32(9),
        "b": np.array([7, 8], np.float32),
        "w": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    }
    assert list(SPEC.flatten(state)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert SPEC.size == 9
    assert SPEC.slices == {"w": slice(0, 6), "b": slice(6, 8), "gain": slice(8, 9)}
    assert SPEC.shape("b") == (2,)


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=5),
    st.sampled_from(["float32", "float64"]),
)
def test_unflatten_inverts_flatten(shapes, dtype):
    spec = ParamSpec(tuple(f"t{i}" for i in range(len(shapes))), tuple(shapes), dtype)
    state, vector = tensors(spec)
    assert [state[name].shape for name in spec.names] == shapes
    again = spec.flatten(state)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, vector)


def test_flatten_copies_and_unflatten_does_not():
    state, vector = tensors()
    assert all(np.shares_memory(tensor, vector) for tensor in state.values())
    assert not np.shares_memory(SPEC.flatten(state), vector)


def test_flatten_reads_any_memory_order():
    state, vector = tensors()
    state["w"] = np.asfortranarray(state["w"])
    np.testing.assert_array_equal(SPEC.flatten(state), vector)


def test_flatten_keeps_nan_and_the_sign_of_zero():
    spec = ParamSpec(("w",), ((3,),))
    flat = spec.flatten({"w": np.array([np.nan, -0.0, np.inf], np.float32)})
    assert np.isnan(flat[0])
    assert np.signbit(flat[1])
    assert flat[2] == np.inf


def test_flatten_names_a_missing_tensor():
    state, _ = tensors()
    del state["b"]
    with pytest.raises(LandscapeError, match=r"tensor 'b' is missing; expected shape \(2,\)"):
        SPEC.flatten(state)


def test_flatten_names_a_misshapen_tensor():
    state, _ = tensors()
    state["w"] = state["w"].T
    with pytest.raises(LandscapeError, match=r"'w' has shape \(3, 2\); expected \(2, 3\)"):
        SPEC.flatten(state)


@pytest.mark.parametrize("shape", [(8,), (10,), (9, 1)])
def test_unflatten_refuses_a_vector_of_another_length(shape):
    with pytest.raises(LandscapeError, match=r"does not hold these tensors; expected \(9,\)"):
        SPEC.unflatten(np.zeros(shape))


@pytest.mark.parametrize(
    ("names", "shapes", "match"),
    [
        (("w", "w"), ((2,), (2,)), r"got 2 names \(1 unique\) and 2 shapes"),
        (("w",), ((2,), (2,)), r"got 1 names \(1 unique\) and 2 shapes"),
    ],
)
def test_a_spec_has_one_shape_per_unique_name(names, shapes, match):
    with pytest.raises(LandscapeError, match=match):
        ParamSpec(names, shapes)


@pytest.mark.parametrize("dtype", ["float16", "int64", "bfloat16", "<f4", ""])
def test_parameters_are_of_single_or_double_precision(dtype):
    match = f"^parameters are {dtype!r}; expected float32 or float64$"
    with pytest.raises(LandscapeError, match=match):
        ParamSpec(("w",), ((2,),), dtype)
    with pytest.raises(ValueError, match=match):
        ParamSpec.from_json({"names": ["w"], "shapes": [[2]], "dtype": dtype})


@pytest.mark.parametrize(
    ("names", "shapes", "match"),
    [
        ([1], [[2]], "the name of a tensor is no text"),
        (["\ud800"], [[2]], "the name of a tensor is no text"),
        (["w"], [[-2]], "a side of a tensor is no number"),
        (["w"], [[2.0]], "a side of a tensor is no number"),
        (["w"], [[True]], "a side of a tensor is no number"),
    ],
)
def test_a_stranger_s_spec_is_refused(names, shapes, match):
    with pytest.raises(ValueError, match=match):
        ParamSpec.from_json({"names": names, "shapes": shapes, "dtype": "float32"})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (SPEC, ""),
        (
            ParamSpec(("w", "b", "gain"), ((2, 4), (3,), ())),
            "'w' is (2, 3) in the first and (2, 4) in the second",
        ),
        (ParamSpec(("w", "gain"), ((2, 3), ())), "'b' of shape (2,) is not in the second"),
        (
            ParamSpec((*SPEC.names, "head"), (*SPEC.shapes, (5,))),
            "'head' of shape (5,) is not in the first",
        ),
        (ParamSpec(("b", "w", "gain"), ((2,), (2, 3), ())), "the order of the tensors differs"),
        (ParamSpec(SPEC.names, SPEC.shapes, "float64"), "the first is float32, the second float64"),
    ],
)
def test_the_first_difference_in_words(other, words):
    assert SPEC.mismatch(other).startswith(words)
    assert bool(SPEC.mismatch(other)) == bool(words) == (other != SPEC)


def test_json_round_trip():
    record = json.loads(json.dumps(SPEC.to_json()))
    assert ParamSpec.from_json(record) == SPEC
    assert ParamSpec.from_json(record).digest == SPEC.digest


def test_digests_tell_specs_apart():
    specs = [
        SPEC,
        ParamSpec(SPEC.names, SPEC.shapes, "float64"),
        ParamSpec(("w", "b", "bias"), SPEC.shapes),
        ParamSpec(SPEC.names, ((3, 2), (2,), ())),
        ParamSpec(("b", "w", "gain"), ((2,), (2, 3), ())),
    ]
    assert len({spec.digest for spec in specs}) == len(specs)


def test_the_digest_of_a_spec_is_fixed():
    record = '{"names": ["w"], "shapes": [[2, 3]], "dtype": "float32"}'
    spec = ParamSpec(("w",), ((2, 3),))
    assert spec.digest == hashlib.sha256(record.encode()).hexdigest()


def test_array_digest_by_its_definition():
    array = np.array([[1, 2], [3, 4]], "<f4")
    parts = b"<f4(2, 2)" + array.tobytes() + b"\0" + b"name" + b"\0" + b"\x01" + b"\0"
    assert array_digest(array, "name", b"\x01") == hashlib.sha256(parts).hexdigest()


def test_array_digest_sees_dtype_shape_values_and_order():
    array = np.arange(6, dtype=np.float32)
    digests = {
        array_digest(part)
        for part in (
            array,
            array.reshape(2, 3),
            array.reshape(3, 2),
            array.view(np.int32),
            array.astype(np.float64),
            array[::-1],
            np.where(array == 0, np.float32(-0.0), array),
            array[:0],
        )
    }
    assert len(digests) == 8
    assert array_digest("a", "b") != array_digest("b", "a") != array_digest("ba")


def test_array_digest_does_not_see_memory_order():
    array = np.arange(6.0).reshape(2, 3)
    assert array_digest(array) == array_digest(np.asfortranarray(array))
    assert array_digest(array[:, ::2]) == array_digest(array[:, ::2].copy())
