"""``landscape branch``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.branch_settings import BranchSettings
from landscape.commands.train import print_run, training_bar
from landscape.data_store.address import parse_address
from landscape.data_store.records import RunConfig
from landscape.data_store.store import Store
from landscape.options import common_options, existing_store, settings_options
from landscape.printing import progress


@click.command(name="branch")
@click.argument("parent", metavar="RUN@LEVEL")
@click.option("--name", required=True, help="Name of the new run: a-z, 0-9, '.', '_' and '-'.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads; small networks train fastest on 1. [default: torch's, or the run's]",
)
@click.option(
    "--print-config",
    is_flag=True,
    help="Print the complete FILE.toml for landscape train; train nothing.",
)
@settings_options(BranchSettings)
@settings_options(RunConfig, defaults=", or the parent's")
@common_options(compute=True)
def command(
    parent: str,
    name: str,
    threads: int | None,
    print_config: bool,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train from a level of a stored run: a control, or a transfer to another task.

    The new run has the parent's settings but for those given, and one level unless --levels says
    more. --mask says what it takes of the level's mask, --retrain which weights it starts from:

    \b
    random ticket             --mask permuted --retrain reinit
    mask kept, new weights    --retrain reinit
    fine-tuning               --retrain finetune
    one-shot, from RUN@0      --mask pruned --mask-density 0.2
    two copies, other noise   --order-seed 1, and again --order-seed 2
    transfer                  --task cifar10b (the output layer is drawn anew, never pruned)
    """
    from landscape.brancher import branch, branch_config

    store = existing_store(store_path, max_size)
    config = branch_config(store, parent, settings)
    if print_config:
        click.echo(_file(store, parent, name, config, settings), nl=False)
        return
    with progress(quiet) as display:
        run = branch(
            parent,
            store=store,
            name=name,
            data=data,
            device=device,
            threads=threads,
            listener=training_bar(display, config, name, quiet),
            **settings,
        )
    print_run(run, as_json)
    if not as_json:
        click.echo(
            f"\nNext: landscape barrier {parent} {name}@0    landscape overlap {parent} {name}@0"
        )


def _file(store: Store, parent: str, name: str, config: RunConfig, settings: dict[str, Any]) -> str:
    """The experiment file of one branch."""
    from landscape.experiment_file import branch_file

    place = parse_address(parent)
    assert place.level is not None  # branch_config has refused an address without one
    run = store[place.run]
    given = {key: settings[key] for key in ("mask", "mask_density") if settings[key] is not None}
    level = run.level(place.level).number
    return branch_file(name, (run.name, level), config, BranchSettings(**given))
