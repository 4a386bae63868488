"""File formats against naive readers, damaged files byte by byte, and where files are found."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import re
import struct
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pooch
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training import datasets
from landscape.training.datasets import (
    CIFAR_ARCHIVE,
    SOURCES,
    TRAIN_LABELS,
    Source,
    find,
    read_cifar,
    read_idx,
)

Bytes = npt.NDArray[np.uint8]
Pack = Callable[[bytes], bytes]


def idx(array: Bytes) -> bytes:
    """IDX content, by struct."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def naive_idx(content: bytes) -> list[int]:
    """All values of an IDX file, by struct, one by one."""
    dimensions = content[3]
    count = 1
    for number in range(dimensions):
        count *= struct.unpack_from(">I", content, 4 + 4 * number)[0]
    start = 4 + 4 * dimensions
    return [struct.unpack_from("B", content, start + number)[0] for number in range(count)]


def some(*shape: int) -> Bytes:
    """Random bytes, the same at every call."""
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def written(path: Path, content: bytes) -> Path:
    """`path`, holding `content`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, so that no test sees or fills the real one."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "user_cache_dir", lambda name: str(folder / name))
    return folder / "landscape" / "data"


@pytest.mark.parametrize("shape", [(5,), (3, 4), (6, 3, 2), (2, 2, 2, 2)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_is_what_a_naive_reader_reads(
    tmp_path: Path, shape: tuple[int, ...], pack: Pack
) -> None:
    content = idx(some(*shape))
    array = read_idx(written(tmp_path / "a", pack(content)), len(shape))
    assert array.dtype == np.uint8
    assert array.shape == shape
    assert array.ravel().tolist() == naive_idx(content)


def test_packing_is_read_from_the_content_not_the_name(tmp_path: Path) -> None:
    array = some(4, 2, 2)
    plain = written(tmp_path / "unpacked-by-the-browser.gz", idx(array))
    packed = written(tmp_path / "packed-ubyte", gzip.compress(idx(array)))
    np.testing.assert_array_equal(read_idx(plain, 3), array)
    np.testing.assert_array_equal(read_idx(packed, 3), array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_trap_a_cut_file_is_named_and_refused_wherever_it_is_cut(
    tmp_path: Path, pack: Pack
) -> None:
    content = pack(idx(some(4, 3, 2)))
    for length in range(len(content)):
        with pytest.raises(LandscapeError, match="cut-images"):
            read_idx(written(tmp_path / "cut-images", content[:length]), 3)


def test_trap_a_flipped_gzip_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    array = some(4, 3, 2)
    content = gzip.compress(idx(array), mtime=0)
    refused = 0
    for place in range(len(content)):
        for bits in (0x01, 0x80, 0xFF):
            flipped = bytearray(content)
            flipped[place] ^= bits
            path = written(tmp_path / "flipped", bytes(flipped))
            try:
                # the time and system in the gzip header are no part of the data
                np.testing.assert_array_equal(read_idx(path, 3), array)
            except LandscapeError as error:
                assert str(path) in str(error)  # noqa: PT017
                refused += 1
    assert refused >= 3 * (len(content) - 10)  # ten bytes of gzip header


def test_a_flipped_pixel_is_told_apart_from_a_cut_file(tmp_path: Path) -> None:
    stored = gzip.compress(idx(some(4, 3, 2)), compresslevel=0)
    flipped = stored[:-12] + bytes([stored[-12] ^ 1]) + stored[-11:]
    with pytest.raises(LandscapeError, match="cut or damaged: CRC check failed"):
        read_idx(written(tmp_path / "x", flipped), 3)
    with pytest.raises(LandscapeError, match="cut or damaged: Compressed file ended"):
        read_idx(written(tmp_path / "x", stored[:-12]), 3)


@pytest.mark.parametrize(
    ("content", "starts"),
    [
        (b"", "nothing"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "89 50 4e 47"),
        (idx(some(9)), "00 00 08 01"),  # labels where images belong
        (b"\0\0\x0c\x03" + bytes(40), "00 00 0c 03"),  # IDX of int32
        (gzip.compress(b"label,pixel0\n"), "6c 61 62 65"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, starts: str) -> None:
    with pytest.raises(LandscapeError, match=f"foreign is not an IDX .* starts with {starts}, exp"):
        read_idx(written(tmp_path / "foreign", content), 3)


@pytest.mark.parametrize(
    "sides", [(2**32 - 1,) * 3, (60_000, 28, 28), (2**31, 1, 1), (0, 28, 28), (5, 0, 28)]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_absurd_header_is_refused_before_memory_is_taken(
    tmp_path: Path, sides: tuple[int, int, int], pack: Pack
) -> None:
    path = written(tmp_path / "absurd", pack(struct.pack(">4B3I", 0, 0, 8, 3, *sides) + bytes(99)))
    tracemalloc.start()
    with pytest.raises(LandscapeError, match=f"absurd declares {sides[0]} × .* expected 1 to "):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(idx(np.zeros((1, 28, 28), np.uint8)) + bytes(2**26))
    path = written(tmp_path / "bomb", bomb)
    del bomb
    tracemalloc.start()
    with pytest.raises(LandscapeError, match="bomb declares 784 bytes of data and holds more"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_a_short_or_long_payload_is_refused(tmp_path: Path) -> None:
    content = idx(some(4, 3, 2))
    with pytest.raises(LandscapeError, match="declares 24 bytes of data and holds only 23"):
        read_idx(written(tmp_path / "x", content[:-1]), 3)
    with pytest.raises(LandscapeError, match="declares 24 bytes of data and holds more"):
        read_idx(written(tmp_path / "x", content + b"\0"), 3)
    with pytest.raises(LandscapeError, match="x is cut: it ends inside its header"):
        read_idx(written(tmp_path / "x", content[:11]), 3)
    with pytest.raises(LandscapeError, match="cut or damaged: Not a gzipped file"):
        read_idx(written(tmp_path / "x", gzip.compress(content) + b"more"), 3)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match=r"nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere", 3)
    with pytest.raises(LandscapeError, match=r"cannot be read: Is a directory"):
        read_idx(tmp_path, 3)


def records(count: int, seed: int) -> bytes:
    """CIFAR records with labels 0 to 9 and random pixels."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    table[:, 0] %= 10
    return table.tobytes()


