"""Exported state dicts: other programs load them, this one restores every bit, or refuses."""

import base64
import collections
import io
import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from landscape.data_store import foreign_out
from landscape.data_store.errors import LandscapeError
from landscape.data_store.foreign import read_state
from landscape.data_store.foreign_out import (
    ENTRY,
    read_embedded,
    restored,
    safetensors_image,
    torch_image,
)
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint

IMAGES = {".pt": torch_image, ".pth": torch_image, ".safetensors": safetensors_image}
RECORD = {"run": "imp", "task": "digits", "config": {"lr": 0.1}, "written_by": "0.1.0"}


def network(seed=0):
    torch.manual_seed(seed)
    layers = {
        "fc1": torch.nn.Linear(3, 4),
        "norm": torch.nn.BatchNorm1d(4),
        "fc2": torch.nn.Linear(4, 2),
    }
    return torch.nn.Sequential(collections.OrderedDict(layers))


NETWORK = network()
SPEC = ParamSpec(
    tuple(name for name, _ in NETWORK.named_parameters()),
    tuple(tuple(p.shape) for p in NETWORK.parameters()),
)
PRUNABLE = ("fc1.weight", "fc2.weight")
BUFFERS = {
    "norm.running_mean": np.array([0.0, -0.0, 1.5, 2.0], np.float32),
    "norm.running_var": np.ones(4, np.float32),
    "norm.num_batches_tracked": np.array(2**40, np.int64),
}


def ticket(spec=SPEC, theta=None, kept=None, **changes):
    dense = Mask.dense(spec, PRUNABLE)
    if kept is None:
        kept = np.random.default_rng(0).random(dense.prunable_size) < 0.4
    whole = dense.kept.copy()
    whole[dense.covered] = kept
    mask = Mask(spec, PRUNABLE, whole)
    if theta is None:
        theta = mask.apply(np.random.default_rng(1).standard_normal(spec.size).astype(spec.dtype))
    made = {"buffers": BUFFERS, "address": "imp@3.ticket", "level": 3, "part": "ticket", **changes}
    return Checkpoint(spec, theta, mask, **made)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_checkpoint(got, want):
    assert got.spec == want.spec
    assert same(got.theta, want.theta)
    assert got.mask.prunable == want.mask.prunable
    assert same(got.mask.kept, want.mask.kept)
    assert list(got.buffers) == list(want.buffers)
    assert all(same(got.buffers[name], want.buffers[name]) for name in want.buffers)
    assert dict(got.metrics) == dict(want.metrics)
    assert (got.level, got.part, got.status) == (want.level, want.part, want.status)
    assert got.digest == want.digest


@pytest.fixture(params=[".pt", ".pth", ".safetensors"])
def file(request, tmp_path):
    return tmp_path / f"ticket{request.param}"


def exported(path, made, record=RECORD):
    path.write_bytes(IMAGES[path.suffix](made, record))
    return path


def read_back(path):
    embedded = read_embedded(path)
    assert embedded is not None
    return restored(path, read_state(path), embedded)


def test_a_fresh_module_takes_the_torch_file(tmp_path):
    path, made = exported(tmp_path / "a.pt", ticket()), ticket()
    for mmap in (False, True):
        module = network(seed=1)
        module.load_state_dict(torch.load(path, weights_only=True, mmap=mmap))
        state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
        assert same(SPEC.flatten(state), made.theta)
        assert all(same(state[name], BUFFERS[name]) for name in BUFFERS)


def test_a_fresh_module_takes_the_safetensors_file(tmp_path):
    path = exported(tmp_path / "a.safetensors", ticket())
    module = network(seed=1)
    module.load_state_dict(load_file(path))
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    assert same(SPEC.flatten(state), ticket().theta)


def test_a_checkpoint_comes_back(file):
    made = ticket(metrics={"test_error": 0.25}, status="diverged")
    got = read_back(exported(file, made))
    assert_same_checkpoint(got, made)
    assert (got.address, got.home) == (str(file), None)


