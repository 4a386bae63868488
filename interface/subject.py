"""Subject: the checkpoints a question is about, and the network and data they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.address import is_file_address, parse_address
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.params import Array, ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.store import Run, Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from landscape.analysis.network.evaluator import Evaluator
    from landscape.training.task import Task

    Source = str | Path | Checkpoint | Mapping[str, Any] | nn.Module


@dataclass(frozen=True)
class Context:
    """What is known beside the checkpoints.

    Parameters
    ----------
    store
        Where addresses are looked up and results kept; None looks nowhere.
    task, model
        A name or the object itself; None for what the checkpoints' run was trained with.
    data
        Folder of data sets.
    device
        ``auto``, ``cpu`` or ``cuda``.
    """

    store: Store | None = None
    task: str | Task | None = None
    model: str | nn.Module | None = None
    data: Path | None = None
    device: str = "auto"


class Subject:
    """Checkpoints of one question; loads the network and the data when it must.

    Parameters
    ----------
    context
        Store, task, model, data, device.
    needs_network
        Whether weights without a network are refused (True) or described by themselves.
    """

    def __init__(self, context: Context, *, needs_network: bool) -> None:
        self.context = context
        self._needs_network = needs_network
        self._run: Run | None = None
        self._given_model: str | nn.Module | None = context.model
        self._landscapes: dict[str, Evaluator] = {}

    def checkpoints(self, sources: Sequence[Source]) -> list[Checkpoint]:
        """What the sources stand for, in order; a run alone stands for its finished levels.

        Those of a run are looked up first, so that its network and data serve the others.
        """
        found: dict[int, list[Checkpoint]] = {}
        for of_run in (True, False):
            for i, source in enumerate(sources):
                if _is_of_run(source) == of_run:
                    found[i] = self._checkpoints(source)
        return [checkpoint for i in sorted(found) for checkpoint in found[i]]

    def companions(
        self, group: Sequence[Checkpoint], addresses: Sequence[str]
    ) -> list[Checkpoint | None]:
        """The points at these addresses, in the group's store; None for one it does not have."""
        homes = [Path(c.home) for c in group if c.home is not None]
        store = self.context.store or (Store(homes[0]) if homes else None)
        found: list[Checkpoint | None] = []
        for address in addresses:
            try:
                found.append(store.checkpoint(address) if store else None)
            except UsageError:
                found.append(None)
        return found

    def _checkpoints(self, source: Source) -> list[Checkpoint]:
        """The checkpoints of one source."""
        if isinstance(source, Checkpoint):
            if source.home is not None:
                self._belongs_to(Run(Path(source.home), source.run))
            return [source]
        if isinstance(source, str | Path) and not is_file_address(str(source)):
            return self._stored(str(source))
        if isinstance(source, str | Path):
            return [self._in_file(Path(source))]
        return [self._in_memory(source)]

    @property
    def _size_limit(self) -> int:
        """Largest file that is read, in bytes."""
        return SIZE_LIMIT if self.context.store is None else self.context.store.size_limit

    @property
    def is_runs_own(self) -> bool:
        """True if task and model are those of the checkpoints' run."""
        return self._run is not None and self.context.task is None and self._given_model is None

    @property
    def task_name(self) -> str:
        """Name of the task, empty if there is none."""
        if self.context.task is not None:
            return self.context.task if isinstance(self.context.task, str) else self.task.name
        return str(self._config("task") or "")

    @property
    def model_name(self) -> str:
        """Name of the model, empty if there is none."""
        if self._given_model is not None:
            given = self._given_model
            return given if isinstance(given, str) else type(given).__qualname__
        return str(self._config("model") or "")

    @cached_property
    def task(self) -> Task:
        """The data, loaded on first use."""
        from landscape.sources import is_factory, task_named
        from landscape.training.subset import subset

        given = self.context.task
        if given is not None and not isinstance(given, str):
            return given
        if not self.task_name:
            raise UsageError(
                "these weights come without their data; give --task, as in --task mnist or "
                "--task my_data.py:task"
            )
        if given is None and is_factory(self.task_name):
            self._refuse_code("task", self.task_name)
        if given is not None:
            return task_named(self.task_name, self.context.data, None)
        whole = task_named(self.task_name, self.context.data, self._config("validation_size"))
        return subset(whole, self._config("max_examples"))

    @cached_property
    def module(self) -> nn.Module:
        """The network, built on first use; the weights in it do not matter."""
        from landscape.sources import is_factory, model_named
        from landscape.training.models import build

        given = self._given_model
        if given is not None and not isinstance(given, str):
            return given
        name = self.model_name
        if not name:
            raise UsageError(
                "these weights come without their network; give --model, as in --model "
                "lenet-300-100 or --model my_net.py:build"
            )
        if given is None and is_factory(name):
            self._refuse_code("model", name)
        shape = ((), 0) if is_factory(name) else (self.task.input_shape, self.task.outputs)
        seed = int(self._config("seed") or 0)  # decides buffers that are never trained
        return build(model_named(name), *shape, seed)

    def landscape(self, bn: str, group: Sequence[Checkpoint]) -> Evaluator:
        """The loss of the network on the data, under a policy for normalisation.

        Raises `LandscapeError` if a checkpoint of the group is not of this network.
        """
        for checkpoint in group:
            self.require_fit(checkpoint)
        if bn not in self._landscapes:
            from landscape.analysis.network.evaluator import Evaluator
            from landscape.sources import device_named
            from landscape.training.task import require_fit

            self._require_own_data()
            require_fit(self.module, self.task)
            self._landscapes[bn] = Evaluator(
                self.module,
                {name: (split.inputs, split.targets) for name, split in self.task.splits.items()},
                self.task.loss,
                device=device_named(self.context.device),
                bn=bn,
            )
        return self._landscapes[bn]

    def data_digest(self, group: Sequence[Checkpoint], bn: str) -> str:
        """What an answer depends on beside weights and settings: data / network and loss.

        For a run's own task and model its manifest knows, so that a stored answer needs
        neither the data nor torch. Otherwise the losses of 16 training examples at every
        checkpoint stand for code that cannot be compared.
        """
        own = _data_digest(self._run)
        if self.is_runs_own and own:
            return f"{own}/{self.model_name}"
        landscape = self.landscape(bn, group)
        seen = [landscape.losses(c.point, split="train", examples=16).tobytes() for c in group]
        return f"{self.task.digest}/{hashlib.sha256(b''.join(seen)).hexdigest()}"

    def _config(self, name: str) -> Any:
        """A setting of the checkpoints' run, None without a run."""
        return None if self._run is None else self._run.description.get("config", {}).get(name)

    def _stored(self, text: str) -> list[Checkpoint]:
        """The checkpoint at an address, or all final ones of a run."""
        if self.context.store is None:
            raise UsageError(f"{text!r} is an address in a store; give store=")
        place = parse_address(text)
        run = self.context.store[place.run]
        self._belongs_to(run)
        if place.level is not None:
            return [run.checkpoint(place)]
        return [run[level] for level in run.unbroken_levels]

    def _belongs_to(self, run: Run) -> None:
        """Take task and model from the run; refuse one that contradicts an earlier run."""
        if self._run is None:
            self._run = run
        if self._run == run:
            return
        first, other = self._run.description, run.description
        for what, given in (("task", self.context.task), ("model", self.context.model)):
            mine, theirs = first["config"][what], other["config"][what]
            if given is None and mine != theirs:
                raise LandscapeError(
                    f"run {self._run.name!r} has {what} {mine!r} and run {run.name!r} {theirs!r}; "
                    f"give --{what} to say on which to compare them"
                )
        digests = {_data_digest(self._run), _data_digest(run)} - {""}
        if self.context.task is None and len(digests) > 1:
            raise LandscapeError(
                f"runs {self._run.name!r} and {run.name!r} were trained on different data or "
                "splits; give --task to say on which to compare them"
            )

    def _in_file(self, path: Path) -> Checkpoint:
        """The checkpoint in a file: a level of ours, or somebody's state dict."""
        if path.suffix.lower() == ".h5":
            from landscape.data_store.points import file_checkpoint

            return file_checkpoint(path, limit=self._size_limit)
        from landscape.data_store.foreign import read_state
        from landscape.data_store.foreign_out import read_embedded, restored

        state = read_state(path, size_limit=self._size_limit)
        embedded = read_embedded(path)  # written by an export: its mask is exact
        return restored(path, state, embedded) if embedded else self.fitted(state, str(path))

    def _in_memory(self, source: Any) -> Checkpoint:
        """The checkpoint of a module or of a state dict."""
        from torch import Tensor, nn

        if isinstance(source, nn.Module):
            if self._given_model is None and self._run is None:
                self._given_model = source
            source = source.state_dict()
        if not isinstance(source, Mapping):
            raise UsageError(
                f"cannot take a {type(source).__name__} for a checkpoint; give an address, a "
                "path, a Checkpoint, a state dict or a module"
            )
        for name, value in source.items():
            if not isinstance(value, Tensor | np.ndarray):
                raise UsageError(
                    f"{name!r} of the state dict is of type {type(value).__name__}; expected a "
                    "tensor: give the state dict itself, as model.state_dict() returns it"
                )
        arrays = {name: _array(value) for name, value in source.items()}
        return self.fitted(arrays, "state-dict")

    def fitted(
        self,
        state: Mapping[str, Array],
        address: str,
        masks: Mapping[str, Array] | None = None,
        *,
        by_order: bool = False,
    ) -> Checkpoint:
        """A state dict as a checkpoint, as `landscape.fitting` makes it.

        Raises `UsageError` if a network is needed and none is known.
        """
        from landscape.fitting import onto_network, without_network

        if self.model_name:
            return onto_network(self.module, state, address, masks, by_order=by_order)
        if self._needs_network:
            raise UsageError(
                f"{address} holds weights without their network; give --model and --task, as in "
                "--model my_net.py:build --task my_data.py:task"
            )
        return without_network(state, address)

    def require_fit(self, checkpoint: Checkpoint) -> None:
        """Raise unless a checkpoint holds the network's tensors, in the network's order."""
        from landscape.training.models import buffer_values, parameter_spec

        own = _layout(parameter_spec(self.module), buffer_values(self.module))
        difference = own.mismatch(_layout(checkpoint.spec, checkpoint.buffers))
        if difference:
            raise LandscapeError(
                f"model {self.model_name} and {checkpoint.address} hold different networks: "
                f"{difference}"
            )

    def _refuse_code(self, what: str, name: str) -> None:
        """A store may name code but never runs it."""
        assert self._run is not None
        made = "imported" if self._run.is_imported else "trained"
        raise UsageError(
            f"run {self._run.name!r} was {made} with --{what} {name}; a store runs no code, so "
            f"give --{what} {name} again"
        )

    def _require_own_data(self) -> None:
        """Raise `LandscapeError` if a run's task now gives other data than it was trained on."""
        if self._run is None or self.context.task is not None:
            return
        want = _data_digest(self._run)
        if want and self.task.digest != want:
            raise LandscapeError(
                f"the data of task {self.task.name!r} are not those run {self._run.name!r} was "
                f"trained on (digest {self.task.digest[:12]}, then {want[:12]}); give their "
                "--data folder"
            )


def _data_digest(run: Run | None) -> str:
    """Digest of the data a run was trained on, empty if it is unknown."""
    return "" if run is None else run.data_digest


def _layout(spec: ParamSpec, buffers: Mapping[str, Array]) -> ParamSpec:
    """Names and shapes of all that a point holds, in order."""
    moving = {name: b.shape for name, b in buffers.items() if b.dtype.kind == "f"}
    return ParamSpec((*spec.names, *moving), (*spec.shapes, *moving.values()))


def _array(value: Tensor | Array) -> Array:
    """The values in an array of their own; half precision as float32."""
    if isinstance(value, np.ndarray):
        return value.copy()
    half = value.is_floating_point() and value.dtype.itemsize == 2
    array: Array = (value.float() if half else value).numpy(force=True).copy()
    return array


def _is_of_run(source: Source) -> bool:
    """True for what comes from a store and so knows its task and model."""
    if isinstance(source, Checkpoint):
        return source.home is not None
    return isinstance(source, str | Path) and not is_file_address(str(source))
