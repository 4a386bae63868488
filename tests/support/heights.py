"""The four definitions of a barrier, one by one as they are written."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.data_store.schemas.barrier import DEFINITIONS


def naive_heights(alpha: Sequence[float], values: Sequence[float]) -> list[list[float]]:
    """Height and position by each definition, without arrays."""
    first, last = values[0], values[-1]
    tops: dict[str, tuple[float, float]] = {}
    for definition in DEFINITIONS:
        best = None
        for a, value in zip(alpha, values, strict=True):
            reference = {
                "lmc": (first + last) / 2,
                "deviation": (1 - a) * first + a * last,
                "over_max": max(first, last),
                "increase": min(first, last),
            }[definition]
            if best is None or value - reference > best[0]:
                best = (value - reference, a)
        tops[definition] = best
    return [list(tops[d]) for d in DEFINITIONS]
