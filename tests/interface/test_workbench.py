"""The workbench: a question is computed once, and anew when anything it depends on changes."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import landscape
from landscape import block_work
from landscape.analysis.grouping import EACH, together
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.overlap import OverlapSettings
from landscape.analysis.pairs import checkpoint_coordinates
from landscape.analysis.registry import ANALYSES, Analysis
from landscape.block_work import Tally
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.level_file import level_image, read_level
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.results import load_result, record_of, result_id
from landscape.data_store.schema import STATUS, ResultSchema, Variable
from landscape.data_store.schemas.barrier import BARRIER
from landscape.data_store.schemas.common import CHECKPOINT
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.store import Store
from landscape.subject import Context
from landscape.training.task import Split, Task
from landscape.training.tasks import digits
from landscape.workbench import analyse, stored_answer
from tests.support.runs import SMALL

NETS = """
from collections import OrderedDict
import torch
from torch import nn

def net(activation, hidden=20):
    return nn.Sequential(OrderedDict([
        ("flatten", nn.Flatten()), ("fc1", nn.Linear(64, hidden)), ("act", activation),
        ("fc2", nn.Linear(hidden, 10)),
    ]))

def relu():
    return net(nn.ReLU())

def tanh():
    return net(nn.Tanh())

class swapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc2, self.fc1 = nn.Linear(10, 10), nn.Linear(64, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))

class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net(nn.ReLU())
        self.register_buffer("order", torch.randperm(64))

    def forward(self, x):
        return self.inner(x.flatten(1)[:, self.order])
