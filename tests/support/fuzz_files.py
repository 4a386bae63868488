"""Hostile files of landscape's own formats: damaged, or sealed anew with wrong content."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.foreign_out import read_embedded, restored
from landscape.data_store.image import read_image, seal
from landscape.data_store.level_file import level_image, object_image, read_level, read_object
from landscape.data_store.manifest import manifest_bytes, read_manifest
from landscape.data_store.params import Array
from landscape.data_store.points import file_checkpoint
from landscape.data_store.records import Checkpoint
from landscape.data_store.results import load_result
from landscape.data_store.resume_file import load_resume, read_resume, save_resume
from landscape.data_store.ticket_file import read_ticket, ticket_image
from tests.support import fuzz_corpus as corpus
from tests.support import fuzz_seals as seals
from tests.support.fuzz import NUMBERS, altered, damaged, json_bytes
from tests.support.fuzz_watch import SECRET, SIZE_LIMIT, Target

_DTYPES = ("f4", "f8", "f2", ">f4", "i1", "u1", "i4", "i8", "u8", "?")


@cache
def good_image(kind: str) -> bytes:
    """A good file of each sealed kind."""
    if kind == "level":
        return level_image(corpus.level(2, buffered=True))
    if kind == "object":
        return object_image(corpus.SPEC, corpus.point(0, buffered=True))
    if kind == "ticket":
        return ticket_image(corpus.checkpoint(), {"run": "imp", "task": "digits"})
    state = {f"optimizer/{i}": np.arange(i, dtype="f4") for i in range(12)}
    state |= {"theta/": np.zeros(500), "step": np.array([2]), "mask": np.ones((3, 4), bool)}
    with tempfile.TemporaryDirectory() as place:
        save_resume(Path(place) / "resume.h5", 1, state)
        return (Path(place) / "resume.h5").read_bytes()


def image(draws: Random, kind: str) -> bytes:
    """A hostile file of a sealed kind."""
    good = good_image(kind)
    how = draws.randrange(100)
    if how < 15:
        return damaged(draws, good)
    if how < 40:
        return seals.damaged_hdf5(draws, good)
    if how < 55 and good[-16:].isdigit():
        return seals.damaged_table(draws, good)
    arrays = dict(_arrays(kind))
    header = json.loads(arrays.pop("header").tobytes())
    if how < 80:
        content = json_bytes(draws, altered(draws, header))
        return seals.with_header(good, content)
    if how < 99 or kind not in ("level", "ticket"):
        changed = altered_arrays(draws, arrays)
        header = altered(draws, header) if draws.random() < 0.3 else header
        return seal(_plain(header), changed, compress=draws.random() < 0.5)
    return bomb(draws, header)


@cache
def _arrays(kind: str) -> dict[str, Array]:
    """The arrays of the good file."""
    return seals.opened(good_image(kind))


def _plain(header: Any) -> Any:
    """A header as `seal` takes it: an object."""
    return header if isinstance(header, dict) else {"header": header}


def altered_arrays(draws: Random, arrays: dict[str, Array]) -> dict[str, Array]:
    """Arrays of which some have other types, shapes or values, or are missing."""
    changed = dict(arrays)
    for _ in range(draws.choice((1, 1, 2, 3))):
        name = draws.choice(list(changed) or ["x"])
        old = changed.get(name, np.zeros(3))
        how = draws.randrange(9)
        if how == 0:
            changed.pop(name, None)
        elif how == 1:
            with np.errstate(all="ignore"):
                changed[name] = old.astype(draws.choice(_DTYPES))
        elif how == 2:
            changed[name] = old.reshape(-1)[: draws.randrange(old.size + 1)]
        elif how == 3:
            changed[name] = old.T
        elif how == 4:
            changed[name] = old[..., None]
        elif how == 5:
            changed[name] = np.full(old.shape, draws.choice((np.nan, np.inf, -1, 0, 1e300)))
        elif how == 6:
            changed[name] = np.repeat(old, draws.choice((0, 2, 100)), axis=-1) if old.ndim else old
        elif how == 7:
            changed[name] = np.zeros(draws.choice(((), (0,), (0, 5), (5, 0), (10**6,), (1, 1, 1))))
        else:
            changed[f"{name}-{draws.randrange(3)}"] = old
    return changed


def bomb(draws: Random, header: dict[str, Any]) -> bytes:
    """A small file that, taken at its word, needs a thousand times its size or more."""
    weights, points = 2 ** draws.choice((20, 24, 26)), draws.choice((1, 2, 100, 1000))
    shape = draws.choice(([weights], [weights // 8, 8], [weights, *[1] * 40]))
    fields = {
        "points": ["final", *(f"step-{i}" for i in range(1, points))],
        "spec": {"names": ["w"], "shapes": [shape], "dtype": draws.choice(("float32", "float64"))},
        "prunable": draws.choice((["w"], [])), "encoding": "survivors", "buffers": [],
    }  # fmt: skip
    covered = weights if fields["prunable"] else 0
    arrays = {
        "values": np.zeros((points, 0), np.float32),
        "mask": np.zeros(covered // 8, np.uint8),
        "dense": np.zeros((points, 0 if covered else 2**24 // points), np.float32),
        "buffers": np.zeros((points, 0)), "counters": np.zeros((points, 0), np.int64),
        "trace": np.zeros((1, 8)),
    }  # fmt: skip
    return seal({**header, **fields}, arrays, compress=True)


def manifest(draws: Random, name: str, version: tuple[int, int], record: Any) -> bytes:
    """A hostile manifest."""
    how = draws.randrange(10)
    good = manifest_bytes(name, version, record)
    if how < 2:
        return damaged(draws, good)
    if how < 4:
        return seals.manifest(damaged(draws, good))
    if how < 5:
        whole = {"format": name, "version": version, **record, "sha256": "0" * 64}
        return seals.manifest(json_bytes(draws, altered(draws, whole)))
    changed = altered(draws, record)
    if not isinstance(changed, dict) or how < 6:
        return seals.manifest(json_bytes(draws, {**record, "sha256": "0" * 64}))
    return manifest_bytes(name, version, changed)


def result(draws: Random, kind: str, first: int) -> tuple[str, bytes]:
    """A hostile result and where it lies in a store: under its question's id, if it has one."""
    record = corpus.record(kind, first)
    place = corpus.result_place(record)
    good = corpus.store_files()[place]
    netcdf, old, table = seals.result_parts(good)
    how = draws.randrange(10)
    sizes = None
    if how < 1:
        return place, damaged(draws, good)
    if how < 2:
        return place, seals.result(*(damaged(draws, part) for part in (netcdf, old, table)))
    if how < 3:
        sizes = (draws.choice((0, 1, 10**9, len(old))), draws.choice((0, 5, 10**15, len(table))))
    if how < 6:
        record = altered(draws, record)
        old = json_bytes(draws, record)
    if how > 3:
        entries = json.loads(table)
        if draws.random() < 0.2:
            draws.choice(entries)[3:6] = ["S" + str(draws.choice(NUMBERS)), [10**6], 0]
        elif draws.random() < 0.2:
            _make_bomb(draws, entries)
        else:
            entries = altered(draws, entries)
        table = json_bytes(draws, entries)
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        place = corpus.result_place(record)
    if not place.isprintable() or ".." in place or place.startswith("/") or len(place) > 200:
        place = corpus.result_place(corpus.record(kind, first))
    return place, seals.result(netcdf, old, table, sizes)


