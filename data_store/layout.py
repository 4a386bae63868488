"""Where everything lies in a store, and the versions of its formats."""

from __future__ import annotations

import re
from pathlib import Path

from landscape.data_store.address import is_run_name
from landscape.data_store.files import is_temporary

STORE_FORMAT, STORE_VERSION = "landscape-store", (1, 0)
RUN_FORMAT, RUN_VERSION = "landscape-run", (1, 0)
LEVEL_FORMAT, LEVEL_VERSION = "landscape-level", (1, 0)
OBJECT_FORMAT, OBJECT_VERSION = "landscape-object", (1, 0)
RESUME_FORMAT, RESUME_VERSION = "landscape-resume", (1, 0)
TICKET_FORMAT, TICKET_VERSION = "landscape-ticket", (1, 0)
BLOCK_FORMAT, BLOCK_VERSION = "landscape-block", (1, 0)
FAILURE_FORMAT, FAILURE_VERSION = "landscape-failure", (1, 0)

RUN_MANIFEST, RESULT_SUFFIX = "run.json", ".nc"
RECORD_ATTRIBUTE = "record"


def manifest(root: Path) -> Path:
    """The store's own description."""
    return root / "store.json"


def index(root: Path) -> Path:
    """The SQLite catalogue."""
    return root / "index.sqlite"


def objects(root: Path) -> Path:
    """Folder of content-addressed points."""
    return root / "objects"


def object_file(root: Path, digest: str) -> Path:
    """File of one content-addressed point."""
    return objects(root) / digest[:2] / f"{digest}.h5"


def runs(root: Path) -> Path:
    """Folder of all runs."""
    return root / "runs"


def run_folder(root: Path, run: str) -> Path:
    """Folder of one run."""
    return runs(root) / run


def run_manifest(root: Path, run: str) -> Path:
    """Description of one run: its configuration, tensors, data and versions."""
    return run_folder(root, run) / RUN_MANIFEST


def run_lock(root: Path, run: str) -> Path:
    """Lock held by the one process that trains a run."""
    return run_folder(root, run) / ".lock"


def run_holder(root: Path, run: str) -> Path:
    """Who holds the lock of a run, in words."""
    return run_folder(root, run) / ".holder"


def run_log(root: Path, run: str) -> Path:
    """Append-only evaluations of a run as JSON lines."""
    return run_folder(root, run) / "log.jsonl"


def level_file(root: Path, run: str, level: int) -> Path:
    """File of one finished level."""
    return run_folder(root, run) / f"level_{level:04d}.h5"


def level_number(name: str) -> int | None:
    """The level whose file is called `name`, None if it is no level's."""
    found = re.fullmatch(r"level_([0-9]{4})\.h5", name)
    return int(found[1]) if found else None


def resume_file(root: Path, run: str) -> Path:
    """State of the level being trained."""
    return run_folder(root, run) / "resume.h5"


def results(root: Path) -> Path:
    """Folder of all results."""
    return root / "results"


def result_file(root: Path, kind: str, result_id: str) -> Path:
    """File of one result."""
    return results(root) / kind / result_id[:2] / f"{result_id}{RESULT_SUFFIX}"


def blocks(root: Path, result_id: str) -> Path:
    """Folder of the finished blocks of a result that is being computed."""
    return root / "partial" / result_id


def block_file(root: Path, result_id: str, digest: str) -> Path:
    """File of one block."""
    return blocks(root, result_id) / f"{digest}.h5"


def sweeps(root: Path) -> Path:
    """Folder of what sweeps note down."""
    return root / "sweeps"


def failure_file(root: Path, digest: str) -> Path:
    """File that says why the step of this digest failed the last time it was tried."""
    return sweeps(root) / f"{digest}.json"


def place(root: Path, path: Path) -> str:
    """What lies at `path` in a store going by its name, empty if that is nothing of a store."""
    if is_temporary(path.name):
        return "temporary"
    known = {}
    match path.relative_to(root).parts:
        case (_,):
            known = {manifest(root): "store", index(root): "index"}
        case ("runs", run, name) if is_run_name(run):
            known = {
                run_manifest(root, run): "run",
                resume_file(root, run): "resume",
                run_log(root, run): "log",
                run_lock(root, run): "lock",
                run_holder(root, run): "lock",
            }
            if level_number(name) is not None:
                known[path] = "level"
        case ("objects", _, _) if re.fullmatch(r"[0-9a-f]{64}", path.stem):
            known = {object_file(root, path.stem): "object"}
        case ("results", kind, _, _) if re.fullmatch(r"[0-9a-f]{40}", path.stem):
            known = {result_file(root, kind, path.stem): "result"}
        case ("partial", result, _) if re.fullmatch(r"[0-9a-f]{40}", path.stem):
            known = {block_file(root, result, path.stem): "block"}
        case ("sweeps", _) if re.fullmatch(r"[0-9a-f]{40}", path.stem):
            known = {failure_file(root, path.stem): "failure"}
        case ("sweeps", name) if re.fullmatch(r"\.[0-9a-f]{40}\.lock", name):
            known = {path: "lock"}
    return known.get(path, "")
