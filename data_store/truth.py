"""The planted truth of a run: the ticket that was hidden in the network it began with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store import layout
from landscape.data_store.address import Address, parse_address
from landscape.data_store.errors import DamagedFile, UsageError
from landscape.data_store.mask import Mask
from landscape.data_store.records import Checkpoint

if TYPE_CHECKING:
    from landscape.data_store.params import Array, ParamSpec
    from landscape.data_store.records import Level
    from landscape.data_store.store import Run

SCALE = "scale-"


def planted_run(run: Run) -> Run:
    """The planted run that a run began at, through as many branches as lie between; itself too.

    Raises `UsageError` if there is none.
    """
    seen = {run.name}
    found = run
    while "planted" not in found.description:
        parent = found.description.get("branch", {}).get("parent")
        if not isinstance(parent, str):
            raise _nothing_planted(run)
        name = parse_address(parent).run
        found = replace(run, name=name)
        if name in seen or not found.exists:
            raise _nothing_planted(run)
        seen.add(name)
    return found


def begins_planted(run: Run) -> bool:
    """True if there is a planted ticket in what a run began with."""
    try:
        planted_run(run)
    except UsageError:
        return False
    return True


def truth(run: Run, level: Level, part: str) -> Checkpoint:
    """The planted ticket as the truth about a level of a run.

    ``RUN@LEVEL.planted`` has the ticket's weights as they lie in the network, and zero elsewhere;
    its metrics are ``scale-K``, by which output K must be divided to be the target's.
    ``RUN@LEVEL.target`` has the weights of the output layer divided by that: its function is the
    target's. The mask of both is the ticket's in the tensors that the run prunes, everything in the
    others.

    Raises `UsageError` if nothing is planted, or it is planted in another network.
    """
    planted = planted_run(run)
    ticket = planted.level(0)
    if difference := ticket.mask.spec.mismatch(level.mask.spec):
        raise UsageError(
            f"{planted.name} is planted in another network than that of {run.name}: {difference}"
        )
    scale = scales(planted)
    theta = ticket.points["final"].theta
    if part == "target":
        with reading(planted) as record:
            theta = divided(ticket.mask.spec, theta, record["outputs"], np.array(scale))
        scale = [1.0] * len(scale)
    kept = np.where(level.mask.covered, ticket.mask.kept, True)
    return Checkpoint(
        spec=level.mask.spec,
        theta=theta,
        mask=Mask(level.mask.spec, level.mask.prunable, kept),
        buffers=level.points["final"].buffers,
        metrics={f"{SCALE}{k}": value for k, value in enumerate(scale)},
        address=str(Address(run.name, level.number, part)),
        level=level.number,
        part=part,
        home=str(run.root),
    )


def divided(spec: ParamSpec, theta: Array, outputs: Sequence[str], scale: Array) -> Array:
    """Weights with each row of the output layer's tensors divided by a number of its own."""
    found = theta.copy()
    for name in outputs:
        rows = theta[spec.slices[name]].reshape(len(scale), -1)
        found[spec.slices[name]] = (rows / scale[:, None]).reshape(-1)
    return found


def planted_density(run: Run, prune_biases: bool, exclude: Sequence[str] = ()) -> float:
    """The density at which as many parameters are kept as the planted ticket has.

    Of the tensors that are pruned: weights, with `prune_biases` biases too, without those excluded
    by kind or name. Raises `UsageError` if nothing is planted in what the run began with.
    """
    planted = planted_run(run)
    mask = planted.level(0).mask
    with reading(planted) as record:
        names = [
            name
            for name in mask.prunable
            if (prune_biases or not name.endswith("bias"))
            and name not in exclude
            and record["kinds"][name] not in exclude
        ]
    kept = sum(int(np.count_nonzero(mask.layer(name))) for name in names)
    return kept / sum(len(mask.layer(name)) for name in names)


def scales(planted: Run) -> list[float]:
    """What the outputs of a planted ticket are to be divided by, one number for each."""
    with reading(planted) as record:
        return [float(value) for value in record["scale"]]


@contextmanager
def reading(planted: Run) -> Iterator[dict[str, Any]]:
    """What the manifest of a planted run says of its ticket, to be looked into.

    Raises `DamagedFile` if what is looked for is not there, or is something else.
    """
    try:
        yield planted.description["planted"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        path = layout.run_manifest(planted.root, planted.name)
        raise DamagedFile(
            f"{path} does not say what is planted ({error!r:.80}); it was not written by landscape"
        ) from error


def _nothing_planted(run: Run) -> UsageError:
    """The error that a run has no truth."""
    return UsageError(
        f"nothing is planted in run {run.name!r}; train one --from a network made by "
        "landscape plant"
    )
