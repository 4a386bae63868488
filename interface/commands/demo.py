"""``landscape demo``."""

from __future__ import annotations

import importlib.util
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.commands.figure import write
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

PLANTED = "circle"
SEEKERS = tuple(f"{PLANTED}-{criterion}" for criterion in ("synflow", "magnitude", "random"))
SOUGHT: dict[str, Any] = {
    "mask": "dense", "densities": "multishot", "density": "planted", "levels": 7,
    "iterations": 300, "last_iterations": 1000, "eval_every": 100,
}  # fmt: skip


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
    successive levels and the overlap of the masks follow, then the figures. At last a known
    ticket is planted in a random network, and three pruners seek it.
    """
    began = time.monotonic()
    store = open_store(out / "store")
    _train(store, quiet)
    runs = {c: [f"{c}-{seed}" for seed in range(SEEDS)] for c in CRITERIA}
    chosen = {
        "lth-accuracy": [*runs["magnitude"], *runs["random"]],
        "lth-early-stop": [*runs["magnitude"], *runs["random"]],
        "barrier-levels": [runs["magnitude"][0], runs["random"][0]],
        "barrier-curves": runs["magnitude"][:1],
        "overlap": runs["magnitude"][:1],
    }
    with progress(quiet) as display:
        bar = display.add_task("measuring and drawing", total=len(chosen))
        drawn = []
        for name, of_runs in chosen.items():
            drawn += _draw(store, name, of_runs, out)
            display.advance(bar)
    rows, sought = summary(store, runs), seek(store, quiet)
    for name in ("planted-multishot", "planted-overlap"):
        drawn += _draw(store, name, list(SEEKERS), out)
    page = _report(store, out)
    if as_json:
        files = [str(path) for path in [*drawn, *page]]
        print_json({"levels": rows, "planted": sought, "figures": files})
        return
    _print(rows)
    print_sought(sought)
    _print_next(out, page, time.monotonic() - began)


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


def _draw(store: Store, name: str, runs: list[str], out: Path) -> list[Path]:
    """A figure of some runs, after what it needs was computed."""
    from landscape.figure_data import computed

    ds, ids = computed(store, FIGURES.load(name), runs)
    words = [part for run in runs for part in ("--run", run)]
    again = shlex.join(["landscape", "figure", name, *words, "--store", str(store.root)])
    return write(name, ds, out / "figures" / name, ("pdf", "png"), ids=ids, command=again)[0]


def _report(store: Store, out: Path) -> list[Path]:
    """The page of all that is stored, where what it is made with is installed."""
    if importlib.util.find_spec("plotly") is None:
        return []
    from landscape.reporter import report

    return [report(store, out / "report.html").path]


def seek(store: Store, quiet: bool) -> list[dict[str, Any]]:
    """Plant a ticket, seek it with three pruners, and compare what they find with the truth."""
    from landscape.brancher import branch
    from landscape.planter import plant
    from landscape.subject import Context
    from landscape.workbench import analyse

    truth = plant("circle", store=store, name=PLANTED, width=50)
    context = Context(store=store)
    rows = []
    with progress(quiet) as display:
        bar = display.add_task("seeking a planted ticket", total=len(SEEKERS))
        for name in SEEKERS:
            criterion = name.removeprefix(f"{PLANTED}-")
            run = branch(
                f"{PLANTED}@0", store=store, name=name, threads=1, criterion=criterion, **SOUGHT
            )
            last, target = f"{name}@last", f"{PLANTED}@0.target"
            mask = analyse("overlap", [last], {"planted": True}, context).squeeze("pair")
            apart = analyse("barrier", [last, target], {"points": 11}, context).squeeze("pair")
            inside = analyse("sublevel", [last, target], {}, context).squeeze("transition")
            rows.append(
                {
                    "seeker": name,
                    "density": float(run["last"].density),
                    "accuracy": 1 - run["last"].metrics["test_error"],
                    "recall": float(mask["recall"].sel(layer="all")),
                    "expected_recall": float(mask["expected_recall"].sel(layer="all")),
                    "barrier": float(apart["error_barrier"].sel(split="test", definition="lmc")),
                    "connected": bool(inside["claim_connected"].sel(split="test")),
                }
            )
            display.advance(bar)
    record = truth.description["planted"]["rescaled"]
    rows.append({"seeker": "the truth", "density": truth[0].density,
                 "accuracy": 1 - record["test_error"], **_volume(context)})  # fmt: skip
    return rows


def _volume(context: Any) -> dict[str, Any]:
    """The volume of the planted ticket's minimum, or why there is none."""
    from landscape.workbench import analyse

    settings = {"cutoff_mode": "relative", "estimators": ("hessian",), "examples": 1000}
    found = analyse("volume", [f"{PLANTED}@0.target"], settings, context).squeeze()
    status = int(found["status"])
    meaning = str(found["status"].attrs["flag_meanings"]).split()[status].replace("_", " ")
    value = float(found["log_volume_per_dimension"])
    return {"log_volume_per_dimension": value if status == 0 else None, "volume": meaning}


def summary(store: Store, runs: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Per level: density, and means over seeds of test accuracy and of the error barrier."""
    import numpy as np

    from landscape.figure_data import computed, found

    rows = []
    accuracy, levels = FIGURES.load("lth-accuracy"), FIGURES.load("barrier-levels")
    curves = {c: found(store, accuracy, names)[0] for c, names in runs.items()}
    barriers = {c: computed(store, levels, names)[0] for c, names in runs.items()}
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


def _print(rows: list[dict[str, Any]]) -> None:
    """The table of the levels, and what it says."""
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


def print_sought(rows: list[dict[str, Any]]) -> None:
    """How good the sought tickets are, and how much of the planted one they hold."""
    *found, truth = rows
    click.echo()
    print_table(
        ("run", "parameters kept", "accuracy", "recall", "by chance", "barrier to it", "connected"),
        [
            (
                r["seeker"], percent(r["density"]), percent(r["accuracy"], 1),
                percent(r["recall"], 1), percent(r["expected_recall"], 1),
                percent(r["barrier"], 1), "yes" if r["connected"] else "no",
            )
            for r in found
        ],
        title="A ticket of the circle task, planted in a network of width 50 and sought",
    )  # fmt: skip
    value = truth["log_volume_per_dimension"]
    volume = (
        f"{value:.3f} nats per dimension" if value is not None else f"unknown ({truth['volume']})"
    )
    click.echo(
        f"\nThe planted ticket keeps {percent(truth['density'])} of the parameters and reaches "
        f"{percent(truth['accuracy'], 1)}."
        "\nrecall:     of its weights and biases, those that a pruner has kept, and would by chance"
        f"\nbarrier:    on the line to it, its outputs rescaled (lmc); its log-volume: {volume}"
    )


def _print_next(out: Path, page: list[Path], seconds: float) -> None:
    """Where everything is, and what to try next."""
    store = out / "store"
    whole = "".join(f"\nAll of it on one page: {path}." for path in page)
    click.echo(
        f"\n{seconds:.0f} s. Figures are in {out / 'figures'}, checkpoints and results in {store}."
        f"{whole}"
        "\nTry next:"
        f"\n  landscape ls --store {store}"
        f"\n  landscape barrier magnitude-0@0 magnitude-0@8 --refine --store {store}"
        f"\n  landscape overlap magnitude-0@8 magnitude-1@8 --store {store}"
        f"\n  landscape tickets circle-synflow --store {store}"
        "\n  landscape train --task mnist --model lenet-300-100 --levels 12 --name mnist-imp"
    )
