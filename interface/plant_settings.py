"""What is planted, and in what."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.data_store.settings import check, option


@dataclass(frozen=True)
class PlantSettings:
    """The ticket and how it is hidden; options of ``landscape plant``."""

    depth: int = option(
        5, "layers of neurons of ticket and network, inputs and outputs included", min=3, max=1000
    )
    width: int = option(100, "neurons of each hidden layer of the network", min=1)
    rule: str = option(
        "paper",
        "which neurons a ticket is hidden in: the nearest in direction, or as the paper's code "
        "chooses, or the first ones",
        choices=("paper", "code", "fast"),
    )
    knots: int | None = option(
        None, "pieces' ends of a piecewise linear ticket; the paper's unless given", min=2
    )

    def __post_init__(self) -> None:
        check(self)
