"""Folders of open_lth: where a lottery experiment's levels lie, and what they hold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.foreign import read_state
from landscape.data_store.params import Array
from landscape.data_store.records import Checkpoint, Point

_MASK = "mask.pth"
_MODEL = re.compile(r"model_ep([0-9]{1,9})_it([0-9]{1,9})\.pth")
_LEVEL = re.compile(r"level_(0|[1-9][0-9]{0,3})")
_REPLICATE = re.compile(r"replicate_[0-9]{1,9}")

Fit = Callable[[Mapping[str, Array], str, Mapping[str, Array] | None], Checkpoint]


@dataclass(frozen=True)
class LevelFiles:
    """The files of one trained level.

    Parameters
    ----------
    mask
        What it was trained with: zeros and ones by tensor name.
    start, final
        Its models of the smallest and the largest step.
    """

    mask: Path
    start: Path
    final: Path

    @property
    def starts_at_zero(self) -> bool:
        """True if its first model was never trained."""
        return _step(self.start.name) == (0, 0)


@dataclass(frozen=True)
class Experiment:
    """The levels of a folder, in order, and the initial model if it is one of its files.

    `has_rewind` is True if the first level is level 0, whose first model all start from.
    """

    levels: tuple[LevelFiles, ...]
    init: Path | None
    has_rewind: bool


@dataclass(frozen=True, eq=False)
class LotteryLevel:
    """One level as it was read.

    Parameters
    ----------
    final
        Its last model with its mask.
    origins
        ``init`` and ``rewind`` where they are known; where the rewound weights are known on
        the mask only, ``ticket``.
    files
        What was read for it.
    """

    final: Checkpoint
    origins: Mapping[str, Point]
    files: tuple[Path, ...]


def find_levels(folder: Path) -> Experiment:
    """The files of a folder that github.com/facebookresearch/open_lth wrote.

    It may be ``lottery_HASH`` with one replicate, ``replicate_R``, ``level_L``, or its ``main``.
    Nothing is opened; symbolic links in the folder are refused.

    Raises `UsageError` if it is no such folder or holds several replicates, `LandscapeError`
    naming the level or the file that is missing.
    """
    names = _names(folder)
    replicates = sorted(name for name in names if _REPLICATE.fullmatch(name))
    if len(replicates) > 1:
        raise UsageError(
            f"{folder} holds {', '.join(replicates)}; import each under a --name of its own"
        )
    if replicates:
        folder = _inside(folder, replicates[0])
        names = _names(folder)
    numbers = sorted(int(found[1]) for name in names if (found := _LEVEL.fullmatch(name)))
    if numbers:
        return _replicate(folder, numbers)
    if "main" in names:
        folder = _inside(folder, "main")
        names = _names(folder)
    if _MASK not in names and not any(map(_MODEL.fullmatch, names)):
        raise UsageError(
            f"{folder} is no folder of open_lth: it holds neither level_0, main nor "
            "model_ep0_it0.pth"
        )
    return Experiment((_level(folder),), None, has_rewind=False)


def _replicate(folder: Path, numbers: list[int]) -> Experiment:
    """All levels of one replicate; raises if one is missing."""
    missing = [n for n in range(numbers[-1] + 1) if n not in numbers]
    if missing:
        raise LandscapeError(
            f"{folder} has level_{numbers[-1]} but no level_{missing[0]}; import single levels by "
            "their own folders"
        )
    levels = tuple(_level(_inside(_inside(folder, f"level_{n}"), "main")) for n in numbers)
    before = folder / "level_pretrain" / "main" / "model_ep0_it0.pth"
    init = None
    if levels[0].starts_at_zero:
        init = levels[0].start
    elif before.exists():
        init = _inside(_inside(_inside(folder, "level_pretrain"), "main"), before.name)
    return Experiment(levels, init, has_rewind=True)


def _level(folder: Path) -> LevelFiles:
    """Mask, first and last model of a level."""
    names = _names(folder)
    if _MASK not in names:
        raise LandscapeError(f"{folder} has no {_MASK}; give the .pth file itself if it is alone")
    models = sorted((name for name in names if _MODEL.fullmatch(name)), key=_step)
    if len(models) < 2:
        raise LandscapeError(
            f"{folder} has {models[0] if models else 'no model_ep0_it0.pth'} and no later model: "
            "the level was not trained to its end"
        )
    chosen = (_inside(folder, name) for name in (_MASK, models[0], models[-1]))
    return LevelFiles(*chosen)


def _step(name: str) -> tuple[int, int]:
    """Epoch and iteration in the name of a model."""
    found = _MODEL.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2])


def _names(folder: Path) -> set[str]:
    """Names of what is in a folder."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise LandscapeError(f"cannot read {folder}: {error.strerror}") from error


