"""Learning rates by step, and how many weights a level keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from landscape.data_store.mask import Mask
from landscape.data_store.records import RunConfig
from landscape.training.models import is_bias

Counts = int | dict[str, int]


def level_config(config: RunConfig, level: int) -> RunConfig:
    """The settings that a level is trained with: the last one may take other steps.

    Its schedule of learning rates is then stretched by ``last_iterations / iterations``: the
    cosine, and the steps of warm-up and milestones, rounded. The rewind step stays where it is, a
    snapshot past its end is not taken.
    """
    steps = config.last_iterations
    if level != config.levels - 1 or steps is None or steps == config.iterations:
        return config
    stretch = steps / config.iterations
    return replace(
        config,
        iterations=steps,
        last_iterations=None,
        warmup=round(config.warmup * stretch),
        lr_milestones=tuple(max(1, round(step * stretch)) for step in config.lr_milestones),
        snapshots=tuple(step for step in config.snapshots if step < steps),
    )


def learning_rate(config: RunConfig, step: int) -> float:
    """Learning rate of a step (0-based): linear warm-up, then milestones or half a cosine.

    Warm-up is ``lr × (step + 1) / warmup``; the step numbered as a milestone is the first
    with the smaller rate. The cosine falls from the end of the warm-up to zero at the last step
    but one past the end: ``lr × (1 + cos(π t)) / 2``, t the fraction of the steps after warm-up
    (Loshchilov & Hutter 2017, without restarts). A level that starts at the rewind step enters
    the schedule there.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup * _milestones(config, step)
    if config.lr_schedule == "cosine":
        whole = max(1, config.iterations - config.warmup)
        return config.lr * 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / whole))
    return config.lr * _milestones(config, step)


def _milestones(config: RunConfig, step: int) -> float:
    """The factor of the milestones that are behind."""
    if config.lr_schedule == "cosine":
        return 1.0
    return config.lr_gamma ** sum(step >= milestone for milestone in config.lr_milestones)


def last_rate(config: RunConfig) -> float:
    """The learning rate a dense training ends with: what fine-tuning goes on with.

    Renda et al. (2020), section 2. A cosine ends at zero, so there it is the rate of the first
    step of the last twentieth.
    """
    last = config.iterations - 1
    if config.lr_schedule == "cosine":
        last = config.warmup + (config.iterations - config.warmup) * 19 // 20
    return learning_rate(config, last)


def pruning_fractions(config: RunConfig, kinds: Mapping[str, str]) -> dict[str, float]:
    """Fraction of surviving weights to remove per level, by tensor name.

    `kinds` says ``fc``, ``conv``, ``shortcut`` or ``output`` of each prunable tensor. Under
    global scope all tensors share ``pruning_fraction``.
    """
    by_kind = {
        "fc": config.pruning_fraction,
        "conv": config.pruning_fraction_conv,
        "shortcut": config.pruning_fraction_conv,
        "output": config.pruning_fraction_output,
    }
    if config.scope == "global":
        return dict.fromkeys(kinds, config.pruning_fraction)
    return {name: by_kind[kind] for name, kind in kinds.items()}


def target_density(config: RunConfig, level: int) -> float | None:
    """Density a level is pruned to, None where fractions of the survivors say it.

    With D the last level's density and L the levels after the dense one: ``D^(level / L)``
    (exponential, and multishot, its name in Fischer & Burkholz 2022), ``1 - (1 - D) level / L``
    (linear), D at once with L = 1 (one-shot); each exactly D at the last level. Level 0 of
    singleshot pruning, its only one, is pruned to D.
    """
    if config.density is None or config.densities == "singleshot":
        return config.density
    after = level / (config.levels - 1)
    if after >= 1:
        return config.density
    if config.densities == "linear":
        return 1 - (1 - config.density) * after
    return float(config.density**after)


def kept_counts(config: RunConfig, kinds: Mapping[str, str], mask: Mask, level: int) -> Counts:
    """How many weights a level keeps, given the mask before it: in all, or of each tensor.

    By fractions, exactly ``round(fraction × surviving)`` weights go (Python's `round`: halves to
    even); under global scope the sum of the layers' numbers is rounded once. By densities,
    ``round(density × prunable)`` stay. Nested masks never gain weights.
    """
    alive = {name: int(np.count_nonzero(mask.layer(name))) for name in mask.prunable}
    density = target_density(config, level)
    if density is None:
        fractions = pruning_fractions(config, kinds)
        if config.scope == "global":
            gone = round(sum(fractions[name] * count for name, count in alive.items()))
            return sum(alive.values()) - gone
        return {name: n - round(fractions[name] * n) for name, n in alive.items()}
    if config.scope == "global":
        wanted = round(density * mask.prunable_size)
        return min(wanted, sum(alive.values())) if config.nested else wanted
    sizes = {name: len(mask.layer(name)) for name in mask.prunable}
    counts = {name: round(density * size) for name, size in sizes.items()}
    if config.nested:
        counts = {name: min(count, alive[name]) for name, count in counts.items()}
    return counts


def waypoints(keep: Counts, mask: Mask, rounds: int) -> Iterator[Counts]:
    """How many weights are kept after each round of a level's pruning; `keep` after the last.

    After round r of R it is ``round(k (K / k)^(r / R))``, k the number kept in `mask` and K in
    `keep`, in all or of each tensor: equal factors, as in the rounds of Tanaka et al. (2020).
    """
    for number in range(1, rounds):
        if isinstance(keep, int):
            yield _between(mask.kept_size, keep, number / rounds)
        else:
            have = {name: int(np.count_nonzero(mask.layer(name))) for name in keep}
            yield {name: _between(have[name], n, number / rounds) for name, n in keep.items()}
    yield keep


def _between(have: int, keep: int, way: float) -> int:
    """A part of the way from one count to another, by equal factors."""
    return round(have * (keep / have) ** way) if have else keep


def emptied(
    config: RunConfig, kinds: Mapping[str, str], dense: Mask
) -> tuple[int, str | None] | None:
    """The first level that is bound to leave a layer empty and the layer, as the counts alone tell.

    A layer is empty when all its weights are pruned, whatever becomes of its biases.

    Where layers compete (global scope) the scores decide which it is, and None stands for it: a
    level that keeps fewer weights than there are layers empties one. What the scores alone decide
    is not foreseen: `landscape.training.connection.require_connected` names it when it happens.

    None if there is no such level.
    """
    mask = dense
    layers = sum(bool(dense.layer(name).any()) for name in dense.prunable if not is_bias(name))
    for level in range(0 if config.densities == "singleshot" else 1, config.levels):
        counts = kept_counts(config, kinds, mask, level)
        if isinstance(counts, int):
            if counts < layers:
                return level, None
            mask = _any(mask, counts)
            continue
        for name, count in counts.items():
            if count == 0 and mask.layer(name).any() and not is_bias(name):
                return level, name
        mask = _first(mask, counts)
    return None


def _any(mask: Mask, count: int) -> Mask:
    """Any mask of so many weights: the first prunable ones."""
    kept = ~mask.covered
    kept[np.flatnonzero(mask.covered)[:count]] = True
    return Mask(mask.spec, mask.prunable, kept)


def _first(mask: Mask, counts: Mapping[str, int]) -> Mask:
    """Any mask with these counts: its first surviving weights."""
    kept = mask.kept.copy()
    for name in mask.prunable:
        alive = np.flatnonzero(mask.layer(name)) + mask.spec.slices[name].start
        kept[alive[counts[name] :]] = False
    return Mask(mask.spec, mask.prunable, kept)
