"""branch: an experiment that begins at a level of another run, a control or a transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from landscape.branch_settings import BranchSettings
from landscape.data_store.address import Address, parse_address
from landscape.data_store.errors import LandscapeError, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.records import Level, Point, RunConfig
from landscape.data_store.settings import to_json
from landscape.data_store.store import Run, Store
from landscape.data_store.truth import planted_density
from landscape.preparation import Plan, given, merged
from landscape.trainer import Listener, carry_out
from landscape.training.branching import (
    carried_mask,
    carried_point,
    output_tensors,
    permuted,
    require_transferable,
)
from landscape.training.connection import require_connected
from landscape.training.criteria import Candidate, Sight
from landscape.training.imp import Origin
from landscape.training.prune import chosen
from landscape.training.registry import CRITERIA

PLANTED = "planted"
"""A density: that of the truth a run was planted with."""

_OF_TRAINED = ("lr-rewind", "finetune", "continue")  # modes that go on from trained weights
_OF_SCHEDULE = ("lr-rewind", "finetune")  # those whose rewind step is one of the schedule alone


@dataclass(frozen=True, eq=False)
class Branch:
    """A level of a run, and what a new run takes from it.

    Parameters
    ----------
    parent, level
        The run and its level.
    settings
        What is taken.
    is_transfer
        Whether the task is another: the output layer is then drawn anew and never pruned.
    """

    parent: Run
    level: Level
    settings: BranchSettings
    is_transfer: bool

    @property
    def address(self) -> Address:
        """Where it begins."""
        return Address(self.parent.name, self.level.number)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the manifest states of it."""
        origin = {
            "parent": str(self.address),
            "digest": self.parent.checkpoint(self.address).digest,
        }
        return {**origin, **to_json(self.settings), "transfer": self.is_transfer}

    def require_same_data(self, config: RunConfig, digest: str) -> None:
        """Raise `LandscapeError` if the parent's task now gives other data than it had then."""
        own = self.parent.data_digest
        parent = self.parent.config
        mine = (config.validation_size, config.max_examples)
        if self.is_transfer or mine != (parent.validation_size, parent.max_examples):
            return
        if digest != own:
            raise LandscapeError(
                f"run {self.parent.name!r} was trained on other data than its task now gives "
                f"(digest {own[:12]}, now {digest[:12]}); give the --data folder it was trained "
                "with, or another --task for a transfer"
            )

    def originate(
        self,
        sight: Sight,
        fresh: Point,
        all_kinds: dict[str, str],
        kinds: dict[str, str],
    ) -> tuple[Point, Origin]:
        """The branch's initial point, and where its level 0 begins.

        Parameters
        ----------
        sight
            The branch's network, data and settings.
        fresh
            Initial weights of its network.
        all_kinds, kinds
            Its prunable tensors with and without those excluded.

        Raises `UsageError` if the ticket does not fit the network, the rewind point is none that
        the parent keeps, or the mask cannot have the density asked for; `LandscapeError` if it
        needs trained weights and the level diverged.
        """
        config, spec = sight.config, sight.network.spec
        old, final = self.level.mask.spec, self.level.points["final"]
        redrawn = output_tensors(spec, all_kinds) if self.is_transfer else ()
        require_transferable((old, final), (spec, fresh), redrawn, str(self.address))
        self._require_trained(config)

        def carried(point: Point) -> Point:
            return carried_point(point, old, fresh, spec, redrawn)

        init, trained = carried(self.parent.point(self.level.origins["init"])), carried(final)
        rewind = carried(self._rewind(config))
        before = carried_mask(self.level.mask, spec, kinds)
        mask = self._mask(sight, before, init, trained)
        require_connected(sight, 0, before, mask)
        if config.density is not None and config.nested:
            self._keep(mask, config.density, config.scope, "density")
        return init, Origin(mask, rewind, trained)

    def _require_trained(self, config: RunConfig) -> None:
        """Raise `LandscapeError` if trained weights are needed and the level diverged."""
        needed = config.retrain in _OF_TRAINED or self.settings.mask == "pruned"
        if needed and self.level.status == "diverged":
            raise LandscapeError(
                f"{self.address} diverged, and its trained weights are of no use to --retrain "
                f"{config.retrain} with --mask {self.settings.mask}; begin at another level"
            )

    def _rewind(self, config: RunConfig) -> Point:
        """The parent's weights at the rewind step of its level 0.

        Where only the schedule is rewound and the parent keeps none of that step, the weights that
        the branch has there: the trained ones with which its level 0 enters the schedule.
        """
        step = config.rewind_step
        if step == 0:
            return self.parent.point(self.level.origins["init"])
        if step == self.parent.config.rewind_step:
            return self.parent.point(self.level.origins["rewind"])
        kept = self.parent.level(0).points
        if f"step-{step}" not in kept:
            if config.retrain in _OF_SCHEDULE:
                return self.level.points["final"]
            known = [0, self.parent.config.rewind_step]
            known += [int(n.removeprefix("step-")) for n in kept if n.startswith("step-")]
            raise UsageError(
                f"run {self.parent.name!r} keeps no weights of step {step} to rewind to; it has "
                f"{', '.join(map(str, sorted(set(known))))}"
            )
        return kept[f"step-{step}"]

    def _mask(self, sight: Sight, mask: Mask, init: Point, trained: Point) -> Mask:
        """The mask of the branch's level 0, given the level's on the branch's network."""
        config, how = sight.config, self.settings.mask
        if how == "dense":
            return Mask.dense(mask.spec, mask.prunable)
        if how in ("permuted", "permuted-layers"):
            by_layer = how == "permuted-layers"
            return permuted(mask, config.seed, self.level.number, by_layer=by_layer)
        if how == "preserved":
            return mask
        assert self.settings.mask_density is not None
        candidate = Candidate(
            theta=trained.theta,
            init=init.theta,
            mask=mask,
            seed=config.seed,
            level=self.level.number + 1,
            buffers=trained.buffers,
            sight=sight,
        )
        keep = self._keep(mask, self.settings.mask_density, config.scope, "mask_density")
        criterion = CRITERIA.load(config.criterion)
        return chosen(criterion, candidate, keep, nested=True, rounds=config.score_rounds)

    def _keep(self, mask: Mask, density: float, scope: str, name: str) -> int | dict[str, int]:
        """How many weights a mask pruned to a density keeps: of each layer, or in all.

        Raises `UsageError` naming the setting if fewer are left.
        """
        if scope == "global":
            wanted = {"the network": round(density * mask.prunable_size)}
            have = {"the network": mask.kept_size}
        else:
            wanted = {n: round(density * len(mask.layer(n))) for n in mask.prunable}
            have = {n: int(mask.layer(n).sum()) for n in mask.prunable}
        for place, count in wanted.items():
            if count > have[place]:
                raise UsageError(
                    f"{name} {density} keeps {count} weights of {place}, but of {self.address} "
                    f"only {have[place]} are left; give a lower one or begin at an earlier level"
                )
        return wanted["the network"] if scope == "global" else wanted


