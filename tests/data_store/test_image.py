"""Images: exact round trips, a digest over everything, and hostile files refused unread."""

import hashlib
import io
import itertools
import json
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landscape.data_store import image
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.image import USER_BLOCK, read_image, seal, unseal
from tests.support import children

PATH = Path("some") / "level.h5"
HEADER = {"format": "probe", "version": [1, 0], "text": "ü\n", "nested": {"a": [1, None, 0.1]}}
MAGIC = b"landscape-image/1 sha256 "
NUMBERS = [np.dtype(f"{order}{kind}") for order in "<>" for kind in
           ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]  # fmt: skip


def opened(content, name="probe", version=(1, 0), **options):
    return unseal(content, PATH, format_name=name, version=version, **options)


def refused(content, match, **options):
    with pytest.raises(LandscapeError, match=match) as caught:
        opened(content, **options)
    assert str(PATH) in str(caught.value)
    assert "\n" not in str(caught.value)


def with_digest(body):
    """Any content under the digest that it must have."""
    return (MAGIC + hashlib.sha256(body).hexdigest().encode()).ljust(USER_BLOCK, b"\0") + body


def with_header(text):
    """An image whose header is these bytes."""
    return seal({}, {"header": np.frombuffer(text, np.uint8)}, compress=True)


def with_table(change, arrays):
    """An image whose table `change` altered, under a right digest."""
    content = seal(HEADER, arrays, compress=True)
    size = int(content[-16:])
    table = {entry[0]: entry for entry in json.loads(content[-16 - size : -16])}
    changed = json.dumps(change(table) or list(table.values())).encode()
    body = content[USER_BLOCK : -16 - size]
    return with_digest(body + changed + f"{len(changed):016d}".encode())


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["values", "mask", "a-0001"]),
        st.sampled_from([*NUMBERS, np.dtype(bool)]).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
    ),
    st.booleans(),
)
def test_arrays_come_back_bit_for_bit(arrays, compress):
    header, found = opened(seal(HEADER, arrays, compress=compress))
    assert header == HEADER
    assert found.keys() == arrays.keys()
    for name in arrays:
        assert same(found[name], arrays[name])


@pytest.mark.parametrize("compress", [True, False])
def test_nan_payloads_and_signs_survive(compress):
    bits = np.array([0x7FC00000, 0x7FC00123, 0xFFC00001, 0x80000000, 0x7F800000, 1], np.uint32)
    _, found = opened(seal(HEADER, {"theta": bits.view(np.float32)}, compress=compress))
    assert list(found["theta"].view(np.uint32)) == list(bits)


@pytest.mark.parametrize(
    "shape", [(65_536,), (65_537,), (150_001,), (3, 70_000), (9000, 8), (300_000, 1), (5, 7, 9000)]
)
def test_long_arrays_come_back_and_are_not_padded(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = seal(HEADER, {"long": array}, compress=False)
    assert same(opened(content)[1]["long"], array)
    pieces = 1 if array.size <= 65_536 else shape[0] if len(shape) > 1 else 3
    assert len(content) < array.nbytes * 1.01 + 64 * pieces + 4000


def test_any_memory_order_is_written(tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4)
    for view in (np.asfortranarray(array), array[:, ::2], array.T, array[..., ::-1]):
        assert same(opened(seal(HEADER, {"a": view}, compress=True))[1]["a"], view.copy(order="C"))


ARRAYS = {
    "values": np.linspace(-1, 1, 300, dtype=np.float32),
    "mask": np.arange(40, dtype=np.uint8),
}
CONTENT = seal(HEADER, ARRAYS, compress=True)


def test_equal_input_gives_equal_bytes():
    again = seal(
        dict(reversed(HEADER.items())), {k: v.copy() for k, v in ARRAYS.items()}, compress=True
    )
    assert again == CONTENT


def test_no_time_is_stored():
    with h5py.File(io.BytesIO(CONTENT), "r") as file:
        for name in file:
            assert not file[name].id.get_create_plist().get_obj_track_times()


def test_the_digest_is_over_all_that_follows_the_user_block():
    block = CONTENT[:USER_BLOCK]
    digest = hashlib.sha256(CONTENT[USER_BLOCK:]).hexdigest()
    assert block == (MAGIC + digest.encode()).ljust(USER_BLOCK, b"\0")
    assert CONTENT[USER_BLOCK : USER_BLOCK + 8] == b"\x89HDF\r\n\x1a\n"


def test_plain_h5py_reads_an_image(tmp_path):
    (tmp_path / "a.h5").write_bytes(CONTENT)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert sorted(file) == ["header", "mask", "values"]
        np.testing.assert_array_equal(file["values"][()], ARRAYS["values"])
        assert json.loads(file["header"][()].tobytes()) == HEADER


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("size", [1, 1025, 5000, 2**20 + 77])
def test_plain_h5py_inflates_what_was_packed(tmp_path, dtype, size):
    draws = np.random.default_rng(size)
    arrays = {
        "noise": draws.standard_normal((2, size)).astype(dtype),
        "zeros": np.zeros(size, dtype),
        "few": (draws.random(size) < 0.01).astype(dtype),
    }
    content = seal(HEADER, arrays, compress=True)
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name][()], array)
            if array.nbytes > 4096:
                assert (file[name].compression, file[name].shuffle) == ("gzip", True)
    if dtype is not np.bool_:
        assert len(content) < sum(array.nbytes for array in arrays.values()) + 20_000


