"""Labels of a pair of checkpoints, and pairs that cannot be compared."""

import math

import numpy as np
import pytest

from landscape.analysis.pairs import pair_coordinates, require_same_spec
from landscape.data_store.errors import LandscapeError
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.overlap import OVERLAP

SPEC = ParamSpec(("w", "b"), ((2, 2), (2,)))


def checkpoint(spec=SPEC, kept=4, **fields):
    mask = np.ones(spec.size, dtype=bool)
    mask[kept:4] = False
    theta = np.arange(spec.size, dtype=spec.dtype) * mask
    return Checkpoint(spec, theta, Mask(spec, ("w",), mask), **fields)


def test_coordinates_name_run_levels_and_densities():
    a = checkpoint(kept=3, address="imp@2", level=2, home="store")
    b = checkpoint(kept=1, address="lamp@5.rewind", level=5, home="store")
    assert pair_coordinates(a, b) == {
        "pair": ["imp@2 lamp@5.rewind"],
        "run": ["imp"],
        "level_a": [2.0],
        "level_b": [5.0],
        "density_a": [0.75],
        "density_b": [0.25],
    }


def test_a_foreign_file_has_no_run_and_no_level():
    coords = pair_coordinates(checkpoint(address="a.pt"), checkpoint(address="b.pt"))
    assert coords["pair"] == ["a.pt b.pt"]
    assert coords["run"] == [""]
    assert math.isnan(coords["level_a"][0])
    assert math.isnan(coords["level_b"][0])


def test_coordinates_are_those_of_the_schema():
    coords = pair_coordinates(checkpoint(address="a.pt"), checkpoint(address="b.pt"))
    assert {n for n, v in OVERLAP.coordinates.items() if v.dims == ("pair",)} == set(coords)


def test_equal_networks_pass():
    require_same_spec(checkpoint(address="a.pt"), checkpoint(kept=1, address="b.pt"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            ParamSpec(("w", "b"), ((2, 2), (3,))),
            r"a\.pt and b\.pt hold different networks .*'b' is \(2,\) in the first and \(3,\)",
        ),
        (
            ParamSpec(("w",), ((2, 2),)),
            r"a\.pt and b\.pt .*'b' of shape \(2,\) is not in the second",
        ),
        (ParamSpec(("b", "w"), ((2,), (2, 2))), "the order of the tensors differs"),
        (
            ParamSpec(("w", "b"), ((2, 2), (2,)), "float64"),
            "the first is float32, the second float64",
        ),
    ],
)
def test_different_networks_are_refused(other, message):
    kept = Mask.dense(other, ("w",))
    b = Checkpoint(other, np.zeros(other.size, other.dtype), kept, address="b.pt")
    with pytest.raises(LandscapeError, match=message):
        require_same_spec(checkpoint(address="a.pt"), b)


def test_checkpoints_without_address_are_numbered():
    other = ParamSpec(("w",), ((2, 2),))
    b = Checkpoint(other, np.zeros(4, np.float32), Mask.dense(other, ("w",)))
    with pytest.raises(LandscapeError, match="the first checkpoint and the second hold"):
        require_same_spec(checkpoint(), b)
