"""Tables: the numbers that the figures draw, as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from landscape.case_measures import CASES
from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.schemas.table import SCHEMAS
from landscape.replicate_tables import insights, training
from landscape.sheet import Sheet
from landscape.sheet_formats import FORMATS

if TYPE_CHECKING:
    import xarray as xr

SPREADS = ("std", "range")


def table(name: str, ds: xr.Dataset, format: str = "text", *, spread: str = "std") -> str:  # noqa: A002
    """A table of a dataset.

    Parameters
    ----------
    name
        A name of `TABLES`, or of a figure that draws the same data.
    ds
        The dataset that the figures draw.
    format
        ``text``, ``markdown`` (GitHub's), ``latex`` (booktabs) or ``csv`` (RFC 4180, with all
        digits).
    spread
        Over replicates: ``std``, the standard deviation of a sample (with n - 1), or ``range``,
        the least and the greatest.

    A number that is unknown is a dash, empty in CSV, and the status says why.

    Raises `UsageError` for another name, format or spread, `LandscapeError` if `ds` is not of its
    schema.
    """
    if format not in FORMATS:
        raise unknown("format of a table", format, FORMATS)
    return FORMATS[format](sheet(name, ds, spread))


def sheet(name: str, ds: xr.Dataset, spread: str = "std") -> Sheet:
    """The table of a dataset as values; parameters and errors as `table`."""
    if spread not in SPREADS:
        raise unknown("spread", spread, SPREADS)
    kind = kind_of(name)
    SCHEMAS[kind].validate(ds)
    return TABLES[kind](ds, spread)


def kind_of(name: str) -> str:
    """The kind of data of a table, or of the table of a figure's data.

    Raises `UsageError` for another name, or a figure of whose data there is no table.
    """
    from landscape.figures.registry import FIGURES

    if name in TABLES:
        return name
    if name not in FIGURES:
        raise unknown("table", name, TABLES)
    kind = FIGURES.load(name).schema.kind
    if kind not in TABLES:
        raise UsageError(
            f"figure {name!r} draws {kind}, of which there is no table; available: "
            f"{', '.join(TABLES)}"
        )
    return kind


def _of_cases(kind: str) -> Callable[[xr.Dataset, str], Sheet]:
    """The builder of a case table, which has no replicates."""

    def build(ds: xr.Dataset, spread: str) -> Sheet:  # noqa: ARG001
        return CASES[kind].sheet(kind, ds)

    return build


TABLES: Mapping[str, Callable[[xr.Dataset, str], Sheet]] = {
    "training": training,
    **{kind: _of_cases(kind) for kind in CASES},
    "insights": insights,
}
