"""Manifests: the JSON files of a store and of a run, sealed by a SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.data_store.errors import DamagedFile, LandscapeError
from landscape.data_store.files import read_file

_KEY = b'"sha256": "'
_BLANK = b"0" * 64
_LIMIT = 2**24


def manifest_bytes(format_name: str, version: tuple[int, int], record: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest: readable JSON whose last entry is the digest of all of them."""
    whole = {"format": format_name, "version": version, **record, "sha256": _BLANK.decode()}
    content = json.dumps(whole, indent=1).encode()
    head, key, tail = content.rpartition(_KEY)
    return head + key + hashlib.sha256(content).hexdigest().encode() + tail[64:]


def read_manifest(
    path: Path, format_name: str, version: tuple[int, int], *, root: Path | None = None
) -> dict[str, Any]:
    """The record of a manifest.

    Raises `LandscapeError`, naming the file, if it is cut, flipped, of another format, or of a
    newer major version; the latter names the version of landscape that wrote it, if it is
    stated.
    """
    content = read_file(path, root=root, limit=_LIMIT)
    try:
        record: dict[str, Any] = json.loads(content)
        found, major = record["format"], int(record["version"][0])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged: it is no {format_name} manifest") from error
    if found != format_name:
        raise DamagedFile(f"{path} says {found!r:.80}; expected {format_name!r}")
    head, key, tail = content.rpartition(_KEY)
    blank = head + key + _BLANK + tail[64:]
    is_whole = hashlib.sha256(blank).hexdigest().encode() == tail[:64]
    if major > version[0] and (is_whole or not key):  # a newer one may be sealed in another way
        raise newer(path, major, version[0], str(record.get("written_by", "")))
    if not is_whole:
        raise DamagedFile(
            f"{path} is damaged: its content does not match its SHA-256; restore it from a copy"
        )
    return record


def newer(path: Path, found: int, known: int, written_by: str) -> LandscapeError:
    """Error for a file of a format version that this program does not know."""
    is_version = re.fullmatch(r"[0-9A-Za-z.+!-]{1,40}", written_by)
    needed = f"landscape {written_by}" if is_version else "a newer landscape"
    return LandscapeError(
        f"{path} is of format version {found} and this version reads up to {known}: it needs "
        f"{needed}; update landscape"
    )
