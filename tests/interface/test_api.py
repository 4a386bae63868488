"""What ``import landscape`` offers, as a notebook uses it."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from safetensors.torch import save_file
from torch import nn

import landscape
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.registry import ANALYSES
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.overlap import OVERLAP
from tests.support.runs import SMALL

TASK = """
import landscape, torch
x, y = torch.linspace(-2, 2, 180).sin().reshape(30, 6), torch.arange(30) % 3
def task(): return landscape.make_task(train=(x[:20], y[:20]), test=(x[20:], y[20:]))
"""
MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))
"""


@pytest.fixture
def mine(tmp_path) -> dict[str, str]:
    """A task file of three lines and a plain float32 network."""
    (tmp_path / "my_data.py").write_text(TASK)
    (tmp_path / "my_net.py").write_text(MODEL)
    return {"task": f"{tmp_path}/my_data.py:task", "model": f"{tmp_path}/my_net.py:Net"}


def networks() -> list[nn.Module]:
    """Two of them, drawn apart."""
    scope: dict = {}
    exec(MODEL, scope)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [scope["Net"](), scope["Net"]()]


def naive_curve(ends, alpha):
    """Loss and error on the line, tensor by tensor and example by example, in float64."""
    scope: dict = {}
    exec(TASK, scope)
    losses, errors = [], []
    for at in alpha:
        net = copy.deepcopy(ends[0]).double()
        for target, a, b in zip(net.parameters(), *(e.parameters() for e in ends), strict=True):
            target.data = (1 - at) * a.data.double() + at * b.data.double()
        outputs = [net(x[None].double())[0] for x in scope["x"][20:]]
        targets = scope["y"][20:].tolist()
        each = [
            (torch.logsumexp(o, 0) - o[t]).item() for o, t in zip(outputs, targets, strict=True)
        ]
        losses.append(np.mean(each))
        wrong = [int(o.argmax()) != t for o, t in zip(outputs, targets, strict=True)]
        errors.append(np.mean(wrong))
    return losses, errors


def test_a_plain_network_and_a_task_of_three_lines(tmp_path, mine):
    ends = networks()
    for name, net in zip("ab", ends, strict=True):
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
    store = landscape.open(tmp_path / "store")
    ds = landscape.barrier(tmp_path / "a.pt", tmp_path / "b.pt", points=7, store=store, **mine)
    loss, error = naive_curve(ends, ds.alpha.values)
    np.testing.assert_allclose(ds.loss.sel(split="test").values[0], loss, rtol=1e-6)
    np.testing.assert_array_equal(ds.error.sel(split="test").values[0], error)
    lmc = ds.loss_barrier.sel(split="test", definition="lmc").item()
    assert lmc == pytest.approx(max(loss) - (loss[0] + loss[-1]) / 2, rel=1e-5)
    assert ds.pair.values.tolist() == [f"{tmp_path}/a.pt {tmp_path}/b.pt"]
    assert store.catalog().task.tolist() == [mine["task"]]


def test_all_sources_of_the_same_networks_give_the_same_numbers(tmp_path, mine, monkeypatch):
    ends = networks()
    states = [net.state_dict() for net in ends]
    sources = {"state dict": states, "module": ends, "path": [], "str": [], "legacy": []}
    for i, state in enumerate(states):
        wrapped = {"module." + name: tensor for name, tensor in state.items()}
        compiled = {"_orig_mod." + name: tensor for name, tensor in state.items()}
        torch.save({"state_dict": wrapped, "epoch": 1}, tmp_path / f"{i}.pth")
        save_file(compiled, tmp_path / f"{i}.safetensors")
        torch.save(compiled, tmp_path / f"{i}.pt")
        sources["path"].append(tmp_path / f"{i}.pth")
        sources["str"].append(f"{tmp_path}/{i}.safetensors")
        sources["legacy"].append(f"{tmp_path}/{i}.pt")
    sources["mixed"] = [ends[0], sources["str"][1]]
    answers = [landscape.barrier(*pair, points=5, **mine) for pair in sources.values()]
    for ds in answers[1:]:
        assert ds.loss.values.tobytes() == answers[0].loss.values.tobytes()
        assert ds.error.values.tobytes() == answers[0].error.values.tobytes()
    objects = {"task": landscape.make_task(**splits()), "model": networks()[0]}
    own = landscape.barrier(*ends, points=5, **objects)
    assert own.loss.values.tobytes() == answers[0].loss.values.tobytes()
    store = landscape.open(tmp_path / "store")
    landscape.barrier(*states, points=5, store=store, **mine)
    monkeypatch.setattr(Evaluator, "evaluate", lambda *_, **__: pytest.fail("computed again"))
    for pair in sources.values():
        landscape.barrier(*pair, points=5, store=store, **mine)


def splits() -> dict:
    scope: dict = {}
    exec(TASK, scope)
    x, y = scope["x"], scope["y"]
    return {"train": (x[:20], y[:20]), "test": (x[20:], y[20:])}


