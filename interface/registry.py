"""The table of commands; every analysis is one more, made from its own table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    import click

COMMANDS: Table[click.Command] = Table(
    "command",
    {
        "demo": Entry(
            "landscape.commands.demo:command",
            "Train, analyse and draw on bundled data, in minutes.",
        ),
        "train": Entry(
            "landscape.commands.train:command",
            "Train a run level after level, or go on with it.",
        ),
        "branch": Entry(
            "landscape.commands.branch:command",
            "Train from a stored level: a control or a transfer.",
        ),
        "sweep": Entry(
            "landscape.commands.sweep:command",
            "Train a grid of runs, ask analyses about all of them, and sum up.",
        ),
        "plant": Entry(
            "landscape.commands.plant:command",
            "Hide a known ticket in a random network, for pruners to find.",
        ),
        "ls": Entry("landscape.commands.ls:command", "List the runs or the results of a store."),
        "show": Entry("landscape.commands.show:command", "Describe a run, a level or a result."),
        "figure": Entry("landscape.commands.figure:command", "Draw a figure as PDF and PNG."),
        "table": Entry(
            "landscape.commands.table:command",
            "Print the numbers of a figure as text, Markdown, LaTeX or CSV.",
        ),
        "report": Entry(
            "landscape.commands.report:command",
            "Write what is stored as one interactive HTML page.",
        ),
        "insights": Entry(
            "landscape.commands.insights:command",
            "Judge seven claims about why iterative pruning works.",
        ),
        "verify": Entry("landscape.commands.verify:command", "Check every file of a store."),
        "import": Entry("landscape.commands.import_:command", "Make foreign checkpoints a run."),
        "export": Entry("landscape.commands.export:command", "Write a ticket or surface to share."),
    },
)
