"""Files for other people's programs: plain state dicts that remember where they came from."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError
from landscape.data_store.manifest import newer
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint, Point
from landscape.data_store.ticket_file import recorded_checkpoint, whole_record

ENTRY = "landscape.json"
METADATA = "landscape"
TEXT_LIMIT = 100_000_000  # safetensors bounds its header so

_ZIP = b"PK\x03\x04"
_TORCH_SUFFIXES = (".pt", ".pth")
_DECODING = (
    LandscapeError, ValueError, LookupError, TypeError, AttributeError, OverflowError,
    RecursionError,
)  # fmt: skip


class Embedded(TypedDict):
    """What an exported file says beside its tensors.

    Parameters
    ----------
    record
        Where the tensors came from, as plain JSON.
    spec
        Names, order and shapes of the parameters.
    prunable
        Names of the prunable tensors.
    mask
        `Mask.packed`: uint8, eight prunable weights to a byte.
    buffers
        Shape and NumPy dtype name of every buffer, in order.
    """

    record: dict[str, Any]
    spec: ParamSpec
    prunable: tuple[str, ...]
    mask: Array
    buffers: dict[str, tuple[tuple[int, ...], str]]


def torch_image(checkpoint: Checkpoint, record: Mapping[str, Any]) -> bytes:
    """The bytes of a ``.pt`` file that ``model.load_state_dict(torch.load(path))`` takes.

    A plain dict of parameters and buffers, every bit as in the checkpoint: pruned weights of a
    ticket or of final weights are zero, those of ``init`` and ``rewind`` are not. Mask and
    record lie in the zip beside it, as ``archive/landscape.json``, which torch passes over.
    Equal input gives equal bytes under one version of torch.
    """
    import torch

    # torch.tensor copies: views of one vector would each be saved with all of it
    state = {n: torch.tensor(a.reshape(-1)).reshape(a.shape) for n, a in _state(checkpoint).items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        entry = zipfile.ZipInfo(f"{folder}/{ENTRY}")  # dated 1980, as torch dates its own
        archive.writestr(entry, _text(checkpoint, record))
    return buffer.getvalue()


def safetensors_image(checkpoint: Checkpoint, record: Mapping[str, Any]) -> bytes:
    """The bytes of a ``.safetensors`` file with the checkpoint's parameters and buffers.

    Mask and record are the entry ``landscape`` of its metadata. Equal input gives equal bytes.

    Raises `LandscapeError` for what the format cannot hold: a header of more than 100 MB
    (some 600 million prunable weights), a tensor called ``__metadata__`` or by no Unicode.
    """
    state, text = _state(checkpoint), _text(checkpoint, record)
    if "__metadata__" in state:
        raise LandscapeError("safetensors holds no tensor called '__metadata__'; export a .pt file")
    try:
        # one entry only: the library writes several in random order
        return bytes(save(state, {METADATA: text}))
    except (SafetensorError, ValueError) as error:
        raise LandscapeError(
            f"{checkpoint.address} does not fit a safetensors file: {error}; export an .h5 file"
        ) from error


def _state(checkpoint: Checkpoint) -> dict[str, Array]:
    """Parameters, then buffers, by name."""
    tensors = checkpoint.spec.unflatten(checkpoint.theta)
    return {**tensors, **{name: np.asarray(b) for name, b in checkpoint.buffers.items()}}


def _text(checkpoint: Checkpoint, record: Mapping[str, Any]) -> str:
    """What is embedded: record, mask, and the order that a state dict may lose."""
    content = {
        "format": layout.TICKET_FORMAT,
        "version": layout.TICKET_VERSION,
        "written_by": str(record.get("written_by", "")),
        "spec": checkpoint.spec.to_json(),
        "prunable": checkpoint.mask.prunable,
        "mask": base64.b64encode(checkpoint.mask.packed().tobytes()).decode(),
        "buffers": [[n, list(b.shape), b.dtype.name] for n, b in checkpoint.buffers.items()],
        "record": whole_record(checkpoint, record),
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    if len(text) > TEXT_LIMIT:
        raise LandscapeError(
            f"mask and record of {checkpoint.address} take {len(text)} bytes; .pt and "
            f".safetensors files hold up to {TEXT_LIMIT}: export an .h5 file"
        )
    return text


def read_embedded(path: Path, *, limit: int = TEXT_LIMIT) -> Embedded | None:
    """What `torch_image` or `safetensors_image` embedded in a file; None if there is nothing.

    Parameters
    ----------
    path
        A ``.pt``, ``.pth`` or ``.safetensors`` file; others have nothing embedded. Nothing in
        it is executed and no tensor is read.
    limit
        Largest embedded text, or safetensors header, in bytes.

    Raises `LandscapeError`, naming the file, if it cannot be read, is cut, is of a newer
    format version, or if what is embedded is malformed, too large, or describes more than the
    file can hold.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_TORCH_SUFFIXES, ".safetensors"):
        return None
    find = _zip_entry if suffix in _TORCH_SUFFIXES else _metadata
    if not path.is_file():
        raise LandscapeError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            text = find(file, size, limit)
    except (
        OSError, EOFError, ValueError, RuntimeError, LookupError, AttributeError, struct.error,
        zipfile.BadZipFile, OverflowError, TypeError,
    ) as error:  # fmt: skip
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LandscapeError(f"{path} is cut or damaged: {reason}") from error
    return None if text is None else _parsed(path, text, size)


