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
        Whether `landscape` is needed: for all settings, or from the settings.
    measures
        Variables that the command line prints, in order: for all settings, or from the settings.
    companions
        From a group and the settings to the addresses of further points that it is asked about
        with, if they can be found.
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
    uses_loss: bool | Callable[[Any], bool]
    measures: tuple[str, ...] | Callable[[Any], tuple[str, ...]]
    companions: Callable[[Sequence[Checkpoint], Any], tuple[str, ...]] = lambda *_: ()
    cost: Callable[[Any, Mapping[str, int], int], float] | None = None
    self_test: Callable[[], xarray.Dataset] | None = None

    def needs_landscape(self, settings: Any) -> bool:
        """Whether `compute` is to be given a landscape."""
        return self.uses_loss(settings) if callable(self.uses_loss) else self.uses_loss

    def printed(self, settings: Any) -> tuple[str, ...]:
        """The variables that the command line prints."""
        return self.measures(settings) if callable(self.measures) else self.measures


ANALYSES: Table[Analysis] = Table(
    "analysis",
    {
        "barrier": Entry(
            "landscape.analysis.barrier:ANALYSIS",
            "Measure the barrier on the straight line between checkpoints.",
            "Frankle et al. (2020), Linear mode connectivity and the lottery ticket hypothesis",
        ),
        "bezier": Entry(
            "landscape.analysis.bezier:ANALYSIS",
            "Train a curve between checkpoints, and measure the barrier that is left on it.",
            "Garipov et al. (2018), Loss surfaces, mode connectivity, and fast ensembling of DNNs",
        ),
        "sublevel": Entry(
            "landscape.analysis.sublevel:ANALYSIS",
            "Ask whether successive solutions share a sublevel set, and a path inside it.",
            "Paul et al. (2023), Unmasking the lottery ticket hypothesis, definitions 2.2 and 2.4",
        ),
        "volume": Entry(
            "landscape.analysis.volume.volume:ANALYSIS",
            "Estimate the volume of the minimum within the mask, with its own verdict on the bias.",
            "Huang et al. (2020), Understanding generalization through visualizations",
        ),
        "curvature": Entry(
            "landscape.analysis.curvature:ANALYSIS",
            "Measure the Hessian within the mask: extreme eigenvalues, trace, spectral density.",
            "Ghorbani et al. (2019), An investigation into neural net optimization via Hessian "
            "eigenvalue density",
        ),
        "surface": Entry(
            "landscape.analysis.surface:ANALYSIS",
            "Map the loss on a line or plane: random, through checkpoints, of eigenvectors or PCA.",
            "Li et al. (2018), Visualizing the loss landscape of neural nets",
        ),
        "tickets": Entry(
            "landscape.analysis.tickets:ANALYSIS",
            "Judge each level's ticket before its training (strong) and after it (weak).",
            "Fischer and Burkholz (2022), Plant 'n' Seek: Can you find the winning ticket?",
        ),
        "overlap": Entry(
            "landscape.analysis.overlap:ANALYSIS",
            "Compare the masks of checkpoints, layer by layer.",
            "Jaccard index against random masks of the same layer sizes",
        ),
    },
)
