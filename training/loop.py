"""The only training loop: one level of a run, resumable at every evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array
from landscape.data_store.records import TRACE_COLUMNS, Point, RunConfig, Trace
from landscape.training.augment import flipped_and_cropped
from landscape.training.batches import batches
from landscape.training.network import Network
from landscape.training.retrain import Start
from landscape.training.schedule import learning_rate
from landscape.training.seeds import generator, stream
from landscape.training.task import Loss, Task, cross_entropy

State = dict[str, Array]
_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Tick:
    """One evaluation during training.

    Parameters
    ----------
    level, step
        Where the run is; `step` iterations of the level are done.
    row
        The trace's new row, columns `TRACE_COLUMNS`.
    capture
        Copies everything that is needed to go on from here.
    """

    level: int
    step: int
    row: tuple[float, ...]
    capture: Callable[[], State]


class LevelTraining:
    """Training of one level from a start point under a mask.

    Gradients of pruned weights are multiplied by zero before each optimiser step. Since these
    weights and their momenta start at zero, they are exactly zero after every step (the weights
    +0.0), with momentum and with weight decay too.

    The order of the examples, and any noise of the model, are functions of (seed, level,
    epoch) and (seed, level, step of the last evaluation): no generator state is kept, so a
    captured state entered again gives the same bits.

    Parameters
    ----------
    network
        Taken over: its weights are set from `start`.
    task
        Splits on the network's device.
    config
        Steps, batch, optimiser, schedule.
    mask
        What may be non-zero.
    start
        Weights and buffers, and where in the schedule and in the data order to begin.
    level
        Number of the level.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        config: RunConfig,
        mask: Mask,
        start: Start,
        level: int,
    ) -> None:
        self.network, self.task, self.config = network, task, config
        self.mask, self.level = mask, level
        self.step, self._rate = start.step, start.rate
        self.kept_points: dict[str, Point] = {}
        self._rows: list[tuple[float, ...]] = []
        self._loss = _training_loss(task, config)
        self._batches = batches(network.module, task, config.batch_size)
        network.set(Point(mask.apply(start.point.theta), start.point.buffers))
        kept = torch.from_numpy(mask.kept).to(network.theta)
        self._kept = None if mask.kept.all() else kept
        self._optimizer = _optimizer(network, config)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=network.device)
        self._wrong = torch.zeros((), dtype=torch.int64, device=network.device)
        self._seen = 0
        self._order: tuple[int, torch.Tensor] = (-1, torch.empty(0, dtype=torch.int64))

    @property
    def trace(self) -> Trace:
        """The curve so far."""
        return Trace(np.array(self._rows, dtype=np.float64).reshape(-1, len(TRACE_COLUMNS)))

    @property
    def diverged(self) -> bool:
        """True if the last evaluation met a loss that is not finite."""
        losses = [f"{n}_loss" for n in ("validation", "test") if n in self.task.splits]
        losses += ["train_loss"] if len(self._rows) > 1 else []  # no step before the first
        row = dict(zip(TRACE_COLUMNS, self._rows[-1], strict=True)) if self._rows else {}
        return bool(row) and not all(math.isfinite(row[name]) for name in losses)

    def run(self) -> Iterator[Tick]:
        """Train to the last iteration, yielding after every evaluation.

        Ends early, with `diverged` set, at the first evaluation after a non-finite loss.
        """
        if not self._rows:
            yield self._evaluate()
        while self.step < self.config.iterations and not self.diverged:
            every = self.config.eval_every
            stop = min((self.step // every + 1) * every, self.config.iterations)
            with torch.random.fork_rng(devices=[]):
                seed = self.config.noise_seed
                torch.manual_seed(stream(seed, "model-noise", self.level, self.step))
                self._advance(stop)
            yield self._evaluate()

    def _advance(self, stop: int) -> None:
        """Take steps up to `stop`."""
        wanted = {*self.config.snapshots} | ({self.config.rewind_step} - {0})
        self.network.module.train()
        while self.step < stop:
            self._one_step(self.step)
            self.step += 1
            if self.step in wanted:
                self.kept_points[f"step-{self.step}"] = self.network.point()

    def _one_step(self, step: int) -> None:
        """One iteration: batch, gradient, mask, optimiser."""
        inputs, targets = self._batch(step)
        outputs = self.network.module(inputs)
        losses = self._loss(outputs, targets)
        self.network.backward(losses.mean())
        gradient = self.network.theta.grad
        assert gradient is not None
        if self._kept is not None:
            gradient.mul_(self._kept)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate_of(step)
        self._optimizer.step()
        with torch.no_grad():
            self._loss_sum.add_(losses.sum())
            if self.task.is_classification:
                self._wrong.add_((outputs.argmax(1) != targets).sum())
        self._seen += len(inputs)

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Examples of a step: a slice of its epoch's order."""
        train = self.task.splits["train"]
        epoch, place = self._batches.place(step)
        if self._order[0] != epoch:
            draws = generator(self.config.noise_seed, "data-order", self.level, epoch)
            order = torch.randperm(len(train), generator=draws).to(self.network.device)
            self._order = (epoch, order)
        chosen = self._order[1][place]
        inputs = train.inputs.index_select(0, chosen)
        if self.config.augment:
            inputs = flipped_and_cropped(inputs, self.config.noise_seed, self.level, step)
        return inputs, train.targets.index_select(0, chosen)

    def _rate_of(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self.config, step) if self._rate is None else self._rate

    def _evaluate(self) -> Tick:
        """Append a row to the trace."""
        examples, known = self._seen, self.task.is_classification
        row = [float(self.step), self._rate_of(self.step)]
        row.append(self._loss_sum.item() / examples if examples else _NAN)
        row.append(self._wrong.item() / examples if examples and known else _NAN)
        for name in ("validation", "test"):
            split = self.task.splits.get(name)
            row += self.network.evaluate(split, self.task) if split else (_NAN, _NAN)
        self._loss_sum.zero_()
        self._wrong.zero_()
        self._seen = 0
        self._rows.append(tuple(row))
        return Tick(self.level, self.step, tuple(row), self.capture)

    def capture(self) -> State:
        """Everything needed to go on from this evaluation, as arrays."""
        state: State = {"step": np.array([self.step]), "trace": self.trace.values}
        for name, point in {"": self.network.point(), **self.kept_points}.items():
            state[f"theta/{name}"] = point.theta
            state |= {f"buffer/{name}/{key}": value for key, value in point.buffers.items()}
        for key, value in self._optimizer.state[self.network.theta].items():
            if value is not None:
                state[f"optimizer/{key}"] = np.atleast_1d(value.detach().cpu().numpy().copy())
        return state

    def fits(self, state: Mapping[str, Array]) -> bool:
        """True if a state holds what `capture` puts into one of this level, whatever the values.

        The optimiser computes in memory that it believes to be as long as the weights: arrays of
        another length, from a file that somebody made, would crash the interpreter.
        """
        own = self.network.point()
        wanted = {"theta/": own.theta} | {f"buffer//{k}": v for k, v in own.buffers.items()}
        for key in state:
            kind, _, name = key.partition("/")
            if kind == "theta" and name:
                wanted |= {key: own.theta}
                wanted |= {f"buffer/{name}/{k}": v for k, v in own.buffers.items()}
        moments = {f"optimizer/{name}": own.theta for name in _moments(self.config)}
        if self.config.optimizer != "sgd":
            moments["optimizer/step"] = np.zeros(1, np.float32)
        if moments.keys() & state.keys():  # there are none before the first step
            wanted |= moments
        fixed = {"step": np.zeros(1, np.int64), "trace": np.zeros((0, len(TRACE_COLUMNS)))}
        return (
            state.keys() == {*wanted, *fixed}
            and all(_alike(state[key], value) for key, value in wanted.items())
            and _alike(state["step"], fixed["step"])
            and self.step <= state["step"][0] <= self.config.iterations
            and state["trace"].dtype == np.float64
            and state["trace"].shape[1:] == fixed["trace"].shape[1:]
        )

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from a captured state of the same level, which `fits`."""
        self.step = int(state["step"][0])
        self._rows = [tuple(row) for row in state["trace"].tolist()]
        shapes = {name: b.shape for name, b in self.network.module.named_buffers()}
        for key in [key for key in state if key.startswith("theta/")]:
            name = key.removeprefix("theta/")
            found = {k: f"buffer/{name}/{k}" for k in shapes if f"buffer/{name}/{k}" in state}
            # a file has no numbers, only arrays: a counter comes back as one of length 1
            point = Point(state[key], {k: state[v].reshape(shapes[k]) for k, v in found.items()})
            if name:
                self.kept_points[name] = point
            else:
                self.network.set(point)
        kept = {k.removeprefix("optimizer/"): v for k, v in state.items() if "optimizer/" in k}
        self._optimizer.state[self.network.theta] = {
            key: torch.tensor(
                value.reshape(()) if key == "step" else value, device=self.network.device
            )
            for key, value in kept.items()
        }


def _training_loss(task: Task, config: RunConfig) -> Loss:
    """The loss that is trained on: the task's, its targets smoothed if asked for.

    Raises `UsageError` for smoothing of a loss that is no cross-entropy.
    """
    if not config.label_smoothing:
        return task.loss
    if task.loss is not cross_entropy:
        raise UsageError(
            f"label_smoothing is {config.label_smoothing}, but task {task.name!r} is not judged by "
            "cross-entropy; leave it out"
        )
    smoothing = config.label_smoothing

    def smoothed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            outputs, targets, reduction="none", label_smoothing=smoothing
        )

    return smoothed


def _alike(found: Array, wanted: Array) -> bool:
    """True for arrays of one type and as many numbers: a file makes a number one of length 1."""
    flat = found.ndim <= max(1, wanted.ndim)
    return flat and found.dtype == wanted.dtype and found.size == wanted.size


def _moments(config: RunConfig) -> tuple[str, ...]:
    """What the optimiser keeps for every weight."""
    if config.optimizer == "sgd":
        return ("momentum_buffer",) if config.momentum else ()
    return ("exp_avg", "exp_avg_sq")


def _optimizer(network: Network, config: RunConfig) -> torch.optim.Optimizer:
    """The optimiser over the flat weights, in its fused form."""
    common = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD([network.theta], momentum=config.momentum, **common)  # type: ignore[arg-type]
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind([network.theta], **common)  # type: ignore[arg-type]


def on_device(task: Task, network: Network) -> Task:
    """The task with its splits on the network's device, floating inputs in its dtype."""
    device, dtype = network.device, network.theta.dtype
    return replace(task, splits={n: s.to(device, dtype) for n, s in task.splits.items()})
