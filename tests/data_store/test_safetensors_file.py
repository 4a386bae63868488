"""Files of safetensors: headers that lie are refused."""

import json
import struct
import subprocess
import sys

import pytest
from safetensors.torch import save_file

from tests.support.foreign import STATE, refused


@pytest.fixture
def st(tmp_path):
    return tmp_path / "a.safetensors"


def safetensors_bytes(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x10\0", "is cut or no safetensors file"),
        (b"\xff" * 40, "is cut or no safetensors file: 18446744073709551615 bytes of header in 40"),
        (safetensors_bytes({"w": entry()}, bytes(8), 10**9), "1000000000 bytes of header in"),
        (safetensors_bytes({"w": entry()}, bytes(4)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry()}, bytes(12)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(shape=(3,))}, bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(shape=(-2,))}, bytes(8)), "is cut or no safetensors file"),
        (
            safetensors_bytes({"w": entry(), "v": entry(4, 12)}, bytes(12)),
            "is cut or no safetensors file",
        ),
        (
            safetensors_bytes({"w": entry(), "v": entry(12, 20)}, bytes(20)),
            "is cut or no safetensors file",
        ),
        (safetensors_bytes(b"not json", bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes(b'{"w":' * 5000, bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(dtype="F99")}, bytes(8)), "is cut or no safetensors file"),
        (
            safetensors_bytes({"w": entry(dtype="C64", shape=(1,))}, bytes(8)),
            "'w' in .* is of dtype C64; expected one of F64, F32",
        ),
        (
            safetensors_bytes({"w": entry(0, 0, (2**63, 0))}, b""),
            "'w' in .* has the impossible shape",
        ),
        (safetensors_bytes({"__metadata__": {"a": "b"}}), "holds no tensor"),
        (
            safetensors_bytes(
                b'{"w":%b,"w":%b}' % (*[json.dumps(entry()).encode()] * 2,), bytes(8)
            ),
            "holds 'w' twice",
        ),
    ],
)
def test_malformed_safetensors_headers_are_refused(st, content, match):
    st.write_bytes(content)
    refused(st, match)


def test_reading_safetensors_needs_no_torch(st):
    save_file(STATE, st)
    code = (
        "import sys, pathlib; from landscape.data_store.foreign import read_state; "
        f"read_state(pathlib.Path({str(st)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
