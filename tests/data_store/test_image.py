"""Images: exact round trips, a digest over everything, and hostile files refused unread."""

import functools
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


def with_digest(raw):
    """An HDF5 file with room for a user block, given the digest that it must have."""
    body = raw[USER_BLOCK:]
    return (MAGIC + hashlib.sha256(body).hexdigest().encode()).ljust(USER_BLOCK, b"\0") + body


def hostile(build, header=HEADER):
    """An image with a right digest whose other content `build` makes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), userblock_size=USER_BLOCK) as file:
        if header is not None:
            text = header if isinstance(header, bytes) else json.dumps(header).encode()
            file["header"] = np.frombuffer(text, np.uint8)
        build(file)
    return with_digest(buffer.getvalue())


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
    refused(with_digest(bytes(USER_BLOCK) + b"junk" * 100), "is no readable probe file: ")


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
    refused(hostile(lambda file: None, header), "is no readable probe file: ")


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
    monkeypatch.setattr(image, "_values", lambda _: pytest.fail("a value was read"))
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
    plain = image._values
    read = []

    def watched(item):
        read.append(item.name)
        return plain(item)

    monkeypatch.setattr(image, "_values", watched)

    def fits(header, shapes):
        assert header == HEADER
        assert shapes == {"values": (300,), "mask": (40,)}
        assert read == ["/header"]
        return 0

    opened(CONTENT, fits=fits)
    assert read == ["/header", "/mask", "/values"]


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


# Hostile files whose digest is right. Each was built with plain h5py.

ONE = np.ones(10, np.float32)


def external_storage(file):
    file.create_dataset("a", shape=(6,), dtype="u1", external=[("/etc/passwd", 0, 6)])


def virtual(file):
    plan = h5py.VirtualLayout(shape=(10,), dtype="f4")
    plan[:] = h5py.VirtualSource("/tmp/other.h5", "a", shape=(10,))
    file.create_virtual_dataset("a", plan)


def attribute(file):
    file["a"] = ONE
    file["a"].attrs["note"] = "x" * 1000


def named_type(file):
    file["t"] = np.dtype("f4")
    file.create_dataset("a", data=ONE, dtype=file["t"])


def group(file):
    file.create_group("a")["b"] = ONE


def cycle(file):
    file["a"] = file["/"]


def wide_chunk(file, sides):
    """One number in a chunk of 4 GiB and more."""
    file.create_dataset(
        "a", shape=(1,) * len(sides), maxshape=(None,) * len(sides), chunks=sides, dtype="u1"
    )


def undeclared_zeros(file):
    file.create_dataset("a", shape=(10**12,), dtype="f4", chunks=(10**5,))


def unallocated(file):
    file.create_dataset("a", shape=(10**12,), dtype="f4")


def half_stored(file):
    """Of 100 chunks the last is missing."""
    data = file.create_dataset("a", shape=(10**6,), dtype="f4", chunks=(10**4,))
    for i in range(99):
        data[i * 10**4 : (i + 1) * 10**4] = 1


def chained(file, *filters):
    """An array under several filters, those of h5py's interface and others."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((10,))
    for code, values in filters:
        plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, values)
    space = h5py.h5s.create_simple((10,))
    return h5py.h5d.create(file.id, b"a", h5py.h5t.STD_U8LE, space, plan)


DEFLATE = (h5py.h5z.FILTER_DEFLATE, (9,))


@functools.lru_cache
def deflated_zeros(size, times):
    """The bytes of a deflate stream that comes out as `size` zeros."""
    content = bytes(size)
    for _ in range(times):
        content = zlib.compress(content, 9)
    return content


def swelling(file, times=1, size=2**28):
    """Ten bytes by its shape, 256 MiB by what is stored."""
    data = chained(file, *[DEFLATE] * times)
    data.write_direct_chunk((0,), deflated_zeros(size, times))


def too_short(file):
    chained(file, DEFLATE).write_direct_chunk((0,), zlib.compress(bytes(9)))


def no_stream(file):
    chained(file, DEFLATE).write_direct_chunk((0,), b"no deflate stream")


def dust(file):
    """A million chunks of one number each: HDF5 would keep kilobytes for every one."""
    file.create_dataset("a", shape=(10**6,), dtype="u1", chunks=(1,))
    file["pad"] = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8)


def deep(file):
    place = file
    for _ in range(200):
        place = place.create_group("a")
    place["b"] = ONE


def odd_number(file, size, precision):
    """Integers that no NumPy type holds as they are."""
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_size(size)
    kind.set_precision(precision)
    h5py.h5d.create(file.id, b"a", kind, h5py.h5s.create_simple((10,)))


def many_unallocated(file):
    for i in range(30):
        file.create_dataset(f"a{i}", shape=(2**20,), dtype="f4", chunks=(4096,))


