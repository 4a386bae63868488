"""ParamSpec: the order, names and shapes that make a flat vector a set of tensors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from landscape.data_store.errors import LandscapeError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ParamSpec:
    """Names and shapes of tensors in the order in which a flat vector holds them.

    Parameters
    ----------
    names
        Unique tensor names, in order.
    shapes
        One shape per name.
    dtype
        NumPy name of the common dtype: ``float32`` or ``float64``.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes) or len(set(self.names)) != len(self.names):
            raise LandscapeError(
                f"a ParamSpec needs one shape per unique name, got {len(self.names)} names "
                f"({len(set(self.names))} unique) and {len(self.shapes)} shapes"
            )
        if self.dtype not in ("float32", "float64"):
            raise LandscapeError(f"parameters are {self.dtype!r}; expected float32 or float64")

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each tensor lies in the flat vector."""
        places: dict[str, slice] = {}
        start = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            places[name] = slice(start, start + math.prod(shape))
            start += math.prod(shape)
        return places

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor called `name`."""
        return self.shapes[self.names.index(name)]

    def flatten(self, tensors: Mapping[str, Array]) -> Array:
        """One vector (size,) of the tensors in order, in the common dtype; a copy.

        Raises `LandscapeError` naming the first tensor that is missing or misshapen.
        """
        vector = np.empty(self.size, dtype=self.dtype)
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in tensors:
                raise LandscapeError(f"tensor {name!r} is missing; expected shape {shape}")
            tensor = np.asarray(tensors[name])
            if tensor.shape != shape:
                raise LandscapeError(f"tensor {name!r} has shape {tensor.shape}; expected {shape}")
            vector[self.slices[name]] = tensor.reshape(-1)
        return vector

    def unflatten(self, vector: Array) -> dict[str, Array]:
        """Views of `vector` (size,), one per tensor, in order."""
        if vector.shape != (self.size,):
            raise LandscapeError(
                f"a vector of shape {vector.shape} does not hold these tensors; "
                f"expected ({self.size},)"
            )
        return {
            name: vector[self.slices[name]].reshape(shape)
            for name, shape in zip(self.names, self.shapes, strict=True)
        }

    def mismatch(self, other: ParamSpec) -> str:
        """The first difference to `other` in words, empty when both are the same."""
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in other.names:
                return f"{name!r} of shape {shape} is not in the second"
            if other.shape(name) != shape:
                return f"{name!r} is {shape} in the first and {other.shape(name)} in the second"
        for name in other.names:
            if name not in self.names:
                return f"{name!r} of shape {other.shape(name)} is not in the first"
        if self.names != other.names:
            return f"the order of the tensors differs: {self.names[:3]}… and {other.names[:3]}…"
        if self.dtype != other.dtype:
            return f"the first is {self.dtype}, the second {other.dtype}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec; `from_json` reads it back."""
        return {
            "names": list(self.names),
            "shapes": [list(shape) for shape in self.shapes],
            "dtype": self.dtype,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ParamSpec:
        """The spec that `to_json` wrote; raises ValueError or TypeError for a stranger's."""
        names, shapes = tuple(record["names"]), tuple(map(tuple, record["shapes"]))
        if not all(isinstance(name, str) and _is_text(name) for name in names):
            raise ValueError(f"the name of a tensor is no text: {repr(names)[:200]}")
        if not all(type(side) is int and side >= 0 for shape in shapes for side in shape):
            raise ValueError(f"a side of a tensor is no number: {repr(shapes)[:200]}")
        try:
            return cls(names, shapes, str(record["dtype"]))
        except LandscapeError as error:
            raise ValueError(str(error)) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names, shapes and dtype, in hex."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()


def _is_text(name: str) -> bool:
    """True if a name can be written: half a surrogate pair cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def array_digest(*parts: Array | bytes | str) -> str:
    """SHA-256 in hex over dtype, shape and bytes of each part; 1.7 GB/s."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()
