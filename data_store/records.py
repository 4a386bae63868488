"""The values that travel between the rooms: RunConfig, Trace, Checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from landscape.data_store.errors import UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.params import Array, ParamSpec, array_digest
from landscape.data_store.settings import check, option


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run; the run's manifest holds it as JSON.

    Each field is an option of ``landscape train``; a model's protocol sets its defaults.
    """

    task: str = option("digits", "data set and loss", listed="tasks")
    model: str = option("lenet-300-100", "network", listed="models")
    levels: int = option(12, "levels to train, the dense level 0 included", min=1, max=9999)
    seed: int = option(
        0, "seed of initialisation, data order and random masks", min=0, max=2**63 - 1
    )
    criterion: str = option("magnitude", "what is pruned", listed="criteria")
    scope: str = option(
        "layer", "compare scores in each layer, or globally", choices=("layer", "global")
    )
    pruning_fraction: float = option(
        0.2, "fraction of surviving weights removed per level", min=0, max=1
    )
    pruning_fraction_conv: float = option(0.2, "the same in convolutions", min=0, max=1)
    pruning_fraction_output: float = option(0.1, "the same in the output layer", min=0, max=1)
    exclude: tuple[str, ...] = option(
        (), "never pruned: output, shortcut, conv, fc, or names of tensors"
    )
    prune_biases: bool = option(
        False, "prune biases too, each as its layer's weights are", since=(1, 1)
    )
    densities: str = option(
        "rate",
        "how the density falls: by the fractions, or to --density by equal factors (exponential, "
        "multishot), by equal steps, at once after a dense level, or before any training "
        "(singleshot)",
        choices=("rate", "exponential", "multishot", "linear", "one-shot", "singleshot"),
        also=("schedule",),
    )
    density: float | None = option(
        None,
        "density of the last level; planted for that of the truth",
        above=0,
        max=1,
        words=("planted",),
    )
    nested: bool = option(True, "pruned weights stay pruned; otherwise every level chooses anew")
    keep_connected: bool = option(
        False, "refuse to prune a whole layer or every path to the output, instead of warning"
    )
    score_examples: int | None = option(
        None,
        "training examples that a criterion looks at; 10 a class or, without classes, 40 unless "
        "given",
        min=1,
        since=(1, 1),
    )
    score_rounds: int = option(
        1,
        "equal factors in which a level's pruning is done, with new scores before each",
        min=1,
        since=(1, 1),
    )
    score_epochs: int = option(
        10, "epochs in which edge-popup learns its scores", min=1, since=(1, 1)
    )
    score_lr: float = option(
        0.1, "learning rate of the scores of edge-popup", above=0, since=(1, 1)
    )
    score_annealed: bool = option(
        False, "let the density fall by equal factors while edge-popup learns", since=(1, 1)
    )
    score_softmax: bool = option(
        False,
        "put a softmax before the loss of edge-popup, as the code of Fischer & Burkholz does",
        since=(1, 1),
    )
    retrain: str = option(
        "rewind",
        "what a level starts from: the rewind point and its schedule; trained weights and the "
        "schedule from the rewind step, the last learning rate, or all of it until the last level "
        "resets; new initial weights, or ones drawn from the survivors'",
        choices=("rewind", "lr-rewind", "finetune", "continue", "reinit", "reinit-survivors"),
    )
    init_noise: float = option(
        0.0, "Gaussian noise on the start weights, in standard deviations of their layer", min=0
    )
    rewind_step: int = option(0, "step whose weights every level starts from", min=0)
    rewind_epoch: int | None = option(None, "the same in epochs", min=0)
    iterations: int = option(1000, "training steps per level", min=1)
    last_iterations: int | None = option(
        None,
        "the same of the last level, to which its learning rate's schedule is stretched; as many "
        "unless given",
        min=1,
        since=(1, 1),
    )
    batch_size: int = option(60, "examples per step", min=1)
    optimizer: str = option("adam", "optimiser", choices=("adam", "adamw", "sgd"))
    lr: float = option(1.2e-3, "learning rate", above=0)
    momentum: float = option(0.9, "momentum of sgd", min=0, max=1)
    weight_decay: float = option(0.0, "weight decay", min=0)
    lr_milestones: tuple[int, ...] = option(
        (), "steps from which the learning rate is multiplied by --lr-gamma", min=1
    )
    lr_gamma: float = option(0.1, "factor of the learning rate at a milestone", above=0)
    lr_schedule: str = option(
        "step",
        "learning rate between warm-up and end: by milestones, or half a cosine to zero",
        choices=("step", "cosine"),
    )
    warmup: int = option(0, "steps of linear warm-up of the learning rate", min=0)
    dropout: float = option(0.0, "rate of the network's dropout layers", min=0, max=0.99)
    label_smoothing: float = option(0.0, "smoothing of the training targets", min=0, max=0.99)
    augment: bool = option(False, "train on pictures flipped and cropped after 4-pixel padding")
    order_seed: int | None = option(
        None, "seed of data order, augmentation and dropout alone", min=0, max=2**63 - 1
    )
    initialization: str = option(
        "glorot-normal",
        "initial weights",
        choices=("glorot-normal", "kaiming-normal", "scaled-normal", "scaled-uniform", "model"),
    )
    norm_scale: str = option(
        "one", "initial scales of normalisation layers", choices=("one", "uniform")
    )
    validation_size: int | None = option(None, "training examples held out for validation", min=1)
    max_examples: int | None = option(
        None,
        "at most so many examples of each split, drawn evenly by class with a fixed rule; all "
        "unless given",
        min=1,
    )
    eval_every: int = option(100, "steps between two evaluations", min=1)
    snapshots: tuple[int, ...] = option((), "steps whose weights are kept as RUN@LEVEL.step-K")

    def __post_init__(self) -> None:
        check(self)
        self._check_densities()
        if self.criterion == "edge-popup" and self.scope == "global":
            raise UsageError(
                "scope is global, but edge-popup ranks within layers; use --scope layer"
            )
        for steps in (self.iterations, self.last_iterations or self.iterations):
            if self.rewind_step >= steps:
                raise UsageError(
                    f"rewind_step {self.rewind_step} is not before the last of {steps} "
                    "iterations; use a smaller step"
                )
        for step in self.snapshots:
            if not self.rewind_step < step < self.iterations:
                raise UsageError(
                    f"snapshot step {step} is not between rewind_step {self.rewind_step} and "
                    f"iterations {self.iterations}"
                )

    def _check_densities(self) -> None:
        """Raise `UsageError` unless the density's fall is stated once."""
        if self.densities == "rate" and self.density is not None:
            raise UsageError(
                f"density is {self.density}, but the fractions say how the density falls; give "
                "--densities exponential, linear, one-shot or singleshot with it, or leave it out"
            )
        if self.densities != "rate" and self.density is None:
            raise UsageError(
                f"densities is {self.densities}, but no density of the last level is given; "
                "give --density with it"
            )
        if self.densities == "one-shot" and self.levels != 2:
            raise UsageError(
                f"levels is {self.levels}; one-shot pruning has 2, the dense one and the pruned one"
            )
        if self.densities == "singleshot" and self.levels != 1:
            raise UsageError(
                f"levels is {self.levels}; singleshot pruning has 1, pruned before it is trained"
            )
        if self.density is not None and self.levels < 2 and self.densities != "singleshot":
            raise UsageError(
                f"levels is {self.levels}; a density of the last level needs at least 2, the dense "
                "one included"
            )
        if not self.nested and self.densities == "rate":
            raise UsageError(
                "without nesting, fractions of the survivors have no meaning; give --densities "
                "exponential, linear, one-shot or singleshot with --density"
            )

    @property
    def all_iterations(self) -> int:
        """Training steps of all levels."""
        last = self.iterations if self.last_iterations is None else self.last_iterations
        return (self.levels - 1) * self.iterations + last

    @property
    def noise_seed(self) -> int:
        """Seed of what SGD draws: order, augmentation, dropout."""
        return self.seed if self.order_seed is None else self.order_seed