"""


@pytest.fixture
def store(small_store, tmp_path) -> Store:
    """A copy of the small store without any result."""
    root = tmp_path / "store"
    shutil.copytree(small_store.root, root, ignore=shutil.ignore_patterns("results", "index*"))
    return landscape.open(root)


@pytest.fixture
def nets(tmp_path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return str(path)


@pytest.fixture
def evaluations(monkeypatch) -> list[str]:
    """The split of every evaluation since the last look."""
    made: list[str] = []
    plain = Evaluator.per_example

    def counted(self, anchors, coefficients, *, split, places=None):
        made.append(split)
        return plain(self, anchors, coefficients, split=split, places=places)

    monkeypatch.setattr(Evaluator, "per_example", counted)
    return made


def results(store) -> dict[Path, int]:
    """Result files and when they were written."""
    return {p: p.stat().st_mtime_ns for p in layout.results(store.root).rglob("*.nc")}


def ask(store, *points, **settings) -> xr.Dataset:
    return landscape.ask("barrier", *points, store=store, **{"points": 5, **settings})


def test_a_question_is_computed_once(store, evaluations):
    first = ask(store, "imp@0", "imp@1")
    assert evaluations == ["train", "test"]
    files = results(store)
    assert len(files) == 1
    run = store["imp"]
    for again in (
        ask(store, "imp@0", "imp@1"),
        ask(store, "im@first", "imp@1"),
        ask(store, run[0], run[1]),
        ask(None, run[0], run[1]),
        ask(store, "imp@0", run[1], bn=None, splits=["train", "test"]),
    ):
        xr.testing.assert_identical(again, first)
    assert evaluations == ["train", "test"]
    assert results(store) == files


def test_what_is_stored_is_found_without_computing(store, evaluations):
    context = Context(store)
    asked = ("barrier", ("imp",), {"points": 5}, context)
    assert stored_answer(*asked) is None
    ask(store, "imp@0", "imp@1")
    assert stored_answer(*asked) is None  # of two questions one is answered
    whole = ask(store, "imp")
    made = list(evaluations)
    xr.testing.assert_identical(stored_answer(*asked), whole)
    assert stored_answer("barrier", ("imp",), {"points": 7}, context) is None
    nowhere = [replace(store["imp"][level], home=None) for level in (0, 1)]
    assert stored_answer("overlap", nowhere, {}, Context()) is None
    assert evaluations == made


def test_a_stored_answer_is_the_computed_one(store):
    computed = ask(store, "imp@0", "imp@1")
    stored = ask(landscape.open(store.root), "imp@0", "imp@1")
    assert stored.loss.values.tobytes() == computed.loss.values.tobytes()
    BARRIER.validate(stored)


def other_task(change) -> Task:
    """The digits with something changed."""
    task = digits()
    train = task.splits["train"]
    inputs, targets = train.inputs.clone(), train.targets.clone()
    change(inputs, targets)
    return Task("digits", {**task.splits, "train": Split(inputs, targets)})


def test_any_changed_ingredient_is_a_new_question(store, nets, evaluations, monkeypatch):
    relu, tanh = f"{nets}:relu", f"{nets}:tanh"
    ends = ("imp@0", "imp@1")
    task = digits()
    questions = [
        (ends, {}),
        (("imp@1", "imp@0"), {}),
        (("imp@0", "imp@2"), {}),
        (("imp@0", "imp@1.rewind"), {}),
        (("imp@0", "random@1"), {}),
        (ends, {"points": 6}),
        (ends, {"splits": ("train",)}),
        (ends, {"splits": ("test", "train")}),
        (ends, {"refine": True}),
        (ends, {"refine": True, "tolerance": 0.1}),
        (ends, {"bn": "first"}),
        (ends, {"bn": "recompute"}),
        (ends, {"model": relu}),
        (ends, {"model": tanh}),
        (ends, {"task": other_task(lambda x, _: x[7, 0, 3, 3].add_(0.25))}),
        (ends, {"task": other_task(lambda _, y: y[7].fill_((y[7] + 1) % 10))}),
        (ends, {"task": replace(task, loss=lambda o, t: task.loss(2 * o, t))}),
    ]
    for number, (points, settings) in enumerate(questions, start=1):
        evaluations.clear()
        ask(store, *points, **settings)
        assert evaluations, f"{settings} of {points} was answered from another question"
        assert len(results(store)) == number
        evaluations.clear()
        ask(store, *points, **settings)
        assert not evaluations
    record = record_of(ask(store, *ends))
    newer = result_id({**record, "schema_version": [BARRIER.version[0] + 1, 0]})
    assert newer != result_id(record)
    assert result_id({**record, "schema_version": [BARRIER.version[0], 99]}) == result_id(record)


def saved(path, module) -> str:
    torch.save(module.state_dict(), path)
    return str(path)


def made(nets, name, seed):
    """The network of a factory of `NETS`, drawn from a seed."""
    scope: dict = {}
    exec(Path(nets).read_text(), scope)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return scope[name]()


@pytest.mark.parametrize("head", ["drawn", "zero in the first", "zero in the second"])
def test_trap_a_cache_hit_for_another_model(store, nets, tmp_path, head):
    """Same files, same shapes, another activation; a zero head hides it at one end."""
    ends = [made(nets, "relu", seed) for seed in (0, 1)]
    zeroed = {"zero in the first": 0, "zero in the second": 1}.get(head)
    if zeroed is not None:
        torch.nn.init.zeros_(ends[zeroed].fc2.weight)
        torch.nn.init.zeros_(ends[zeroed].fc2.bias)
    paths = [saved(tmp_path / f"{i}.pt", end) for i, end in enumerate(ends)]
    relu, tanh = (
        ask(store, *paths, task="digits", model=f"{nets}:{name}") for name in ("relu", "tanh")
    )
    assert len(results(store)) == 2
    between = slice(1, -1)
    assert (relu.loss.values != tanh.loss.values)[..., between].all()
    x, y = digits().splits["test"].inputs, digits().splits["test"].targets
    for name, ds in (("relu", relu), ("tanh", tanh)):
        net = made(nets, name, 0)
        middle = [
            torch.lerp(*pair, 0.5) for pair in zip(*(e.parameters() for e in ends), strict=True)
        ]
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), middle, strict=True):
                parameter.copy_(value)
            want = torch.nn.functional.cross_entropy(net(x), y).item()
        assert ds.loss.sel(split="test", alpha=0.5).item() == pytest.approx(want, rel=1e-5)


def test_the_ends_have_the_losses_the_run_recorded(store):
    ds = ask(store, "imp")
    for pair, (a, b) in enumerate(((0, 1), (1, 2))):
        for level, alpha in ((a, 0.0), (b, 1.0)):
            metrics = store["imp"][level].metrics
            for split in ("train", "test"):
                point = ds.isel(pair=pair).sel(split=split, alpha=alpha)
                assert point.loss.item() == pytest.approx(metrics[f"{split}_loss"], rel=1e-6)
                assert point.error.item() == metrics[f"{split}_error"]


def test_a_network_is_built_as_its_run_built_it(tmp_path, nets):
    """What a constructor draws into buffers that are never trained is part of the function."""
    store, model = landscape.open(tmp_path / "seeded"), f"{nets}:Shuffled"
    small = {**SMALL, "model": model, "levels": 2, "iterations": 20, "snapshots": ()}
    for seed in (0, 5):
        run = landscape.train(store=store, name=f"shuffled-{seed}", seed=seed, **small)
        ds = ask(store, run.name, model=model)
        got = ds.loss.sel(split="test", alpha=0.0).item()
        assert got == pytest.approx(run[0].metrics["test_loss"], rel=1e-6)


def test_a_run_alone_means_its_successive_levels(store):
    told = []
    context = Context(store)
    tally = Tally(lambda t: told.append((t.answered, t.questions)))
    whole = analyse("barrier", ["imp"], {"points": 5}, context, tally)
    assert whole.pair.values.tolist() == ["imp@0 imp@1", "imp@1 imp@2"]
    assert whole.level_a.values.tolist() == [0, 1]
    assert whole.level_b.values.tolist() == [1, 2]
    assert whole.run.values.tolist() == ["imp", "imp"]
    assert told[-1] == (2, 2)
    assert told == sorted(told)
    for pair, ends in enumerate((("imp@0", "imp@1"), ("imp@1", "imp@2"))):
        alone = ask(store, *ends)
        for name in BARRIER.variables:
            if name in alone:
                assert whole[name].values[pair : pair + 1].tobytes() == alone[name].values.tobytes()
    assert len(results(store)) == 2
    chain = ask(store, "imp@0", "imp@1", "imp@2")
    xr.testing.assert_identical(chain, whole)
    mixed = ask(store, "imp@0.init", "imp")
    assert mixed.pair.values.tolist()[0] == "imp@0.init imp@0"


def test_too_few_checkpoints(store):
    with pytest.raises(UsageError, match="barrier needs at least 2 checkpoints, got 1; give"):
        ask(store, "imp@0")
    with pytest.raises(UsageError, match="overlap needs at least 2 checkpoints, got 0"):
        landscape.ask("overlap", store=store)


def test_wrong_names(store):
    with pytest.raises(UsageError, match="unknown analysis 'barier'; did you mean 'barrier'"):
        landscape.ask("barier", "imp", store=store)
    with pytest.raises(UsageError, match="unknown setting 'point'; did you mean 'points'"):
        landscape.ask("barrier", "imp", store=store, point=3)
    with pytest.raises(UsageError, match="points is 2; it must be at least 3"):
        ask(store, "imp", points=2)
    with pytest.raises(UsageError, match="no split 'valid'; this task has train, validation, test"):
        ask(store, "imp", splits=("valid",))
    assert not results(store)


def test_the_same_weights_under_another_address_are_relabelled(store, evaluations):
    first = ask(store, "imp@0", "imp@1")
    evaluations.clear()
    again = ask(store, "imp@0", "imp@1.mask")
    assert not evaluations
    assert again.pair.values.tolist() == ["imp@0 imp@1.mask"]
    assert again.pair.attrs == first.pair.attrs
    xr.testing.assert_identical(
        again.drop_vars("pair").drop_attrs(), first.drop_vars("pair").drop_attrs()
    )
    BARRIER.validate(again)
    assert again.attrs == first.attrs
    path = layout.level_file(store.root, "imp", 1)
    copied = ask(store, "imp@0", path)
    assert not evaluations
    assert copied.pair.values.tolist() == [f"imp@0 {path}"]
    assert copied.level_b.values.tolist() == [1]
    assert len(results(store)) == 1
    assert ask(store, "imp@0", "imp@1").pair.values.tolist() == ["imp@0 imp@1"]


RECORD = {
    *("kind", "schema_version", "inputs", "task", "model", "settings", "seconds", "created"),
    *("data", "batch_size", "layout", "landscape", "torch", "numpy", "python", "platform"),
    *("device", "threads", "cpu_capability"),
}


def test_a_record_says_all_that_made_the_result(store):
    ds = ask(store, "imp@0", "imp@1.rewind", bn="first")
    record = record_of(ds)
    assert set(record) == RECORD
    assert (record["kind"], record["schema_version"]) == ("barrier", [*BARRIER.version])
    run, task = store["imp"], digits()
    assert [i["address"] for i in record["inputs"]] == ["imp@0", "imp@1.rewind"]
    assert [i["digest"] for i in record["inputs"]] == [run[0].digest, run[1, "rewind"].digest]
    assert [i["level"] for i in record["inputs"]] == [0, 1]
    assert [i["part"] for i in record["inputs"]] == ["final", "rewind"]
    assert [i["density"] for i in record["inputs"]] == [run[0].density, run[1].density]
    assert (record["task"], record["model"]) == ("digits", "mlp:64-20-10")
    assert record["data"]["digest"] == task.digest
    assert record["data"]["network"] == "mlp:64-20-10"
    assert record["data"]["examples"] == {name: len(split) for name, split in task.splits.items()}
    assert record["settings"] == {
        "points": 5,
        "splits": ["train", "test"],
        "refine": False,
        "tolerance": 1e-3,
        "bn": "first",
    }
    assert record["torch"] == torch.__version__
    assert record["landscape"]
    assert record["device"]
    assert record["seconds"] >= 0
    assert record["created"].endswith("+00:00")
    row = store.catalog().iloc[0]
    assert (row["kind"], row["task"], row["inputs"]) == ("barrier", "digits", "imp@0 imp@1.rewind")


def test_the_record_of_an_analysis_without_a_loss(store):
    record = record_of(landscape.overlap("imp@1", "random@1", store=store))
    assert set(record) == RECORD - {
        *("data", "batch_size", "layout", "torch", "numpy", "python", "platform", "device"),
        *("threads", "cpu_capability"),
    }
    assert record["settings"] == {}
    assert len(results(store)) == 1


def test_an_answer_without_a_store_has_its_record_and_is_kept_nowhere(nets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ds = ask(None, made(nets, "relu", 0), made(nets, "relu", 1), task="digits")
    assert sorted(tmp_path.rglob("*")) == before
    record = record_of(ds)
    assert record["model"] == "Sequential"
    assert [i["address"] for i in record["inputs"]] == ["state-dict", "state-dict"]
    assert record["inputs"][0]["level"] is None
    assert list(ds.attrs) == ["record"]


def idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of unsigned bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_changed_data_are_refused_but_stored_answers_stay(store, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    images = {part: rng.integers(0, 256, (n, 28, 28)) for part, n in (("train", 60), ("t10k", 20))}
    for part, pictures in images.items():
        idx(folder / "mnist" / f"{part}-images-idx3-ubyte.gz", pictures)
        idx(folder / "mnist" / f"{part}-labels-idx1-ubyte.gz", np.arange(len(pictures)) % 10)
    small = {"task": "mnist", "model": "mlp:784-5-10", "levels": 2, "iterations": 4}
    small |= {"validation_size": 10, "batch_size": 10, "eval_every": 4}
    landscape.train(store=store, name="mnist", data=folder, **small)
    stored = ask(store, "mnist", data=folder)
    images["t10k"][3, 5, 5] ^= 1
    idx(folder / "mnist" / "t10k-images-idx3-ubyte.gz", images["t10k"])
    with pytest.raises(LandscapeError, match="data of task 'mnist' are not those run 'mnist' was"):
        ask(store, "mnist", data=folder, points=6)
    xr.testing.assert_identical(ask(store, "mnist", data=folder), stored)
    xr.testing.assert_identical(ask(store, "mnist", data=tmp_path / "nowhere"), stored)


def edited(store, name, **config) -> None:
    """Rewrite the manifest of a run of a copied store, for a run nobody trained."""
    path = layout.run_manifest(store.root, name)
    manifest = json.loads(path.read_text())
    data = config.pop("data", None)
    manifest["config"] |= config
    if data:
        manifest["data"]["digest"] = data
    known = {k: v for k, v in manifest.items() if k not in ("format", "version", "sha256")}
    path.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, known))
    keep_levels(store[name], store[name])


def keep_levels(run, source) -> None:
    """Give a run the levels of another, as if they were its own."""
    for number in source.levels:
        level = read_level(layout.level_file(source.root, source.name, number))
        path = layout.level_file(run.root, run.name, number)
        path.write_bytes(level_image(replace(level, run=run.identity)))


def test_two_runs_that_disagree_are_refused_until_one_is_named(store):
    edited(store, "random", task="mnist")
    with pytest.raises(LandscapeError, match="'imp' has task 'digits' and run 'random' 'mnist'; g"):
        ask(store, "imp@0", "random@1")
    named = ask(store, "imp@0", "random@1", task="digits")
    edited(store, "random", task="digits", model="lenet-300-100")
    with pytest.raises(LandscapeError, match="'random' has model 'lenet-300-100' and run 'imp' 'm"):
        ask(store, "random@1", "imp@0")
    edited(store, "random", model="mlp:64-20-10", data="0" * 64)
    with pytest.raises(LandscapeError, match=r"trained on different data .* give --task"):
        ask(store, "imp@0", "random@1")
    xr.testing.assert_identical(ask(store, "imp@0", "random@1", task="digits"), named)


def test_a_run_of_somebodys_code_runs_it_only_if_given_again(tmp_path, nets, evaluations):
    store, model = landscape.open(tmp_path / "store"), f"{nets}:relu"
    small = {**SMALL, "model": model, "levels": 2, "iterations": 5, "snapshots": ()}
    landscape.train(store=store, name="mine", **small)
    with pytest.raises(UsageError, match=r"was trained with --model .*relu; a store runs no code"):
        ask(store, "mine")
    computed = ask(store, "mine", model=model)
    evaluations.clear()
    xr.testing.assert_identical(ask(store, "mine", model=model), computed)
    assert not evaluations
    Path(nets).write_text("raise SystemExit('this code was run')")
    with pytest.raises(UsageError, match=f"give --model {model} again"):
        ask(store, "mine", points=6)
    kept = store.results("barrier", run="mine")
    assert kept.loss.values.tobytes() == computed.loss.values.tobytes()
    assert landscape.overlap("mine", store=store).kept_b.values[0, 0] > 0


def test_a_model_that_orders_its_tensors_otherwise_is_refused(tmp_path, nets):
    """A flat vector of the same length would be read as other tensors."""
    store = landscape.open(tmp_path / "store")
    small = {**SMALL, "model": "mlp:64-10-10", "levels": 2, "iterations": 5, "snapshots": ()}
    landscape.train(store=store, name="plain", **small)
    with pytest.raises(LandscapeError, match=r"swapped and plain@0 hold different .* the order of"):
        ask(store, "plain", model=f"{nets}:swapped")
    with pytest.raises(
        LandscapeError, match=r"'fc1.weight' is \(20, 64\) in the first and \(10, 64"
    ):
        ask(store, "plain", model=f"{nets}:relu")


def test_more_precision_may_be_asked_for(store, nets):
    single = ask(store, "imp@0", "imp@1", model=made(nets, "relu", 0))
    double = ask(store, "imp@0", "imp@1", model=made(nets, "relu", 0).double())
    np.testing.assert_allclose(single.loss, double.loss, rtol=1e-6)
    assert (single.loss != double.loss).any()


def test_several_answers_carry_the_record_of_each(small_store: Store) -> None:
    both = landscape.overlap("imp", store=small_store)
    record = landscape.record_of(both)
    assert record["kind"] == "overlap"
    asked = [" ".join(i["address"] for i in one["inputs"]) for one in record["results"]]
    assert asked == both["pair"].values.tolist() == ["imp@0 imp@1", "imp@1 imp@2"]


# What is damaged, large or foreign


def flipped(path: Path, place: int) -> bytes:
    """Flip one bit of a file; its content then."""
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << abs(place) % 8
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("place", [0, 700, -1, -100, -500])
def test_just_a_damaged_answer_is_computed_again(store, evaluations, place):
    first = ask(store, "imp")
    paths = sorted(results(store))
    whole = [path.read_bytes() for path in paths]
    damaged = flipped(paths[0], place)
    aside = store.root / "damaged" / paths[0].relative_to(store.root)
    evaluations.clear()
    message = rf"{paths[0].name} .*; it is now {aside}, and computed again"
    with pytest.warns(UserWarning, match=message) as warned:
        again = ask(store, "imp")
    assert len(warned) == 1
    assert evaluations == ["train", "test"]
    assert aside.read_bytes() == damaged
    for name in first.variables:
        assert again[name].values.tobytes() == first[name].values.tobytes()
    assert paths[1].read_bytes() == whole[1]
    assert load_result(paths[0]).loss.values.tobytes() in [p.tobytes() for p in first.loss.values]
    evaluations.clear()
    xr.testing.assert_identical(ask(store, "imp"), again)
    assert not evaluations


@pytest.mark.parametrize("how", ["cut", "another", "empty"])
def test_an_answer_to_another_question_is_computed_again(store, evaluations, how):
    first = ask(store, "imp")
    one, other = sorted(results(store))
    content = {"cut": one.read_bytes()[:-9], "another": other.read_bytes(), "empty": b""}[how]
    one.write_bytes(content)
    with pytest.warns(UserWarning, match="and computed again"):
        again = ask(store, "imp")
    for name in first.variables:
        assert again[name].values.tobytes() == first[name].values.tobytes()


def test_a_damaged_level_is_named_and_no_answer(store):
    flipped(layout.level_file(store.root, "imp", 1), 3000)
    before = results(store)
    with pytest.raises(LandscapeError, match=r"level_0001\.h5 is damaged: its content does not"):
        ask(store, "imp")
    assert results(store) == before


def test_the_size_limit_of_the_store_holds_in_its_analyses(store):
    path = layout.level_file(store.root, "imp", 1)
    limit = path.stat().st_size - 1
    small = Store(store.root, limit)
    with pytest.raises(LandscapeError, match=rf"imp/level_.*more than {limit} is refused unless"):
        ask(small, "imp@0", "imp@1")
    with pytest.raises(LandscapeError, match=rf"level_0001\.h5 .*more than {limit} is refused"):
        ask(small, path, path)
    assert path.is_file()
    assert not results(store)


def test_a_stored_answer_over_the_limit_is_no_damage(store):
    ask(store, "imp@0", "imp@1")
    before = results(store)
    run = store["imp"]
    with pytest.raises(LandscapeError, match=r"more than 300 is refused unless --max-size"):
        ask(Store(store.root, 300), run[0], run[1])
    assert results(store) == before
    assert not (store.root / "damaged").exists()


def test_nothing_is_kept_through_a_link(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    layout.results(store.root).symlink_to(outside)
    with pytest.raises(LandscapeError, match="results is a symbolic link; a store keeps plain"):
        landscape.open(store.root)
    run = store["imp"]
    with pytest.raises(LandscapeError, match="results is a symbolic link; a store keeps plain"):
        ask(store, run[0], run[1])
    assert not list(outside.iterdir())


def test_an_imported_run_is_asked_about_with_its_task_and_model(store, nets):
    """How it was trained nobody asks: what it computes is known from --task and --model."""
    manifest = json.loads(layout.run_manifest(store.root, "imp").read_text())
    record = {
        "config": {"task": "digits", "model": "mlp:64-20-10", "levels": 3},
        "imported": {"sources": [{"name": "a.pt", "sha256": "0" * 64}]},
        **{k: manifest[k] for k in ("spec", "data", "provenance")},
    }
    run = store.create("theirs", record)
    keep_levels(run, store["imp"])
    theirs = ask(store, "theirs")
    assert theirs.loss.values.tobytes() == ask(store, "imp").loss.values.tobytes()
    assert theirs.run.values.tolist() == ["theirs", "theirs"]
    with pytest.raises(LandscapeError, match="how it was trained is unknown"):
        run.config  # noqa: B018


def counted_analysis(monkeypatch, compute, **more):
    """An analysis called ``curiosity`` of one checkpoint and its level's ticket, in the table."""
    analysis = Analysis(
        schema=CURIOSITY,
        settings=OverlapSettings,
        compute=compute,
        grouping=lambda _settings: EACH,
        uses_loss=False,
        measures=("size",),
        companions=lambda group, _settings: (f"{group[0].address}.ticket",),
        **more,
    )
    monkeypatch.setitem(SCHEMAS, "curiosity", CURIOSITY)
    monkeypatch.setattr(ANALYSES, "load", lambda _name: analysis)