def _make_bomb(draws: Random, entries: list[Any]) -> None:
    """Claim arrays of no bytes and endless shape, or many on the same bytes."""
    if draws.random() < 0.5:
        draws.choice(entries)[4] = draws.choice(([0, 2**62], [2**62, 0, 2**62], [0] * 70))
        return
    for i in range(draws.choice((10, 1000))):
        entries.append([f"copy{i}", False, [f"d{i}"], "|i1", [4000], 0, {}])


def embedded(draws: Random, suffix: str) -> tuple[str, bytes]:
    """A hostile exported file: what is embedded altered, the rest as it was, or damaged."""
    from landscape.data_store import foreign_out

    make = foreign_out.torch_image if suffix == ".pt" else foreign_out.safetensors_image
    good = exported(suffix)
    if draws.random() < 0.2:
        return suffix, damaged(draws, good)
    content = json.loads(foreign_out._text(corpus.checkpoint(), {"run": "imp"}))
    changed = json_bytes(draws, altered(draws, content))
    genuine = foreign_out._text
    try:
        foreign_out._text = lambda *_: changed.decode("utf-8", "replace")  # type: ignore[assignment]
        return suffix, make(corpus.checkpoint(), {})
    except UnicodeError:
        return suffix, good
    finally:
        foreign_out._text = genuine


