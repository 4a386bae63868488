"""Interleaved timing: every contestant in turn, several rounds, medians and ratios."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds of every round of one contestant."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        """Fastest and slowest round."""
        return f"{min(self.seconds):.3g}–{max(self.seconds):.3g}"


def side_by_side(
    contestants: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, Timing]:
    """Run each contestant once unmeasured, then all of them in turn, round after round.

    Turns are interleaved so that a machine whose speed drifts is fair to all.
    """
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def machine() -> str:
    """Name of the processor, cores in use, and torch version."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{model}, {torch.get_num_threads()} threads, {capability}, torch {torch.__version__}"


def report(title: str, timings: Mapping[str, Timing], *, ours: str) -> None:
    """Print a Markdown table: median, spread, and how many times slower than ours."""
    print(f"\n{title}\n{machine()}; medians of {len(timings[ours].seconds)} interleaved rounds\n")
    print("| | seconds | spread | ratio to ours |\n|---|---:|---:|---:|")
    for name, timing in timings.items():
        ratio = timing.median / timings[ours].median
        print(f"| {name} | {timing.median:.3g} | {timing.spread} | {ratio:.2f} |")
