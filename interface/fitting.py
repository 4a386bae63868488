"""Fitting: tensors of a foreign file as a checkpoint, with a network or without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from landscape.data_store.foreign import checkpoint_from_state
from landscape.data_store.foreign_names import by_order as matched_by_order
from landscape.data_store.foreign_names import named_as
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint

if TYPE_CHECKING:
    from torch import nn


def onto_network(
    module: nn.Module,
    state: Mapping[str, Array],
    address: str,
    masks: Mapping[str, Array] | None = None,
    *,
    by_order: bool = False,
) -> Checkpoint:
    """A state dict as a checkpoint of a network.

    Parameters
    ----------
    module
        Declares names, shapes and dtypes; its weights do not matter.
    state, address, masks
        As `landscape.data_store.foreign.checkpoint_from_state` takes them.
    by_order
        Match tensors of other names by position, as
        `landscape.data_store.foreign_names.by_order` does.

    Raises `LandscapeError` as these do, `UsageError` for a network of several dtypes.
    """
    from landscape.training.models import buffer_values, parameter_spec

    if by_order:
        declared = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        state = matched_by_order(state, declared, address)
    buffers = {
        name: (tuple(array.shape), array.dtype.name)
        for name, array in buffer_values(module).items()
    }
    return checkpoint_from_state(state, parameter_spec(module), buffers, address, masks)


def without_network(state: Mapping[str, Array], address: str) -> Checkpoint:
    """The floating-point tensors of two or more axes of a state dict, in its order, as float32.

    What there is to compare of masks where no network is known.
    """
    found = named_as(state, None, address)
    named = {k: v for k, v in found.state.items() if v.dtype.kind == "f" and v.ndim >= 2}
    spec = ParamSpec(tuple(named), tuple(v.shape for v in named.values()), "float32")
    stated = {name: mask for name, mask in found.masks.items() if name in named}
    return checkpoint_from_state(named, spec, {}, address, stated)
