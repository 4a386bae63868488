"""Claims: seven statements about iterative pruning, each judged by a rule on measured numbers.

The statements are those of Saleem et al. (2024). Each is taken as a hypothesis and split into
comparisons, one per run, level and (where there are several) other strategy, from which
`landscape.analysis.verdict` makes a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from landscape.analysis.measured import IMP, Measured, Rule
from landscape.analysis.verdict import VOLUME, Finding, all_of, contrary, score, verdict
from landscape.data_store.params import Array

OTHERS = ("one-shot", "reinit", "random", "largest-first")

_BETWEEN, _FROM_BASELINE = "previous-solution", "baseline-solution"


def exposed_volume(m: Measured) -> Finding:
    """1: smaller minima that generalise better, against new weights under the same mask."""
    (volume, volume_se), (other_volume, other_volume_se) = m.volume(IMP), m.volume("reinit")
    (own, own_se), (other, other_se) = m.quality(IMP), m.quality("reinit")
    same = m.values("dimensions", IMP) == m.values("dimensions", "reinit")
    smaller = np.where(same, other_volume - volume, np.nan)
    scores = all_of(
        score(smaller, np.hypot(volume_se, other_volume_se)),
        score(other - own, np.hypot(own_se, other_se)),
    )
    asked = np.isfinite(m.values("dimensions", IMP))
    unsound = int((asked & np.isnan(volume)).sum())
    found = f"{unsound} of {asked.sum()} volumes of IMP were rejected by their own diagnostics"
    return _finding(
        m,
        1,
        "IMP finds minima of small volume that generalise well and are hard to find directly",
        "the minimum of IMP has a smaller volume (log per dimension, same mask) than that found "
        "from new initial weights, and a lower test error",
        scores[:, None],
        (*m.lacks("reinit"), *(() if asked.any() else (VOLUME,))),
        f"log volume per dimension of IMP {_spread(-smaller, '{:+.3g}'.format)} nats against new "
        f"weights, test error {_spread(own - other, _signed)}; {_ends(volume, m)}",
        _by_run(-smaller),
        "log volume per dimension, IMP minus new weights (nats)",
        found if unsound else "",
    )


def separated(m: Measured) -> Finding:
    """2: successive solutions are separated by barriers."""
    barrier, error = m.barrier(IMP, _BETWEEN)
    scores = score(barrier - m.rule.epsilon, error)
    number = m.rule.number
    return _finding(
        m,
        2,
        "successive IMP solutions are separated by barriers",
        f"the barrier of the {m.rule.words} between L(i) and L(i+1) is above "
        f"{number(m.rule.epsilon)}",
        scores[:, None],
        m.lacks(IMP),
        f"barrier {_spread(barrier, number)}, at most {number(_most(barrier))}",
        _by_run(barrier),
        f"mean barrier of the {m.rule.words}",
    )


def same_sublevel_set(m: Measured) -> Finding:
    """3: IMP stays in a sublevel set, other strategies leave it and do worse."""
    stays = m.above(IMP, m.rule.reference)
    own, own_se = m.quality(IMP)
    scores = []
    for other in OTHERS:
        leaves = m.above(other, m.rule.reference)
        quality, se = m.quality(other)
        worse = score(quality - own, np.hypot(se, own_se))
        scores.append(all_of(contrary(score(*stays)), score(*leaves), worse))
    words = {"previous": "L(i)", "dense": "L(0)"}
    shares = [_shares(m, strategy) for strategy in (IMP, *OTHERS) if m.has(strategy)]
    return _finding(
        m,
        3,
        "IMP solutions stay in one sublevel set; other strategies leave it and do worse",
        f"L(i+1) is within {m.rule.number(m.rule.epsilon)} {m.rule.words} of "
        f"{words[m.rule.reference]} of the run, and the other strategy's solution of that "
        "density is not, and has the higher test error",
        np.stack(scores, axis=1),
        m.lacks(*OTHERS),
        "inside the set of L(i) / of L(0): " + "; ".join(shares),
        _by_run(np.where(np.isnan(stays[0]), np.nan, stays[0] <= 0)),
        "share of IMP solutions inside",
    )


def leaves_baseline(m: Measured) -> Finding:
    """4: rewinding leaves the baseline's neighbourhood and finds better minima."""
    barrier, error = m.barrier(IMP, _FROM_BASELINE)
    (own, own_se), (tuned, tuned_se) = m.quality(IMP), m.quality("finetune")
    better = score(tuned - own, np.hypot(own_se, tuned_se))
    scores = all_of(score(barrier - m.rule.epsilon, error), better)
    angle = m.values("angle", IMP, path=_FROM_BASELINE)
    distance = m.values("distance", IMP, path=_FROM_BASELINE)
    number = m.rule.number
    return _finding(
        m,
        4,
        "rewinding leaves the baseline's neighbourhood and finds better minima",
        f"the barrier of the {m.rule.words} between the baseline and the rewound solution is "
        f"above {number(m.rule.epsilon)}, and the fine-tuned solution of that density has the "
        "higher test error",
        scores[:, None],
        m.lacks("finetune"),
        f"barrier {_spread(barrier, number)}, distance {_spread(distance)}, angular distance "
        f"{_spread(angle)}; test error of fine-tuning {_spread(tuned - own, _signed)} against "
        "rewinding",
        _by_run(barrier),
        f"mean barrier of the {m.rule.words} from the baseline",
    )


