"""Folders of open_lth: every level found, its mask applied, its start checked."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.open_lth import find_levels, read_levels
from landscape.fitting import onto_network
from tests.support.lottery import experiment, prunable


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)
        )


NET = network()
fit = partial(onto_network, NET)
HIDDEN = "ignore:.*weights that its mask prunes"  # every such folder has them


def loaded(path: Path) -> dict[str, np.ndarray]:
    return {k: t.numpy() for k, t in torch.load(path, weights_only=True).items()}


def read(folder: Path, **options):
    with pytest.warns(UserWarning, match="weights that its mask prunes; they are set to zero"):
        return list(read_levels(folder, fit, **options))


def expected(main: Path, model: str) -> np.ndarray:
    """Weights of a model with the level's mask, by torch and NumPy alone."""
    state, masks = loaded(main / model), loaded(main / "mask.pth")
    state = {name.removeprefix("module."): values for name, values in state.items()}
    parts = [np.where(masks[n] == 1, state[n], 0) if n in masks else state[n] for n in PARAMETERS]
    return np.concatenate([part.reshape(-1) for part in parts])


PARAMETERS = [name for name, _ in NET.named_parameters()]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("rewind", ["0_it0", "0_it7"])
def test_a_replicate(tmp_path, prefix, rewind):
    replicate = experiment(tmp_path, NET, prefix=prefix, rewind=rewind)
    levels = read(replicate)
    assert len(levels) == 3
    point = expected(replicate / "level_0" / "main", f"model_ep{rewind}.pth")
    for number, level in enumerate(levels):
        main = replicate / f"level_{number}" / "main"
        masks = loaded(main / "mask.pth")
        final = level.final
        np.testing.assert_array_equal(final.theta, expected(main, "model_ep2_it0.pth"))
        assert not np.signbit(final.theta[~final.mask.kept]).any()
        assert final.mask.prunable == tuple(prunable(NET)) == tuple(masks)
        for name, mask in masks.items():
            np.testing.assert_array_equal(final.mask.layer(name), mask.reshape(-1))
        assert final.buffers["1.num_batches_tracked"] == 1
        np.testing.assert_array_equal(level.origins["rewind"].theta, point)
        start = expected(main, f"model_ep{rewind}.pth")
        np.testing.assert_array_equal(final.mask.apply(level.origins["rewind"].theta), start)
        scale = 1 if rewind == "0_it0" else 2
        np.testing.assert_array_equal(level.origins["init"].theta, scale * point)
        names = ("mask.pth", f"model_ep{rewind}.pth", "model_ep2_it0.pth")
        assert level.files == tuple(main / name for name in names)


def test_the_folder_has_the_trap(tmp_path):
    main = experiment(tmp_path, NET, 2) / "level_1" / "main"
    mask = loaded(main / "mask.pth")["4.weight"]
    start, final = (loaded(main / f"model_ep{e}_it0.pth")["4.weight"] for e in (0, 2))
    assert mask.dtype == np.int32
    assert np.signbit(start[mask == 0]).any()
    assert not start[mask == 0].any()
    assert final[mask == 0].all()


def test_weights_under_the_mask_are_counted(tmp_path):
    replicate = experiment(tmp_path, NET, 2)
    masks = loaded(replicate / "level_1" / "main" / "mask.pth")
    hidden = sum(int((mask == 0).sum()) for mask in masks.values())
    with pytest.warns(
        UserWarning, match=rf"level_1.main.model_ep2_it0\.pth holds {hidden} weights"
    ):
        list(read_levels(replicate, fit))


def test_a_lottery_folder_has_one_replicate(tmp_path):
    replicate = experiment(tmp_path, NET, 2)
    (replicate.parent / "logger").write_text("")
    assert find_levels(replicate.parent) == find_levels(replicate)
    (replicate.parent / "replicate_2").mkdir()
    match = r"holds replicate_1, replicate_2; import each under a --name of its own"
    with pytest.raises(UsageError, match=match):
        find_levels(replicate.parent)


@pytest.mark.parametrize("inner", ["", "main"])
def test_a_level_alone_knows_its_ticket_only(tmp_path, inner):
    folder = experiment(tmp_path, NET, 2) / "level_1"
    (level,) = read(folder / inner)
    assert set(level.origins) == {"ticket"}
    start = expected(folder / "main", "model_ep0_it0.pth")
    np.testing.assert_array_equal(level.origins["ticket"].theta, start)
    np.testing.assert_array_equal(level.final.theta, expected(folder / "main", "model_ep2_it0.pth"))


def test_a_dense_level_alone_knows_where_it_began(tmp_path):
    folder = experiment(tmp_path, NET, 1) / "level_0"
    (level,) = read_levels(folder, fit)
    assert set(level.origins) == {"rewind"}
    np.testing.assert_array_equal(
        level.origins["rewind"].theta, expected(folder / "main", "model_ep0_it0.pth")
    )


def test_the_largest_step_is_the_final_one(tmp_path):
    main = experiment(tmp_path, NET, 1) / "level_0" / "main"
    for name in ("model_ep10_it0", "model_ep9_it99", "model_ep2_it5"):
        (main / f"{name}.pth").write_bytes((main / "model_ep2_it0.pth").read_bytes())
    (main / "model_ep99_it0.pth.tmp").write_bytes(b"")
    (files,) = find_levels(main).levels
    assert (files.start.name, files.final.name) == ("model_ep0_it0.pth", "model_ep10_it0.pth")


