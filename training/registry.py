"""The tables of this package: tasks, models, criteria. One line adds one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.data_store.table import Entry, Table

if TYPE_CHECKING:
    from landscape.training.criteria import Criterion
    from landscape.training.models import Model
    from landscape.training.task import Task

    TaskFactory = Callable[[Path | None, int | None], Task]

_LTH = "Frankle & Carbin (2019)"

TASKS: Table[TaskFactory] = Table(
    "task",
    {
        "digits": Entry(
            "landscape.training.tasks:digits",
            "1 797 handwritten digits of 8 × 8 pixels, bundled",
            "Alpaydin & Kaynak (1998)",
        ),
        "mnist": Entry(
            "landscape.training.tasks:mnist",
            "70 000 handwritten digits of 28 × 28 pixels",
            "LeCun et al. (1998)",
        ),
        "fashion-mnist": Entry(
            "landscape.training.tasks:fashion_mnist",
            "70 000 pictures of clothing of 28 × 28 pixels",
            "Xiao et al. (2017)",
        ),
        "cifar10": Entry(
            "landscape.training.tasks:cifar10",
            "60 000 colour pictures of 32 × 32 pixels in ten classes",
            "Krizhevsky (2009)",
        ),
    },
)

MODELS: Table[Model] = Table(
    "model",
    {
        "lenet-300-100": Entry(
            "landscape.training.models:LENET_300_100", "hidden layers of 300 and 100", _LTH
        ),
        "conv-2": Entry(
            "landscape.training.models:CONV_2", "two convolutions, hidden layers of 256", _LTH
        ),
    },
)

CRITERIA: Table[Criterion] = Table(
    "criterion",
    {
        "magnitude": Entry(
            "landscape.training.criteria:magnitude", "small weights are pruned first", _LTH
        ),
        "random": Entry(
            "landscape.training.criteria:random", "any weight is pruned, the control", _LTH
        ),
    },
)