def tar_of(members: dict[str, bytes]) -> bytes:
    """A plain tar archive of these files in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


BATCHES = {
    "batches.meta.txt": b"airplane\nautomobile\n",
    "test_batch.bin": records(2, 0),
    "data_batch_3.bin": records(2, 3),
    "data_batch_1.bin": records(3, 1),
}


@pytest.fixture(params=["folder", "tar.gz", "tar"])
def cifar(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A partial CIFAR-10 in each form that is read."""
    if request.param == "folder":
        for name, content in BATCHES.items():
            written(tmp_path / "cifar-10-batches-bin" / name, content)
        return tmp_path / "cifar-10-batches-bin"
    archive = tar_of(BATCHES)
    return written(tmp_path / "c", gzip.compress(archive) if request.param == "tar.gz" else archive)


def test_cifar_records_are_read_as_their_format_says(cifar: Path) -> None:
    (images, labels), (test_images, test_labels) = read_cifar(cifar)
    content = BATCHES["data_batch_1.bin"] + BATCHES["data_batch_3.bin"]
    assert images.shape == (5, 3, 32, 32)
    assert labels.tolist() == [content[3073 * number] for number in range(5)]
    for number, channel, row, column in [(0, 0, 0, 0), (4, 2, 31, 31), (3, 1, 7, 20)]:
        place = 3073 * number + 1 + 1024 * channel + 32 * row + column
        assert images[number, channel, row, column] == content[place]
    assert test_labels.tolist() == [BATCHES["test_batch.bin"][3073 * number] for number in (0, 1)]
    assert test_images.tobytes() == b"".join(
        BATCHES["test_batch.bin"][3073 * number + 1 : 3073 * number + 3073] for number in (0, 1)
    )


def test_an_archive_is_read_without_writing_to_disk(tmp_path: Path) -> None:
    members = {f"../../{name}": content for name, content in BATCHES.items()}
    read_cifar(written(tmp_path / "deep" / "er" / "c.tar.gz", gzip.compress(tar_of(members))))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "deep" / "er" / "c.tar.gz"]


