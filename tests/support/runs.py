"""Small runs and tasks that train in a blink."""

from __future__ import annotations

from typing import Any

import torch

from landscape.training.task import Task, make_task

SMALL: dict[str, Any] = {
    "task": "digits",
    "model": "mlp:64-20-10",
    "levels": 3,
    "iterations": 60,
    "eval_every": 20,
    "batch_size": 50,
    "snapshots": (40,),
}


def blobs(examples: int = 120, inputs: int = 6, classes: int = 3, seed: int = 0) -> Task:
    """Gaussian clouds around random centres, split into train, validation and test."""
    draws = torch.Generator().manual_seed(seed)
    centres = 2.0 * torch.randn(classes, inputs, generator=draws)
    targets = torch.randint(0, classes, (examples,), generator=draws)
    points = centres[targets] + torch.randn(examples, inputs, generator=draws)
    half, most = examples // 2, examples * 3 // 4
    return make_task(
        train=(points[:half], targets[:half]),
        validation=(points[half:most], targets[half:most]),
        test=(points[most:], targets[most:]),
        name="blobs",
    )