CURIOSITY = ResultSchema(
    kind="curiosity",
    version=(1, 0),
    coordinates=CHECKPOINT,
    variables={
        "size": Variable(("checkpoint",), "1", "size"),
        "status": Variable(("checkpoint",), "1", "worth", STATUS, ("ok", "absent")),
    },
    samples={"checkpoint": ("imp@0", "imp@1")},
)


def size_of(points, _settings, _landscape, work, *, stop_at=None):
    work.expect(3)
    total = 0.0
    for i in range(3):
        if i == stop_at:
            raise KeyboardInterrupt
        total += float(work.block(f"part {i}", lambda i=i: {"x": np.array([2.0**i])})["x"][0])
    companion = points[1]
    value = total if companion is None else total + 100.0 * (companion.part == "ticket")
    return CURIOSITY.build(checkpoint_coordinates(points[0]), {"size": [value], "status": [0]})


def test_an_interrupted_question_goes_on_from_its_blocks(store, monkeypatch):
    monkeypatch.setattr(block_work, "_WORTH_KEEPING", 0.0)
    counted_analysis(monkeypatch, lambda *given: size_of(*given, stop_at=2))
    with pytest.raises(KeyboardInterrupt):
        analyse("curiosity", ["imp@1"], {}, Context(store))
    assert len(list((store.root / "partial").rglob("*.h5"))) == 2
    counted_analysis(monkeypatch, size_of)
    seen = []
    tally = Tally(lambda t: seen.append((t.kept, t.computed)))
    found = analyse("curiosity", ["imp@1"], {}, Context(store), tally)
    assert found["size"].item() == 107.0
    assert max(seen) == (2, 1)
    assert not list((store.root / "partial").rglob("*.h5"))


