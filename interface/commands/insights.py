"""``landscape insights``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.options import common_options, existing_store, print_json, settings_options
from landscape.printing import percent, print_table
from landscape.study import InsightsSettings

if TYPE_CHECKING:
    import xarray

_PIPED = 100
_INDENT = " " * 3


@click.command(name="insights")
@click.argument("runs", nargs=-1, required=True, metavar="RUN…")
@click.option("--levels", "by_level", is_flag=True, help="Also print every strategy's levels.")
@settings_options(InsightsSettings)
@common_options(compute=True)
def command(
    runs: tuple[str, ...],
    by_level: bool,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Judge seven claims about why iterative magnitude pruning works.

    Each RUN is one of iterative magnitude pruning (IMP) with rewinding; several are replicates
    of each other. It is compared with what the store has of the same data, network and initial
    weights: one-shot, random and largest-first pruning, fine-tuning, re-initialised branches.
    A claim that lacks one of them is undecided, and the command that trains it is printed.

    L(i) is the trained solution of level i; the baseline of level i+1 is L(i) under the next
    mask. What was measured once is not measured again.

    Source: Saleem et al. (2024), Insights into the Lottery Ticket Hypothesis and Iterative
    Magnitude Pruning.
    """
    from landscape.study import insights
    from landscape.subject import Context
    from landscape.waiting import waiting

    store = existing_store(store_path, max_size)
    chosen = InsightsSettings(**{k: v for k, v in settings.items() if v is not None})
    with waiting("insights", quiet) as tally:
        ds = insights(runs, chosen, Context(store, data=data, device=device), tally)
    if as_json:
        print_json(ds.to_dict())
        return
    study = ds.isel(study=0)
    print_claims(study)
    if by_level:
        click.echo()
        print_levels(study)
    _print_left_out(ds)
    names = " ".join(f"--run {run}" for run in study["replicate"].values)
    click.echo(f"\nStored in {store_path}. Next: landscape figure insights {names}")


def print_claims(study: xarray.Dataset) -> None:
    """Verdicts as a table, then the numbers and the rule behind each."""
    claims = [study.isel(claim=i) for i in range(study.sizes["claim"])]
    counts = [
        [int(claim[name]) for name in ("comparisons", "in_favour", "against")] for claim in claims
    ]
    rows = [
        (
            f"{float(claim['claim']):.0f}",
            str(claim["verdict"].values),
            favour,
            against,
            made - favour - against,
            str(claim["statement"].values),
        )
        for claim, (made, favour, against) in zip(claims, counts, strict=True)
    ]
    print_table(("claim", "verdict", "for", "against", "too close", "what is claimed"), rows)
    for claim in claims:
        number = f"{float(claim['claim']):.0f}"
        click.echo()
        _print_wrapped(f"{number}  measured: {claim['measured'].values}")
        _print_wrapped(f"{_INDENT}rule: {claim['rule'].values}")
        for command_line in filter(None, str(claim["missing"].values).split("; ")):
            click.echo(f"{_INDENT}to decide: {command_line}")


def print_levels(study: xarray.Dataset) -> None:
    """A row per level and strategy, averaged over the runs."""
    split, measure = str(study["judged_split"].values), str(study["measure"].values)
    unit = percent if measure == "error" else float
    columns = (
        "level", "weights kept", "strategy", "test error", f"{split} {measure} of baseline",
        "barrier from L(i)", "from baseline", "distance", "angle", "inside L(i)", "inside L(0)",
    )  # fmt: skip
    rows = []
    for level in study["level"].values:
        for strategy in study["strategy"].values:
            one = study.sel(level=level, strategy=strategy)
            if not any(one["solution"].values):
                continue
            rows.append(_level_row(one, split, measure, unit))
    print_table(columns, rows)


def _level_row(one: xarray.Dataset, split: str, measure: str, unit: Any) -> tuple[Any, ...]:
    """One solution, averaged over the runs."""
    judged = one.sel(split=split)
    between = judged.sel(path="previous-solution")
    below = judged.sel(path="baseline-solution")

    def mean(values: Any) -> float:
        return float(values.mean())

    return (
        f"{float(one['level']):.0f}",
        percent(mean(one["density"])),
        str(one["strategy"].values),
        percent(mean(one["error"].sel(split="test", point="solution"))),
        unit(mean(judged[measure].sel(point="baseline"))),
        unit(mean(between[f"{measure}_barrier"])),
        unit(mean(below[f"{measure}_barrier"])),
        mean(below["distance"]),
        mean(below["angle"]),
        _answer(mean(judged["inside_previous"])),
        _answer(mean(judged["inside_dense"])),
    )


def _answer(share: float) -> str | None:
    """A share of runs as yes, no or a percentage; unknown stays unknown."""
    return {1.0: "yes", 0.0: "no"}.get(share, percent(share, 0) or "–")


def _print_left_out(ds: xarray.Dataset) -> None:
    """Say which related runs could not be compared."""
    from landscape.data_store.results import record_of

    sentences = record_of(ds)["left_out"]
    if sentences:
        click.echo("\nNot compared:")
    for sentence in sentences:
        _print_wrapped(f"{_INDENT}{sentence}")


def _print_wrapped(text: str) -> None:
    """A paragraph, its later lines indented."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED
    lines = textwrap.wrap(text, max(width, 40), subsequent_indent=_INDENT * 2)
    click.echo("\n".join(lines))