def test_every_flipped_byte_is_refused():
    flips = np.random.default_rng(0).integers(1, 256, len(CONTENT))
    for place, flip in enumerate(flips):
        damaged = bytearray(CONTENT)
        damaged[place] ^= int(flip)
        match = "damaged: its content does not match its SHA-256"
        if place < len(MAGIC) or len(MAGIC) + 64 <= place < USER_BLOCK:
            match = "is not a probe file: its first bytes say so"
        refused(bytes(damaged), match)


def test_every_truncation_is_refused():
    for length in range(len(CONTENT)):
        refused(CONTENT[:length], "is not a probe file|is damaged")


@pytest.mark.parametrize("more", [b"\0", b"x" * 512])
def test_bytes_at_the_end_are_refused(more):
    refused(CONTENT + more, "does not match its SHA-256; restore it from a copy, or remove it")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(2000),
        b"PK\x03\x04" + bytes(2000),
        b"some text",
        CONTENT[USER_BLOCK:],
        MAGIC.replace(b"/1", b"/2") + CONTENT[len(MAGIC) :],
        bytes(USER_BLOCK) + CONTENT[USER_BLOCK:],
    ],
)
def test_foreign_content_is_refused(content):
    refused(content, "^some/level.h5 is not a probe file: its first bytes say so$")


def test_a_digest_over_no_hdf5_is_refused():
    refused(with_digest(b"junk" * 100), "is no readable probe file: it has no table of its arrays$")


def test_another_format_is_named():
    refused(
        CONTENT, "^some/level.h5 is a probe file; expected landscape-level$", name="landscape-level"
    )


def test_a_newer_major_version_is_refused_and_a_newer_minor_read():
    newer = seal({**HEADER, "version": [2, 0]}, ARRAYS, compress=True)
    refused(
        newer,
        "^some/level.h5 is of format version 2 and this version reads up to 1: it needs a newer "
        "landscape; update landscape$",
    )
    named = seal({**HEADER, "version": [2, 0], "written_by": "2.1.0rc1"}, ARRAYS, compress=True)
    refused(named, "it needs landscape 2.1.0rc1; update landscape$")
    odd = seal({**HEADER, "version": [2, 0], "written_by": "x\n\033[2J"}, ARRAYS, compress=True)
    refused(odd, "it needs a newer landscape; update landscape$")
    minor = seal({**HEADER, "version": [1, 9]}, ARRAYS, compress=True)
    assert opened(minor)[0]["version"] == [1, 9]
    assert opened(CONTENT, version=(3, 0))[0] == HEADER


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        [1],
        b"null",
        3,
        "text",
        {},
        {"format": "probe"},
        {"format": "probe", "version": []},
        {"format": "probe", "version": None},
        {"format": "probe", "version": 1},
        {"format": "probe", "version": {}},
        {"format": "probe", "version": ["x"]},
        {"format": "probe", "version": [None]},
        {"format": "probe", "version": [float("nan")]},
        {"format": "probe", "version": [float("inf")]},
    ],
)
def test_a_header_that_is_none_is_refused(header):
    if header is None:
        refused(with_table(lambda t: t.pop("header") and None, {}), "is no readable probe file: ")
        return
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    refused(with_header(text), "is no readable probe file: ")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, why in (
        (tmp_path / "absent.h5", "No such file or directory"),
        (tmp_path, "Is a dir"),
    ):
        with pytest.raises(LandscapeError, match=f"^cannot read {path}: {why}"):
            read_image(path, format_name="probe", version=(1, 0))


