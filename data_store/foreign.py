"""Other people's checkpoint files: tensors in, nothing executed."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")
TORCH_SUFFIXES = (".pt", ".pth")
HEADER_LIMIT = 100_000_000

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF"
_ADVICE = "save the network as torch.save(model.state_dict(), PATH)"
_TORCH_DTYPES = {
    *("float64", "float32", "float16", "bfloat16"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
}
_SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"}
_SAFETENSORS_DTYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def read_state(path: Path, *, size_limit: int = 2**32) -> dict[str, Array]:
    """The tensors of a foreign checkpoint file by name, read without running anything in it.

    A ``.pt`` or ``.pth`` file is a state dict as ``torch.save`` wrote it, plain or under
    ``state_dict``, ``model_state_dict`` or ``model``; a ``.safetensors`` file is one as it is.
    The prefixes ``module.`` and ``_orig_mod.`` are stripped where all names carry one.

    Parameters
    ----------
    path
        File to read.
    size_limit
        Largest file, and largest sum of its tensors, in bytes.

    Returns
    -------
    dict
        Arrays of their own memory. float16 and bfloat16 become float32, which holds them
        exactly; other dtypes stay. Values that are not finite are let through.

    Raises
    ------
    UsageError
        If there is no such file or its suffix is none of these.
    LandscapeError
        If the file is too large, cut, damaged or not what its suffix says, holds anything
        but dense tensors on their own memory, or would have to run code to be read.
    """
    if path.suffix.lower() not in (*TORCH_SUFFIXES, ".safetensors"):
        raise UsageError(
            f"cannot read {str(path)!r}: a foreign checkpoint ends in .pt, .pth or .safetensors"
        )
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    size = path.stat().st_size
    if size > size_limit:
        raise LandscapeError(f"{path} has {size} bytes; the limit is {size_limit}")
    if size == 0:
        raise LandscapeError(f"{path} is empty; expected a checkpoint")
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix.lower() in TORCH_SUFFIXES:
        return _stripped(_read_torch(path, start, size, size_limit))
    return _stripped(_read_safetensors(path, start, size))


def checkpoint_from_state(
    state: Mapping[str, Array],
    spec: ParamSpec,
    buffers: Mapping[str, tuple[tuple[int, ...], str]],
    address: str,
) -> Checkpoint:
    """A checkpoint of the declared network from the tensors of a foreign file.

    Exact zeros, of either sign, of tensors with two or more axes count as pruned. Floating
    numbers are rounded to the network's dtype; a weight that rounds to zero stays kept.

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

    Raises
    ------
    LandscapeError
        Naming the tensor that is missing, unexpected, misshapen, of a dtype that cannot
        become the declared one, or too large for it.
    """
    shapes = dict(zip(spec.names, spec.shapes, strict=True))
    shapes |= {name: shape for name, (shape, _) in buffers.items()}
    _require_names(state, shapes, address)
    for name, shape in shapes.items():
        if state[name].shape != tuple(shape):
            raise LandscapeError(
                f"{name!r} is {state[name].shape} in {address}; the model declares {tuple(shape)}"
            )
    weights = {name: _as_dtype(state[name], spec.dtype, name, address) for name in spec.names}
    rest = {n: _as_dtype(state[n], dtype, n, address) for n, (_, dtype) in buffers.items()}
    mask = Mask.from_zeros(spec, replace(spec, dtype="float64").flatten(state))
    theta = mask.apply(spec.flatten(weights))
    return Checkpoint(spec, theta, mask, buffers=rest, address=address)


def _require_names(state: Mapping[str, Array], declared: Mapping[str, Any], address: str) -> None:
    """Raise, naming what is missing and what is not expected, unless the names agree."""
    missing = [name for name in declared if name not in state]
    unexpected = [name for name in state if name not in declared]
    faults = [
        f"{verb} {', '.join(map(repr, names[:3]))}" + (" …" if len(names) > 3 else "")
        for verb, names in (("lacks", missing), ("has the undeclared", unexpected))
        if names
    ]
    if faults:
        raise LandscapeError(f"{address} does not fit the model: it {' and '.join(faults)}")


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


def _stripped(state: dict[str, Array]) -> dict[str, Array]:
    """The state without the prefixes that all its names carry."""
    for prefix in PREFIXES * 4:  # wrappers nest, but a hostile name might without end
        if all(name.startswith(prefix) and name != prefix for name in state):
            state = {name.removeprefix(prefix): state[name] for name in state}
    return state


def _read_torch(path: Path, start: bytes, size: int, limit: int) -> dict[str, Array]:
    """The state dict of a file of ``torch.save``, by torch's restricted unpickler."""
    if start[4:] == b"\0\0\0\0{":
        raise LandscapeError(f"{path} is a safetensors file; name it .safetensors")
    zipped = start.startswith(_ZIP)
    if zipped:
        _audit_zip(path, size)
    elif not start.startswith(_PICKLE):
        raise LandscapeError(f"{path} is no file of torch.save, as its suffix says")
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own storages and layouts
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a foreign pickle can raise anything
        raise LandscapeError(_refusal(path, str(error))) from None
    tensors = _state_dict(path, loaded)
    _require_own_memory(path, tensors, size)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > limit:
        raise LandscapeError(f"the tensors of {path} take {total} bytes; the limit is {limit}")
    return {name: _copied(tensor) for name, tensor in tensors.items()}


