"""Sheet formats: a sheet as text, GitHub's Markdown, LaTeX of booktabs, or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence

from landscape.printing import plain_table, printable, width_of
from landscape.sheet import Cell, Column, Sheet
from landscape.significant import exact, plain, tex

_UNITS = {"fraction": "%", "count": "", "1": "", "": ""}
_LONG = 48  # characters that LaTeX sets as a paragraph
_LEAST_RULE = 3  # dashes of a column that GitHub takes for a table
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#])")
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}",
    "[": "{[}", "]": "{]}", "*": "{*}", "`": r"\textasciigrave{}",
    "–": "--", "±": r"$\pm$", "→": r"$\rightarrow$", "∞": r"$\infty$", "−": "$-$",
}  # fmt: skip


def text(sheet: Sheet) -> str:
    """As the terminal's tables are; quantities to the right."""
    shown = sheet.for_readers()
    return "\n".join(
        [plain_table(*text_parts(shown), title=_one_line(shown.caption)), *_below(shown)]
    )


def text_parts(shown: Sheet) -> tuple[list[str], list[list[str]], list[bool]]:
    """Headings, cells and which columns stand to the right, of a sheet for readers."""
    rows = [[_plain(cell, c) for cell, c in zip(row, shown.columns, strict=True)]
            for row in shown.rows]  # fmt: skip
    heads = [_one_line(heading(column)) for column in shown.columns]
    return heads, rows, [not column.is_text for column in shown.columns]


def _below(shown: Sheet) -> list[str]:
    """The notes under a table of text."""
    return ["", *map(_one_line, shown.notes)] if shown.notes else []


def heading(column: Column) -> str:
    """The title of a column with its unit.

    >>> heading(Column("test_accuracy", "test accuracy", "fraction"))
    'test accuracy (%)'
    """
    unit = _unit(column)
    return f"{column.title} ({unit})" if unit else column.title


def _unit(column: Column) -> str:
    """The unit of a column for readers, empty if it needs none."""
    return _UNITS.get(column.units, column.units)


def markdown(sheet: Sheet) -> str:
    """A table as GitHub reads it, its columns aligned also in the source.

    Names are escaped: they come from files, and are no Markdown.
    """
    shown = sheet.for_readers()
    head = [_escaped(heading(column)) for column in shown.columns]
    body = [[_escaped(_plain(cell, c)) for cell, c in zip(row, shown.columns, strict=True)]
            for row in shown.rows]  # fmt: skip
    widths = [max(_LEAST_RULE, *map(width_of, column)) for column in zip(head, *body, strict=True)]
    rule = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for column, width in zip(shown.columns, widths, strict=True)
    ]
    lines = [_bars(row, widths, shown.columns) for row in (head, rule, *body)]
    above, notes = [_escaped(shown.caption), ""], [_escaped(note) for note in shown.notes]
    return "\n".join([*above, *lines, *(["", *notes] if notes else [])])


def _bars(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    """One line of a Markdown table."""
    cells = []
    for cell, width, column in zip(row, widths, columns, strict=True):
        space = " " * (width - width_of(cell))
        cells.append(cell + space if column.is_text else space + cell)
    return f"| {' | '.join(cells)} |"


def _escaped(words: str) -> str:
    """Words that Markdown shows as they are."""
    return _MARKDOWN.sub(r"\\\1", _one_line(words))


def latex(sheet: Sheet) -> str:
    r"""A ``table`` of LaTeX's booktabs, with caption, label and notes; units under the titles.

    The preamble needs ``\usepackage{booktabs}``. Names are escaped.
    """
    shown = sheet.for_readers()
    titles = [_tex(column.title) for column in shown.columns]
    units = [_tex(f"({unit})" if (unit := _unit(column)) else "") for column in shown.columns]
    body = [[_tex_cell(cell, c) for cell, c in zip(row, shown.columns, strict=True)]
            for row in shown.rows]  # fmt: skip
    caption = " ".join(map(_tex, [_sentence(shown.caption), *map(_sentence, shown.notes)]))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{caption}}}",
            rf"  \label{{tab:{shown.name}}}",
            rf"  \begin{{tabular}}{{{_tex_places(shown)}}}",
            r"    \toprule",
            f"    {' & '.join(titles)} \\\\",
            *([f"    {' & '.join(units)} \\\\"] if any(units) else []),
            r"    \midrule",
            *(f"    {' & '.join(row)} \\\\" for row in body),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _tex_places(shown: Sheet) -> str:
    """How LaTeX sets the columns: long words as paragraphs, which share half a line."""
    long = [
        any(len(cell) > _LONG for row in shown.rows if isinstance(cell := row[i], str))
        for i in range(len(shown.columns))
    ]
    paragraph = rf"p{{{0.5 / max(sum(long), 1):.2g}\linewidth}}"
    return "".join(
        paragraph if is_long else "l" if column.is_text else "r"
        for is_long, column in zip(long, shown.columns, strict=True)
    )


def _tex(words: str) -> str:
    """Words that LaTeX shows as they are; two hyphens and commas stay two."""
    apart = re.sub(r"([-,'])(?=\1)", "\\1\0", _one_line(words))
    return "".join(_TEX.get(character, character) for character in apart).replace("\0", "{}")


def _tex_cell(cell: Cell, column: Column) -> str:
    """One cell of LaTeX."""
    return _tex(cell) if isinstance(cell, str) else tex(cell, column.units)


def csv_text(sheet: Sheet) -> str:
    """Comma-separated values as RFC 4180 has them, with all digits and all columns.

    The heading is a column's name and the unit of its numbers, which are as the dataset has them:
    fractions, not percentages. What is unknown is empty. Errors, or least and greatest, are
    columns of their own.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\r\n")
    writer.writerow([name for column in sheet.columns for name in csv_names(column)])
    for row in sheet.rows:
        cells = zip(row, sheet.columns, strict=True)
        writer.writerow([part for cell, column in cells for part in _csv_cell(cell, column)])
    return content.getvalue()


def csv_names(column: Column) -> list[str]:
    """Headings of a column and its uncertainty.

    >>> csv_names(Column("loss", "loss", "nats per example", "se"))
    ['loss (nats per example)', 'loss_se (nats per example)']
    """
    endings = {"": [""], "range": ["", "_min", "_max"]}.get(
        column.spread, ["", f"_{column.spread}"]
    )
    unit = "" if column.units in ("", "1") else f" ({column.units})"
    return [f"{column.name}{ending}{unit}" for ending in endings]


def _csv_cell(cell: Cell, column: Column) -> list[str]:
    """The parts of one cell of CSV."""
    if isinstance(cell, str):
        return [_encodable(cell)]
    if column.spread == "range":
        return [exact(cell.value), exact(cell.low), exact(cell.high)]
    return [exact(cell.value), exact(cell.error)] if column.spread else [exact(cell.value)]


def _encodable(words: str) -> str:
    """Words without halves of surrogate pairs, which no file holds."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(cell: Cell, column: Column) -> str:
    """One cell for readers of plain characters."""
    return _one_line(cell) if isinstance(cell, str) else plain(cell, column.units)


def _one_line(words: str) -> str:
    """Words on one line, what would command a terminal escaped."""
    return printable(words)


def _sentence(words: str) -> str:
    """Words that end with a point."""
    return words if words.endswith(".") else f"{words}."


FORMATS: dict[str, Callable[[Sheet], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": csv_text,
}