def test_a_file_is_read_whole_and_closed(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(CONTENT)
    header, arrays = read_image(path, format_name="probe", version=(1, 0))
    path.write_bytes(b"")
    assert header == HEADER
    np.testing.assert_array_equal(arrays["mask"], ARRAYS["mask"])


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    path.write_bytes(CONTENT)
    size = len(CONTENT)
    read_image(path, format_name="probe", version=(1, 0), limit=size)
    monkeypatch.setattr(image, "unseal", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(LandscapeError, match=f"has {size} bytes; more than {size - 1} is refused"):
        read_image(path, format_name="probe", version=(1, 0), limit=size - 1)


def test_arrays_over_the_limit_are_not_read_and_no_damage(monkeypatch):
    """A limit is a choice of the reader: nobody may move the file aside for it."""
    content = seal(HEADER, {"zeros": np.zeros(100_000)}, compress=True)
    header = len(json.dumps(HEADER, sort_keys=True))
    need = 800_000 + header
    assert len(content) < need / 100
    assert opened(content, limit=need)[1]["zeros"].shape == (100_000,)
    monkeypatch.setattr(image._Place, "values", lambda *_: pytest.fail("a value was read"))
    message = rf"^some/level.h5 takes {need} bytes unpacked; more than {need - 1} is refused unless"
    with pytest.raises(LandscapeError, match=message) as caught:
        opened(content, limit=need - 1)
    assert not isinstance(caught.value, DamagedFile)


def test_a_link_in_a_store_is_not_read(tmp_path):
    (tmp_path / "a.h5").write_bytes(CONTENT)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "b.h5").symlink_to(tmp_path / "a.h5")
    with pytest.raises(
        LandscapeError, match=r"b\.h5 is a symbolic link; a store keeps plain files"
    ):
        read_image(
            tmp_path / "store" / "b.h5",
            format_name="probe",
            version=(1, 0),
            root=tmp_path / "store",
        )


# Whether the arrays fit their header


def test_the_fit_is_asked_before_any_array_is_read(monkeypatch):
    plain = image._Place.values
    read = []

    def watched(place, content):
        read.append(place.name)
        return plain(place, content)

    monkeypatch.setattr(image._Place, "values", watched)

    def fits(header, shapes):
        assert header == HEADER
        assert shapes == {"values": (300,), "mask": (40,)}
        assert read == ["header"]
        return 0

    opened(CONTENT, fits=fits)
    assert read == ["header", "values", "mask"]


@pytest.mark.parametrize(
    "error", [ValueError("too few"), KeyError("too few"), LandscapeError("too few")]
)
def test_what_does_not_fit_is_refused(error):
    def fits(header, shapes):
        raise error

    refused(CONTENT, "^some/level.h5 is no readable probe file: .?too few", fits=fits)


def test_what_will_be_made_of_it_counts_too():
    for size, limit in ((2**50, 2**32), (2000, 1999)):
        refused(
            CONTENT,
            f"^some/level.h5 takes {size} bytes unpacked; more than {limit} is refused",
            fits=lambda *_, size=size: size,
            limit=limit,
        )
    opened(CONTENT, fits=lambda *_: 2000, limit=2000)


# Hostile files whose digest is right


def test_no_byte_is_given_to_hdf5(monkeypatch):
    monkeypatch.setattr(h5py.File, "__init__", lambda *_, **__: pytest.fail("HDF5 read it"))
    monkeypatch.setattr(h5py.h5f, "open_file_image", lambda *_: pytest.fail("HDF5 read it"))
    opened(CONTENT)
    size = int(CONTENT[-16:])
    broken = bytes(USER_BLOCK) + CONTENT[2 * USER_BLOCK :]  # nothing of HDF5's own is left
    with pytest.raises(LandscapeError):
        opened(with_digest(broken))
    assert size < 500


@pytest.mark.parametrize("tail", [b"", b"x" * 16, b"-000000000000001", b"9" * 16, b" " * 15 + b"1"])
def test_a_table_that_is_none_is_refused(tail):
    refused(with_digest(b"x" * 600 + tail), "no readable probe file: its table|it has no table")


def packed(size, level=9):
    return zlib.compress(bytes(size), level)


def entry(**changes):
    """A change of some parts of the line of ``a``."""
    parts = ("name", "dtype", "shape", "chunk", "pieces")

    def change(table):
        for part, value in changes.items():
            table["a"][parts.index(part)] = value

    return change


HOSTILE = {
    "text": (entry(dtype="<U4"), "it holds 'a' of type '<U4'"),
    "objects": (entry(dtype="|O"), "it holds 'a' of type"),
    "long double": (entry(dtype="<f16"), "it holds 'a' of type"),
    "complex": (entry(dtype="<c8"), "it holds 'a' of type"),
    "dates": (entry(dtype="<M8"), "it holds 'a' of type"),
    "three bytes": (entry(dtype="<i3"), "it holds 'a' of type"),
    "no number": (entry(dtype="<f1"), "data type"),
    "a number as its type": (entry(dtype=4), "expected string"),
    "a number as its name": (entry(name=4), "it holds 4 of type"),
    "negative side": (entry(shape=[-1, 3000]), "'a' has -1 for a length or a place"),
    "fraction": (entry(shape=[3000.0]), "'a' has 3000.0 for a length or a place"),
    "truth": (entry(shape=[True]), "'a' has True for a length"),
    "a terabyte": (entry(shape=[2**40], chunk=[2**40]), "'a' claims 4398046511104 bytes and"),
    "2^124 numbers": (entry(shape=[2**62] * 2, chunk=[2**62] * 2), "'a' claims"),
    "chunks of nothing": (entry(chunk=[0]), r"'a' has chunks of \[0\]"),
    "chunks of other dimensions": (entry(chunk=[3000, 1]), "zip"),
    "chunk larger than the array": (entry(shape=[10], chunk=[3000]), "chunks of"),
    "too few chunks": (entry(chunk=[1]), "'a' of .* has 1 chunks of"),
    "no piece": (entry(pieces=[]), "'a' of .* has 0 chunks of"),
    "a piece elsewhere": (entry(pieces=[[10**9, 5000]]), "'a' claims .* bytes and 5000 in the"),
    "a piece beyond the end": (entry(pieces=[[600, 10**9]]), "'a' claims"),
    "a piece before the begin": (entry(pieces=[[-5, 50]]), "'a' has -5 for a length or a place"),
    "a piece of three numbers": (entry(pieces=[[1, 2, 3]]), "unpack"),
    "the table as values": (entry(pieces=[[len(CONTENT), 9000]], chunk=[]), "'a' claims"),
    "a name twice": (lambda t: [*t.values(), t["a"]], "it holds a name twice"),
    "an object as table": (lambda t: {"a": 1}, "not enough values"),
    "a number as table": (lambda t: 3, "not iterable"),
    "a line too short": (lambda t: [["a"]], "not enough values"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_table_is_refused_before_a_value_is_read(monkeypatch, case):
    change, message = HOSTILE[case]
    arrays = {"a": np.zeros(3000, np.float32)}
    content = with_table(change, arrays)
    monkeypatch.setattr(image._Place, "values", lambda *_: pytest.fail("a value was read"))
    refused(content, f"^some/level.h5 is no readable probe file: .*{message}")


def test_a_table_without_a_fault_is_read():
    arrays = {"a": np.arange(3000, dtype=np.float32)}
    assert same(opened(with_table(lambda t: None, arrays))[1]["a"], arrays["a"])


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (packed(9), "a chunk of 10 bytes holds another number of them"),
        (packed(11), "a chunk of 10 bytes holds another number of them"),
        (packed(2**28), "a chunk of 10 bytes holds another number of them"),
        (b"no deflate stream", "Error -3 while decompressing data"),
    ],
)
def test_a_chunk_that_is_not_what_it_says_is_refused(stream, message):
    noise = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8)
    noise[: len(stream)] = np.frombuffer(stream, np.uint8)

    def change(table):
        start = table["a"][4][0][0]
        table["a"][2:] = [10], [10], [[start, len(stream)]]
        table["a"][1] = "|u1"

    content = with_table(change, {"a": noise.reshape(1, -1)[:, :4000].copy()})
    size = int(content[-16:])
    if len(stream) > 4000:  # longer than what lies there
        place = len(content) - 16 - size
        table = json.loads(content[place:-16])
        table[1][4] = [[place, len(stream)]]
        text = json.dumps(table).encode()
        body = content[USER_BLOCK:place] + stream + text + f"{len(text):016d}".encode()
        content = with_digest(body)
    refused(content, f"^some/level.h5 is no readable probe file: .*{message}")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
