"""Study: the claims on a small store, from one run to all its controls and replicates."""

from __future__ import annotations

import json

import numpy as np
import pytest

from landscape.analysis.claims import findings
from landscape.analysis.measured import Rule
from landscape.analysis.volume.estimators import ESTIMATORS
from landscape.brancher import branch
from landscape.data_store import results
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.schemas.insights import INSIGHTS, MEASURED
from landscape.data_store.store import Store, open_store
from landscape.data_store.verify import check, files
from landscape.study import InsightsSettings, insights
from landscape.subject import Context
from landscape.trainer import train

SMALL = {
    "task": "digits", "model": "mlp:64-10-10", "levels": 3, "iterations": 40, "eval_every": 40,
    "batch_size": 50,
}  # fmt: skip
SETTINGS = InsightsSettings(points=5, examples=200)


def controls(store: Store, run: str, seed: int) -> None:
    """The run's variants and branches."""
    for name, change in (
        ("random", {"criterion": "random"}),
        ("largest", {"criterion": "magnitude-largest"}),
        ("tuned", {"retrain": "finetune"}),
    ):
        train(store=store, name=f"{run}-{name}", **{**SMALL, "seed": seed, **change})
    branch(f"{run}@2", store=store, name=f"{run}-reinit", retrain="reinit")
    branch(f"{run}@0", store=store, name=f"{run}-once", mask="pruned", mask_density=0.66)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two runs with all controls, one without any, and one of another network."""
    made = open_store(tmp_path_factory.mktemp("study") / "store")
    for seed, name in enumerate(("a", "b", "bare")):
        train(store=made, name=name, **{**SMALL, "seed": seed})
    controls(made, "a", 0)
    controls(made, "b", 1)
    train(store=made, name="wide", **{**SMALL, "model": "mlp:64-12-10", "levels": 2})
    part = {**SMALL, "max_examples": 300, "levels": 2}
    train(store=made, name="part", **part)
    return made


@pytest.fixture(scope="module")
def both(store):
    return insights(["a", "b"], SETTINGS, Context(store))


def test_the_result_follows_its_schema_and_is_kept(both, store):
    INSIGHTS.validate(both)
    record = results.record_of(both)
    assert record["kind"] == "insights"
    assert record["inputs"][0]["address"] == "a@0"
    assert {i["address"] for i in record["inputs"]} >= {"a-once@0", "b-reinit@0", "b@2"}
    kept = results.find_result(store.root, "insights", results.result_id(record))
    assert kept is not None
    assert kept.identical(both)
    assert store.results("insights", run="a").sizes["study"] == 1
    assert [finding for finding in check(store, files(store)) if finding.is_wrong] == []


def test_every_strategy_stands_beside_the_run(both):
    assert both.study.values.tolist() == ["a b"]
    assert both.replicate.values.tolist() == ["a", "b"]
    assert both.strategy.values.tolist() == [
        "imp", "one-shot", "finetune", "random", "largest-first", "reinit"
    ]  # fmt: skip
    status = both["status"].isel(study=0).sel(replicate="b")
    assert (status.sel(strategy="random", level=[1, 2]) == 0).all()
    assert int(status.sel(strategy="one-shot", level=2)) == 0
    assert int(status.sel(strategy="one-shot", level=1)) == 2


def test_all_but_the_volumes_is_there(both):
    missing = both["missing"].isel(study=0).values.tolist()
    assert missing == ["landscape insights a b --volume hessian", *[""] * 6]
    assert both["verdict"].values[0][0] == "undecided"
    assert (both["comparisons"].values[0] > 0).tolist() == [False, *[True] * 6]
    known = both["in_favour"] + both["against"] <= both["comparisons"]
    assert known.all()


def test_the_verdicts_follow_from_the_numbers_in_the_result(both):
    again = findings(both[list(MEASURED)].isel(study=0), Rule(epsilon=0.02))
    for i, finding in enumerate(again):
        stated = both.isel(study=0, claim=i)
        assert str(stated["verdict"].values) == finding.verdict
        assert str(stated["measured"].values) == finding.measured
        np.testing.assert_array_equal(stated["outcome"].values, finding.outcome)
        np.testing.assert_array_equal(stated["effect"].values, finding.effect)


def test_membership_is_of_the_runs_own_sets(both):
    one = both.isel(study=0).sel(split="test", replicate="a")
    errors = one["error"].sel(point="solution")
    for strategy in ("random", "largest-first"):
        want = errors.sel(strategy=strategy, level=2) <= errors.sel(strategy="imp", level=1) + 0.02
        assert float(one["inside_previous"].sel(strategy=strategy, level=2)) == float(want)
        want = errors.sel(strategy=strategy, level=2) <= errors.sel(strategy="imp", level=0) + 0.02
        assert float(one["inside_dense"].sel(strategy=strategy, level=2)) == float(want)


def test_the_first_transition_is_the_same_question_for_all(both):
    """Random pruning begins at the same dense network: one trained to the same bits."""
    one = both.isel(study=0).sel(replicate="a", level=1)
    for name in ("random", "largest-first", "finetune"):
        np.testing.assert_array_equal(
            one["error"].sel(strategy=name, point="previous"),
            one["error"].sel(strategy="imp", point="previous"),
        )


def test_judging_anew_asks_nothing_new(both, store, monkeypatch):
    before = {p.name for p in (store.root / "results" / "sublevel").rglob("*.nc")}
    monkeypatch.setattr("landscape.subject.Subject.landscape", None)
    other = InsightsSettings(
        points=5, examples=200, epsilon=0.5, reference="dense", split="train", share=0.5
    )
    ds = insights(["a", "b"], other, Context(store))
    assert {p.name for p in (store.root / "results" / "sublevel").rglob("*.nc")} == before
    assert ds["epsilon"].values.tolist() == [0.5]
    assert str(ds["judged_split"].values[0]) == "train"


def test_a_bare_run_names_the_commands_that_are_missing(store):
    ds = insights(["bare"], SETTINGS, Context(store)).isel(study=0)
    missing = dict(zip(ds.claim.values.tolist(), ds["missing"].values.tolist(), strict=True))
    assert missing[2.0] == ""
    assert str(ds["verdict"].sel(claim=2).values) != "undecided"
    assert missing[4.0] == missing[7.0]
    assert missing[4.0].startswith("landscape branch bare@0 --name bare-finetune --retrain")
    assert missing[3.0].count("landscape branch bare") == 4
    assert set(ds["verdict"].sel(claim=[1, 3, 4, 5, 6, 7]).values.tolist()) == {"undecided"}


def test_a_strategy_that_one_replicate_lacks_is_asked_of_that_one(store):
    ds = insights(["a", "bare"], SETTINGS, Context(store)).isel(study=0)
    assert str(ds["missing"].sel(claim=5).values) == ""
    assert float(ds["comparisons"].sel(claim=5)) == 1
    assert np.isnan(float(ds["effect"].sel(claim=5, replicate="bare")))


def test_volumes_judge_the_first_claim(store):
    settings = InsightsSettings(points=5, examples=200, volume="monte-carlo", volume_examples=50)
    ds = insights(["a"], settings, Context(store)).isel(study=0)
    assert str(ds["missing"].sel(claim=1).values) == ""
    assert np.isfinite(ds["dimensions"].sel(strategy=["imp", "reinit"], level=2)).all()


def test_runs_that_were_left_out_are_in_the_record(store):
    ds = insights(["wide"], SETTINGS, Context(store))
    assert results.record_of(ds)["left_out"] == []


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ((), "no run to look into"),
        (("a", "a"), "runs are a, a; give each once"),
        (("a-random",), "run 'a-random' is of strategy 'random'"),
    ],
)
def test_what_is_no_study_is_refused(store, runs, message):
    with pytest.raises(UsageError, match=message):
        insights(runs, SETTINGS, Context(store))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("wide", "run 'a' has model 'mlp:64-10-10' and run 'wide' 'mlp:64-12-10'"),
        ("part", "runs 'a' and 'part' were trained on different data"),
    ],
)
def test_replicates_are_of_one_network_and_data(store, other, message):
    with pytest.raises(LandscapeError, match=message):
        insights(["a", other], SETTINGS, Context(store))


def test_insights_need_a_store():
    with pytest.raises(UsageError, match="insights are found in a store; give store="):
        insights(["a"], SETTINGS, Context())


def test_the_estimators_are_those_of_the_volume():
    choices = InsightsSettings.__dataclass_fields__["volume"].metadata["choices"]
    assert choices == ("none", *ESTIMATORS)


def test_settings_are_checked():
    with pytest.raises(UsageError, match=r"share is 1\.5; it must be at most 1"):
        InsightsSettings(share=1.5)


def test_a_joined_study_is_plain_json_in_its_record(both):
    assert json.loads(both.attrs["record"])["settings"]["epsilon"] == 0.02