def test_a_companion_is_part_of_the_question(store, monkeypatch):
    counted_analysis(monkeypatch, size_of)
    first = analyse("curiosity", ["imp"], {}, Context(store))
    assert first.checkpoint.values.tolist() == ["imp@0", "imp@1", "imp@2"]
    assert first["size"].values.tolist() == [107.0] * 3
    companions = [r["companions"] for r in record_of(first)["results"]]
    assert [c[0]["address"] for c in companions] == [f"imp@{i}.ticket" for i in range(3)]
    outside = analyse("curiosity", [replace(store["imp"][1], home=None)], {}, Context(store))
    assert outside["size"].item() == 107.0
    alone = replace(store["imp"][1], address="elsewhere.h5", home=None)
    assert analyse("curiosity", [alone], {}, Context(store))["size"].item() == 7.0


def test_too_many_checkpoints(store, monkeypatch):
    counted_analysis(monkeypatch, size_of)
    loaded = ANALYSES.load("curiosity")
    only_two = replace(loaded, grouping=lambda _settings: together(1, 2))
    monkeypatch.setattr(ANALYSES, "load", lambda _name: only_two)
    with pytest.raises(UsageError, match="curiosity takes at most 2 checkpoints, got 3; give"):
        analyse("curiosity", ["imp"], {}, Context(store))


def test_what_it_will_cost_is_told_before_it_begins(store, monkeypatch):
    from landscape.analysis.barrier import ANALYSIS

    dear = replace(ANALYSIS, cost=lambda settings, splits, group: 1e9 * group)
    monkeypatch.setattr(ANALYSES, "load", lambda _name: dear)
    told = []
    tally = Tally(lambda t: told.append(t.expected))
    analyse("barrier", ["imp@0", "imp@1"], {"points": 3}, Context(store), tally)
    assert told[0] is not None
    assert told[0] > 100.0
