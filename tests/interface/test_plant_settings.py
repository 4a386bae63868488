"""What is planted: bounds of depth, width and knots, and the rules there are."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.data_store.errors import UsageError
from landscape.data_store.settings import from_json, to_json
from landscape.plant_settings import PlantSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 2}, r"^depth is 2; it must be at least 3"),
        ({"width": 0}, r"^width is 0; it must be at least 1"),
        ({"knots": 1}, r"^knots is 1; it must be at least 2"),
        ({"rule": "papr"}, r"^unknown rule 'papr'; did you mean 'paper'\?"),
    ],
)
def test_what_is_none_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PlantSettings(**given)


def test_they_come_back_from_a_manifest() -> None:
    settings = PlantSettings(depth=6, width=50, rule="code", knots=12)
    assert from_json(PlantSettings, to_json(settings)) == settings
