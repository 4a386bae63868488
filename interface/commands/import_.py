"""``landscape import``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.data_store.store import open_store
from landscape.options import common_options, print_json
from landscape.printing import percent, print_table


@click.command(name="import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run. [default: made of the first PATH's]")
@click.option("--model", help="Network: a name or FILE.py:NAME. [default: the ticket's]")
@click.option("--task", help="Data: a name or FILE.py:NAME. [default: the ticket's]")
@click.option(
    "--by-order",
    is_flag=True,
    help="Match tensors by position where their names differ and their shapes agree.",
)
@common_options(compute=True)
def command(
    paths: tuple[Path, ...],
    name: str | None,
    model: str | None,
    task: str | None,
    by_order: bool,
    store_path: Path,
    max_size: int,
    data: Path | None,
    device: str,  # noqa: ARG001
    as_json: bool,
    quiet: bool,  # noqa: ARG001
) -> None:
    """Make foreign checkpoints the levels of a run, in the order given.

    A PATH is a .pt, .pth or .safetensors state dict (masks of torch.nn.utils.prune are
    understood), a ticket or level file (.h5) of landscape, or a folder of open_lth:
    lottery_HASH, replicate_R, level_L or main. State dicts need --model and --task, tickets
    state theirs. Exact zeros of weight matrices count as pruned where no mask is stated.

    No code in the files is run; only --model and --task FILE.py:NAME run code.
    """
    from landscape.data_store.address import check_run_name
    from landscape.importer import collect, default_name, keep

    name = check_run_name(name) if name else default_name(paths[0])
    found = collect(
        paths, task=task, model=model, data=data, by_order=by_order, size_limit=max_size
    )
    run, is_new = keep(open_store(store_path, size_limit=max_size), name, found)
    rows: list[dict[str, Any]] = [
        {
            "level": arrival.level.number,
            "source": arrival.source,
            "density": arrival.level.mask.density,
            "kept": arrival.level.mask.kept_size,
            "knows": sorted(arrival.origins),
            "status": arrival.level.status,
        }
        for arrival in found.arrivals
    ]
    if as_json:
        print_json({"run": run.name, "new": is_new, "levels": rows})
        return
    columns = ("level", "from", "weights kept", "", "start", "")
    print_table(
        columns,
        [
            (
                row["level"], row["source"], row["kept"], percent(row["density"]),
                ", ".join(row["knows"]) or None, "" if row["status"] == "done" else row["status"],
            )
            for row in rows
        ],
        title=f"run {name}",
    )  # fmt: skip
    if not is_new:
        click.echo(f"\nThe store has all of this already as run {name!r}; nothing was changed.")
        return
    click.echo(f"\nNext: landscape show {name}    landscape barrier {name}")
