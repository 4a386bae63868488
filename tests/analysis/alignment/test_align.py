"""Alignment: planted orders found, the objective against the naive sum, ties, and refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.analysis.alignment.align import activation_matching, similarity, weight_matching
from landscape.analysis.alignment.symmetry import Group, Member, Permutations, permuted
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.params import Array

Tensors = dict[str, Array]


def mlp(widths: list[int]) -> tuple[Permutations, dict[str, tuple[int, ...]]]:
    """The structure of a multilayer perceptron, and its shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inner, outer) in enumerate(itertools.pairwise(widths), start=1):
        shapes |= {f"fc{i}.weight": (outer, inner), f"fc{i}.bias": (outer,)}
    groups = [
        Group(
            size,
            (
                Member(f"fc{i}.weight", 0),
                Member(f"fc{i}.bias", 0),
                Member(f"fc{i + 1}.weight", 1),
            ),
        )
        for i, size in enumerate(widths[1:-1], start=1)
    ]
    return Permutations(tuple(groups)), shapes


def residual(stages: list[int], blocks: int) -> tuple[Permutations, dict[str, tuple[int, ...]]]:
    """A residual network as ResNet-20: a stream per stage, shortcuts by 1 × 1, BatchNorm."""
    shapes: dict[str, tuple[int, ...]] = {}
    groups: list[tuple[int, list[Member]]] = []

    def convolution(name: str, inner: int | None, outer: int, width: int, size: int) -> None:
        fan_in = groups[inner][0] if inner is not None else 3
        shapes[f"{name}.weight"] = (width, fan_in, size, size)
        groups[outer][1].append(Member(f"{name}.weight", 0))
        if inner is not None:
            groups[inner][1].append(Member(f"{name}.weight", 1))
        for tensor in ("scale", "shift", "mean"):
            shapes[f"{name}.{tensor}"] = (width,)
            groups[outer][1].append(Member(f"{name}.{tensor}", 0, buffer=tensor == "mean"))

    stream: int | None = None
    for s, width in enumerate(stages):
        groups.append((width, []))
        own = len(groups) - 1
        if stream is None:
            convolution("stem", None, own, width, 3)
        for b in range(blocks):
            source = own if b or stream is None else stream
            groups.append((width, []))
            convolution(f"s{s}b{b}c1", source, len(groups) - 1, width, 3)
            convolution(f"s{s}b{b}c2", len(groups) - 1, own, width, 3)
            if source != own:
                convolution(f"s{s}shortcut", source, own, width, 1)
        stream = own
    assert stream is not None
    shapes["fc.weight"] = (10, stages[-1])
    groups[stream][1].append(Member("fc.weight", 1))
    return Permutations(tuple(Group(size, tuple(members)) for size, members in groups)), shapes


def drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def naive(structure: Permutations, a: Tensors, b: Tensors, orders: list[Array]) -> float:
    """The objective as its definition says it, entry by entry of the moved tensors."""
    moved = permuted(structure, b, orders)
    names = {m.tensor for g in structure.groups for m in g.members if not m.buffer}
    total = 0.0
    for name in names:
        for x, y in zip(
            a[name].reshape(-1).tolist(), moved[name].reshape(-1).tolist(), strict=True
        ):
            total += x * y
    return total


def inverses(orders: tuple[Array, ...]) -> list[list[int]]:
    return [np.argsort(order).tolist() for order in orders]


