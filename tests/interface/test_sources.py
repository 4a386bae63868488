"""Tasks, models and devices by name: built in, a module's or a file's, and what goes wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.sources import device_named, is_factory, model_named, task_named
from landscape.training.convolutional import CONV_2
from landscape.training.models import LENET_300_100
from landscape.training.task import Task

Write = Callable[[str, str], str]

TASK = """
    import torch
    from landscape import make_task

    def factory():
        x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
        return make_task(train=(x, y), test=(x, y), name="mine")
"""
MODEL = """
    from torch import nn

    def factory():
        return nn.Linear(2, 3)
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a Python file and give its path."""

    def written(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return str(path)

    return written


@pytest.mark.parametrize(
    ("name", "leads"),
    [
        ("digits", False),
        ("mlp:64-10", False),
        ("mine.py:factory", True),
        ("a.b:c", True),
        ("/tmp/x y/mine.py:factory", True),
    ],
)
def test_a_colon_leads_to_somebody_s_code_unless_it_is_an_mlp(name: str, leads: bool) -> None:
    assert is_factory(name) == leads


def test_a_built_in_task_takes_the_validation_size() -> None:
    assert len(task_named("digits", None, None).splits["validation"]) == 180
    assert len(task_named("digits", None, 33).splits["validation"]) == 33


def test_the_folder_given_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "from-environment"))
    with pytest.raises(UsageError, match=r"the data folder .*from-environment does not exist"):
        task_named("mnist", None, None)
    with pytest.raises(UsageError, match=r"the data folder .*given does not exist"):
        task_named("mnist", tmp_path / "given", None)


def test_built_in_models() -> None:
    assert model_named("lenet-300-100") is LENET_300_100
    assert model_named("conv-2") is CONV_2


def test_an_mlp_is_a_model_without_protocol() -> None:
    model = model_named("mlp:64-20-10")
    assert model.protocol == {}
    assert model.build((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(UsageError, match="'mlp:64' is no multilayer perceptron"):
        model_named("mlp:64")


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown task 'digit'; did you mean 'digits'\?"):
        task_named("digit", None, None)
    with pytest.raises(UsageError, match=r"unknown model 'conv2'; did you mean 'conv-2'\?"):
        model_named("conv2")


def test_a_task_from_a_file(write: Write) -> None:
    task = task_named(write("mine.py", TASK) + ":factory", None, None)
    assert isinstance(task, Task)
    assert task.name == "mine"


def test_a_model_from_a_file_keeps_its_own_weights(write: Write) -> None:
    model = model_named(write("mine.py", MODEL) + ":factory")
    assert model.protocol == {"initialization": "model"}
    assert isinstance(model.build((2,), 3), nn.Linear)


def test_a_file_in_the_current_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(write("mine.py", TASK)).parent)
    assert task_named("mine.py:factory", None, None).name == "mine"


def test_a_factory_of_an_importable_module(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(write("sources_subject/inner.py", TASK)).parents[1]
    monkeypatch.syspath_prepend(folder)
    assert task_named("sources_subject.inner:factory", None, None).name == "mine"
    for name in [name for name in sys.modules if name.startswith("sources_subject")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_file_can_import_its_neighbour(write: Write) -> None:
    write("sources_neighbour.py", "WIDTH = 7\n")
    text = """
        from sources_neighbour import WIDTH
        from torch import nn

        def factory():
            return nn.Linear(2, WIDTH)
    """
    before = list(sys.path)
    module = model_named(write("mine.py", text) + ":factory").build((2,), 7)
    assert isinstance(module, nn.Linear)
    assert module.out_features == 7
    assert sys.path == before
    del sys.modules["sources_neighbour"]


def test_a_factory_can_import_a_neighbour_when_it_is_called(write: Write) -> None:
    write("sources_late.py", "WIDTH = 7\n")
    text = """
        from torch import nn

        def factory():
            from sources_late import WIDTH
            return nn.Linear(2, WIDTH)
    """
    before = list(sys.path)
    module = model_named(write("mine.py", text) + ":factory").build((2,), 7)
    assert isinstance(module, nn.Linear)
    assert module.out_features == 7
    assert sys.path == before
    del sys.modules["sources_late"]


def test_a_file_can_have_dataclasses_with_annotations_as_text(write: Write) -> None:
    text = """
        from __future__ import annotations
        from dataclasses import dataclass
        from torch import nn

        @dataclass
        class Width:
            of: int = 7

        def factory() -> nn.Module:
            return nn.Linear(2, Width().of)
    """
    module = model_named(write("mine.py", text) + ":factory").build((2,), 7)
    assert isinstance(module, nn.Linear)
    assert module.out_features == 7


def test_a_file_that_changed_is_read_again(write: Write) -> None:
    path = write("mine.py", TASK)
    assert task_named(f"{path}:factory", None, None).name == "mine"
    write("mine.py", TASK.replace('"mine"', '"changed, and longer"'))
    assert task_named(f"{path}:factory", None, None).name == "changed, and longer"


def refused(kind: type[Exception], name: str, message: str) -> None:
    """Assert that task and model of a name are refused alike."""
    with pytest.raises(kind, match=message):
        task_named(name, None, None)
    with pytest.raises(kind, match=message):
        model_named(name).build((2,), 2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    refused(UsageError, f"{path}:factory", f"there is no file {re.escape(str(path))}; give an")


@pytest.mark.parametrize("attribute", ["other", "", "NUMBER"])
def test_a_missing_function_is_named(write: Write, attribute: str) -> None:
    path = write("mine.py", TASK + "\n    NUMBER = 3\n")
    with pytest.raises(UsageError, match=f"mine.py has no function '{attribute}'; give the task"):
        task_named(f"{path}:{attribute}", None, None)
    with pytest.raises(UsageError, match=f"mine.py has no function '{attribute}'; give the model"):
        model_named(f"{path}:{attribute}").build((2,), 2)


def test_a_missing_module_is_named() -> None:
    refused(UsageError, "no_such_package.deep:factory", "there is no module 'no_such_package.deep'")


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('too late')", "1 / 0", "def (:", "import no_x"]
)
def test_a_file_that_fails_is_one_sentence(write: Write, text: str) -> None:
    path = write("mine.py", text)
    kinds = "RuntimeError: too late|ZeroDivisionError|SyntaxError|ModuleNotFoundError: .*no_x"
    refused(LandscapeError, f"{path}:factory", f"mine.py raised ({kinds})")


def test_a_factory_that_fails_is_one_sentence(write: Write) -> None:
    path = write("mine.py", "def factory():\n    return {}['absent']\n")
    refused(LandscapeError, f"{path}:factory", "mine.py:factory raised KeyError: 'absent'")


def test_a_factory_with_arguments_is_one_sentence(write: Write) -> None:
    path = write("mine.py", "def factory(x):\n    return x\n")
    refused(LandscapeError, f"{path}:factory", "raised TypeError: .*missing 1 required")


def test_a_factory_s_own_error_in_words_is_passed_on(write: Write) -> None:
    text = """
        import torch
        from landscape import make_task

        def factory():
            x = torch.zeros(4, 2)
            return make_task(train=(x, torch.zeros(3)), test=(x, torch.zeros(4)))
    """
    with pytest.raises(LandscapeError, match="a split needs one target per input"):
        task_named(write("mine.py", text) + ":factory", None, None)


def test_a_factory_that_returns_the_wrong_thing_is_told_what_is_right(write: Write) -> None:
    task, model = write("task.py", TASK), write("model.py", MODEL)
    with pytest.raises(UsageError, match="returned a Linear; a task factory returns a Task"):
        task_named(f"{model}:factory", None, None)
    with pytest.raises(UsageError, match=r"returned a Task; a model factory returns a torch\.nn"):
        model_named(f"{task}:factory").build((2,), 2)
    nothing = write("nothing.py", "def factory():\n    pass\n")
    refused(UsageError, f"{nothing}:factory", "returned a NoneType; a (task|model) factory")


def test_devices() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "mps", "xpu", "cpu:3"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown device '{name}'; use auto, cpu or cuda$"):
        device_named(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=f"device '{name}' is not there: this machine or torch"):
        device_named(name)


def test_a_second_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_named("cuda") == torch.device("cuda")
    assert device_named("cuda:0") == torch.device("cuda:0")
    with pytest.raises(
        UsageError, match=r"device 'cuda:1' is not there: this machine has 1 GPU\(s\)"
    ):
        device_named("cuda:1")