def test_a_bomb_takes_no_memory():
    """Ten bytes by its shape, 256 MiB by what is stored."""
    import resource

    stream = packed(2**28)
    text = json.dumps(HEADER).encode()
    entries = [
        ["header", "|u1", [len(text)], [], [[USER_BLOCK, len(text)]]],
        ["a", "|u1", [10], [10], [[USER_BLOCK + len(text), len(stream)]]],
    ]
    table = json.dumps(entries).encode()
    content = with_digest(text + stream + table + f"{len(table):016d}".encode())

    def measured(tell):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(content, "a chunk of 10 bytes holds another number of them")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert children.run(measured).returned() < 20_000 + 3 * len(content) / 1024


def test_one_array_under_many_names_is_counted_every_time():
    content = with_table(
        lambda t: [*t.values(), *([f"a{i}", *t["a"][1:]] for i in range(48))],
        {"a": np.ones(100)},
    )
    assert len(opened(content)[1]) == 49
    refused(content, "takes 39[0-9]{3} bytes unpacked; more than 39000 is refused", limit=39_000)


def test_a_huge_header_is_refused_unread(monkeypatch):
    text = json.dumps({**HEADER, "pad": "x" * 2**24}).encode()
    content = with_header(text)
    monkeypatch.setattr(image._Place, "values", lambda *_: pytest.fail("it was read"))
    refused(content, f"its header takes {len(text)} bytes$")


