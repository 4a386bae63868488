"""``landscape show``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.data_store import layout
from landscape.data_store.address import is_file_address, parse_address
from landscape.data_store.catalog import Catalog
from landscape.data_store.conditions import Condition
from landscape.data_store.errors import UsageError
from landscape.data_store.store import Run, Store
from landscape.data_store.truth import begins_planted
from landscape.options import common_options, existing_store, print_json
from landscape.printing import percent, print_table, printable

if TYPE_CHECKING:
    from landscape.data_store.records import Level


@click.command(name="show")
@click.argument("what", metavar="RUN|RUN@LEVEL|RESULT|FILE.h5")
@common_options()
def command(
    what: str,
    store_path: Path,
    max_size: int,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
) -> None:
    """Describe a run, a level, a level file, or a result by the beginning of its id."""
    if is_file_address(what):
        from landscape.data_store.points import file_checkpoint

        _show(_of_checkpoint(file_checkpoint(Path(what), limit=max_size)), as_json)
        return
    store = existing_store(store_path, max_size)
    found = _results(store, what)
    if found:
        if len(found) > 1:
            raise UsageError(f"{what!r} begins {len(found)} results; give more of the id")
        from landscape.data_store.result_file import read_record

        row = found[0]
        record = read_record(store.root / row["path"], root=store.root, limit=max_size)
        known = {**record, **row, "inputs": record["inputs"], "settings": record["settings"]}
        known.pop("layers", None)  # those of a checkpoint are counted, and shown as such
        _show(known, as_json)
        return
    place = parse_address(what)
    run = store[place.run]
    if place.level is None:
        _show_run(run, as_json)
        return
    checkpoint = run.checkpoint(place)
    description = _of_checkpoint(checkpoint)
    assert checkpoint.level is not None
    level = run.level(checkpoint.level)
    description["parts"] = ", ".join(_parts(run, level))
    description["file"] = str(layout.level_file(run.root, run.name, level.number))
    _show(description, as_json)


def _parts(run: Run, level: Level) -> list[str]:
    """The parts of a level that are stored or follow from what is."""
    started = [part for part in ("init", "rewind") if part in level.origins]
    has_ticket = level.origins.keys() & {"rewind", "ticket"} or "ticket" in level.points
    tickets = ["ticket"] if has_ticket else []
    between = ["baseline"] if level.number else []
    snapshots = [part for part in level.points if part.startswith("step-")]
    truth = ["planted", "target"] if begins_planted(run) else []
    return ["final", *started, *tickets, "mask", *between, *truth, *snapshots]


def _results(store: Store, what: str) -> list[dict[str, Any]]:
    """The results whose id begins with `what`, unless a run is called so."""
    if not re.fullmatch(r"[0-9a-f]{4,40}", what) or what in store:
        return []
    begins = [Condition("id", ">=", what), Condition("id", "<", what + "g")]
    return Catalog(store.root, store.size_limit).rows("results", begins)


def _of_checkpoint(checkpoint: Any) -> dict[str, Any]:
    """What a reader wants to know of a point."""
    mask = checkpoint.mask
    return {
        "address": checkpoint.address,
        "status": checkpoint.status,
        "parameters": checkpoint.spec.size,
        "prunable": mask.prunable_size,
        "kept": mask.kept_size,
        "density": mask.density,
        "layers": {
            name: [int(mask.layer(name).sum()), len(mask.layer(name))] for name in mask.prunable
        },
        "metrics": dict(checkpoint.metrics),
        "digest": checkpoint.digest,
    }


def _show(description: dict[str, Any], as_json: bool) -> None:
    """Names and values, nested ones indented."""
    if as_json:
        print_json(description)
        return
    rows: list[tuple[str, Any]] = []
    for name, value in description.items():
        if name == "layers":
            rows += [
                (f"  {layer}", f"{kept} of {size} kept ({percent(kept / max(size, 1))})")
                for layer, (kept, size) in value.items()
            ]
        elif isinstance(value, dict):
            rows += [(f"  {key}", _value(part)) for key, part in value.items()]
        else:
            rows.append((name, percent(value) if name == "density" else _value(value)))
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        click.echo(printable(f"{name:<{width}}{value}"))


def _value(value: Any) -> str:
    """One value as text."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}" if value == value else "–"
    if isinstance(value, list):
        return ", ".join(v.get("address", str(v)) if isinstance(v, dict) else str(v) for v in value)
    return str(value)


def _show_run(run: Run, as_json: bool) -> None:
    """A run's settings, data, versions and levels."""
    from landscape.commands.train import level_rows, print_levels

    description = run.description
    levels = level_rows(run)
    if as_json:
        print_json({**description, "levels": levels})
        return
    flat: dict[str, Any] = {"run": run.name}
    if "branch" in description:
        begun = description["branch"]
        flat |= {"begins at": begun["parent"], "mask": begun["mask"]}
        flat |= {"mask_density": begun["mask_density"]} if begun["mask_density"] else {}
    data = description.get("data", {})
    examples = data.get("examples")
    flat["config"] = description.get("config", {})
    flat["data"] = {**(examples if isinstance(examples, dict) else {}), "digest": run.data_digest}
    if run.is_imported:
        sources = description["imported"]["sources"]
        flat["imported"] = {source["name"]: source["sha256"] for source in sources}
    flat["provenance"] = description.get("provenance", {})
    _show(flat, as_json=False)
    click.echo()
    if "planted" in description:
        from landscape.commands.plant import print_planted

        print_planted(run)
    elif levels:
        print_levels(run.name, levels)
    else:
        print_table(("level",), [("none finished yet",)])
