"""The scripts of docs/clusters.md: run with a queue of this machine, or as far as goes without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import landscape

DOC = Path(__file__).parents[1] / "docs" / "clusters.md"
FILE, STORE = '"experiments/lth-lenet.toml"', '"/shared/store"'
TINY = """
name = "a"
[train]
task = "digits"
model = "mlp:64-20-10"
levels = 2
iterations = 20
[grid]
lr = [0.1, 0.2]
"""
SBATCH = """#!/bin/sh
cp "$1" "$1.kept"
setsid sh "$1.kept" >>jobs.log 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nfor job in "$@"; do kill -- -"$job" 2>/dev/null; done; true\n'


def script(heading: str) -> str:
    """The Python script under a heading."""
    _, _, section = DOC.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("heading", ["SLURM", "Kubernetes"])
def test_a_script_is_short(heading: str) -> None:
    lines = [line for line in script(heading).splitlines() if line.strip()]
    assert len(lines) <= 13
    assert FILE in script(heading)
    assert STORE in script(heading)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a queue of shell scripts")
def test_a_sweep_on_slurm(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    (tmp_path / "tiny.toml").write_text(TINY)
    text = script("SLURM").replace(FILE, '"tiny.toml"').replace(STORE, '"store"')
    text = text.replace("source /shared/venv/bin/activate", "true")
    text = text.replace("maximum_jobs=100", "maximum_jobs=2")
    (tmp_path / "sweep.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "sweep.py"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"},
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    store = landscape.open(tmp_path / "store")
    assert {name: store[name].levels for name in store} == {"a-lr0.1": [0, 1], "a-lr0.2": [0, 1]}
    assert "Worker" in (tmp_path / "jobs.log").read_text()  # it was no process of the script's


def test_the_pods_of_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = pytest.importorskip("dask_kubernetes.operator")
    made: list[dict[str, object]] = []

    class Cluster:
        """Stands for what needs a cluster."""

        scheduler_address = "tcp://landscape-scheduler.default:8786"

        def __init__(self, custom_cluster_spec: dict[str, object]) -> None:
            made.append(custom_cluster_spec)

    asked: list[object] = []
    monkeypatch.setattr(operator, "KubeCluster", Cluster)
    monkeypatch.setattr(landscape, "open", lambda path: path, raising=False)
    monkeypatch.setattr(landscape, "sweep", lambda *_, **given: asked.append(given), raising=False)
    module = ModuleType("__main__")
    exec(compile(script("Kubernetes"), "sweep.py", "exec"), module.__dict__)
    [spec] = made
    [container] = spec["spec"]["worker"]["spec"]["containers"]  # type: ignore[index]
    words = container["args"]
    assert words[words.index("--nthreads") + 1] == "1"
    assert container["volumeMounts"] == [{"name": "store", "mountPath": "/shared"}]
    assert asked == [{"store": "/shared/store", "scheduler": Cluster.scheduler_address}]
