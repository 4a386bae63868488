"""Names of foreign tensors: made those of a network, and masks told from weights."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

PREFIXES = ("module.", "_orig_mod.")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Foreign:
    """Tensors of a foreign checkpoint under a network's names, and the masks it states.

    Parameters
    ----------
    state
        Tensors by name; pruned entries of masked ones are +0.0.
    masks
        Boolean, of its tensor's shape, True where a weight is kept; by tensor name.
    """

    state: Mapping[str, Array]
    masks: Mapping[str, Array]


def named_as(state: Mapping[str, Array], declared: Collection[str] | None, address: str) -> Foreign:
    """The tensors of a foreign file under the names that a network declares.

    Tried in turn, until the names are the declared ones: the file's own; with the prefixes
    ``module.`` and ``_orig_mod.`` that all of them carry stripped, one after another; and in
    each case with masks applied: ``X_orig`` and ``X_mask``, as ``torch.nn.utils.prune`` writes
    them, or ``X`` and ``X_mask`` where ``X`` is declared, become ``X``. If nothing fits, or
    nothing is declared (None), the last.

    Raises `LandscapeError` for a pair that is not complete, or whose mask is of another shape
    or anything but zeros and ones.
    """
    last = Foreign(state, {})
    for names in _strippings(state):
        if declared is not None and set(names) == set(declared):
            return Foreign(names, {})
        last = _merged(names, declared, address)
        if declared is not None and set(last.state) == set(declared):
            break
    return last


def _strippings(state: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    """The state as it is, then without each prefix that all its names carry."""
    yield state
    for prefix in PREFIXES * 4:  # wrappers nest, but a hostile name might without end
        if all(name.startswith(prefix) and name != prefix for name in state):
            state = {name.removeprefix(prefix): state[name] for name in state}
            yield state


def _merged(state: Mapping[str, Array], declared: Collection[str] | None, address: str) -> Foreign:
    """Weights and their masks as one tensor each, and the masks."""
    merged: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    bases = {_base(name, state, declared) for name in state} - {""}
    for name, values in state.items():
        base = name.removesuffix("_orig")
        if name.removesuffix("_mask") in bases and name.endswith("_mask"):
            continue
        if base not in bases:
            merged[name] = values
            continue
        mask = state.get(f"{base}_mask")
        if base in merged:
            raise LandscapeError(f"{address} holds both {base!r} and {base + '_orig'!r}")
        if mask is None:
            raise LandscapeError(f"{address} holds {name!r} without {base + '_mask'!r}")
        masks |= as_masks({base: mask}, {base: values.shape}, address)
        merged[base] = np.where(masks[base], values, np.zeros((), dtype=values.dtype))
    for base in bases - masks.keys():
        raise LandscapeError(f"{address} holds {base + '_mask'!r} without {base + '_orig'!r}")
    return Foreign(merged, masks)


def _base(name: str, state: Mapping[str, Array], declared: Collection[str] | None) -> str:
    """The tensor that `name` is a part of under a mask; empty if it is one by itself."""
    for suffix, other in (("_orig", "_mask"), ("_mask", "_orig")):
        base = name.removesuffix(suffix)
        if base == name:
            continue
        if declared is None:
            return base if base + other in state and base not in state else ""
        if base in declared and name not in declared:
            return base
    return ""


def as_masks(masks: Mapping[str, Array], shapes: Shapes, address: str) -> dict[str, Array]:
    """Masks as booleans, their prefixes stripped where all carry one.

    Raises `LandscapeError` naming the first that is of no tensor, of another shape than its
    tensor, or holds anything but zeros and ones.
    """
    fitting = (names for names in _strippings(masks) if set(names) <= set(shapes))
    checked = {}
    for name, mask in next(fitting, masks).items():
        if name not in shapes:
            raise LandscapeError(f"{address} has a mask of {name!r}, which is no parameter")
        if mask.shape != shapes[name]:
            raise LandscapeError(
                f"the mask of {name!r} in {address} is {mask.shape}; its tensor is {shapes[name]}"
            )
        other = mask[(mask != 0) & (mask != 1)]
        if other.size:
            raise LandscapeError(
                f"the mask of {name!r} in {address} holds {other[0]}; expected 0 and 1"
            )
        checked[name] = mask == 1
    return checked


def by_order(state: Mapping[str, Array], declared: Shapes, address: str) -> dict[str, Array]:
    """The tensors under the declared names: by name where there is one, the rest by position.

    `declared` is in the order of the network's own state dict; a warning says what became what.

    Raises `LandscapeError` if the rest differs in number, or in a shape.
    """
    found = named_as(state, declared, address)
    if set(found.state) == set(declared):
        return dict(state)
    if found.masks:
        raise LandscapeError(f"{address} states masks by name; it cannot be matched by order")
    theirs = [name for name in found.state if name not in declared]
    ours = [name for name in declared if name not in found.state]
    if len(theirs) != len(ours):
        raise LandscapeError(
            f"{address} holds {len(theirs)} tensors of other names, and the model declares "
            f"{len(ours)}; only as many can be matched by order"
        )
    for name, own in zip(theirs, ours, strict=True):
        if found.state[name].shape != tuple(declared[own]):
            raise LandscapeError(
                f"{name!r} is {found.state[name].shape} in {address}, and in its place the model "
                f"declares {own!r} of {tuple(declared[own])}; they cannot be matched by order"
            )
    pairs = ", ".join(f"{a!r} as {b!r}" for a, b in zip(theirs, ours, strict=True))
    warnings.warn(f"matched by order in {address}: {pairs}", UserWarning, stacklevel=2)
    renamed = dict(zip(theirs, ours, strict=True))
    return {renamed.get(name, name): values for name, values in found.state.items()}