def good_baselines(m: Measured) -> Finding:
    """5: the baselines of iterating are good, that of one-shot pruning is poor."""
    iterated = m.height(IMP, "baseline")
    once = m.height("one-shot", "baseline")
    worse, error = once[0] - iterated[0], np.hypot(iterated[1], once[1])
    worse = np.where(m.ds["level"] > 1, worse, np.nan)  # the first step is the same for both
    return _finding(
        m,
        5,
        "iterating gives good baselines; the one-shot baseline is too poor",
        f"the baseline of one-shot pruning has the higher {m.rule.words} at the same density, "
        "below level 1",
        score(worse, error)[:, None],
        m.lacks("one-shot"),
        f"baseline of one-shot {_spread(np.where(np.isnan(worse), np.nan, once[0]), m.rule.number)}"
        f", of IMP {_spread(np.where(np.isnan(worse), np.nan, iterated[0]), m.rule.number)}",
        _by_run(worse),
        f"{m.rule.words} of the baseline, one-shot minus IMP",
    )


def small_weights(m: Measured) -> Finding:
    """6: pruning small weights keeps the baseline good, pruning others degrades it."""
    own, own_se = m.height(IMP, "baseline")
    others = [m.height(other, "baseline") for other in ("random", "largest-first")]
    worse = np.stack([values - own for values, _ in others], axis=1)
    error = np.stack([np.hypot(own_se, se) for _, se in others], axis=1)
    number = m.rule.number
    return _finding(
        m,
        6,
        "pruning small weights keeps the baseline good; pruning large or random ones degrades it",
        f"the baseline of random pruning, or of largest-first pruning, has the higher "
        f"{m.rule.words} at the same density",
        score(worse, error),
        m.lacks("random", "largest-first"),
        f"baseline of IMP {_spread(own, number)}, of random pruning "
        f"{_spread(others[0][0], number)}, of largest-first {_spread(others[1][0], number)}",
        _by_run(worse),
        f"{m.rule.words} of the baseline, others minus IMP",
    )


def fine_tuning_stays(m: Measured) -> Finding:
    """7: fine-tuning stays near the baseline, rewinding escapes it."""
    bound = m.rule.epsilon
    tuned, tuned_se = m.barrier("finetune", _FROM_BASELINE)
    rewound, rewound_se = m.barrier(IMP, _FROM_BASELINE)
    gaps = {
        name: m.values(name, IMP, path=_FROM_BASELINE)
        - m.values(name, "finetune", path=_FROM_BASELINE)
        for name in ("distance", "angle")
    }
    signs = np.sign(gaps["distance"]) + np.sign(gaps["angle"])
    nearer = np.where(np.isnan(signs), np.nan, np.trunc(signs / 2))
    scores = all_of(
        nearer, contrary(score(tuned - bound, tuned_se)), score(rewound - bound, rewound_se)
    )
    number = m.rule.number
    numbers = [
        f"{name} {_spread(m.values(name, s, path=_FROM_BASELINE))}"
        for s in ("finetune", IMP)
        for name in ("distance", "angle")
    ]
    return _finding(
        m,
        7,
        "fine-tuning stays near the baseline; rewinding escapes it",
        f"the fine-tuned solution is nearer to its baseline than the rewound one (in distance "
        f"and in angle) with a barrier of the {m.rule.words} of at most {number(bound)}, and "
        "the rewound one has a higher barrier",
        scores[:, None],
        m.lacks("finetune"),
        f"fine-tuned: {numbers[0]}, {numbers[1]}, barrier {_spread(tuned, number)}; rewound: "
        f"{numbers[2]}, {numbers[3]}, barrier {_spread(rewound, number)}",
        _by_run(gaps["angle"]),
        "angular distance from the baseline, rewound minus fine-tuned",
    )


