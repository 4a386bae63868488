"""What a branch takes from the level it begins at."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.data_store.errors import UsageError
from landscape.data_store.settings import check, option


@dataclass(frozen=True)
class BranchSettings:
    """The mask of a branch's first level; options of ``landscape branch``."""

    mask: str = option(
        "preserved",
        "the level's mask; permuted in each layer, or over all; its final weights pruned to "
        "--mask-density; or none",
        choices=("preserved", "permuted-layers", "permuted", "pruned", "dense"),
    )
    mask_density: float | None = option(
        None, "density a pruned mask keeps, of each layer or of all by --scope", above=0, max=1
    )

    def __post_init__(self) -> None:
        check(self)
        if (self.mask == "pruned") != (self.mask_density is not None):
            raise UsageError(
                f"mask is {self.mask} and mask_density is {self.mask_density}; --mask pruned and "
                "--mask-density go together"
            )
