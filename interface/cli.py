"""The command line: finds commands in the tables, turns errors into one sentence."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from landscape.analysis.registry import ANALYSES
from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.printing import printable
from landscape.registry import COMMANDS

_ORDER = (
    "demo",
    "train",
    "branch",
    "plant",
    "sweep",
    *ANALYSES,
    "insights",
    "ls",
    "show",
    "figure",
    "report",
    "table",
    "import",
    "export",
    "verify",
)


class _Commands(click.Group):
    """The group of all commands; a command's module is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of a study, later ones at the end."""
        names = [*COMMANDS, *ANALYSES]
        return [n for n in _ORDER if n in names] + [n for n in names if n not in _ORDER]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`."""
        if cmd_name in COMMANDS:
            return COMMANDS.load(cmd_name)
        if cmd_name in ANALYSES:
            from landscape.commands.analysis import command_for

            return command_for(cmd_name)
        raise unknown("command", cmd_name, self.list_commands(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and summaries, without importing any command."""
        rows = [
            (name, COMMANDS[name].summary if name in COMMANDS else ANALYSES[name].summary)
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog="Code runs from nowhere but --model and --task FILE.py:NAME; no checkpoint runs any.",
)
@click.version_option(package_name="landscape-workbench", prog_name="landscape")
@click.pass_context
def landscape(ctx: click.Context) -> None:
    """Why do sparse networks train? Run pruning experiments and measure their loss landscape.

    A checkpoint is RUN@LEVEL or RUN@LEVEL.PART (final, init, rewind, baseline, ticket, mask,
    step-K), or the path of a .h5, .pt, .pth or .safetensors file.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 done, 1 failed, 2 wrong use."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; errors are printed as one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code: Any = landscape.main(arguments, prog_name="landscape", standalone_mode=False)
    except click.ClickException as error:
        sentence = " ".join(error.format_message().split())  # click lists choices in lines
        return _fail(sentence, 2 if isinstance(error, click.UsageError) else 1)
    except LandscapeError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; what was finished is stored, the same command goes on", 1)
    except BrokenPipeError:
        return 1
    except MemoryError:
        return _fail("out of memory; use fewer --points or a smaller model", 1)
    return code if isinstance(code, int) else 0


def _warn(message: Warning | str, *_details: object, **_more: object) -> None:
    """Print a warning as one sentence on standard error; a file's name may hold anything."""
    click.echo(f"Warning: {printable(str(message))}", err=True)


def _fail(sentence: str, code: int) -> int:
    """Print an error on standard error."""
    click.echo(f"Error: {printable(sentence)}", err=True)
    return code
