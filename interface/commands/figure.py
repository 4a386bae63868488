"""``landscape figure``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.errors import UsageError
from landscape.figures.registry import FIGURES
from landscape.options import CommaSeparated, common_options, existing_store, print_json

if TYPE_CHECKING:
    import xarray

    from landscape.data_store.store import Store

_NAMES = "\n".join(f"{name}: {entry.summary}" for name, entry in FIGURES.items())

_PLACES = {"criterion": "criterion", "densities": "densities", "target": "task"}


@click.command(name="figure", help=f"Draw a figure of runs as PDF and PNG.\n\n\b\n{_NAMES}")
@click.argument("name", metavar="NAME")
@click.option(
    "--run",
    "runs",
    multiple=True,
    required=True,
    help="A run, or several as 'imp-s*'; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("figures"),
    help="Folder to write into. [default: figures]",
)
@click.option(
    "--format",
    "formats",
    type=CommaSeparated(str),
    default=("pdf", "png"),
    help="pdf, png or svg, separated by commas. [default: pdf,png]",
)
@common_options(compute=True)
def command(
    name: str,
    runs: tuple[str, ...],
    out: Path,
    formats: tuple[str, ...],
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
) -> None:
    """Draw; an analysis that is not stored yet is computed first."""
    figure = FIGURES.load(name)
    store = existing_store(store_path, max_size)
    names = [name for run in runs for name in matching(store, run)]
    ds = dataset(store, figure.schema.kind, names, data, device, figure.settings)
    written = write(name, ds, out / "-".join([name, *_stems(runs)]), formats)
    if as_json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        click.echo(f"wrote {path}")


def matching(store: Store, pattern: str) -> list[str]:
    """Names of the runs that a pattern with ``*`` or ``?`` matches, or of the one it begins.

    Raises `UsageError` if there is none.
    """
    if not set(pattern) & {"*", "?"}:
        return [store[pattern].name]
    names = fnmatch.filter(store, pattern)
    if not names:
        raise UsageError(f"no run is called like {pattern!r}; there are {', '.join(store)}")
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which 10 comes after 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _stems(runs: tuple[str, ...]) -> list[str]:
    """What a file's name says of its runs."""
    return [re.sub(r"[*?]+", "all", run) for run in runs[:3]]


def dataset(
    store: Store,
    kind: str,
    runs: list[str],
    data: Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> xarray.Dataset:
    """What a figure of this kind draws for these runs: curves, or what an analysis says.

    The answers of an analysis, asked about the levels of each run, carry its ``criterion``, its
    schedule of ``densities`` and its task as ``target``.
    """
    from landscape.data_store.curves import training
    from landscape.data_store.results import together

    if not runs:
        raise UsageError("no run to draw; give --run NAME")
    if kind == "training":
        return training([store[run] for run in runs])
    from landscape.subject import Context
    from landscape.workbench import analyse

    context = Context(store=store, data=data, device=device)
    if kind == "insights":
        from landscape.study import InsightsSettings, insights

        return insights(runs, InsightsSettings(), context)
    ds = together([analyse(kind, [run], settings, context) for run in runs])
    if "run" not in ds.coords:
        return ds
    settings_of = {run: store[run].description["config"] for run in runs}
    about = [settings_of[run] for run in ds["run"].values.tolist()]
    for name, setting in _PLACES.items():
        words = [str(config.get(setting) or "").partition(":")[0] for config in about]
        ds = ds.assign_coords({name: (ds["run"].dims, words)})
    return ds


def write(name: str, ds: xarray.Dataset, stem: Path, formats: tuple[str, ...]) -> list[Path]:
    """Draw a dataset and write it in every format."""
    from landscape.figures.style import save

    drawn: Any = FIGURES.load(name).draw(ds)
    stem.parent.mkdir(parents=True, exist_ok=True)
    return save(drawn, stem, formats=formats)