NETWORKS = {
    "mlp": mlp([20, 30, 25, 10]),
    "deep narrow mlp": mlp([8, 12, 12, 12, 12, 5]),
    "resnet": residual([16, 32, 64], 3),
    "narrow resnet": residual([4, 6, 8], 2),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_permutation_is_recovered_exactly(name: str, seed: int) -> None:
    structure, shapes = NETWORKS[name]
    a = drawn(shapes, seed)
    planted = structure.drawn(np.random.default_rng(seed + 10))
    b = permuted(structure, a, planted)
    found = weight_matching(structure, a, b, seed=seed)
    assert [order.tolist() for order in found.orders] == inverses(planted)
    assert found.converged
    back = permuted(structure, b, found.orders)
    for tensor, values in a.items():
        assert np.array_equal(back[tensor], values)


def test_a_planted_permutation_is_recovered_through_noise() -> None:
    structure, shapes = NETWORKS["resnet"]
    a, noise = drawn(shapes, 0), drawn(shapes, 1)
    planted = structure.drawn(np.random.default_rng(2))
    b = permuted(structure, {n: x + 0.3 * noise[n] for n, x in a.items()}, planted)
    found = weight_matching(structure, a, b, seed=0)
    assert [order.tolist() for order in found.orders] == inverses(planted)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_objective_never_decreases_and_is_the_naive_sum(name: str) -> None:
    structure, shapes = NETWORKS[name]
    a, b = drawn(shapes, 3), drawn(shapes, 4)
    found = weight_matching(structure, a, b, seed=5)
    assert (np.diff(found.history) >= 0).all()
    if found.start == 0:
        assert found.history[0] == similarity(structure, a, b, structure.identity())
    assert found.history[-1] > similarity(structure, a, b, structure.identity())
    if name != "resnet":
        assert found.history[-1] == pytest.approx(naive(structure, a, b, list(found.orders)))


def test_each_group_is_at_its_best_given_the_others() -> None:
    structure, shapes = mlp([3, 4, 4, 2])
    a, b = drawn(shapes, 0), drawn(shapes, 1)
    found = weight_matching(structure, a, b, seed=0)
    for g in range(2):
        for order in itertools.permutations(range(4)):
            other = [*found.orders]
            other[g] = np.array(order)
            assert similarity(structure, a, b, other) <= found.history[-1] + 1e-9


def test_one_hidden_layer_is_aligned_optimally() -> None:
    structure, shapes = mlp([3, 5, 2])
    a, b = drawn(shapes, 0), drawn(shapes, 1)
    best = max(naive(structure, a, b, [np.array(o)]) for o in itertools.permutations(range(5)))
    found = weight_matching(structure, a, b, seed=0, starts=1)
    assert found.history[-1] == pytest.approx(best)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sparse=st.booleans())
def test_a_network_aligned_to_itself_gets_the_identity(seed: int, sparse: bool) -> None:
    structure, shapes = NETWORKS["narrow resnet"]
    a = drawn(shapes, seed)
    if sparse:  # equal units: whole channels of zeros, and the same twice
        for name, tensor in a.items():
            a[name] = np.where(
                np.arange(len(tensor)).reshape(-1, *[1] * (tensor.ndim - 1)) < 2, tensor, 0
            )
    found = weight_matching(structure, a, a, seed=seed)
    assert [order.tolist() for order in found.orders] == [
        list(range(g.size)) for g in structure.groups
    ]
    assert found.start == 0


def test_more_starts_are_never_worse_and_the_same_seed_gives_the_same() -> None:
    structure, shapes = NETWORKS["deep narrow mlp"]
    a, b = drawn(shapes, 3), drawn(shapes, 4)
    values = [weight_matching(structure, a, b, seed=0, starts=n).history[-1] for n in (1, 2, 4, 8)]
    assert values == sorted(values)
    assert values[-1] > values[0]
    one, two = (weight_matching(structure, a, b, seed=7, starts=4) for _ in range(2))
    assert one.start == two.start
    assert np.array_equal(one.history, two.history)
    assert all(np.array_equal(x, y) for x, y in zip(one.orders, two.orders, strict=True))


def test_statistics_of_batch_norm_do_not_count() -> None:
    structure, shapes = NETWORKS["narrow resnet"]
    a, b = drawn(shapes, 0), drawn(shapes, 1)
    c = {n: x * 100 if n.endswith("mean") else x for n, x in b.items()}
    one, two = weight_matching(structure, a, b, seed=0), weight_matching(structure, a, c, seed=0)
    assert np.array_equal(one.history, two.history)
    without = {n: x for n, x in a.items() if not n.endswith("mean")}
    assert similarity(structure, without, b, one.orders) == one.history[-1]


