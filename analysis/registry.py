"""The table of analyses: one line here makes a command, an option set and a kind of result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    import xarray

    from landscape.analysis.grouping import Grouping
    from landscape.analysis.work import Work
    from landscape.data_store.records import Checkpoint
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
        ``(checkpoints, settings, landscape, work) -> dataset`` of `schema`. `landscape` is None
        if the loss is not used; a long computation is made of blocks of `work`. The companions
        of a group follow its checkpoints, None where the store lacks one.
    grouping
        From the settings to the way checkpoints make questions.
    uses_loss
        False if `landscape` is not needed.
    measures
        Variables that the command line prints, in order.
    companions
        Addresses of further points that a group is asked about with, if they can be found.
    cost
        From the settings, the examples of each split, and how many checkpoints are in a group, to
        about how many forward passes of one example a question takes.
    self_test
        Known answers beside what the analysis makes of them, where it has such a table: the
        command's ``--self-test``.
    """

    schema: ResultSchema
    settings: type[Any]
    compute: Callable[[Sequence[Any], Any, Any, Work], xarray.Dataset]
    grouping: Callable[[Any], Grouping]
    uses_loss: bool
    measures: tuple[str, ...]
    companions: Callable[[Sequence[Checkpoint]], tuple[str, ...]] = lambda _group: ()
    cost: Callable[[Any, Mapping[str, int], int], float] | None = None
    self_test: Callable[[], xarray.Dataset] | None = None


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
