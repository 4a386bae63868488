"""What ``import landscape`` offers: open, train, ask, draw."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.data_store.errors import UsageError
from landscape.data_store.files import SIZE_LIMIT
from landscape.data_store.store import Run, Store, open_store
from landscape.figures.registry import FIGURES

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from landscape.data_store.records import Checkpoint
    from landscape.subject import Source
    from landscape.sweeper import Swept
    from landscape.trainer import Listener
    from landscape.training.task import Task


def default_store() -> Path:
    """``$LANDSCAPE_STORE``, else ``landscape-store`` in the current folder."""
    return Path(os.environ.get("LANDSCAPE_STORE") or "landscape-store")


def open(  # noqa: A001
    path: str | Path | None = None, *, create: bool = True, size_limit: int = SIZE_LIMIT
) -> Store:
    """The store in a folder, made if it is not there; `default_store` if none is named.

    Files of more than `size_limit` bytes, stored or unpacked, are refused when they are read.

    Raises `LandscapeError` as `landscape.data_store.store.open_store` does.
    """
    place = path if path is not None else default_store()
    return open_store(place, create=create, size_limit=size_limit)


def train(
    *,
    name: str,
    store: Store | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train a run, or go on with it; see `landscape.trainer.train`.

    ``train(task="mnist", model="lenet-300-100", levels=12, name="mnist-imp")``: settings are
    the fields of `RunConfig`, and what is not given is the model's protocol.
    """
    from landscape.trainer import train as begin

    return begin(
        store=store or open(),
        name=name,
        data=data,
        device=device,
        threads=threads,
        listener=listener,
        **settings,
    )


