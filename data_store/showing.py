"""Showing: what a notebook or a prompt says of a store, a run and a checkpoint.

Names, settings and layers come from files that others may have written: as text they are on one
line and command no terminal, as HTML they are escaped.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from landscape.data_store import layout
from landscape.data_store.catalog import Catalog
from landscape.data_store.errors import LandscapeError

if TYPE_CHECKING:
    from landscape.data_store.records import Checkpoint
    from landscape.data_store.store import Run, Store

MOST = 12  # rows of a table
_LONGEST = 120  # characters of one entry

Lines = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Shown:
    """What is said of one thing, before it is text or HTML.

    Parameters
    ----------
    title
        What it is.
    facts
        Names and values.
    columns, rows
        A table, which may be empty.
    more
        How many rows are left out.
    """

    title: str
    facts: Mapping[str, str]
    columns: Sequence[str] = ()
    rows: Lines = ()
    more: int = 0

    def text(self) -> str:
        """For a prompt: a line per fact and row."""
        lines = [self.title, *(f"  {name}: {value}" for name, value in self.facts.items())]
        table = [self.columns, *self.rows] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join([*lines, *([f"  and {self.more} more"] if self.more else [])])

    def html(self) -> str:
        """For a notebook: headings, a list and a table in the notebook's own style."""
        facts = "".join(
            f"<tr><th style='text-align:left'>{_escaped(name)}</th>"
            f"<td style='text-align:left'>{_escaped(value)}</td></tr>"
            for name, value in self.facts.items()
        )
        parts = [f"<p><strong>{_escaped(self.title)}</strong></p>"]
        parts += [f"<table>{facts}</table>"] if facts else []
        if self.rows:
            head = "".join(f"<th style='text-align:left'>{_escaped(c)}</th>" for c in self.columns)
            body = "".join(
                "<tr>"
                + "".join(f"<td style='text-align:left'>{_escaped(cell)}</td>" for cell in row)
                + "</tr>"
                for row in self.rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p>and {self.more} more</p>"] if self.more else []
        return f"<div>{''.join(parts)}</div>"


def of_store(store: Store) -> Shown:
    """A store: its folder, its runs, and how many results of each kind."""
    title = f"Store {_plain(store.root)}"
    try:
        if not layout.manifest(store.root).is_file():
            return Shown(title, {"runs": "there is no store in this folder"})
        catalog = Catalog(store.root, store.size_limit)
        (runs, faults), results = catalog.listing("runs"), catalog.rows("results")
    except (LandscapeError, OSError) as error:
        return Shown(title, {"not readable": _plain(error)})
    kinds = Counter(str(row["kind"]) for row in results)
    facts = {
        "runs": str(len(runs)),
        "results": ", ".join(f"{n} {_plain(kind)}" for kind, n in kinds.most_common()) or "none",
    }
    if faults:
        facts["left out"] = f"{len(faults)} unreadable; see 'landscape verify'"
    columns = ("run", "task", "model", "levels", "least kept", "its test acc.", "status")
    rows = [
        (
            _plain(r["run"]),
            _plain(r["task"]),
            _plain(r["model"]),
            f"{r['levels']} of {max(r['asked'], r['levels']):.0f}",
            _percent(r["density"]),
            _accuracy(r["test_error"]),
            _plain(r["status"]),
        )
        for r in runs[:MOST]
    ]
    return Shown(title, facts, columns, rows, max(0, len(runs) - MOST))


def of_run(run: Run) -> Shown:
    """A run: where it begins, the settings that are not the defaults, and its levels."""
    title = f"Run {_plain(run.name)}"
    facts = {"store": _plain(run.root)}
    try:
        if not run.exists:
            return Shown(title, facts | {"levels": "the run has no manifest yet"})
        record = run.description
        facts |= _origin(record) | _changed(record.get("config", {}))
        levels = Catalog(run.root, run.size_limit).levels(run.name)
    except (LandscapeError, OSError) as error:
        return Shown(title, facts | {"not readable": _plain(error)})
    columns = ("level", "weights kept", "early stop at", "test acc.", "status")
    rows = [
        (
            f"{r['level']:.0f}",
            _percent(r["density"]),
            "–" if r["early_stop_step"] is None else f"{r['early_stop_step']:g}",
            _accuracy(r["test_error"]),
            _plain(r["status"]),
        )
        for r in levels
    ]
    facts["levels"] = f"{len(levels)} of {_plain(record.get('config', {}).get('levels', '–'))}"
    # both ends are what one looks for: the dense network and the sparsest one
    if len(rows) > MOST:
        return Shown(title, facts, columns, [*rows[: MOST - 1], ("…",) * len(columns), rows[-1]])
    return Shown(title, facts, columns, rows)


def of_checkpoint(checkpoint: Checkpoint) -> Shown:
    """A checkpoint: its address, density and layers."""
    mask = checkpoint.mask
    facts = {
        "weights kept": f"{mask.kept_size} of {mask.prunable_size} ({_percent(mask.density)})",
        "parameters": str(checkpoint.spec.size),
        **{
            _plain(name.replace("_", " ")): f"{value:.6g}"
            for name, value in checkpoint.metrics.items()
            if value == value
        },
        "status": _plain(checkpoint.status),
    }
    columns = ("layer", "shape", "kept", "")
    rows = []
    for name in mask.prunable[:MOST]:
        kept, size = int(mask.layer(name).sum()), len(mask.layer(name))
        shape = " × ".join(map(str, checkpoint.spec.shape(name)))
        rows.append((_plain(name), shape, f"{kept} of {size}", _percent(kept / max(size, 1))))
    title = f"Checkpoint {_plain(checkpoint.address or 'without an address')}"
    return Shown(title, facts, columns, rows, max(0, len(mask.prunable) - MOST))


def _origin(record: Mapping[str, Any]) -> dict[str, str]:
    """Where a run that is no dense run begins."""
    if "branch" in record:
        return {"begins at": _plain(record["branch"].get("parent", "–"))}
    if "imported" in record:
        sources = record["imported"].get("sources")
        count = len(sources) if isinstance(sources, list) else "unknown"
        return {"imported": f"from {count} files"}
    return {"planted": "a ticket is hidden in it"} if "planted" in record else {}


def _changed(config: Mapping[str, Any]) -> dict[str, str]:
    """Task, model, and the settings that differ from their defaults."""
    from landscape.data_store.records import RunConfig

    defaults = {setting.name: setting.default for setting in fields(RunConfig)}
    found = {name: _plain(config.get(name)) for name in ("task", "model")}
    for name, value in config.items():
        default = defaults.get(name)
        same = value == (list(default) if isinstance(default, tuple) else default)
        if name not in (*found, "levels") and not same:
            found[_plain(name)] = _plain(value if isinstance(value, str) else json.dumps(value))
    return found


def _percent(fraction: float | None) -> str:
    """A fraction in percent, a dash for an unknown one."""
    known = fraction is not None and fraction == fraction
    return f"{100 * fraction:.2f} %" if known and fraction is not None else "–"


def _accuracy(error: float | None) -> str:
    """Accuracy in percent of an error."""
    return _percent(None if error is None else 1 - error)


def _plain(value: Any) -> str:
    """A value on one line that commands no terminal, cut if it is long."""
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _escaped(text: str) -> str:
    """Text as HTML shows it."""
    return html.escape(text, quote=True)