def test_weights_of_another_network_are_refused(tmp_path, mine):
    a, b = (net.state_dict() for net in networks())
    b["head.weight"] = b["head.weight"][:, :5]
    with pytest.raises(LandscapeError, match=r"'head.weight' is \(3, 5\) .* declares \(3, 8\)"):
        landscape.barrier(a, b, **mine)
    other = copy.deepcopy(networks()[0])
    other.head = nn.Linear(8, 4)
    with pytest.raises(LandscapeError, match=r"'head.weight' is \(4, 8\) .* declares \(3, 8\)"):
        landscape.overlap(networks()[0], other)


def test_a_noisy_network_is_refused_by_name(mine):
    a, b = networks()
    for net in (a, b):
        net.body.append(nn.BatchNorm1d(8, track_running_stats=False))
    with pytest.raises(LandscapeError, match="the loss is noisy: two batch sizes over the same"):
        landscape.barrier(a, b, task=mine["task"])


def test_a_question_about_a_run(small_store):
    ds = landscape.barrier("imp", store=small_store, points=9)
    BARRIER.validate(ds)
    assert ds.sizes["pair"] == 2
    run = small_store["imp"]
    assert isinstance(run[1], Checkpoint)
    masks = landscape.overlap(run[1], run[2])
    OVERLAP.validate(masks)
    assert masks.recall.sel(layer="all").item() == 1.0  # nested masks


@pytest.mark.parametrize("name", list(ANALYSES))
def test_an_analysis_is_a_function_that_tells_its_settings(name, small_store):
    function = getattr(landscape, name)
    assert function.__name__ == name
    assert ANALYSES[name].summary in function.__doc__
    assert ANALYSES[name].reference in function.__doc__
    for setting in fields(ANALYSES.load(name).settings):
        assert f"{setting.name}\n    {setting.metadata['help']}" in function.__doc__
    asked = landscape.ask(name, "imp@1", "random@1", store=small_store)
    xr.testing.assert_identical(function("imp@1", "random@1", store=small_store), asked)


def test_the_data_folder_and_device_are_passed_on(small_store, tmp_path):
    with pytest.raises(UsageError, match="unknown device 'tpu'; use auto, cpu or cuda"):
        landscape.barrier("imp", store=small_store, points=13, device="tpu")
    ds = landscape.barrier("imp", store=small_store, points=9, device="cpu", data=str(tmp_path))
    assert ds.sizes["pair"] == 2


def test_open_takes_a_path_the_environment_or_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANDSCAPE_STORE", raising=False)
    assert landscape.open().root == Path("landscape-store")
    assert (tmp_path / "landscape-store" / "store.json").is_file()
    monkeypatch.setenv("LANDSCAPE_STORE", str(tmp_path / "named"))
    assert landscape.open().root == tmp_path / "named"
    assert landscape.open("given").root == Path("given")
    with pytest.raises(LandscapeError, match="there is no store at absent; train a run first"):
        landscape.open("absent", create=False)


def test_open_takes_a_size_limit(small_store):
    assert landscape.open(small_store.root).size_limit == 2**32
    limited = landscape.open(small_store.root, size_limit=500)
    assert limited["imp"].size_limit == 500
    with pytest.raises(LandscapeError, match=r"more than 500 is refused unless --max-size allows"):
        limited["imp"][1]


def test_train_in_the_default_store(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_STORE", str(tmp_path / "named"))
    events = []
    small = {**SMALL, "levels": 1, "iterations": 4, "snapshots": ()}
    run = landscape.train(name="tiny", listener=events.append, **small)
    assert landscape.open()["tiny"] == run
    assert run.levels == [0]
    assert run.config.iterations == 4
    assert events
    with pytest.raises(UsageError, match="unknown setting 'iteration'; did you mean 'iterations'"):
        landscape.train(name="other", iteration=4)


def test_draw_gives_a_figure(small_store):
    ds = landscape.barrier("imp", store=small_store, points=9)
    figure = landscape.draw("barrier-levels", ds)
    assert isinstance(figure, Figure)
    with pytest.raises(UsageError, match="unknown figure 'barrer'; did you mean 'barrier-"):
        landscape.draw("barrer", ds)
    with pytest.raises(LandscapeError, match="a barrier dataset needs"):
        landscape.draw("barrier-levels", ds.drop_vars("loss_barrier").drop_vars("error_barrier"))


def test_every_public_name_is_there():
    for name in landscape.__all__:
        assert getattr(landscape, name) is not None
    assert dir(landscape) == sorted([*landscape.__all__, *ANALYSES])
    assert {"open", "train", "ask", "draw", "barrier", "overlap"} <= set(dir(landscape))


@pytest.mark.parametrize("name", ["bariers", "_private", "__wrapped__", "numpy"])
def test_other_names_are_not(name):
    with pytest.raises(AttributeError, match=f"module 'landscape' has no attribute '{name}'"):
        getattr(landscape, name)


@pytest.mark.parametrize("use", ["", "dir(landscape)", "landscape.LandscapeError, landscape.open"])
def test_looking_around_imports_nothing_heavy(use):
    code = f"import sys, landscape; {use}\nprint(*(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "xarray", "numpy", "matplotlib", "scipy", "pandas", "h5py", "click"}
    assert not heavy & set(done.stdout.split())
