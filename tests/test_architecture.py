"""The house as drawn in ARCHITECTURE.md: arrows point down, tables are complete, ls is light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from landscape.analysis.registry import ANALYSES, Analysis
from landscape.data_store.schemas.table import SCHEMAS
from landscape.data_store.table import Table
from landscape.figures.registry import FIGURES
from landscape.registry import COMMANDS
from landscape.training.registry import CRITERIA, MODELS, TASKS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("interface", "training", "analysis", "figures", "data_store")
ALLOWED = {
    "data_store": set(),
    "training": {"data_store"},
    "analysis": {"data_store"},
    "figures": {"data_store"},
}
TORCH_ROOMS = {
    "data_store/torch_file.py",  # deferred: opens a .pt with weights_only=True
    "data_store/foreign_out.py",  # deferred: writes a .pt
    "analysis/alignment/aligned.py",
    "analysis/network/batches.py",
    "analysis/network/connections.py",
    "analysis/alignment/correlations.py",
    "analysis/network/derivatives.py",
    "analysis/network/evaluator.py",
    "analysis/network/flat_network.py",
    "analysis/network/layout.py",
    "analysis/network/normalisation.py",
    "analysis/network/outputs.py",
    "analysis/alignment/permutations.py",
    "analysis/network/probe.py",
    "analysis/alignment/repair.py",
    "analysis/network/shared_layer.py",
    "analysis/network/sweep.py",
    "analysis/network/tally.py",
    "analysis/alignment/unit_flow.py",
    "analysis/alignment/unit_rules.py",
}
TABLES: dict[str, Table] = {  # type: ignore[type-arg]
    "interface/registry.py": COMMANDS,
    "analysis/registry.py": ANALYSES,
    "figures/registry.py": FIGURES,
    "training/registry.py": TASKS,
    "training/registry.py models": MODELS,
    "training/registry.py criteria": CRITERIA,
}


def files(package: str) -> list[Path]:
    """The Python files of one package."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of all modules a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_down(package: str) -> None:
    for path in files(package):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "landscape" and parts[1:] and parts[1] != package:
                assert parts[1] in ALLOWED[package], f"{path} imports {name}"


def test_torch_is_where_the_map_says() -> None:
    rooms = {
        path.relative_to(ROOT).as_posix()
        for package in ("data_store", "analysis", "figures")
        for path in files(package)
        if any(name.split(".")[0] == "torch" for name in imports(path))
    }
    assert rooms == TORCH_ROOMS


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_hold_a_docstring_only(package: str) -> None:
    if package == "interface":
        pytest.skip("the public names live there")
    body = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_every_file_is_packaged_and_mapped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = set(settings["tool"]["setuptools"]["package-dir"].values())
    found = {p.parent.relative_to(ROOT).as_posix() for pkg in PACKAGES for p in files(pkg)}
    assert found == folders


@pytest.mark.parametrize("file", TABLES)
def test_every_entry_of_a_table_loads_and_says_what_it_is(file: str) -> None:
    table = TABLES[file]
    for name, entry in table.items():
        assert entry.summary, f"{table.noun} {name} has no summary"
        loaded = table.load(name)
        documented = loaded.compute if isinstance(loaded, Analysis) else loaded
        assert documented is not None
        if callable(loaded) and hasattr(loaded, "__name__"):
            assert loaded.__doc__, f"{table.noun} {name} has no docstring"


def test_every_analysis_has_a_schema_settings_reference_and_test() -> None:
    for name, entry in ANALYSES.items():
        analysis = ANALYSES.load(name)
        assert analysis.schema.kind == name
        assert SCHEMAS[name] is analysis.schema
        assert analysis.settings.__doc__
        assert entry.reference
        assert set(analysis.printed(analysis.settings())) <= set(analysis.schema.variables)
        assert list((ROOT / "tests" / "analysis").rglob(f"test_{name}.py"))


def test_every_criterion_and_model_states_its_source() -> None:
    for table in (CRITERIA, MODELS, TASKS):
        for name, entry in table.items():
            assert entry.reference, f"{table.noun} {name} names no source"


def test_every_figure_has_a_test() -> None:
    for name, _ in FIGURES.items():
        assert (ROOT / "tests" / "figures" / f"test_{name.replace('-', '_')}.py").is_file()


def test_every_module_has_a_test_file_or_a_reason() -> None:
    covered_elsewhere = {
        "analysis/landscape.py",  # a protocol and a value
        "analysis/random_masks.py",  # test_overlap
        "data_store/layout.py",  # names only: test_store and test_catalog
        "data_store/errors.py",  # test_table
        "data_store/describe.py",  # test_catalog
        "interface/registry.py",  # this file
        "interface/__main__.py",
        "interface/options.py",  # test_cli
    }
    for package in PACKAGES:
        for path in files(package):
            relative = path.relative_to(ROOT).as_posix()
            if path.name == "__init__.py" or relative in covered_elsewhere:
                continue
            if relative.startswith(("interface/commands/", "data_store/schemas/")):
                continue  # test_cli runs every command, test_schemas reads every schema
            mirrored = ROOT / "tests" / Path(relative).parent / f"test_{path.name}"
            assert mirrored.is_file(), relative


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["--help"], ["torch", "xarray", "pandas", "matplotlib", "numpy", "h5py", "rich"]),
        (["ls"], ["torch", "xarray", "pandas", "matplotlib"]),
        (["ls", "results"], ["torch", "xarray", "pandas", "matplotlib"]),
        (["show", "imp@1"], ["torch", "xarray", "pandas", "matplotlib"]),
        (["figure", "--help"], ["torch"]),
        (["train", "--help"], ["torch", "xarray", "pandas", "matplotlib"]),
    ],
)
def test_light_commands_import_nothing_heavy(
    arguments: list[str], forbidden: list[str], small_store: object
) -> None:
    code = (
        "import sys; from landscape.cli import run; code = run(sys.argv[1:]); "
        "print('IMPORTED', *(m for m in sys.modules if '.' not in m), file=sys.stderr); "
        "sys.exit(code)"
    )
    if "--help" not in arguments:
        arguments = [*arguments, "--store", str(small_store.root)]  # type: ignore[attr-defined]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.split("IMPORTED")[1].split())
    assert not imported & set(forbidden)


def test_importing_landscape_costs_nothing() -> None:
    code = "import sys, landscape; print(*(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "xarray", "matplotlib", "h5py"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "landscape.data_store.errors",
        "landscape.data_store.address",
        "landscape.analysis.paths",
        "landscape.analysis.barrier",
        "landscape.analysis.heights",
        "landscape.analysis.sampling",
        "landscape.analysis.alignment.symmetry",
        "landscape.analysis.alignment.align",
        "landscape.analysis.alignment.permutations",
        "landscape.analysis.alignment.correlations",
        "landscape.analysis.alignment.repair",
        "landscape.analysis.network.connections",
        "landscape.data_store.curves",
        "landscape.printing",
        "landscape.waiting",
        "landscape.training.seeds",
        "landscape.training.task",
    ],
)
def test_examples_in_docstrings_run(module: str) -> None:
    import doctest

    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0
    assert outcome.failed == 0
