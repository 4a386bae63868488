"""Labels of the checkpoints and pairs a result is about, and whether pairs can be compared."""

from __future__ import annotations

from typing import Any

from landscape.data_store.errors import LandscapeError
from landscape.data_store.records import Checkpoint


def pair_coordinates(a: Checkpoint, b: Checkpoint) -> dict[str, list[Any]]:
    """Coordinates over ``pair`` of a result about one pair, as the schemas name them.

    Parameters
    ----------
    a, b
        First and second checkpoint.

    Returns
    -------
    dict
        Lists of length one: ``pair`` ("ADDRESS_A ADDRESS_B"), ``run`` (of the first),
        ``level_a``, ``level_b`` (NaN where a checkpoint has no level), ``density_a`` and
        ``density_b`` (fractions of the prunable weights).
    """
    return {
        "pair": [f"{a.address} {b.address}"],
        "run": [a.run],
        "level_a": [_level(a)],
        "level_b": [_level(b)],
        "density_a": [a.density],
        "density_b": [b.density],
    }


def checkpoint_coordinates(checkpoint: Checkpoint) -> dict[str, list[Any]]:
    """Coordinates over ``checkpoint`` of a result about one, as the schemas name them.

    Returns
    -------
    dict
        Lists of length one: ``checkpoint`` (its address), ``run``, ``level`` (NaN where it has
        none), ``density`` (fraction of the prunable weights).
    """
    return {
        "checkpoint": [checkpoint.address],
        "run": [checkpoint.run],
        "level": [_level(checkpoint)],
        "density": [checkpoint.density],
    }


def require_same_spec(a: Checkpoint, b: Checkpoint) -> None:
    """Raise unless both checkpoints hold the same tensors in the same order.

    Raises
    ------
    LandscapeError
        Naming both checkpoints and the first tensor in which they differ.
    """
    difference = a.spec.mismatch(b.spec)
    if difference:
        raise LandscapeError(
            f"{a.address or 'the first checkpoint'} and {b.address or 'the second'} hold "
            f"different networks and cannot be compared: {difference}"
        )


def _level(checkpoint: Checkpoint) -> float:
    """The level as a number, NaN where it is unknown."""
    return float("nan") if checkpoint.level is None else float(checkpoint.level)
