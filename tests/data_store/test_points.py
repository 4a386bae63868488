"""The parts of a level equal what they are by definition, in runs that were really trained."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import landscape
from landscape.data_store import layout
from landscape.data_store.address import Address
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.level_file import level_image, read_level, read_object
from landscape.data_store.manifest import manifest_bytes
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.points import checkpoint, file_checkpoint
from landscape.data_store.records import Point
from landscape.data_store.ticket_file import ticket_image
from landscape.preparation import Plan, configure, prepare
from landscape.sources import task_named
from tests.support.runs import SMALL

RUNS = ("imp", "random")
LEVELS = (0, 1, 2)
each_level = pytest.mark.parametrize(("run", "level"), [(r, n) for r in RUNS for n in LEVELS])


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module")
def initial():
    """The weights both runs start from, drawn again."""
    config = configure(dict(SMALL))
    task = task_named(config.task, None, config.validation_size)
    return prepare(Plan(config), task, torch.device("cpu")).init


@pytest.fixture(scope="module")
def rewound(tmp_path_factory):
    """A run that rewinds to step 20 instead of the beginning."""
    store = landscape.open(tmp_path_factory.mktemp("rewound") / "store")
    return landscape.train(store=store, name="late", **{**SMALL, "rewind_step": 20, "levels": 2})


def level_of(store, run, level):
    return read_level(layout.level_file(store.root, run, level))


@each_level
def test_final_is_what_the_level_file_holds(small_store, run, level):
    stored = level_of(small_store, run, level)
    final = small_store[run][level]
    assert same(final.theta, stored.points["final"].theta)
    assert not final.theta[~final.mask.kept].view(np.uint32).any()  # +0.0
    assert (final.theta[final.mask.kept] != 0).mean() > 0.9
    np.testing.assert_array_equal(final.mask.kept, stored.mask.kept)


@each_level
def test_init_is_what_the_seed_draws(small_store, initial, run, level):
    assert same(small_store[run][level, "init"].theta, initial.theta)


@each_level
def test_rewind_at_step_0_is_init(small_store, initial, run, level):
    assert same(small_store[run][level, "rewind"].theta, initial.theta)


@each_level
def test_a_ticket_is_the_rewind_point_where_the_mask_keeps_it(small_store, initial, run, level):
    ticket = small_store[run][level, "ticket"]
    kept = level_of(small_store, run, level).mask.kept
    assert same(ticket.theta[kept], initial.theta[kept])
    assert ticket.theta[~kept].tobytes() == bytes(4 * int((~kept).sum()))  # +0.0, never -0.0
    assert kept.all() == (level == 0)


@pytest.mark.parametrize(("run", "level"), [(r, n) for r in RUNS for n in LEVELS[1:]])
def test_a_baseline_is_the_previous_final_on_this_mask(small_store, run, level):
    baseline = small_store[run][level, "baseline"]
    kept = level_of(small_store, run, level).mask.kept
    previous = level_of(small_store, run, level - 1).points["final"].theta
    assert same(baseline.theta[kept], previous[kept])
    assert baseline.theta[~kept].tobytes() == bytes(4 * int((~kept).sum()))
    assert previous[~kept].any()  # something was pruned


@each_level
def test_mask_is_the_final_weights_with_the_levels_mask(small_store, run, level):
    part, final = small_store[run][level, "mask"], small_store[run][level]
    assert same(part.theta, final.theta)
    assert same(part.mask.kept, final.mask.kept)
    assert part.digest == final.digest
    assert part.metrics == final.metrics


def test_a_snapshot_is_where_a_shorter_training_ends(small_store, tmp_path):
    store = landscape.open(tmp_path / "store")
    settings = {**SMALL, "iterations": 40, "levels": 1, "snapshots": ()}
    short = landscape.train(store=store, name="short", **settings)
    assert same(small_store["imp"][0, "step-40"].theta, short[0].theta)
    assert not same(short[0].theta, small_store["imp"][0].theta)


@each_level
def test_a_snapshot_is_under_the_levels_mask(small_store, run, level):
    snapshot = small_store[run][level, "step-40"]
    assert not snapshot.theta[~snapshot.mask.kept].view(np.uint32).any()
    assert not same(snapshot.theta, small_store[run][level].theta)


def test_a_late_rewind_point_is_the_snapshot_of_level_0(rewound, initial):
    rewind = rewound[0, "rewind"].theta
    assert same(rewound[0, "init"].theta, initial.theta)
    assert not same(rewind, initial.theta)
    assert same(rewound[1, "rewind"].theta, rewind)
    kept = rewound[1].mask.kept
    assert same(rewound[1, "ticket"].theta, np.where(kept, rewind, np.float32(0)))
    store = rewound.root.parent / "twenty"
    settings = {**SMALL, "iterations": 20, "levels": 1, "snapshots": ()}
    short = landscape.train(store=landscape.open(store), name="short", **settings)
    assert same(rewind, short[0].theta)


def test_masks_are_nested_and_of_the_density_that_was_asked_for(small_store):
    for run in RUNS:
        masks = [small_store[run][level].mask for level in LEVELS]
        assert masks[1].is_within(masks[0])
        assert masks[2].is_within(masks[1])
        for mask, power in zip(masks, LEVELS, strict=True):
            for name, fraction in zip(mask.prunable, (0.2, 0.1), strict=True):
                share = mask.layer(name).mean()
                assert abs(share - (1 - fraction) ** power) < 2 / len(mask.layer(name))
    imp, random = (small_store[run][2].mask.kept for run in RUNS)
    assert (imp != random).any()


def test_a_point_that_runs_share_is_stored_once(small_store, initial, rewound):
    def objects(root):
        return sorted(path.name for path in layout.objects(root).rglob("*") if path.is_file())

    spec = small_store["imp"][0].spec
    assert objects(small_store.root) == [f"{initial.digest(spec)}.h5"]
    for run in RUNS:
        for level in LEVELS:
            origins = level_of(small_store, run, level).origins
            assert origins == {"init": initial.digest(spec), "rewind": initial.digest(spec)}
    rewind = rewound[0, "rewind"]
    assert objects(rewound.root) == sorted(
        [f"{initial.digest(spec)}.h5", f"{read_object_digest(rewound, rewind)}.h5"]
    )


def read_object_digest(run, ckpt):
    digest = run.level(0).origins["rewind"]
    assert same(read_object(layout.object_file(run.root, digest), digest).theta, ckpt.theta)
    return digest


@each_level
@pytest.mark.parametrize("part", ["final", "init", "rewind", "ticket", "mask", "step-40"])
def test_a_checkpoint_says_where_it_is_from(small_store, run, level, part):
    found = small_store[run][level, part]
    stored = level_of(small_store, run, level)
    suffix = "" if part == "final" else f".{part}"
    assert found.address == f"{run}@{level}{suffix}"
    assert (found.run, found.level, found.part) == (run, level, part)
    assert (found.status, found.home) == ("done", str(small_store.root))
    assert found.spec == stored.mask.spec
    assert same(found.mask.kept, stored.mask.kept)
    is_final = part in ("final", "mask")
    assert found.metrics == (stored.metrics if is_final else {})
    assert (found.trace is not None) == is_final
    again = small_store.checkpoint(found.address)
    assert same(again.theta, found.theta)
    assert again.digest == found.digest


def test_first_last_and_no_level(small_store):
    run = small_store["imp"]
    assert run["first"].address == "imp@0"
    assert run["last", "ticket"].address == "imp@2.ticket"
    assert checkpoint(run, Address("imp")).address == "imp@2"


def test_level_0_has_no_baseline(small_store):
    message = (
        "^imp@0 has no baseline: it is the previous level's final weights on this level's mask, so "
        "it begins at level 1$"
    )
    with pytest.raises(UsageError, match=message):
        small_store["imp"][0, "baseline"]


def test_a_snapshot_that_was_not_kept(small_store, rewound):
    message = r"^imp@1 keeps no step-41; snapshots of this run: step-40 \(train with --snapshots\)$"
    with pytest.raises(UsageError, match=message):
        small_store["imp"][1, "step-41"]
    store = landscape.open(rewound.root.parent / "bare")
    bare = landscape.train(store=store, name="bare", **{**SMALL, "levels": 1, "snapshots": ()})
    with pytest.raises(UsageError, match="bare@0 keeps no step-40; snapshots of this run: none"):
        bare[0, "step-40"]


def test_a_level_file_elsewhere_is_its_final_point(small_store, tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(layout.level_file(small_store.root, "imp", 2).read_bytes())
    found, stored = file_checkpoint(path), small_store["imp"][2]
    assert found.digest == stored.digest
    assert (found.address, found.run, found.home) == (str(path), "", None)


def test_a_ticket_file_elsewhere_is_its_point(small_store, tmp_path):
    ticket = small_store["imp"][2, "ticket"]
    path = tmp_path / "ticket.h5"
    path.write_bytes(ticket_image(ticket, {"run": "imp"}))
    found = file_checkpoint(path)
    assert same(found.theta, ticket.theta)
    assert found.digest == ticket.digest
    assert (found.part, found.home) == ("ticket", None)


def test_a_file_elsewhere_under_a_limit(small_store, tmp_path):
    path = layout.level_file(small_store.root, "imp", 2)
    size = path.stat().st_size
    with pytest.raises(LandscapeError, match=f"more than {size - 1} is refused unless --max-size"):
        file_checkpoint(path, limit=size - 1)
    ticket = tmp_path / "ticket.h5"
    ticket.write_bytes(ticket_image(small_store["imp"][2], {}))
    with pytest.raises(LandscapeError, match="more than 3000 is refused unless --max-size"):
        file_checkpoint(ticket, limit=3000)


def test_an_object_is_no_checkpoint(small_store, tmp_path):
    digest = level_of(small_store, "imp", 0).origins["init"]
    path = layout.object_file(small_store.root, digest)
    with pytest.raises(DamagedFile, match="is a landscape-object file; expected landscape-level"):
        file_checkpoint(path)


@pytest.fixture
def forged(small_store, tmp_path):
    """A copy of the store whose manifests do not say which network is theirs."""
    root = tmp_path / "forged"
    shutil.copytree(small_store.root, root)
    path = layout.run_manifest(root, "imp")
    record = json.loads(path.read_text())
    kept = {k: record[k] for k in ("name", "config", "provenance")}
    path.write_bytes(manifest_bytes(layout.RUN_FORMAT, layout.RUN_VERSION, kept))
    return landscape.open(root)


def test_levels_of_different_networks_have_no_baseline(forged):
    level = replace(level_of(forged, "imp", 1), run="")
    layout.level_file(forged.root, "imp", 1).write_bytes(level_image(level))
    spec = ParamSpec(("w",), ((2, 3),))
    points = {"final": Point(np.zeros(6, np.float32))}
    other = replace(level, number=0, run="", mask=Mask.dense(spec, ("w",)), points=points)
    layout.level_file(forged.root, "imp", 0).write_bytes(level_image(other))
    with pytest.raises(
        DamagedFile, match="levels 0 and 1 of run 'imp' hold different networks: 'w'"
    ):
        forged["imp"][1, "baseline"]


def test_a_beginning_of_another_network_is_refused(forged):
    level = level_of(forged, "imp", 1)
    spec, point = ParamSpec(("w",), ((2, 3),)), Point(np.zeros(6, np.float32))
    digest = point.digest(spec)
    forged["imp"].save_point(digest, spec, point)
    changed = replace(level, run="", origins={"init": digest, "rewind": digest})
    layout.level_file(forged.root, "imp", 1).write_bytes(level_image(changed))
    for part in ("rewind", "ticket", "init"):
        with pytest.raises(DamagedFile, match=r"^imp@1 begins from a point of 6 weights, but has "):
            forged["imp"][1, part]


def test_the_same_training_gives_the_same_bytes(small_store, tmp_path):
    newest = max(p.stat().st_mtime for p in layout.run_folder(small_store.root, "imp").iterdir())
    time.sleep(max(0.0, int(newest) + 1 - time.time()))  # a second in which a time would differ
    store = landscape.open(tmp_path / "store")
    landscape.train(store=store, name="twin", **SMALL)
    for level in LEVELS:
        mine = layout.level_file(small_store.root, "imp", level).read_bytes()
        assert layout.level_file(store.root, "twin", level).read_bytes() == mine
    for path in layout.objects(store.root).rglob("*.h5"):
        twin = layout.objects(small_store.root) / path.relative_to(layout.objects(store.root))
        assert twin.read_bytes() == path.read_bytes()
    assert not layout.resume_file(store.root, "twin").exists()