def _zip_entry(file: BinaryIO, _size: int, limit: int) -> bytes | None:
    """The text in a zip of ``torch.save``; ValueError if it cannot be what was embedded."""
    if file.read(4) != _ZIP:
        return None
    with zipfile.ZipFile(file) as archive:
        found = [e for e in archive.infolist() if e.filename.rpartition("/")[2] == ENTRY]
        if not found:
            return None
        if len(found) > 1:
            raise ValueError(f"it has {len(found)} entries {ENTRY}")
        if found[0].compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its {ENTRY} is compressed")
        if found[0].file_size > limit:
            raise ValueError(f"its {ENTRY} has {found[0].file_size} bytes; the limit is {limit}")
        return archive.read(found[0])


def _metadata(file: BinaryIO, size: int, limit: int) -> bytes | None:
    """The text in a safetensors header; ValueError if there is no such header."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"{length} bytes of header in {size} bytes")
    if length > limit:
        raise ValueError(f"its header has {length} bytes; the limit is {limit}")
    text = json.loads(file.read(length)).get("__metadata__", {}).get(METADATA)
    return None if text is None else text.encode()


def _parsed(path: Path, text: bytes, size: int) -> Embedded:
    """The embedded values, checked against each other and against the size of the file."""
    try:
        content = json.loads(text)
        if content["format"] != layout.TICKET_FORMAT:
            raise ValueError(f"format {str(content['format'])[:40]!r}")
        major = int(content["version"][0])
        known = layout.TICKET_VERSION[0]
        if major <= known:
            return _checked(content, size)
        by = str(content.get("written_by", ""))
    except _DECODING as error:
        raise LandscapeError(
            f"{path} holds a malformed {ENTRY}: {str(error)[:200]}; export it again, or remove "
            "that entry to read the tensors alone"
        ) from error
    raise newer(path, major, known, by)


def _checked(content: Mapping[str, Any], size: int) -> Embedded:
    """The embedded values; raises if they disagree or claim more than `size` bytes."""
    spec = ParamSpec.from_json(content["spec"])
    buffers = {
        str(name): (tuple(map(int, shape)), np.dtype(dtype).name)
        for name, shape, dtype in content["buffers"]
    }
    if min((side for shape, _ in buffers.values() for side in shape), default=0) < 0:
        raise ValueError("a shape is negative")
    claimed = spec.size * np.dtype(spec.dtype).itemsize
    claimed += sum(math.prod(s) * np.dtype(dtype).itemsize for s, dtype in buffers.values())
    if claimed > size:
        raise ValueError(f"it describes {claimed} bytes of tensors in {size} bytes of file")
    prunable = tuple(content["prunable"])
    if prunable != tuple(name for name in spec.names if name in prunable):
        raise ValueError("its prunable tensors are not among its tensors, in their order")
    mask = np.frombuffer(base64.b64decode(content["mask"], validate=True), dtype=np.uint8)
    weights = sum(math.prod(spec.shape(name)) for name in prunable)
    if len(mask) != (weights + 7) // 8:
        raise ValueError(f"a mask of {len(mask)} bytes for {weights} prunable weights")
    return Embedded(
        record=dict(content["record"]), spec=spec, prunable=prunable, mask=mask, buffers=buffers
    )


def restored(path: Path, state: Mapping[str, Array], embedded: Embedded) -> Checkpoint:
    """The checkpoint that was exported to `path`, bit for bit.

    Parameters
    ----------
    path
        Where it was read from: its address now.
    state
        The file's tensors, as `landscape.data_store.foreign.read_state` returns them.
    embedded
        What `read_embedded` found in the file.

    Raises `LandscapeError` if the tensors are not those that were exported with this record.
    """
    spec, buffers = embedded["spec"], embedded["buffers"]
    whole = _named(state, [*spec.names, *buffers])
    try:
        with np.errstate(all="ignore"):  # what a cast spoils has another digest
            theta = spec.flatten(whole)
            rest = {name: whole[name].astype(dtype) for name, (_, dtype) in buffers.items()}
    except (LandscapeError, KeyError) as error:
        raise LandscapeError(f"{path} lacks tensors that its {ENTRY} names: {error}") from error
    mask = Mask.unpack(spec, embedded["prunable"], embedded["mask"])
    return recorded_checkpoint(path, mask, Point(theta, rest), embedded["record"])


def _named(state: Mapping[str, Array], names: list[str]) -> Mapping[str, Array]:
    """The state under `names`, if it lacks no more than a prefix that all of them carry."""
    ends = (0, *(dot.end() for dot in re.finditer(r"\.", names[0]))) if names else (0,)
    for end in ends[:9]:
        if names and all(name[:end] == names[0][:end] and name[end:] in state for name in names):
            return {name: state[name[end:]] for name in names}
    return state
