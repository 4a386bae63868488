"""500 training steps of LeNet-300-100, batch 60, Adam, 64 % of the weights masked out.

Run with ``python -m benchmarks.training``. Contestants: this package's training loop; the loop
over a DataLoader that multiplies weights by masks after each step, as most scripts do; the
same with tensors in memory and torch's fused, foreach operations.
"""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.barrier import images, network
from benchmarks.measure import report, side_by_side
from landscape.data_store.mask import Mask
from landscape.data_store.records import RunConfig
from landscape.training.loop import LevelTraining
from landscape.training.models import current_point, parameter_spec, prunable_kinds
from landscape.training.network import Network
from landscape.training.retrain import Start
from landscape.training.task import make_task

STEPS, BATCH = 500, 60


def masks_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A random mask of density 0.36 on every weight matrix."""
    draws = torch.Generator().manual_seed(0)
    return {
        name: (torch.rand(p.shape, generator=draws) < 0.36).float()
        for name, p in model.named_parameters()
        if p.ndim > 1
    }


def main() -> None:
    """Time all contestants."""
    inputs, targets = images()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=BATCH, shuffle=True)

    def with_loader() -> None:
        model = network(0)
        masks, named = masks_of(model), dict(model.named_parameters())
        optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3)
        for x, y in itertools.islice(loader, STEPS):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    named[name].mul_(mask)

    def in_memory() -> None:
        model = network(0)
        masks, named = masks_of(model), dict(model.named_parameters())
        weights, kept = [named[name] for name in masks], list(masks.values())
        optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3, fused=True)
        order = torch.randperm(len(inputs))
        for step in range(STEPS):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_mul_(weights, kept)

    model = network(0)
    spec = parameter_spec(model)
    init = current_point(model, spec)
    bits = torch.cat(
        [
            m.reshape(-1)
            for m in (
                masks_of(model).get(n, torch.ones(s))
                for n, s in zip(spec.names, spec.shapes, strict=True)
            )
        ]
    )
    mask = Mask(spec, tuple(prunable_kinds(model)), bits.bool().numpy())
    trained = Network(model, spec, torch.device("cpu"))
    few = slice(0, 60)
    task = make_task(train=(inputs, targets), test=(inputs[few], targets[few]))
    config = RunConfig(iterations=STEPS, eval_every=STEPS, batch_size=BATCH)

    def ours() -> None:
        training = LevelTraining(trained, task, config, mask, Start(init), level=1)
        for _ in training.run():
            pass

    contestants = {
        "landscape": ours,
        "DataLoader, masks multiplied after each step": with_loader,
        "tensors in memory, fused Adam, foreach masks": in_memory,
    }
    timings = side_by_side(contestants)
    report(__doc__.splitlines()[0], timings, ours="landscape")
    for name, timing in timings.items():
        print(f"{name}: {STEPS / timing.median:.0f} steps/s")


if __name__ == "__main__":
    main()
