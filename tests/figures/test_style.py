"""Size, colours, labels and files of the figures."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.training import TRAINING
from landscape.figures.style import (
    COLUMN,
    PAGE,
    abreast,
    axis_label,
    colours,
    legend_above,
    level_scale,
    paper,
    paper_figure,
    run_looks,
    save,
    say_if_empty,
    scale,
    series_looks,
    steps,
)


def line_figure():
    with paper_figure() as canvas:
        ax = canvas.add_subplot()
        ax.plot([0, 1], [0, 1])
        ax.set_xlabel("α – loss")
    return canvas


def test_paper_settings_end_with_the_block():
    before = mpl.rcParams.copy()
    with paper():
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert not mpl.rcParams["axes.spines.top"]
    assert mpl.rcParams.copy() == before


def test_paper_settings_end_with_an_error_too():
    before = mpl.rcParams.copy()
    with pytest.raises(ValueError, match="in the block"), paper():
        raise ValueError("in the block")
    assert mpl.rcParams.copy() == before


def test_paper_settings_do_not_depend_on_the_users():
    plain = line_figure()
    users = {"lines.linewidth": 9, "xtick.labelsize": 30, "axes.facecolor": "black"}
    with mpl.rc_context(users):
        loud = line_figure()
    assert plain.axes[0].get_facecolor() == loud.axes[0].get_facecolor()
    for one, other in zip(plain.axes[0].lines, loud.axes[0].lines, strict=True):
        assert one.get_linewidth() == other.get_linewidth()
    sizes = [
        {tick.get_fontsize() for tick in canvas.axes[0].get_xticklabels()}
        for canvas in (plain, loud)
    ]
    assert sizes == [{6.5}, {6.5}]


@pytest.mark.parametrize("entries", [1, 5, 12])
def test_axes_have_the_height_asked_for_however_long_the_legend(entries):
    with paper_figure(COLUMN, 1.5) as canvas:
        ax = canvas.add_subplot()
        handles = [Line2D([], [], label=f"a rather long entry {k}") for k in range(entries)]
        legend_above(ax, handles)
    assert canvas.get_figwidth() == COLUMN
    assert ax.get_window_extent().height / canvas.dpi == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("over_figure", [False, True])
def test_legend_lies_above_the_data_and_inside_the_figure(over_figure):
    with paper_figure() as canvas:
        ax = canvas.add_subplot()
        handles = [Line2D([], [], label=f"entry {k}") for k in range(7)]
        legend_above(canvas if over_figure else ax, handles)
    legend = canvas.legends[0] if over_figure else ax.get_legend()
    box = legend.get_window_extent()
    assert box.y0 >= ax.get_window_extent().y1 - 1
    assert (box.x0, box.y0) >= (0, 0)
    assert box.x1 <= canvas.bbox.x1 + 1
    assert box.y1 <= canvas.bbox.y1 + 1
    assert [text.get_text() for text in legend.get_texts()] == [f"entry {k}" for k in range(7)]


def test_legend_takes_fewer_columns_for_longer_names():
    def rows(letters):
        ax = Canvas(figsize=(3, 2)).add_subplot()
        legend_above(ax, [Line2D([], [], label="x" * letters) for _ in range(6)])
        ax.figure.draw_without_rendering()
        return len({round(text.get_window_extent().y0) for text in ax.get_legend().get_texts()})

    assert rows(1) <= 2
    assert rows(60) == 6


def test_saved_files_carry_no_date_and_are_the_same_twice(tmp_path):
    canvas = line_figure()
    first = save(canvas, tmp_path / "a" / "figure.v2")
    again = save(line_figure(), tmp_path / "b" / "figure.v2")
    assert [path.name for path in first] == ["figure.v2.pdf", "figure.v2.png"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pdf = first[0].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/Subtype /Image" not in pdf
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "figure.v2.pdf",
        "figure.v2.png",
    ]


def test_svg_is_the_same_twice(tmp_path):
    (one,) = save(line_figure(), tmp_path / "one", ["svg"])
    (other,) = save(line_figure(), tmp_path / "other", ["svg"])
    assert one.read_bytes() == other.read_bytes()
    assert b"<dc:date>" not in one.read_bytes()


def test_dpi_is_that_of_the_png(tmp_path):
    canvas = line_figure()
    (path,) = save(canvas, tmp_path / "figure", ["png"], dpi=100)
    width = int.from_bytes(path.read_bytes()[16:20], "big")
    assert width == round(100 * COLUMN)


ABOUT = {"Title": "α of runs", "Keywords": "0123abcd, 4567ef", "Software": "landscape 0.1.0"}


def test_files_say_what_they_are_about_in_the_same_bytes(tmp_path):
    formats = ["pdf", "png", "svg"]
    first = save(line_figure(), tmp_path / "one", formats, about=ABOUT)
    again = save(line_figure(), tmp_path / "other", formats, about=ABOUT)
    pdf, png, svg = (path.read_bytes() for path in first)
    assert [pdf, png, svg] == [path.read_bytes() for path in again]
    assert b"/Keywords (0123abcd, 4567ef)" in pdf
    assert b"/Creator (landscape 0.1.0)" in pdf
    assert b"/Title" in pdf
    assert b"CreationDate" not in pdf
    assert b"Keywords\x000123abcd, 4567ef" in png
    assert b"Software\x00landscape 0.1.0" in png
    for word in (b"<rdf:li>0123abcd</rdf:li>", b"<rdf:li>4567ef</rdf:li>", "α of runs".encode()):
        assert word in svg


def test_fonts_of_every_format_are_in_the_file(tmp_path):
    pdf, svg = save(line_figure(), tmp_path / "one", ["pdf", "svg"])
    content = pdf.read_bytes()
    assert content.count(b"/FontFile2") == content.count(b"/Type /FontDescriptor") > 0
    assert b"/FontFile3" not in content
    assert b"/Type3" not in content
    assert b"<text" not in svg.read_bytes()  # outlines: no font is looked for


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_panels_below_each_other_all_have_the_height_asked_for(rows):
    with paper_figure(COLUMN, 1.4) as canvas:
        for ax in canvas.subplots(rows, 1, squeeze=False).flat:
            ax.set_xlabel("density")
    for ax in canvas.axes:
        assert ax.get_window_extent().height / canvas.dpi == pytest.approx(1.4, abs=0.03)


@pytest.mark.parametrize(
    ("width", "panels", "beside"), [(PAGE, 1, 1), (PAGE, 2, 2), (PAGE, 9, 3), (COLUMN, 9, 1)]
)
def test_panels_stand_beside_each_other_as_far_as_they_fit(width, panels, beside):
    assert abreast(width, panels) == beside


# Machado et al. (2009), severity 1.0, on linear RGB
SIGHTS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(linear):
    """CIE L*a*b* of linear sRGB under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = np.clip(to_xyz @ linear, 0, None) / [0.9505, 1.0, 1.089]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(colour):
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("sight", SIGHTS)
def test_colour_blind_readers_tell_the_colours_apart(sight):
    seen = [lab(SIGHTS[sight] @ linear(colour)) for colour in colours(7)]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) > 10  # about 2 is just noticeable


