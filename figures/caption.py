"""Caption: what a reader must know beside a figure, as text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.results import records_of
from landscape.data_store.schema import STATUS
from landscape.figures.registry import FIGURES
from landscape.figures.replicates import replicates

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from landscape.figures.registry import Figure

WIDTH = 100
_NAMED = 4
_COUNTED = ("run", "replicate", "pair", "transition", "checkpoint", "surface", "level", "layer")
_ADDRESSED = ("pair", "transition", "surface")  # whose labels are addresses with blanks between
_SPLITS = ("train", "validation", "test")
_SPREADS = {
    "range": "Bars and bands run from the least to the greatest of the replicates.",
    "std": "Bars and bands are one sample standard deviation to each side of the mean over the "
    "replicates.",
}


def caption(
    figure: Figure, ds: xr.Dataset, ids: Sequence[str], command: str, *, spread: str = ""
) -> str:
    """The text to put beside a figure: a caption of one paragraph, then facts, one a line.

    Parameters
    ----------
    figure
        What was drawn.
    ds
        Of what; its record says more, if it has one.
    ids
        The results in it.
    command
        What draws it again.
    spread
        The spread that was drawn, where it is not the figure's own.

    Returns
    -------
    What is drawn, the spread over replicates, the sample size; then runs, replicates, what is
    missing, settings, command, versions and ids. Lines of at most 100 characters; without a
    date, so that the same figure has the same text.
    """
    records = records_of(ds) if layout.RECORD_ATTRIBUTE in ds.attrs else []
    prose = " ".join(filter(None, _sentences(figure, ds, records, spread or figure.spread)))
    facts = {
        "Runs": ", ".join(_runs(ds)),
        "Replicates": _replicates(ds),
        "Missing": "; ".join(_missing(figure, ds)) or "nothing",
        "Settings": "; ".join(_settings(records)),
        "Command": command,
        "Software": ", ".join(_software(records)),
        "Results": ", ".join(ids),
    }
    lines = [_folded(f"{name}: {fact}", "  ") for name, fact in facts.items() if fact]
    return "\n".join([_folded(prose, ""), "", *lines, ""])


def _folded(text: str, indent: str) -> str:
    """A paragraph of lines that are not too long."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _sentences(
    figure: Figure, ds: xr.Dataset, records: Sequence[Mapping[str, Any]], spread: str
) -> Iterator[str]:
    """What a caption says in a paper."""
    reference = FIGURES[figure.name].reference if figure.name in FIGURES else ""
    after = f" (after {reference})" if reference else ""
    yield f"{figure.summary[0].upper()}{figure.summary[1:]}{after}."
    yield figure.caption
    yield _SPREADS.get(spread, "")
    subjects = dict.fromkeys(f"{r['model']} on {r['task']}" for r in records if r.get("task"))
    sizes = [", ".join(subjects), _counts(ds), _examples(records)]
    yield "; ".join(filter(None, sizes)) + "."


def _counts(ds: xr.Dataset) -> str:
    """How many of each thing the figure is about: ``3 runs, 17 levels``."""
    counts = {name: ds.sizes[name] for name in _COUNTED if name in ds.sizes}
    return ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())


def _examples(records: Sequence[Mapping[str, Any]]) -> str:
    """How many examples of each split the numbers are of."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        settings, sizes = record.get("settings", {}), record.get("data", {}).get("examples", {})
        limit = settings.get("examples")
        for split in settings.get("splits") or sorted(sizes, key=_place):
            whole = sizes.get(split, "unknown")
            is_part = isinstance(limit, int) and isinstance(whole, int) and limit < whole
            used = f"{limit} of {whole}" if is_part else f"{whole}"
            found.setdefault(split, {})[used] = None
    parts = [f"{' or '.join(used)} {split}" for split, used in found.items()]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"{listed} examples" if listed else ""


def _place(split: str) -> tuple[int, str]:
    """A sort key of splits."""
    return (_SPLITS.index(split) if split in _SPLITS else len(_SPLITS)), split


def _runs(ds: xr.Dataset) -> list[str]:
    """Names of the runs, in order."""
    named = [v for n in ("run", "replicate") if n in ds.coords for v in ds[n].values.tolist()]
    labels = [v for n in _ADDRESSED if n in ds.coords for v in ds[n].values.tolist()]
    words = [word for label in labels for word in str(label).split() if "@" in word]
    return list(dict.fromkeys([*named, *(word.partition("@")[0] for word in words)]))


def _replicates(ds: xr.Dataset) -> str:
    """The runs of each strategy and their seeds, where a dataset has such."""
    if not {"strategy", "seed"} <= set(ds.coords) or ds["strategy"].dims != ("run",):
        return ""
    seeds = {
        re.sub(r" \(\d+ runs\)$", "", group.label): group.training["seed"].values.tolist()
        for group in replicates(ds)
    }
    return "; ".join(f"{name}: {_of_seeds(found)}" for name, found in seeds.items())


def _of_seeds(seeds: Sequence[float]) -> str:
    """A number of runs with their seeds.

    >>> _of_seeds([0.0, 3.0])
    '2 runs (seeds 0, 3)'
    """
    known = ", ".join(f"{seed:.0f}" for seed in seeds if np.isfinite(seed))
    many = "s" * (len(seeds) != 1)
    return f"{len(seeds)} run{many}" + (f" (seed{many} {known})" if known else "")


def _missing(figure: Figure, ds: xr.Dataset) -> Iterator[str]:
    """What is not known of what is drawn, and what a status says."""
    for name in figure.shows:
        if name in ds and figure.schema.variables[name].dtype != STATUS:
            yield from _places(f"{name} unknown", ds, ds[name], ~np.isfinite(ds[name].values))
    for name, variable in figure.schema.variables.items():
        if variable.dtype == STATUS and name in ds:
            for value, flag in enumerate(variable.flags):
                if value:
                    words = f"{name} {flag.replace('_', ' ')}"
                    yield from _places(words, ds, ds[name], ds[name].values == value)


def _places(
    words: str, ds: xr.Dataset, variable: xr.DataArray, where: NDArray[np.bool_]
) -> Iterator[str]:
    """How many values of a variable are meant, and where the first of them stand."""
    count = int(where.sum())
    if not count:
        return
    if count == where.size:
        yield f"{words}: all {count}"
        return
    named = [
        " ".join(_label(ds, str(dim), i) for dim, i in zip(variable.dims, place, strict=True))
        for place in np.argwhere(where)[:_NAMED]
    ]
    more = ", …" * (count > _NAMED)
    yield f"{words}: {count} of {where.size} ({', '.join(named)}{more})"


def _label(ds: xr.Dataset, dim: str, place: int) -> str:
    """What an entry of a dimension is called."""
    if dim not in ds.coords:
        return f"{dim} {place}"
    value = ds[dim].values[place]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the analyses were asked with, each choice once."""
    texts = dict.fromkeys(
        ", ".join(f"{k} {_word(v)}" for k, v in sorted(record.get("settings", {}).items()))
        for record in records
    )
    yield from filter(None, texts)


def _word(value: Any) -> str:
    """A setting as the command line has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return "none" if value is None else f"{value}"


def _software(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What made the data and what drew them."""
    for made in dict.fromkeys(record.get("landscape", "") for record in records):
        if made:
            yield f"landscape {made} (data)"
    yield f"landscape {version('landscape-workbench')}"
    yield f"matplotlib {version('matplotlib')}"
