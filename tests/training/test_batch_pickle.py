"""CIFAR's pickles against pickle itself, and against everything a pickle can be made to do."""

from __future__ import annotations

import io
import pickle
import pickletools
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.training.batch_pickle import read_batch
from tests.support.data_files import Python2Pickle, python_batch, records, some


def unpickled(content: bytes) -> dict[bytes, Any]:
    """What Python itself makes of a file that we wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy.core has moved
        batch: dict[bytes, Any] = pickle.loads(content, encoding="bytes")
    return batch


@pytest.mark.parametrize("count", [1, 300, 1001])
@pytest.mark.parametrize("before", [1, 2])
def test_a_batch_is_what_pickle_reads(count: int, before: int) -> None:
    content = python_batch(records(count, 1, before=before), b"labels", before)
    mine, theirs = read_batch(content, "batch"), unpickled(content)
    assert mine.keys() == theirs.keys()
    np.testing.assert_array_equal(mine.pop(b"data"), theirs.pop(b"data"))
    assert mine == theirs


def test_an_array_stored_by_columns_is_read_by_columns() -> None:
    array = np.asfortranarray(some(5, 7))
    content = Python2Pickle().dictionary({b"data": array})
    np.testing.assert_array_equal(read_batch(content, "batch")[b"data"], array)
    np.testing.assert_array_equal(unpickled(content)[b"data"], array)


class Canary:
    """Something whose unpickling runs code."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_trap_a_pickle_that_runs_code_is_refused_and_runs_none(
    tmp_path: Path, protocol: int
) -> None:
    canary = tmp_path / "canary"
    content = pickle.dumps({"data": Canary(Path.touch, canary)}, protocol)
    with pytest.raises(LandscapeError, match=r"it may run code and is refused"):
        read_batch(content, "batch")
    assert not canary.exists()
    pickle.loads(content)  # the canary can sing
    assert canary.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x80\x02cbuiltins\neval\nU\x041+1 \x85R.", "asks for builtins.eval"),
        (b"\x80\x02cnumpy\nload\n.", "asks for numpy.load"),
        (b"\x80\x02cnumpy.core.multiarray\nfromfile\n.", "asks for numpy.core.multiarray.fromfile"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "has the pickle opcode SHORT_BINUNICODE"),
        (b"(S'true'\nios\nsystem\n.", "has the pickle opcode STRING"),
        (b"(ios\nsystem\n.", "has the pickle opcode INST"),
        (b"\x80\x02\x82\x01.", "has the pickle opcode EXT1"),
        (b"\x80\x02U\x01xQ.", "has the pickle opcode BINPERSID"),
        (b"Pname\n.", "has the pickle opcode PERSID"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "has the pickle opcode NEWOBJ"),
        (b"\x80\x02(cnumpy\nndarray\no.", "has the pickle opcode OBJ"),
    ],
)
def test_anything_that_calls_or_names_is_refused_by_name(content: bytes, name: str) -> None:
    with pytest.raises(LandscapeError, match=f"batch {name}, which the official files do not cont"):
        read_batch(content, "batch")


NUMPY = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    "content",
    [
        NUMPY + b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",  # an array of 2^31
        NUMPY + b"cnumpy\ndtype\nK\x00\x85U\x01b\x87R.",
        b"\x80\x02cnumpy\nndarray\n(K\x02K\x02tR.",
        b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.",  # objects
        b"\x80\x02}cnumpy\nndarray\n)R.",
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.",  # attributes for a class
    ],
)
def test_the_admitted_names_make_nothing_but_arrays_of_bytes(content: bytes) -> None:
    with pytest.raises(LandscapeError, match="it builds something else than an array of uint8"):
        read_batch(content, "batch")


