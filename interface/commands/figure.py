"""``landscape figure``."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.conditions import parse_condition
from landscape.data_store.errors import UsageError
from landscape.data_store.version import own_version
from landscape.figures.registry import FIGURES
from landscape.options import CommaSeparated, common_options, existing_store, print_json
from landscape.printing import print_table

if TYPE_CHECKING:
    import xarray as xr

    from landscape.data_store.store import Store

_HELP = """Draw a figure of stored data as PDF and PNG, with its caption as text.

The data are found in the store. What is missing is named with the command that makes it, or made
with --compute. Which data each figure needs: landscape figure --list.

\b
{names}"""
_NAMES = "\n".join(f"{name}: {entry.summary}" for name, entry in FIGURES.items())
_MADE_OF = 3  # runs that a file is named after


@click.command(name="figure", help=_HELP.format(names=_NAMES))
@click.argument("name", metavar="NAME", required=False)
@click.option("--list", "is_list", is_flag=True, help="List the figures and the data they need.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    help="A run, several as 'imp-s*', or checkpoints as imp@3 or 'imp-s*@last'; may be repeated.",
)
@click.option("--compute", is_flag=True, help="Compute first what the store lacks.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only stored results that meet it, as points=51, where several do; may be repeated.",
)
@click.option(
    "--width",
    type=click.Choice(["single", "double"]),
    help="One column of a paper (3.25 inches) or two (6.75). [default: the figure's own]",
)
@click.option(
    "--spread",
    type=click.Choice(["range", "std"]),
    help="Of replicates: from the least to the greatest, or one standard deviation. "
    "[default: the paper's]",
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
    name: str | None,
    is_list: bool,
    runs: tuple[str, ...],
    compute: bool,
    where: tuple[str, ...],
    width: str | None,
    spread: str | None,
    out: Path,
    formats: tuple[str, ...],
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """List, or find and draw."""
    if is_list:
        _print_list(as_json)
        return
    if name is None:
        raise UsageError("no figure to draw; give its NAME or --list")
    figure = FIGURES.load(name)
    looks = _looks(name, width, spread)
    if compute and where:
        raise UsageError(
            "--where chooses among stored results and --compute makes new ones; give one of them"
        )
    from landscape.figure_data import computed, found

    store = existing_store(store_path, max_size)
    names = [name for run in runs for name in matching(store, run)]
    if compute:
        ds, ids = computed(store, figure, names, data=data, device=device, quiet=quiet)
    else:
        chosen = [parse_condition(text) for text in where]
        ds, ids = found(store, figure, names, where=chosen, data=data)
    stem = out / "-".join([name, *_stems(runs)])
    again = _again(name, runs, where, looks, out, formats, store_path)
    written, text = write(name, ds, stem, formats, ids=ids, command=again, **looks)
    if as_json:
        files = [str(path) for path in written]
        print_json({"files": files, "caption": text, "results": list(ids)})
        return
    for path in written:
        click.echo(f"wrote {path}")


def _print_list(as_json: bool) -> None:
    """Every figure, the kind of data it is drawn from, and what makes them."""
    from landscape.figure_data import making

    rows = []
    for name, entry in FIGURES.items():
        figure = FIGURES.load(name)
        rows.append(
            {
                "figure": name,
                "data": figure.schema.kind,
                "command": making(figure, ["RUN"]),
                "summary": entry.summary,
                "reference": entry.reference,
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ("figure", "data", "made by", "what it shows")
    print_table(columns, [tuple(row.values())[:4] for row in rows])


def _looks(name: str, width: str | None, spread: str | None) -> dict[str, Any]:
    """What a figure is asked to look like, where it is asked."""
    if spread and not FIGURES.load(name).spread:
        raise UsageError(f"figure {name} draws no spread over replicates; leave --spread out")
    return {k: v for k, v in (("width", width), ("spread", spread)) if v}


def matching(store: Store, pattern: str) -> list[str]:
    """Names of the runs that a pattern with ``*`` or ``?`` matches, or of the one it begins.

    With a level behind it, as in ``imp-*@last``, the address in each of them. Raises `UsageError`
    if there is none.
    """
    like, at, level = pattern.partition("@")
    if not set(like) & {"*", "?"}:
        return [pattern if at else store[pattern].name]
    names = fnmatch.filter(store, like)
    if not names:
        raise UsageError(f"no run is called like {like!r}; there are {', '.join(store)}")
    return [f"{name}{at}{level}" for name in sorted(names, key=_natural)]


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which 10 comes after 9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _stems(runs: tuple[str, ...]) -> list[str]:
    """What a file's name says of its runs."""
    return [re.sub(r"[*?]+", "all", run) for run in runs[:_MADE_OF]]


def _again(
    name: str,
    runs: Sequence[str],
    where: Sequence[str],
    looks: dict[str, str],
    out: Path,
    formats: Sequence[str],
    store_path: Path,
) -> str:
    """The command that draws the same figure again."""
    words = ["landscape", "figure", name]
    for option, values in (("--run", runs), ("--where", where)):
        words += [word for value in values for word in (option, value)]
    words += [word for look, value in looks.items() for word in (f"--{look}", value)]
    if tuple(formats) != ("pdf", "png"):
        words += ["--format", ",".join(formats)]
    if out != Path("figures"):
        words += ["--out", str(out)]
    if store_path != Path("landscape-store"):
        words += ["--store", str(store_path)]
    return shlex.join(words)


def write(
    name: str,
    ds: xr.Dataset,
    stem: Path,
    formats: Sequence[str],
    *,
    ids: Sequence[str] = (),
    command: str = "",
    width: str = "",
    spread: str = "",
) -> tuple[list[Path], str]:
    """Draw a dataset and write it in every format, and its caption beside it.

    Parameters
    ----------
    name
        Which figure.
    ds
        What it is drawn from.
    stem
        Where to write, without a suffix.
    formats
        Any of ``pdf``, ``png`` and ``svg``.
    ids
        The results in `ds`, for the caption and the files' metadata.
    command
        What draws it again, for the caption.
    width
        ``single`` or ``double``; the figure's own unless given.
    spread
        ``range`` or ``std``; the figure's own unless given.

    Returns
    -------
    The files and the caption.
    """

    from landscape.data_store.files import write_over
    from landscape.figures.caption import caption
    from landscape.figures.style import WIDTHS, save

    figure = FIGURES.load(name)
    looks: dict[str, Any] = {"width": WIDTHS[width]} if width else {}
    looks |= {"spread": spread} if spread else {}
    text = caption(figure, ds, ids, command, spread=spread)
    about = {
        "Title": f"{name}: {figure.summary}",
        "Keywords": ", ".join(ids),
        "Software": f"landscape {own_version()}",
    }
    drawn = figure.draw(ds, **looks)
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = save(drawn, stem, formats=formats, about=about)
    beside = stem.with_name(f"{stem.name}.txt")
    write_over(beside, text.encode())
    return [*written, beside], text
