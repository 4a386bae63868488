"""Hostile files of other programs: pickles that would run code, zips, safetensors."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from landscape.data_store.errors import LandscapeError
from landscape.data_store.foreign import read_state
from landscape.data_store.records import Checkpoint
from tests.support import fuzz_corpus as corpus
from tests.support.fuzz import NAMES, NUMBERS, altered, damaged, json_bytes
from tests.support.fuzz_watch import SIZE_LIMIT, Target

# what a pickle may be told to call; none of these is ever called
_CALLS = (
    ("os", "system", ("touch ../outside/x && touch ran",)),
    ("posix", "system", ("touch ran",)),
    ("builtins", "eval", ("open('../outside/x', 'w')",)),
    ("builtins", "exec", ("import os; os.mkdir('ran')",)),
    ("builtins", "open", ("../outside/x", "w")),
    ("builtins", "getattr", ((), "__class__")),
    ("subprocess", "Popen", (["touch", "ran"],)),
    ("shutil", "rmtree", ("../outside",)),
    ("os", "remove", ("../outside/x",)),
    ("pathlib", "Path", ("x",)),
    ("torch", "load", ("../outside/x",)),
    ("torch.serialization", "load", ("../outside/x",)),
    ("torch.hub", "load_state_dict_from_url", ("http://localhost:9/",)),
    ("torch.jit", "load", ("../outside/x",)),
    ("torch._utils", "_rebuild_tensor_v2", ((), 0, (2**40,), (0,), False, {})),
    ("torch._utils", "_rebuild_meta_tensor_no_storage", ()),
    ("torch._utils", "_rebuild_wrapper_subclass", ()),
    ("torch", "FloatStorage", (2**40,)),
    ("torch", "Size", ((2**40,),)),
    ("torch", "tensor", ([1.0],)),
    ("torch", "device", ("cuda",)),
    ("torch.nn.parameter", "Parameter", ()),
    ("collections", "OrderedDict", ()),
    ("collections", "Counter", ("abc" * 10,)),
    ("numpy._core.multiarray", "scalar", ()),
    ("numpy.core.multiarray", "_reconstruct", ()),
    ("_codecs", "encode", ("x", "latin1")),
    ("socket", "create_connection", (("localhost", 9),)),
    ("webbrowser", "open", ("http://localhost:9/",)),
    ("importlib", "import_module", ("antigravity",)),
    ("ctypes", "CDLL", ("libc.so.6",)),
    ("__main__", "Net", ()),
)  # fmt: skip
_OPCODES = tuple(
    bytes([code])
    for code in b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu}]\x80\x81\x82\x85\x86\x87\x88\x89\x8a"
    b"\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98)"
)  # fmt: skip
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I8", "BOOL", "F8_E4M3", "F4", "C64", "U64", "x", "")


def call(draws: Random) -> bytes:
    """Pickle code that calls something, by one of the opcodes for it."""
    module, name, arguments = draws.choice(_CALLS)
    packed = pickle.dumps(arguments, 2)[2:-1]
    how = draws.randrange(5)
    if how == 0:  # INST
        return b"(" + packed + f"i{module}\n{name}\n".encode()
    if how == 1:  # OBJ
        return b"(c" + f"{module}\n{name}\n".encode() + packed + b"o"
    if how == 2:  # STACK_GLOBAL, NEWOBJ
        words = b"".join(b"\x8c" + bytes([len(w)]) + w.encode() for w in (module, name))
        return words + b"\x93" + packed + draws.choice((b"\x81", b"R"))
    if how == 3:  # BUILD
        return f"c{module}\n{name}\n".encode() + packed + b"b"
    return f"c{module}\n{name}\n".encode() + packed + b"R"


def pickled(draws: Random, code: bytes) -> bytes:
    """Pickle code with calls, opcodes or damage put in; most of the rest stays readable."""
    how = draws.randrange(6)
    at = draws.choice((2, len(code) - 1, draws.randrange(2, len(code))))
    if how == 0:
        return damaged(draws, code, _OPCODES)
    if how == 1:
        return code[:at] + call(draws) + code[at:]
    if how == 2:
        return code[:at] + call(draws) + b"0" + code[at:]
    if how == 3:
        return code[:2] + call(draws) + b"."
    if how == 4:
        return b"\x80" + bytes([draws.randrange(7)]) + call(draws) + code[2:]
    added = b"".join(draws.choice(_OPCODES) for _ in range(draws.randrange(1, 6)))
    return code[:at] + added + code[at:]


def _numbers_in(draws: Random, code: bytes) -> bytes:
    """Pickle code in which some small integers (sizes, offsets, strides) are others."""
    changed = bytearray(code)
    places = [i for i in range(len(code) - 1) if code[i : i + 1] in (b"K", b"M")]
    for place in draws.sample(places, min(len(places), draws.randrange(1, 4))):
        if changed[place : place + 1] == b"K":
            changed[place + 1] = draws.choice((0, 1, 2, 255))
            if draws.random() < 0.3:
                number = int(draws.choice([n for n in NUMBERS if isinstance(n, int)]))
                changed[place : place + 2] = pickle.dumps(number, 2)[2:-1]
    return bytes(changed)


@cache
def saved(*, legacy: bool, wrapped: bool = False) -> bytes:
    """A good file of torch.save."""
    import torch

    spec, theta = corpus.SPEC, corpus.point(3).theta
    state = {name: torch.from_numpy(a.copy()) for name, a in spec.unflatten(theta).items()}
    state["half"] = torch.ones(3, dtype=torch.bfloat16)
    state["count"] = torch.tensor(7)
    state["tied"] = state["fc1.weight"]
    made: Any = {"state_dict": state, "epoch": 3, "name": "x"} if wrapped else state
    buffer = io.BytesIO()
    torch.save(made, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def torch_file(draws: Random) -> bytes:
    """A hostile file of torch.save, as a zip or in the older format."""
    legacy, how = draws.random() < 0.4, draws.randrange(10)
    good = saved(legacy=legacy, wrapped=draws.random() < 0.3)
    if how < 2:
        return damaged(draws, good, _OPCODES)
    if legacy:
        return _legacy(draws, good)
    parts = entries(good)
    name = next(n for n in parts if n.endswith("data.pkl"))
    if how < 7:
        parts[name] = pickled(draws, parts[name])
    elif how < 9:
        parts[name] = _numbers_in(draws, parts[name])
    else:
        victim = draws.choice(list(parts))
        parts[victim] = damaged(draws, parts[victim])
    return _zipped(draws, parts)


def entries(content: bytes) -> dict[str, bytes]:
    """What is in a zip, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(draws: Random, parts: dict[str, bytes]) -> bytes:
    """A zip of entries; now and then with hostile names, twice the same, deflated or lying."""
    buffer = io.BytesIO()
    odd = draws.randrange(20)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            kind = zipfile.ZIP_DEFLATED if odd == 0 else zipfile.ZIP_STORED
            archive.writestr(name, content, kind)
        if odd == 1:
            stranger = draws.choice(NAMES).encode("utf-8", "replace").decode() or "x"
            archive.writestr(f"archive/{stranger}", b"x")
        if odd == 2:
            archive.writestr("archive/constants.pkl", b"\x80\x02).")
        if odd == 3:
            archive.writestr("archive/code/__torch__.py", b"import os; os.mkdir('ran')")
    content = buffer.getvalue()
    if odd == 4:
        place = content.rfind(b"PK\x01\x02")
        return content[: place + 20] + struct.pack("<I", 2**32 - 2) + content[place + 24 :]
    return content


