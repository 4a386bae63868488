"""README.md: every command and every Python block is executed, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.cli import run

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(console|python|toml)\n(.*?)```", TEXT, re.DOTALL)
FOREIGN = """
import torch
from safetensors.torch import save_file
from my_net import build
torch.save({"state_dict": {f"module.{k}": v for k, v in build().state_dict().items()}}, "a.pt")
save_file(build().state_dict(), "b.safetensors")
"""


def follow(folder: Path, replaced: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute all blocks in `folder`; `replaced` makes the study small."""
    monkeypatch.chdir(folder)
    for kind, block in BLOCKS:
        if kind == "toml":
            name = block.splitlines()[0].removeprefix("# ")
            Path(name).write_text(changed(block, replaced), encoding="utf-8")
            continue
        if kind == "python":
            python(block, replaced)
            continue
        for line in block.splitlines():
            assert line.startswith("$ "), line
            command(line.removeprefix("$ ").partition("  #")[0], replaced)


def python(block: str, replaced: dict[str, str]) -> None:
    """Keep a block that names a file; run any other."""
    if match := re.match(r"# (my_\w+\.py)\n", block):
        Path(match[1]).write_text(block, encoding="utf-8")
        if Path("my_net.py").is_file() and Path("my_data.py").is_file():
            subprocess.run([sys.executable, "-c", FOREIGN], check=True)
        return
    exec(compile(changed(block, replaced), "README.md", "exec"), {})


def changed(text: str, replaced: dict[str, str]) -> str:
    """A text of a smaller study."""
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def command(line: str, replaced: dict[str, str]) -> None:
    """Run a `landscape` command; of a `make` target, check that it is one."""
    if line.startswith("make"):
        subprocess.run(["make", "--dry-run", *line.split()[1:]], cwd=ROOT, check=True)
        return
    words = shlex.split(changed(line, replaced))
    assert words[0] == "landscape"
    assert run(words[1:]) == 0, line


def test_every_command_runs_on_bundled_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(
        tmp_path,
        {
            "--task mnist --data DIR": "--task digits",
            " --data DIR": "",
            "--iterations 10000": "--iterations 30",
            "--iterations 1410 --last-iterations 2820": "--iterations 20",
            'task="mnist"': 'task="digits"',
            "iterations = 500": "iterations = 20",
        },
        monkeypatch,
    )
    assert (tmp_path / "barrier.pdf").is_file()
    assert (tmp_path / "figures" / "lth-accuracy-mnist-imp-mnist-random.pdf").is_file()


@pytest.mark.slow
def test_every_command_runs_on_mnist(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "DIR": str(data_folder),
        "--iterations 10000": "--iterations 200",
        "--iterations 1410 --last-iterations 2820": "--iterations 20",
    }
    follow(tmp_path, small, monkeypatch)


@pytest.mark.slow
def test_make_demo_runs(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "landscape", "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "Try next:" in done.stdout
    names = {path.name for path in (tmp_path / "demo" / "figures").iterdir()}
    assert names == {
        f"{figure}.{suffix}"
        for figure in (
            *("barrier-curves", "barrier-levels", "lth-accuracy", "lth-early-stop", "overlap"),
            *("planted-multishot", "planted-overlap"),
        )
        for suffix in ("pdf", "png", "txt")
    }


def test_the_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\((.*?)\)", TEXT):
        assert (ROOT / path).is_file(), path


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\(([A-Za-z_./-]+\.md)\)", TEXT):
        assert (ROOT / path).is_file(), path