def test_an_unknown_start_of_rewinding(tmp_path):
    replicate = experiment(tmp_path, NET, 1, rewind="0_it7")
    (replicate / "level_pretrain" / "main" / "model_ep0_it0.pth").unlink()
    (level,) = read_levels(replicate, fit)
    assert set(level.origins) == {"rewind"}


def test_pretraining_of_another_output_layer_leaves_the_start_unknown(tmp_path):
    replicate = experiment(tmp_path, NET, 1, rewind="0_it7")
    before = replicate / "level_pretrain" / "main" / "model_ep0_it0.pth"
    state = torch.load(before, weights_only=True)
    torch.save({**state, "4.weight": torch.zeros(7, 12)}, before)
    with pytest.warns(UserWarning, match=r"initial weights stay unknown: '4\.weight' is \(7, 12\)"):
        (level,) = read_levels(replicate, fit)
    assert set(level.origins) == {"rewind"}
    before.write_bytes(before.read_bytes()[:500])
    with pytest.raises(LandscapeError, match=r"level_pretrain/main/model_ep0_it0\.pth is cut"):
        list(read_levels(replicate, fit))


@pytest.mark.filterwarnings(HIDDEN)
def test_a_level_that_starts_elsewhere_is_warned_of(tmp_path):
    replicate = experiment(tmp_path, NET, 2)
    path = replicate / "level_1" / "main" / "model_ep0_it0.pth"
    state = torch.load(path, weights_only=True)
    state["4.bias"] += 1
    torch.save(state, path)
    match = r"level_1/main/model_ep0_it0\.pth is not .*level_0/.* on its mask: 4 weights differ"
    with pytest.warns(UserWarning, match=match):
        list(read_levels(replicate, fit))


@pytest.mark.filterwarnings(HIDDEN)
@pytest.mark.parametrize("name", ["mask.pth", "model_ep0_it0.pth", "model_ep2_it0.pth"])
def test_cut_files_are_named(tmp_path, name):
    replicate = experiment(tmp_path, NET, 2)
    path = replicate / "level_1" / "main" / name
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LandscapeError, match=rf"level_1/main/{name} is cut or damaged"):
        list(read_levels(replicate, fit))


def test_files_over_the_limit_are_named(tmp_path):
    replicate = experiment(tmp_path, NET, 1)
    with pytest.raises(LandscapeError, match=r"model_ep0_it0\.pth has \d+ bytes; more than 1000"):
        list(read_levels(replicate, fit, size_limit=1000))


def test_a_missing_mask_level_or_model_is_named(tmp_path):
    replicate = experiment(tmp_path, NET, 3)
    final = replicate / "level_2" / "main" / "model_ep2_it0.pth"
    final.unlink()
    with pytest.raises(
        LandscapeError, match=r"level_2/main has model_ep0_it0\.pth and no later model: .* its end"
    ):
        find_levels(replicate)
    (replicate / "level_2" / "main" / "model_ep0_it0.pth").unlink()
    with pytest.raises(LandscapeError, match=r"level_2/main has no model_ep0_it0\.pth and no"):
        find_levels(replicate)
    (replicate / "level_2" / "main" / "mask.pth").unlink()
    with pytest.raises(LandscapeError, match=r"level_2/main has no mask\.pth; give the \.pth file"):
        find_levels(replicate)
    (replicate / "level_1").rename(replicate / "level_1_old")
    with pytest.raises(LandscapeError, match=r"replicate_1 has level_2 but no level_1; import"):
        find_levels(replicate)


def test_a_mask_of_another_network_is_refused(tmp_path):
    main = experiment(tmp_path, NET, 1) / "level_0" / "main"
    torch.save({"fc.weight": torch.ones(2, 2)}, main / "mask.pth")
    with pytest.raises(LandscapeError, match=r"has a mask of 'fc\.weight', which is no parameter"):
        list(read_levels(main, fit))


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "results.txt").write_text("")
    with pytest.raises(UsageError, match="is no folder of open_lth: it holds neither level_0,"):
        find_levels(tmp_path)
    with pytest.raises(LandscapeError, match=r"cannot read .*none: No such file or directory"):
        find_levels(tmp_path / "none")
    (tmp_path / "level_0").write_text("")
    with pytest.raises(LandscapeError, match=r"cannot read .*level_0/main: Not a directory"):
        find_levels(tmp_path)


@pytest.mark.parametrize("inner", ["mask.pth", "model_ep2_it0.pth", ""])
def test_links_in_a_strangers_folder_are_not_followed(tmp_path, inner):
    main = experiment(tmp_path, NET, 1) / "level_0" / "main"
    path = main / inner if inner else main
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LandscapeError, match="is a symbolic link; copy what it leads to into its"):
        find_levels(main.parent)


def test_the_given_folder_may_be_a_link(tmp_path):
    replicate = experiment(tmp_path, NET, 1)
    (tmp_path / "mine").symlink_to(replicate)
    assert len(find_levels(tmp_path / "mine").levels) == 1


def test_a_pipe_is_not_waited_for(tmp_path):
    main = experiment(tmp_path, NET, 1) / "level_0" / "main"
    (main / "mask.pth").unlink()
    os.mkfifo(main / "mask.pth")
    with pytest.raises(UsageError, match=r"mask\.pth is no plain file"):
        list(read_levels(main, fit))