@cache
def exported(suffix: str) -> bytes:
    """A good exported file."""
    from landscape.data_store import foreign_out

    make = foreign_out.torch_image if suffix == ".pt" else foreign_out.safetensors_image
    return make(corpus.checkpoint(), {"run": "imp"})


def _read_embedded(given: tuple[str, bytes], scratch: Path) -> None:
    """Read an exported file as an import does."""
    from landscape.data_store.foreign import read_state

    path = _put(scratch / f"export{given[0]}", given[1])
    state = read_state(path, size_limit=SIZE_LIMIT)
    found = read_embedded(path)
    if found is not None:
        _look_at(restored(path, state, found))


def _put(path: Path, content: bytes) -> Path:
    """A file with this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _look_at(checkpoint: Checkpoint) -> None:
    """What every command does with a checkpoint."""
    checkpoint.density, checkpoint.digest, checkpoint.point  # noqa: B018
    checkpoint.spec.unflatten(checkpoint.theta)
    for name in checkpoint.mask.prunable:
        checkpoint.mask.layer(name)


def _read_level(content: bytes, scratch: Path) -> None:
    """Read a level file as ``landscape show FILE.h5`` does."""
    path = _put(scratch / "level_0002.h5", content)
    level = read_level(path, limit=SIZE_LIMIT)
    if level.trace.early_stop_row is not None:
        level.trace.column("step")[level.trace.early_stop_row]
    _look_at(file_checkpoint(path, limit=SIZE_LIMIT))


def _read_object(content: bytes, scratch: Path) -> None:
    """Read an object under the digest of the good one."""
    digest = corpus.point(0, buffered=True).digest(corpus.SPEC)
    read_object(_put(scratch / "object.h5", content), digest, limit=SIZE_LIMIT)


def _read_resume(content: bytes, scratch: Path) -> None:
    """Read a resume file in both ways."""
    path = _put(scratch / "resume.h5", content)
    load_resume(path, 1, limit=SIZE_LIMIT)
    read_resume(path, limit=SIZE_LIMIT)


def _read_ticket(content: bytes, scratch: Path) -> None:
    """Read a ticket."""
    checkpoint, _ = read_ticket(_put(scratch / "ticket.h5", content), limit=SIZE_LIMIT)
    _look_at(checkpoint)


def _read_result(given: tuple[str, bytes], scratch: Path) -> None:
    """Read a result where it lies."""
    path = _put(scratch / given[0], given[1])
    ds = load_result(path, root=scratch, limit=SIZE_LIMIT)
    repr(ds)


def _read_manifest(content: bytes, scratch: Path) -> None:
    """Read a run.json."""
    path = _put(scratch / "run.json", content)
    read_manifest(path, layout.RUN_FORMAT, layout.RUN_VERSION)


def _any_hdf5(draws: Random) -> bytes:
    """Any HDF5 image, of any version and with anything in it, under a seal, damaged inside."""
    from tests.support.fuzz_hdf5 import images

    return seals.damaged_hdf5(draws, draws.choice(images()))


def _read_any_hdf5(content: bytes, scratch: Path) -> None:
    """Unseal an image."""
    path = _put(scratch / "any.h5", content)
    _, arrays = read_image(path, format_name="any", version=(1, 0), limit=SIZE_LIMIT)
    assert not any(SECRET[:10] in array.tobytes() for array in arrays.values())


def _of(kind: str) -> Callable[[Random], bytes]:
    """Hostile images of a kind."""
    return lambda draws: image(draws, kind)


def _some_result(draws: Random) -> tuple[str, bytes]:
    """A hostile result of either kind."""
    return result(draws, draws.choice(("barrier", "overlap")), draws.randrange(2))


def _some_manifest(draws: Random) -> bytes:
    """A hostile run.json."""
    record = corpus.description("imp", imported=draws.random() < 0.3)
    return manifest(draws, layout.RUN_FORMAT, layout.RUN_VERSION, record)


TARGETS = (
    Target("level", _of("level"), _read_level),
    Target("object", _of("object"), _read_object),
    Target("resume", _of("resume"), _read_resume),
    Target("ticket", _of("ticket"), _read_ticket),
    Target("hdf5", _any_hdf5, _read_any_hdf5),
    Target("result", _some_result, _read_result),
    Target("manifest", _some_manifest, _read_manifest),
    Target("exported", lambda draws: embedded(draws, draws.choice((".pt", ".safetensors"))),
           _read_embedded),
)  # fmt: skip