def _inside(folder: Path, name: str) -> Path:
    """A file or folder in a stranger's folder, which must not lead elsewhere."""
    path = folder / name
    if path.is_symlink():
        raise LandscapeError(f"{path} is a symbolic link; copy what it leads to into its place")
    return path


def read_levels(folder: Path, fit: Fit, *, size_limit: int = SIZE_LIMIT) -> Iterator[LotteryLevel]:
    """The levels of a folder of open_lth, in order.

    Its code applies a mask before each forward pass, not after the last step, so final weights
    under the mask need not be zero: the mask is applied here, with a warning that counts them.
    A level that does not start from the rewound weights on its mask, up to the sign of zero,
    is warned of too.

    Parameters
    ----------
    folder
        As `find_levels` takes it.
    fit
        Makes a checkpoint of a state, its address and masks, or raises `LandscapeError`.
    size_limit
        Largest file in bytes.

    Raises `UsageError` and `LandscapeError` as `find_levels`, `read_state` and `fit` do.
    """
    experiment = find_levels(folder)

    def point(path: Path, masks: Mapping[str, Array] | None = None) -> Checkpoint:
        return fit(read_state(path, size_limit=size_limit), str(path), masks)

    rewind = point(experiment.levels[0].start) if experiment.has_rewind else None
    init = _init(experiment, fit, size_limit)
    for files in experiment.levels:
        masks = read_state(files.mask, size_limit=size_limit)
        final, start = point(files.final, masks), point(files.start, masks)
        origins = {} if init is None else {"init": _as_point(init)}
        if rewind is not None:
            _compare(start, rewind)
            origins["rewind"] = _as_point(rewind)
        elif start.mask.kept.all():
            origins["rewind"] = _as_point(start)
        else:
            origins["ticket"] = _as_point(start)
        yield LotteryLevel(final, origins, (files.mask, files.start, files.final))


def _init(experiment: Experiment, fit: Fit, size_limit: int) -> Checkpoint | None:
    """The untrained network, None where it is unknown.

    Pretraining may have had another output layer than the network that was pruned.
    """
    if experiment.init is None:
        return None
    state = read_state(experiment.init, size_limit=size_limit)
    try:
        return fit(state, str(experiment.init), None)
    except LandscapeError as error:
        warnings.warn(f"the initial weights stay unknown: {error}", UserWarning, stacklevel=3)
        return None


def _as_point(checkpoint: Checkpoint) -> Point:
    """Weights and buffers of a checkpoint."""
    return Point(checkpoint.theta, checkpoint.buffers)


def _compare(start: Checkpoint, rewind: Checkpoint) -> None:
    """Warn if a level starts from anything but the rewound weights on its mask."""
    expected = start.mask.apply(rewind.theta)
    same = (start.theta == expected) | (np.isnan(start.theta) & np.isnan(expected))
    if not same.all():
        warnings.warn(
            f"{start.address} is not {rewind.address} on its mask: "
            f"{np.count_nonzero(~same)} weights differ",
            UserWarning,
            stacklevel=3,
        )
