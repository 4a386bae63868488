"""Joining results of one kind into one dataset; what some of them lack is NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.params import Array
from landscape.data_store.result_file import Result, Variable

CASES = ("pair", "checkpoint", "transition", "surface", "study")  # what a result can be about
PRESENT = "_present"


def join(parts: Sequence[Result]) -> Result:
    """Results along what they are about (``pair``, ``checkpoint`` …), in order.

    Labels of another dimension that differ (another α grid, another split) are united; what a
    result lacks there is NaN, status ``absent`` and empty text, and a coordinate
    ``DIM_present`` (case, DIM) says which of its labels each case has. The record of several
    holds theirs as ``results``.

    Raises `LandscapeError`, naming it, for a variable that cannot be joined: other dimensions,
    units or flags, text beside numbers, a ragged dimension without labels or with one label
    twice, values of no one case that differ.
    """
    if len(parts) == 1:
        return parts[0]
    along = case(parts[0])
    counts = [cases(part, along) for part in parts]
    axes = {dim: _axis(dim, parts) for dim in _dims(parts, along)}
    ragged = [dim for dim, axis in axes.items() if _is_ragged(dim, axis, parts)]
    marks = {f"{dim}{PRESENT}" for dim in ragged}
    variables = {
        name: _joined(name, along, parts, counts, axes)
        for name in _names(parts)
        if name not in marks
    }
    for dim in ragged:
        variables[f"{dim}{PRESENT}"] = _present((along, dim), axes[dim], parts, counts)
    return Result(_record(parts), variables)


@dataclass(frozen=True, eq=False)
class _Axis:
    """A dimension of the whole.

    Parameters
    ----------
    labels
        The union of the parts' labels, or just numbers where none has any.
    places
        Where the entries of each part stand in it; None for a part that has all in this order.
    """

    labels: Array
    places: Sequence[Array | None]


def case(part: Result) -> str:
    """The dimension of what a result is about: the one of `CASES` it labels.

    Raises `LandscapeError` if there is none.
    """
    for name in CASES:
        labels = part.variables.get(name)
        if labels is not None and labels.dims == (name,):
            return name
    raise LandscapeError(
        f"a result without labels of {', '.join(map(repr, CASES))} cannot be joined"
    )


def cases(part: Result, along: str) -> int:
    """How many a result is about; raises `LandscapeError` if they have no labels."""
    labels = part.variables.get(along)
    if labels is None or labels.dims != (along,):
        raise LandscapeError(f"a result without labels of {along!r} cannot be joined")
    return labels.values.size


def _names(parts: Sequence[Result]) -> list[str]:
    """Names of all variables, in order of first use."""
    return list(dict.fromkeys(name for part in parts for name in part.variables))


def _dims(parts: Sequence[Result], along: str) -> list[str]:
    """All dimensions but the one joined along."""
    found = dict.fromkeys(v.dims for part in parts for v in part.variables.values())
    return [dim for dim in dict.fromkeys(d for dims in found for d in dims) if dim != along]


def _size(part: Result, dim: str) -> int | None:
    """Length of a dimension in one part, None if it has it not."""
    sizes = (v.values.shape[v.dims.index(dim)] for v in part.variables.values() if dim in v.dims)
    return next(sizes, None)


def _axis(dim: str, parts: Sequence[Result]) -> _Axis:
    """A dimension with the labels of all parts."""
    own = [part.variables[dim].values if dim in part.variables else None for part in parts]
    seen = {(v.dtype.str, v.tobytes()): v for v in own if v is not None}
    sizes = [_size(part, dim) for part, v in zip(parts, own, strict=True) if v is None]
    bare = {size for size in sizes if size is not None}
    if not seen and len(bare) == 1:
        lacking = [_size(part, dim) is None for part in parts]
        return _Axis(np.arange(bare.pop()), [np.arange(0) if no else None for no in lacking])
    if bare:
        raise LandscapeError(
            f"dimension {dim!r} has entries without labels that differ between the results; such "
            "results cannot be joined: ask for fewer"
        )
    labels = _union(dim, list(seen.values()))
    places = {key: _places(dim, values, labels) for key, values in seen.items()}
    return _Axis(
        labels,
        [np.arange(0) if v is None else places[v.dtype.str, v.tobytes()] for v in own],
    )


def _union(dim: str, labels: Sequence[Array]) -> Array:
    """The union of labels: numbers sorted, text in order of first use."""
    if len(labels) == 1:
        return labels[0]
    _require_one_type(dim, labels)
    together = np.concatenate(labels)
    if together.dtype.kind == "U":
        return np.array(list(dict.fromkeys(together.tolist())), dtype=together.dtype)
    return np.unique(together)


def _places(dim: str, own: Array, united: Array) -> Array | None:
    """Where labels stand in the union, None if they are all of it in its order."""
    if own is united or np.array_equal(own, united):
        return None
    order = np.argsort(united, kind="stable")
    places = order[np.searchsorted(united, own, sorter=order)]
    if len(set(places.tolist())) != len(places):
        raise LandscapeError(
            f"dimension {dim!r} has a label twice in one of the results; such results cannot be "
            "joined: ask for fewer"
        )
    return places


def _joined(
    name: str,
    along: str,
    parts: Sequence[Result],
    counts: Sequence[int],
    axes: Mapping[str, _Axis],
) -> Variable:
    """One variable of all parts."""
    found = [part.variables.get(name) for part in parts]
    there = [one for one in found if one is not None]
    first = there[0]
    _require_one_kind(name, along, there)
    if first.dims == (name,) and name != along:
        return Variable(first.dims, axes[name].labels, first.attrs, first.is_coordinate)
    if along not in first.dims:
        return _common(name, along, there)
    own = [axes[dim] for dim in first.dims[1:]]
    if len(there) == len(parts) and all(p is None for axis in own for p in axis.places):
        values = np.concatenate([one.values for one in there])
        return Variable(first.dims, values, first.attrs, first.is_coordinate)
    values = _unknown(name, there, (sum(counts), *(len(axis.labels) for axis in own)))
    start = 0
    for i, (one, count) in enumerate(zip(found, counts, strict=True)):
        if one is not None:
            places = [axis.places[i] for axis in own]
            at = [
                np.arange(size) if place is None else place
                for place, size in zip(places, values.shape[1:], strict=True)
            ]
            values[np.ix_(np.arange(start, start + count), *at)] = one.values
        start += count
    return Variable(first.dims, values, first.attrs, first.is_coordinate)


def _require_one_kind(name: str, along: str, found: Sequence[Variable]) -> None:
    """Raise unless a variable means the same in all parts that have it."""
    first = found[0]
    if along in first.dims[1:]:
        raise LandscapeError(f"{name!r} has dims {first.dims}; {along!r} must be the first")
    for one in found:
        if one.dims is first.dims and one.attrs is first.attrs:  # of one kept table
            continue
        if one.dims != first.dims:
            raise LandscapeError(
                f"{name!r} has dims {first.dims} in one result and {one.dims} in another; ask for "
                "one kind of them"
            )
        for key in ("units", "flag_meanings"):
            if one.attrs.get(key) != first.attrs.get(key):
                raise LandscapeError(
                    f"{name!r} has {key} {first.attrs.get(key)!r} in one result and "
                    f"{one.attrs.get(key)!r} in another; ask for one kind of them"
                )
    _require_one_type(name, [one.values for one in found])


def _require_one_type(name: str, arrays: Sequence[Array]) -> None:
    """Raise if some arrays are text and others numbers."""
    if len({dtype.kind == "U" for dtype in {values.dtype for values in arrays}}) > 1:
        raise LandscapeError(
            f"{name!r} is text in one result and a number in another; ask for one kind of them"
        )


def _common(name: str, along: str, found: Sequence[Variable]) -> Variable:
    """A variable of no one case, which must be the same everywhere."""
    first = found[0]
    for one in found[1:]:
        text = first.values.dtype.kind == "U"
        if not np.array_equal(one.values, first.values, equal_nan=not text):
            raise LandscapeError(
                f"{name!r} differs between the results and has no {along!r} to tell them apart; "
                "ask for fewer of them"
            )
    return first


def _unknown(name: str, found: Sequence[Variable], shape: tuple[int, ...]) -> Array:
    """An array that says everywhere that nothing is known."""
    first = found[0]
    dtype = np.result_type(*(one.values.dtype for one in found))
    size = math.prod(shape) * dtype.itemsize
    if size > SIZE_LIMIT:
        raise LandscapeError(
            f"{name!r} of all these results takes {size} bytes, as their labels differ; more than "
            f"{SIZE_LIMIT} is refused: ask for fewer of them"
        )
    if "flag_meanings" in first.attrs:
        meanings = str(first.attrs["flag_meanings"]).split()
        if "absent" not in meanings:
            raise LandscapeError(
                f"{name!r} has no flag 'absent' for what some of the results lack; ask for results "
                "of one shape"
            )
        return np.full(shape, meanings.index("absent"), dtype)
    if dtype.kind == "U":
        return np.full(shape, "", dtype)
    return np.full(shape, np.nan, np.result_type(dtype, np.float32))


def _is_ragged(dim: str, axis: _Axis, parts: Sequence[Result]) -> bool:
    """True if some part lacks labels of a dimension, now or since it was joined itself."""
    return any(place is not None and len(place) < len(axis.labels) for place in axis.places) or any(
        f"{dim}{PRESENT}" in part.variables for part in parts
    )


def _present(
    dims: tuple[str, str], axis: _Axis, parts: Sequence[Result], counts: Sequence[int]
) -> Variable:
    """Which labels of a ragged dimension, the second of `dims`, each case has."""
    mark = f"{dims[1]}{PRESENT}"
    values = np.zeros((sum(counts), len(axis.labels)), dtype=np.int8)
    start = 0
    for part, place, count in zip(parts, axis.places, counts, strict=True):
        known = part.variables.get(mark)
        if known is not None and known.dims != dims:
            raise LandscapeError(f"{mark!r} has dims {known.dims}; expected {dims}")
        at = slice(None) if place is None else place
        values[start : start + count, at] = 1 if known is None else known.values
        start += count
    attrs = {"long_name": f"1 where the result has this {dims[1]}", "units": "1"}
    return Variable(dims, values, attrs, is_coordinate=True)


def _record(parts: Sequence[Result]) -> str:
    """The records of several results in one; empty if one of them has none."""
    if not all(part.record for part in parts):
        return ""
    kind = json.dumps(json.loads(parts[0].record)["kind"])
    return f'{{"kind": {kind}, "results": [{", ".join(part.record for part in parts)}]}}'
