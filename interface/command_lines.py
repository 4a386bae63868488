"""Command lines: how what is stored would be asked for, or trained, again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from landscape.analysis.registry import ANALYSES
from landscape.branch_settings import BranchSettings
from landscape.data_store.errors import LandscapeError
from landscape.data_store.records import RunConfig
from landscape.data_store.settings import from_json
from landscape.plant_settings import PlantSettings
from landscape.study import InsightsSettings

# what ``landscape branch`` does not take from the parent
_OWN = ("levels", "densities", "density", "nested", "last_iterations", "snapshots")


def settings_class(kind: str) -> type[Any] | None:
    """The settings of a kind of result, None for a kind that this version does not ask."""
    if kind == "insights":
        return InsightsSettings
    return ANALYSES.load(kind).settings if kind in ANALYSES else None


def changed(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded settings that are not the defaults, in their own order."""
    cls = settings_class(kind)
    names = [] if cls is None else [setting.name for setting in fields(cls)]
    defaults = {} if cls is None else {setting.name: setting.default for setting in fields(cls)}
    order = sorted(settings, key=lambda name: names.index(name) if name in names else len(names))
    return {
        name: settings[name]
        for name in order
        if name not in defaults or _plain(defaults[name]) != _plain(settings[name])
    }


def analysis_command(kind: str, about: Sequence[str], settings: Mapping[str, Any]) -> str:
    """The command that asks an analysis about addresses or runs with recorded settings.

    >>> analysis_command("barrier", ["imp@0", "imp@1"], {"points": 5})
    'landscape barrier imp@0 imp@1 --points 5'
    """
    return shlex.join(["landscape", kind, *about, *options(changed(kind, settings))])


def questions(kind: str, addresses: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The questions that some addresses make, each as they are recorded: joined by spaces."""
    analysis = ANALYSES.load(kind)
    try:
        known = {f.name for f in fields(analysis.settings)}
        chosen = from_json(analysis.settings, {k: v for k, v in settings.items() if k in known})
    except LandscapeError:  # settings of another version
        chosen = analysis.settings()
    grouping = analysis.grouping(chosen)
    if len(addresses) < grouping.least:
        return []
    groups: Any = grouping.split(list(addresses))  # type: ignore[arg-type]
    return [" ".join(group) for group in groups]


def run_command(
    name: str, description: Mapping[str, Any], parent: Mapping[str, Any] | None = None
) -> str:
    """The command that makes a run like this one.

    Parameters
    ----------
    name, description
        The run's name, and its manifest.
    parent
        Settings of the run that a branch begins at; all are named if they are not known.

    Every setting of a trained run is named, since a model's protocol could say otherwise.
    """
    config = description.get("config", {})
    if "imported" in description:
        sources = [str(source["name"]) for source in description["imported"]["sources"]]
        named = {k: config[k] for k in ("task", "model") if config.get(k)}
        return shlex.join(["landscape", "import", *sources, "--name", name, *options(named)])
    if "planted" in description:
        planted = description["planted"]
        own = {f.name: planted.get(f.name) for f in fields(PlantSettings)}
        rest = {k: v for k, v in config.items() if k not in ("task", "model", "levels")}
        words = ["landscape", "plant", str(planted["target"]), "--name", name]
        return shlex.join([*words, *options({**own, **rest})])
    if "branch" in description:
        branch = description["branch"]
        own = {f.name: branch.get(f.name) for f in fields(BranchSettings)}
        words = ["landscape", "branch", str(branch["parent"]), "--name", name]
        return shlex.join([*words, *options({**own, **_of_branch(config, parent)})])
    return shlex.join(["landscape", "train", "--name", name, *options(config)])


def _of_branch(config: Mapping[str, Any], parent: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a branch that it has not from its parent, nor by default."""
    if parent is None:
        return dict(config)
    unset = {f.name: f.default for f in fields(RunConfig) if f.name in _OWN} | {"levels": 1}
    inherited = {**parent, **unset}
    return {
        k: v for k, v in config.items() if k not in inherited or _plain(inherited[k]) != _plain(v)
    }


def options(settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings as options of a command; one that is None or empty needs none."""
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if value is None or value in ([], ()):
            continue
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        elif isinstance(value, list | tuple):
            yield from (option, ",".join(map(str, value)))
        else:
            yield from (option, str(value))


def _plain(value: Any) -> Any:
    """A tuple as the list that JSON makes of it."""
    return list(value) if isinstance(value, tuple) else value
