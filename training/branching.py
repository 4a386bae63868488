"""Branches: masks and weights carried from a level of one run to the network of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Point
from landscape.training.seeds import stream


def permuted(mask: Mask, seed: int, level: int, *, by_layer: bool) -> Mask:
    """A mask with the same number of kept weights at random places: a random ticket.

    By layer every tensor keeps its count; otherwise layers exchange theirs, as the random tickets
    of Morcos et al. (2019), section 3. `level` is that of the ticket: the masks of two levels are
    independent draws, also of one seed.
    """
    draws = np.random.default_rng(stream(seed, "permuted-mask", level))
    kept = mask.kept.copy()
    if by_layer:
        for name in mask.prunable:
            place = mask.spec.slices[name]
            kept[place] = draws.permutation(kept[place])
    else:
        kept[mask.covered] = draws.permutation(kept[mask.covered])
    return Mask(mask.spec, mask.prunable, kept)


def carried_mask(mask: Mask, spec: ParamSpec, prunable: Iterable[str]) -> Mask:
    """A mask for another network: that of the tensors both prune, all of the others' weights."""
    names = tuple(prunable)
    kept = np.ones(spec.size, dtype=np.bool_)
    for name in set(names) & set(mask.prunable):
        kept[spec.slices[name]] = mask.layer(name)
    return Mask(spec, names, kept)


def carried_point(
    point: Point, old: ParamSpec, fresh: Point, new: ParamSpec, redrawn: Iterable[str]
) -> Point:
    """Weights and buffers for another network, the tensors `redrawn` from its fresh ones."""
    tensors: dict[str, Array] = dict(new.unflatten(fresh.theta))
    for name, values in old.unflatten(point.theta).items():
        if name not in set(redrawn):
            tensors[name] = values
    return Point(new.flatten(tensors), {**fresh.buffers, **point.buffers})


def output_tensors(spec: ParamSpec, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the output layer's weight and bias."""
    weights = [name for name, kind in kinds.items() if kind == "output"]
    biases = [name.removesuffix("weight") + "bias" for name in weights]
    both = dict.fromkeys((*weights, *biases))  # a bias that is pruned is an output tensor already
    return tuple(name for name in both if name in spec.names)


def require_transferable(
    old: tuple[ParamSpec, Point], new: tuple[ParamSpec, Point], redrawn: Iterable[str], ticket: str
) -> None:
    """Raise `UsageError` unless the networks are the same but for the tensors drawn anew.

    Names and shapes of weights and buffers are compared, and the weights' dtype; `ticket` is what
    the message calls the first network.
    """
    if old[0].dtype != new[0].dtype:
        raise UsageError(
            f"{ticket} holds {old[0].dtype} weights and the network of the branch {new[0].dtype} "
            "ones; give the --model it was trained with"
        )
    left = set(redrawn)
    shapes, wanted = _shapes(*old, left), _shapes(*new, left)
    for name in {**shapes, **wanted}:
        if shapes.get(name) != wanted.get(name):
            raise UsageError(
                f"{ticket} does not fit the network of the branch: {name!r} is "
                f"{shapes.get(name, 'not there')}, and {wanted.get(name, 'not there')} is needed; "
                "between tasks only the output layer may differ, so take a network whose other "
                "layers do not depend on the size of the inputs"
            )


def _shapes(spec: ParamSpec, point: Point, left: set[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors and buffers by name, without those `left` out."""
    found = dict(zip(spec.names, spec.shapes, strict=True))
    found |= {name: buffer.shape for name, buffer in point.buffers.items()}
    return {name: shape for name, shape in found.items() if name not in left}
