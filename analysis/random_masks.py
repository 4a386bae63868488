"""Overlap of random masks: the exact null model that an overlap is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft
from scipy.optimize import brentq
from scipy.special import betaln

from landscape.data_store.params import Array


def random_overlap(
    weights: Array, kept_a: Array, kept_b: Array, kept_both: int
) -> tuple[float, float]:
    """Expected Jaccard index of random masks, and the log-probability of so much overlap.

    In layer i the intersection X_i of two random masks is hypergeometric; the layers are
    independent and I is the sum of the X_i.

    Parameters
    ----------
    weights, kept_a, kept_b
        Sizes of the layers and numbers of weights kept in each, (layers,).
    kept_both
        The observed I, over all layers.

    Returns
    -------
    expected
        E[I / (k_a + k_b - I)]; NaN if both masks are empty.
    log_p
        log P(I >= kept_both), in nats.

    Notes
    -----
    Probabilities are sums over windows that leave out less than 1e-30 of the tilted
    distribution. Rounding adds a relative 1e-12 to `expected`, and to `log_p` an absolute
    error of 3e-8 per layer of 10^7 weights, in proportion less for smaller ones.
    Sixty layers of 10^7 weights take half a second.

    Examples
    --------
    Masks that keep two of four weights share 0, 1 or 2 of them with chances 1/6, 4/6, 1/6:

    >>> expected, log_p = random_overlap(np.array([4]), np.array([2]), np.array([2]), 2)
    >>> round(expected, 6), round(math.exp(log_p), 6)
    (0.388889, 0.166667)
    """
    draws = [
        _Draw.of(int(n), int(a), int(b)) for n, a, b in zip(weights, kept_a, kept_b, strict=True)
    ]
    kept = int(kept_a.sum() + kept_b.sum())
    if kept == 0:
        return math.nan, 0.0
    start, mass = _sum([draw.tilted(0.0) for draw in draws])
    shared = start + np.arange(mass.size) + sum(draw.shift for draw in draws)
    expected = float(mass @ (shared / (kept - shared)))
    return expected, _log_upper_tail(draws, kept_both)


@dataclass(frozen=True)
class _Window:
    """A tilted distribution where its mass is: P(start + i) = mass[i], sum 1."""

    start: int
    mass: Array
    log_normalizer: float

    @cached_property
    def mean(self) -> float:
        """Mean of the tilted distribution."""
        return self.start + float(self.mass @ np.arange(self.mass.size))

    @cached_property
    def variance(self) -> float:
        """Variance of the tilted distribution."""
        return float(self.mass @ (self.start + np.arange(self.mass.size) - self.mean) ** 2)


@dataclass(frozen=True)
class _Draw:
    """The overlap of two random masks of a layer, less the `shift` they cannot avoid.

    ``small <= large`` and ``small + large <= size``, so that the support is 0 … small.
    """

    size: int
    small: int
    large: int
    shift: int

    @classmethod
    def of(cls, size: int, a: int, b: int) -> _Draw:
        """The draw of masks that keep `a` and `b` of `size` weights.

        Masks that together keep more than there is must overlap in a + b - size weights;
        beyond these, what both keep is distributed as what both prune.
        """
        shift = max(0, a + b - size)
        if shift:
            a, b = size - a, size - b
        return cls(size, min(a, b), max(a, b), shift)

    @property
    def complement(self) -> _Draw:
        """The draw of small - X."""
        return _Draw.of(self.size, self.small, self.size - self.large)

    def log_mass(self, x: int) -> float:
        """Log-probability of X = x."""
        return (
            _log_binomial(self.small, x)
            + _log_binomial(self.size - self.small, self.large - x)
            - _log_binomial(self.size, self.large)
        )

    def tilted_mean(self, tilt: float) -> float:
        """Mean under ``P(x) exp(tilt x)``, tilt >= 0, to within about one half.

        Root of x (N - a - b + x) = w (a - x)(b - x), w = exp(tilt) (Cornfield, 1956); exact
        at tilt 0. Written so that nothing cancels for a + b <= N.
        """
        inverse, rest = math.exp(-tilt), self.size - self.small - self.large
        both, product = self.small + self.large, self.small * self.large
        middle = inverse * rest + both
        root = math.sqrt(
            (self.large - self.small) ** 2
            + inverse * (2 * both * rest + 4 * product + inverse * rest**2)
        )
        return 2 * product / (middle + root) if product else 0.0

    def tilted(self, tilt: float) -> _Window:
        """The distribution proportional to ``P(x) exp(tilt x)``, where its mass is.

        X is a sum of independent Bernoulli variables, tilted or not (Vatutin and Mikhailov,
        1982), so its variance is below min(mean, small - mean) and Bernstein's inequality
        bounds what lies more than 50 + 12 standard deviations from its mean by 2 exp(-72).
        """
        middle = self.tilted_mean(tilt)
        reach = _reach(min(middle, self.small - middle))
        low = max(0, math.floor(middle) - reach)
        x = np.arange(low, min(self.small, math.ceil(middle) + reach), dtype=np.float64)
        gain = (self.small - x) * (self.large - x)
        loss = (x + 1) * (self.size - self.small - self.large + x + 1)
        log_mass = np.concatenate([[0.0], np.cumsum(np.log(gain / loss) + tilt)])
        peak = float(log_mass.max())
        mass = np.exp(log_mass - peak)
        total = float(mass.sum())
        return _Window(low, mass / total, self.log_mass(low) + tilt * low + peak + math.log(total))


def _reach(variance: float) -> int:
    """Half-width of a window around the mean: 50 + 12 standard deviations."""
    return math.ceil(50 + 12 * math.sqrt(max(variance, 0.0)))


def _log_binomial(n: int, k: int) -> float:
    """Logarithm of n over k."""
    return float(-betaln(n - k + 1, k + 1) - math.log1p(n))


def _sum(windows: Sequence[_Window]) -> tuple[int, Array]:
    """First value and probabilities of the sum of independent windowed variables.

    One circular convolution: what wraps around is outside the window of the sum, which is
    a sum of Bernoulli variables too.
    """
    middle = sum(window.mean for window in windows)
    reach = _reach(sum(window.variance for window in windows))
    first = sum(window.start for window in windows)
    last = sum(window.start + window.mass.size - 1 for window in windows)
    low, high = max(first, math.floor(middle) - reach), min(last, math.ceil(middle) + reach)
    length = fft.next_fast_len(max(high - low + 1, *(w.mass.size for w in windows)), real=True)
    transform = np.ones(length // 2 + 1, dtype=np.complex128)
    for window in windows:
        transform *= fft.rfft(window.mass, length)
    mass = np.roll(fft.irfft(transform, length), first - low)
    return low, mass[: high - low + 1]


def _log_upper_tail(draws: Sequence[_Draw], overlap: int) -> float:
    """log P(I >= overlap) for the sum of the draws and their shifts.

    Exponential tilting: with q the distribution tilted so that its mean is the observed x,
    P(X >= x) = exp(K - tilt x) sum_{y >= x} q(y) exp(-tilt (y - x)), K its log-normaliser.
    """
    observed = overlap - sum(draw.shift for draw in draws)
    highest = sum(draw.small for draw in draws)
    if observed <= 0:
        return 0.0
    if observed >= highest:
        nested = sum(draw.log_mass(draw.small) for draw in draws)
        return nested if observed == highest else -math.inf
    if observed <= sum(draw.tilted_mean(0.0) for draw in draws):
        below = _log_upper_tail([draw.complement for draw in draws], highest - observed + 1)
        return math.log1p(-math.exp(below))
    tilt = _tilt_to(draws, observed)
    windows = [draw.tilted(tilt) for draw in draws]
    start, mass = _sum(windows)
    beyond = mass[observed - start :]
    tail = float(beyond @ np.exp(-tilt * np.arange(beyond.size)))
    normalizer = sum(window.log_normalizer for window in windows)
    return normalizer - tilt * observed + math.log(tail)


def _tilt_to(draws: Sequence[_Draw], mean: int) -> float:
    """The tilt >= 0 that moves the mean of the sum to `mean`, to a small part of its width."""

    def excess(tilt: float) -> float:
        return sum(draw.tilted(tilt).mean for draw in draws) - mean

    if excess(0.0) >= 0:  # by rounding: the caller found the mean below
        return 0.0
    return float(brentq(excess, 0.0, 100.0, xtol=1e-6))
