"""Files of torch.save: what is read, what is refused, and that nothing is run."""

import argparse
import collections
import io
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch

from landscape.data_store.foreign import read_state
from tests.support.foreign import STATE, W, assert_states_equal, refused, saved


@pytest.fixture
def pt(tmp_path):
    return tmp_path / "a.pt"


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_state_dicts(pt, wrapper):
    rest = {"epoch": 3, "optimizer": {"state": {}, "lr": [0.1]}, "acc": 0.5}
    assert_states_equal(read_state(saved(pt, {**rest, wrapper: STATE})), STATE)


def test_a_real_module_with_batchnorm(pt):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    got = read_state(saved(pt, module.state_dict()))
    assert_states_equal(got, module.state_dict())
    assert got["1.num_batches_tracked"].dtype == np.int64
    assert got["1.num_batches_tracked"].shape == ()


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


def test_tied_tensors_count_once_for_each_name(pt):
    saved(pt, dict.fromkeys("abcdefghij", torch.zeros(1000)))
    refused(
        pt,
        "tensors of .* take 40000 bytes; more than 39999 is refused unless --max-size",
        size_limit=39_999,
    )
    assert len(read_state(pt, size_limit=40_000)) == 10
