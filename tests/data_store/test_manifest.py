"""Manifests: readable JSON in which no bit can change unseen."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store import layout, manifest
from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.manifest import manifest_bytes, newer, read_manifest
from landscape.data_store.records import RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, open_store

RECORD = {
    "name": "imp",
    "written_by": "0.1.0",
    "config": to_json(RunConfig()),
    "imported": {"sources": [{"name": "a.pt", "sha256": "0" * 64}]},  # a key like the seal's
}
NAME, VERSION = "probe", (1, 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "probe.json"


def read(path, **options):
    return read_manifest(path, NAME, VERSION, **options)


def plain(content):
    """What a manifest says besides its seal."""
    record = json.loads(content)
    return {k: v for k, v in record.items() if k not in ("format", "version", "sha256")}


def sealed(text):
    """Any JSON text whose last entry is a blank digest, under a right one."""
    blank = text.encode()
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode())


def test_a_record_comes_back(path):
    path.write_bytes(manifest_bytes(NAME, VERSION, RECORD))
    found = read(path)
    assert {k: v for k, v in found.items() if k in RECORD} == RECORD
    assert (found["format"], found["version"]) == ("probe", [1, 0])
    assert list(json.loads(path.read_bytes()))[-1] == "sha256"


def test_the_seal_is_the_digest_of_the_bytes_with_a_blank_in_its_place():
    content = manifest_bytes(NAME, VERSION, {"name": "imp"})
    digest = json.loads(content)["sha256"]
    blank = content.replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == digest
    assert content == (
        b'{\n "format": "probe",\n "version": [\n  1,\n  0\n ],\n "name": "imp",\n "sha256": "'
        + digest.encode()
        + b'"\n}'
    )


@given(st.dictionaries(st.text().filter(lambda k: k != "sha256"), st.text() | st.integers()))
def test_any_record_comes_back(tmp_path_factory, record):
    record = {k: v for k, v in record.items() if k not in ("format", "version")}
    path = tmp_path_factory.mktemp("any") / "probe.json"
    path.write_bytes(manifest_bytes(NAME, VERSION, record))
    assert plain(path.read_bytes()) == record
    read(path)


def real_manifests(tmp_path):
    store = open_store(tmp_path / "store")
    store.create("imp", {k: v for k, v in RECORD.items() if k != "name"})
    return {
        "store": layout.manifest(store.root),
        "run": layout.run_manifest(store.root, "imp"),
    }


@pytest.mark.parametrize("which", ["store", "run"])
def test_every_flipped_bit_is_found(tmp_path, which, tally, monkeypatch):
    """All bits of a real manifest, one after the other: none is read, and all are damage."""
    path = real_manifests(tmp_path)[which]
    content = path.read_bytes()
    damaged = bytearray(content)
    monkeypatch.setattr(manifest, "read_file", lambda *_, **__: bytes(damaged))  # not the disk
    missed, unnamed = [], 0
    for place in range(8 * len(content)):
        damaged[place // 8] ^= 1 << place % 8
        try:
            if which == "run":
                Run(tmp_path / "store", "imp").description  # noqa: B018
            else:
                open_store(tmp_path / "store")
            missed.append(place)
        except DamagedFile as error:
            unnamed += str(path) not in str(error)
        damaged[place // 8] ^= 1 << place % 8
    assert (missed, unnamed) == ([], 0)
    assert damaged == content
    tally.add("flips", 8 * len(content))


def test_every_cut_is_found(path):
    content = manifest_bytes(NAME, VERSION, RECORD)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFile, match=r"probe\.json is damaged: it is no probe manifest$"):
            read(path)
    path.write_bytes(content + b" ")
    with pytest.raises(DamagedFile, match=r"does not match its SHA-256; restore it from a copy$"):
        read(path)


def test_an_edited_value_is_found(path):
    content = manifest_bytes(NAME, VERSION, RECORD)
    path.write_bytes(content.replace(b'"name": "imp"', b'"name": "imq"'))
    with pytest.raises(DamagedFile, match=r"^.*probe\.json is damaged: its content does not match"):
        read(path)
    path.write_bytes(json.dumps(json.loads(content)).encode())  # only the spaces differ
    with pytest.raises(DamagedFile, match="does not match its SHA-256"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b"\0" * 50,
        b"[" * 100_000,
        b'{"format": "probe"}',
        b'{"format": "probe", "version": []}',
        b'{"format": "probe", "version": 1}',
        b'{"format": "probe", "version": {}}',
        b'{"format": "probe", "version": [null]}',
        b'{"format": "probe", "version": ["x"]}',
        b'{"format": "probe", "version": [1e999]}',
        b'{"format": "probe", "version": [NaN]}',
        b'{"format": "probe", "version": [' + b"9" * 5000 + b"]}",
    ],
)
def test_what_is_no_manifest_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"probe\.json is damaged: it is no probe manifest$"):
        read(path)


def test_a_manifest_without_a_seal_is_refused(path):
    for record in ({}, {"sha256": ""}, {"sha256": "0" * 64}, {"sha256": "0" * 63}, {"sha256": 3}):
        path.write_text(json.dumps({"format": "probe", "version": [1, 0], **record}))
        with pytest.raises(DamagedFile, match="does not match its SHA-256"):
            read(path)


@pytest.mark.parametrize("name", ["landscape-run", "x" * 10_000, "\n", 5, None, ["probe"]])
def test_another_format_is_named(path, name):
    path.write_bytes(manifest_bytes(name, VERSION, {}))
    message = r"^.*probe\.json says .{0,80}; expected 'probe'$"
    with pytest.raises(DamagedFile, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written_by", "needed"),
    [
        ("2.1.0", r"landscape 2\.1\.0"),
        ("3.0rc1+g12", r"landscape 3\.0rc1\+g12"),
        ("", "a newer landscape"),
        ("\033[2J", "a newer landscape"),
        ("9" * 1000, "a newer landscape"),
        (7, "landscape 7"),
        (None, "a newer landscape|landscape None"),
    ],
)
def test_a_newer_version_names_the_one_it_needs(path, written_by, needed):
    path.write_bytes(manifest_bytes(NAME, (2, 0), {"written_by": written_by}))
    message = (
        rf"json is of format version 2 and this version reads up to 1: it needs ({needed}); up"
    )
    with pytest.raises(LandscapeError, match=message) as caught:
        read(path)
    assert not isinstance(caught.value, DamagedFile)  # nobody may move it aside


def test_a_newer_version_may_be_sealed_in_another_way(path):
    path.write_text('{"format": "probe", "version": [2, 0], "seal": "of another kind"}')
    with pytest.raises(LandscapeError, match="is of format version 2") as caught:
        read(path)
    assert not isinstance(caught.value, DamagedFile)


def test_a_flipped_version_is_no_newer_one(path):
    content = manifest_bytes(NAME, (1, 0), {"written_by": "0.1.0"})
    path.write_bytes(content.replace(b"  1,", b"  3,"))
    with pytest.raises(DamagedFile, match="does not match its SHA-256"):
        read(path)


def test_a_newer_minor_version_is_read(path):
    path.write_bytes(manifest_bytes(NAME, (1, 7), {"more": 1}))
    assert read(path)["more"] == 1


def test_twice_the_same_entry_is_read_as_it_is_sealed(path):
    text = '{"format": "probe", "version": [1], "a": 1, "a": 2, "sha256": "' + "0" * 64 + '"}'
    path.write_bytes(sealed(text))
    assert read(path)["a"] == 2


def test_a_manifest_is_no_place_for_megabytes(path, monkeypatch):
    path.write_bytes(manifest_bytes(NAME, VERSION, {"pad": "x" * 2**24}))
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("it was read"))
    with pytest.raises(LandscapeError, match=rf"more than {2**24} is refused"):
        read(path)


def test_a_link_in_a_store_is_refused(path):
    path.write_bytes(manifest_bytes(NAME, VERSION, {}))
    link = path.with_name("link.json")
    link.symlink_to(path)
    assert read(link)["format"] == "probe"
    with pytest.raises(LandscapeError, match=r"link\.json is a symbolic link"):
        read(link, root=path.parent)


def test_the_sentence_for_a_newer_file(path):
    assert str(newer(path, 3, 1, "")) == (
        f"{path} is of format version 3 and this version reads up to 1: it needs a newer "
        "landscape; update landscape"
    )
