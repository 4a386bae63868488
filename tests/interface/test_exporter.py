"""Exporting: what leaves the store is what was asked for, and nothing else is touched."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

import landscape
from landscape.cli import run
from landscape.data_store import layout
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.foreign import read_state
from landscape.data_store.foreign_out import read_embedded, restored
from landscape.data_store.records import Checkpoint
from landscape.data_store.results import record_of, result_id
from landscape.data_store.store import Store
from landscape.data_store.ticket_file import read_ticket
from landscape.exporter import export
from landscape.training.models import mlp

Call = Callable[..., tuple[int, str, str]]
SUFFIXES = (".h5", ".safetensors", ".pt", ".pth")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], small_store: Store) -> Call:
    """Run ``landscape export`` on the small store: exit code, standard output and error."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["export", *map(str, arguments), "--store", str(small_store.root)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


@pytest.fixture(scope="module")
def result(small_store: Store) -> str:
    """The id of a stored barrier."""
    ds = landscape.barrier("imp@0", "imp@1", store=small_store, points=5)
    return result_id(record_of(ds))


def read_back(path: Path) -> tuple[Checkpoint, dict[str, object]]:
    """The checkpoint and the record in an exported file."""
    if path.suffix == ".h5":
        return read_ticket(path)
    embedded = read_embedded(path)
    assert embedded is not None
    return restored(path, read_state(path), embedded), embedded["record"]


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", ["", "final", "rewind", "baseline", "mask", "step-40"])
def test_every_part_comes_back_bit_for_bit(
    suffix: str, part: str, small_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    facts = export(small_store, f"imp@2.{part}".rstrip("."), path)
    want = small_store["imp"][2, part or "ticket"]
    got, record = read_back(path)
    assert got.theta.tobytes() == want.theta.tobytes()
    np.testing.assert_array_equal(got.mask.kept, want.mask.kept)
    assert got.digest == want.digest == facts["digest"] == record["digest"]
    assert (got.level, got.part, got.density) == (2, want.part, want.density)
    np.testing.assert_equal(dict(got.metrics), dict(want.metrics))


def test_an_address_alone_is_the_ticket(small_store: Store, tmp_path: Path) -> None:
    for what, part in (("imp@1", "ticket"), ("imp@last", "ticket"), ("imp@last.final", "final")):
        export(small_store, what, tmp_path / "a.h5", force=True)
        assert read_ticket(tmp_path / "a.h5")[0].part == part


def test_the_record_says_where_it_came_from(small_store: Store, tmp_path: Path) -> None:
    run_, path = small_store["imp"], tmp_path / "a.h5"
    export(small_store, "imp@2", path)
    _, record = read_ticket(path)
    assert (record["address"], record["run"], record["level"]) == ("imp@2.ticket", "imp", 2)
    assert (record["task"], record["model"]) == ("digits", "mlp:64-20-10")
    assert record["config"] == run_.description["config"]
    assert record["rewind_step"] == run_.config.rewind_step
    assert record["data"] == run_.description["data"]
    assert record["provenance"] == run_.description["provenance"]
    assert record["written_by"] == version("landscape-workbench")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_export_has_the_same_bytes(
    suffix: str, small_store: Store, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        export(small_store, "imp@1", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_network_loads_what_was_exported(call: Call, small_store: Store, tmp_path: Path) -> None:
    want = small_store["imp"][2, "ticket"]
    for name, load in (("a.pt", torch.load), ("a.safetensors", load_file)):
        code, out, err = call("imp@2", tmp_path / name)
        assert (code, err) == (0, "")
        assert re.match(rf"wrote imp@2\.ticket to .*{name} \(\d+\.\d kB, density 66\.28 %\)", out)
        assert f"read it with: landscape import {tmp_path / name} --name NAME" in out
        assert ("weights_only=True" in out) == (name == "a.pt")
        module = mlp([64, 20, 10])
        module.load_state_dict(load(tmp_path / name))
        state = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
        assert want.spec.flatten(state).tobytes() == want.theta.tobytes()


def test_json(call: Call, small_store: Store, tmp_path: Path) -> None:
    code, out, _ = call("imp@1", tmp_path / "a.pt", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["bytes"] == (tmp_path / "a.pt").stat().st_size
    assert facts["density"] == small_store["imp"][1].density
    assert facts["address"] == "imp@1.ticket"


def test_an_existing_file_needs_force(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"mine")
    code, out, err = call("imp@1", path)
    assert (code, out) == (2, "")
    assert err == f"Error: {path} exists; give --force to replace it, or another name\n"
    assert path.read_bytes() == b"mine"
    assert call("imp@1", path, "--force")[0] == 0
    assert read_ticket(path)[0].level == 1
    assert names(tmp_path) == ["a.h5"]


def test_a_file_that_appears_meanwhile_is_kept(
    small_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    lexists = os.path.lexists

    def other_writer(place: Path) -> bool:
        answer = lexists(place)
        path.write_bytes(b"mine")
        return answer

    monkeypatch.setattr("landscape.exporter.os.path.lexists", other_writer)
    with pytest.raises(UsageError, match=r"a\.h5 exists; give --force"):
        export(small_store, "imp@1", path)
    assert path.read_bytes() == b"mine"


def test_a_barrier_for_the_plot_scripts(
    call: Call, result: str, small_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "a b.h5"
    code, out, err = call(result[:8], path)
    assert (code, err) == (0, "")
    assert f"wrote barrier {result[:8]} of imp@0 imp@1 to {path}" in out
    assert f"read it with: python plot_1D.py --surf_file '{path}'" in out
    ds = landscape.barrier("imp@0", "imp@1", store=small_store, points=5)
    with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        np.testing.assert_array_equal(file["xcoordinates"], ds["alpha"])
        for split in ("train", "test"):
            want = ds.sel(split=split).isel(pair=0)
            np.testing.assert_array_equal(file[f"{split}_loss"], want["loss"])
            np.testing.assert_allclose(file[f"{split}_acc"], 100 * (1 - want["error"]))
        assert json.loads(file.attrs["record"])["kind"] == "barrier"
    assert call(result, tmp_path / "b.h5", "--pair", "imp@0 imp@1", "--json")[0] == 0


def as_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every result be a surface over a square grid."""
    loss = np.arange(9.0).reshape(1, 3, 3)
    coords = {"split": ["test"], "x": [0, 1, 2], "y": [0, 1, 2]}
    ds = xr.Dataset({"loss": (("split", "x", "y"), loss)}, coords)
    monkeypatch.setattr("landscape.data_store.results.load_result", lambda *_, **__: ds)


def test_a_plane_for_landscaper_and_the_plot_scripts(
    result: str, small_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_plane(monkeypatch)
    facts = export(small_store, result, tmp_path / "a.npz")
    assert facts["read_with"] == (
        f"landscaper.LossLandscape.load_from_npz({str(tmp_path / 'a.npz')!r})"
    )
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["loss"], np.arange(9.0).reshape(3, 3).T)
    facts = export(small_store, result, tmp_path / "a.h5")
    assert facts["points"] == [3, 3]
    assert facts["read_with"].endswith("--surf_name test_loss")


@pytest.mark.parametrize(
    ("what", "file", "says"),
    [
        ("imp", "a.h5", "'imp' names a whole run; add a level, as in imp@last"),
        ("imp@9", "a.h5", "run 'imp' has no level 9; finished: 0 to 2"),
        ("ipm@1", "a.h5", "unknown run 'ipm'; did you mean 'imp'"),
        ("imp@1.fnal", "a.h5", "'fnal' in 'imp@1.fnal' is no part"),
        ("imp@0.baseline", "a.h5", "imp@0 has no baseline"),
        ("imp@x", "a.h5", "'x' in 'imp@x' is no level"),
        ("../imp@1", "a.h5", "is no name for a run"),
        ("imp@1", "a.onnx", r"one of \.h5, \.safetensors, \.pt, \.pth$"),
        ("imp@1", "a", r"one of \.h5, \.safetensors, \.pt, \.pth$"),
        ("imp@1", "a.npz", r"one of \.h5, \.safetensors, \.pt, \.pth$"),
        ("RESULT", "a.pt", r"cannot export a result as .*a\.pt'; .* one of \.h5, \.npz$"),
        ("ffffffff", "a.h5", "no result's id begins with 'ffffffff', and no run is called so"),
        ("imp@1", "folder.h5", r"folder\.h5 is a folder; give the name of a file"),
    ],
)
def test_wrong_questions_are_one_sentence_and_write_nothing(
    what: str, file: str, says: str, call: Call, result: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.h5").mkdir()
    code, out, err = call(what.replace("RESULT", result), tmp_path / file, "--force")
    assert (code, out) == (2, "")
    assert re.search(says, err.strip())
    assert err.count("\n") == 1
    assert names(tmp_path) == ["folder.h5"]


def test_what_a_format_cannot_hold_fails(call: Call, result: str, tmp_path: Path) -> None:
    code, _, err = call(result, tmp_path / "a.npz")
    assert code == 1
    assert "Landscaper reads surfaces over two axes" in err
    assert names(tmp_path) == []


def test_a_pair_of_a_checkpoint_is_a_wrong_question(call: Call, tmp_path: Path) -> None:
    code, _, err = call("imp@1", tmp_path / "a.h5", "--pair", "x")
    assert code == 2
    assert "--pair chooses a surface of a result, and 'imp@1' is none" in err


def test_an_ambiguous_id_is_a_wrong_question(
    small_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": "abcd" + end * 36, "path": "", "kind": "barrier"} for end in "12"]
    monkeypatch.setattr("landscape.exporter.Catalog.rows", lambda *_: rows)
    with pytest.raises(UsageError, match="'abcd' begins 2 results; give more of the id"):
        export(small_store, "abcd", tmp_path / "a.h5")


def test_the_store_is_never_written_into(small_store: Store, tmp_path: Path) -> None:
    inside = layout.level_file(small_store.root, "imp", 1)
    before = inside.read_bytes()
    (tmp_path / "link").symlink_to(small_store.root)
    for path in (inside, tmp_path / "link" / "a.h5", small_store.root / "new" / "a.h5"):
        with pytest.raises(UsageError, match="lies in the store"):
            export(small_store, "imp@1", path, force=True)
    assert inside.read_bytes() == before
    with pytest.raises(UsageError, match="is no place for a file"):
        export(small_store, "imp@1", tmp_path / "\0" / "a.h5")


def test_a_place_that_cannot_be_written_is_one_sentence(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, _, err = call("imp@1", tmp_path / "file" / "a.h5")
    assert code == 1
    assert "could not write" in err
    assert err.count("\n") == 1


def test_a_damaged_level_is_not_exported(tmp_path: Path) -> None:
    store = landscape.open(tmp_path / "store")
    landscape.train(
        store=store, name="r", task="digits", model="mlp:64-4-10", levels=1, iterations=3
    )
    level = layout.level_file(store.root, "r", 0)
    level.write_bytes(level.read_bytes()[:-1])
    with pytest.raises(LandscapeError, match=r"level_0000\.h5 is damaged"):
        export(store, "r@0", tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