@pytest.mark.parametrize("missing", ["data_batch_1.bin", "test_batch.bin"])
def test_a_missing_batch_is_named(tmp_path: Path, missing: str) -> None:
    there = {"data_batch_1.bin": records(1, 1), "test_batch.bin": records(1, 0)}
    del there[missing]
    path = written(tmp_path / "c.tar.gz", gzip.compress(tar_of(there)))
    with pytest.raises(LandscapeError, match=f"c.tar.gz holds no {missing}; expected the binary"):
        read_cifar(path)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO(tar_of({"data_batch_1.bin": records(1, 1)}))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(LandscapeError, match=r"holds no test_batch\.bin"):
        read_cifar(written(tmp_path / "c.tar.gz", gzip.compress(buffer.getvalue())))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records(2, 1)[:-1], "has 6145 bytes; expected 1 to 10000 records of 3073"),
        (b"", "has 0 bytes; expected 1 to 10000 records"),
        (b"\x0a" + bytes(3072), "has the label 10; expected 0 to 9"),
        (records(1, 1) + b"\x63" + bytes(3072), "has the label 99; expected 0 to 9"),
    ],
)
def test_a_batch_that_is_not_cifar_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    members = {"data_batch_1.bin": content, "test_batch.bin": records(1, 0)}
    with pytest.raises(LandscapeError, match=f"data_batch_1.bin in .*{message}"):
        read_cifar(written(tmp_path / "c.tar.gz", gzip.compress(tar_of(members))))


