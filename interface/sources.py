"""Tasks and models by name: built in, ``package.module:factory`` or ``file.py:factory``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training.models import Model, parse_mlp
from landscape.training.planting.target_data import function_task, is_target, target_task
from landscape.training.registry import MODELS, TASKS
from landscape.training.task import Task

FUNCTION = "target:"  # before the place of a function of one variable, whose task is meant


def is_factory(name: str) -> bool:
    """True if a name leads to somebody's code rather than to a table of ours."""
    return ":" in name and not name.startswith("mlp:") and not is_target(name)


def task_named(name: str, data: Path | None, validation_size: int | None) -> Task:
    """The task called `name`.

    Parameters
    ----------
    name
        A name of the table of tasks, a planted target's with options, as
        ``circle:noise=0.1,seed=3``, or where to find a function without arguments that returns a
        `Task` (see `make_task`); after ``target:`` where to find a function of one variable.
    data
        Folder of data sets; ``$LANDSCAPE_DATA`` or the user's cache if None.
    validation_size
        Training examples held out; the task's default if None.

    Raises `UsageError` or `LandscapeError` in words if there is none or it fails.
    """
    if is_target(name):
        return target_task(name, validation_size)
    if name.startswith(FUNCTION):
        place = name.removeprefix(FUNCTION)
        return function_task(function_named(place), place, validation_size=validation_size)
    if is_factory(name):
        if validation_size is not None:
            raise UsageError(
                f"validation_size is {validation_size}, but {name} makes its own splits; "
                "leave it out"
            )
        made = _call(name, "task")
        if not isinstance(made, Task):
            raise UsageError(
                f"{name} returned a {type(made).__name__}; a task factory returns a Task, as "
                "landscape.make_task(train=(x, y), test=(x, y)) makes it"
            )
        return made
    environment = os.environ.get("LANDSCAPE_DATA")
    folder = data or (Path(environment) if environment else None)
    return TASKS.load(name)(folder, validation_size)


def function_named(name: str) -> Callable[[Any], Any]:
    """Somebody's function of one variable, at ``file.py:function`` or ``package.module:name``."""
    with _neighbours(name.rpartition(":")[0]):
        return _factory(name, "target")


def model_named(name: str) -> Model:
    """The model family called `name`: of the table, ``mlp:784-300-10``, or a factory.

    A factory is a function without arguments that returns a module; it has no protocol of
    its own but keeps the weights its constructor drew.
    """
    if name.startswith("mlp:"):
        return parse_mlp(name)
    if not is_factory(name):
        return MODELS.load(name)

    def build(_shape: tuple[int, ...], _outputs: int) -> nn.Module:
        made = _call(name, "model")
        if not isinstance(made, nn.Module):
            raise UsageError(
                f"{name} returned a {type(made).__name__}; a model factory returns a "
                "torch.nn.Module"
            )
        return made

    return Model(build, {"initialization": "model"})


def device_named(name: str) -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}; use auto, cpu or cuda")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r} is not there: this machine or torch build has no GPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UsageError(f"device {name!r} is not there: this machine has {have} GPU(s), from 0")
    return device


def _call(name: str, noun: str) -> Any:
    """Run somebody's factory; its failure becomes one sentence."""
    with _neighbours(name.rpartition(":")[0]):
        factory = _factory(name, noun)
        try:
            return factory()
        except Exception as error:
            raise LandscapeError(f"{name} raised {type(error).__name__}: {error}") from error


@contextmanager
def _neighbours(place: str) -> Iterator[None]:
    """Let the code of a file import the files beside it."""
    if not place.endswith(".py"):
        yield
        return
    beside = str(Path(place).resolve().parent)
    sys.path.insert(0, beside)
    try:
        yield
    finally:
        with suppress(ValueError):  # the code may have removed it
            sys.path.remove(beside)


def _factory(name: str, noun: str) -> Callable[..., Any]:
    """The function at ``file.py:factory`` or ``package.module:factory``."""
    place, _, attribute = name.rpartition(":")
    try:
        module = _file_module(Path(place)) if place.endswith(".py") else _import(place)
    except (UsageError, LandscapeError):
        raise
    except Exception as error:
        raise LandscapeError(f"{place} raised {type(error).__name__}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UsageError(f"{place} has no function {attribute!r}; give the {noun} as FILE.py:NAME")
    found: Callable[..., Any] = factory
    return found


def _import(place: str) -> Any:
    """A module of an installed package."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"there is no module {place!r}: {error}; give an importable module or a FILE.py"
        ) from error


def _file_module(path: Path) -> Any:
    """A Python file as a module."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}; give an existing FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"landscape_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up here
    spec.loader.exec_module(module)
    return module
