"""Work: blocks computed when asked for."""

from __future__ import annotations

import numpy as np

from landscape.analysis.work import AtOnce


def test_blocks_are_computed_at_once_and_every_time():
    work, calls = AtOnce(), []

    def compute():
        calls.append(1)
        return {"x": np.ones(2)}

    work.expect(2)
    assert work.block("a", compute)["x"].tolist() == [1.0, 1.0]
    work.block("a", compute)
    assert len(calls) == 2
