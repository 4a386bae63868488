"""Transfers: which task and optimiser a run's masks were found with, and trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from landscape.data_store.address import is_run_name

if TYPE_CHECKING:
    from landscape.data_store.store import Run


def transfer(run: Run) -> dict[str, str]:
    """Where the masks of a run were found, and where they were trained; read from manifests.

    Returns
    -------
    dict
        ``parent``, the run a branch begins at; ``source`` and ``source_optimizer``, task and
        optimiser of the run that pruned the masks; ``target`` and ``optimizer``, those of the run
        itself; ``mask`` and ``retrain``, what a branch made of the mask and of the weights. Empty
        where a thing is unknown, as that of a parent which the store does not hold.

    A run that prunes is its own source. A branch of one level has the mask of its parent, whose
    source it shares if that level is itself a branch's first.
    """
    record = run.description
    config, branch = record.get("config", {}), record.get("branch", {})
    found = _finder(run, record)
    texts = {
        "parent": _place(branch)[0],
        "source": found.get("task"),
        "source_optimizer": found.get("optimizer"),
        "target": config.get("task"),
        "optimizer": config.get("optimizer"),
        "mask": branch.get("mask", "preserved"),
        "retrain": config.get("retrain"),
    }
    return {name: str(value or "") for name, value in texts.items()}


def _finder(run: Run, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the run that pruned the masks; none if it is not in the store."""
    config: Mapping[str, Any] = record.get("config", {})
    if config.get("levels") != 1:
        return config
    seen = set()
    while "branch" in record:
        branch = record["branch"]
        name, level = _place(branch)
        seen.add(run.name)
        run = type(run)(run.root, name, run.size_limit)
        if name in seen or not is_run_name(name) or not run.exists:
            return {}
        record = run.description
        config = record.get("config", {})
        if level != "0" or branch.get("mask") == "pruned":
            break
    return config


def _place(branch: Mapping[str, Any]) -> tuple[str, str]:
    """Run and level that a branch begins at; empty for a run that is none."""
    name, _, level = str(branch.get("parent", "")).rpartition("@")
    return name, level