def test_the_record_and_the_mask_come_back(file):
    made = ticket()
    embedded = read_embedded(exported(file, made))
    assert {name: embedded["record"][name] for name in RECORD} == RECORD
    assert embedded["record"]["density"] == made.density
    assert same(embedded["mask"], made.mask.packed())
    assert embedded["prunable"] == PRUNABLE
    assert embedded["spec"] == SPEC
    assert embedded["buffers"]["norm.num_batches_tracked"] == ((), "int64")


def test_a_kept_weight_that_is_zero_stays_kept(file):
    made = ticket(kept=np.ones(20, bool), theta=np.zeros(SPEC.size, np.float32))
    assert_same_checkpoint(read_back(exported(file, made)), made)
    assert read_back(file).density == 1


def test_a_rewind_point_keeps_its_pruned_weights(file):
    made = ticket(theta=np.ones(SPEC.size, np.float32), part="rewind")
    assert_same_checkpoint(read_back(exported(file, made)), made)


def test_half_precision_and_boolean_buffers_come_back(file):
    buffers = {
        "a": np.array([0.1, np.inf], np.float16),
        "on": np.array([True, False]),
        "table": np.arange(3, dtype=np.uint8),
        "none": np.zeros((0, 3), np.float32),
    }
    made = ticket(buffers=buffers)
    assert_same_checkpoint(read_back(exported(file, made)), made)


def test_nothing_prunable(file):
    made = Checkpoint(SPEC, np.ones(SPEC.size, np.float32), Mask.dense(SPEC, ()))
    assert_same_checkpoint(read_back(exported(file, made)), made)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_bits_under_any_mask(suffix, tmp_path_factory, data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    spec = ParamSpec(SPEC.names, SPEC.shapes, dtype)
    size = np.dtype(dtype).itemsize * spec.size
    theta = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), dtype)
    kept = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
    made = ticket(spec, theta, kept)
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    assert_same_checkpoint(read_back(exported(path, made)), made)


@pytest.mark.parametrize("suffix", IMAGES)
def test_equal_checkpoints_have_equal_bytes(suffix):
    assert IMAGES[suffix](ticket(), RECORD) == IMAGES[suffix](ticket(), dict(RECORD))
    assert IMAGES[suffix](ticket(), RECORD) != IMAGES[suffix](ticket(level=2), RECORD)


def test_names_that_all_carry_a_prefix_are_found_without_it(file):
    spec = ParamSpec(tuple(f"module.{name}" for name in SPEC.names), SPEC.shapes)
    buffers = {f"module.{name}": value for name, value in BUFFERS.items()}
    mask = Mask.dense(spec, tuple(f"module.{name}" for name in PRUNABLE))
    made = Checkpoint(spec, ticket().theta, mask, buffers=buffers, part="ticket", level=3)
    assert_same_checkpoint(read_back(exported(file, made)), made)


def test_files_of_others_have_nothing_embedded(tmp_path):
    state = dict(NETWORK.state_dict())
    torch.save(state, tmp_path / "a.pt")
    torch.save(state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "c.safetensors")
    save_file(state, tmp_path / "d.safetensors", {"format": "pt"})
    (tmp_path / "e.h5").write_bytes(b"anything")
    for path in tmp_path.iterdir():
        assert read_embedded(path) is None


