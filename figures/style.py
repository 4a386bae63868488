"""Style: size, colours, labels and files of a paper figure, without pyplot or global settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from landscape.data_store.errors import unknown
from landscape.data_store.files import write_over

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from landscape.data_store.schema import Variable

COLUMN, PAGE, HEIGHT = 3.25, 6.75, 1.8
WIDTHS = {"single": COLUMN, "double": PAGE}
NARROWEST = 1.9
_LABELS = 0.75  # inches that a row of axes may need beside its height, at first

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MEASURES = ("error", "loss")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)), (0, (8, 1.5)))

_UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}
# what a fact about a figure is called in a file of each format; a PNG takes any name
_CALLED = {"pdf": {"Software": "Creator"}, "svg": {"Software": "Creator"}}


@contextmanager
def paper() -> Iterator[None]:
    """Matplotlib's settings as a paper wants them; the user's own are back afterwards."""
    with mpl.style.context(["default", "landscape.figures.paper"]):
        yield


class PaperFigure(Canvas):
    """A figure that is saved under the paper's settings, wherever ``savefig`` is called."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As matplotlib's, with the fonts and sizes the figure was laid out for."""
        with paper():
            super().savefig(*arguments, **options)


@contextmanager
def paper_figure(width: float = COLUMN, height: float = HEIGHT) -> Iterator[Canvas]:
    """An empty figure to draw on under the paper's settings.

    Parameters
    ----------
    width
        Width of the figure in inches: a column is 3.25 wide, a page 6.75.
    height
        Height of its axes in inches. Labels and legends add to it instead of taking from
        it, so figures side by side in a paper have axes of one height.
    """
    with paper():
        figure = PaperFigure(figsize=(width, 2 * height), layout="constrained")
        yield figure
        room = max((_rows(ax) for ax in figure.axes), default=1) * (height + _LABELS)
        figure.set_figheight(max(figure.get_figheight(), room))
        # Ticks are made at the first drawing, with the settings of that moment.
        figure.draw_without_rendering()
        for ax in figure.axes[:1]:
            got = ax.get_window_extent().height / figure.dpi
            rows = _rows(ax) if ax.get_aspect() == "auto" else 1
            figure.set_figheight(figure.get_figheight() + rows * (height - got))
            figure.draw_without_rendering()


def _rows(ax: Axes) -> int:
    """How many axes stand one above the other where `ax` is one."""
    place = ax.get_subplotspec()
    return 1 if place is None else place.get_gridspec().nrows


def abreast(width: float, panels: int) -> int:
    """How many panels fit beside each other into `width` inches, at most all; the others go below.

    >>> abreast(PAGE, 2), abreast(PAGE, 9), abreast(COLUMN, 2)
    (2, 3, 1)
    """
    return max(1, min(panels, int(width / NARROWEST)))


def save(
    figure: Canvas,
    path_stem: str | Path,
    formats: Sequence[str] = ("pdf", "png"),
    dpi: float = 200,
    about: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write a figure once per format, each file whole or not at all.

    The same figure, about which the same is said, gives the same bytes: the files carry no date.

    Parameters
    ----------
    path_stem
        Where to write, without the suffix.
    formats
        Any of ``pdf``, ``png`` and ``svg``.
    dpi
        Dots per inch of the PNG.
    about
        What the files say of themselves, none of it shown: ``Title``, ``Keywords`` (separated by
        ``, ``) and the ``Software`` that made them.

    Raises `UsageError` for another format and `LandscapeError` if the disk refuses.
    """
    stem = Path(path_stem)
    for name in formats:
        if name not in _UNDATED:
            raise unknown("figure format", name, _UNDATED)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    for path, name in zip(paths, formats, strict=True):
        content = BytesIO()
        with paper():
            figure.savefig(content, format=name, dpi=dpi, metadata=_metadata(name, about))
        write_over(path, content.getvalue())
    return paths


