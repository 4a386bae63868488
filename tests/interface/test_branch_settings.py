"""What a branch takes: which masks there are, and that a density belongs to one of them."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.branch_settings import BranchSettings
from landscape.data_store.errors import UsageError
from landscape.data_store.settings import from_json, to_json


@pytest.mark.parametrize("mask", ["preserved", "permuted-layers", "permuted", "dense"])
def test_masks_without_a_density(mask: str) -> None:
    assert BranchSettings(mask=mask).mask_density is None
    with pytest.raises(UsageError, match=f"^mask is {mask} and mask_density is 0.2; --mask pruned"):
        BranchSettings(mask=mask, mask_density=0.2)


def test_a_pruned_mask_has_a_density() -> None:
    assert BranchSettings(mask="pruned", mask_density=1).mask_density == 1.0
    with pytest.raises(UsageError, match=r"^mask is pruned and mask_density is None; --mask prune"):
        BranchSettings(mask="pruned")


def test_unless_said_the_mask_is_kept() -> None:
    assert BranchSettings() == BranchSettings(mask="preserved")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask": "prune", "mask_density": 0.2}, r"^unknown mask 'prune'; did you mean 'pruned'\?"),
        ({"mask": "pruned", "mask_density": 0}, r"^mask_density is 0\.0; it must be above 0"),
        ({"mask": "pruned", "mask_density": 1.01}, r"^mask_density is 1\.01; it must be at most 1"),
        ({"mask": "pruned", "mask_density": "few"}, "^mask_density is 'few'; it must be a finite"),
        ({"mask": None}, "^mask is None; it must be text"),
    ],
)
def test_what_is_none_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BranchSettings(**given)


def test_they_come_back_from_a_manifest() -> None:
    settings = BranchSettings(mask="pruned", mask_density=0.2)
    assert from_json(BranchSettings, to_json(settings)) == settings
