"""Claims: each true, false, too close and unknown, on studies whose numbers are made up."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.claims import CLAIMS, findings
from landscape.analysis.measured import Rule
from landscape.analysis.verdict import FAILS, HOLDS, OPEN
from tests.support.studies import put, study, without

NAN = np.nan
TEST = {"split": "test"}


def judged(ds, number, **rule):
    found = findings(ds.isel(study=0), Rule(**rule))
    assert [f.number for f in found] == [1, 2, 3, 4, 5, 6, 7]
    return found[number - 1]


def volumes(imp, reinit, imp_error=0.02, reinit_error=0.03):
    ds = study()
    for strategy, volume, error in (("imp", imp, imp_error), ("reinit", reinit, reinit_error)):
        put(ds, "log_volume_per_dimension", volume, strategy=strategy)
        put(ds, "log_volume_per_dimension_se", 0.1, strategy=strategy)
        put(ds, "dimensions", 100.0, strategy=strategy)
        put(ds, "error", error, strategy=strategy, point="solution", **TEST)
    put(ds, "log_volume_per_dimension", NAN, strategy="reinit", level=0.0)
    return ds


@pytest.mark.parametrize(
    ("case", "want"),
    [
        ({"imp": -3.0, "reinit": -2.0}, HOLDS),
        ({"imp": -2.0, "reinit": -3.0}, FAILS),  # larger
        ({"imp": -3.0, "reinit": -2.0, "imp_error": 0.04}, FAILS),  # no better
        ({"imp": -2.1, "reinit": -2.0}, OPEN),  # within the noise of the volumes
        ({"imp": -3.0, "reinit": -2.0, "reinit_error": 0.0205}, OPEN),  # of the errors
    ],
)
def test_1_smaller_minima_that_are_better(case, want):
    finding = judged(volumes(**case), 1)
    assert finding.verdict == want
    assert finding.comparisons == 4
    assert finding.effect[0] == pytest.approx(case["imp"] - case["reinit"])


def test_1_compares_no_volume_that_its_own_diagnostics_reject():
    ds = volumes(-3.0, -2.0)
    put(ds, "volume_status", 1, strategy="imp", level=[1.0, 2.0])
    finding = judged(ds, 1)
    assert finding.comparisons == 2
    assert "2 of 5 volumes of IMP were rejected" in finding.measured
    put(ds, "volume_status", 1, strategy="imp")
    finding = judged(ds, 1)
    assert (finding.verdict, finding.missing) == (OPEN, ())
    assert finding.measured.startswith("nothing to compare; 5 of 5 volumes of IMP were rejected")


def test_1_compares_no_volumes_of_other_dimensions():
    ds = volumes(-3.0, -2.0)
    put(ds, "dimensions", 99.0, strategy="reinit", level=[1.0, 2.0, 3.0])
    assert judged(ds, 1).comparisons == 1


def test_1_needs_volumes_and_new_weights():
    assert judged(study(), 1).missing == ("volume",)
    assert judged(without(study(), "reinit"), 1).missing == ("reinit", "volume")
    assert judged(study(), 1).verdict == OPEN
    assert judged(study(), 1).measured == "nothing to compare"


@pytest.mark.parametrize(
    ("barrier", "want"), [(0.3, HOLDS), (0.0, FAILS), (0.0205, OPEN), (0.0195, OPEN)]
)
def test_2_barriers_between_solutions(barrier, want):
    ds = study()
    put(ds, "error_barrier", barrier, path="previous-solution", strategy="imp", **TEST)
    put(ds, "error_barrier", NAN, level=0.0)
    finding = judged(ds, 2)
    assert finding.verdict == want
    assert finding.comparisons == 4


def test_2_says_at_which_levels():
    ds = study()
    put(
        ds, "error_barrier", [NAN, 0, 0.3, 0.4, 0], path="previous-solution", strategy="imp", **TEST
    )
    finding = judged(ds, 2)
    assert finding.verdict == FAILS
    assert finding.measured.startswith("2 of 4 comparisons in favour (level 2 to 3); barrier")
    assert "at most 40.00 %" in finding.measured
    np.testing.assert_array_equal(finding.outcome, [[NAN, 0, 1, 1, 0]])


@pytest.mark.parametrize(
    ("barriers", "words"),
    [
        ([0.3, 0, 0.3, 0.3], " (level 1, 3 to 4);"), ([0, 0, 0, 0.3], " (level 4);"),
        ([0.3] * 4, "favour;"), ([0.0] * 4, "favour;"),
    ],
)  # fmt: skip
def test_levels_in_favour_are_told_where_they_are_not_all_alike(barriers, words):
    ds = study()
    where = {"path": "previous-solution", "strategy": "imp"}
    put(ds, "error_barrier", [NAN, *barriers], **where, **TEST)
    assert words in judged(ds, 2).measured


def others_leave(error=0.2):
    ds = study()
    others = ["one-shot", "random", "largest-first", "reinit"]
    put(ds, "error", error, strategy=others, point="solution", **TEST)
    put(ds, "error", NAN, strategy=others, level=0.0)
    return ds


def test_3_holds_if_imp_stays_and_the_others_leave_and_are_worse():
    finding = judged(others_leave(), 3)
    assert finding.verdict == HOLDS
    assert finding.comparisons == 16
    assert "imp 4 of 4 / 4 of 4; one-shot 0 of 4 / 0 of 4" in finding.measured
    assert finding.effect[0] == 1.0


def test_3_fails_if_the_others_stay_too():
    assert judged(others_leave(0.03), 3).verdict == FAILS


def test_3_fails_if_imp_leaves():
    ds = others_leave()
    put(ds, "error", [0.02, 0.5, 0.5, 0.5, 0.5], strategy="imp", point="solution", **TEST)
    assert judged(ds, 3).verdict == FAILS


def test_3_fails_if_the_others_leave_but_are_better():
    """The measure is the loss; by the test error the others do better."""
    ds = others_leave(0.001)
    others = ["one-shot", "random", "largest-first", "reinit"]
    put(ds, "loss", 0.9, strategy=others, point="solution", **TEST)
    assert judged(ds, 3, measure="loss").verdict == FAILS


def test_3_is_open_at_the_threshold():
    assert judged(others_leave(0.0405), 3).verdict == OPEN


def test_3_is_asked_of_the_set_that_the_rule_names():
    """Errors creep up: each level is within reach of the one before, none of level 0."""
    ds = others_leave(0.5)
    errors = [0.02, 0.06, 0.075, 0.09, 0.105]
    put(ds, "error", errors, strategy="imp", point="solution", **TEST)
    put(ds, "error", [NAN, 0.045, *errors[1:4]], strategy="imp", point="previous", **TEST)
    assert judged(ds, 3, reference="previous").verdict == HOLDS
    finding = judged(ds, 3, reference="dense")
    assert finding.verdict == FAILS
    assert "imp 4 of 4 / 0 of 4" in finding.measured
    assert "of L(0) of the run" in finding.rule


@pytest.mark.parametrize("missing", ["one-shot", "random", "largest-first", "reinit"])
def test_3_needs_every_other_strategy(missing):
    finding = judged(without(others_leave(), missing), 3)
    assert (finding.verdict, finding.missing) == (OPEN, (missing,))
    assert finding.comparisons == 12  # those that could be made are told


@pytest.mark.parametrize(
    ("barrier", "tuned", "want"),
    [
        (0.3, 0.05, HOLDS),
        (0.0, 0.05, FAILS),  # it did not leave
        (0.3, 0.01, FAILS),  # what it found is no better
        (0.3, 0.0205, OPEN),
        (0.0205, 0.05, OPEN),
    ],
)
def test_4_leaving_the_baseline_for_a_better_minimum(barrier, tuned, want):
    ds = study()
    put(ds, "error_barrier", barrier, path="baseline-solution", strategy="imp", **TEST)
    put(ds, "error_barrier", NAN, level=0.0)
    put(ds, "error", tuned, strategy="finetune", point="solution", **TEST)
    assert judged(ds, 4).verdict == want


def test_4_needs_fine_tuning():
    finding = judged(without(study(), "finetune"), 4)
    assert (finding.verdict, finding.missing) == (OPEN, ("finetune",))


@pytest.mark.parametrize(("once", "want"), [(0.3, HOLDS), (0.01, FAILS), (0.0205, OPEN)])
def test_5_baselines_of_one_shot_pruning(once, want):
    ds = study()
    put(ds, "error", once, strategy="one-shot", point="baseline", **TEST)
    finding = judged(ds, 5)
    assert finding.verdict == want
    assert finding.comparisons == 3  # the first step is the same for both


def test_5_needs_one_shot_pruning():
    assert judged(without(study(), "one-shot"), 5).missing == ("one-shot",)


@pytest.mark.parametrize(
    ("random", "largest", "want"),
    [
        (0.3, 0.9, HOLDS), (0.01, 0.01, FAILS), (0.3, 0.01, FAILS), (0.0205, 0.0205, OPEN),
        (0.3, 0.0205, OPEN),
    ],
)  # fmt: skip
def test_6_baselines_of_other_masks(random, largest, want):
    ds = study()
    for strategy, error in (("random", random), ("largest-first", largest)):
        put(ds, "error", error, strategy=strategy, point="baseline", **TEST)
        put(ds, "error", NAN, strategy=strategy, point="baseline", level=0.0)
    finding = judged(ds, 6)
    assert finding.verdict == want
    assert finding.comparisons == 8


@pytest.mark.parametrize("missing", ["random", "largest-first"])
def test_6_needs_both(missing):
    assert judged(without(study(), missing), 6).missing == (missing,)


def apart(tuned=(3.0, 0.1, 0.0), rewound=(9.0, 0.3, 0.3)):
    ds = study()
    for strategy, (distance, angle, barrier) in (("finetune", tuned), ("imp", rewound)):
        where = {"strategy": strategy, "path": "baseline-solution"}
        put(ds, "distance", distance, **where)
        put(ds, "angle", angle, **where)
        put(ds, "error_barrier", barrier, **where, **TEST)
    for name in ("distance", "angle", "error_barrier"):
        put(ds, name, NAN, level=0.0)
    return ds


@pytest.mark.parametrize(
    ("case", "want"),
    [
        ({}, HOLDS),
        ({"tuned": (12.0, 0.5, 0.0)}, FAILS),  # farther in both
        ({"tuned": (12.0, 0.1, 0.0)}, OPEN),  # distance and angle disagree
        ({"tuned": (3.0, 0.1, 0.2)}, FAILS),  # it left, too
        ({"rewound": (9.0, 0.3, 0.0)}, FAILS),  # it stayed
        ({"rewound": (9.0, 0.3, 0.0205)}, OPEN),
        ({"tuned": (3.0, 0.1, 0.0195)}, OPEN),
    ],
)
def test_7_fine_tuning_stays_and_rewinding_escapes(case, want):
    finding = judged(apart(**case), 7)
    assert finding.verdict == want
    assert finding.comparisons == 4


def test_7_needs_fine_tuning():
    assert judged(without(apart(), "finetune"), 7).missing == ("finetune",)


def test_replicates_are_pooled_and_their_spread_told():
    ds = study(("a", "b"))
    where = {"path": "previous-solution", "strategy": "imp", **TEST}
    put(ds, "error_barrier", [NAN, 0.1, 0.1, 0.1, 0.1], replicate="a", **where)
    put(ds, "error_barrier", [NAN, 0.3, 0.3, 0.3, 0.0], replicate="b", **where)
    finding = judged(ds, 2)
    assert (finding.comparisons, finding.in_favour, finding.verdict) == (8, 7, HOLDS)
    np.testing.assert_allclose(finding.effect, [0.1, 0.225])
    assert "barrier 16.25 % (10.00 % to 22.50 % over 2 runs)" in finding.measured
    np.testing.assert_array_equal(finding.outcome, [[NAN, 1, 1, 1, 1], [NAN, 1, 1, 1, 0]])


def test_a_run_without_a_strategy_is_no_comparison():
    ds = study(("a", "b"))
    put(ds, "error", 0.3, strategy="one-shot", point="baseline", **TEST)
    put(ds, "error", NAN, strategy="one-shot", replicate="b")
    finding = judged(ds, 5)
    assert (finding.comparisons, finding.verdict) == (3, HOLDS)
    assert np.isnan(finding.effect[1])


def test_the_share_that_is_needed_is_the_rules():
    ds = study()
    put(
        ds, "error_barrier", [NAN, 0.3, 0.3, 0, 0], path="previous-solution", strategy="imp", **TEST
    )
    assert judged(ds, 2, share=0.75).verdict == FAILS
    finding = judged(ds, 2, share=0.5)
    assert finding.verdict == HOLDS
    assert finding.rule.startswith("holds if in at least 50% of the comparisons")


def test_the_split_and_the_measure_are_the_rules():
    ds = study()
    where = {"path": "previous-solution", "strategy": "imp", "split": "train"}
    put(ds, "loss_barrier", [NAN, 0.3, 0.3, 0.3, 0.3], **where)
    assert judged(ds, 2).verdict == FAILS
    finding = judged(ds, 2, measure="loss", split="train")
    assert finding.verdict == HOLDS
    assert "train loss" in finding.rule
    assert "barrier 0.3, at most 0.3" in finding.measured


def test_claims_have_statements_rules_and_docstrings():
    found = findings(study().isel(study=0), Rule())
    assert len({f.statement for f in found}) == len(CLAIMS) == 7
    for number, (claim, finding) in enumerate(zip(CLAIMS, found, strict=True), 1):
        assert claim.__doc__.startswith(f"{number}: ")
        assert finding.rule.startswith("holds if in at least 75% of the comparisons")
        assert finding.effect_name


@pytest.mark.parametrize("number", range(1, 8))
def test_nothing_known_decides_nothing(number):
    ds = study()
    for name in ds.data_vars:
        if ds[name].dtype.kind == "f":
            ds[name][:] = NAN
    finding = judged(ds, number)
    assert finding.verdict == OPEN
    assert finding.measured == "nothing to compare"
    assert np.isnan(finding.effect).all()
