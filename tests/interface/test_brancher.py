"""Branches: where they begin, bit by bit; how they are gone on with; what is refused."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import landscape
import landscape.trainer
from landscape.brancher import branch, branch_config
from landscape.data_store import layout, verify
from landscape.data_store.errors import DamagedFile, LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.data_store.store import Run, Store, open_store
from landscape.trainer import train
from landscape.training.imp import Finished
from landscape.training.loop import LevelTraining, Tick
from landscape.training.retrain import Start
from tests.support import children
from tests.support.experiments import bits, point_bits
from tests.support.trained import SETTINGS, Stop, files, leftovers, stop_at

PARENT = SETTINGS | {"snapshots": (10,)}
RETRAIN = ["rewind", "lr-rewind", "finetune", "continue", "reinit", "reinit-survivors"]
LAYERS = ("fc1.weight", "fc2.weight")
SIZES = (768, 120)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the run ``imp``; a test works on a copy."""
    store = open_store(tmp_path_factory.mktemp("parent") / "store")
    train(store=store, name="imp", **PARENT)
    return store


@pytest.fixture
def store(trained: Store, tmp_path: Path) -> Store:
    """A store of this test with the run ``imp``."""
    shutil.copytree(trained.root, tmp_path / "store")
    return open_store(tmp_path / "store", create=False)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Start, Mask]]:
    """What every level that is trained starts from, as the training loop gets it."""
    seen: list[tuple[Start, Mask]] = []
    original = LevelTraining.__init__

    def watched(
        self: LevelTraining, network: Any, task: Any, config: Any, mask: Mask, start: Start,
        level: int,
    ) -> None:  # fmt: skip
        original(self, network, task, config, mask, start, level)
        seen.append((Start(network.point(), start.step, start.rate), mask))

    monkeypatch.setattr(LevelTraining, "__init__", watched)
    return seen


def masked(point: Point, mask: Mask) -> list[Any]:
    """Bits of a point under a mask."""
    return point_bits(Point(mask.apply(point.theta), point.buffers))


def counts(mask: Mask) -> tuple[int, ...]:
    """Kept weights of each prunable tensor."""
    return tuple(int(mask.layer(name).sum()) for name in mask.prunable)