def test_ordered_colours_get_lighter_in_print_too():
    lightness = [lab(linear(colour))[0] for colour in steps(12)]
    assert np.all(np.diff(lightness) > 2)


def test_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="unknown figure format 'pgn'; did you mean 'png'"):
        save(line_figure(), tmp_path / "figure", ["pdf", "pgn"])
    assert not list(tmp_path.iterdir())


def test_what_the_disk_refuses_is_said_in_words(tmp_path):
    (tmp_path / "figure.pdf").mkdir()
    with pytest.raises(LandscapeError, match=r"could not write .*figure\.pdf"):
        save(line_figure(), tmp_path / "figure")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.pdf"]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 30])
def test_colours_are_as_many_as_asked_for_and_distinct(count):
    assert len(set(colours(count))) == count


def test_colours_are_darker_than_the_paper():
    for colour in [*colours(7), *colours(30)]:
        assert np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) < 0.8


def test_level_scale_gives_each_level_its_own_block():
    levels = level_scale(1, 12)
    seen = {tuple(levels.to_rgba(level)) for level in range(1, 13)}
    assert len(seen) == 12
    assert levels.cmap.N == 12


def test_labels_are_what_the_schema_says():
    assert axis_label(BARRIER.variables["loss"]) == "loss on the line (nats per example)"
    assert axis_label(BARRIER.variables["error_barrier"]) == "error barrier (%)"
    assert axis_label(BARRIER.coordinates["level_b"]) == "level of the second checkpoint"
    assert scale(BARRIER.variables["error"]) == 100
    assert scale(TRAINING.variables["final_test_loss"]) == 1


@pytest.mark.parametrize("count", [1, 7, 30])
def test_series_differ_without_their_colours_too(count):
    looks = series_looks(count)
    assert len({look["color"] for look in looks}) == count
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == count


def test_runs_look_different_from_each_other():
    example = BARRIER.example().isel(pair=np.zeros(20, dtype=int))
    looks = run_looks(example.assign_coords(run=("pair", [f"run-{k}" for k in range(20)])))
    assert [name for name, _, _ in looks] == [f"run-{k}" for k in range(20)]
    for (_, *one), (_, *other) in itertools.combinations(looks, 2):
        assert one != other


@pytest.mark.parametrize(
    ("x", "y", "empty"),
    [([1.0], [1.0], False), ([np.nan], [1.0], True), ([1.0], [np.inf], True), ([], [], True)],
)
def test_emptiness_is_said_only_of_an_axes_without_a_point(x, y, empty):
    ax = Canvas().add_subplot()
    ax.plot(x, y)
    say_if_empty(ax)
    assert bool(ax.texts) == empty


def test_a_bare_savefig_has_the_papers_fonts(tmp_path) -> None:
    with paper_figure() as figure:
        figure.subplots().set_xlabel("weights remaining (%)")
    figure.savefig(tmp_path / "bare.pdf")
    content = (tmp_path / "bare.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/TrueType" in content or b"/CIDFontType2" in content