TRACE_COLUMNS = (
    "step",
    "learning_rate",
    "train_loss",
    "train_error",
    "validation_loss",
    "validation_error",
    "test_loss",
    "test_error",
)


@dataclass(frozen=True, eq=False)
class Trace:
    """The training curve of one level.

    Parameters
    ----------
    values
        Float64 (evaluations, 8), columns `TRACE_COLUMNS`. Losses in nats per example,
        errors as fractions. ``train_*`` are means over the minibatches since the row
        before; ``validation_*`` and ``test_*`` are over the whole split. NaN where a
        split is missing.
    """

    values: Array

    def column(self, name: str) -> Array:
        """One column (evaluations,)."""
        values: Array = self.values[:, TRACE_COLUMNS.index(name)]
        return values

    @property
    def early_stop_row(self) -> int | None:
        """Row of the smallest validation loss, the first of ties; None if none is finite.

        The early-stop iteration of Frankle and Carbin (2019), section 1: found afterwards,
        in a full-length run.
        """
        loss = self.column("validation_loss")
        return int(np.nanargmin(loss)) if np.isfinite(loss).any() else None


@dataclass(frozen=True, eq=False)
class Point:
    """Weights and buffers of a network at one moment.

    Parameters
    ----------
    theta
        Weights (n,).
    buffers
        Non-trained state (BatchNorm statistics) by name, in the model's order.
    """

    theta: Array
    buffers: Mapping[str, Array] = field(default_factory=dict)

    def digest(self, spec: ParamSpec) -> str:
        """SHA-256 of spec, weights and buffers."""
        state = [part for name in self.buffers for part in (name, self.buffers[name])]
        return array_digest(spec.digest, self.theta, *state)


