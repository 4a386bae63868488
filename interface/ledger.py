"""The ledger of sweeps, in their store: who is at a step, and what failed the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from landscape.data_store import layout
from landscape.data_store.errors import DamagedFile
from landscape.data_store.files import refuse_links, write_over
from landscape.data_store.lock import is_held
from landscape.data_store.manifest import manifest_bytes, read_manifest
from landscape.data_store.store import Run, Store
from landscape.experiment import Question
from landscape.steps import Step, digest

POLL_SECONDS = 0.5
"""How often it is looked whether somebody else is done with a step."""


def failure_file(root: Path, step: Step) -> Path:
    """File that says why a step failed the last time it was tried."""
    return layout.failure_file(root, digest(step))


def claim_file(root: Path, question: Question) -> Path:
    """File that is locked while a question is being answered, whatever its experiment calls it."""
    unnamed = replace(question, name="", ask=replace(question.ask, name=""))
    return layout.sweeps(root) / f".{digest(unnamed)}.lock"


@contextmanager
def claiming(question: Question, store: Store, listener: Callable[[str], None]) -> Iterator[None]:
    """Hold a question that several sweeps may be asking, waiting for who holds it.

    Whoever comes second finds it answered. Freed when the process ends, however it does. On a
    disk without locks nobody waits: a question answered twice has the same answer.

    Parameters
    ----------
    listener
        Is told in a sentence that it must wait.
    """
    path = claim_file(store.root, question)
    lock = FileLock(path)
    try:
        refuse_links(path, store.root)
        path.parent.mkdir(exist_ok=True)
        if is_claimed(question, store):
            listener(f"{question.name!r} is being answered by another process; waiting for it")
        lock.acquire(poll_interval=POLL_SECONDS)
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # one that waits for this very file may go on, and finds an answer
            path.unlink()
        lock.release()


def is_claimed(question: Question, store: Store) -> bool:
    """True if a process is answering a question for a sweep; asking changes nothing."""
    try:
        import fcntl

        with claim_file(store.root, question).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):  # taken, or a system that cannot be asked
        return True
    return False


def is_running(step: Step, store: Store) -> bool:
    """True if a process is at a step."""
    if isinstance(step, Question):
        return is_claimed(step, store)
    return is_held(Run(store.root, step.name, store.size_limit))


def keep_failure(step: Step, store: Store, why: str) -> None:
    """Note that a step failed; raises `LandscapeError` if the disk refuses."""
    record = {"name": step.name, "why": why}
    content = manifest_bytes(layout.FAILURE_FORMAT, layout.FAILURE_VERSION, record)
    write_over(failure_file(store.root, step), content, root=store.root, durable=False)


def forget_failure(step: Step, store: Store) -> None:
    """Note that a step is done."""
    with suppress(OSError):
        failure_file(store.root, step).unlink(missing_ok=True)


def failure(step: Step, store: Store) -> str | None:
    """Why a step failed the last time; None if it did not, or was not tried.

    Raises `LandscapeError` for a note that cannot be read.
    """
    path = failure_file(store.root, step)
    if not path.exists():
        return None
    try:
        record = read_manifest(path, layout.FAILURE_FORMAT, layout.FAILURE_VERSION, root=store.root)
    except DamagedFile as error:
        return f"of why it failed is only known that {error}"
    return str(record.get("why", f"{path} does not say why"))
