"""Foreign checkpoint files: what is read and refused, and what becomes of its tensors."""

import collections
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.foreign import checkpoint_from_state, read_state
from landscape.data_store.params import ParamSpec
from tests.support.foreign import STATE, assert_states_equal, refused, saved

SPEC = ParamSpec(("fc.weight", "fc.bias"), ((2, 3), (2,)))


@pytest.fixture
def pt(tmp_path):
    return tmp_path / "a.pt"


@pytest.fixture
def st(tmp_path):
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["a.pt", "b.pth", "c.PT"])
def test_a_plain_state_dict(tmp_path, name, legacy):
    path = saved(tmp_path / name, STATE, _use_new_zipfile_serialization=not legacy)
    assert_states_equal(read_state(path), STATE)


def test_a_safetensors_file(st):
    save_file(STATE, st, metadata={"step": "3"})
    got = read_state(st)
    assert_states_equal({name: got[name] for name in STATE}, STATE)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_exactly(pt, st, half):
    tensor = torch.tensor([1.0, -0.1, 65504.0, 6e-8, -0.0, float("inf"), float("nan")]).to(half)
    save_file({"w": tensor}, st)
    for path in (saved(pt, {"w": tensor}), st):
        got = read_state(path)["w"]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, tensor.float().numpy())
        np.testing.assert_array_equal(np.signbit(got[:6]), np.signbit(tensor.float().numpy()[:6]))


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool],
)
def test_other_dtypes_stay(pt, st, dtype):
    state = {"w": torch.tensor([[0, 1, 1]]).to(dtype), "scalar": torch.tensor(1).to(dtype)}
    save_file(state, st)
    for path in (saved(pt, state), st):
        got = read_state(path)
        assert_states_equal({name: got[name] for name in state}, state)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_random_damage_is_read_or_refused_and_nothing_else(pt, st, form):
    path = st if form == "safetensors" else pt
    save_file(STATE, st)
    saved(pt, STATE, _use_new_zipfile_serialization=form == "zip")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(100):
        content = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_state(path)
            outcomes["read"] += 1
        except LandscapeError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 0


def test_an_empty_file_is_refused(pt, st):
    for path in (pt, st):
        path.write_bytes(b"")
        refused(path, "is empty; expected a checkpoint")


def test_sizes_over_the_limit_are_refused(pt, st):
    saved(pt, {"w": torch.zeros(1000)})
    save_file({"w": torch.zeros(1000)}, st)
    for path in (pt, st):
        size = path.stat().st_size
        refused(
            path, rf"has {size} bytes; more than 4000 is refused unless --max-size", size_limit=4000
        )
        read_state(path, size_limit=size)


def test_the_suffix_must_be_right(tmp_path, pt, st):
    save_file(STATE, pt)
    refused(pt, r"is a safetensors file; name it \.safetensors")
    for legacy in (False, True):
        saved(st, STATE, _use_new_zipfile_serialization=not legacy)
        refused(st, r"is a file of torch\.save; name it \.pt")
    pt.write_text("epoch,loss\n1,0.5\n")
    refused(pt, r"is no file of torch\.save, as its suffix says")
    other = tmp_path / "a.onnx"
    other.write_bytes(b"x")
    refused(other, r"a foreign checkpoint ends in \.pt, \.pth or \.safetensors", UsageError)


