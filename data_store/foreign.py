"""Other people's checkpoint files: tensors in, nothing executed, names and masks understood."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.foreign_names import Shapes, as_masks, named_as
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint

TORCH_SUFFIXES = (".pt", ".pth")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors")


def read_state(path: Path, *, size_limit: int = SIZE_LIMIT) -> dict[str, Array]:
    """The tensors of a foreign checkpoint file by name, read without running anything in it.

    A ``.pt`` or ``.pth`` file is a state dict as ``torch.save`` wrote it, plain or under
    ``state_dict``, ``model_state_dict`` or ``model``; a ``.safetensors`` file is one as it is.

    Parameters
    ----------
    path
        File to read.
    size_limit
        Largest file, and largest sum of its tensors, in bytes.

    Returns
    -------
    dict
        Arrays of their own memory, names as in the file. float16 and bfloat16 become float32,
        which holds them exactly; other dtypes stay. Values that are not finite are let through.

    Raises
    ------
    UsageError
        If there is no such plain file or its suffix is none of these.
    LandscapeError
        If the file is too large, cut, damaged or not what its suffix says, holds anything
        but dense tensors on their own memory, or would have to run code to be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"cannot read {str(path)!r}: a foreign checkpoint ends in .pt, .pth or .safetensors"
        )
    size = _plain_size(path)
    if size > size_limit:
        raise LandscapeError(
            f"{path} has {size} bytes; more than {size_limit} is refused unless --max-size "
            "allows it"
        )
    if size == 0:
        raise LandscapeError(f"{path} is empty; expected a checkpoint")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise LandscapeError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix.lower() in TORCH_SUFFIXES:
        from landscape.data_store.torch_file import read_torch

        return read_torch(path, start, size, size_limit)
    from landscape.data_store.safetensors_file import read_safetensors

    return read_safetensors(path, start, size)


def _plain_size(path: Path) -> int:
    """Size of a plain file; a pipe or a device is never opened."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a NUL
        raise UsageError(f"there is no file {str(path)!r}") from None
    except OSError as error:
        raise LandscapeError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):
        raise UsageError(f"{path} is no plain file; give a checkpoint file")
    return state.st_size


def checkpoint_from_state(
    state: Mapping[str, Array],
    spec: ParamSpec,
    buffers: Mapping[str, tuple[tuple[int, ...], str]],
    address: str,
    masks: Mapping[str, Array] | None = None,
) -> Checkpoint:
    """A checkpoint of the declared network from the tensors of a foreign file.

    Names are understood as by `named_as`. Where the file or `masks` states no mask, exact
    zeros, of either sign, of tensors with two or more axes count as pruned. Floating numbers
    are rounded to the network's dtype; a weight that rounds to zero stays kept.

    Parameters
    ----------
    state
        Tensors by name, as `read_state` returns them.
    spec
        Parameters of the network.
    buffers
        Shape and NumPy dtype name of each of its buffers.
    address
        Where the state came from, for messages and results.
    masks
        Masks from elsewhere, by parameter name: 0 and 1 of any dtype. Weights that are not
        zero under such a mask are pruned nevertheless, with a warning that counts them.

    Returns
    -------
    Checkpoint
        Of status ``diverged``, with a warning, if a value is not finite.

    Raises
    ------
    LandscapeError
        Naming the tensor that is missing, unexpected, misshapen, of a dtype that cannot
        become the declared one, or too large for it, or the mask that is none.
    """
    own = dict(zip(spec.names, spec.shapes, strict=True))
    declared = own | {name: shape for name, (shape, _) in buffers.items()}
    found = named_as(state, declared, address)
    _require_shapes(found.state, declared, address)
    weights = {name: _as_dtype(found.state[name], spec.dtype, name, address) for name in own}
    rest = {n: _as_dtype(found.state[n], dtype, n, address) for n, (_, dtype) in buffers.items()}
    mask = _mask(found.state, as_masks({**found.masks, **(masks or {})}, own, address), spec)
    theta = spec.flatten(weights)
    hidden = int(np.count_nonzero(theta[~mask.kept]))
    if hidden:
        _warn(f"{address} holds {hidden} weights that its mask prunes; they are set to zero")
    theta = mask.apply(theta)
    finite = _all_finite({**spec.unflatten(theta), **rest}, address)
    status = "done" if finite else "diverged"
    return Checkpoint(spec, theta, mask, buffers=rest, address=address, status=status)


def _mask(state: Mapping[str, Array], stated: Mapping[str, Array], spec: ParamSpec) -> Mask:
    """The mask of a checkpoint: what is stated, zeros elsewhere."""
    zeros = Mask.from_zeros(spec, replace(spec, dtype="float64").flatten(state))
    kept = zeros.kept.copy()
    for name, values in stated.items():
        kept[spec.slices[name]] = values.reshape(-1)
    prunable = tuple(n for n in spec.names if n in zeros.prunable or n in stated)
    return Mask(spec, prunable, kept)


def _require_shapes(state: Mapping[str, Array], declared: Shapes, address: str) -> None:
    """Raise, naming what is missing, not expected or misshapen."""
    missing = [name for name in declared if name not in state]
    unexpected = [name for name in state if name not in declared]
    faults = [
        f"{verb} {', '.join(map(repr, names[:3]))}" + (" …" if len(names) > 3 else "")
        for verb, names in (("lacks", missing), ("has the undeclared", unexpected))
        if names
    ]
    if faults:
        raise LandscapeError(f"{address} does not fit the model: it {' and '.join(faults)}")
    for name, shape in declared.items():
        if state[name].shape != tuple(shape):
            raise LandscapeError(
                f"{name!r} is {state[name].shape} in {address}; the model declares {tuple(shape)}"
            )


def _as_dtype(tensor: Array, dtype: str, name: str, address: str) -> Array:
    """The tensor in the declared dtype: floats rounded, integers only if they stay equal."""
    wanted = np.dtype(dtype)
    declared = f"in {address}; the model declares {wanted}"
    if (tensor.dtype.kind == "f") != (wanted.kind == "f"):
        raise LandscapeError(f"{name!r} is {tensor.dtype} {declared}")
    with np.errstate(over="ignore"):  # found below
        cast = tensor.astype(wanted)
    wrong = np.isfinite(cast) != np.isfinite(tensor) if wanted.kind == "f" else cast != tensor
    if wrong.any():
        raise LandscapeError(f"{name!r} holds {tensor[wrong][0]} {declared}, which cannot hold it")
    return cast


def _all_finite(tensors: Mapping[str, Any], address: str) -> bool:
    """True if all values are finite; otherwise a warning counts them."""
    counts = {name: int(np.count_nonzero(~np.isfinite(t))) for name, t in tensors.items()}
    faults = [f"{count} in {name!r}" for name, count in counts.items() if count]
    if faults:
        more = f" and {len(faults) - 3} more tensors" if len(faults) > 3 else ""
        _warn(f"values of {address} are not finite: {', '.join(faults[:3])}{more}")
    return not faults


def _warn(sentence: str) -> None:
    """Warn the user of something in a file."""
    warnings.warn(sentence, UserWarning, stacklevel=4)  # of who reads the file
