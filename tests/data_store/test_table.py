"""Table and the errors it raises: names to objects, imported on first use."""

import sys
from collections.abc import Mapping

import pytest

from landscape.data_store.errors import LandscapeError, UsageError, unknown
from landscape.data_store.table import Entry, Table


@pytest.fixture
def table(tmp_path, monkeypatch):
    (tmp_path / "table_subject.py").write_text("loaded = True\ndef area(r):\n    return 3 * r\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "table_subject", raising=False)
    yield Table(
        "shape",
        {
            "circle": Entry("table_subject:area", "a round one", "Euclid, book III"),
            "circus": Entry("table_subject:none", "has no object"),
            "ring": Entry("table_subject_absent:area", "has no module"),
        },
    )
    sys.modules.pop("table_subject", None)


def test_names_and_entries(table):
    assert list(table) == ["circle", "circus", "ring"]
    assert len(table) == 3
    assert table["circle"].summary == "a round one"
    assert table["circle"].reference == "Euclid, book III"
    assert table["ring"].reference == ""
    assert "circle" in table
    assert "square" not in table
    assert 3 not in table
    assert [name for name, _ in table.items()] == list(table)
    assert all(table[name] is entry for name, entry in table.items())
    assert not isinstance(table, Mapping)  # a wrong name is a UsageError, which no Mapping raises


def test_nothing_is_imported_before_it_is_asked_for(table):
    assert table["circle"].target == "table_subject:area"
    assert "table_subject" not in sys.modules
    assert table.load("circle")(2) == 6
    assert "table_subject" in sys.modules


def test_a_table_does_not_change_with_the_dict_it_was_made_of():
    entries = {"a": Entry("m:a", "first")}
    table = Table("letter", entries)
    entries["b"] = Entry("m:b", "second")
    assert list(table) == ["a"]


@pytest.mark.parametrize("ask", [lambda t: t["circel"], lambda t: t.load("circel")])
def test_an_unknown_name_is_a_wrong_question(table, ask):
    message = r"^unknown shape 'circel'; did you mean 'circle'\? available: circle, circus, ring$"
    with pytest.raises(UsageError, match=message):
        ask(table)


@pytest.mark.parametrize(
    ("name", "available", "message"),
    [
        (
            "magntude",
            ["random", "magnitude"],
            "did you mean 'magnitude'? available: magnitude, random",
        ),
        ("zzz", ["random", "magnitude"], "unknown criterion 'zzz'; available: magnitude, random"),
        ("zzz", [], "unknown criterion 'zzz'; available: none yet"),
        ("", ["a"], "unknown criterion ''; available: a"),
    ],
)
def test_unknown_names_the_nearest_choice(name, available, message):
    assert str(unknown("criterion", name, iter(available))).endswith(message)


def test_a_wrong_question_is_a_landscape_error_and_a_value_error():
    error = unknown("criterion", "x", [])
    assert isinstance(error, UsageError)
    assert isinstance(error, LandscapeError)
    assert isinstance(error, ValueError)
    assert not issubclass(LandscapeError, ValueError)