HOSTILE = {
    "soft link": (
        lambda f: f.__setitem__("a", h5py.SoftLink("/header")),
        "'a' is a link to somewh",
    ),
    "dangling link": (
        lambda f: f.__setitem__("a", h5py.SoftLink("/none")),
        "'a' is a link to some",
    ),
    "external link": (
        lambda f: f.__setitem__("a", h5py.ExternalLink("/tmp/other.h5", "/x")),
        "'a' is a link to somewhere else",
    ),
    "external storage": (external_storage, "'a' keeps its values in another file"),
    "virtual dataset": (virtual, "'a' keeps its values in another file"),
    "compound": (
        lambda f: f.create_dataset("a", data=np.zeros(3, [("x", "f4"), ("y", "i4")])),
        "'a' has the type .*; expected numbers",
    ),
    "vlen text": (
        lambda f: f.create_dataset("a", data=["x", "yy"], dtype=h5py.string_dtype()),
        "'a' has the type object; expected numbers",
    ),
    "vlen numbers": (
        lambda f: f.create_dataset("a", shape=(2,), dtype=h5py.vlen_dtype(np.int32)),
        "'a' has the type object; expected numbers",
    ),
    "reference": (
        lambda f: f.create_dataset("a", data=f.ref, dtype=h5py.ref_dtype),
        "'a' has the type object; expected numbers",
    ),
    "fixed text": (lambda f: f.create_dataset("a", data=np.bytes_("xyz")), "'a' has the type .S3"),
    "opaque": (lambda f: f.create_dataset("a", data=np.void(b"xyz")), "'a' has the type .V3"),
    "complex": (
        lambda f: f.create_dataset("a", data=np.ones(3, "c8")),
        "'a' has the type complex64",
    ),
    "long double": (
        lambda f: f.create_dataset("a", data=np.ones(3, np.longdouble)),
        "'a' has the type float128; expected numbers",
    ),
    "array type": (lambda f: f.create_dataset("a", shape=(2,), dtype="(3,)f4"), "'a' has the type"),
    "nothing": (lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "'a' has the type float32"),
    "attribute": (attribute, "'a' is not a plain array"),
    "group": (group, "'a' is not a plain array"),
    "cycle": (cycle, "'a' is not a plain array"),
    "named type": (lambda f: f.__setitem__("a", np.dtype("f4")), "'a' is not a plain array"),
    "lzf": (
        lambda f: f.create_dataset("a", data=ONE, chunks=(5,), compression="lzf"),
        "'a' uses an unknown filter",
    ),
    "scale-offset": (
        lambda f: f.create_dataset("a", data=ONE, chunks=(5,), scaleoffset=2),
        "'a' uses an unknown filter",
    ),
    "huge chunk": (lambda f: wide_chunk(f, (2**23 + 1,)), r"'a' has 1 chunks of \(8388609,\)"),
    "chunk of 2^64": (lambda f: wide_chunk(f, (2**32, 2**32)), "'a' has 1 chunks of"),
    "zeros in chunks": (undeclared_zeros, "'a' claims 4000000000000 bytes and 0 in the file"),
    "zeros in one piece": (unallocated, "'a' claims 4000000000000 bytes and 0 in the file"),
    "2^64 zeros": (
        lambda f: f.create_dataset("a", shape=(2**32, 2**32), dtype="u1", chunks=(1, 2**20)),
        "'a' claims 18446744073709551616 bytes and 0 in the file",
    ),
    "2^64 zeros in small chunks": (
        lambda f: f.create_dataset("a", shape=(2**32, 2**32), dtype="u1", chunks=(1, 1024)),
        "'a' has 18014398509481984 chunks",
    ),
    "many pieces": (many_unallocated, "'a0' claims 4194304 bytes and 0 in the file"),
    "dust": (dust, r"'a' has 1000000 chunks of \(1,\)"),
    "deflated twice": (lambda f: swelling(f, times=2), "'a' uses a filter twice"),
    "shuffled twice": (
        lambda f: chained(f, *[(h5py.h5z.FILTER_SHUFFLE, (1,))] * 2),
        "'a' uses a filter twice",
    ),
    "n-bit": (
        lambda f: chained(f, (h5py.h5z.FILTER_NBIT, ())),
        "'a' uses an unknown filter",
    ),
    "filter of nobody": (
        lambda f: chained(f, (32_123, (1, 2, 3))),
        "'a' uses an unknown filter",
    ),
    "deep groups": (deep, "'a' is not a plain array"),
    "named type in use": (named_type, "'t' is not a plain array"),
    "three bytes": (lambda f: odd_number(f, 3, 24), "'a' has the type|No NumPy|data type"),
    "seven bits": (lambda f: odd_number(f, 4, 7), "'a' has the type"),
    "huge number": (lambda f: odd_number(f, 2**20, 24), "'a' has the type|No NumPy|data type"),
    "colours": (
        lambda f: f.create_dataset("a", shape=(3,), dtype=h5py.enum_dtype({"r": 1}, "i8")),
        "claims|'a' has the type",
    ),
    "region": (
        lambda f: f.create_dataset("a", shape=(1,), dtype=h5py.regionref_dtype),
        "'a' has the type object; expected numbers",
    ),
    "a link as its header": (
        lambda f: f.__setitem__("z", h5py.SoftLink("/header")),
        "'z' is a link to somewhere else",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_before_a_value_is_read(monkeypatch, case):
    build, message = HOSTILE[case]
    content = hostile(build, {"format": "probe", "version": [1]})
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("a value was read"))
    monkeypatch.setattr(image, "_values", lambda _: pytest.fail("a value was read"))
    refused(content, f"^some/level.h5 is no readable probe file: .*{message}")


def test_hostile_files_are_read_without_their_one_fault():
    content = hostile(lambda file: file.__setitem__("a", ONE))
    assert same(opened(content)[1]["a"], ONE)


def test_what_an_external_file_holds_is_never_seen(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    content = hostile(
        lambda f: f.create_dataset("a", shape=(6,), dtype="u1", external=[(str(secret), 0, 6)])
    )
    with h5py.File(io.BytesIO(content), "r") as file:
        assert file["a"][()].tobytes() == b"secret"  # plain HDF5 does read it
    refused(content, "keeps its values in another file")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (swelling, "a chunk of 10 bytes holds another number of them"),
        (too_short, "a chunk of 10 bytes holds another number of them"),
        (no_stream, "Error -3 while decompressing data"),
        (half_stored, "chunk"),
    ],
)
def test_a_chunk_that_is_not_what_it_says_is_refused(build, message):
    refused(hostile(build), f"^some/level.h5 is no readable probe file: .*{message}")