def test_a_missing_file_is_a_wrong_question(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path / "a\0b.pt"):
        with pytest.raises(UsageError, match="there is no file"):
            read_state(path)
    (tmp_path / "plain").write_bytes(b"")
    refused(tmp_path / "plain" / "a.pt", "there is no file", UsageError)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_folders_pipes_and_devices_are_not_opened(tmp_path, suffix):
    folder, pipe, device = (tmp_path / f"{name}{suffix}" for name in ("folder", "pipe", "device"))
    folder.mkdir()
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (folder, pipe, device):
        refused(path, "is no plain file; give a checkpoint file", UsageError)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_file_that_may_not_be_read_is_named(tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"x" * 20)

    def no(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", no)
    refused(path, "cannot read .*: Permission denied")
    monkeypatch.setattr("pathlib.Path.stat", no)
    refused(path, "cannot read .*: Permission denied")


def arrays(**changes):
    state = {
        "fc.weight": np.array([[0, -0.0, 2], [-3, 4, 5]], np.float32),
        "fc.bias": np.array([0, -0.0], np.float32),
    }
    return {name: value for name, value in {**state, **changes}.items() if value is not None}


def test_zeros_of_matrices_are_the_mask():
    ckpt = checkpoint_from_state(arrays(), SPEC, {}, "a.pt")
    np.testing.assert_array_equal(ckpt.mask.kept, [0, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(ckpt.theta, [0, 0, 2, -3, 4, 5, 0, 0])
    assert ckpt.theta[:2].tobytes() == bytes(8)  # +0.0
    assert ckpt.mask.prunable == ("fc.weight",)
    assert ckpt.density == 4 / 6
    assert (ckpt.address, ckpt.level, ckpt.run, ckpt.part) == ("a.pt", None, "", "final")


def test_double_precision_is_rounded_and_a_weight_that_vanishes_stays_kept():
    weights = np.array([[1 / 3, 1e-60, 0], [1, 1, 7]])
    state = arrays(**{"fc.weight": weights})
    ckpt = checkpoint_from_state(state, SPEC, {}, "a.pt")
    assert ckpt.theta.dtype == np.float32
    np.testing.assert_array_equal(ckpt.theta[:6], np.float32([1 / 3, 0, 0, 1, 1, 7]))
    np.testing.assert_array_equal(ckpt.mask.kept[:6], [1, 1, 0, 1, 1, 1])
    wide = ParamSpec(SPEC.names, SPEC.shapes, "float64")
    np.testing.assert_array_equal(
        checkpoint_from_state(state, wide, {}, "a.pt").theta[:6], weights.reshape(-1)
    )


BUFFERS = {"bn.mean": ((2,), "float32"), "bn.num_batches_tracked": ((), "int64")}


def test_buffers_keep_their_declared_order_and_dtype():
    state = arrays(
        **{"bn.num_batches_tracked": np.array(7, np.int32), "bn.mean": np.array([0.0, 1.5])}
    )
    got = checkpoint_from_state(state, SPEC, BUFFERS, "a.pt").buffers
    assert list(got) == list(BUFFERS)
    assert [b.dtype.name for b in got.values()] == ["float32", "int64"]
    np.testing.assert_array_equal(got["bn.mean"], [0, 1.5])
    assert got["bn.num_batches_tracked"] == 7


@pytest.mark.parametrize(
    ("changes", "buffers", "match"),
    [
        (
            {"fc.weight": np.zeros((3, 2), np.float32)},
            {},
            r"'fc\.weight' is \(3, 2\) in a\.pt; the model declares \(2, 3\)",
        ),
        ({"fc.bias": None}, {}, r"a\.pt does not fit the model: it lacks 'fc\.bias'$"),
        (
            {"fc.bias": None, "fc.b": np.zeros(2)},
            {},
            r"it lacks 'fc\.bias' and has the undeclared 'fc\.b'$",
        ),
        (
            {name: np.zeros(1) for name in "pqrst"},
            {},
            r"it has the undeclared 'p', 'q', 'r' …$",
        ),
        ({}, {"bn.mean": ((2,), "float32")}, r"it lacks 'bn\.mean'$"),
        (
            {"bn.mean": np.zeros(3)},
            {"bn.mean": ((2,), "float32")},
            r"'bn\.mean' is \(3,\) in a\.pt; the model declares \(2,\)",
        ),
        (
            {"fc.bias": np.zeros(2, np.int64)},
            {},
            r"'fc\.bias' is int64 in a\.pt; the model declares float32",
        ),
        (
            {"n": np.zeros((), np.float32)},
            {"n": ((), "int64")},
            "'n' is float32 in a.pt; the model declares int64",
        ),
        (
            {"fc.bias": np.array([1e300, 0])},
            {},
            r"'fc\.bias' holds 1e\+300 in a\.pt; the model declares float32, which cannot hold it",
        ),
        (
            {"n": np.array(300)},
            {"n": ((), "uint8")},
            "'n' holds 300 in a.pt; the model declares uint8, which cannot hold it",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused(changes, buffers, match):
    with pytest.raises(LandscapeError, match=match):
        checkpoint_from_state(arrays(**changes), SPEC, buffers, "a.pt")


def test_from_file_to_checkpoint(pt):
    module = torch.nn.Sequential(
        collections.OrderedDict(fc=torch.nn.Linear(3, 2), bn=torch.nn.BatchNorm1d(2))
    )
    with torch.no_grad():
        module.fc.weight[0] *= -0.0
    spec = ParamSpec(
        tuple(name for name, _ in module.named_parameters()),
        tuple(tuple(p.shape) for p in module.parameters()),
    )
    buffers = {
        name: (tuple(b.shape), str(b.dtype).removeprefix("torch."))
        for name, b in module.named_buffers()
    }
    wrapped = torch.nn.DataParallel(module).state_dict()
    ckpt = checkpoint_from_state(
        read_state(saved(pt, {"state_dict": wrapped})), spec, buffers, str(pt)
    )
    assert ckpt.density == 0.5
    for name, tensor in spec.unflatten(ckpt.theta).items():
        np.testing.assert_array_equal(tensor, module.state_dict()[name].numpy())
    assert set(ckpt.buffers) == {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}


def test_values_that_are_not_finite_are_let_through_and_said():
    weight = np.array([[np.nan, -np.inf, 0], [1, 2, 3]], np.float32)
    buffers = {"bn.mean": ((2,), "float32")}
    state = arrays(**{"fc.weight": weight, "bn.mean": np.array([np.inf, 0], np.float32)})
    match = r"^values of a\.pt are not finite: 2 in 'fc\.weight', 1 in 'bn\.mean'$"
    with pytest.warns(UserWarning, match=match):
        ckpt = checkpoint_from_state(state, SPEC, buffers, "a.pt")
    np.testing.assert_array_equal(ckpt.theta[:6], weight.reshape(-1))
    assert ckpt.status == "diverged"
    assert checkpoint_from_state(arrays(), SPEC, {}, "a.pt").status == "done"


def test_many_tensors_that_are_not_finite_are_counted():
    names = tuple("abcde")
    spec = ParamSpec(names, ((1,),) * 5)
    state = {name: np.full(1, np.nan, np.float32) for name in names}
    with pytest.warns(UserWarning, match=r"1 in 'a', 1 in 'b', 1 in 'c' and 2 more tensors$"):
        checkpoint_from_state(state, spec, {}, "a.pt")


MASK = np.array([[1, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float64"])
def test_a_given_mask_is_exact_and_hidden_weights_are_counted(dtype):
    masks = {"fc.weight": MASK.astype(dtype), "fc.bias": np.array([0, 1], dtype)}
    state = arrays(**{"fc.bias": np.array([3, 4], np.float32)})
    with pytest.warns(UserWarning, match=r"^a\.pt holds 2 weights that its mask prunes; they are"):
        ckpt = checkpoint_from_state(state, SPEC, {}, "a.pt", masks)
    assert ckpt.mask.prunable == ("fc.weight", "fc.bias")
    np.testing.assert_array_equal(ckpt.mask.kept, [1, 0, 1, 0, 1, 1, 0, 1])  # a zero is kept
    np.testing.assert_array_equal(ckpt.theta, [0, 0, 2, 0, 4, 5, 0, 4])
    assert not np.signbit(ckpt.theta[~ckpt.mask.kept]).any()


def test_zeros_stay_the_rule_where_no_mask_is_given():
    spec = ParamSpec(("a", "b"), ((2, 2), (1, 2)))
    state = {"a": np.eye(2, dtype=np.float32), "b": np.array([[0, 1]], np.float32)}
    ckpt = checkpoint_from_state(state, spec, {}, "a.pt", {"a": np.ones((2, 2))})
    np.testing.assert_array_equal(ckpt.mask.kept, [1, 1, 1, 1, 0, 1])


def test_masks_under_a_wrappers_names():
    masks = {"module.fc.weight": np.array([[0, 0, 1], [1, 1, 1]])}
    ckpt = checkpoint_from_state(arrays(), SPEC, {}, "a.pt", masks)
    np.testing.assert_array_equal(ckpt.mask.layer("fc.weight"), [0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("masks", "match"),
    [
        ({"fc.w": MASK}, r"^a\.pt has a mask of 'fc\.w', which is no parameter$"),
        ({"fc.weight": MASK.T}, r"'fc\.weight' in a\.pt is \(3, 2\); its tensor is \(2, 3\)$"),
        ({"fc.weight": MASK * 2}, r"the mask of 'fc\.weight' in a\.pt holds 2; expected 0 and 1$"),
        ({"fc.weight": MASK * 0.5}, r"the mask of 'fc\.weight' in a\.pt holds 0\.5; expected"),
        ({"fc.weight": np.where(MASK, 1, np.nan)}, r"'fc\.weight' in a\.pt holds nan; expected"),
    ],
)
def test_masks_that_are_none_are_refused(masks, match):
    with pytest.raises(LandscapeError, match=match):
        checkpoint_from_state(arrays(), SPEC, {}, "a.pt", masks)


def test_a_mask_of_a_buffer_is_refused():
    state = arrays(**{"bn.mean_orig": np.ones(2), "bn.mean_mask": np.ones(2)})
    with pytest.raises(LandscapeError, match=r"a mask of 'bn\.mean', which is no parameter"):
        checkpoint_from_state(state, SPEC, {"bn.mean": ((2,), "float64")}, "a.pt")