def test_a_batch_above_the_official_size_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "test_batch.bin", records(1, 0))
    with written(tmp_path / "data_batch_1.bin", b"").open("r+b") as file:
        file.truncate(10_001 * 3073)  # sparse: takes no disk
    with pytest.raises(LandscapeError, match="has more than 30730000 bytes; expected 1 to 10000"):
        read_cifar(tmp_path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(tar_of(BATCHES))
    for length in (len(packed) // 2, len(packed) - 1):
        with pytest.raises(
            LandscapeError, match=r"c\.tar\.gz is cut or damaged: Compressed file end"
        ):
            read_cifar(written(tmp_path / "c.tar.gz", packed[:length]))
    stored = bytearray(gzip.compress(tar_of(BATCHES), compresslevel=0))
    stored[len(stored) // 2] ^= 1  # one pixel
    with pytest.raises(LandscapeError, match=r"c\.tar\.gz is cut or damaged: CRC check failed"):
        read_cifar(written(tmp_path / "c.tar.gz", bytes(stored)))
    with pytest.raises(LandscapeError, match=r"c\.tar\.gz is not a whole tar archive: "):
        read_cifar(written(tmp_path / "c.tar.gz", gzip.compress(b"not a tar" * 200)))
    with pytest.raises(
        LandscapeError, match=r"c\.tar\.gz is not a whole tar archive: unexpected end"
    ):
        read_cifar(written(tmp_path / "c.tar.gz", gzip.compress(tar_of(BATCHES)[:9000])))


def test_a_tar_header_with_an_impossible_size_is_refused(tmp_path: Path) -> None:
    archive = bytearray(tar_of({"data_batch_1.bin": records(1, 1)}))
    archive[124:136] = b"\x80" + b"\xff" * 11  # base 256: about 3e26 bytes
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    with pytest.raises(LandscapeError, match="is not a whole tar archive: "):
        read_cifar(written(tmp_path / "c.tar", bytes(archive)))


def test_a_sparse_member_does_not_take_the_memory_it_claims(tmp_path: Path) -> None:
    archive = bytearray(tar_of({"data_batch_1.bin": b"", "test_batch.bin": records(1, 0)}))
    archive[156:157] = tarfile.GNUTYPE_SPARSE
    archive[386:410] = b"00000000000\0" * 2
    archive[483:495] = b"%011o\0" % 2**32
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    path = written(tmp_path / "c.tar", bytes(archive))
    tracemalloc.start()
    with pytest.raises(LandscapeError, match=r"data_batch_1\.bin in .* has more than 30730000 byt"):
        read_cifar(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


def test_an_archive_larger_than_the_official_one_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_CIFAR_TAR", 10_000)
    with pytest.raises(LandscapeError, match="unpacks to more than the 10000 bytes of CIFAR-10"):
        read_cifar(written(tmp_path / "c.tar.gz", gzip.compress(bytes(10_001))))


def test_your_folder_comes_before_the_cache_and_its_dataset_folder_before_itself(
    tmp_path: Path, cache: Path
) -> None:
    places = [tmp_path / "mnist", tmp_path, cache / "mnist"]
    for place in reversed(places):
        path = written(place / TRAIN_LABELS, b"")
        assert find(tmp_path, "mnist", TRAIN_LABELS) == path
    assert find(None, "mnist", TRAIN_LABELS) == cache / "mnist" / TRAIN_LABELS


def test_other_names_of_a_file_are_accepted_best_first(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10"
    subset = written(folder / "cifar-10-binary-subset.tar.gz", b"")
    assert find(tmp_path, "cifar-10", CIFAR_ARCHIVE) == subset
    (folder / "cifar-10-batches-bin").mkdir()
    assert find(tmp_path, "cifar-10", CIFAR_ARCHIVE) == folder / "cifar-10-batches-bin"
    whole = written(folder / CIFAR_ARCHIVE, b"")
    assert find(tmp_path, "cifar-10", CIFAR_ARCHIVE) == whole
    unpacked = written(tmp_path / "mnist" / "train-labels-idx1-ubyte", b"")
    assert find(tmp_path, "mnist", TRAIN_LABELS) == unpacked


def test_a_folder_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the data folder .*nowhere does not exist; give"):
        find(tmp_path / "nowhere", "mnist", TRAIN_LABELS)
    with pytest.raises(UsageError, match=r"the data folder .*file does not exist"):
        find(written(tmp_path / "file", b""), "mnist", TRAIN_LABELS)


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        find(tmp_path, "mnits", TRAIN_LABELS)
    with pytest.raises(UsageError, match="unknown file of mnist 'train-labels'; did you mean"):
        find(tmp_path, "mnist", "train-labels")


NAMES = [(dataset, name) for dataset, files in SOURCES.items() for name in files]


@pytest.mark.parametrize(("dataset", "name"), NAMES)
@pytest.mark.parametrize("given", [True, False], ids=["folder", "cache"])
def test_without_a_network_the_error_says_which_file_from_where_and_where_to(
    dataset: str,
    name: str,
    given: bool,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    place = tmp_path / dataset if given else cache / dataset
    address = SOURCES[dataset][name].address
    sentence = (
        f"{name} of {dataset} could not be downloaded from {address} (ConnectionError); "
        f"put the file into {place}"
    )
    with pytest.raises(LandscapeError, match=f"^{re.escape(sentence)}$"):
        find(tmp_path if given else None, dataset, name)
    written(place / name, b"")
    assert find(tmp_path if given else None, dataset, name) == place / name


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served on the loopback address, from which MNIST's labels are to come."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    checksum = hashlib.sha256(b"official").hexdigest()
    address = f"http://127.0.0.1:{server.server_port}/{TRAIN_LABELS}"
    monkeypatch.setitem(SOURCES["mnist"], TRAIN_LABELS, Source(address, checksum, ()))
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_goes_into_the_cache_and_happens_once(
    mirror: Path, tmp_path: Path, cache: Path
) -> None:
    written(mirror / TRAIN_LABELS, b"official")
    path = find(tmp_path, "mnist", TRAIN_LABELS)
    assert path == cache / "mnist" / TRAIN_LABELS
    assert path.read_bytes() == b"official"
    (mirror / TRAIN_LABELS).unlink()
    assert find(tmp_path, "mnist", TRAIN_LABELS) == path


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(
    mirror: Path, tmp_path: Path, cache: Path
) -> None:
    written(mirror / TRAIN_LABELS, b"changed on the way")
    with pytest.raises(LandscapeError, match=r"\(the checksum is not the official one\); put the"):
        find(tmp_path, "mnist", TRAIN_LABELS)
    assert not list((cache / "mnist").iterdir())


def test_a_file_that_is_not_on_the_server_is_a_failed_download(
    mirror: Path, tmp_path: Path
) -> None:
    with pytest.raises(LandscapeError, match=r"could not be downloaded .* \(HTTPError\); put"):
        find(tmp_path, "mnist", TRAIN_LABELS)
