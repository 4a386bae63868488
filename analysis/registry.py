"""The table of analyses: one line here makes a command, an option set and a kind of result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    import xarray

    from landscape.data_store.schema import ResultSchema


@dataclass(frozen=True)
class Analysis:
    """A question about checkpoints.

    Parameters
    ----------
    schema
        What the answer holds.
    settings
        Frozen dataclass of its options, each made by `landscape.data_store.settings.option`.
        A field ``bn`` also sets the evaluator's policy.
    compute
        ``(checkpoints, settings, landscape) -> dataset`` of `schema`.
    arity
        How many checkpoints one question takes; more of them are asked about in turn,
        each with its successor (2) or alone (1).
    uses_loss
        False if `landscape` is not needed (it is None then).
    measures
        Variables that the command line prints, in order.
    """

    schema: ResultSchema
    settings: type[Any]
    compute: Callable[..., xarray.Dataset]
    arity: int
    uses_loss: bool
    measures: tuple[str, ...]


ANALYSES: Table[Analysis] = Table(
    "analysis",
    {
        "barrier": Entry(
            "landscape.analysis.barrier:ANALYSIS",
            "Measure the barrier on the straight line between checkpoints.",
            "Frankle et al. (2020), Linear mode connectivity and the lottery ticket hypothesis",
        ),
        "overlap": Entry(
            "landscape.analysis.overlap:ANALYSIS",
            "Compare the masks of checkpoints, layer by layer.",
            "Jaccard index against random masks of the same layer sizes",
        ),
    },
)
