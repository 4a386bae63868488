"""The figures by name, and what a figure is; importing this imports no figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    import xarray as xr
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
        Draws the complete figure of such a dataset, at the size of a paper.
    settings
        What the command asks the analysis with, where it is not the defaults.
    """

    name: str
    summary: str
    schema: ResultSchema
    draw: Callable[[xr.Dataset], Canvas]
    settings: Mapping[str, Any] = field(default_factory=dict)


FIGURES: Table[Figure] = Table(
    "figure",
    {
        "barrier": Entry(
            "landscape.figures.barrier:FIGURE",
            "error and loss barriers between successive levels against the weights remaining",
            "Frankle et al. 2020",
        ),
        "path": Entry(
            "landscape.figures.path:FIGURE",
            "loss on the straight line between checkpoints, one line per pair",
            "Goodfellow et al. 2015",
        ),
        "accuracy": Entry(
            "landscape.figures.accuracy:FIGURE",
            "test accuracy against the weights remaining, at early stop and at the end",
            "Frankle & Carbin 2019, figure 4",
        ),
        "early-stop": Entry(
            "landscape.figures.early_stop:FIGURE",
            "early-stop iteration against the weights remaining",
            "Frankle & Carbin 2019, figure 4",
        ),
        "overlap": Entry(
            "landscape.figures.overlap:FIGURE",
            "overlap of successive masks by layer, beside what chance would give",
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
            "landscape.figures.planted_singleshot:FIGURE",
            "strong and weak tickets of every pruner that prunes once, beside the planted ticket",
            "Fischer & Burkholz 2022, figure 3",
        ),
        "planted-multishot": Entry(
            "landscape.figures.planted_multishot:FIGURE",
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