def _metadata(name: str, about: Mapping[str, str]) -> dict[str, Any]:
    """Facts about a figure as matplotlib's backend for a format takes them."""
    called = _CALLED.get(name, {})
    said: dict[str, Any] = {called.get(key, key): value for key, value in about.items()}
    if name == "svg" and "Keywords" in said:
        said["Keywords"] = said["Keywords"].split(", ")
    return {**_UNDATED[name], **said}


def level_map() -> Colormap:
    """Viridis without its last, yellow part, which white paper swallows."""
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))


def colours(count: int) -> list[str]:
    """`count` colours that colour-blind readers can tell apart.

    Up to seven are Okabe and Ito's, without their yellow; more are `steps`.
    """
    return list(OKABE_ITO[:count]) if count <= len(OKABE_ITO) else steps(count)


def steps(count: int) -> list[str]:
    """`count` ordered colours, the whole of `level_map` from its first to its last."""
    return [to_hex(colour) for colour in level_map()(np.linspace(0, 1, count))]


def series_looks(count: int) -> list[dict[str, Any]]:
    """Colour, marker and line style of `count` series; each of the three tells them apart.

    So do the last two in print without colour. More than there are markers repeat them with
    another line style.
    """
    shapes = zip(cycle(MARKERS), cycle(LINES), strict=False)
    return [
        {"color": colour, "marker": marker, "linestyle": line}
        for colour, (marker, line) in zip(colours(count), shapes, strict=False)
    ]


def run_looks(ds: xr.Dataset | xr.DataArray) -> list[tuple[str, str, Any]]:
    """Name, marker and line style of each run along the pairs, in order of appearance."""
    runs = dict.fromkeys(ds["run"].values.tolist())
    return list(zip(runs, cycle(MARKERS), cycle(LINES), strict=False))


def axis_label(variable: Variable) -> str:
    """Label of an axis as the schema words it; fractions are drawn in percent.

    >>> from landscape.data_store.schemas.barrier import BARRIER
    >>> axis_label(BARRIER.variables["loss_barrier"])
    'loss barrier (nats per example)'
    """
    if variable.units == "1":
        return variable.long_name
    return f"{variable.long_name} ({'%' if variable.units == 'fraction' else variable.units})"


def scale(variable: Variable) -> float:
    """What a variable is multiplied by for an axis labelled with `axis_label`."""
    return 100.0 if variable.units == "fraction" else 1.0


def level_scale(lower: float, upper: float) -> ScalarMappable:
    """Colours of the levels from `lower` to `upper`: one block each, which stays vector."""
    count = round(upper - lower) + 1
    return ScalarMappable(Normalize(lower - 0.5, upper + 0.5), ListedColormap(steps(count)))


def level_bar(axes: Sequence[Axes], levels: ScalarMappable, label: str) -> None:
    """A colour bar beside `axes`, with whole numbers on it."""
    figure = axes[0].figure
    bar = figure.colorbar(
        levels, ax=axes, label=label, pad=0.02, ticks=MaxNLocator(6, integer=True)
    )
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # PDF viewers show seams otherwise


def legend_above(target: Axes | Canvas, handles: Sequence[Artist]) -> None:
    """A legend over the top of an axes or a whole figure, where it covers no data.

    It has as many columns as fit the width of `target`, which for an axes grows by about a
    tenth when the figure is laid out.
    """
    width = target.bbox.width * (1 if isinstance(target, Canvas) else 1.1)
    options: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    if isinstance(target, Canvas):
        options = {"loc": "outside upper center"}
    for columns in range(max(1, len(handles)), 0, -1):
        legend = target.legend(handles=handles, ncols=columns, **options)
        if legend.get_window_extent().width <= width:
            return
        if columns > 1:
            legend.remove()


def say_if_empty(ax: Axes) -> None:
    """Say in words that no line of `ax` has a point; blank, it would look like a fault."""
    for line in ax.lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        if np.any(np.isfinite(x) & np.isfinite(y)):
            return
    ax.set_yticks([])
    ax.text(0.5, 0.5, "no value is known (all NaN)", transform=ax.transAxes, ha="center")
