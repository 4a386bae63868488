"""Folders as github.com/facebookresearch/open_lth writes them, with its exact layout."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def prunable(net: nn.Module) -> list[str]:
    """Names of its prunable tensors, as its ``Model.prunable_layer_names``."""
    kinds = (nn.Conv2d, nn.Linear)
    return [f"{name}.weight" for name, m in net.named_modules() if isinstance(m, kinds)]


def write_level(folder: Path, masks: State, start: State, final: State, steps=("0_it0", "2_it0")):
    """One level's ``main`` folder: int32 masks, models multiplied by them, and the rest."""
    main = folder / "main"
    main.mkdir(parents=True)
    torch.save({name: mask.int() for name, mask in masks.items()}, main / "mask.pth")
    (main / "sparsity_report.json").write_text('{\n    "total": 6.0,\n    "unpruned": 6.0\n}')
    (main / "hparams.log").write_text("Model Hyperparameters\n")
    (main / "logger").write_text("test_loss,ep0_it0,2.3\n")
    for step, state in zip(steps, (start, final), strict=True):
        torch.save(state, main / f"model_ep{step}.pth")
    checkpoint = {"ep": 1, "it": 0, "model_state_dict": final, "optimizer_state_dict": {}}
    torch.save({**checkpoint, "logger": ""}, main / "checkpoint.pth")


def experiment(
    root: Path, net: nn.Module, levels: int = 3, *, prefix: str = "", rewind: str = "0_it0"
) -> Path:
    """A ``lottery_HASH`` folder with one replicate; its ``replicate_1`` is returned.

    Level by level a fifth of the weights is pruned at random; a level starts from the rewound
    weights times its mask, which leaves -0.0, and its final weights moved once more after the
    mask was last applied, so that some under it are not zero.
    """
    draws = torch.Generator().manual_seed(0)
    replicate = root / "lottery_0123456789abcdef0123456789abcdef" / "replicate_1"
    point = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masks = {name: torch.ones_like(point[name]) for name in prunable(net)}
    if rewind != "0_it0":
        before = {name: tensor * 2 for name, tensor in point.items()}
        write_level(replicate / "level_pretrain", masks, before, point, ("0_it0", rewind))
    for level in range(levels):
        if level:
            for name, mask in masks.items():
                masks[name] = mask * (torch.rand(mask.shape, generator=draws) > 0.2)
        start = {name: t * masks[name] if name in masks else t for name, t in point.items()}
        final = {name: moved(tensor, draws) for name, tensor in start.items()}
        write_level(
            replicate / f"level_{level}",
            masks,
            {prefix + name: tensor for name, tensor in start.items()},
            {prefix + name: tensor for name, tensor in final.items()},
            (rewind, "2_it0"),
        )
    return replicate


def moved(tensor: Tensor, draws: torch.Generator) -> Tensor:
    """A tensor after a step; counters go on by one."""
    if not tensor.is_floating_point():
        return tensor + 1
    return tensor + 0.1 * torch.randn(tensor.shape, generator=draws)
