"""What made a number: versions, device, threads, time."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy
import torch

from landscape.data_store.version import own_version


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions, device, thread count, CPU capability and the time, as plain JSON."""
    return {
        "landscape": own_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute with this many threads for a while: results depend on it in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