def test_writing_and_reading_safetensors_needs_no_torch(tmp_path):
    path = exported(tmp_path / "a.safetensors", ticket())
    code = (
        "import sys, pathlib; from landscape.data_store.foreign_out import read_embedded; "
        f"read_embedded(pathlib.Path({str(path)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_safetensors_cannot_hold_is_refused():
    for name, match in (
        ("__metadata__", "holds no tensor called '__metadata__'"),
        ("\ud800", r"imp@3\.ticket does not fit a safetensors file: .*surrogates"),
    ):
        spec = ParamSpec((*SPEC.names[:-1], name), SPEC.shapes)
        with pytest.raises(LandscapeError, match=match):
            safetensors_image(ticket(spec), RECORD)


@pytest.mark.parametrize("image", [torch_image, safetensors_image])
def test_names_that_are_no_unicode_are_refused(image):
    made = ticket(buffers={"\ud800": np.zeros(2, np.float32)})
    with pytest.raises(LandscapeError, match=r"cannot be described in plain JSON: .*surrogates"):
        image(made, RECORD)


@pytest.mark.parametrize("image", [torch_image, safetensors_image])
def test_a_mask_that_no_reader_would_take_is_refused(image, monkeypatch):
    monkeypatch.setattr(foreign_out, "TEXT_LIMIT", 100)
    with pytest.raises(LandscapeError, match=r"take \d+ bytes; .* hold up to 100: export an \.h5"):
        image(ticket(), RECORD)


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.pt", "none.safetensors"):
        with pytest.raises(LandscapeError, match=f"there is no file .*{name}"):
            read_embedded(tmp_path / name)


def test_a_text_over_the_limit_is_refused(file):
    exported(file, ticket())
    with pytest.raises(LandscapeError, match=r"has \d+ bytes; the limit is 100"):
        read_embedded(file, limit=100)


def embed(path, text):
    """A file with this text in the place of what is embedded."""
    if path.suffix == ".safetensors":
        save_file(dict(NETWORK.state_dict()), path, {"landscape": text})
        return path
    torch.save(dict(NETWORK.state_dict()), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{archive.namelist()[0].partition('/')[0]}/{ENTRY}", text)
    return path


def text(**changes):
    """What is embedded, with entries changed; None drops one."""
    whole = {**json.loads(foreign_out._text(ticket(), RECORD)), **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not None})


def bits(count):
    return base64.b64encode(bytes(count)).decode()


def spec(names=("w",), shapes=((5,),), dtype="float32"):
    return {"names": names, "shapes": shapes, "dtype": dtype}


MALFORMED = {
    "empty": ("", "malformed landscape.json"),
    "no json": ("{", "malformed landscape.json"),
    "another type": ("[1]", "malformed landscape.json"),
    "deep": ("[" * 100_000, "malformed landscape.json"),
    "long number": ("9" * 10_000, "malformed landscape.json"),
    "another format": (text(format="x"), "malformed landscape.json: format 'x'"),
    "no version": (text(version=None), "malformed landscape.json: 'version'"),
    "version in words": (text(version=["one"]), "malformed landscape.json"),
    "infinite version": (text(version=[float("inf")]), "malformed landscape.json"),
    "newer": (text(version=[3, 0], written_by="9.9"), r"version 3 .* needs landscape 9\.9"),
    "no record": (text(record=None), "malformed landscape.json: 'record'"),
    "record no object": (text(record=3), "malformed landscape.json"),
    "no spec": (text(spec=None), "malformed landscape.json: 'spec'"),
    "half precision": (text(spec=spec(dtype="float16")), "parameters are 'float16'"),
    "names twice": (text(spec=spec(("w", "w"), ((1,), (1,)))), "one shape per unique name"),
    "names no text": (text(spec=spec((3,))), "the name of a tensor is no text"),
    "negative": (text(spec=spec(shapes=((-2, -2),))), "a side of a tensor is no number"),
    "too large": (text(spec=spec(shapes=((2**40, 2**40),))), "describes .* bytes of tensors in"),
    "infinite shape": (text(spec=spec(shapes=((float("inf"),),))), "malformed landscape.json"),
    "unknown prunable": (text(prunable=["fc9.weight"]), "prunable tensors are not among"),
    "prunable twice": (text(prunable=["fc1.weight"] * 2), "prunable tensors are not among"),
    "prunable in disorder": (text(prunable=PRUNABLE[::-1]), "prunable tensors are not among"),
    "prunable a number": (text(prunable=3), "malformed landscape.json"),
    "mask too short": (text(mask=bits(2)), "a mask of 2 bytes for 20 prunable weights"),
    "mask too long": (text(mask=bits(4)), "a mask of 4 bytes for 20 prunable weights"),
    "mask no base64": (text(mask="???="), "malformed landscape.json"),
    "mask no text": (text(mask=[1]), "malformed landscape.json"),
    "buffers no list": (text(buffers=3), "malformed landscape.json"),
    "buffer too large": (text(buffers=[["b", [2**50], "int64"]]), "describes .* bytes"),
    "buffer negative": (text(buffers=[["b", [-1], "int64"]]), "a shape is negative"),
    "buffer of no type": (text(buffers=[["b", [1], "int65"]]), "malformed landscape.json"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_texts_are_refused(file, fault):
    content, match = MALFORMED[fault]
    with pytest.raises(LandscapeError, match=match) as caught:
        read_embedded(embed(file, content))
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("fault", ["twice", "compressed"])
def test_zips_that_torch_did_not_write_are_refused(tmp_path, fault):
    path = exported(tmp_path / "a.pt", ticket())
    if fault == "twice":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"other/{ENTRY}", "{}")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"archive/{ENTRY}", "0" * 10**6)
    match = f"has 2 entries {ENTRY}" if fault == "twice" else f"its {ENTRY} is compressed"
    with pytest.raises(LandscapeError, match=match):
        read_embedded(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is cut or damaged: 0 bytes of header in 0 bytes"),
        (b"\xff" * 30, "18446744073709551615 bytes of header in 30 bytes"),
        (struct.pack("<Q", 2) + b"[]", "is cut or damaged"),
        (struct.pack("<Q", 2) + b"\xff\xff", "is cut or damaged"),
        (struct.pack("<Q", 20_000) + b"[" * 20_000, "is cut or damaged"),
        (struct.pack("<Q", 19) + b'{"__metadata__":[]}', "is cut or damaged"),
        (struct.pack("<Q", 32) + b'{"__metadata__":{"landscape":3}}', "is cut or damaged"),
    ],
)
def test_malformed_safetensors_headers_are_refused(tmp_path, content, match):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(LandscapeError, match=match):
        read_embedded(path)


