"""Matched masks: what two masks share once hidden units are matched, and what chance would.

A ticket that sits on other units is the same ticket. Units of the second mask are put in the order
under which as many weights as possible are kept by both; random masks are given the same chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.analysis.alignment.align import weight_matching
from landscape.analysis.alignment.symmetry import Permutations, permuted_vector
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array

_STARTS = 4


def matched_counts(
    structure: Permutations, a: Mask, b: Mask, layers: Sequence[str], *, draws: int, seed: int
) -> tuple[Array, Array]:
    """Weights kept by both masks after matching their units, and the same for random masks.

    ``max_P Σ_layers |a ∩ P(b)|`` over orders P of the hidden units, by `weight_matching` on masks
    of 0 and 1: one linear assignment per layer, repeated until none can be improved, from the order
    as it is, from one grown from inputs and outputs, and from two random ones. The maximum found is
    a local one, and never below what is kept by both unmatched.

    Random masks keep as many weights of each layer as `a`, at uniformly random places; they are
    matched with `b` in the same way.

    Parameters
    ----------
    structure
        Which units can be renumbered.
    a, b
        Masks of one network.
    layers
        Names of the tensors that count.
    draws
        How many random masks.
    seed
        Of the random masks and the random orders: ``[seed, draw]`` names one.

    Returns
    -------
    found, chance
        Whole numbers (layers,) and (draws, layers).

    Notes
    -----
    No loss evaluations: ``1 + draws`` matchings of four starts each.
    """
    found = _matched(structure, a.kept, b, layers, seed)
    chance = np.zeros((draws, len(layers)), dtype=np.int64)
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        kept = a.kept.copy()
        for name in layers:
            rng.shuffle(kept[a.spec.slices[name]])
        chance[draw] = _matched(structure, kept, b, layers, seed)
    return found, chance


def _matched(
    structure: Permutations, kept: Array, b: Mask, layers: Sequence[str], seed: int
) -> Array:
    """Weights of each layer kept by both after matching (layers,)."""
    counted = np.zeros(b.spec.size, dtype=np.bool_)
    for name in layers:
        counted[b.spec.slices[name]] = True
    first, second = ((mask & counted).astype(np.float64) for mask in (kept, b.kept))
    orders = weight_matching(
        structure, b.spec.unflatten(first), b.spec.unflatten(second), seed=seed, starts=_STARTS
    ).orders
    both = kept & permuted_vector(structure, b.spec, b.kept, orders)
    return np.array([np.count_nonzero(both[b.spec.slices[name]]) for name in layers], np.int64)
