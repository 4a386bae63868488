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
            "landscape.training.colour_tasks:cifar10",
            "60 000 colour pictures of 32 × 32 pixels in ten classes",
            "Krizhevsky (2009)",
        ),
        "cifar10a": Entry(
            "landscape.training.colour_tasks:cifar10a",
            "one half of CIFAR-10's training pictures, 2 500 of a class",
            "Morcos et al. (2019)",
        ),
        "cifar10b": Entry(
            "landscape.training.colour_tasks:cifar10b",
            "the other half of CIFAR-10's training pictures",
            "Morcos et al. (2019)",
        ),
        "cifar100": Entry(
            "landscape.training.colour_tasks:cifar100",
            "60 000 colour pictures of 32 × 32 pixels in 100 classes",
            "Krizhevsky (2009)",
        ),
        "svhn": Entry(
            "landscape.training.colour_tasks:svhn",
            "99 289 house numbers' digits in colour, 32 × 32 pixels",
            "Netzer et al. (2011)",
        ),
        "imagenet": Entry(
            "landscape.training.picture_folders:imagenet",
            "1.3 million pictures in 1 000 classes, read from folders lazily",
            "Russakovsky et al. (2015)",
        ),
        "places365": Entry(
            "landscape.training.picture_folders:places365",
            "1.8 million pictures of scenes, read from folders lazily",
            "Zhou et al. (2017)",
        ),
        "relu": Entry(
            "landscape.training.planting.target_data:relu_task",
            "the rectifier in noise, a planted target; with options as relu:noise=0,seed=3",
            "Fischer & Burkholz (2022)",
        ),
        "circle": Entry(
            "landscape.training.planting.target_data:circle_task",
            "four rings in a square, a planted target",
            "Fischer & Burkholz (2022)",
        ),
        "helix": Entry(
            "landscape.training.planting.target_data:helix_task",
            "a coil in space from one variable, a planted target",
            "Fischer & Burkholz (2022)",
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
            "landscape.training.convolutional:CONV_2", "two convolutions, layers of 256", _LTH
        ),
        "conv-4": Entry(
            "landscape.training.convolutional:CONV_4", "four convolutions, layers of 256", _LTH
        ),
        "conv-6": Entry(
            "landscape.training.convolutional:CONV_6", "six convolutions, layers of 256", _LTH
        ),
        "lenet-5": Entry(
            "landscape.training.convolutional:LENET_5",
            "two 5 × 5 convolutions, layers of 120 and 84",
            "LeCun et al. (1998)",
        ),
        "vgg-16": Entry(
            "landscape.training.convolutional:VGG_16",
            "13 convolutions with BatchNorm, global average",
            "Simonyan & Zisserman (2015)",
        ),
        "vgg-19": Entry(
            "landscape.training.convolutional:VGG_19",
            "16 convolutions with BatchNorm, global average",
            _LTH,
        ),
        "resnet-20": Entry(
            "landscape.training.residual:RESNET_20",
            "CIFAR's residual network of 20 layers (Frankle & Carbin's Resnet-18)",
            "He et al. (2016)",
        ),
        "resnet-18": Entry(
            "landscape.training.residual:RESNET_18",
            "18 layers from 64 channels on, 3 × 3 stem for small pictures",
            "He et al. (2016)",
        ),
        "resnet-50": Entry(
            "landscape.training.residual:RESNET_50",
            "50 layers of bottlenecks, 3 × 3 stem for small pictures",
            "Morcos et al. (2019)",
        ),
    },
)

CRITERIA: Table[Criterion] = Table(
    "criterion",
    {
        "magnitude": Entry(
            "landscape.training.criteria:magnitude", "small weights are pruned first", _LTH
        ),
        "magnitude-largest": Entry(
            "landscape.training.criteria:magnitude_largest",
            "large weights are pruned first, a control",
            "Saleem et al. (2024)",
        ),
        "magnitude-at-init": Entry(
            "landscape.training.criteria:magnitude_at_init",
            "weights that began small are pruned first",
            _LTH,
        ),
        "movement": Entry(
            "landscape.training.criteria:movement",
            "weights that moved least are pruned first",
            "Zhou et al. (2019)",
        ),
        "random": Entry(
            "landscape.training.criteria:random", "any weight is pruned, the control", _LTH
        ),
        "snip": Entry(
            "landscape.training.gradient_criteria:snip",
            "weights whose loss does not feel them are pruned first",
            "Lee et al. (2019)",
        ),
        "grasp": Entry(
            "landscape.training.gradient_criteria:grasp",
            "weights without which the gradient's norm falls least are pruned first",
            "Wang et al. (2020)",
        ),
        "synflow": Entry(
            "landscape.training.gradient_criteria:synflow",
            "weights that carry little of the flow from input to output go first",
            "Tanaka et al. (2020)",
        ),
        "edge-popup": Entry(
            "landscape.training.edge_popup:edge_popup",
            "scores are learned in each layer, the weights stay as they are",
            "Ramanujan et al. (2020)",
        ),
    },
)
