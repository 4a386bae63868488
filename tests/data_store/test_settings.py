"""Settings: types and rules of every field, each broken one a sentence, and plain JSON."""

import json
import math
from dataclasses import dataclass, fields

import numpy as np
import pytest

from landscape.data_store.errors import UsageError
from landscape.data_store.settings import check, from_json, option, to_json


@dataclass(frozen=True)
class Probe:
    """One field of every kind."""

    points: int = option(25, "a count", min=3, max=99)
    width: float = option(0.5, "a width", above=0, max=2)
    share: float = option(0.0, "a share", min=0, max=1)
    mode: str = option("line", "a choice", choices=("line", "plane"))
    name: str = option("x", "a text")
    refine: bool = option(False, "a switch")
    limit: int | None = option(None, "a limit", min=1)
    steps: tuple[int, ...] = option((), "a list", min=1)
    scales: tuple[float, ...] = option((0.5,), "a list", above=0)
    splits: tuple[str, ...] = option(("train",), "a list", choices=("train", "test"))

    def __post_init__(self):
        check(self)


def test_an_option_is_a_field_that_documents_itself():
    points = fields(Probe)[0]
    assert points.default == 25
    assert dict(points.metadata) == {"help": "a count", "min": 3, "max": 99}


def test_defaults_and_ends_of_ranges_are_allowed():
    assert Probe() == Probe(points=25)
    Probe(points=3, width=2.0, share=1.0, limit=1, steps=(1,), splits=())
    Probe(points=99, width=5e-324, share=0.0, limit=None, splits=("test", "train"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"points": 2}, "points is 2; it must be at least 3"),
        ({"points": 100}, "points is 100; it must be at most 99"),
        ({"width": 0.0}, "width is 0.0; it must be above 0"),
        ({"width": 0}, "width is 0.0; it must be above 0"),
        ({"width": 2.5}, "width is 2.5; it must be at most 2"),
        ({"share": -0.1}, "share is -0.1; it must be at least 0"),
        ({"mode": "lin"}, "unknown mode 'lin'; did you mean 'line'[?] available: line, plane"),
        ({"limit": 0}, "limit is 0; it must be at least 1"),
        ({"steps": (4, 0)}, "steps is 0; it must be at least 1"),
        ({"scales": (0.1, -0.1)}, "scales is -0.1; it must be above 0"),
        ({"splits": ("test", "tran")}, "unknown splits 'tran'; did you mean 'train'[?] available: "
         "test, train"),
    ],
)  # fmt: skip
def test_a_broken_rule(setting, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        Probe(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"points": 25.0}, "points is 25.0; it must be a whole number"),
        ({"points": True}, "points is True; it must be a whole number"),
        ({"points": "25"}, "points is '25'; it must be a whole number"),
        ({"points": None}, "points is None; it must be a whole number"),
        ({"points": (25,)}, r"points is \(25,\); it must be a whole number"),
        ({"width": "1"}, "width is '1'; it must be a finite number"),
        ({"width": math.nan}, "width is nan; it must be a finite number"),
        ({"width": math.inf}, "width is inf; it must be a finite number"),
        ({"width": True}, "width is True; it must be a finite number"),
        ({"width": None}, "width is None; it must be a finite number"),
        ({"share": -math.inf}, "share is -inf; it must be a finite number"),
        ({"mode": 1}, "mode is 1; it must be text"),
        ({"name": None}, "name is None; it must be text"),
        ({"name": b"x"}, "name is b'x'; it must be text"),
        ({"refine": 1}, "refine is 1; it must be true or false"),
        ({"refine": "no"}, "refine is 'no'; it must be true or false"),
        ({"limit": 1.5}, "limit is 1.5; it must be a whole number"),
        ({"limit": "none"}, "limit is 'none'; it must be a whole number"),
        ({"limit": False}, "limit is False; it must be a whole number"),
        ({"steps": 3}, "steps is 3; it must be a list, each entry a whole number"),
        ({"steps": [3]}, r"steps is \[3\]; it must be a list, each entry a whole number"),
        ({"steps": (3, 4.5)}, r"steps is \(3, 4.5\); it must be a list, each entry a whole number"),
        ({"steps": (None,)}, r"steps is \(None,\); it must be a list, each entry a whole number"),
        ({"scales": (math.nan,)}, r"scales is \(nan,\); it must be a list, each entry a finite nu"),
        ({"splits": "train"}, "splits is 'train'; it must be a list, each entry text"),
        ({"splits": (1,)}, r"splits is \(1,\); it must be a list, each entry text"),
    ],
)
def test_a_wrong_type(setting, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        Probe(**setting)


def test_whole_numbers_in_float_fields_become_floats():
    probe = Probe(width=1, share=0)
    assert type(probe.width) is type(probe.share) is float
    assert (probe.width, probe.share) == (1.0, 0.0)
    assert json.dumps(to_json(Probe(width=1))) == json.dumps(to_json(Probe(width=1.0)))
    assert type(Probe(points=3).points) is int


def test_the_first_wrong_field_is_said():
    with pytest.raises(UsageError, match=r"^points is 0"):
        Probe(points=0, width=-1, mode="x")


def test_settings_survive_json():
    probe = Probe(points=7, width=0.1, mode="plane", refine=True, limit=4, steps=(3, 1))
    text = json.dumps(to_json(probe))
    assert json.loads(text)["steps"] == [3, 1]
    again = from_json(Probe, json.loads(text))
    assert again == probe
    assert type(again.steps) is tuple
    assert json.dumps(to_json(again)) == text


def test_json_holds_every_field():
    assert list(to_json(Probe())) == [setting.name for setting in fields(Probe)]
    assert to_json(Probe())["limit"] is None


def test_a_record_may_leave_fields_to_their_defaults():
    assert from_json(Probe, {}) == Probe()
    assert from_json(Probe, {"points": 5}) == Probe(points=5)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"point": 3},
            "unknown setting 'point'; did you mean 'points'. available: limit, mode, nam",
        ),
        ({"points": 1}, "points is 1; it must be at least 3"),
        ({"points": "3"}, "points is '3'; it must be a whole number"),
    ],
)
def test_a_wrong_record(record, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        from_json(Probe, record)


@pytest.mark.parametrize("value", [np.float64(0.5), np.float32(0.5), np.int64(1), 1])
def test_numbers_of_numpy_become_plain_ones(value):
    probe = Probe(width=value)
    assert type(probe.width) is float
    assert probe.width == value
    assert to_json(probe) == to_json(Probe(width=float(value)))


def test_numbers_in_lists_and_optional_fields_become_plain_ones():
    probe = Probe(scales=(1, np.float64(0.5)), steps=(np.int32(2),), limit=np.int64(3))
    text = json.dumps(to_json(probe))
    assert text == json.dumps(to_json(Probe(scales=(1.0, 0.5), steps=(2,), limit=3)))
    with pytest.raises(UsageError, match=r"^points is 2\.5; it must be a whole number"):
        Probe(points=np.float64(2.5))


@dataclass(frozen=True)
class Lists:
    """A list whose entries must differ."""

    splits: tuple[str, ...] = option(("train",), "splits", each_once="train,test")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize("splits", [(), ("train", "train")])
def test_a_list_names_one_or_more_each_once(splits: tuple[str, ...]) -> None:
    assert Lists(("test", "train")).splits == ("test", "train")
    with pytest.raises(
        UsageError, match=r"^splits is \(.*\); name one or more, each once, as in tr"
    ):
        Lists(splits)
