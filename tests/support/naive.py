"""Iterative magnitude pruning transcribed in plain torch: one tensor and one weight at a time.

Nothing here knows flat vectors, fused optimisers or masks as arrays; it shares with the
package only the settings and the task's loss.
"""

from __future__ import annotations

import copy
import hashlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data_store.records import RunConfig
from landscape.training.task import Split, Task

Masks = dict[str, Tensor]
State = dict[str, Tensor]


def stream(*parts: object) -> int:
    """The seed of a named stream: 63 bits of a SHA-256."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return sum(byte << (8 * i) for i, byte in enumerate(digest[:8])) >> 1


def order(seed: int, level: int, epoch: int, examples: int) -> list[int]:
    """The order of the examples in one epoch."""
    draws = torch.Generator().manual_seed(stream(seed, "data-order", level, epoch))
    return [int(i) for i in torch.randperm(examples, generator=draws)]


def batch(config: RunConfig, level: int, step: int, examples: int) -> list[int]:
    """The examples of one step: each epoch is cut into batches, the last may be short."""
    per_epoch = math.ceil(examples / config.batch_size)
    epoch, place = step // per_epoch, step % per_epoch
    whole = order(config.seed, level, epoch, examples)
    return whole[place * config.batch_size : (place + 1) * config.batch_size]


def rate(config: RunConfig, step: int) -> float:
    """Learning rate of one step."""
    value = config.lr
    for milestone in config.lr_milestones:
        if step >= milestone:
            value = value * config.lr_gamma
    if step < config.warmup:
        value = value * (step + 1) / config.warmup
    return value


def optimizer(module: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """The optimiser over separate tensors, in its plain form."""
    plain: dict[str, Any] = {"foreach": False, "fused": False, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(module.parameters(), lr=config.lr, momentum=config.momentum, **plain)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(module.parameters(), lr=config.lr, **plain)


def judged(module: nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and misclassified fraction, example by example in float64."""
    module.eval()
    with torch.no_grad():
        logits = module(split.inputs).double().tolist()
    losses, wrong = [], 0
    for row, target in zip(logits, split.targets.tolist(), strict=True):
        highest = max(row)
        total = math.fsum(math.exp(value - highest) for value in row)
        losses.append(math.log(total) + highest - row[target])
        wrong += row.index(highest) != target
    return math.fsum(losses) / len(losses), wrong / len(losses)


def evaluation(
    module: nn.Module, task: Task, config: RunConfig, step: int, seen: list[tuple[float, bool]]
) -> list[float]:
    """One row of the curve; `seen` are losses and mistakes since the row before."""
    row = [float(step), rate(config, step)]
    if seen:
        row += [sum(loss for loss, _ in seen) / len(seen), sum(w for _, w in seen) / len(seen)]
    else:
        row += [math.nan, math.nan]
    for name in ("validation", "test"):
        row += judged(module, task.splits[name])
    return row


def train(
    module: nn.Module, masks: Masks, task: Task, config: RunConfig, level: int
) -> tuple[list[list[float]], State]:
    """Train in place under masks; the curve, and the state at the rewind step of level 0."""
    first = config.rewind_step if level > 0 else 0
    rewind = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter[~masks[name]] = 0.0
    steps = optimizer(module, config)
    examples = task.splits["train"]
    rows = [evaluation(module, task, config, first, [])]
    seen: list[tuple[float, bool]] = []
    for step in range(first, config.iterations):
        chosen = batch(config, level, step, len(examples))
        inputs = torch.stack([examples.inputs[i] for i in chosen])
        targets = torch.stack([examples.targets[i] for i in chosen])
        module.train()
        outputs = module(inputs)
        losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
        steps.zero_grad()
        losses.mean().backward()  # type: ignore[no-untyped-call]
        for name, parameter in module.named_parameters():
            if name in masks:
                assert parameter.grad is not None
                parameter.grad[~masks[name]] = 0.0
        for group in steps.param_groups:
            group["lr"] = rate(config, step)
        steps.step()
        seen += list(zip(losses.tolist(), (outputs.argmax(1) != targets).tolist(), strict=True))
        if level == 0 and step + 1 == config.rewind_step:
            rewind = copy.deepcopy(module.state_dict())
        if (step + 1) % config.eval_every == 0 or step + 1 == config.iterations:
            rows.append(evaluation(module, task, config, step + 1, seen))
            seen = []
    return rows, rewind


def pruned(weights: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """The mask without the smallest surviving weights, the earliest of equal ones first."""
    values, kept = weights.detach().reshape(-1).tolist(), mask.reshape(-1).tolist()
    alive = sorted((abs(values[i]), i) for i in range(len(values)) if kept[i])
    for _, i in alive[: round(fraction * len(alive))]:
        kept[i] = False
    return torch.tensor(kept, dtype=torch.bool).reshape(mask.shape)


def imp(
    module: nn.Module, task: Task, config: RunConfig, fractions: dict[str, float]
) -> list[tuple[State, Masks, list[list[float]]]]:
    """Final state, masks and curve of every level; `module` holds the initial weights."""
    start = copy.deepcopy(module.state_dict())
    masks = {n: torch.ones_like(module.get_parameter(n), dtype=torch.bool) for n in fractions}
    levels = []
    for level in range(config.levels):
        module.load_state_dict(start)
        rows, rewind = train(module, masks, task, config, level)
        if level == 0:
            start = rewind
        levels.append((copy.deepcopy(module.state_dict()), dict(masks), rows))
        for name, fraction in fractions.items():
            masks[name] = pruned(module.get_parameter(name), masks[name], fraction)
    return levels
