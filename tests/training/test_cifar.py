"""CIFAR's files against their specification, whole, partial, cut and hostile."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landscape.data_store.errors import LandscapeError
from landscape.training.cifar import CIFAR10, CIFAR100
from landscape.training.cifar import read_cifar as read_any_cifar
from landscape.training.datasets import Examples
from tests.support.data_files import (
    Python2Pickle,
    python_batch,
    records,
    some,
    tar_gz,
    tar_of,
    written,
)


def read_cifar(path: Path) -> tuple[Examples, Examples]:
    """CIFAR-10."""
    return read_any_cifar(path, CIFAR10)


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
def test_a_missing_batch_is_told_by_what_is_there(tmp_path: Path, missing: str) -> None:
    there = {"data_batch_1.bin": records(1, 1), "test_batch.bin": records(1, 0), "readme": b""}
    del there[missing]
    path = written(tmp_path / "c.tar.gz", tar_gz(there))
    held = ", ".join(sorted(there))
    sentence = (
        f"c.tar.gz holds {held}; expected the binary version of CIFAR-10 (data_batch_1.bin, … and "
        "test_batch.bin) or the python version of CIFAR-10 (data_batch_1, … and test_batch)"
    )
    with pytest.raises(LandscapeError, match=re.escape(sentence)):
        read_cifar(path)
    for name, content in there.items():
        written(tmp_path / "folder" / name, content)
    with pytest.raises(LandscapeError, match=f"folder holds {held}; expected the binary"):
        read_cifar(tmp_path / "folder")


def test_one_set_does_not_pass_for_the_other(tmp_path: Path) -> None:
    small = written(tmp_path / "10.tar.gz", tar_gz(BATCHES))
    with pytest.raises(LandscapeError, match=r"test_batch\.bin; expected the binary .* CIFAR-100 "):
        read_any_cifar(small, CIFAR100)
    large = written(tmp_path / "100.tar.gz", tar_gz(FINE, "cifar-100-binary"))
    with pytest.raises(LandscapeError, match=r"holds test\.bin, train\.bin; expected .* CIFAR-10 "):
        read_cifar(large)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO(tar_of({"data_batch_1.bin": records(1, 1)}))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(LandscapeError, match=r"holds data_batch_1\.bin; expected"):
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


def test_an_archive_larger_than_the_official_one_is_not_unpacked(tmp_path: Path) -> None:
    tiny = (replace(CIFAR10[0], records=(2, 2)),)
    limit = 12 * 3073 + 2**20
    path = written(tmp_path / "c.tar.gz", gzip.compress(bytes(limit + 1)))
    with pytest.raises(LandscapeError, match=f"unpacks to more than the {limit} bytes of its data"):
        read_any_cifar(path, tiny)


FINE = {
    "train.bin": records(7, 4, classes=100, before=2),
    "test.bin": records(3, 5, classes=100, before=2),
}


def python_version(members: dict[str, bytes], labels: bytes, before: int = 1) -> dict[str, bytes]:
    """The python version of the files of a binary version."""
    batches = {name: content for name, content in members.items() if name.endswith(".bin")}
    return {
        name.removesuffix(".bin"): python_batch(content, labels, before)
        for name, content in batches.items()
    } | {"batches.meta": b"\x80\x02}q\x01."}


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_the_python_version_holds_what_the_binary_one_holds(tmp_path: Path, packed: bool) -> None:
    binary = written(tmp_path / "b.tar.gz", tar_gz(BATCHES))
    members = python_version(BATCHES, b"labels")
    if packed:
        python = written(tmp_path / "p.tar.gz", tar_gz(members, "cifar-10-batches-py"))
    else:
        python = tmp_path / "cifar-10-batches-py"
        for name, content in members.items():
            written(python / name, content)
    assert_same(read_cifar(python), read_cifar(binary))


def assert_same(one: tuple[Examples, Examples], other: tuple[Examples, Examples]) -> None:
    """Training and test examples are equal."""
    for mine, theirs in zip(one, other, strict=True):
        for left, right in zip(mine, theirs, strict=True):
            assert left.dtype == right.dtype == np.uint8
            np.testing.assert_array_equal(left, right)


def test_cifar_100_gives_the_fine_labels_in_both_versions(tmp_path: Path) -> None:
    binary = written(tmp_path / "b.tar.gz", tar_gz(FINE, "cifar-100-binary"))
    members = python_version(FINE, b"fine_labels", 2)
    python = written(tmp_path / "p.tar.gz", tar_gz(members, "cifar-100-python"))
    train, test = read_any_cifar(binary, CIFAR100)
    content = FINE["train.bin"]
    assert train[1].tolist() == [content[3074 * number + 1] for number in range(7)]
    assert train[1].tolist() != [content[3074 * number] for number in range(7)]  # the coarse ones
    assert train[0][6].tobytes() == content[3074 * 6 + 2 :]
    assert test[0].shape == (3, 3, 32, 32)
    assert_same(read_any_cifar(python, CIFAR100), (train, test))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"labels": [1]}, "holds labels; expected data and labels"),
        ({b"data": some(1, 3072)}, "holds data; expected data and labels"),
        ({b"data": b"x" * 3072, b"labels": [1]}, "holds data, labels; expected data and labels"),
        (
            {b"data": some(2, 3072), b"labels": [1]},
            r"has data \(2, 3072\) and 1 labels; expected 1 ",
        ),
        (
            {b"data": some(1, 3071), b"labels": [1]},
            r"has data \(1, 3071\) and 1 labels; expected 1 ",
        ),
        ({b"data": some(0, 3072), b"labels": []}, r"has data \(0, 3072\) and 0 labels"),
        ({b"data": some(1, 3072), b"labels": [10]}, "has the label 10; expected 0 to 9"),
        ({b"data": some(1, 3072), b"labels": [-1]}, "has a label that is no class number"),
        ({b"data": some(1, 3072), b"labels": [256]}, "has a label that is no class number"),
        ({b"data": some(1, 3072), b"labels": [b"cat"]}, "has a label that is no class number"),
    ],
)
def test_a_python_batch_of_other_content_is_refused(
    tmp_path: Path, batch: dict[bytes, object], message: str
) -> None:
    written(tmp_path / "test_batch", python_batch(records(1, 0)))
    written(tmp_path / "data_batch_1", Python2Pickle().dictionary(batch))
    with pytest.raises(LandscapeError, match=f"data_batch_1 in .*{message}"):
        read_cifar(tmp_path)


def test_trap_a_python_batch_that_runs_code_does_not(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    written(tmp_path / "test_batch", python_batch(records(1, 0)))
    written(tmp_path / "data_batch_1", b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(canary))
    with pytest.raises(LandscapeError, match=r"data_batch_1 in .* asks for os\.system, which the"):
        read_cifar(tmp_path)
    assert not canary.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_for_a_batch_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    written(tmp_path / "test_batch.bin", records(1, 0))
    os.mkfifo(tmp_path / "data_batch_1.bin")
    with pytest.raises(LandscapeError, match=r"data_batch_1\.bin cannot be read: it is no plain"):
        read_cifar(tmp_path)


def test_a_folder_of_links_to_the_files_is_read(tmp_path: Path) -> None:
    for name, content in BATCHES.items():
        written(tmp_path / "elsewhere" / name, content)
    (tmp_path / "here").mkdir()
    for name in BATCHES:
        (tmp_path / "here" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert_same(read_cifar(tmp_path / "here"), read_cifar(tmp_path / "elsewhere"))


def test_the_real_part_is_the_same_in_the_python_version(data_folder: Path, tmp_path: Path) -> None:
    real = data_folder / "cifar-10" / "cifar-10-binary-subset.tar.gz"
    if not real.is_file():
        pytest.skip(f"no CIFAR-10 in {data_folder}")
    with tarfile.open(real) as tar:
        files = {Path(m.name).name: tar.extractfile(m) for m in tar if m.name.endswith(".bin")}
        members = {name: file.read() for name, file in files.items() if file is not None}
    for name, content in python_version(members, b"labels").items():
        written(tmp_path / name, content)
    train, test = read_cifar(real)
    assert (len(train[1]), len(test[1])) == (10_000, 1_000)
    assert_same(read_cifar(tmp_path), (train, test))
