"""Rescaling: by what the outputs of a network are multiplied before they are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from landscape.data_store.errors import LandscapeError
from landscape.data_store.params import Array
from landscape.data_store.truth import SCALE


def least_squares(outputs: Array, targets: Array) -> Array:
    """The factor of each output that brings it closest to its target: ``sum(y f) / sum(f²)``.

    It minimises ``sum (y - a f)²`` over the examples, output by output.

    Parameters
    ----------
    outputs, targets
        f and y, (examples, outputs).

    Returns
    -------
    numpy.ndarray
        Float64 (outputs,); NaN where the output is 0 for all examples (any factor is as good) or
        not finite.

    Source: the evaluation of regressions in the code of Fischer and Burkholz (2022), which does
    so batch by batch; here it is once over all examples.

    Examples
    --------
    >>> import numpy as np
    >>> least_squares(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[2.0, 1.0], [4.0, 1.0]]))
    array([ 2., nan])
    """
    largest = np.abs(outputs).max(axis=0)
    known = np.isfinite(largest) & (largest > 0)
    factors: Array = np.full(outputs.shape[1], np.nan)
    f, y = outputs[:, known] / largest[known], targets[:, known].astype(np.float64)
    factors[known] = (y * f).sum(axis=0) / (f * f).sum(axis=0) / largest[known]
    return factors


def planted_scale(metrics: Mapping[str, float]) -> Array | None:
    """What the outputs of a planted ticket are to be divided by, as its metrics ``scale-K`` say.

    None if they do not say. Raises `LandscapeError` for a scale that nothing can be divided by.
    """
    values: list[float] = []
    while f"{SCALE}{len(values)}" in metrics:
        values.append(float(metrics[f"{SCALE}{len(values)}"]))
    for number, value in enumerate(values):
        if not np.isfinite(value) or value == 0:
            raise LandscapeError(
                f"the planted scale of output {number} is {value:g}; a finite number other than 0 "
                "is needed"
            )
    return np.array(values) if values else None


def require_scale_fits(scale: Sequence[float] | Array, outputs: int) -> None:
    """Raise `LandscapeError` unless there is one number for each output."""
    if len(scale) != outputs:
        raise LandscapeError(
            f"the planted ticket has a scale for {len(scale)} outputs and the network has "
            f"{outputs}; plant it in this network"
        )