def test_random_damage_is_read_or_refused_and_nothing_else(file):
    whole, draws = exported(file, ticket()).read_bytes(), np.random.default_rng(0)
    outcomes = collections.Counter()
    for _ in range(150):
        content = bytearray(whole[: draws.integers(len(whole))] if draws.random() < 0.3 else whole)
        for place in draws.integers(len(content), size=draws.integers(1, 4)) if content else ():
            content[place] = draws.integers(256)
        file.write_bytes(content)
        try:
            embedded = read_embedded(file)
            got = embedded and restored(file, read_state(file), embedded)
        except LandscapeError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        if got is not None:
            assert got.digest == ticket().digest
    assert outcomes["refused"] > 50


def test_tensors_that_were_changed_since_are_refused(file):
    embedded = read_embedded(exported(file, ticket()))
    state = read_state(file)
    state["fc1.weight"] = state["fc1.weight"] + 1
    with pytest.raises(LandscapeError, match="holds other weights than its record was written for"):
        restored(file, state, embedded)


def test_tensors_that_are_missing_or_misshapen_are_refused(file):
    embedded = read_embedded(exported(file, ticket()))
    state = read_state(file)
    for name, wrong in (("fc1.weight", state["fc1.weight"].T), ("norm.running_var", None)):
        changed = {**state, name: wrong}
        changed = {key: value for key, value in changed.items() if value is not None}
        with pytest.raises(LandscapeError, match=f"lacks tensors that its {ENTRY} names: .*{name}"):
            restored(file, changed, embedded)


def test_an_incomplete_record_is_refused(file):
    embedded = read_embedded(exported(file, ticket()))
    del embedded["record"]["part"]
    with pytest.raises(LandscapeError, match=r"has an incomplete record: KeyError\('part'\)"):
        restored(file, read_state(file), embedded)


def test_the_entry_is_an_ordinary_part_of_the_zip(tmp_path):
    content = torch_image(ticket(), RECORD)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1] == f"archive/{ENTRY}"
        assert json.loads(archive.read(f"archive/{ENTRY}"))["record"]["run"] == "imp"