@dataclass(frozen=True, eq=False)
class Level:
    """A finished level of a run: all that its file holds.

    Parameters
    ----------
    number
        0 is dense.
    mask
        What the level was trained with.
    points
        ``final``, any ``step-K``, and ``ticket``, the weights it was trained from, where they are
        not the rewind point's; pruned entries +0.0.
    trace
        The training curve.
    metrics
        Loss and error of the final weights on each whole split, the early-stop step, and
        ``connected``: 1 where the mask leaves a path from input to output, 0 where it leaves none,
        NaN where that is not known.
    origins
        Digests of the run's ``init`` and ``rewind`` points, which are objects of the store.
    status
        ``done``, or ``diverged`` if training met a non-finite loss.
    run
        `landscape.data_store.store.Run.identity` of the run it belongs to, empty if it was made
        by itself.
    """

    number: int
    mask: Mask
    points: Mapping[str, Point]
    trace: Trace
    metrics: Mapping[str, float]
    origins: Mapping[str, str]
    status: str = "done"
    run: str = ""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One point of a run with all that is needed to evaluate it or train on from it.

    Parameters
    ----------
    spec
        Names and shapes of the parameters.
    theta
        Weights (n,), pruned entries +0.0.
    mask
        The level's mask.
    buffers
        Non-trained state (BatchNorm statistics) by name.
    metrics
        Numbers of the level: ``train_loss``, ``test_error``, … at this point.
    trace
        The level's training curve, None for points that are not a level's final weights.
    address
        ``RUN@LEVEL.PART`` or the path it came from.
    level
        Level number, None for foreign files.
    part
        ``final``, ``init``, ``rewind``, ``ticket``, ``baseline``, ``mask``, ``planted``,
        ``target`` or ``step-K``.
    status
        ``done``, or ``diverged`` if training met a non-finite loss.
    home
        Folder of the store it came from, None for foreign ones.
    """

    spec: ParamSpec
    theta: Array
    mask: Mask
    buffers: Mapping[str, Array] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    trace: Trace | None = None
    address: str = ""
    level: int | None = None
    part: str = "final"
    status: str = "done"
    home: str | None = None

    def __repr__(self) -> str:
        from landscape.data_store.showing import of_checkpoint

        return of_checkpoint(self).text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from landscape.data_store.showing import of_checkpoint

        return of_checkpoint(self).html()

    @property
    def run(self) -> str:
        """Name of the run, empty for foreign files."""
        return self.address.partition("@")[0] if self.home is not None else ""

    @property
    def density(self) -> float:
        """Fraction of prunable weights kept."""
        return self.mask.density

    @cached_property
    def point(self) -> Array:
        """Weights followed by the floating-point buffers: what an interpolation moves.

        Integer buffers (``num_batches_tracked``) are never part of it.
        """
        moving = [b.reshape(-1) for b in self.buffers.values() if b.dtype.kind == "f"]
        return np.concatenate([self.theta, *moving]).astype(self.theta.dtype)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of spec, weights, mask and buffers: what an analysis sees of it."""
        state = [part for name in self.buffers for part in (name, self.buffers[name])]
        return array_digest(
            self.spec.digest, self.theta, " ".join(self.mask.prunable), self.mask.packed(), *state
        )
