"""Foreign checkpoint files: what is read, what is refused, and that nothing is run."""

import argparse
import collections
import io
import json
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.foreign import checkpoint_from_state, read_state
from landscape.data_store.params import ParamSpec

W = torch.arange(6.0).reshape(2, 3)
STATE = {"fc.weight": W, "fc.bias": torch.tensor([1.0, float("nan")])}
SPEC = ParamSpec(("fc.weight", "fc.bias"), ((2, 3), (2,)))


def saved(path, obj, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates some of what is saved here
        torch.save(obj, path, **options)
    return path


def assert_states_equal(got, want):
    assert list(got) == list(want)
    for name in want:
        expected = want[name].detach().numpy()
        assert got[name].dtype == expected.dtype
        assert got[name].shape == expected.shape
        np.testing.assert_array_equal(got[name], expected)
        assert got[name].flags["OWNDATA"] or got[name].base.flags["OWNDATA"]


def refused(path, match, error=LandscapeError, **options):
    with pytest.raises(error, match=match) as caught:
        read_state(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "weights_only" not in message
    assert "\n" not in message


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


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_state_dicts(pt, wrapper):
    rest = {"epoch": 3, "optimizer": {"state": {}, "lr": [0.1]}, "acc": 0.5}
    assert_states_equal(read_state(saved(pt, {**rest, wrapper: STATE})), STATE)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."],
)
def test_prefixes_of_wrappers_are_stripped(pt, st, prefix):
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    assert_states_equal(read_state(saved(pt, state)), STATE)
    save_file(state, st)
    assert set(read_state(st)) == set(STATE)


def test_a_prefix_that_some_names_lack_stays(pt):
    state = {"module.weight": W, "n_averaged": torch.tensor(3)}
    assert_states_equal(read_state(saved(pt, state)), state)
    state = {"module.": W}
    assert_states_equal(read_state(saved(pt, state)), state)


def test_a_real_module_with_batchnorm(pt):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    got = read_state(saved(pt, module.state_dict()))
    assert_states_equal(got, module.state_dict())
    assert got["1.num_batches_tracked"].dtype == np.int64
    assert got["1.num_batches_tracked"].shape == ()


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


def test_parameters_views_and_slices_of_one_storage(pt):
    flat = torch.arange(12.0)
    state = {
        "parameter": torch.nn.Parameter(W),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "first": flat[:6].view(2, 3),
        "second": flat[6:],
        "none": torch.empty(0, 3),
    }
    assert_states_equal(read_state(saved(pt, state)), state)


def test_tied_weights_are_read_twice(pt):
    got = read_state(saved(pt, {"in": W, "out": W}))
    np.testing.assert_array_equal(got["in"], got["out"])
    assert not np.shares_memory(got["in"], got["out"])


class Hostile:
    """Creates a file when it is unpickled by an unrestricted reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("place", ["alone", "beside the state", "in a wrapper", "as a name"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_nothing_in_the_file_is_run(tmp_path, pt, place, form):
    victim = tmp_path / "owned"
    evil = Hostile(victim)
    content = {
        "alone": evil,
        "beside the state": {"state_dict": STATE, "epoch": evil},
        "in a wrapper": {"state_dict": {"w": W, "evil": evil}},
        "as a name": {"w": W, (1, evil): W},
    }[place]
    if form == "pickle":
        pt.write_bytes(pickle.dumps(evil if place == "alone" else {"epoch": evil}, 2))
    else:
        saved(pt, content, _use_new_zipfile_serialization=form == "zip")
    refused(pt, r"holds '(io|_io|builtins)\.open', which is no tensor and was not run")
    assert not victim.exists()
    pickle.loads(pickle.dumps(evil)).close()
    assert victim.exists()  # the file would have been made


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"w": W, "acc": np.float64(0.5)}, "numpy._core.multiarray.scalar"),
        ({"w": W, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace"),
        ({"w": W, "log": collections.defaultdict(list)}, "collections.defaultdict"),
    ],
)
def test_what_is_no_tensor_is_named(pt, content, name):
    refused(
        saved(pt, content), f"holds '{name}', which is no tensor .* torch.save.model.state_dict"
    )


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (W, "holds a Tensor; save the network as"),
        ([W, W], "holds a list; save"),
        ({}, "holds nothing; save"),
        ({"state_dict": {}, "epoch": 1}, "holds nothing; save"),
        ({"w": W, "epoch": 3}, "'epoch' in .* is of type int; expected tensors, plain or under"),
        (
            {"net": {"w": W}},
            "'net' in .* is of type dict; expected tensors, plain or under 'state_d",
        ),
        ({"state_dict": {"fc": {"w": W}}}, "'fc' in .* is of type dict"),
        ({"w": W, 3: W}, "has a name of type int; save"),
    ],
)
def test_what_is_no_state_dict_is_refused(pt, content, match):
    refused(saved(pt, content), match)


def bad_tensors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CSR is in beta, quantized tensors are deprecated
        return {
            "of layout torch.sparse_coo": W.to_sparse(),
            "of layout torch.sparse_csr": W.to_sparse_csr(),
            "a meta tensor": torch.empty(10**11, device="meta"),
            "quantized": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8),
            "of dtype torch.complex64": W.to(torch.complex64),
            "of dtype torch.float8_e4m3fn": W.to(torch.float8_e4m3fn),
            "on less memory": torch.zeros(1).expand(10**12),
            r"shape \(4, 2\) on less memory": torch.zeros(9)[:2].expand(4, 2),
            r"shape \(3, 3\) on less memory": torch.zeros(9).as_strided((3, 3), (1, 1)),
            r"shape \(2, 2\) on less memory": torch.zeros(200).as_strided((2, 2), (0, 100)),
        }


@pytest.mark.parametrize("fault", bad_tensors())
def test_tensors_that_are_not_plain_numbers_are_refused(pt, fault):
    state = {"w": W, "bad": bad_tensors()[fault]}
    refused(saved(pt, state), rf"'bad' in .* is .*{fault}.*; expected a dense tensor")


FLAT = torch.arange(12.0)


@pytest.mark.parametrize("other", [FLAT[:6].view(2, 3).T, FLAT[3:9], FLAT[:6].view(3, 2), FLAT])
def test_different_tensors_on_the_same_memory_are_refused(pt, other):
    saved(pt, {"a": FLAT[:6].view(2, 3), "b": other, "c": FLAT[:6].view(2, 3)})
    refused(pt, "'[ab]' and '[abc]' in .* overlap in memory; save the network as")


class Tampered:
    """A tensor of `shape` over four numbers."""

    def __init__(self, shape):
        self.shape = shape

    def __reduce__(self):
        stride = (1,) * len(self.shape)
        args = (torch.zeros(4).storage(), 0, self.shape, stride, False, collections.OrderedDict())
        return torch._utils._rebuild_tensor_v2, args


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_longer_than_its_storage_is_refused(pt, legacy):
    saved(pt, {"w": Tampered((10**6,))}, _use_new_zipfile_serialization=not legacy)
    refused(pt, "is cut, damaged or no file of torch.save|claims .* bytes of tensors")


def test_storages_beyond_the_file_are_refused(pt, monkeypatch):
    saved(pt, STATE)
    grown = {"w": torch.zeros(10**5)}
    monkeypatch.setattr(torch, "load", lambda *_, **__: grown)
    refused(pt, r"claims 400000 bytes of tensors in \d+ bytes of file")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_cut_file_is_refused(pt, share, legacy):
    saved(pt, STATE, _use_new_zipfile_serialization=not legacy)
    whole = pt.read_bytes()
    pt.write_bytes(whole[: int(share * len(whole))])
    refused(pt, "is cut")


def test_a_flipped_bit_is_refused(pt):
    saved(pt, {"w": torch.full((1000,), 3.0)})
    content = bytearray(pt.read_bytes())
    content[content.index(struct.pack("<4f", 3, 3, 3, 3)) + 100] ^= 1
    pt.write_bytes(content)
    refused(pt, "is damaged: 'a/data/0' in it fails its checksum")


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


def test_a_compressed_zip_is_refused(pt):
    saved(pt, {"w": torch.zeros(10**6)})
    packed = io.BytesIO()
    with zipfile.ZipFile(pt) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    pt.write_bytes(packed.getvalue())
    assert pt.stat().st_size < 10**5
    refused(pt, "is a compressed zip; torch.save writes none")


def test_a_zip_of_something_else_is_refused(pt):
    with zipfile.ZipFile(pt, "w") as archive:
        archive.writestr("a/readme.txt", "hello")
    refused(pt, "is cut, damaged or no file of torch.save")


def test_torchscript_is_refused(pt):
    with zipfile.ZipFile(pt, "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", pickle.dumps({}))
    refused(pt, "is TorchScript, which is code; save the network")


def test_sizes_over_the_limit_are_refused(pt, st):
    saved(pt, {"w": torch.zeros(1000)})
    save_file({"w": torch.zeros(1000)}, st)
    for path in (pt, st):
        size = path.stat().st_size
        refused(path, rf"has {size} bytes; the limit is 4000", size_limit=4000)
        read_state(path, size_limit=size)


def test_tied_tensors_count_once_for_each_name(pt):
    saved(pt, dict.fromkeys("abcdefghij", torch.zeros(1000)))
    refused(pt, "tensors of .* take 40000 bytes; the limit is 39999", size_limit=39_999)
    assert len(read_state(pt, size_limit=40_000)) == 10


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


def test_a_missing_file_and_a_folder_are_wrong_questions(tmp_path):
    refused(tmp_path / "none.pt", "there is no file", UsageError)
    (tmp_path / "folder.pt").mkdir()
    refused(tmp_path / "folder.pt", "there is no file", UsageError)


def safetensors_bytes(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin=0, end=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x10\0", "is cut or no safetensors file"),
        (b"\xff" * 40, "is cut or no safetensors file: 18446744073709551615 bytes of header in 40"),
        (safetensors_bytes({"w": entry()}, bytes(8), 10**9), "1000000000 bytes of header in"),
        (safetensors_bytes({"w": entry()}, bytes(4)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry()}, bytes(12)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(shape=(3,))}, bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(shape=(-2,))}, bytes(8)), "is cut or no safetensors file"),
        (
            safetensors_bytes({"w": entry(), "v": entry(4, 12)}, bytes(12)),
            "is cut or no safetensors file",
        ),
        (
            safetensors_bytes({"w": entry(), "v": entry(12, 20)}, bytes(20)),
            "is cut or no safetensors file",
        ),
        (safetensors_bytes(b"not json", bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes(b'{"w":' * 5000, bytes(8)), "is cut or no safetensors file"),
        (safetensors_bytes({"w": entry(dtype="F99")}, bytes(8)), "is cut or no safetensors file"),
        (
            safetensors_bytes({"w": entry(dtype="C64", shape=(1,))}, bytes(8)),
            "'w' in .* is of dtype C64; expected one of F64, F32",
        ),
        (
            safetensors_bytes({"w": entry(0, 0, (2**63, 0))}, b""),
            "'w' in .* has the impossible shape",
        ),
        (safetensors_bytes({"__metadata__": {"a": "b"}}), "holds no tensor"),
        (
            safetensors_bytes(
                b'{"w":%b,"w":%b}' % (*[json.dumps(entry()).encode()] * 2,), bytes(8)
            ),
            "holds 'w' twice",
        ),
    ],
)
def test_malformed_safetensors_headers_are_refused(st, content, match):
    st.write_bytes(content)
    refused(st, match)


def test_reading_safetensors_needs_no_torch(st):
    save_file(STATE, st)
    code = (
        "import sys, pathlib; from landscape.data_store.foreign import read_state; "
        f"read_state(pathlib.Path({str(st)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def arrays(**changes):
    state = {
        "fc.weight": np.array([[0, -0.0, 2], [-3, 4, np.nan]], np.float32),
        "fc.bias": np.array([0, -0.0], np.float32),
    }
    return {name: value for name, value in {**state, **changes}.items() if value is not None}


def test_zeros_of_matrices_are_the_mask():
    ckpt = checkpoint_from_state(arrays(), SPEC, {}, "a.pt")
    np.testing.assert_array_equal(ckpt.mask.kept, [0, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(ckpt.theta, [0, 0, 2, -3, 4, np.nan, 0, 0])
    assert ckpt.theta[:2].tobytes() == bytes(8)  # +0.0
    assert ckpt.mask.prunable == ("fc.weight",)
    assert ckpt.density == 4 / 6
    assert (ckpt.address, ckpt.level, ckpt.run, ckpt.part) == ("a.pt", None, "", "final")


def test_double_precision_is_rounded_and_a_weight_that_vanishes_stays_kept():
    weights = np.array([[1 / 3, 1e-60, 0], [1, 1, np.inf]])
    state = arrays(**{"fc.weight": weights})
    ckpt = checkpoint_from_state(state, SPEC, {}, "a.pt")
    assert ckpt.theta.dtype == np.float32
    np.testing.assert_array_equal(ckpt.theta[:6], np.float32([1 / 3, 0, 0, 1, 1, np.inf]))
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