def branch(
    parent: str,
    *,
    store: Store,
    name: str,
    mask: str | None = None,
    mask_density: float | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train from a level of a stored run: a control, or a transfer to another task.

    Parameters
    ----------
    parent
        ``RUN@LEVEL``.
    mask, mask_density
        Fields of `BranchSettings`: the mask of the branch's first level.
    settings
        Fields of `RunConfig` that differ from the parent's; ``levels`` is 1 unless given.
        ``retrain`` says which weights it starts from, ``order_seed`` draws other SGD noise,
        another ``task`` makes it a transfer.

    The rest, what is raised, and how it is gone on with, as `landscape.trainer.train`.
    """
    taken = BranchSettings(**({} if mask is None else {"mask": mask}), mask_density=mask_density)
    run, number = _parent(store, parent)
    if name == run.name:
        raise UsageError(f"{name!r} is the run it begins at; give the branch another name")
    config = branch_config(store, parent, settings)
    begun = Branch(run, run.level(number), taken, config.task != run.config.task)
    return carry_out(
        Plan(config, begun),
        store=store,
        name=name,
        data=data,
        device=device,
        threads=threads,
        listener=listener,
    )


def branch_config(store: Store, parent: str, settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a branch: what is given, over the parent's, with one level.

    How the density falls and which snapshots are kept is not taken from the parent. The fields of
    `BranchSettings` are passed over. A density ``planted`` is that of the truth.

    Raises `UsageError` for an address or a setting that does not exist.
    """
    run = _parent(store, parent)[0]
    return derived(run.config, numbered(run, settings))


def numbered(parent: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that begins at another, with a density `PLANTED` as a number.

    Raises `UsageError` if nothing is planted in what the parent began with.
    """
    if settings.get("density") != PLANTED:
        return dict(settings)
    config = derived(parent.config, stood_in(settings))
    return {**settings, "density": planted_density(parent, config.prune_biases, config.exclude)}


def stood_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with a number where the density is not known before the network is planted."""
    return {**settings, "density": 1.0} if settings.get("density") == PLANTED else dict(settings)


def derived(own: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a branch of a run with the settings `own`; see `branch_config`."""
    of_mask = {field.name for field in fields(BranchSettings)}
    changes = given({k: v for k, v in settings.items() if k not in of_mask})
    unset: dict[str, Any] = {"levels": 1, "snapshots": ()}
    unset |= {"densities": "rate", "density": None, "nested": True, "last_iterations": None}
    unset |= {"rewind_step": 0} if "rewind_epoch" in changes else {}
    inherited = {setting.name: getattr(own, setting.name) for setting in fields(own)}
    config = RunConfig(**merged({**inherited, **unset}, changes))
    if config.task != own.task and "output" not in config.exclude:
        config = replace(config, exclude=(*config.exclude, "output"))
    return config


def _parent(store: Store, address: str) -> tuple[Run, int | str]:
    """The run at an address, and the level of it that is meant."""
    place = parse_address(address)
    if place.level is None or place.part != "final":
        raise UsageError(f"{address!r} names no level; give one, as in {place.run}@3")
    return store[place.run], place.level
