"""Every pruner in every protocol: exact counts, nesting, the same bits twice and after a stop."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import Point, RunConfig
from landscape.training.criteria import Candidate, magnitude
from landscape.training.gradient_criteria import snip, synflow
from landscape.training.imp import Experiment, Finished, Origin, Resume, imp
from landscape.training.loop import Tick
from landscape.training.prune import prune
from landscape.training.registry import CRITERIA
from tests.support.experiments import experiment, level_bits, noisy, point_bits, settings

SIZES = {"fc1.weight": 48, "fc1.bias": 8, "fc2.weight": 24, "fc2.bias": 3}
PRUNERS = ["random", "magnitude", "snip", "grasp", "synflow", "edge-popup"]
PROTOCOLS = [
    (pruner, densities, scope)
    for pruner in PRUNERS
    for densities in ("singleshot", "multishot")
    for scope in ("layer", "global")
    if (pruner, scope) != ("edge-popup", "global")
]
pytestmark = pytest.mark.filterwarnings("ignore:level . prunes:UserWarning")


def config_of(criterion: str, densities: str, **changes: Any) -> RunConfig:
    """A run to density 0.3, its scores learned in two epochs where they are learned."""
    levels = 1 if densities == "singleshot" else 4
    given: dict[str, Any] = {"levels": levels, "density": 0.3, "iterations": 6, "eval_every": 3}
    given |= {"criterion": criterion, "densities": densities, "score_epochs": 2}
    return settings(**{**given, **changes})


def begun(
    config: RunConfig, origin: Origin | None = None, **given: Any
) -> tuple[Experiment, Point]:
    """The experiment of a configuration; biases are drawn too, so that none is worth 0."""
    criterion = CRITERIA.load(config.criterion)
    ready, init = experiment(config, criterion=criterion, origin=origin, **given)
    theta, spec = init.theta.copy(), ready.network.spec
    for name in ("fc1.bias", "fc2.bias"):
        place = spec.slices[name]
        theta[place] = 0.3 * np.random.default_rng(8).standard_normal(place.stop - place.start)
    return ready, Point(theta, init.buffers)


def finished(ready: Experiment, init: Point, resume: Resume | None = None) -> list[Finished]:
    """The levels of a run."""
    return [event for event in imp(ready, init, resume) if isinstance(event, Finished)]


def densities_of(config: RunConfig) -> list[float]:
    """The density every level ought to have."""
    if config.densities == "singleshot":
        return [0.3]
    return [0.3 ** (level / (config.levels - 1)) for level in range(config.levels)]


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(("pruner", "densities", "scope"), PROTOCOLS)
def test_every_pruner_keeps_what_is_asked_for_and_is_resumed(
    pruner: str, densities: str, scope: str, nested: bool, biases: bool
) -> None:
    config = config_of(pruner, densities, scope=scope, nested=nested, prune_biases=biases)
    ready, init = begun(config)
    sizes = {n: size for n, size in SIZES.items() if biases or n.endswith("weight")}
    whole: list[Finished] = []
    moments = []
    for event in imp(ready, init):
        if isinstance(event, Tick):
            moments.append((len(whole), event.capture()))
        else:
            whole.append(event)
    assert len(whole) == config.levels
    for wanted, level in zip(densities_of(config), (event.level for event in whole), strict=True):
        assert level.mask.prunable == tuple(sizes)
        if scope == "global":
            assert level.mask.kept_size == round(wanted * sum(sizes.values()))
        else:
            for name, size in sizes.items():
                assert np.count_nonzero(level.mask.layer(name)) == round(wanted * size)
        assert level.metrics["connected"] in (0.0, 1.0)
        assert not level.points["final"].theta[~level.mask.kept].any()
    masks = [event.level.mask for event in whole]
    inside = [after.is_within(before) for before, after in itertools.pairwise(masks)]
    assert all(inside) or not nested
    expected = [level_bits(event.level) for event in whole]
    for number, state in moments[1::2]:
        ready, init = begun(config)
        before = whole[number - 1] if number else None
        rewind = before.origins["rewind"] if before else None
        resume = Resume(before.level if before else None, rewind, state)
        rest = [level_bits(event.level) for event in finished(ready, init, resume)]
        assert rest == expected[number:]


@pytest.mark.parametrize("pruner", ["random", "magnitude", "snip", "grasp"])
def test_weights_do_come_back_where_masks_are_not_nested(pruner: str) -> None:
    config = config_of(pruner, "multishot", scope="global", nested=False, levels=6, density=0.6)
    masks = [event.level.mask for event in finished(*begun(config))]
    assert not all(after.is_within(before) for before, after in itertools.pairwise(masks))


def test_synflow_never_brings_a_weight_back_while_others_carry_flow() -> None:
    config = config_of("synflow", "multishot", scope="global", nested=False, density=0.4)
    nested = replace(config, nested=True)
    both = [[e.level.mask.kept for e in finished(*begun(c))] for c in (config, nested)]
    assert all(np.array_equal(a, b) for a, b in zip(*both, strict=True))


@pytest.mark.parametrize("pruner", PRUNERS)
def test_singleshot_scores_the_initial_weights(pruner: str) -> None:
    config = config_of(pruner, "singleshot", prune_biases=True)
    ready, init = begun(config)
    asked: list[Candidate] = []

    def curious(candidate: Candidate) -> Array:
        asked.append(candidate)
        return CRITERIA.load(pruner)(candidate)

    curious_one = replace(ready, criterion=curious)
    ready.network.theta.data.fill_(7.0)  # whatever the network held before
    [event] = finished(curious_one, init)
    [candidate] = asked
    assert np.array_equal(candidate.theta, init.theta)
    assert candidate.mask.kept.all()
    assert (candidate.level, candidate.round, candidate.seed) == (0, 0, config.seed)
    wanted = {n: round(0.3 * size) for n, size in SIZES.items()}
    assert candidate.keep == wanted
    mask = prune(CRITERIA.load(pruner)(candidate), candidate.mask, wanted)
    assert np.array_equal(event.level.mask.kept, mask.kept)
    # no dense level: from the masked initial weights
    assert point_bits(event.origins["rewind"]) == point_bits(init)
    assert event.level.trace.column("step")[0] == 0


def test_multishot_is_exponential() -> None:
    one, other = (
        [level_bits(e.level) for e in finished(*begun(config_of("snip", word)))]
        for word in ("multishot", "exponential")
    )
    assert one == other


@pytest.mark.parametrize("nested", [True, False])
def test_a_branch_is_pruned_before_it_is_trained(nested: bool) -> None:
    config = config_of("snip", "singleshot", nested=nested)
    plain, _ = begun(config)
    dense = Mask.dense(plain.network.spec, tuple(plain.kinds))
    origin = Origin(dense, plain.redraw(50), plain.redraw(51))
    ready, init = begun(config, origin)
    [event] = finished(ready, init)
    scores = snip(
        Candidate(origin.rewind.theta, init.theta, dense, config.seed, 0, sight=ready.sight)
    )
    wanted = {n: round(0.3 * SIZES[n]) for n in ready.kinds}
    assert np.array_equal(event.level.mask.kept, prune(scores, dense, wanted).kept)
    half = prune(scores, dense, {n: SIZES[n] // 2 for n in ready.kinds})
    [again] = finished(*begun(config, replace(origin, mask=half)))
    assert again.level.mask.kept_size == event.level.mask.kept_size
    assert again.level.mask.is_within(half) or not nested


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_rounds_go_the_way_in_equal_factors(rounds: int) -> None:
    config = config_of("synflow", "singleshot", scope="global", score_rounds=rounds)
    ready, init = begun(config)
    asked: list[Candidate] = []

    def curious(candidate: Candidate) -> Array:
        asked.append(candidate)
        return synflow(candidate)

    [event] = finished(replace(ready, criterion=curious), init)
    last = round(0.3 * 72)
    counts = [round(72 * (last / 72) ** (r / rounds)) for r in range(1, rounds)] + [last]
    assert [candidate.keep for candidate in asked] == counts
    assert [candidate.round for candidate in asked] == list(range(rounds))
    assert [candidate.mask.kept_size for candidate in asked] == [72, *counts[:-1]]
    for before, after in itertools.pairwise(asked):
        assert after.mask.is_within(before.mask)
        assert np.array_equal(before.theta, after.theta)
    assert event.level.mask.is_within(asked[-1].mask)


def test_rounds_change_what_sees_the_mask_and_nothing_else() -> None:
    kept = {}
    for pruner, rounds in itertools.product(("magnitude", "random", "synflow"), (1, 30)):
        config = config_of(
            pruner, "singleshot", scope="global", score_rounds=rounds, density=0.15, seed=2
        )
        [event] = finished(*begun(config))
        kept[pruner, rounds] = event.level.mask.kept
    for pruner in ("magnitude", "random"):
        assert np.array_equal(kept[pruner, 1], kept[pruner, 30])
    assert not np.array_equal(kept["synflow", 1], kept["synflow", 30])


def test_a_network_without_any_path_is_trained_all_the_same() -> None:
    config = config_of(
        "magnitude", "singleshot", scope="global", density=0.02, prune_biases=True, optimizer="sgd"
    )
    ready, init = begun(config)

    def outputs_first(candidate: Candidate) -> Array:
        return np.arange(len(candidate.theta), 0.0, -1.0)

    with pytest.warns(UserWarning, match=r"^level 0 prunes all of 'fc2.weight'$"):
        [event] = finished(replace(ready, criterion=outputs_first), init)
    assert event.level.status == "done"
    assert event.level.metrics["connected"] == 0.0
    assert event.level.metrics["test_loss"] == pytest.approx(np.log(3), rel=1e-6)
    for name, value in event.level.metrics.items():
        assert np.isfinite(value), name


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_levels_after_a_collapse_are_trained_too(pruner: str, optimizer: str) -> None:
    config = config_of(
        pruner, "multishot", density=0.02, levels=5, prune_biases=True, optimizer=optimizer
    )
    ready, init = begun(config, module=noisy())
    levels = [event.level for event in finished(ready, init)]
    assert [level.status for level in levels] == ["done"] * 5
    assert levels[0].metrics["connected"] == 1.0
    assert levels[-1].metrics["connected"] == 0.0


def test_a_lost_path_is_told_once_and_recorded() -> None:
    def halves(candidate: Candidate) -> Array:
        scores = np.ones(len(candidate.theta))
        tensors = candidate.mask.spec.unflatten(scores)
        tensors["fc1.weight"][4:] = 0  # the first four units have inputs,
        tensors["fc2.weight"][:, :4] = 0  # the last four have outputs
        return candidate.mask.spec.flatten(tensors)

    config = config_of("magnitude", "exponential", density=0.25, levels=3, scope="layer")
    ready, init = begun(config)
    with pytest.warns(
        UserWarning, match="^level 1 prunes every path from input to output$"
    ) as told:
        levels = finished(replace(ready, criterion=halves), init)
    assert [event.level.metrics["connected"] for event in levels] == [1.0, 0.0, 0.0]
    assert len(told) == 1


@pytest.mark.parametrize("last", [3, 6, 14])
def test_the_last_level_takes_its_own_steps(last: int) -> None:
    config = config_of("magnitude", "multishot", last_iterations=last, rewind_step=2)
    ready, init = begun(config)
    levels = [event.level for event in finished(ready, init)]
    ends = [level.trace.column("step")[-1] for level in levels]
    assert ends == [6, 6, 6, last]
    plain = finished(*begun(replace(config, last_iterations=None)))
    for one, other in zip(levels[:-1], plain[:-1], strict=True):
        assert level_bits(one) == level_bits(other.level)


def test_the_last_level_is_resumed() -> None:
    config = config_of("magnitude", "multishot", last_iterations=11)
    ready, init = begun(config)
    whole, moments = [], []
    for event in imp(ready, init):
        if isinstance(event, Finished):
            whole.append(event)
        elif event.level == 3:
            moments.append(event.capture())
    assert [int(state["step"][0]) for state in moments] == [0, 3, 6, 9, 11]
    for state in moments:
        ready, init = begun(config)
        resume = Resume(whole[-2].level, whole[-2].origins["rewind"], state)
        [event] = finished(ready, init, resume)
        assert level_bits(event.level) == level_bits(whole[-1].level)


def test_what_a_criterion_sees_is_the_level_just_trained() -> None:
    asked: list[Candidate] = []

    def curious(candidate: Candidate) -> Array:
        asked.append(candidate)
        return magnitude(candidate)

    config = config_of("magnitude", "multishot", levels=3)
    ready, init = begun(config, module=noisy())
    levels = finished(replace(ready, criterion=curious), init)
    for candidate, event in zip(asked, levels[:-1], strict=True):
        sight = candidate.seen("test")
        assert sight.network is ready.network
        assert sight.task is ready.task
        assert sight.config is config
        final = event.level.points["final"]
        assert point_bits(Point(candidate.theta, candidate.buffers)) == point_bits(final)