def _legacy(draws: Random, good: bytes) -> bytes:
    """An older file: pickles one after another; one of them is changed."""
    parts, rest = [], io.BytesIO(good)
    for _ in range(5):
        start = rest.tell()
        try:
            _skip(rest)
        except (EOFError, ValueError, pickle.UnpicklingError):
            break
        parts.append(good[start : rest.tell()])
    chosen = draws.randrange(len(parts))
    change = _numbers_in if draws.random() < 0.4 else pickled
    parts[chosen] = change(draws, parts[chosen])
    return b"".join(parts) + good[sum(map(len, parts)) :]


def _skip(file: io.BytesIO) -> None:
    """Go to the end of a pickle without running it."""
    import pickletools

    for opcode, _, _ in pickletools.genops(file):
        if opcode.name == "STOP":
            return


def safetensors_file(draws: Random) -> bytes:
    """A hostile safetensors file: damaged, or its header altered, doubled, or lying of its size."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "landscape": "{}"}}
    body = b""
    for name, array in corpus.SPEC.unflatten(corpus.point(3).theta).items():
        start, body = len(body), body + array.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [start, len(body)],
        }
    how = draws.randrange(10)
    if how < 2:
        text = json.dumps(header).encode()
        return damaged(draws, struct.pack("<Q", len(text)) + text + body)
    if how < 5:
        entry = header[draws.choice([n for n in header if n != "__metadata__"])]
        key = draws.choice(list(entry))
        entry[key] = {
            "dtype": draws.choice(_DTYPES),
            "shape": draws.choice(
                ([], [0], [0, 10**18], [2**63], [-1, -2560], [2560], [40, 64, 1])
            ),
            "data_offsets": draws.choice(([0, 0], [0, len(body)], [4, 10244], [-4, 4], [2**64, 0])),
        }[key]
        content = json.dumps(header).encode()
    else:
        content = json_bytes(draws, altered(draws, header))
    length = len(content) if draws.random() < 0.9 else int(abs(draws.choice((2**63, 0, 7, 10**8))))
    return struct.pack("<Q", length) + content + draws.choice((body, body, body, b"", body * 2))


def fit(state: Any, address: str, masks: Any) -> Checkpoint:
    """A state dict as a checkpoint of the corpus' network."""
    from landscape.data_store.foreign import checkpoint_from_state

    return checkpoint_from_state(state, corpus.SPEC, {}, address, masks)


def _reads(suffix: str) -> Any:
    """Reads a foreign file, with a network and without one."""

    def use(content: bytes, scratch: Path) -> None:
        from landscape.fitting import without_network

        path = scratch / f"model{suffix}"
        path.write_bytes(content)
        state = read_state(path, size_limit=SIZE_LIMIT)
        for array in state.values():
            assert array.nbytes <= SIZE_LIMIT
        assert sum(array.nbytes for array in state.values()) <= SIZE_LIMIT
        try:
            fit(state, "model", None)
        except LandscapeError:
            without_network(state, "model")

    return use


TARGETS = (
    Target("torch", torch_file, _reads(".pt")),
    Target("safetensors", safetensors_file, _reads(".safetensors")),
)