def test_an_array_of_another_type_or_size_is_refused() -> None:
    wide = Python2Pickle().dictionary({b"data": some(2, 4).view(np.uint16)})
    with pytest.raises(LandscapeError, match="builds something else than an array of uint8"):
        read_batch(wide, "batch")
    whole = Python2Pickle().dictionary({b"data": some(2, 4)})
    for wrong in (b"K\x03K\x04\x86", b"K\x00K\x04\x86", b"J\xff\xff\xff\xffJ\xf8\xff\xff\xff\x86"):
        content = whole.replace(b"K\x02K\x04\x86", wrong)
        assert content != whole
        with pytest.raises(LandscapeError, match="an array is not of uint8 in two dimensions, or"):
            read_batch(content, "batch")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no whole pickle: pickle exhausted"),
        (b"\x80\x02.", "is no whole pickle: not enough values"),
        (b"\x80\x02K\x01K\x02.", "is no whole pickle: too many values"),
        (b"\x80\x02]q\x01.", "holds a list; expected a dictionary"),
        (b"\x80\x02}(K\x01K\x02u.", "items are set that are not by name in a dictionary"),
        (b"\x80\x02](U\x01aK\x02u.", "items are set that are not by name in a dictionary"),
        (b"\x80\x02}K\x01a.", "values are appended to what is no list"),
        (b"\x80\x02}U\x01au.", "there is no mark"),
        (b"\x80\x02}(U\x01au.", r"is no whole pickle: zip\(\) argument 2 is shorter"),
        (b"\x80\x02}h\x07.", "is no whole pickle: 7"),
        (b"\x80\x02R.", "is no whole pickle: pop from empty list"),
        (b"\x80\x02T\xff\xff\xff\x7fabc", "is no whole pickle: expected 2147483647 bytes"),
        (b"\x80\x02T\xff\xff\xff\xffabc", "is no whole pickle: string4 byte count < 0"),
    ],
)
def test_a_pickle_that_is_no_batch_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(LandscapeError, match=f"batch .*{message}"):
        read_batch(content, "batch")


def test_trap_every_cut_and_every_flip_is_refused_or_harmless() -> None:
    small = Python2Pickle().dictionary({b"labels": [1, 2], b"data": some(2, 3), b"x": [b"a", b"b"]})
    for length in range(len(small)):
        with pytest.raises(LandscapeError, match="batch is no whole pickle"):
            read_batch(small[:length], "batch")
    refused = 0
    for place in range(len(small)):
        for bits in (0x01, 0x04, 0x20, 0x80, 0xFF):
            flipped = bytearray(small)
            flipped[place] ^= bits
            try:
                read_batch(bytes(flipped), "batch")
            except LandscapeError:
                refused += 1
    assert refused > 3 * len(small)


def test_a_huge_memo_or_string_takes_no_memory() -> None:
    tracemalloc.start()
    content = b"\x80\x02}r\xff\xff\xff\xff."  # pickle's own memo grows to hold 2^33 places
    assert read_batch(content, "batch") == {}
    with pytest.raises(LandscapeError, match="expected 4294967295 bytes"):
        read_batch(b"\x80\x02B\xff\xff\xff\xffabc", "batch")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_pickle_of_very_many_opcodes_is_refused() -> None:
    with pytest.raises(LandscapeError, match="batch has more than 1048576 opcodes; fetch it again"):
        read_batch(b"\x80\x02" + b"N" * 2**20 + b".", "batch")


def test_trap_a_deep_tuple_does_not_overflow_the_interpreters_stack() -> None:
    # in its own process: what it guards against is a crash
    code = (
        "from landscape.data_store.errors import LandscapeError\n"
        "from landscape.training.batch_pickle import read_batch\n"
        "deep = b'\\x80\\x02}N' + b'\\x85' * 200_000\n"
        "for end in (b'Ns.', b'.', b'R.', b'b.'):\n"
        "    try:\n"
        "        read_batch(deep + end, 'batch')\n"
        "    except LandscapeError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_the_opcodes_of_a_batch_are_few() -> None:
    names = {o.name for o, _, _ in pickletools.genops(io.BytesIO(python_batch(records(300, 1))))}
    assert names == {
        *("PROTO", "STOP", "EMPTY_DICT", "EMPTY_LIST", "MARK", "SETITEMS", "APPENDS"),
        *("BINPUT", "LONG_BINPUT", "SHORT_BINSTRING", "BINSTRING", "BININT", "BININT1", "BININT2"),
        *("GLOBAL", "REDUCE", "BUILD", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWFALSE"),
    }