CLAIMS: tuple[Callable[[Measured], Finding], ...] = (
    exposed_volume,
    separated,
    same_sublevel_set,
    leaves_baseline,
    good_baselines,
    small_weights,
    fine_tuning_stays,
)


def findings(ds: xr.Dataset, rule: Rule) -> list[Finding]:
    """What becomes of the seven claims, in order.

    Parameters
    ----------
    ds
        The measured part of an insights dataset, without its ``study`` dimension.
    rule
        By what they are judged.
    """
    measured = Measured(ds, rule)
    return [claim(measured) for claim in CLAIMS]


def _finding(
    m: Measured,
    number: int,
    statement: str,
    rule: str,
    scores: Array,
    missing: Sequence[str],
    numbers: str,
    effect: Array,
    effect_name: str,
    note: str = "",
) -> Finding:
    """The finding with its verdict, and the rule as a whole sentence."""
    found = verdict(scores, m.rule.share, missing)
    known = np.isfinite(scores).sum()
    count = f"{int((scores == 1).sum())} of {known} comparisons in favour"
    told = [count + _where(scores, m), numbers, note] if known else ["nothing to compare", note]
    return Finding(
        number,
        statement,
        found,
        f"holds if in at least {m.rule.share:.0%} of the comparisons {rule}",
        "; ".join(filter(None, told)),
        scores,
        tuple(missing),
        effect,
        effect_name,
    )


def _by_run(values: Array) -> Array:
    """Mean (replicate,) over all other dimensions of what is known; NaN where nothing is."""
    rows = values.reshape(len(values), -1)
    known = [row[np.isfinite(row)] for row in rows]
    return np.array([row.mean() if len(row) else math.nan for row in known])


def _most(values: Array) -> float:
    """The largest known value."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else math.nan


def _spread(values: Array, show: Callable[[float], str] = "{:.3g}".format) -> str:
    """Mean as text, with its least and greatest over the runs where there are several."""
    by_run = _by_run(values)
    by_run = by_run[np.isfinite(by_run)]
    if not len(by_run):
        return "unknown"
    if len(by_run) == 1:
        return show(float(by_run[0]))
    low, high = show(float(by_run.min())), show(float(by_run.max()))
    return f"{show(float(by_run.mean()))} ({low} to {high} over {len(by_run)} runs)"


def _signed(value: float) -> str:
    """A difference of fractions in percentage points."""
    return f"{100 * value:+.2f} pp"


def _ends(values: Array, m: Measured) -> str:
    """The first and the last known level of an array, averaged over runs."""
    levels = m.ds["level"].values[np.isfinite(values).any(axis=0)]
    if not len(levels):
        return "by level unknown"
    first, last = (
        float(np.nanmean(values[:, m.ds["level"].values == level]))
        for level in (levels[0], levels[-1])
    )
    return f"of IMP {first:.3g} at level {levels[0]:.0f}, {last:.3g} at level {levels[-1]:.0f}"


def _where(scores: Array, m: Measured) -> str:
    """The levels of comparisons in favour as text, levels that follow each other as a range."""
    known = np.isfinite(scores).any(axis=(0, 1))
    levels = m.ds["level"].values[known]
    favoured = (scores == 1).any(axis=(0, 1))[known]
    if not favoured.any() or favoured.all():
        return ""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], favoured, [False]])))
    ranges = [levels[first:end] for first, end in edges.reshape(-1, 2)]
    names = [f"{r[0]:.0f}" + (f" to {r[-1]:.0f}" if len(r) > 1 else "") for r in ranges]
    return f" (level {', '.join(names)})"


def _shares(m: Measured, strategy: str) -> str:
    """How many solutions of a strategy lie in the sets of the level before and of level 0."""
    counts = []
    for reference in ("previous", "dense"):
        margin, _ = m.above(strategy, reference)
        known = margin[np.isfinite(margin)]
        counts.append(f"{int((known <= 0).sum())} of {len(known)}")
    return f"{strategy} {' / '.join(counts)}"
