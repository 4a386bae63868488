"""The figures by name, and what a figure is; importing this imports no figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from landscape.data_store.schema import ResultSchema


@dataclass(frozen=True)
class Figure:
    """One kind of figure.

    Parameters
    ----------
    name
        Its name in `FIGURES`.
    summary
        One line for ``--help``.
    schema
        The kind of dataset it is drawn from.
    draw
        ``(ds, *, width=…) -> Canvas``: draws the complete figure of such a dataset, `width`
        inches wide, at the width a paper gives it unless one is asked for. A figure that draws
        a `spread` takes ``spread=`` too.
    settings
        What the command asks the analysis with, where it is not the defaults.
    caption
        What is drawn, in whole sentences: marks, colours, lines, how a number is defined.
    shows
        Names of the variables that are drawn; the caption counts what is unknown of them.
    spread
        ``range`` or ``std`` where replicates are drawn with that spread unless another is
        asked for, as the paper has it; empty where no spread is drawn.
    beside
        Metrics of the levels, as ``test_error``, that it draws beside the data: coordinates over
        ``checkpoint``, NaN for what is not the final weights of a level.
    plot
        ``(ds, *, ax=…) -> Axes``: draws all of it into given axes; None where it has, or for some
        data has, several panels.
    """

    name: str
    summary: str
    schema: ResultSchema
    draw: Callable[..., Canvas]
    settings: Mapping[str, Any] = field(default_factory=dict)
    caption: str = ""
    shows: tuple[str, ...] = ()
    spread: str = ""
    beside: tuple[str, ...] = ()
    plot: Callable[..., Axes] | None = None


FIGURES: Table[Figure] = Table(
    "figure",
    {
        "barrier-levels": Entry(
            "landscape.figures.barrier_levels:FIGURE",
            "error and loss barriers between successive levels against the weights remaining",
            "Frankle et al. 2020",
        ),
        "barrier-curves": Entry(
            "landscape.figures.barrier_curves:FIGURE",
            "loss on the straight line between checkpoints, one line per pair",
            "Goodfellow et al. 2015",
        ),
        "barrier-matrix": Entry(
            "landscape.figures.barrier_matrix:FIGURE",
            "barriers between all pairs of levels: test above the diagonal, train below",
            "Frankle et al. 2020; Saleem et al. 2024, claim 2",
        ),
        "lth-accuracy": Entry(
            "landscape.figures.lth_accuracy:FIGURE",
            "test accuracy against the weights remaining, at early stop and at the end",
            "Frankle & Carbin 2019, figure 4",
        ),
        "lth-early-stop": Entry(
            "landscape.figures.lth_early_stop:FIGURE",
            "early-stop iteration against the weights remaining",
            "Frankle & Carbin 2019, figure 4",
        ),
        "lth-curves": Entry(
            "landscape.figures.lth_curves:FIGURE",
            "test accuracy against the training iteration, by weights remaining",
            "Frankle & Carbin 2019, figure 3",
        ),
        "init-histograms": Entry(
            "landscape.figures.init_histograms:FIGURE",
            "initial weights that survive, by layer and weights remaining",
            "Frankle & Carbin 2019, figures 15 and 16",
        ),
        "transfer-targets": Entry(
            "landscape.figures.transfer_targets:FIGURE",
            "test accuracy of tickets by the task they were found on, a panel for each target",
            "Morcos et al. 2019, figures 2 to 4 and A1",
        ),
        "transfer-optimisers": Entry(
            "landscape.figures.transfer_optimisers:FIGURE",
            "test accuracy of tickets by the optimiser they were found with, a panel for each "
            "they are trained with",
            "Morcos et al. 2019, figure 5",
        ),
        "layer-ratios": Entry(
            "landscape.figures.layer_ratios:FIGURE",
            "weights kept of each layer by global pruning over those kept by layer-wise pruning",
            "Morcos et al. 2019, figure 1b",
        ),
        "overlap": Entry(
            "landscape.figures.overlap:FIGURE",
            "overlap of successive masks by layer, beside what chance would give",
        ),
        "volume-levels": Entry(
            "landscape.figures.volume_levels:FIGURE",
            "log volume per dimension by estimator, its verdicts, and test accuracy beside it",
            "Huang et al. 2020; Saleem et al. 2024, claim 1",
        ),
        "radii": Entry(
            "landscape.figures.radii:FIGURE",
            "how far rays run inside the minimum, by estimator against the weights remaining",
            "Huang et al. 2020",
        ),
        "baseline": Entry(
            "landscape.figures.baseline:FIGURE",
            "error and loss right after pruning, by the source of the masks",
            "Saleem et al. 2024, claims 5 and 6",
        ),
        "spectrum": Entry(
            "landscape.figures.spectrum:FIGURE",
            "spectral density of the Hessian, its extreme eigenvalues marked",
            "Ghorbani et al. 2019",
        ),
        "plane": Entry(
            "landscape.figures.plane:FIGURE",
            "contours over a plane, with its checkpoints and the edge of the sublevel set",
            "Li et al. 2018; Paul et al. 2023",
        ),
        "slice": Entry(
            "landscape.figures.slice:FIGURE",
            "loss along each axis of a surface, with the height of the sublevel set",
            "Goodfellow et al. 2015; Li et al. 2018",
        ),
        "trajectory": Entry(
            "landscape.figures.trajectory:FIGURE",
            "checkpoints in order, projected on a plane with its contours",
            "Li et al. 2018, figure 9",
        ),
        "sublevel": Entry(
            "landscape.figures.sublevel:FIGURE",
            "points of every transition beside the sublevel threshold, and barriers of its paths",
            "Paul et al. 2023",
        ),
        "insights": Entry(
            "landscape.figures.insights:FIGURE",
            "the seven claims about iterative pruning, every strategy by weights remaining",
            "Saleem et al. 2024",
        ),
        "planted-singleshot": Entry(
            "landscape.figures.planted:SINGLESHOT",
            "strong and weak tickets of every pruner that prunes once, beside the planted ticket",
            "Fischer & Burkholz 2022, figure 3",
        ),
        "planted-multishot": Entry(
            "landscape.figures.planted:MULTISHOT",
            "the same of pruners that prune and train in turn",
            "Fischer & Burkholz 2022, figure 4",
        ),
        "planted-overlap": Entry(
            "landscape.figures.planted_overlap:FIGURE",
            "how much of a planted ticket masks hold by weights remaining, beside chance",
            "Fischer & Burkholz 2022, who do not measure it",
        ),
    },
)