def test_a_huge_table_is_refused_unread(monkeypatch):
    monkeypatch.setattr(image, "_LARGEST_HEADER", 100)
    refused(CONTENT, f"its table takes {int(CONTENT[-16:])} bytes$")


@pytest.mark.parametrize("name", ["x\ny", "X" * 50, "", "../probe", "a\0b", "prob\u00e9"])
def test_an_odd_format_is_quoted(name):
    content = seal({**HEADER, "format": name}, {}, compress=True)
    refused(content, "is no readable probe file: it says that it is '")


def test_hdf5_reads_what_the_table_says():
    """Every order of bytes and shape; HDF5's own reading is the independent one."""
    draws = np.random.default_rng(0)
    arrays = {}
    shapes = [(7,), (9000,), (5, 9000), (30, 50, 70), (3, 2**20), (0, 5), ()]
    for i, (dtype, shape) in enumerate(
        itertools.product(["<f4", ">f8", "<i2", ">u8", "?"], shapes)
    ):
        array = draws.integers(0, 2, shape) if i % 2 else draws.standard_normal(shape) * 100
        arrays[f"a{i}"] = np.asarray(array).astype(dtype)
    for compress in (True, False):
        content = seal(HEADER, arrays, compress=compress)
        found = opened(content)[1]
        with h5py.File(io.BytesIO(content), "r") as file:
            for name in arrays:
                assert same(found[name], arrays[name])
                assert same(found[name], file[name][...])


@pytest.mark.parametrize("shift", [0, USER_BLOCK, 7])
def test_pieces_are_found_whatever_hdf5_counts_from(monkeypatch, shift):
    found = image._found
    monkeypatch.setattr(image, "_found", lambda body, piece, at: found(body, piece, at - shift))
    again = seal(HEADER, ARRAYS, compress=True)
    assert same(opened(again)[1]["values"], ARRAYS["values"])


def test_the_best_ratio_of_deflate_is_allowed():
    zeros = np.zeros(2_000_000, np.float32)
    content = seal(HEADER, {"zeros": zeros}, compress=True)
    assert len(content) < zeros.nbytes / 50
    assert same(opened(content)[1]["zeros"], zeros)
