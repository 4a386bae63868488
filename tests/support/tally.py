"""What the suites counted: kills, flips, inputs; printed in one line when the session ends."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Figures by name, in the order in which they were first counted.

    >>> tally = Tally()
    >>> tally.add("kills", 20, levels_lost=0)
    >>> tally.add("flips", 1500)
    >>> tally.line()
    'kills: 20 (0 levels lost) · flips: 1,500'
    """

    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, name: str, count: int = 1, **details: int) -> None:
        """Count more of something, and of what was seen among it (``levels_lost=0``)."""
        self.counts[name] = self.counts.get(name, 0) + count
        seen = self.details.setdefault(name, {})
        for detail, number in details.items():
            seen[detail] = seen.get(detail, 0) + number

    def line(self) -> str:
        """All figures in one line, empty if nothing was counted."""
        return " · ".join(self._figure(name, count) for name, count in self.counts.items())

    def _figure(self, name: str, count: int) -> str:
        """One figure with its details in brackets."""
        seen = [f"{n:,} {detail.replace('_', ' ')}" for detail, n in self.details[name].items()]
        return f"{name}: {count:,}" + (f" ({', '.join(seen)})" if seen else "")
