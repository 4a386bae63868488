"""``landscape plant``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store.records import RunConfig
from landscape.data_store.store import open_store
from landscape.data_store.truth import reading
from landscape.options import common_options, print_json, settings_options
from landscape.plant_settings import PlantSettings
from landscape.printing import percent, print_table

if TYPE_CHECKING:
    from landscape.data_store.store import Run


@click.command(name="plant")
@click.argument("target", metavar="TARGET")
@click.option("--name", required=True, help="Name of the new run: a-z, 0-9, '.', '_' and '-'.")
@settings_options(PlantSettings)
@settings_options(RunConfig, defaults=", or the protocol's")
@common_options(compute=True)
def command(
    target: str,
    name: str,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **settings: Any,
) -> None:
    """Hide a ticket that solves a task in a random network, for pruners to find.

    TARGET is relu, circle or helix (Fischer & Burkholz 2022; helix-released with the weights of
    1e-16 that their code counts), FILE.py:NAME for a function of one variable on [-1, 1], or
    RUN@LEVEL for a ticket that was found, which is then planted in a wider --model.

    Level 0 of the new run is the truth: the ticket's mask and weights. Runs that begin at the
    network are trained by landscape train --from NAME, and compared with the truth by landscape
    overlap RUN --planted. Settings of a run, as --iterations, are inherited by them.
    """
    from landscape.planter import plant

    run = plant(
        target,
        store=open_store(store_path, size_limit=max_size),
        name=name,
        data=data,
        device=device,
        **settings,
    )
    record = run.description["planted"]
    if as_json:
        print_json({"run": run.name, **record})
        return
    print_planted(run)
    click.echo(
        f"\nNext: landscape train --from {name} --criterion synflow --schedule multishot "
        f"--levels 11 --density planted --name {name}-synflow"
    )


def print_planted(run: Run) -> None:
    """Where the ticket lies, how well it is hidden, and how good it is."""
    with reading(run) as record:
        sizes, hiding = record["sizes"], record["hiding"]
        rows = [
            (
                layer["layers"],
                sizes[layer["layers"]],
                layer["planted"],
                percent(layer["planted"] / sizes[layer["layers"]]),
                f"{layer['mean']:.0f} ({layer['lowest']:.0f}–{layer['highest']:.0f})",
                percent(layer["found"]),
            )
            for layer in hiding["layers"]
        ]
        title = f"{run.name}: {record['target']} planted by the {record['rule']} rule"
        floors = record["floors"]
        floor = {"test_loss": floors["constant_loss"], "test_error": floors.get("majority_error")}
        said = (
            f"\n{record['weights']} weights are the ticket's, density {record['density']:.4g}; "
            f"{percent(hiding['found_globally'])} of them are among as many of largest magnitude."
            f"\nOutputs divided by their scale: {_quality(record['rescaled'])}; "
            f"floor: {_quality(floor)}."
        )
    columns = ("layer", "weights", "planted", "density", "their percentile", "among largest")
    print_table(columns, rows, title=title)
    click.echo(said)


def _quality(numbers: dict[str, Any]) -> str:
    """Test accuracy where there is one, and test loss."""
    error = numbers["test_error"]
    known = [] if error is None else [f"test accuracy {percent(1 - error)}"]
    return ", ".join([*known, f"test loss {numbers['test_loss']:.4g}"])
