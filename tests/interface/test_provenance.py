"""Provenance: what is recorded is what there is, and threads are set for a while only."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import numpy as np
import pytest
import torch

from landscape.provenance import provenance, using_threads


def test_the_record_is_what_there_is() -> None:
    now = datetime.now(UTC)
    record = provenance(torch.device("cpu"))
    created = datetime.fromisoformat(record.pop("created"))
    assert created.utcoffset() == timedelta(0)
    assert now - timedelta(seconds=2) < created <= datetime.now(UTC)
    assert record == {
        "landscape": version("landscape-workbench"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def test_the_record_is_plain_json() -> None:
    record = provenance(torch.device("cpu"))
    assert json.loads(json.dumps(record)) == record


def test_a_gpu_is_recorded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    assert provenance(torch.device("cuda:1"))["device"] == "card of cuda:1"


def test_threads_are_set_and_put_back() -> None:
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        assert provenance(torch.device("cpu"))["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_threads_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt), using_threads(before + 2):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before