def grown_by(job):
    """Kilobytes by which a child's memory grew while it did a job."""
    import resource

    def measured(tell):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        job()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    return children.run(measured).returned()


BOMBS = [
    "zeros in chunks", "zeros in one piece", "2^64 zeros", "dust", "deflated twice", "huge chunk",
    "chunk of 2^64", "many pieces", "huge number",
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
@pytest.mark.parametrize("build", [swelling, *(HOSTILE[name][0] for name in BOMBS)])
def test_a_bomb_takes_no_memory(build):
    content = hostile(build)
    grown = grown_by(lambda: refused(content, "is no readable probe file: "))
    assert grown < 20_000 + 3 * len(content) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
def test_hdf5_itself_would_take_it():
    """What the test above measures can be measured."""
    content = hostile(swelling)

    def trusting():
        with h5py.File(io.BytesIO(content), "r") as file:
            file["a"][()]

    assert grown_by(trusting) > 200_000


def test_a_terabyte_in_a_few_hundred_bytes_is_refused():
    content = hostile(undeclared_zeros)
    assert len(content) < 2500
    refused(content, "claims 4000000000000 bytes", limit=2**60)  # by no limit


def test_one_array_under_many_names_is_counted_every_time(monkeypatch):
    def again_and_again(file):
        file["a"] = np.ones(100)
        for i in range(48):
            file[f"a{i}"] = file["a"]

    content = hostile(again_and_again)
    monkeypatch.setattr(image, "_MOST_ARRAYS", 50)
    assert len(opened(content)[1]) == 49
    refused(content, "takes 39[0-9]{3} bytes unpacked; more than 39000 is refused", limit=39_000)
    monkeypatch.setattr(image, "_MOST_ARRAYS", 49)
    refused(content, "is no readable probe file: it has 50 arrays$")


def test_a_huge_header_is_refused(monkeypatch):
    text = json.dumps({**HEADER, "pad": "x" * 2**24}).encode()
    content = hostile(lambda _: None, text)
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("it was read"))
    refused(content, f"its header takes {len(text)} bytes$")


@pytest.mark.parametrize("name", ["x\ny", "X" * 50, "", "../probe", "a\0b", "prob\u00e9"])
def test_an_odd_format_is_quoted(name):
    content = seal({**HEADER, "format": name}, {}, compress=True)
    refused(content, "is no readable probe file: it says that it is '")


def test_chunks_are_read_as_hdf5_reads_them():
    """Every order of bytes, filter and shape that the audit lets through."""
    draws = np.random.default_rng(0)
    plans = [{}, {"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True},
             {"compression": "gzip", "shuffle": True, "fletcher32": True}]  # fmt: skip
    shapes = [
        ((7,), (7,)),
        ((9000,), (4096,)),
        ((5, 9000), (2, 5000)),
        ((30, 50, 70), (20, 50, 40)),
    ]

    def build(file):
        for i, (plan, dtype, (shape, chunks)) in enumerate(
            itertools.product(plans, ["<f4", ">f8", "<i2", ">u8", "?"], shapes)
        ):
            array = draws.integers(0, 2, shape) if i % 2 else draws.standard_normal(shape) * 100
            array = array.astype(dtype)
            file.create_dataset(f"a{i}", data=array, chunks=chunks, **plan)

    content = hostile(build)
    found = opened(content)[1]
    assert len(found) == 100
    with h5py.File(io.BytesIO(content), "r") as file:
        for name, array in found.items():
            assert same(array, file[name][()])


def test_the_best_ratio_of_deflate_is_allowed():
    zeros = np.zeros(2_000_000, np.float32)
    content = seal(HEADER, {"zeros": zeros}, compress=True)
    assert len(content) < zeros.nbytes / 50
    assert same(opened(content)[1]["zeros"], zeros)
