"""Seeds: named streams of one seed against a naive SHA-256, distinct and reproducible."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.training.seeds import generator, stream
from tests.support import naive

# SHA-256 of "0/data-order/0/0" and "7/model-noise/3/200": a run begun today resumes tomorrow
GOLDEN_ORDER = 4701485209626524678
GOLDEN_NOISE = 5801136038954236910

SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.sampled_from(["data-order", "mask", "x"]), st.lists(st.integers(0, 10**6)))
def test_a_stream_is_63_bits_of_a_digest(seed: int, name: str, indices: list[int]) -> None:
    value = stream(seed, name, *indices)
    assert value == naive.stream(seed, name, *indices)
    assert 0 <= value < 2**63


def test_every_argument_matters() -> None:
    streams = {
        stream(seed, name, level, step)
        for seed in range(10)
        for name in ("data-order", "model-noise")
        for level in range(10)
        for step in range(30)
    }
    assert len(streams) == 10 * 2 * 10 * 30
    assert stream(1, "mask", 23) != stream(12, "mask", 3)
    assert stream(0, "mask", 1, 23) != stream(0, "mask", 12, 3)


def test_streams_look_uniform() -> None:
    values = [stream(0, "mask", i) for i in range(4000)]
    for bit in range(63):
        ones = sum(value >> bit & 1 for value in values)
        assert abs(ones - 2000) < 5 * 1000**0.5  # five standard errors of a fair coin


def test_a_generator_starts_at_its_stream_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    drawn = torch.rand(5, generator=generator(3, "data-order", 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    again = torch.Generator().manual_seed(stream(3, "data-order", 1, 2))
    assert torch.equal(drawn, torch.rand(5, generator=again))
    assert not torch.equal(drawn, torch.rand(5, generator=generator(3, "data-order", 1, 3)))


def test_the_streams_of_stored_runs_do_not_change() -> None:
    assert stream(0, "data-order", 0, 0) == GOLDEN_ORDER
    assert stream(7, "model-noise", 3, 200) == GOLDEN_NOISE
