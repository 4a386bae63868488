"""Subject: what a question's sources stand for, and the network and data they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import landscape
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.subject import Context, Subject
from landscape.training.models import parse_mlp
from tests.support.runs import SMALL, blobs

MLP = "mlp:64-20-10"
FACTORIES = """
import torch
from torch import nn
import landscape

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))

def task():
    x = torch.linspace(0, 1, 12 * 64).reshape(12, 64)
    return landscape.make_task(train=(x, torch.arange(12) % 10), test=(x, torch.arange(12) % 10))
"""


def subject(store=None, *, needs_network=True, **context) -> Subject:
    return Subject(Context(store, **context), needs_network=needs_network)


def network(seed=0, norm=False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if not norm:
            return parse_mlp(MLP).build((64,), 10)
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def code(tmp_path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FACTORIES)
    return str(path)


def test_addresses_stand_for_points_and_runs_for_their_levels(small_store):
    found = subject(small_store).checkpoints(["imp@1.rewind", "imp", "random@last", Path("imp@0")])
    assert [c.address for c in found] == [
        *("imp@1.rewind", "imp@0", "imp@1", "imp@2", "random@2", "imp@0"),
    ]


def test_checkpoints_stand_for_themselves(small_store):
    ends = [small_store["imp"][0], small_store["imp"][2, "init"]]
    one = subject()
    assert one.checkpoints(ends) == ends
    assert one.is_runs_own
    assert (one.task_name, one.model_name) == ("digits", MLP)


def test_a_level_file_is_the_level_without_its_run(small_store):
    path = layout.level_file(small_store.root, "imp", 2)
    one = subject(task="digits", model=MLP)
    (found,) = one.checkpoints([path])
    own = small_store["imp"][2]
    assert found.digest == own.digest
    assert (found.level, found.run, found.home) == (2, "", None)
    assert not one.is_runs_own


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_files_of_other_people(tmp_path, prefix, suffix, wrapped):
    net = network()
    state = {prefix + name: tensor for name, tensor in net.state_dict().items()}
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    (found,) = subject(task="digits", model=MLP).checkpoints([str(path)])
    assert found.address == str(path)
    assert found.theta.tobytes() == flat(net).tobytes()
    assert found.spec.names == tuple(net.state_dict())
    assert found.level is None


def flat(net) -> np.ndarray:
    return np.concatenate([p.detach().numpy().reshape(-1) for p in net.parameters()])


def test_modules_and_state_dicts_in_memory():
    net = network()
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    found = subject(task="digits").checkpoints([net, net.state_dict(), arrays])
    assert len({c.digest for c in found}) == 1
    assert {c.address for c in found} == {"state-dict"}
    assert found[0].theta.tobytes() == flat(net).tobytes()
    found[0].theta[:] = 0  # its own memory
    found[2].theta[:] = 0
    assert flat(net).any()


def test_a_module_is_its_own_network():
    net = network(norm=True)
    one = subject(task=blobs())
    (found,) = one.checkpoints([net])
    assert one.module is net
    assert one.model_name == "Sequential"
    assert list(found.buffers) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert found.point.size == found.theta.size + 10
    other = subject(task=blobs(), model=network(1, norm=True))
    other.checkpoints([net])
    assert other.module is not net


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_becomes_the_networks(dtype):
    state = {name: tensor.to(dtype) for name, tensor in network().state_dict().items()}
    (found,) = subject(task="digits", model=MLP).checkpoints([state])
    assert found.theta.dtype == np.float32
    want = np.concatenate([t.float().numpy().reshape(-1) for t in state.values()])
    assert found.theta.tobytes() == want.tobytes()


def test_zeros_of_weights_count_as_pruned():
    net = network()
    with torch.no_grad():
        net.fc1.weight[:10] = 0
        net.fc1.bias[:] = 0
    (found,) = subject(task="digits").checkpoints([net])
    assert found.density == pytest.approx((10 * 64 + 200) / (20 * 64 + 200))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot take a int for a checkpoint; give an address"):
        subject(task="digits", model=MLP).checkpoints([3])
    wrapped = {"state_dict": network().state_dict()}
    for needs_network in (True, False):
        one = subject(task="digits", model=MLP, needs_network=needs_network)
        with pytest.raises(UsageError, match=r"'state_dict' of the state dict is of type .*Dict;"):
            one.checkpoints([wrapped])
    with pytest.raises(UsageError, match="there is no file"):
        subject(task="digits", model=MLP).checkpoints([tmp_path / "none.pt"])


def test_a_state_dict_of_another_network_is_refused_with_both_shapes():
    state = network().state_dict()
    state["fc1.weight"] = state["fc1.weight"][:, :9]
    with pytest.raises(LandscapeError, match=r"'fc1.weight' is \(20, 9\) .* declares \(20, 64\)"):
        subject(task="digits", model=MLP).checkpoints([state])
    del state["fc1.weight"]
    with pytest.raises(LandscapeError, match=r"state-dict does not fit the model: it lacks 'fc1.w"):
        subject(task="digits", model=MLP).checkpoints([state])


def test_an_address_needs_a_store():
    with pytest.raises(UsageError, match="'imp@0' is an address in a store; give store="):
        subject().checkpoints(["imp@0"])


def test_weights_alone_are_enough_for_masks_only(tmp_path):
    state = network().state_dict()
    torch.save(state, tmp_path / "net.pt")
    for source in (state, tmp_path / "net.pt"):
        with pytest.raises(UsageError, match="holds weights without their network; give --model"):
            subject(task="digits").checkpoints([source])
        (found,) = subject(needs_network=False).checkpoints([source])
        assert found.spec.names == ("fc1.weight", "fc2.weight")


def test_weights_without_their_network_or_data(small_store):
    path = layout.level_file(small_store.root, "imp", 2)
    one = subject(task="digits")
    one.checkpoints([path])
    with pytest.raises(UsageError, match="without their network; give --model, as in --model lene"):
        _ = one.module
    two = subject(model=MLP)
    two.checkpoints([path])
    with pytest.raises(UsageError, match="without their data; give --task, as in --task mnist"):
        _ = two.task


def test_a_run_knows_the_network_of_what_it_is_compared_with(small_store):
    net = network(7)
    one = subject(small_store)
    found = one.checkpoints([net.state_dict(), "imp@1", net])
    assert [c.address for c in found] == ["state-dict", "imp@1", "state-dict"]
    assert one.is_runs_own
    assert one.module is not net
    assert found[0].spec == found[1].spec


def test_given_names_replace_those_of_the_run(small_store, code):
    one = subject(small_store, task=f"{code}:task", model=f"{code}:build")
    one.checkpoints(["imp@0"])
    assert not one.is_runs_own
    assert (one.task_name, one.model_name) == (f"{code}:task", f"{code}:build")
    assert len(one.task.splits["train"]) == 12
    assert isinstance(one.module[1], nn.Linear)
    assert subject(task=blobs()).task_name == "blobs"


def test_the_validation_split_is_the_runs_own(tmp_path):
    store = landscape.open(tmp_path / "store")
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": (), "validation_size": 50}
    landscape.train(store=store, name="held", **small)
    one = subject(store)
    one.checkpoints(["held@0"])
    assert len(one.task.splits["validation"]) == 50
    assert one.task.digest == store["held"].description["data"]["digest"]


def test_the_examples_are_the_runs_own(tmp_path):
    store = landscape.open(tmp_path / "store")
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": (), "max_examples": 30}
    landscape.train(store=store, name="few", **small)
    one = subject(store)
    one.checkpoints(["few@0"])
    assert {len(split) for split in one.task.splits.values()} == {30}
    assert one.task.digest == store["few"].description["data"]["digest"]
    assert len(subject(store, task="digits").task.splits["train"]) == 1257


def test_code_a_run_names_is_not_run(tmp_path, code):
    store = landscape.open(tmp_path / "store")
    small = {**SMALL, "levels": 1, "iterations": 3, "snapshots": ()}
    small |= {"model": f"{code}:build", "task": f"{code}:task", "batch_size": 4}
    landscape.train(store=store, name="coded", **small)
    Path(code).write_text("raise SystemExit('this code was run')")
    one = subject(store)
    one.checkpoints(["coded@0"])
    with pytest.raises(UsageError, match=f"'coded' was trained with --model {code}:build; a store"):
        _ = one.module
    with pytest.raises(UsageError, match=f"give --task {code}:task again"):
        _ = one.task


def test_a_landscape_is_made_once_for_each_policy(small_store):
    one = subject(small_store)
    (checkpoint,) = one.checkpoints(["imp@0"])
    first = one.landscape("first", [checkpoint])
    assert one.landscape("first", [checkpoint]) is first
    assert one.landscape("interpolate", [checkpoint]) is not first
    assert first.bn == "first"
    assert set(first.splits) == {"train", "validation", "test"}


def test_the_statistics_must_fit_the_network_too():
    one = subject(task=blobs())
    (found,) = one.checkpoints([network(norm=True)])
    plain = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False))
    plain.extend([nn.ReLU(), nn.Linear(5, 3)])
    other = subject(task=blobs(), model=plain)
    with pytest.raises(LandscapeError, match=r"'1.running_mean' of shape .* is not in the first"):
        other.landscape("interpolate", [found])


def test_a_runs_own_question_is_told_by_its_manifest(small_store, monkeypatch):
    one = subject(small_store)
    group = one.checkpoints(["imp@0", "imp@1"])
    monkeypatch.setattr(Subject, "task", property(lambda _: pytest.fail("the data were loaded")))
    digest = one.data_digest(group, "interpolate")
    assert digest == f"{small_store['imp'].description['data']['digest']}/{MLP}"


def test_another_question_is_told_by_the_losses_at_all_its_checkpoints(small_store):
    ends = [small_store["imp"][0], small_store["imp"][1]]
    task = subject(small_store, task="digits")
    task.checkpoints(ends)
    digests = {task.data_digest(group, "interpolate") for group in (ends, ends[:1], ends[::-1])}
    assert len(digests) == 3
    assert all(d.startswith(small_store["imp"].description["data"]["digest"]) for d in digests)
    assert task.data_digest(ends, "interpolate") in digests
