"""Conditions: read from words or from Python, compared as SQLite compares, never its code."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.data_store.conditions import (
    Condition,
    as_conditions,
    clause,
    conditions,
    parse_condition,
)
from landscape.data_store.errors import UsageError

FIELDS = {
    "name": "name:TEXT",
    "density": "density:REAL",
    **{n: f"json_extract(settings, '$.{n}'):" for n in ("points", "splits", "refine")},
}
ROWS = [
    ("dense", 1.0, '{"points": 25, "splits": ["train", "test"], "refine": false}'),
    ("imp", 0.8, '{"points": 5, "splits": ["test"], "refine": true}'),
    ("imp-2", 0.64, '{"points": 5.5, "refine": false}'),
    ("it's", 0.2, '{"points": "many"}'),
    (None, None, "{}"),
]


@pytest.fixture(scope="module")
def db():
    """A table of a few rows, one with nothing known."""
    made = sqlite3.connect(":memory:")
    made.execute("CREATE TABLE things (name TEXT, density REAL, settings TEXT)")
    made.executemany("INSERT INTO things VALUES (?, ?, ?)", ROWS)
    yield made
    made.close()


def asked(db, wanted):
    """Names of the rows that meet conditions."""
    condition, values = clause(wanted, FIELDS, "things")
    rows = db.execute(f"SELECT name FROM things WHERE {condition} ORDER BY rowid", values)
    return [name for (name,) in rows]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("task=mnist", Condition("task", "=", "mnist")),
        ("density<0.2", Condition("density", "<", "0.2")),
        ("density<=0.2", Condition("density", "<=", "0.2")),
        ("level>3", Condition("level", ">", "3")),
        ("level>=3", Condition("level", ">=", "3")),
        ("run!=imp", Condition("run", "!=", "imp")),
        ("  run  =  a b  ", Condition("run", "=", "a b")),
        ("run=a=b", Condition("run", "=", "a=b")),
        ("run=<3", Condition("run", "=", "<3")),
        ("_x1=1", Condition("_x1", "=", "1")),
        ("name=two\nlines", Condition("name", "=", "two\nlines")),
    ],
)
def test_words_are_read(text, condition):
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    "text",
    ["", "=", "task", "task=", "task= ", "=mnist", "task mnist", "1x=2", "a.b=2", "a b=2", "a-b=2",
     "task~mnist", "'task'=2", "task;=1", "*=1", "density<", "density!0.2"],
)  # fmt: skip
def test_words_that_are_no_condition_are_refused(text):
    with pytest.raises(UsageError, match=r"is no condition; write FIELD=VALUE or, with quotes"):
        parse_condition(text)


@given(st.text())
def test_no_words_make_a_traceback(text):
    try:
        condition = parse_condition(text)
        assert condition.field.isidentifier()
        assert condition.value
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, ["dense", "imp", "imp-2", "it's", None]),
        ({"name": "imp"}, ["imp"]),
        ({"name": "it's"}, ["it's"]),
        ({"name": None}, [None]),
        ({"name": ["imp", "dense"]}, ["dense", "imp"]),
        ({"name": ("imp", None)}, ["imp", None]),
        ({"name": [None]}, [None]),
        ({"name": []}, []),
        ({"name": slice("e", "imp")}, ["imp"]),
        ({"density": 0.8}, ["imp"]),
        ({"density": 1}, ["dense"]),
        ({"density": True}, ["dense"]),
        ({"density": "0.80"}, ["imp"]),
        ({"density": None}, [None]),
        ({"density": slice(0.2, 0.8)}, ["imp", "imp-2", "it's"]),
        ({"density": slice(0.7, None)}, ["dense", "imp"]),
        ({"density": slice(None, 0.7)}, ["imp-2", "it's"]),
        ({"density": slice(None)}, ["dense", "imp", "imp-2", "it's"]),
        ({"density": slice(float("-inf"), float("inf"))}, ["dense", "imp", "imp-2", "it's"]),
        ({"density": {0.8, 1.0}}, ["dense", "imp"]),
        ({"density": range(2)}, ["dense"]),
        ({"density": np.float64(0.8)}, ["imp"]),
        ({"density": np.array([0.8, 1.0])}, ["dense", "imp"]),
        ({"density": np.array(0.8)}, ["imp"]),
        ({"density": [np.float64(0.8), np.int64(1)]}, ["dense", "imp"]),
        ({"density": slice(np.float64(0.7), None)}, ["dense", "imp"]),
        ({"density": pd.Series([0.8])}, ["imp"]),
        ({"density": 10**30}, []),
        ({"points": 25}, ["dense"]),
        ({"points": "25"}, ["dense"]),
        ({"points": "many"}, ["it's"]),
        ({"points": slice(5, 6)}, ["imp", "imp-2"]),
        ({"points": [5, "many"]}, ["imp", "it's"]),
        ({"refine": True}, ["imp"]),
        ({"refine": "true"}, ["imp"]),
        ({"refine": False}, ["dense", "imp-2"]),
        ({"splits": [["train", "test"]]}, ["dense"]),
        ({"splits": '["test"]'}, ["imp"]),
        ({"splits": None}, ["imp-2", "it's", None]),
        ({"name": "imp", "density": 0.8, "points": 5}, ["imp"]),
        ({"name": "imp", "density": 1}, []),
    ],
)
def test_conditions_from_python(db, where, names):
    assert asked(db, conditions(where)) == names
    assert asked(db, as_conditions(where)) == names


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["name=imp"], ["imp"]),
        (["name!=imp"], ["dense", "imp-2", "it's", None]),
        (["name>=imp"], ["imp", "imp-2", "it's"]),
        (["name<imp"], ["dense"]),
        (["density=0.8"], ["imp"]),
        (["density=8e-1"], ["imp"]),
        (["density!=0.8"], ["dense", "imp-2", "it's", None]),
        (["density<0.8"], ["imp-2", "it's"]),
        (["density<=0.8"], ["imp", "imp-2", "it's"]),
        (["density>0.8"], ["dense"]),
        (["density>=0.8"], ["dense", "imp"]),
        (["density<inf"], ["dense", "imp", "imp-2", "it's"]),
        (["density>0.3", "density<0.7"], ["imp-2"]),
        (["points=25"], ["dense"]),
        (["points=25.0"], ["dense"]),
        (["points<6", "density<0.7"], ["imp-2"]),
        (["refine=True"], ["imp"]),
        (["refine!=true"], ["dense", "imp-2", "it's", None]),
    ],
)
def test_conditions_from_words(db, texts, names):
    assert asked(db, [parse_condition(text) for text in texts]) == names


@pytest.mark.parametrize("value", [9007199254740993, -(2**63), 2**63 - 1])
def test_whole_numbers_are_exact(value):
    condition, values = clause([Condition("density", "=", str(value))], FIELDS, "things")
    assert (condition, values) == ("density IS ?", [value if abs(value) < 10**18 else float(value)])
    assert clause(conditions({"density": value}), FIELDS, "things")[1] == [value]


INJECTIONS = [
    "x' OR '1'='1", "'; DROP TABLE things; --", '" OR ""="', "?", ":name", "imp' --", "%", "*",
    "imp) OR (1=1", "\\' OR 1=1", "\x00", "1 OR 1=1",
]  # fmt: skip


@pytest.mark.parametrize("value", INJECTIONS)
@pytest.mark.parametrize("operator", ["=", "in"])
def test_values_are_never_code(db, value, operator):
    wanted = Condition("name", operator, [value] if operator == "in" else value)
    assert asked(db, [wanted]) == []
    assert asked(db, [Condition("points", operator, wanted.value)]) == []
    assert len(asked(db, [])) == len(ROWS)


@pytest.mark.parametrize("field", [*INJECTIONS, "settings", "rowid", "name:TEXT", "", "points '$"])
def test_fields_are_never_code(field):
    with pytest.raises(UsageError, match=r"^unknown field of things .*available: density, name"):
        clause([Condition(field, "=", 1)], FIELDS, "things")


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ({"name": 3}, r"^name is text; 3 cannot be compared with it$"),
        ({"name": True}, r"^name is text; True cannot be compared with it$"),
        ({"name": ["imp", 3]}, r"^name is text; 3 cannot be compared with it$"),
        ({"name": [["imp"]]}, r"^name is text; \['imp'\] cannot be compared with it$"),
        ({"name": b"imp"}, r"^name is text; b'imp' cannot be compared with it$"),
        ({"name": slice(1, None)}, r"^name is text; 1 cannot be compared"),
        ({"name": "\udcff"}, r"^name cannot be compared with '\\udcff'$"),
        ({"density": "thin"}, r"^density is a number; 'thin' cannot be compared with it$"),
        ({"density": "nan"}, r"^density is a number; 'nan' cannot be compared with it$"),
        ({"density": float("nan")}, r"^density is a number; nan cannot be compared with it$"),
        ({"density": ""}, r"^density is a number; '' cannot be compared with it$"),
        ({"density": 10**400}, r"^density is a number; 10{400} cannot be compared with it$"),
        ({"density": 1j}, r"^density is a number; 1j cannot be compared with it$"),
        ({"density": slice(0, 1, 2)}, r"^density is slice\(0, 1, 2\); a slice of values has no st"),
        (
            {"density": list(range(10_001))},
            r"^density is one of 10001 values; at most 10000",
        ),
        ({"points": object}, r"^points cannot be compared with <class 'object'>$"),
        ({"points": {"a": {1}}}, r"^points cannot be compared with {'a': \{1\}}$"),
        ({"points": "\ud800"}, r"^points cannot be compared with '\\ud800'$"),
        ({"nmae": 1}, r"^unknown field of things 'nmae'; did you mean 'name'\? available: density"),
    ],
)
def test_what_cannot_be_compared_is_said_in_words(where, match):
    with pytest.raises(UsageError, match=match):
        clause(conditions(where), FIELDS, "things")


def test_many_values_are_asked_for_at_once(db):
    assert asked(db, conditions({"density": [*range(9_999), 0.8]})) == ["dense", "imp"]


def test_conditions_however_they_are_given():
    wanted = [Condition("a", "=", 1)]
    assert as_conditions(None) == as_conditions({}) == []
    assert as_conditions(wanted) == as_conditions({"a": 1}) == wanted
