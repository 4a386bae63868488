"""What is wrong with the tables of a sweep, in words: the place, the value, what would be right."""

from __future__ import annotations

import tomllib

import pytest

from landscape.data_store.errors import UsageError
from landscape.experiment_faults import faults

PLANT = '[[plant]]\nname = "c"\ntarget = "circle"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[grid]\ncriteron = ["random"]',
            "unknown key 'criteron' in [grid]; did you mean 'criterion'?",
        ),
        ('[grid]\ncriterion = "random"', "'criterion' in [grid] is 'random'; it must be a list"),
        ('[grid]\nlevels = [1, "x"]', "'levels' in [grid] is 'x'; it must be a whole number"),
        (
            '[grid]\ndensity = [0.1, "plantd"]',
            "'density' in [grid] is 'plantd'; it must be a number, or 'planted'",
        ),
        ("[grid]\ndensity = 0.1", "'density' in [grid] is 0.1; it must be a list"),
        (
            '[train]\ndensity = "plantd"',
            "'density' in [train] is 'plantd'; it must be a number, or 'planted'",
        ),
        ('[grid]\nexclude = ["output"]', "'exclude' in [grid] is 'output'; it must be a list"),
        (
            "[grid]\nlr = [1]\nquick = { lrs = [1] }",
            "unknown key 'lrs' in quick of [grid]; did you mean 'lr'?",
        ),
        (
            "[grid]\nlr = [1]\n[grid.quick]\nlr = 1",
            "'lr' in quick of [grid] is 1; it must be a list",
        ),
        (f"{PLANT}widht = 3", "unknown key 'widht' in plant 'c'; did you mean 'width'?"),
        (f'{PLANT}width = "3"', "'width' in plant 'c' is '3'; it must be a whole number"),
        (
            f"{PLANT}quick = {{ widht = 3 }}",
            "unknown key 'widht' in quick of plant 'c'; did you mean 'width'?",
        ),
        ('[[plant]]\nname = "c"', "plant 'c' has no 'target'; give it"),
        ('[[plant]]\ntarget = "circle"', "[[plant]] 1 has no 'name'; give it"),
        (
            '[[when]]\ndensitis = "multishot"\nset = {}',
            "unknown key 'densitis' in [[when]] 1; did you mean 'densities'?",
        ),
        (
            "[[when]]\nlr = 1\nset = {}\n[[when]]\nlr = 1\nset = { levls = 2 }",
            "unknown key 'levls' in set of [[when]] 2; did you mean 'levels'?",
        ),
        (
            '[[when]]\nlr = 1\nset = { levels = "2" }',
            "'levels' in set of [[when]] 1 is '2'; it must be a whole number",
        ),
        ("[[when]]\nlr = 1", "[[when]] 1 has no 'set'; give it"),
        ("[[when]]\nlr = [1, []]\nset = {}", "'lr' in [[when]] 1 is []; it must be a number"),
        ("[[when]]\ndensities = 3\nset = {}", "'densities' in [[when]] 1 is 3; it must be text"),
        (
            '[[analysis]]\nkind = "barrier"\npionts = 5',
            "unknown key 'pionts' in analysis 'barrier'; did you mean 'points'?",
        ),
        (
            '[[analysis]]\nkind = "barrier"\nname = "end"\npoints = "5"',
            "'points' in analysis 'end' is '5'; it must be a whole number",
        ),
        (
            '[[analysis]]\nkind = "barrier"\nquick = { pionts = 5 }',
            "unknown key 'pionts' in quick of analysis 'barrier'; did you mean 'points'?",
        ),
        (
            '[[analysis]]\nkind = "barrier"\nat = 1.5',
            "'at' in analysis 'barrier' is 1.5; it must be a level, a list of levels, 'last' or "
            "'each'",
        ),
        ('[[analysis]]\nname = "x"', "analysis 'x' has no 'kind'; give it"),
        ("[[analysis]]\nkind = 3", "'kind' in [[analysis]] 1 is 3; it must be text"),
        ("analysis = 3", "'analysis' in the file is 3; it must be a list"),
        ("analysis = [3]", "'analysis' in [[analysis]] is 3; it must be a table"),
        ("grid = 3", "'grid' in the file is 3; it must be a table"),
        ("when = 3", "'when' in the file is 3; it must be a list"),
    ],
)
def test_a_fault_is_one_sentence(text: str, sentence: str) -> None:
    assert faults(tomllib.loads(text)) == [sentence]


def test_unknown_keys_first_and_an_inner_fault_instead_of_the_outer() -> None:
    text = f"""
[train]
levels = "3"
{PLANT}quick = {{ width = "3" }}
[[analysis]]
kind = "barrier"
pionts = 5
"""
    assert faults(tomllib.loads(text)) == [
        "unknown key 'pionts' in analysis 'barrier'; did you mean 'points'?",
        "'levels' in [train] is '3'; it must be a whole number",
        "'width' in quick of plant 'c' is '3'; it must be a whole number",
    ]


def test_what_is_right_has_no_fault() -> None:
    text = f'{PLANT}[grid]\nlr = [1]\n[[when]]\nlr = 1\nset = {{}}\n[[analysis]]\nkind = "overlap"'
    assert faults(tomllib.loads(text)) == []


def test_an_analysis_that_there_is_none_of() -> None:
    with pytest.raises(UsageError, match=r"unknown analysis 'barier'; did you mean 'barrier'\?"):
        faults({"analysis": [{"kind": "barier"}]})
