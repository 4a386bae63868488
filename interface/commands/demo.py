"""``landscape demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.commands.figure import dataset, write
from landscape.commands.train import training_bar
from landscape.data_store.store import Store, open_store
from landscape.figures.registry import FIGURES
from landscape.options import common_options, print_json
from landscape.printing import percent, print_table, progress

if TYPE_CHECKING:
    import xarray

CRITERIA = ("magnitude", "random")
SEEDS = 3
SETTINGS: dict[str, Any] = {
    "task": "digits",
    "model": "lenet-300-100",
    "levels": 9,
    "iterations": 800,
    "pruning_fraction": 0.4,
    "pruning_fraction_output": 0.2,
    "eval_every": 40,
}


@click.command(name="demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    help="Folder for the store and the figures. [default: demo]",
)
@common_options(store=False)
def command(out: Path, as_json: bool, quiet: bool) -> None:
    """Train, analyse and draw on bundled data, in minutes.

    LeNet-300-100 on the 1 797 UCI digits goes through a dense level and 8 levels of
    iterative pruning, by magnitude and at random, from 3 seeds each. Barriers between
    successive levels and the overlap of the masks follow, then the figures.
    """
    began = time.monotonic()
    store = open_store(out / "store")
    _train(store, quiet)
    runs = {c: [f"{c}-{seed}" for seed in range(SEEDS)] for c in CRITERIA}
    chosen = {
        "accuracy": [*runs["magnitude"], *runs["random"]],
        "early-stop": [*runs["magnitude"], *runs["random"]],
        "barrier": [runs["magnitude"][0], runs["random"][0]],
        "path": runs["magnitude"][:1],
        "overlap": runs["magnitude"][:1],
    }
    with progress(quiet) as display:
        bar = display.add_task("measuring and drawing", total=len(chosen))
        drawn = []
        for name, of_runs in chosen.items():
            ds = dataset(store, FIGURES.load(name).schema.kind, of_runs)
            drawn += write(name, ds, out / "figures" / name, ("pdf", "png"))
            display.advance(bar)
    rows = summary(store, runs)
    if as_json:
        print_json({"levels": rows, "figures": [str(path) for path in drawn]})
        return
    _print(rows, out, time.monotonic() - began)


def _train(store: Store, quiet: bool) -> None:
    """Every criterion from every seed."""
    from landscape.preparation import configure
    from landscape.trainer import train

    for criterion in CRITERIA:
        for seed in range(SEEDS):
            settings = {**SETTINGS, "criterion": criterion, "seed": seed}
            name = f"{criterion}-{seed}"
            with progress(quiet) as display:
                listener = training_bar(display, configure(settings), name, quiet)
                train(
                    store=store, name=name, device="cpu", threads=1, listener=listener, **settings
                )


def summary(store: Store, runs: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Per level: density, and means over seeds of test accuracy and of the error barrier."""
    import numpy as np

    rows = []
    curves = {c: dataset(store, "training", names) for c, names in runs.items()}
    barriers = {c: dataset(store, "barrier", names) for c, names in runs.items()}
    for level in range(SETTINGS["levels"]):
        row: dict[str, Any] = {"level": level}
        for criterion in CRITERIA:
            of_level = curves[criterion].sel(level=level)
            row["density"] = float(of_level["density"].mean())
            row[f"{criterion}_accuracy"] = 1 - float(of_level["final_test_error"].mean())
            step = _barriers(barriers[criterion], level)
            row[f"{criterion}_barrier"] = float(np.mean(step)) if len(step) else None
        rows.append(row)
    return rows


def _barriers(ds: xarray.Dataset, level: int) -> Any:
    """Error barriers on test data from the level before, one per seed."""
    heights = ds["error_barrier"].sel(split="test", definition="lmc")
    return heights.values[ds["level_b"].values == level]


def _print(rows: list[dict[str, Any]], out: Path, seconds: float) -> None:
    """The table, what it says, and what to try next."""
    columns = (
        "level", "weights kept", "accuracy, magnitude", "accuracy, random",
        "barrier, magnitude", "barrier, random",
    )  # fmt: skip
    print_table(
        columns,
        [
            (
                r["level"], percent(r["density"], 1), percent(r["magnitude_accuracy"], 1),
                percent(r["random_accuracy"], 1), percent(r["magnitude_barrier"], 1),
                percent(r["random_barrier"], 1),
            )
            for r in rows
        ],
        title=f"LeNet-300-100 on digits, means of {SEEDS} seeds, test data",
    )  # fmt: skip
    last, dense = rows[-1], percent(rows[0]["magnitude_accuracy"], 1)
    click.echo(
        "\naccuracy: of the trained level, pruned by magnitude (as tickets are) or at random."
        "\nbarrier:  how much the error rises on the straight line from the level before (lmc);"
        "\n          under 2 % the two solutions count as linearly connected."
        f"\nWith {percent(last['density'], 1)} of the weights, magnitude pruning reaches "
        f"{percent(last['magnitude_accuracy'], 1)} and random pruning "
        f"{percent(last['random_accuracy'], 1)}; dense: {dense}."
    )
    store = out / "store"
    click.echo(
        f"\n{seconds:.0f} s. Figures are in {out / 'figures'}, checkpoints and results in {store}."
        "\nTry next:"
        f"\n  landscape ls --store {store}"
        f"\n  landscape barrier magnitude-0@0 magnitude-0@8 --refine --store {store}"
        f"\n  landscape overlap magnitude-0@8 magnitude-1@8 --store {store}"
        "\n  landscape train --task mnist --model lenet-300-100 --levels 12 --name mnist-imp"
    )