def branch(
    parent: str | Checkpoint,
    *,
    name: str,
    store: Store | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train from a stored level; see `landscape.brancher.branch`.

    ``branch("mnist-imp@7", name="random-ticket", mask="permuted", retrain="reinit")``
    """
    from landscape.brancher import branch as begin

    address = parent if isinstance(parent, str) else parent.address
    return begin(
        address,
        store=store or open(),
        name=name,
        data=data,
        device=device,
        threads=threads,
        listener=listener,
        **settings,
    )


def plant(
    target: str,
    *,
    name: str,
    store: Store | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Hide a ticket in a random network, as a run; see `landscape.planter.plant`.

    ``plant("circle", depth=5, width=100, name="circle")``; then
    ``branch("circle@0", mask="dense", criterion="synflow", densities="multishot", levels=11,
    density="planted", name="circle-synflow")`` seeks it.
    """
    from landscape.planter import plant as hide

    return hide(target, store=store or open(), name=name, data=data, device=device, **settings)


def import_run(
    *paths: str | Path,
    name: str,
    store: Store | None = None,
    task: str | None = None,
    model: str | None = None,
    data: str | Path | None = None,
    by_order: bool = False,
) -> Run:
    """Foreign checkpoints as the levels of a run; see `landscape.importer.collect`."""
    from landscape.importer import import_run as bring

    folder = Path(data) if data else None
    files = [Path(path) for path in paths]
    return bring(
        store or open(), name, files, task=task, model=model, data=folder, by_order=by_order
    )


def export(
    what: str | Checkpoint,
    path: str | Path,
    *,
    store: Store | None = None,
    force: bool = False,
    pair: str | None = None,
) -> dict[str, Any]:
    """Write a ticket, another point or a result's surface; see `landscape.exporter.export`.

    ``export("mnist-imp@7", "ticket.h5")`` writes the level's ticket; a `Checkpoint` of a store
    is written as it is.
    """
    from landscape.exporter import export as write

    if not isinstance(what, str):
        if what.home is None:
            raise UsageError(f"{what.address or 'this checkpoint'} comes from no store; import it")
        store = store or open(what.home, create=False)
        what = f"{what.run}@{what.level}.{what.part}"
    return write(store or open(), what, Path(path), force=force, pair=pair)


def ask(
    kind: str,
    *points: Source,
    store: Store | None = None,
    task: str | Task | None = None,
    model: str | nn.Module | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    **settings: Any,
) -> xarray.Dataset:
    """The answer of an analysis about `points`; see `landscape.workbench.analyse`.

    Addresses are looked up, and results kept, in `store`; checkpoints that came from a store
    need none. Weights from elsewhere need ``model`` and ``task``.
    """
    from landscape.subject import Context
    from landscape.workbench import analyse

    context = Context(store, task, model, Path(data) if data else None, device)
    return analyse(kind, points, settings, context)


def insights(
    *runs: str | Run,
    store: Store | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    **settings: Any,
) -> xarray.Dataset:
    """The seven claims about iterative magnitude pruning, judged; see `landscape.study.insights`.

    ``insights("mnist-imp", store=store, epsilon=0.01)``: each run is one of iterative magnitude
    pruning, and what the store has to compare it with is found there.
    """
    from landscape.study import InsightsSettings
    from landscape.study import insights as judge
    from landscape.subject import Context

    names = [run if isinstance(run, str) else run.name for run in runs]
    homes = [Store(run.root, run.size_limit) for run in runs if not isinstance(run, str)]
    context = Context(
        store or (homes[0] if homes else open()), data=Path(data) if data else None, device=device
    )
    return judge(names, InsightsSettings(**settings), context)


def sweep(
    file: str | Path,
    *,
    quick: bool = False,
    store: Store | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
    threads: int | None = None,
    only_stored: bool = False,
) -> Swept:
    """Carry out an experiment file and ask its analyses; see `landscape.sweeper.sweep`.

    ``sweep("experiments/plant-n-seek.toml", quick=True, jobs=2)["overlap"]`` is the dataset of an
    analysis, with what the grid varies as coordinates. What is done is read from the store; with
    ``only_stored`` nothing else happens, and `Swept.missing` says what is not there. The sweep is
    done in this process, by as many processes of this machine as `jobs` or the file says, or by the
    Dask cluster at `scheduler`; what fails is in `Swept.failed`. A script that has processes begin
    says ``if __name__ == "__main__"`` before its own beginning.
    """
    from landscape.agenda import agenda
    from landscape.executors import executor
    from landscape.experiment_file import read_experiment
    from landscape.steps import Place
    from landscape.sweeper import gather
    from landscape.sweeper import sweep as carry_out

    found = read_experiment(Path(file), quick=quick)
    place = Place(store or open(), Path(data) if data else None, device, threads)
    if only_stored:
        return gather(agenda(found.experiment, place.store), place)
    with executor(jobs or (None if scheduler else found.jobs or 1), scheduler) as execute:
        return carry_out(found.experiment, place, execute)


def report(*runs: str | Run, path: str | Path = "report.html", store: Store | None = None) -> Path:
    """One interactive HTML page of what is stored; see `landscape.reporter.report`.

    ``report("mnist-imp", path="report.html")``; without runs, of the whole store.
    """
    from landscape.reporter import report as write

    names = [run if isinstance(run, str) else run.name for run in runs]
    homes = [Store(run.root, run.size_limit) for run in runs if not isinstance(run, str)]
    home = store or (homes[0] if homes else open(create=False))
    return write(home, Path(path), names or None).path


def draw(name: str, ds: xarray.Dataset, *, ax: Axes | None = None, **options: Any) -> Figure:
    """The figure called `name` of a dataset, as a matplotlib `Figure`.

    Parameters
    ----------
    ax
        Where to draw, if the figure has a single panel: under your own settings of matplotlib,
        not a paper's. The `Figure` that is returned is the one it belongs to.
    options
        What else the figure takes, as ``width`` in inches or ``spread`` over replicates.

    Raises `UsageError` for an unknown figure or `ax` for one that makes its own panels,
    `LandscapeError` if `ds` is not what it draws.
    """
    figure = FIGURES.load(name)
    if ax is None:
        return figure.draw(ds, **options)
    if figure.plot is None:
        raise UsageError(
            f"figure {name!r} makes its own panels and draws into no given axes; leave ax out"
            f"{_one_panel(name)}"
        )
    figure.plot(ds, ax=ax, **options)
    root: Figure = ax.figure.figure  # the whole, also of a subfigure
    return root


def _one_panel(name: str) -> str:
    """How one panel of a figure is drawn, where it has a function for that."""
    module, plot = FIGURES[name].target.partition(":")[0], f"plot_{name.replace('-', '_')}"
    has_it = hasattr(importlib.import_module(module), plot)
    return f", or draw one panel with {module}.{plot}(ds, ax=ax, …)" if has_it else ""


def question(kind: str) -> Callable[..., xarray.Dataset]:
    """The function ``landscape.KIND`` of an analysis, with its settings in its docstring."""
    from landscape.analysis.registry import ANALYSES

    entry, settings = ANALYSES[kind], ANALYSES.load(kind).settings

    def asked(*points: Source, **arguments: Any) -> xarray.Dataset:
        return ask(kind, *points, **arguments)

    lines = [
        f"{setting.name}\n    {setting.metadata['help']}; default {setting.default!r}"
        for setting in fields(settings)
    ]
    asked.__name__ = asked.__qualname__ = kind
    asked.__doc__ = "\n".join(
        [
            f"{entry.summary}\n",
            "Takes addresses, paths, checkpoints, state dicts or modules, and store, task, model,",
            "data and device as `landscape.ask` does. Settings:\n",
            *lines,
            f"\nSource: {entry.reference}.",
        ]
    )
    return asked
