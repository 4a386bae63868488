"""Importer: runs made of foreign files, whole or not at all, and the same when repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import landscape
from landscape import importer
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.lock import holding
from landscape.data_store.store import Run
from landscape.data_store.verify import check, files
from landscape.exporter import export
from landscape.importer import Collected, collect, default_name, import_run, keep
from landscape.subject import Context, Subject
from landscape.trainer import train
from landscape.training.models import parse_mlp
from landscape.workbench import analyse
from tests.support.lottery import experiment
from tests.support.runs import SMALL

MLP = "mlp:64-20-10"
OWN = {"task": "digits", "model": MLP}
HIDDEN = "ignore:.*weights that its mask prunes"


def network(seed=0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse_mlp(MLP).build((64,), 10)


def saved(path: Path, seed=0) -> Path:
    torch.save(network(seed).state_dict(), path)
    return path


@pytest.fixture
def store(tmp_path):
    return landscape.open(tmp_path / "store")


def everything(store) -> dict[str, bytes]:
    """Content of all files of a store."""
    return {str(p): p.read_bytes() for p in store.root.rglob("*") if p.is_file()}


def test_files_become_levels_in_the_order_given(store, tmp_path):
    paths = [saved(tmp_path / f"{name}.pt", seed) for seed, name in enumerate("ba")]
    run = import_run(store, "mine", paths, **OWN)
    assert store["mine"] == run
    assert run.levels == [0, 1]
    for number, path in enumerate(paths):
        weights = torch.load(path, weights_only=True).values()
        want = np.concatenate([w.numpy().reshape(-1) for w in weights])
        np.testing.assert_array_equal(run[number].theta, want)
        assert run[number].metrics == {}
    assert [s["name"] for s in run.description["imported"]["sources"]] == ["b.pt", "a.pt"]
    assert run.is_imported


def test_the_manifest_says_what_is_known(store, tmp_path):
    run = import_run(store, "mine", [saved(tmp_path / "a.pt")], **OWN)
    description = run.description
    assert description["config"] == {**OWN, "levels": 1}
    assert description["data"]["examples"] == {"train": 1257, "validation": 180, "test": 360}
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": ()}
    trained = landscape.train(store=store, name="trained", **small)
    assert description["data"] == trained.description["data"]
    with pytest.raises(LandscapeError, match="run 'mine' was imported: how it was trained is unk"):
        _ = run.config


def pruned_network() -> nn.Module:
    net = network(5)
    prune.global_unstructured(
        [(net.fc1, "weight"), (net.fc2, "weight")],
        pruning_method=prune.L1Unstructured,
        amount=0.7,
    )
    return net


def test_an_imported_network_has_the_losses_of_the_module_it_was_saved_from(store, tmp_path):
    net = pruned_network()
    torch.save(net.state_dict(), tmp_path / "pruned.pt")
    run = import_run(store, "pruned", [tmp_path / "pruned.pt"], **OWN)
    assert run[0].density == pytest.approx(0.3, abs=1e-3)
    subject = Subject(Context(store), needs_network=True)
    (checkpoint,) = subject.checkpoints(["pruned@0"])
    losses = subject.landscape("interpolate", [checkpoint]).losses(
        checkpoint.point, split="test", examples=100
    )
    split = subject.task.splits["test"]
    with torch.no_grad():
        outputs = net.eval()(split.inputs[:100])
        want = nn.functional.cross_entropy(outputs, split.targets[:100], reduction="none")
    np.testing.assert_allclose(losses, want.numpy(), rtol=1e-5)


@pytest.mark.filterwarnings(HIDDEN)
def test_questions_about_an_imported_run_are_answered(store, tmp_path):
    replicate = experiment(tmp_path, network(), 3)
    run = import_run(store, "lth", [replicate], **OWN)
    ds = analyse("barrier", ["lth"], {"points": 5}, Context(store))
    assert list(ds["pair"].values) == ["lth@0 lth@1", "lth@1 lth@2"]
    assert np.isfinite(ds["error_barrier"].values).all()
    import_run(store, "other", [saved(tmp_path / "a.pt", 9)], **OWN)
    ds = analyse("overlap", ["lth@2", "other@0"], {}, Context(store))
    assert float(ds["jaccard"].sel(layer="all")[0]) == pytest.approx(run[2].density)
    assert run[2, "init"].theta.tobytes() == run[0, "rewind"].theta.tobytes()
    ticket = run[2, "ticket"]
    np.testing.assert_array_equal(ticket.theta, ticket.mask.apply(run[0, "rewind"].theta))
    assert len(list(layout.objects(store.root).rglob("*.h5"))) == 1  # init is rewind, kept once


@pytest.mark.parametrize("suffix", [".h5", ".pt", ".safetensors"])
def test_a_ticket_is_the_same_after_a_journey(small_store, store, tmp_path, suffix):
    path = tmp_path / f"ticket{suffix}"
    export(small_store, "imp@2", path)
    run = import_run(store, "mailed", [path])
    for part in ("ticket", "mask"):
        mine, theirs = run[0, part], small_store["imp"][2, part]
        assert mine.mask.packed().tobytes() == theirs.mask.packed().tobytes()
    assert run[0, "ticket"].digest == small_store["imp"][2, "ticket"].digest
    assert run[0, "final"].theta.tobytes() == small_store["imp"][2, "ticket"].theta.tobytes()
    with pytest.raises(UsageError, match=r"mailed@0 was imported and its rewind is unknown; of w"):
        _ = run[0, "rewind"]
    assert check(store, files(store)) == []
    again = tmp_path / f"again{suffix}"
    export(store, "mailed@0", again)
    second = import_run(store, "second", [again])
    assert second[0, "ticket"].digest == run[0, "ticket"].digest
    ds = analyse("barrier", ["mailed@0", "mailed@0"], {"points": 5}, Context(store))
    assert float(np.abs(ds["loss_barrier"]).max()) == 0


def test_the_validation_size_of_a_ticket_is_its_runs(tmp_path, store):
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": (), "validation_size": 50}
    landscape.train(store=store, name="held", **small)
    export(store, "held@0", tmp_path / "ticket.h5")
    run = import_run(store, "mailed", [tmp_path / "ticket.h5"])
    assert run.description["config"]["validation_size"] == 50
    analyse("barrier", ["mailed@0", "held@0"], {"points": 5}, Context(store))


def test_level_files_of_another_store(small_store, store):
    paths = [layout.level_file(small_store.root, "imp", number) for number in (2, 0)]
    run = import_run(store, "copied", paths)
    assert run[0].theta.tobytes() == small_store["imp"][2].theta.tobytes()
    assert run[1, "step-40"].theta.tobytes() == small_store["imp"][0, "step-40"].theta.tobytes()
    assert run.description["config"] == {**OWN, "levels": 2}
    with pytest.raises(UsageError, match=r"its ticket is unknown; .* store knows nothing$"):
        _ = run[0, "ticket"]


def test_weights_without_task_and_model_are_for_masks_only(small_store, store, tmp_path):
    (tmp_path / "level.h5").write_bytes(layout.level_file(small_store.root, "imp", 1).read_bytes())
    run = import_run(store, "bare", [tmp_path / "level.h5"])
    config = run.description["config"]
    assert (config["task"], config["model"]) == (None, None)
    analyse("overlap", ["bare@0", "bare@0"], {}, Context(store))
    with pytest.raises(UsageError, match=r"come without their (data|network); give --"):
        analyse("barrier", ["bare@0", "bare@0"], {}, Context(store))
    analyse("barrier", ["bare@0", "bare@0"], {"points": 5}, Context(store, **OWN))


def test_training_on_an_imported_run_is_refused_in_words(store, tmp_path):
    import_run(store, "mine", [saved(tmp_path / "a.pt")], **OWN)
    before = everything(store)
    with pytest.raises(LandscapeError, match="'mine' was imported: how it was trained is unknown"):
        train(store=store, name="mine", device="cpu", threads=1, **SMALL)
    assert everything(store) == before


def test_importing_twice_changes_nothing(store, tmp_path):
    found = collect([saved(tmp_path / "a.pt")], **OWN)
    assert keep(store, "mine", found)[1]
    before = everything(store)
    renamed = collect([saved(tmp_path / "renamed.pt")], **OWN)
    assert not keep(store, "mine", renamed)[1]
    assert everything(store) == before


def test_other_content_needs_another_name(store, small_store, tmp_path):
    import_run(store, "mine", [saved(tmp_path / "a.pt")], **OWN)
    before = everything(store)
    other = saved(tmp_path / "b.pt", 1)
    for paths in ([other], [tmp_path / "a.pt", other]):
        with pytest.raises(LandscapeError, match="'mine' was imported from other weights; import"):
            import_run(store, "mine", paths, **OWN)
    same = collect([tmp_path / "a.pt"], **OWN)
    description = {**same.description, "config": {**OWN, "model": "m.py:build", "levels": 1}}
    match = r"was imported with model 'mlp:64-20-10', not 'm\.py:build'; import under another"
    with pytest.raises(LandscapeError, match=match):
        keep(store, "mine", Collected(same.arrivals, description))
    assert everything(store) == before
    with pytest.raises(LandscapeError, match="run 'imp' was trained, not imported; import under"):
        import_run(small_store, "imp", [other], **OWN)


class Killed(BaseException):
    """What no except clause catches."""


def test_a_killed_import_is_finished_by_repeating_it(store, tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match="weights that its mask prunes"):
        found = collect([experiment(tmp_path, network(), 3)], **OWN)
    whole = landscape.open(tmp_path / "whole")
    keep(whole, "lth", found)
    calls = {"count": 0, "limit": 0}

    def killing(real):
        def step(*arguments):
            calls["count"] += 1
            if calls["count"] > calls["limit"]:
                raise Killed
            return real(*arguments)

        return step

    for owner, name in ((type(store), "create"), (Run, "save_point"), (Run, "save_level")):
        monkeypatch.setattr(owner, name, killing(getattr(owner, name)))
    for limit in range(30):
        root = landscape.open(tmp_path / f"store{limit}")
        calls.update(count=0, limit=limit)
        try:
            keep(root, "lth", found)
            break
        except Killed:
            if "lth" in root:
                for number in root["lth"].levels:  # nothing half-visible
                    assert root["lth"][number, "ticket"].digest
            calls.update(count=0, limit=100)
            assert keep(root, "lth", found)[1]
        names = {p.relative_to(root.root) for p in root.root.rglob("*.h5")}
        assert names == {p.relative_to(whole.root) for p in whole.root.rglob("*.h5")}
        for name in names:
            assert (root.root / name).read_bytes() == (whole.root / name).read_bytes()
    assert limit == 10  # run.json, and per level init, rewind and the level


def test_bad_input_leaves_nothing_behind(store, tmp_path):
    good, bad = saved(tmp_path / "good.pt"), tmp_path / "bad.pt"
    bad.write_bytes(good.read_bytes()[:-100])
    before = everything(store)
    with pytest.raises(LandscapeError, match=r"bad\.pt is cut"):
        import_run(store, "mine", [good, bad], **OWN)
    with pytest.raises(LandscapeError, match=r"declares \(9, 64\)"):
        import_run(store, "mine", [good], task="digits", model="mlp:64-9-10")
    with pytest.raises(UsageError, match=r"'\.\./x' is no name for a run"):
        import_run(store, "../x", [good], **OWN)
    with pytest.raises(UsageError, match="there is nothing to import"):
        import_run(store, "mine", [], **OWN)
    with pytest.raises(UsageError, match="there is no file"):
        import_run(store, "mine", [tmp_path / "none.pt"], **OWN)
    assert everything(store) == before
    assert not layout.runs(store.root).exists()


def test_a_run_has_so_many_levels(small_store, monkeypatch):
    monkeypatch.setattr(importer, "MOST_LEVELS", 2)
    paths = [layout.level_file(small_store.root, "imp", 0)] * 3
    with pytest.raises(UsageError, match="a run holds up to 2 levels, not 3"):
        collect(paths)


def test_levels_of_different_networks_are_refused(small_store, store, tmp_path):
    wide = {**SMALL, "model": "mlp:64-9-10", "levels": 1, "iterations": 3, "snapshots": ()}
    landscape.train(store=store, name="wide", **wide)
    paths = [
        layout.level_file(small_store.root, "imp", 0),
        layout.level_file(store.root, "wide", 0),
    ]
    match = r"level_0000\.h5 and level_0000\.h5 hold different networks: 'fc1\.weight' is \(20, 64"
    with pytest.raises(LandscapeError, match=match):
        import_run(store, "both", paths)


def test_files_that_contradict_each_other_need_words(small_store, store, tmp_path):
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": (), "validation_size": 50}
    landscape.train(store=store, name="held", **small)
    paths = [
        layout.level_file(small_store.root, "imp", 0),
        layout.level_file(store.root, "held", 0),
    ]
    with pytest.raises(LandscapeError, match=r"says that its data is .*; give --task and --model"):
        import_run(store, "both", paths)
    run = import_run(store, "both", paths, task="digits")
    assert run.description["data"] == small_store["imp"].description["data"]


def test_values_that_are_not_finite_make_a_diverged_level(store, tmp_path):
    state = network().state_dict()
    state["fc1.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "a.pt")
    with pytest.warns(UserWarning, match="values of .* are not finite: 1 in 'fc1.weight'"):
        run = import_run(store, "mine", [tmp_path / "a.pt"], **OWN)
    assert run[0].status == "diverged"
    assert np.isnan(run[0].theta[0])
    assert store.runs()["status"].tolist() == ["diverged"]


def test_a_run_that_is_being_written_is_left_alone(store, tmp_path):
    found = collect([saved(tmp_path / "a.pt")], **OWN)
    with (
        holding(Run(store.root, "mine")),
        pytest.raises(LandscapeError, match="run 'mine' is being written by process"),
    ):
        keep(store, "mine", found)


def test_levels_without_a_manifest_are_not_mixed_with_others(store, tmp_path):
    run = import_run(store, "mine", [saved(tmp_path / "a.pt")], **OWN)
    layout.run_manifest(store.root, "mine").unlink()
    with pytest.raises(LandscapeError, match=r"runs/mine holds levels without their run\.json; re"):
        import_run(store, "mine", [saved(tmp_path / "b.pt", 1)], **OWN)
    assert run.levels == [0]


def test_a_lost_level_is_restored(store, tmp_path):
    paths = [saved(tmp_path / f"{seed}.pt", seed) for seed in range(2)]
    run = import_run(store, "mine", paths, **OWN)
    place = layout.level_file(store.root, "mine", 0)
    before = place.read_bytes()
    place.unlink()
    assert keep(store, "mine", collect(paths, **OWN))[1]
    assert place.read_bytes() == before
    assert run.levels == [0, 1]


def test_code_that_a_run_was_imported_with_is_not_run_again(store, tmp_path):
    code = tmp_path / "mine.py"
    code.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    state = dict(
        zip(("1.weight", "1.bias", "3.weight", "3.bias"), network().parameters(), strict=True)
    )
    torch.save(state, tmp_path / "a.pt")
    import_run(store, "coded", [tmp_path / "a.pt"], task="digits", model=f"{code}:build")
    analyse("barrier", ["coded@0"] * 2, {"points": 5}, Context(store, None, f"{code}:build"))
    code.write_text("raise SystemExit('this code was run')")
    with pytest.raises(UsageError, match=r"'coded' was imported with --model .* runs no code, so"):
        analyse("barrier", ["coded@0"] * 2, {"points": 7}, Context(store))
    analyse("overlap", ["coded@0"] * 2, {}, Context(store))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.pt", "a"),
        ("My Net (final).pth", "my-net-final-"),
        ("x/lottery_00aa/replicate_1", "replicate_1"),
        ("_.hidden.safetensors", "hidden"),
        ("Ä-1.pt", "1"),
        ("net.pt.pth", None),
        ("Ä.pt", None),
        ("a" * 90 + ".pt", "a" * 64),
    ],
)
def test_names_made_of_files(path, name):
    if name is None:
        with pytest.raises(UsageError, match="gives no name for a run; give --name"):
            default_name(Path(path))
    else:
        assert default_name(Path(path)) == name


def test_importing_a_ticket_needs_no_torch(small_store, tmp_path):
    export(small_store, "imp@2", tmp_path / "ticket.h5")
    code = (
        "import sys, pathlib; from landscape.importer import collect; "
        f"collect([pathlib.Path({str(tmp_path / 'ticket.h5')!r})]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
