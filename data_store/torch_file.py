"""Files of torch.save: the tensors of a state dict, read without running anything."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model")

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_ADVICE = "save the network as torch.save(model.state_dict(), PATH)"
_DTYPES = {
    *("float64", "float32", "float16", "bfloat16"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
}


def read_torch(path: Path, start: bytes, size: int, limit: int) -> dict[str, Array]:
    """The state dict of a file of ``torch.save``, by torch's restricted unpickler.

    Parameters
    ----------
    path
        A plain file.
    start
        Its first nine bytes.
    size
        Its size in bytes.
    limit
        Largest sum of its tensors in bytes.

    Raises `LandscapeError` as `landscape.data_store.foreign.read_state` does.
    """
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
        raise LandscapeError(
            f"the tensors of {path} take {total} bytes; more than {limit} is refused unless "
            "--max-size allows it"
        )
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
    if str(tensor.dtype).removeprefix("torch.") not in _DTYPES:
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
