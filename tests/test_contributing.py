"""CONTRIBUTING.md, followed to the letter on a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```python\n# (.*?)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages as `landscape`, with every block of the page added."""
    folder = tmp_path_factory.mktemp("house")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, source in settings["tool"]["setuptools"]["package-dir"].items():
        shutil.copytree(ROOT / source, folder / name.replace(".", "/"), dirs_exist_ok=True)
    blocks = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(blocks) == 10
    for instruction, code in blocks:
        follow(folder / "landscape", instruction, code)
    return folder


def follow(package: Path, instruction: str, code: str) -> None:
    """Do what the first line of a block says."""
    if match := re.fullmatch(r"new file (\S+)", instruction):
        path = package / match[1]
        assert not path.exists()
        path.write_text(code, encoding="utf-8")
    elif match := re.fullmatch(r"add to (\S+\.py)", instruction):
        path = package / match[1]
        path.write_text(path.read_text(encoding="utf-8") + "\n\n" + code, encoding="utf-8")
    elif match := re.fullmatch(r"add to ([A-Z]+) in (\S+\.py)", instruction):
        path = package / match[2]
        text = path.read_text(encoding="utf-8")
        start = text.index(f"{match[1]}: Table")
        end = text.index("\n    },\n)", start) + 1
        path.write_text(text[:end] + code + text[end:], encoding="utf-8")
    else:
        pytest.fail(f"no such instruction: {instruction}")


def landscape(house: Path, *arguments: str) -> str:
    """Standard output of the copy's command line."""
    done = subprocess.run(
        [sys.executable, "-m", "landscape", *arguments],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_recipes_work(house: Path) -> None:
    landscape(
        house, "train", "--task", "digit-parity", "--criterion", "magnitude-increase", "--model",
        "mlp:64-20-2", "--iterations", "30", "--levels", "3", "--name", "control",
    )  # fmt: skip
    assert "magnitude-increase" in landscape(house, "ls")
    printed = landscape(house, "shrinkage", "control", "--largest-order", "3")
    assert re.search(r"control@0 control@1 +3 +\d", printed)
    assert "shrinkage" in landscape(house, "ls", "results")
    landscape(house, "figure", "shrinkage", "--run", "control", "--compute")
    assert (house / "figures" / "shrinkage-control.pdf").stat().st_size > 1000
    assert "shrinkage" in landscape(house, "--help")


def test_the_new_entries_pass_the_tables_own_tests(house: Path) -> None:
    code = (
        "from landscape.analysis.registry import ANALYSES\n"
        "from landscape.data_store.schemas.table import SCHEMAS\n"
        "from landscape.figures.registry import FIGURES\n"
        "analysis = ANALYSES.load('shrinkage')\n"
        "assert analysis.schema is SCHEMAS['shrinkage']\n"
        "assert set(analysis.measures) <= set(analysis.schema.variables)\n"
        "FIGURES.load('shrinkage').draw(analysis.schema.example())\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        check=True,
    )