def test_rounds_that_run_out_are_reported() -> None:
    structure, shapes = NETWORKS["deep narrow mlp"]
    a, b = drawn(shapes, 3), drawn(shapes, 4)
    found = weight_matching(structure, a, b, seed=0, starts=1, rounds=1)
    assert len(found.history) == 2
    assert not found.converged


def square(size: int) -> tuple[Permutations, dict[str, tuple[int, ...]]]:
    """A residual branch of one layer: its matrix has both axes in the group."""
    group = Group(size, (Member("in", 0), Member("w", 0), Member("w", 1), Member("out", 1)))
    return Permutations((group,)), {"in": (size, 2), "w": (size, size), "out": (2, size)}


@pytest.mark.parametrize("seed", range(5))
def test_a_tensor_with_both_axes_in_one_group_is_never_made_worse(seed: int) -> None:
    structure, shapes = square(8)
    a, b = drawn(shapes, seed), drawn(shapes, seed + 100)
    found = weight_matching(structure, a, b, seed=0)
    assert (np.diff(found.history) >= 0).all()
    assert found.history[-1] == pytest.approx(naive(structure, a, b, list(found.orders)))
    planted = structure.drawn(np.random.default_rng(seed))
    found = weight_matching(structure, a, permuted(structure, a, planted), seed=0)
    assert [order.tolist() for order in found.orders] == inverses(planted)


def test_without_groups_nothing_is_to_be_found() -> None:
    found = weight_matching(Permutations(()), {}, {}, seed=0)
    assert (found.orders, found.history.tolist(), found.converged) == ((), [0.0], True)


def test_activations_are_matched_by_the_best_assignment() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.uniform(-1, 1, (n, n)) for n in (5, 4)]
    for matrix, order in zip(matrices, activation_matching(matrices), strict=True):
        sums = [
            sum(matrix[i, j] for i, j in enumerate(o))
            for o in itertools.permutations(range(len(matrix)))
        ]
        assert matrix[range(len(matrix)), order].sum() == pytest.approx(max(sums))


def test_where_orders_are_equal_units_stay_in_place() -> None:
    assert activation_matching([np.zeros((6, 6))])[0].tolist() == list(range(6))
    assert activation_matching([np.ones((6, 6))])[0].tolist() == list(range(6))
    swapped = np.zeros((6, 6))
    swapped[1, 4] = swapped[4, 1] = 1.0  # all others are dead
    assert activation_matching([swapped])[0].tolist() == [0, 4, 2, 3, 1, 5]


@pytest.mark.parametrize(("starts", "rounds"), [(0, 1), (1, 0)])
def test_no_starts_or_rounds_are_refused(starts: int, rounds: int) -> None:
    with pytest.raises(UsageError, match=f"starts is {starts} and rounds {rounds}; both must be"):
        weight_matching(Permutations(()), {}, {}, seed=0, starts=starts, rounds=rounds)


def test_weights_that_do_not_fit_are_refused() -> None:
    structure, shapes = mlp([3, 4, 2])
    a = drawn(shapes, 0)
    less = {n: x for n, x in a.items() if n != "fc1.bias"}
    with pytest.raises(LandscapeError, match=r"'fc1\.bias' is missing from the second network"):
        weight_matching(structure, a, less, seed=0)
    with pytest.raises(LandscapeError, match="value that is not finite; it cannot be matched"):
        weight_matching(structure, a | {"fc1.bias": np.full(4, np.nan)}, a, seed=0)
    wide = a | {"fc1.weight": np.zeros((4, 5))}
    with pytest.raises(LandscapeError, match=r"is \(4, 3\) in the first .* \(4, 5\) in the second"):
        weight_matching(structure, a, wide, seed=0)
    other = a | {"fc1.bias": np.zeros(5)}
    with pytest.raises(LandscapeError, match="expected 4 entries along axis 0"):
        weight_matching(structure, other, other, seed=0)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.array([[np.nan]]), np.zeros(3)])
def test_correlations_that_are_no_finite_square_are_refused(matrix: Array) -> None:
    with pytest.raises(LandscapeError, match="expected a square matrix of finite numbers"):
        activation_matching([matrix])
