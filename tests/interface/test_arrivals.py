"""Arrivals: one file or folder after another, and what each knows."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape.arrivals import Reader
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.level_file import level_image
from landscape.data_store.mask import Mask
from landscape.data_store.records import Point
from landscape.data_store.ticket_file import ticket_image
from landscape.exporter import export
from landscape.subject import Context, Subject
from landscape.training.models import parse_mlp
from tests.support.lottery import experiment

MLP = "mlp:64-20-10"
OWN = {"task": "digits", "model": MLP}


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse_mlp(MLP).build((64,), 10)


def read(path, *, by_order=False, size_limit=SIZE_LIMIT, **context):
    subject = Subject(Context(None, **context), needs_network=True)
    return list(Reader(subject, by_order=by_order, size_limit=size_limit).arrivals(path))


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_state_dict_knows_its_weights_only(tmp_path, suffix):
    net, path = network(), tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(net.state_dict(), path)
    (arrival,) = read(path, **OWN)
    final = arrival.level.points["final"].theta
    np.testing.assert_array_equal(
        final, np.concatenate([p.detach().numpy().reshape(-1) for p in net.parameters()])
    )
    assert (arrival.level.metrics, arrival.level.trace.values.shape) == ({}, (0, 8))
    assert (arrival.origins, arrival.record) == ({}, {})
    assert arrival.files == ((path.name, sha256(path)),)
    assert arrival.source == path.name


@pytest.mark.parametrize(
    ("known", "match"),
    [
        ({}, "holds weights without their network; give --model and --task"),
        ({"task": "digits"}, "holds weights without their network; give --model and --task"),
        ({"model": MLP}, "come without their data; give --task"),
    ],
)
def test_a_state_dict_needs_its_network_and_data(tmp_path, known, match):
    torch.save(network().state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match=match):
        read(tmp_path / "net.pt", **known)


def test_the_network_must_take_the_tasks_examples(tmp_path):
    code = tmp_path / "mine.py"
    code.write_text("from torch import nn\ndef build(): return nn.Linear(9, 10)")
    torch.save(torch.nn.Linear(9, 10).state_dict(), tmp_path / "net.pt")
    with pytest.raises(LandscapeError, match="the network or the loss fails on examples of task"):
        read(tmp_path / "net.pt", task="digits", model=f"{code}:build")


def test_a_level_file_brings_its_curve_and_its_runs_names(small_store, tmp_path):
    place = layout.level_file(small_store.root, "imp", 2)
    (arrival,) = read(place)
    own = small_store["imp"].level(2)
    assert arrival.level.metrics == own.metrics
    assert set(arrival.level.points) == {"final", "step-40"}
    np.testing.assert_array_equal(arrival.level.trace.values, own.trace.values)
    description = small_store["imp"].description
    assert arrival.record == {**OWN, "data": description["data"]}
    shutil.copy(place, tmp_path / "alone.h5")
    (alone,) = read(tmp_path / "alone.h5")
    assert alone.record == {}


@pytest.mark.parametrize("suffix", [".h5", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("part", "origins"),
    [
        ("", {"ticket"}),
        (".rewind", {"rewind"}),
        (".init", {"init"}),
        (".final", set()),
        (".step-40", set()),
    ],
)
def test_what_was_exported_comes_back(small_store, tmp_path, suffix, part, origins):
    path = tmp_path / f"ticket{suffix}"
    export(small_store, f"imp@2{part}", path)
    (arrival,) = read(path)
    own = small_store.checkpoint(f"imp@2{part or '.ticket'}")
    final = arrival.level.points["final"]
    assert final.theta.tobytes() == own.mask.apply(own.theta).tobytes()
    for origin in arrival.origins.values():
        assert origin.theta.tobytes() == own.theta.tobytes()
    assert arrival.level.mask.packed().tobytes() == own.mask.packed().tobytes()
    assert set(arrival.origins) == origins
    assert arrival.record == {**OWN, "data": small_store["imp"].description["data"]}
    assert arrival.level.metrics == own.metrics


def test_a_level_file_that_contradicts_its_mask_is_refused(small_store, tmp_path):
    level = small_store["imp"].level(2)
    theta = level.points["final"].theta.copy()
    theta[~level.mask.kept] = -0.0
    points = {"final": Point(theta, level.points["final"].buffers)}
    (tmp_path / "a.h5").write_bytes(level_image(replace(level, points=points)))
    with pytest.raises(LandscapeError, match=r"a\.h5 keeps weights of 'final' that its mask prun"):
        read(tmp_path / "a.h5")


def test_a_dense_ticket_is_a_rewind_point(small_store, tmp_path):
    export(small_store, "imp@0", tmp_path / "ticket.h5")
    (arrival,) = read(tmp_path / "ticket.h5")
    assert set(arrival.origins) == {"rewind"}


def test_a_ticket_must_fit_a_model_that_is_given(small_store, tmp_path):
    export(small_store, "imp@2", tmp_path / "ticket.h5")
    read(tmp_path / "ticket.h5", **OWN)
    with pytest.raises(LandscapeError, match=r"hold different networks: 'fc1\.weight' is"):
        read(tmp_path / "ticket.h5", task="digits", model="mlp:64-9-10")


def test_a_cut_or_flipped_file_of_ours_is_named(small_store, tmp_path):
    path = tmp_path / "ticket.h5"
    export(small_store, "imp@2", path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(LandscapeError, match=r"ticket\.h5 is damaged: its content does not match"):
        read(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(900))
    with pytest.raises(LandscapeError, match=r"ticket\.h5 is not a landscape-level file"):
        read(path)


@pytest.mark.parametrize("suffix", [".h5", ".pt", ".safetensors"])
def test_missing_files_pipes_and_devices_are_not_waited_for(tmp_path, suffix):
    missing, pipe, device = (tmp_path / f"{name}{suffix}" for name in ("none", "pipe", "device"))
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path, match in ((missing, "there is no file|cannot read"), (pipe, "is no plain file")):
        with pytest.raises(LandscapeError, match=match):
            read(path, **OWN)
    with pytest.raises(LandscapeError, match="is no plain file"):
        read(device, **OWN)


@pytest.mark.parametrize("name", ["\x1b[2J", "", "x" * 1001])
def test_names_that_a_terminal_would_obey_are_refused(small_store, tmp_path, name):
    own = small_store.checkpoint("imp@2.ticket")
    spec = replace(own.spec, names=(name, *own.spec.names[1:]))
    mask = Mask(spec, (name, *own.mask.prunable[1:]), own.mask.kept)
    (tmp_path / "a.h5").write_bytes(ticket_image(replace(own, spec=spec, mask=mask), {}))
    with pytest.raises(LandscapeError, match=r"a\.h5 calls a tensor '.*'; expected up to 1000"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"config": 3, "data": [1]},
        {"config": {"task": {"a": 1}, "model": 7, "validation_size": True}, "data": {"digest": 3}},
        {"config": {"task": "\x1b[2J", "model": "x" * 1001, "validation_size": "9"}, "data": {}},
        {"config": {"task": ""}, "data": {"digest": "\n"}},
    ],
)
def test_what_a_strangers_record_says_is_taken_with_care(small_store, tmp_path, record):
    checkpoint = small_store.checkpoint("imp@2.ticket")
    (tmp_path / "ticket.h5").write_bytes(ticket_image(checkpoint, record))
    (arrival,) = read(tmp_path / "ticket.h5")
    assert arrival.record == {}


def test_a_strangers_counts_are_numbers(small_store, tmp_path):
    data = {"digest": "ab", "examples": {"train": 3, "test": "4", "x\x1b": 5}}
    content = ticket_image(small_store.checkpoint("imp@2.ticket"), {"data": data})
    (tmp_path / "ticket.h5").write_bytes(content)
    (arrival,) = read(tmp_path / "ticket.h5")
    assert arrival.record == {"data": {"digest": "ab", "examples": {"train": 3}}}


@pytest.mark.filterwarnings("ignore:.*weights that its mask prunes")
def test_a_folder_of_open_lth_brings_its_levels(tmp_path):
    replicate = experiment(tmp_path, network(), 2)
    arrivals = read(replicate, **OWN)
    assert [set(a.origins) for a in arrivals] == [{"init", "rewind"}] * 2
    assert [name for name, _ in arrivals[1].files] == [
        f"replicate_1/level_1/main/{name}"
        for name in ("mask.pth", "model_ep0_it0.pth", "model_ep2_it0.pth")
    ]
    for name, digest in arrivals[1].files:
        assert digest == sha256(replicate.parent / name)


def test_by_order(tmp_path):
    state = {f"layer{i}": t for i, t in enumerate(network().state_dict().values())}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(LandscapeError, match=r"it lacks 'fc1\.weight'"):
        read(tmp_path / "net.pt", **OWN)
    with pytest.warns(UserWarning, match="'layer0' as 'fc1.weight'"):
        (arrival,) = read(tmp_path / "net.pt", by_order=True, **OWN)
    torch.save(network().state_dict(), tmp_path / "plain.pt")
    (plain,) = read(tmp_path / "plain.pt", **OWN)
    np.testing.assert_array_equal(
        arrival.level.points["final"].theta, plain.level.points["final"].theta
    )
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(UsageError, match=r"net\.safetensors keeps its tensors in no order"):
        read(tmp_path / "net.safetensors", by_order=True, **OWN)


def test_sizes_over_the_limit_are_refused(small_store, tmp_path):
    torch.save(network().state_dict(), tmp_path / "net.pt")
    export(small_store, "imp@2", tmp_path / "ticket.h5")
    for path in (tmp_path / "net.pt", tmp_path / "ticket.h5"):
        with pytest.raises(LandscapeError, match=rf"{path.name} has \d+ bytes; more than 900"):
            read(path, size_limit=900, **OWN)


def test_nothing_that_a_ticket_names_is_run(small_store, tmp_path):
    code = tmp_path / "mine.py"
    code.write_text("raise SystemExit('this code was run')")
    record = {"config": {"task": f"{code}:task", "model": f"{code}:build"}}
    content = ticket_image(small_store.checkpoint("imp@2.ticket"), record)
    (tmp_path / "ticket.h5").write_bytes(content)
    (arrival,) = read(tmp_path / "ticket.h5")
    assert arrival.record == record["config"]
    assert json.dumps(arrival.record)
