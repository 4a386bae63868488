"""Tasks of planted targets: uniform inputs, exact labels, and the noise of the paper.

Train, test and validation are independent draws. Inputs and noise have their own named streams of
one seed, so a sweep of the noise keeps its inputs, and fewer examples are the first of more.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.data_store.errors import UsageError, unknown
from landscape.data_store.params import Array
from landscape.training.planting.piecewise import Function, function_values
from landscape.training.planting.targets import circle_logits, helix, relu
from landscape.training.seeds import stream
from landscape.training.task import Task, make_task

_FUNCTIONS: dict[str, Function] = {"relu": relu, "helix": helix}
_NAMES = ("relu", "circle", "helix")
_MAX_EXAMPLES = 10_000_000  # they are kept in memory
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Draw:
    """What a task is drawn by, beyond its function; made by `_drawn_by`, which checks it."""

    name: str
    noise: float = 0.01
    seed: int = 0
    examples: int = 10_000

    def sizes(self, validation_size: int | None) -> dict[str, int]:
        """Examples of each split: nine tenths, one tenth, and a third draw if one is wanted."""
        test = self.examples // 10
        sizes = {"train": self.examples - test, "test": test}
        if validation_size is not None:
            sizes["validation"] = _whole(
                self.name, "validation_size", validation_size, 1, _MAX_EXAMPLES
            )
        return sizes

    def random(self, split: str, part: str) -> np.random.Generator:
        """The start of the stream of one part of one split."""
        return np.random.default_rng(stream(self.seed, f"target/{self.name}/{split}/{part}"))

    @property
    def text(self) -> str:
        """Name and options that are not the default ones, in one form."""
        options = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.name != "name" and getattr(self, field.name) != field.default
        ]
        return f"{self.name}:{','.join(options)}" if options else self.name


def is_target(name: str) -> bool:
    """True for relu, circle and helix, with or without options after a colon.

    >>> is_target("circle:noise=0.1"), is_target("mnist")
    (True, False)
    """
    return name.partition(":")[0] in _NAMES


def target_task(text: str, validation_size: int | None = None) -> Task:
    """The task of a target by its text, such as ``circle:noise=0.1,seed=3,examples=10000``.

    Inputs are uniform on [-1, 1], for a circle on the square, and float32; the exact function is
    taken at the rounded inputs, in float64. For a circle the classes are the largest of the logits
    5g, 10g - 1, 20g - 6, 40g - 20 with g = x₁² + x₂², and with probability `noise` a label becomes
    the second most likely class. Relu and helix have float32 targets (n, 1) and (n, 3) with
    Gaussian noise of standard deviation `noise` on each output.

    Parameters
    ----------
    text
        ``relu``, ``circle`` or ``helix``, and options: ``noise`` (0.01), ``seed`` (0) and
        ``examples`` (10000, of which nine tenths are train and one tenth test).
    validation_size
        Examples of a third draw, the validation split; no such split if None.

    Returns
    -------
    Task
        Named by the text in one form. The same text gives the same bits, splits and seeds
        independent ones.

    Raises `UsageError` for an unknown target or option, a value out of range, or a size below 1.

    References
    ----------
    J. Fischer, R. Burkholz, "Plant 'n' Seek: Can You Find the Winning Ticket?", ICLR 2022,
    section 4; noise as in the authors' code.

    Examples
    --------
    >>> task = target_task("circle:seed=3,noise=0.1")
    >>> task.name, task.outputs, {name: len(split) for name, split in task.splits.items()}
    ('circle:noise=0.1,seed=3', 4, {'train': 9000, 'test': 1000})
    """
    draw = _parsed(text)
    if draw.name == "circle":
        return _circle(draw, validation_size)
    return _regression(_FUNCTIONS[draw.name], draw, (-1.0, 1.0), validation_size)


def relu_task(data: Path | None = None, validation_size: int | None = None) -> Task:
    """max(x, 0) on [-1, 1]: 10 000 examples of one variable; `target_task` has the options."""
    del data
    return target_task("relu", validation_size)


def circle_task(data: Path | None = None, validation_size: int | None = None) -> Task:
    """Four rings in the square: 10 000 examples of two variables; `target_task` has the options."""
    del data
    return target_task("circle", validation_size)


def helix_task(data: Path | None = None, validation_size: int | None = None) -> Task:
    """A coil in space: 10 000 examples of one variable; `target_task` has the options."""
    del data
    return target_task("helix", validation_size)


def function_task(
    function: Function,
    name: str,
    *,
    low: float = -1.0,
    high: float = 1.0,
    noise: float = 0.01,
    seed: int = 0,
    examples: int = 10_000,
    validation_size: int | None = None,
) -> Task:
    """The regression task of any function of one variable.

    Parameters
    ----------
    function
        From values (m,) to (m,) or (m, outputs), written with numpy.
    name
        Of the task; it is part of the streams, so other names have other inputs.
    low, high
        Range of the inputs, which are uniform in it and rounded to float32.
    noise
        Standard deviation of the Gaussian noise on each output, from 0 on.
    seed, examples, validation_size
        As in `target_task`.

    Raises `UsageError` for a value out of range, and for a function that fails, gives another
    shape, or is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> task = function_task(np.sin, "sine", high=3.0, examples=100)
    >>> task.input_shape, task.outputs, len(task.splits["train"])
    ((1,), 1, 90)
    """
    if not -_LARGEST <= low < high <= _LARGEST:
        raise UsageError(
            f"the range of {name} is {low} to {high}; give finite numbers, low < high, that "
            "float32 holds"
        )
    draw = _drawn_by(name, noise=noise, seed=seed, examples=examples)
    return _regression(function, draw, (low, high), validation_size)


def floors(task: Task) -> dict[str, float]:
    """What predictors reach on the test split that look at no input.

    Returns
    -------
    dict
        ``constant_loss``: the task's loss of one constant output, in nats for classes; for classes
        the logarithms of their shares in the training split, infinite if one of test's is missing
        there, else the training mean. For classes also ``majority_error``: the share of test
        examples that are not of training's most frequent class, the lowest of equals.

    Examples
    --------
    >>> round(floors(target_task("relu:noise=0"))["constant_loss"], 2)
    0.11
    """
    train, test = (task.splits[name].targets for name in ("train", "test"))
    if task.is_classification:
        counts = torch.bincount(train, minlength=task.outputs).double()
        output = (counts / counts.sum()).log()
        error = {"majority_error": float((test != counts.argmax()).double().mean())}
    else:
        output, test, error = train.double().mean(0), test.double(), {}
    outputs = output.expand(len(test), *output.shape)
    return {**error, "constant_loss": float(task.loss(outputs, test).mean())}


def bayes(text: str) -> dict[str, float]:
    """The lowest error and loss that any predictor is expected to have on a target's task.

    At noise p a circle's are min(p, 1 - p) and the entropy of p in nats; a regression has no error,
    and the mean squared error p².

    Parameters
    ----------
    text
        As in `target_task`.

    Examples
    --------
    >>> bayes("circle:noise=0.1")["error"]
    0.1
    """
    draw = _parsed(text)
    p = draw.noise
    if draw.name != "circle":
        return {"loss": p**2}
    entropy = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
    return {"error": min(p, 1 - p), "loss": max(entropy, 0.0)}


def _circle(draw: _Draw, validation_size: int | None) -> Task:
    """Classes of rings, some moved to the second most likely one."""
    splits = {}
    for split, size in draw.sizes(validation_size).items():
        inputs = _uniform(draw, split, (size, 2), (-1.0, 1.0))
        order = np.argsort(-circle_logits(inputs.astype(np.float64)), axis=1, kind="stable")
        moved = draw.random(split, "noise").random(size) < draw.noise
        labels = np.where(moved, order[:, 1], order[:, 0])
        splits[split] = torch.from_numpy(inputs), torch.from_numpy(labels)
    return _task(draw, splits, classes=4)


def _regression(
    function: Function, draw: _Draw, span: tuple[float, float], validation_size: int | None
) -> Task:
    """Values of a function of one variable, with Gaussian noise."""
    splits = {}
    for split, size in draw.sizes(validation_size).items():
        inputs = _uniform(draw, split, (size, 1), span)
        values = function_values(function, draw.name, inputs[:, 0].astype(np.float64))
        values = values + draw.noise * draw.random(split, "noise").standard_normal(values.shape)
        reach = float(np.abs(values).max())
        if reach > _LARGEST:
            raise UsageError(
                f"the targets of {draw.name} reach {reach:.3g}; scale the function or its noise so "
                "that float32 holds them"
            )
        splits[split] = torch.from_numpy(inputs), torch.from_numpy(values.astype(np.float32))
    return _task(draw, splits)


def _uniform(draw: _Draw, split: str, shape: tuple[int, int], span: tuple[float, float]) -> Array:
    """Inputs of a split, float32."""
    low, high = span
    return (low + (high - low) * draw.random(split, "inputs").random(shape)).astype(np.float32)


def _task(
    draw: _Draw, splits: dict[str, tuple[Tensor, Tensor]], classes: int | None = None
) -> Task:
    """The task of drawn splits."""
    return make_task(
        name=draw.text,
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        classes=classes,
    )


def _parsed(text: str) -> _Draw:
    """Name and options of a text."""
    name, colon, rest = text.partition(":")
    if name not in _NAMES:
        raise unknown("target", name, _NAMES)
    given: dict[str, str] = {}
    for item in rest.split(",") if colon else []:
        option, equals, value = item.partition("=")
        right = f"write it as {name}:noise=0.01"
        if not item:
            after = "comma" if given else "colon"
            raise UsageError(f"{name}: has no option after the {after}; {right}")
        if option not in ("noise", "seed", "examples"):
            raise unknown(f"option of {name}", option, ("noise", "seed", "examples"))
        if not equals:
            raise UsageError(f"the option {option!r} of {name} has no value; {right}")
        if option in given:
            raise UsageError(f"the option {option!r} of {name} is given twice; give it once")
        given[option] = value
    return _drawn_by(name, **given)


def _drawn_by(name: str, **given: str | float) -> _Draw:
    """The options, as text or numbers, in range; the others are the default ones."""
    checked: dict[str, float] = {}
    if "noise" in given:
        checked["noise"] = _noise(name, given["noise"])
    if "seed" in given:
        checked["seed"] = _whole(name, "seed", given["seed"], 0, None)
    if "examples" in given:
        checked["examples"] = _whole(name, "examples", given["examples"], 10, _MAX_EXAMPLES)
    return replace(_Draw(name), **checked)  # type: ignore[arg-type]


def _noise(name: str, given: str | float) -> float:
    """A probability for a circle, a standard deviation otherwise."""
    most = 1.0 if name == "circle" else _LARGEST
    try:
        noise = math.nan if isinstance(given, bool) else float(given)
    except ValueError:
        noise = math.nan
    if not 0 <= noise <= most:
        span = "from 0 to 1" if name == "circle" else "from 0 on"
        raise UsageError(f"the noise of {name} is {given!r}; expected a number {span}, as in 0.01")
    return abs(noise)  # -0.0 is 0.0


def _whole(name: str, option: str, given: str | float, least: int, most: int | None) -> int:
    """A whole number in a range, from text or a number."""
    digits = isinstance(given, str) and re.fullmatch(r"[0-9]{1,30}", given)
    value = int(given) if digits or type(given) is int else -1
    if value < least or (most is not None and value > most):
        span = f"from {least} on" if most is None else f"from {least} to {most}"
        raise UsageError(f"the {option} of {name} is {given!r}; expected a whole number {span}")
    return value