def everything(root: Path) -> dict[str, bytes]:
    """Content of all files of a run's folder."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def problems(store: Store) -> list[str]:
    """What verify finds wrong."""
    return [str(found) for found in verify.check(store, verify.files(store)) if found.is_wrong]


def test_the_preserved_mask_is_the_levels(store: Store) -> None:
    run = branch("imp@2", store=store, name="b")
    assert run.levels == [0]
    assert bits(run.level(0).mask.kept) == bits(store["imp"].level(2).mask.kept)
    assert run.level(0).mask.prunable == LAYERS


def test_permuted_masks_keep_the_counts(store: Store) -> None:
    parent = store["imp"].level(2).mask
    layers = branch("imp@2", store=store, name="layers", mask="permuted-layers").level(0).mask
    total = branch("imp@2", store=store, name="total", mask="permuted").level(0).mask
    assert counts(layers) == counts(parent)
    assert total.kept_size == parent.kept_size
    for mask in (layers, total):
        assert (mask.kept != parent.kept).any()
    reseeded = branch("imp@2", store=store, name="other", mask="permuted", seed=1).level(0).mask
    assert (reseeded.kept != total.kept).any()


def test_random_tickets_of_two_levels_are_drawn_apart(store: Store) -> None:
    one, two = (
        branch(f"imp@{n}", store=store, name=f"b{n}", mask="permuted-layers").level(0).mask
        for n in (1, 2)
    )
    assert not two.is_within(one)


def test_the_dense_mask_keeps_everything(store: Store) -> None:
    assert branch("imp@2", store=store, name="b", mask="dense").level(0).mask.density == 1.0


@pytest.mark.parametrize("density", [0.5, 0.137, 0.03])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_pruned_mask_has_the_largest_final_weights(
    store: Store, scope: str, density: float
) -> None:
    given = {"mask": "pruned", "mask_density": density, "scope": scope}
    mask = branch("imp@0", store=store, name="b", **given).level(0).mask
    final = np.abs(store["imp"].level(0).points["final"].theta)
    groups = [np.flatnonzero(mask.covered)]
    if scope == "layer":
        places = [mask.spec.slices[name] for name in LAYERS]
        groups = [np.arange(place.start, place.stop) for place in places]
    for group in groups:
        wanted = round(density * len(group))
        best = sorted(group, key=lambda i: (final[i], i))[len(group) - wanted :]
        assert set(np.flatnonzero(mask.kept)) & set(group) == set(best)


def test_a_pruned_mask_of_a_sparse_level_is_inside_it(store: Store) -> None:
    run = branch("imp@2", store=store, name="b", mask="pruned", mask_density=0.25)
    assert counts(run.level(0).mask) == (192, 30)
    assert run.level(0).mask.is_within(store["imp"].level(2).mask)


def test_more_levels_go_on_pruning(store: Store, starts: list[tuple[Start, Mask]]) -> None:
    run = branch("imp@1", store=store, name="b", levels=3)
    masks = [run.level(number).mask for number in run.levels]
    kept = [counts(store["imp"].level(1).mask)]
    for _ in range(2):
        fc, output = kept[-1]
        kept.append((fc - round(0.2 * fc), output - round(0.1 * output)))
    assert [counts(mask) for mask in masks] == kept
    rewind = store["imp"].point(store["imp"].level(0).origins["rewind"])
    for level, (start, mask) in enumerate(starts):
        assert bits(mask.kept) == bits(masks[level].kept)
        assert point_bits(start.point) == masked(rewind, mask)
        assert level == 0 or masks[level].is_within(masks[level - 1])
    assert problems(store) == []


def parents_points(store: Store) -> dict[str, Point]:
    """Points that a branch of ``imp@2`` may start from."""
    run, level = store["imp"], store["imp"].level(2)
    return {
        "init": run.point(level.origins["init"]),
        "rewind": run.point(level.origins["rewind"]),
        "snapshot": run.level(0).points["step-10"],
        "final": level.points["final"],
    }


@pytest.mark.parametrize("mask", ["preserved", "permuted", "dense"])
@pytest.mark.parametrize(
    ("changes", "expected", "step", "rate"),
    [
        ({}, "rewind", 4, None),
        ({"rewind_step": 0}, "init", 0, None),
        ({"rewind_step": 10}, "snapshot", 10, None),
        ({"rewind_epoch": 0}, "init", 0, None),
        ({"retrain": "finetune"}, "final", 4, 1.2e-3),
        ({"retrain": "finetune", "lr": 0.5}, "final", 4, 0.5),
        ({"retrain": "lr-rewind"}, "final", 4, None),
        ({"retrain": "lr-rewind", "rewind_step": 0}, "final", 0, None),
        ({"retrain": "continue"}, "final", 0, None),
    ],
)
def test_level_0_starts_from_the_parents_weights(
    store: Store,
    starts: list[tuple[Start, Mask]],
    mask: str,
    changes: dict[str, Any],
    expected: str,
    step: int,
    rate: float | None,
) -> None:
    run = branch("imp@2", store=store, name="b", mask=mask, **changes)
    [(start, own)] = starts
    assert point_bits(start.point) == masked(parents_points(store)[expected], own)
    assert bits(run[0, "ticket"].theta) == bits(start.point.theta)
    assert (start.step, start.rate) == (step, rate)
    assert problems(store) == []


def test_continued_training_resets_at_the_last_of_several_levels(
    store: Store, starts: list[tuple[Start, Mask]]
) -> None:
    run = branch("imp@1", store=store, name="b", retrain="continue", levels=3)
    rewind = store["imp"].point(store["imp"].level(0).origins["rewind"])
    finals = [store["imp"].level(1).points["final"], run.level(0).points["final"], rewind]
    assert [point_bits(s.point) for s, _ in starts] == [
        masked(point, mask) for point, (_, mask) in zip(finals, starts, strict=True)
    ]
    assert [start.step for start, _ in starts] == [0, 0, 4]


@pytest.mark.parametrize("retrain", ["lr-rewind", "finetune"])
def test_a_schedule_alone_is_rewound_to_any_step(
    store: Store, starts: list[tuple[Start, Mask]], retrain: str
) -> None:
    run = branch("imp@1", store=store, name="b", retrain=retrain, rewind_step=7, levels=2)
    final = store["imp"].level(1).points["final"]
    assert [start.step for start, _ in starts] == [7, 7]
    assert point_bits(starts[0][0].point) == masked(final, starts[0][1])
    for level in run.levels:  # what the branch has at step 7 is what it enters the schedule with
        assert bits(run[level, "rewind"].theta) == bits(final.theta)
    assert problems(store) == []
    branch("imp@1", store=store, name="b", retrain=retrain, rewind_step=7, levels=2)
    with pytest.raises(UsageError, match="keeps no weights of step 7 to rewind to"):
        branch("imp@1", store=store, name="c", retrain="continue", rewind_step=7, levels=2)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("retrain", RETRAIN)
def test_a_ticket_is_what_its_level_was_trained_from(
    store: Store, starts: list[tuple[Start, Mask]], tmp_path: Path, retrain: str, noise: float
) -> None:
    settings = {**SETTINGS, "retrain": retrain, "init_noise": noise, "rewind_step": 0}
    runs = [train(store=store, name="run", **settings)]
    runs.append(branch("run@1", store=store, name="b", levels=2, mask="permuted"))
    addresses = [(run, level) for run in runs for level in run.levels]
    for (run, level), (start, mask) in zip(addresses, starts, strict=True):
        ticket = run[level, "ticket"]
        assert bits(ticket.theta) == bits(start.point.theta)
        assert bits(ticket.mask.kept) == bits(mask.kept)
        if level and retrain in ("lr-rewind", "finetune") and not noise:
            assert bits(ticket.theta) == bits(run[level, "baseline"].theta)
    landscape.export("b@1", tmp_path / "ticket.h5", store=store)
    imported = landscape.import_run(tmp_path / "ticket.h5", name="mailed", store=store)
    assert bits(imported[0, "ticket"].theta) == bits(starts[-1][0].point.theta)
    assert problems(store) == []


def test_fresh_weights_are_nobody_elses(store: Store, starts: list[tuple[Start, Mask]]) -> None:
    branch("imp@2", store=store, name="a", retrain="reinit")
    branch("imp@1", store=store, name="b", retrain="reinit")
    branch("imp@2", store=store, name="c", retrain="reinit", seed=1)
    parents = parents_points(store)
    kept = starts[0][1].kept & starts[0][1].covered
    for start, _ in starts:
        assert start.step == 0
        for point in parents.values():
            assert not (start.point.theta[kept] == point.theta[kept]).any()
    (first, mask), (same, _), (other, _) = starts
    assert masked(same.point, mask) == point_bits(first.point)  # one seed, one draw
    assert not (other.point.theta[kept] == first.point.theta[kept]).any()


def test_survivors_weights_are_drawn_from_the_parents_init(
    store: Store, starts: list[tuple[Start, Mask]]
) -> None:
    branch("imp@2", store=store, name="b", retrain="reinit-survivors")
    [(start, mask)] = starts
    init = parents_points(store)["init"].theta
    for name in LAYERS:
        own, kept = mask.spec.slices[name], mask.layer(name)
        assert set(start.point.theta[own][kept]) <= set(init[own][kept])


def test_the_parts_of_a_branch_are_there(store: Store) -> None:
    run = branch("imp@2", store=store, name="b", mask="permuted", levels=2, snapshots=(20,))
    parents = parents_points(store)
    for level in (0, 1):
        mask = run.level(level).mask
        assert bits(run[level, "init"].theta) == bits(parents["init"].theta)
        assert bits(run[level, "rewind"].theta) == bits(parents["rewind"].theta)
        assert bits(run[level, "ticket"].theta) == bits(mask.apply(parents["rewind"].theta))
        assert bits(run[level, "mask"].mask.kept) == bits(mask.kept)
        assert run[level, "step-20"].part == "step-20"
    final = run.level(0).points["final"].theta
    assert bits(run[1, "baseline"].theta) == bits(run.level(1).mask.apply(final))
    with pytest.raises(UsageError, match="b@0 has no baseline"):
        run[0, "baseline"]


def test_copies_of_other_noise_share_all_but_the_data_order(
    store: Store, starts: list[tuple[Start, Mask]]
) -> None:
    runs = [branch("imp@2", store=store, name=f"noise-{n}", order_seed=n) for n in (1, 2)]
    (a, mask_a), (b, mask_b) = starts
    assert point_bits(a.point) == point_bits(b.point)
    assert bits(mask_a.kept) == bits(mask_b.kept)
    assert runs[0].level(0).origins == runs[1].level(0).origins
    finals = [run.level(0).points["final"].theta for run in runs]
    assert (finals[0] != finals[1]).any()
    first = [run.level(0).trace.column("validation_loss") for run in runs]
    assert first[0][0] == first[1][0]
    assert first[0][-1] != first[1][-1]


def test_a_branch_of_a_branch(store: Store, starts: list[tuple[Start, Mask]]) -> None:
    branch("imp@1", store=store, name="b", levels=2)
    run = branch("b@1", store=store, name="c", mask="permuted-layers", retrain="finetune")
    assert run.description["branch"]["parent"] == "b@1"
    start, mask = starts[-1]
    assert counts(mask) == counts(store["b"].level(1).mask)
    assert point_bits(start.point) == masked(store["b"].level(1).points["final"], mask)
    assert run.level(0).origins == store["imp"].level(0).origins
    assert problems(store) == []


def test_the_level_may_be_the_last_and_the_name_short(store: Store) -> None:
    run = branch("im@last", store=store, name="b")
    assert run.description["branch"]["parent"] == "imp@2"


def test_settings_are_the_parents_but_for_those_given(store: Store) -> None:
    own = store["imp"].config
    assert branch_config(store, "imp@1", {}) == RunConfig(
        **{**SETTINGS, "levels": 1, "eval_every": own.eval_every}
    )
    config = branch_config(
        store, "imp@1", {"lr": 0.5, "levels": 4, "mask": "permuted", "seed": None}
    )
    assert (config.lr, config.levels, config.seed) == (0.5, 4, 0)
    assert branch_config(store, "imp@1", {"rewind_epoch": 1}).rewind_step == 0


def test_the_parents_milestones_are_not_taken_over_under_a_cosine(store: Store) -> None:
    train(store=store, name="stepped", **SETTINGS | {"levels": 1, "lr_milestones": (20,)})
    assert branch_config(store, "stepped@0", {}).lr_milestones == (20,)
    config = branch_config(store, "stepped@0", {"lr_schedule": "cosine"})
    assert (config.lr_schedule, config.lr_milestones) == ("cosine", ())
    message = r"^lr_milestones is \(9,\), but a cosine has no milestones; leave them out, or give "
    with pytest.raises(UsageError, match=message):
        branch_config(store, "stepped@0", {"lr_schedule": "cosine", "lr_milestones": [9]})


def test_how_the_parents_density_falls_is_not_taken_over(store: Store) -> None:
    train(store=store, name="shot", **SETTINGS | {
        "levels": 2, "densities": "one-shot", "density": 0.2, "nested": False})  # fmt: skip
    config = branch_config(store, "shot@1", {})
    assert (config.densities, config.density, config.nested) == ("rate", None, True)
    assert branch("shot@1", store=store, name="b", levels=2).levels == [0, 1]


def test_the_manifest_says_where_it_began(store: Store) -> None:
    run = branch("imp@2", store=store, name="b", mask="pruned", mask_density=0.1)
    assert run.description["branch"] == {
        "parent": "imp@2", "digest": store["imp"][2].digest, "mask": "pruned",
        "mask_density": 0.1, "transfer": False,
    }  # fmt: skip
    assert store.runs().set_index("run")["parent"].to_dict() == {"imp": "", "b": "imp@2"}


def test_the_public_function_is_this_one(store: Store) -> None:
    run = landscape.branch(store["imp"][2], name="b", store=store, mask="permuted")
    twin = branch("imp@2", store=store, name="twin", mask="permuted")
    assert files(run)["level_0000.h5"] == files(twin)["level_0000.h5"]


def test_the_parent_is_never_changed(store: Store) -> None:
    before = everything(layout.run_folder(store.root, "imp"))
    branch("imp@2", store=store, name="b", mask="permuted", retrain="finetune", levels=2)
    assert everything(layout.run_folder(store.root, "imp")) == before


GIVEN: dict[str, Any] = {"mask": "permuted", "levels": 3, "retrain": "lr-rewind"}


@pytest.mark.parametrize(("level", "step"), [(0, 4), (0, 20), (1, 10), (2, 40)])
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch, level: int, step: int
) -> None:
    monkeypatch.setattr("landscape.trainer.RESUME_SECONDS", 0.0)
    whole = branch("imp@1", store=store, name="whole", **GIVEN)
    with pytest.raises(Stop):
        branch("imp@1", store=store, name="b", listener=stop_at(level, step), **GIVEN)
    run = branch("imp@1", store=store, name="b", **GIVEN)
    assert files(run) == files(whole)
    assert leftovers(run) - {".lock"} == {"run.json", "log.jsonl"}


def test_killed_in_the_middle_it_ends_with_the_same_bytes(store: Store) -> None:
    def strike(event: Tick | Finished) -> None:
        if isinstance(event, Tick) and (event.level, event.step) == (1, 20):
            os.kill(os.getpid(), signal.SIGKILL)

    def job(_tell: Any) -> None:
        landscape.trainer.RESUME_SECONDS = 0.0
        branch("imp@1", store=store, name="b", listener=strike, **GIVEN)

    ended = children.run(job)
    assert ended.killed, ended.trace
    assert Run(store.root, "b").levels == [0]
    run = branch("imp@1", store=store, name="b", **GIVEN)
    assert files(run) == files(branch("imp@1", store=store, name="whole", **GIVEN))


def test_levels_may_grow(store: Store) -> None:
    branch("imp@1", store=store, name="b")
    run = branch("imp@1", store=store, name="b", levels=3)
    assert files(run) == files(branch("imp@1", store=store, name="whole", levels=3))


@pytest.mark.parametrize("part", ["init", "rewind"])
def test_a_lost_origin_is_made_again(store: Store, part: str) -> None:
    run = branch("imp@2", store=store, name="b", levels=2)
    before = files(run)
    layout.object_file(store.root, run.level(0).origins[part]).unlink()
    if part == "init":
        with pytest.raises(LandscapeError, match=r"is missing|cannot read|there is no"):
            branch("imp@2", store=store, name="b", levels=2)
        train(store=store, name="imp", **PARENT)  # the parent's command makes it again
    else:
        train(store=store, name="imp", **PARENT)
    assert files(branch("imp@2", store=store, name="b", levels=2)) == before


def test_a_damaged_level_is_made_again(store: Store) -> None:
    run = branch("imp@2", store=store, name="b", levels=2)
    before = files(run)
    path = layout.level_file(store.root, "b", 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"level_0000\.h5 .* and made again"):
        branch("imp@2", store=store, name="b", levels=2)
    assert files(run) == before


def test_without_its_parents_level_it_is_not_gone_on_with(store: Store) -> None:
    whole = branch("imp@2", store=store, name="whole", levels=2)
    branch("imp@2", store=store, name="b")
    path = layout.level_file(store.root, "imp", 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFile, match=r"runs/imp/level_0002\.h5"):
        branch("imp@2", store=store, name="b", levels=2)
    path.unlink()
    with pytest.raises(UsageError, match="run 'imp' has no level 2; finished: 0 to 1"):
        branch("imp@2", store=store, name="b", levels=2)
    shutil.rmtree(path.parent)
    with pytest.raises(UsageError, match="unknown run 'imp'"):
        branch("imp@2", store=store, name="b", levels=2)
    assert store["b"].levels == [0]
    assert store["b"][0, "ticket"].density < 1  # what is stored of it needs no parent
    assert problems(store) == []
    train(store=store, name="imp", **PARENT)
    assert files(branch("imp@2", store=store, name="b", levels=2)) == files(whole)


@pytest.mark.parametrize(
    ("parent", "changes", "message"),
    [
        ("imp@2", {"lr": 0.5}, r"run 'b' exists with lr = 0\.0012, not 0\.5"),
        ("imp@2", {"retrain": "finetune"}, "run 'b' exists with retrain = rewind, not finetune"),
        ("imp@2", {"mask": "preserved"}, r"began at imp@2 \(\w{12}\) with the mask permuted, not "
         r"at imp@2 \(\w{12}\) with the mask preserved; repeat the command that made it"),
        ("imp@1", {}, r"began at imp@2 \(\w{12}\) with the mask permuted, not at imp@1"),
        ("twin@2", {}, r"began at imp@2 \(\w{12}\) with the mask permuted, not at twin@2"),
        ("imp@2", {"mask": "pruned", "mask_density": 0.1}, r"the mask pruned to density 0\.1"),
    ],
)  # fmt: skip
def test_another_branch_of_its_name_is_refused(
    store: Store, parent: str, changes: dict[str, Any], message: str
) -> None:
    shutil.copytree(layout.run_folder(store.root, "imp"), store.root / "aside")
    train(store=store, name="twin", **PARENT)
    run = branch("imp@2", store=store, name="b", mask="permuted")
    before = everything(store.root)
    with pytest.raises(UsageError, match=message):
        branch(parent, store=store, name="b", **{"mask": "permuted", **changes})
    assert everything(store.root) == before
    assert run.levels == [0]


def test_a_parent_that_was_trained_again_otherwise_is_refused(store: Store) -> None:
    branch("imp@2", store=store, name="b")
    shutil.rmtree(layout.run_folder(store.root, "imp"))
    train(store=store, name="imp", **PARENT | {"weight_decay": 0.01})
    # settings first: the branch would inherit the other decay
    with pytest.raises(UsageError, match="run 'b' exists with weight_decay"):
        branch("imp@2", store=store, name="b")
    with pytest.raises(UsageError, match=r"began at imp@2 \((\w{12})\).*, not at imp@2 \((?!\1)"):
        branch("imp@2", store=store, name="b", weight_decay=0.0)


def test_train_does_not_go_on_with_a_branch(store: Store) -> None:
    run = branch("imp@2", store=store, name="b")
    message = r"^run 'b' exists and began at imp@2 \(.*\) with the mask preserved, not at a dense"
    with pytest.raises(UsageError, match=message):
        train(store=store, name="b", **SETTINGS | {"levels": 1})
    assert run.levels == [0]


def test_a_branch_does_not_go_on_with_a_dense_run(store: Store) -> None:
    other = train(store=store, name="other", **SETTINGS | {"levels": 1})
    with pytest.raises(UsageError, match="run 'other' exists and began at a dense network, not at"):
        branch("imp@2", store=store, name="other")
    assert other.levels == [0]


@pytest.mark.parametrize("parent", ["imp@2", "im@2", "imp@last"])
def test_a_branch_is_not_its_parent(store: Store, parent: str) -> None:
    with pytest.raises(UsageError, match="'imp' is the run it begins at; give the branch another"):
        branch(parent, store=store, name="imp")


@pytest.mark.parametrize(
    ("parent", "changes", "message"),
    [
        ("imp", {}, "'imp' names no level; give one, as in imp@3"),
        ("imp@2.ticket", {}, r"'imp@2\.ticket' names no level"),
        ("imp@7", {}, "run 'imp' has no level 7; finished: 0 to 2"),
        ("nobody@1", {}, "unknown run 'nobody'"),
        ("imp@2", {"mask": "permutd"}, r"unknown mask 'permutd'; did you mean 'permuted'\?"),
        ("imp@2", {"mask": "pruned"}, "mask is pruned and mask_density is None"),
        ("imp@2", {"mask_density": 0.5}, r"mask is preserved and mask_density is 0\.5"),
        ("imp@2", {"mask": "pruned", "mask_density": 1.5}, r"mask_density is 1\.5; it must be at "),
        ("imp@2", {"mask": "pruned", "mask_density": 0.0}, "mask_density is 0.0; it must be above"),
        ("imp@2", {"mask": "pruned", "mask_density": 0.7},
         r"^mask_density 0\.7 keeps 538 weights of fc1\.weight, but of imp@2 only 491 are left"),
        ("imp@2", {"mask": "pruned", "mask_density": 0.9, "scope": "global"},
         r"^mask_density 0\.9 keeps 799 weights of the network, but of imp@2 only 588 are left"),
        ("imp@2", {"levels": 2, "densities": "linear", "density": 0.8},
         r"^density 0\.8 keeps 614 weights of fc1\.weight, but of imp@2 only 491 are left"),
        ("imp@2", {"pruning_fraction": 1.5}, r"pruning_fraction is 1\.5; it must be at most 1"),
        ("imp@2", {"pruning_fraction": -0.5}, r"pruning_fraction is -0\.5; it must be at least 0"),
        ("imp@2", {"rewind_step": 40}, "rewind_step 40 is not before the last of 40 iterations"),
        ("imp@2", {"rewind_epoch": 9}, "rewind_step 234 is not before the last of 40"),
        ("imp@2", {"rewind_step": 5}, r"^run 'imp' keeps no weights of step 5 to rewind to; it has "
         "0, 4, 10$"),
        ("imp@2", {"rewind_step": 4, "rewind_epoch": 1}, "rewind_step is 4 and rewind_epoch 1; "),
        ("imp@2", {"retran": "reinit"}, r"unknown setting 'retran'; did you mean 'retrain'\?"),
        ("imp@2", {"model": "mlp:64-13-10"}, r"^imp@2 does not fit the network of the branch: "
         r"'fc1\.weight' is \(12, 64\), and \(13, 64\) is needed; between tasks only the output"),
        ("imp@2", {"model": "lenet-300-100"}, r"'fc1\.weight' is \(12, 64\), and \(300, 64\)"),
        ("imp@2", {"exclude": ("output", "fc")}, "exclude is output, fc; nothing is left to prune"),
        ("imp@2", {"dropout": 0.5}, r"dropout is 0\.5, but the network has no dropout layer"),
    ],
)  # fmt: skip
def test_wrong_questions_are_refused_before_anything_is_stored(
    store: Store, parent: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        branch(parent, store=store, name="b", **changes)
    assert list(store) == ["imp"]


def test_a_density_that_empties_a_layer_is_warned_of_or_refused(store: Store) -> None:
    tiny = {"mask": "pruned", "mask_density": 0.003}
    with pytest.raises(
        LandscapeError, match=r"level 0 would prune all of 'fc2\.weight', and --keep"
    ):
        branch("imp@2", store=store, name="b", keep_connected=True, **tiny)
    assert list(store) == ["imp"]
    with pytest.warns(UserWarning, match=r"^level 0 prunes all of 'fc2\.weight'$"):
        run = branch("imp@2", store=store, name="b", **tiny)
    assert counts(run.level(0).mask) == (2, 0)


def test_a_level_to_come_that_empties_a_layer_is_foreseen(store: Store) -> None:
    given = {"levels": 2, "pruning_fraction": 1.0}
    message = r"level 1 would prune all of 'fc1\.weight', and --keep-connected forbids it"
    with pytest.raises(UsageError, match=message):
        branch("imp@2", store=store, name="b", keep_connected=True, **given)
    assert list(store) == ["imp"]


def test_an_imported_run_is_no_parent(store: Store) -> None:
    store.create("theirs", {
        "config": {"task": "digits", "model": "mlp:64-12-10", "levels": 1},
        "imported": {"sources": [{"name": "theirs.pt", "sha256": "0" * 64}]},
    })  # fmt: skip
    with pytest.raises(LandscapeError, match="run 'theirs' was imported: how it was trained is"):
        branch("theirs@0", store=store, name="b")


@pytest.mark.parametrize("changes", [
    {"retrain": "finetune"}, {"retrain": "lr-rewind"}, {"retrain": "continue"},
    {"mask": "pruned", "mask_density": 0.1},
])  # fmt: skip
def test_weights_that_diverged_are_not_gone_on_with(store: Store, changes: dict[str, Any]) -> None:
    wild = SETTINGS | {"optimizer": "sgd", "lr": 1e30, "levels": 1}
    with pytest.raises(LandscapeError, match="diverged"):
        train(store=store, name="wild", **wild)
    with pytest.raises(LandscapeError, match=r"^wild@0 diverged, and its trained weights are of"):
        branch("wild@0", store=store, name="b", lr=0.01, rewind_step=0, **changes)
    assert branch("wild@0", store=store, name="tame", lr=0.01, rewind_step=0).levels == [0]


TASKS = """
    import os
    import torch
    from landscape.training.task import make_task

    def made(seed, classes, channels=2, side=6):
        draws = torch.Generator().manual_seed(seed)
        inputs = torch.randn(120, channels, side, side, generator=draws)
        targets = torch.arange(120) % classes
        return make_task(train=(inputs[:80], targets[:80]), test=(inputs[80:], targets[80:]))

    def source(): return made(int(os.environ.get("DATA", "0")), 4)
    def same(): return made(1, 4)
    def more(): return made(2, 7)
    def grey(): return made(3, 4, channels=1)
    def large(): return made(4, 4, side=9)