def _audit_zip(path: Path, size: int) -> None:
    """Raise unless a zip is whole, uncompressed, unflipped and no TorchScript.

    torch does not verify the checksums that it writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                raise LandscapeError(f"{path} is a compressed zip; torch.save writes none")
            if any(entry.filename.endswith("/constants.pkl") for entry in entries):
                raise LandscapeError(f"{path} is TorchScript, which is code; {_ADVICE}")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise LandscapeError(f"{path} is cut or damaged: {error}") from None
    if damaged is not None:
        raise LandscapeError(f"{path} is damaged: {damaged!r} in it fails its checksum")


def _refusal(path: Path, reason: str) -> str:
    """Why torch would not load a file, without its advice to run what is in it."""
    refused = re.search(r"GLOBAL (\S+)", reason)
    if not refused:
        return f"{path} is cut, damaged or no file of torch.save"
    return f"{path} holds {refused[1][:100]!r}, which is no tensor and was not run; {_ADVICE}"


def _state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    """The state dict in what torch loaded, plain or in a wrapper."""
    from torch import Tensor
    from torch.nn import Parameter

    if isinstance(loaded, dict):
        inner = (loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict))
        loaded = next(inner, loaded)
    if not isinstance(loaded, dict) or not loaded:
        what = "nothing" if isinstance(loaded, dict) else f"a {type(loaded).__name__}"
        raise LandscapeError(f"{path} holds {what}; {_ADVICE}")
    for name, value in loaded.items():
        if not isinstance(name, str):
            raise LandscapeError(f"{path} has a name of type {type(name).__name__}; {_ADVICE}")
        if type(value) not in (Tensor, Parameter):
            raise LandscapeError(
                f"{name!r} in {path} is of type {type(value).__name__}; expected tensors, "
                f"plain or under {', '.join(map(repr, WRAPPERS))}"
            )
        fault = _fault(value)
        if fault:
            raise LandscapeError(f"{name!r} in {path} is {fault}; expected a dense tensor")
    return loaded


def _fault(tensor: Tensor) -> str:
    """What keeps a tensor from being plain numbers in memory, empty if nothing does."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_nested or str(tensor.layout) != "torch.strided":
        return f"of layout {tensor.layout}"
    if tensor.device.type != "cpu":
        return f"a {tensor.device.type} tensor, without values"
    if str(tensor.dtype).removeprefix("torch.") not in _TORCH_DTYPES:
        return f"of dtype {tensor.dtype}"
    expanded = any(s == 0 and n > 1 for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if expanded or _extent(tensor) < tensor.numel():
        return f"of shape {tuple(tensor.shape)} on less memory than it needs"
    return ""


def _extent(tensor: Tensor) -> int:
    """Number of elements from the first to the last of a tensor in memory."""
    steps = (s * (n - 1) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return 1 + sum(steps) if tensor.numel() else 0


def _require_own_memory(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    """Raise if two different tensors overlap in memory, or all need more than the file has.

    The same tensor under two names (tied weights) may.
    """
    storages = [tensor.untyped_storage() for tensor in tensors.values()]
    claimed = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    if claimed > size:
        raise LandscapeError(f"{path} claims {claimed} bytes of tensors in {size} bytes of file")
    spans = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + _extent(tensor) * tensor.element_size(), name)
        for name, tensor in tensors.items()
        if tensor.numel()
    )
    end, owner = 0, ""
    for start, stop, name in spans:
        if start < end and _place(tensors[name]) != _place(tensors[owner]):
            raise LandscapeError(f"{owner!r} and {name!r} in {path} overlap in memory; {_ADVICE}")
        if stop > end:
            end, owner = stop, name


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Where and how a tensor lies in memory."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _copied(tensor: Tensor) -> Array:
    """The values in an array of their own; half precision as float32."""
    half = str(tensor.dtype) in ("torch.float16", "torch.bfloat16")
    values = (tensor.float() if half else tensor).numpy(force=True)
    return np.array(values, order="C")


def _read_safetensors(path: Path, start: bytes, size: int) -> dict[str, Array]:
    """The tensors of a safetensors file, its header checked twice."""
    if start.startswith((_ZIP, _TORCH_LEGACY)):
        raise LandscapeError(f"{path} is a file of torch.save; name it .pt")
    length = int.from_bytes(start[:8], "little")
    if size < 8 or length > min(HEADER_LIMIT, size - 8):
        raise LandscapeError(
            f"{path} is cut or no safetensors file: {length} bytes of header in {size} bytes"
        )
    try:
        with safe_open(str(path), framework="np"):
            pass  # checks dtypes, shapes and offsets
    except (SafetensorError, OSError) as error:
        raise LandscapeError(f"{path} is cut or no safetensors file: {error}") from None
    with path.open("rb") as file:
        file.seek(8)
        header = json.loads(file.read(length), object_pairs_hook=lambda p: _unique(path, p))
    header.pop("__metadata__", None)
    if not header:
        raise LandscapeError(f"{path} holds no tensor")
    return {name: _from_file(path, name, entry, 8 + length) for name, entry in header.items()}


def _unique(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises if it has a name twice."""
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise LandscapeError(f"{path} holds {name!r} twice")
        entries[name] = value
    return entries


def _from_file(path: Path, name: str, entry: Mapping[str, Any], origin: int) -> Array:
    """One tensor of a checked safetensors file; half precision as float32."""
    kind = entry["dtype"]
    if kind not in _SAFETENSORS_DTYPES:
        known = ", ".join(_SAFETENSORS_DTYPES)
        raise LandscapeError(f"{name!r} in {path} is of dtype {kind}; expected one of {known}")
    begin, end = entry["data_offsets"]
    dtype = np.dtype(_SAFETENSORS_DTYPES[kind])
    flat = np.fromfile(path, dtype, (end - begin) // dtype.itemsize, offset=origin + begin)
    if kind == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    wider = np.float32 if kind == "F16" else flat.dtype.newbyteorder("=")
    shape = entry["shape"]
    try:
        return flat.astype(wider).reshape(shape)
    except (ValueError, OverflowError):
        raise LandscapeError(f"{name!r} in {path} has the impossible shape {shape}") from None
