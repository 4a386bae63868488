"""``landscape export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.options import common_options, existing_store, print_json
from landscape.printing import percent


@click.command(name="export")
@click.argument("what", metavar="RUN@LEVEL[.PART]|RESULT")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--pair", help="Which surface of a result that has several, by its label.")
@common_options()
def command(
    what: str,
    file: Path,
    force: bool,
    pair: str | None,
    store_path: Path,
    max_size: int,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
) -> None:
    """Write a ticket, or a result's surface, to a FILE for somebody else.

    RUN@LEVEL stands for the level's ticket: mask, start weights, task, settings and versions.
    .h5 is small enough to mail; .safetensors and .pt are plain state dicts that
    model.load_state_dict takes. 'landscape import' reads all three back, bit for bit.

    RESULT is the beginning of a result's id: .h5 is drawn by the plot scripts of
    tomgoldstein/loss-landscape, .npz (a square grid) is read by Landscaper.
    """
    from landscape.exporter import export

    facts = export(existing_store(store_path, max_size), what, file, force=force, pair=pair)
    if as_json:
        print_json(facts)
        return
    click.echo(f"wrote {_name(facts)} to {facts['file']} ({_size(facts)})")
    click.echo(f"read it with: {facts['read_with']}")
    if file.suffix.lower() in (".pt", ".pth"):
        call = f"torch.load({facts['file']!r}, weights_only=True)"
        click.echo(f"or in torch: model.load_state_dict({call})")


def _name(facts: dict[str, Any]) -> str:
    """What was written."""
    if "address" in facts:
        return str(facts["address"])
    of = f" of {facts['label']}" if facts["label"] else ""
    return f"{facts['kind']} {facts['result'][:8]}{of}"


def _size(facts: dict[str, Any]) -> str:
    """How large it is, and how dense or how fine."""
    size = f"{facts['bytes'] / 1000:.1f} kB"
    if "density" in facts:
        return f"{size}, density {percent(facts['density']) or 'unknown'}"
    return f"{size}, {' × '.join(map(str, facts['points']))} points"