"""
MODEL = """
    from collections import OrderedDict
    from torch import nn
    def net(shape=(2, 6, 6), outputs=4):
        return nn.Sequential(OrderedDict(
            conv=nn.Conv2d(shape[0], 6, 3, padding=1), norm=nn.BatchNorm2d(6), relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.Linear(6, outputs)))
    def seven(): return net(outputs=7)
    def one(): return net((1, 6, 6))
    def flat(): return nn.Sequential(OrderedDict(
        conv=nn.Conv2d(2, 6, 3), norm=nn.BatchNorm2d(6), flat=nn.Flatten(), fc=nn.Linear(96, 6),
        head=nn.Linear(6, 4)))
    def flat_large(): return nn.Sequential(OrderedDict(
        conv=nn.Conv2d(2, 6, 3), norm=nn.BatchNorm2d(6), flat=nn.Flatten(), fc=nn.Linear(294, 6),
        head=nn.Linear(6, 4)))
"""
HEAD = ("head.weight", "head.bias")


@pytest.fixture
def named(store: Store, tmp_path: Path) -> Callable[[str], str]:
    """Addresses of tasks and models, and a run ``source`` on the first of each."""
    for file, code in (("tasks.py", TASKS), ("nets.py", MODEL)):
        (tmp_path / file).write_text(dedent(code))
    places = {"net": "nets", "seven": "nets", "one": "nets", "flat": "nets", "flat_large": "nets"}

    def address(name: str) -> str:
        return f"{tmp_path / places.get(name, 'tasks')}.py:{name}"

    small = {"levels": 3, "iterations": 20, "eval_every": 10, "batch_size": 20, "rewind_step": 5}
    small |= {"initialization": "glorot-normal", "snapshots": (10,)}
    train(store=store, name="source", task=address("source"), model=address("net"), **small)
    train(store=store, name="wide", task=address("source"), model=address("flat"), **small)
    return address


def tensors(mask_or_point: Array, mask: Mask) -> dict[str, Array]:
    """Tensors of a vector by name."""
    return mask.spec.unflatten(mask_or_point)


@pytest.mark.parametrize(("task", "model"), [("same", "net"), ("more", "seven")])
@pytest.mark.parametrize(
    ("changes", "part"),
    [({}, "rewind"), ({"rewind_step": 0}, "init"), ({"rewind_step": 10}, "step-10"),
     ({"retrain": "finetune"}, "final")],
)  # fmt: skip
def test_a_transfer_carries_all_but_the_output_layer(
    store: Store,
    named: Callable[[str], str],
    starts: list[tuple[Start, Mask]],
    task: str,
    model: str,
    changes: dict[str, Any],
    part: str,
) -> None:
    run = branch("source@2", store=store, name="b", task=named(task), model=named(model), **changes)
    start, mask = starts[-1]
    source = store["source"]
    begun = source[0, part] if part.startswith("step") else source[2, part]
    old, kept = source.level(2).mask, source.level(2).mask.layer("conv.weight")
    assert mask.prunable == ("conv.weight",)
    assert bits(mask.layer("conv.weight")) == bits(kept)
    assert old.layer("head.weight").sum() < old.layer("head.weight").size
    found, theirs = tensors(start.point.theta, mask), tensors(begun.theta, old)
    for name in mask.spec.names:
        if name not in HEAD:
            expected = old.apply(begun.theta)[old.spec.slices[name]]
            assert bits(found[name].reshape(-1)) == bits(expected)
    init = tensors(source[2, "init"].theta, old)["head.weight"]
    assert found["head.weight"].all()  # nothing of it is pruned
    assert not np.isin(found["head.weight"], init).any()
    assert not np.isin(found["head.weight"], theirs["head.weight"]).any()
    assert {n: bits(b) for n, b in start.point.buffers.items()} == {
        n: bits(b) for n, b in begun.buffers.items()
    }
    assert run.config.exclude == ("output",)
    assert run.description["branch"]["transfer"] is True
    assert run.description["prunable"] == {"conv.weight": "conv"}
    assert problems(store) == []


def test_a_transfers_random_ticket_and_its_levels(
    store: Store, named: Callable[[str], str], starts: list[tuple[Start, Mask]]
) -> None:
    given = {"task": named("same"), "mask": "permuted", "retrain": "reinit", "levels": 2}
    run = branch("source@2", store=store, name="b", **given)
    assert counts(run.level(0).mask) == (
        int(store["source"].level(2).mask.layer("conv.weight").sum()),
    )
    assert run.level(1).mask.is_within(run.level(0).mask)
    twin = branch("source@2", store=store, name="twin", **given)
    assert {k: v for k, v in files(twin).items() if k.startswith("level")} == {
        k: v for k, v in files(run).items() if k.startswith("level")
    }
    assert problems(store) == []


def test_a_network_with_global_pooling_takes_another_size(
    store: Store, named: Callable[[str], str]
) -> None:
    assert branch("source@2", store=store, name="b", task=named("large")).levels == [0]


@pytest.mark.parametrize(
    ("parent", "task", "model", "message"),
    [
        ("source@2", "more", None, r"^the network has 4 outputs and task 'my-task' 7 classes; "),
        ("source@2", "grey", "one",
         r"^source@2 does not fit .*: 'conv\.weight' is \(6, 2, 3, 3\), and \(6, 1, 3, 3\) is n"),
        ("wide@2", "large", "flat_large", r"'fc\.weight' is \(6, 96\), and \(6, 294\) is needed"),
        ("source@2", "same", "flat", r"'fc\.weight' is not there, and \(6, 96\) is needed"),
    ],
)  # fmt: skip
def test_a_ticket_that_does_not_fit_is_refused(
    store: Store,
    named: Callable[[str], str],
    parent: str,
    task: str,
    model: str | None,
    message: str,
) -> None:
    before = everything(store.root)
    settings = {} if model is None else {"model": named(model)}
    with pytest.raises(LandscapeError, match=message):
        branch(parent, store=store, name="b", task=named(task), **settings)
    assert everything(store.root).keys() - before.keys() <= {
        str(layout.run_folder(store.root, "b") / ".lock")
    }
    assert list(store) == ["imp", "source", "wide"]


def test_other_data_under_the_parents_name_are_refused(
    store: Store, named: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", "9")
    message = r"^run 'source' was trained on other data than its task now gives \(digest "
    with pytest.raises(LandscapeError, match=message):
        branch("source@2", store=store, name="b")
    monkeypatch.delenv("DATA")
    branch("source@2", store=store, name="b")


def test_another_validation_split_is_no_other_data(store: Store) -> None:
    run = branch("imp@2", store=store, name="b", validation_size=100)
    assert run.description["data"]["examples"]["validation"] == 100
    assert not run.description["branch"]["transfer"]


def test_the_parents_number_of_examples_is_inherited(store: Store) -> None:
    few = train(store=store, name="few", **SETTINGS | {"levels": 1, "max_examples": 60})
    run = branch("few@0", store=store, name="b")
    assert run.description["data"] == few.description["data"]
    assert set(run.description["data"]["examples"].values()) == {60}
    more = branch("few@0", store=store, name="c", max_examples=70)
    assert set(more.description["data"]["examples"].values()) == {70}
    assert not more.description["branch"]["transfer"]


def test_events_come_as_of_any_run(store: Store) -> None:
    seen: list[Tick | Finished] = []
    branch("imp@2", store=store, name="b", listener=seen.append)
    assert isinstance(seen[-1], Finished)
    assert [event.step for event in seen if isinstance(event, Tick)] == [4, 10, 20, 30, 40]
