"""Learning rates and pruning fractions as functions of step and layer."""

from __future__ import annotations

from collections.abc import Mapping

from landscape.data_store.records import RunConfig


def learning_rate(config: RunConfig, step: int) -> float:
    """Learning rate of a step (0-based): linear warm-up, then a factor at each milestone.

    Warm-up is ``lr × (step + 1) / warmup``; the step numbered as a milestone is the first
    with the smaller rate. A level that starts at the rewind step enters the schedule there.
    """
    rate = config.lr * config.lr_gamma ** sum(step >= m for m in config.lr_milestones)
    if step < config.warmup:
        rate *= (step + 1) / config.warmup
    return rate


def pruning_fractions(config: RunConfig, kinds: Mapping[str, str]) -> dict[str, float]:
    """Fraction of surviving weights to remove per level, by tensor name.

    `kinds` says ``fc``, ``conv`` or ``output`` of each prunable tensor. Under global scope
    all tensors share ``pruning_fraction``.
    """
    by_kind = {
        "fc": config.pruning_fraction,
        "conv": config.pruning_fraction_conv,
        "output": config.pruning_fraction_output,
    }
    if config.scope == "global":
        return dict.fromkeys(kinds, config.pruning_fraction)
    return {name: by_kind[kind] for name, kind in kinds.items()}
