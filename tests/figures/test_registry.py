"""Every figure draws its schema's example, and importing the table imports no figure."""

from __future__ import annotations

import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.figures.axes import DENSITY_LABEL
from landscape.figures.registry import FIGURES
from landscape.figures.style import WIDTHS

NAMES = list(FIGURES)

DRAW_ALL = """
import hashlib, sys
from pathlib import Path
from landscape.figures.registry import FIGURES
from landscape.figures.style import save
for name in FIGURES:
    figure = FIGURES.load(name)
    for path in save(figure.draw(figure.schema.example()), Path(sys.argv[1]) / name):
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
print(*({"matplotlib.pyplot", "torch"} & set(sys.modules)), file=sys.stderr, end="")
"""


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_the_figure_it_names(name):
    figure = FIGURES.load(name)
    assert (figure.name, figure.summary) == (name, FIGURES[name].summary)


@pytest.mark.parametrize("name", NAMES)
def test_example_becomes_a_complete_figure_and_settings_come_back(name):
    figure = FIGURES.load(name)
    before = mpl.rcParams.copy()
    canvas = figure.draw(figure.schema.example())
    assert mpl.rcParams.copy() == before
    assert isinstance(canvas, Canvas)
    for ax in canvas.axes:
        meshes = [drawn for drawn in ax.collections if drawn.get_array() is not None]
        known = [np.isfinite(line.get_ydata()).any() for line in ax.lines]
        known += [np.isfinite(np.ma.compressed(mesh.get_array())).any() for mesh in meshes]
        assert any(known)
        assert ax.get_xlabel()
    assert canvas.axes[0].get_ylabel()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_all_of_it_lies_inside_a_column_or_a_page(name, width):
    figure = FIGURES.load(name)
    canvas = figure.draw(figure.schema.example(), width=WIDTHS[width])
    assert canvas.get_figwidth() == WIDTHS[width]
    canvas.draw_without_rendering()  # as savefig does
    box = canvas.get_tightbbox()  # in inches
    assert (box.x0, box.y0) >= (-0.02, -0.02)
    assert box.x1 <= canvas.get_figwidth() + 0.02
    assert box.y1 <= canvas.get_figheight() + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_density_runs_from_dense_to_sparse_on_a_logarithmic_axis(name):
    figure = FIGURES.load(name)
    for ax in figure.draw(figure.schema.example()).axes:
        if ax.get_xlabel() == DENSITY_LABEL:
            matrix = ax.get_ylabel() == DENSITY_LABEL  # one cell for each checkpoint
            assert matrix or (ax.get_xscale() == "log" and ax.xaxis.get_inverted())


@pytest.mark.parametrize("name", NAMES)
def test_either_spread_is_drawn_where_one_is(name):
    figure = FIGURES.load(name)
    for spread in ("range", "std") if figure.spread else ():
        assert figure.draw(figure.schema.example(), spread=spread).axes


@pytest.mark.parametrize("name", NAMES)
def test_missing_variable_is_refused_with_the_schemas_sentence(name):
    figure = FIGURES.load(name)
    variable = next(iter(figure.schema.variables))
    example = figure.schema.example().drop_vars(variable)
    with pytest.raises(LandscapeError, match=f"a {figure.schema.kind} dataset needs '{variable}'"):
        figure.draw(example)


@pytest.mark.parametrize("name", NAMES)
def test_renamed_variable_is_refused(name):
    figure = FIGURES.load(name)
    for variable, want in figure.schema.variables.items():
        if not want.optional:
            renamed = figure.schema.example().rename({variable: "other"})
            with pytest.raises(LandscapeError, match=f"needs '{variable}'"):
                figure.draw(renamed)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_is_said_in_words_instead_of_drawn(name):
    figure = FIGURES.load(name)
    example = figure.schema.example()
    for variable, want in figure.schema.variables.items():
        if want.dtype == "float64" and variable != "density":
            example[variable] = example[variable].where(False).assign_attrs(example[variable].attrs)
    for ax in figure.draw(example).axes:
        assert "no value is known (all NaN)" in [text.get_text() for text in ax.texts]


def test_unknown_figure_names_the_nearest():
    with pytest.raises(UsageError, match="unknown figure 'barriers'; did you mean 'barrier-"):
        FIGURES.load("barriers")


def test_the_table_imports_neither_matplotlib_nor_xarray():
    code = """
import sys
import landscape.figures.registry
print(*sorted({"matplotlib", "xarray", "numpy", "torch"} & set(sys.modules)))
"""
    assert run(code).stdout.strip() == ""


def test_files_are_the_same_in_every_process_and_neither_pyplot_nor_torch_is_loaded(tmp_path):
    one = run(DRAW_ALL, tmp_path, PYTHONHASHSEED="1")
    other = run(DRAW_ALL, tmp_path, PYTHONHASHSEED="2")
    assert one.stderr == other.stderr == ""
    assert len(one.stdout.splitlines()) == 2 * len(FIGURES)
    assert one.stdout == other.stdout
