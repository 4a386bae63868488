"""Guided by coverage: ``python -m tests.support.fuzz_atheris TARGET FOLDER [libFuzzer options]``.

Needs atheris. What libFuzzer makes is put where parsers of this project begin: inside seals, as
headers, tables and pickles. Its corpus is kept in FOLDER, and what broke the law beside it.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["landscape"]):
    import landscape.data_store.foreign_out
    import landscape.data_store.level_file
    import landscape.data_store.safetensors_file
    import landscape.data_store.snapshot
    import landscape.data_store.torch_file
    from landscape.data_store import layout
    from landscape.data_store.address import parse_address
    from landscape.data_store.conditions import clause, parse_condition
    from landscape.data_store.errors import LandscapeError
    from landscape.data_store.foreign import read_state
    from landscape.data_store.manifest import read_manifest
    from landscape.data_store.points import file_checkpoint
    from landscape.data_store.results import load_result

from tests.support import fuzz_corpus as corpus
from tests.support import fuzz_files, fuzz_foreign
from tests.support import fuzz_seals as seals
from tests.support.fuzz_watch import SIZE_LIMIT, Guard

FIELDS = {"task": "task:TEXT", "level": "level:REAL", "points": "json_extract(s, '$.points'):"}

Use = Callable[[bytes, Path], object]


def _put(path: Path, content: bytes) -> Path:
    """A file with this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _words(data: bytes, scratch: Path) -> None:
    """An address, and a condition."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        parse_address(text)
    except LandscapeError:
        clause([parse_condition(text)], FIELDS, "results")


def _manifest(data: bytes, scratch: Path) -> None:
    """A run.json."""
    path = _put(scratch / "run.json", seals.manifest(data))
    read_manifest(path, layout.RUN_FORMAT, layout.RUN_VERSION)


def _record(data: bytes, scratch: Path) -> None:
    """A result's record, or behind a NUL its table."""
    good = corpus.store_files()[corpus.result_place(corpus.record("overlap", 0))]
    netcdf, record, table = seals.result_parts(good)
    parts = (netcdf, record, data[1:]) if data[:1] == b"\0" else (netcdf, data, table)
    try:
        place = corpus.result_place(json.loads(parts[1]))
        path = _put(scratch / place, seals.result(*parts)) if len(place) < 99 else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        path = None
    path = path or _put(scratch / corpus.result_place(corpus.record("overlap", 0)), b"")
    load_result(path, root=scratch, limit=SIZE_LIMIT)


def _level(data: bytes, scratch: Path) -> None:
    """A level's header, or behind a NUL the table of its arrays."""
    good = fuzz_files.good_image("level")
    if data[:1] != b"\0":
        content = seals.with_header(good, data)
    else:
        size = int(good[-16:])
        body = good[seals.BLOCK : -16 - size]
        content = seals.image(body + data[1:] + f"{len(data) - 1:016d}".encode())
    file_checkpoint(_put(scratch / "level_0002.h5", content), limit=SIZE_LIMIT)


def _safetensors(data: bytes, scratch: Path) -> None:
    """A header of safetensors."""
    good = fuzz_files.exported(".safetensors")
    body = good[8 + int.from_bytes(good[:8], "little") :]
    path = _put(scratch / "x.safetensors", len(data).to_bytes(8, "little") + data + body)
    read_state(path, size_limit=SIZE_LIMIT)


def _pickle(data: bytes, scratch: Path) -> None:
    """The pickle in a file of torch.save."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in fuzz_foreign.entries(fuzz_foreign.saved(legacy=False)).items():
            archive.writestr(name, data if name.endswith(".pkl") else content)
    read_state(_put(scratch / "x.pt", buffer.getvalue()), size_limit=SIZE_LIMIT)


def _embedded(data: bytes, scratch: Path) -> None:
    """What an exported file says beside its tensors."""
    header = json.dumps({"__metadata__": {"landscape": data.decode("latin-1")}}).encode()
    path = _put(
        scratch / "x.safetensors", len(header).to_bytes(8, "little") + header + bytes(15_000)
    )
    landscape.data_store.foreign_out.read_embedded(path)


def _seeds(name: str) -> list[bytes]:
    """What libFuzzer begins with."""
    if name == "words":
        return [b"imp@1.rewind", b"mailed@last", b"density<0.2", b"task!=mnist", b"level>=1e3"]
    if name == "manifest":
        return [corpus.run_manifest("imp"), corpus.run_manifest("x", imported=True)]
    if name == "record":
        good = corpus.store_files()[corpus.result_place(corpus.record("overlap", 0))]
        _, record, table = seals.result_parts(good)
        return [record, b"\0" + table]
    if name == "level":
        good = fuzz_files.good_image("level")
        table = good[-16 - int(good[-16:]) : -16] if good[-16:].isdigit() else b"[]"
        return [json.dumps(seals.header_of(good)).encode(), b"\0" + table]
    if name == "pickle":
        entries = fuzz_foreign.entries(fuzz_foreign.saved(legacy=False))
        return [content for name, content in entries.items() if name.endswith(".pkl")]
    content = fuzz_files.exported(".safetensors")
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    if name == "embedded":
        return [json.loads(header)["__metadata__"]["landscape"].encode()]
    return [header]


TARGETS: dict[str, Use] = {
    "words": _words, "manifest": _manifest, "record": _record, "level": _level,
    "safetensors": _safetensors, "pickle": _pickle, "embedded": _embedded,
}  # fmt: skip


def main(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz a target until libFuzzer's options end it; what breaks the law ends it with an error."""
    use = TARGETS[name]
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(_seeds(name)):
        (folder / "corpus" / f"seed-{i}").write_bytes(seed)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        guard = Guard(scratch)

        def test_one(data: bytes) -> None:
            guard.is_on = True
            try:
                use(data, scratch)
            except LandscapeError:
                return
            finally:
                guard.is_on = False
                assert not guard.crimes, guard.crimes

        test_one(_seeds(name)[0])  # what is imported late is imported now
        arguments = [sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder / "corpus")]
        atheris.Setup(arguments, test_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
