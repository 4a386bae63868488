"""UnitFlow: where units are read, how groups are ordered, and what is followed by given rules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from landscape.analysis.alignment.permutations import traced
from landscape.analysis.alignment.symmetry import Group, Member, Permutations
from landscape.analysis.alignment.unit_flow import Flow, UnitFlow, function_name
from landscape.analysis.alignment.unit_rules import FUNCTIONS, LAYERS
from landscape.data_store.errors import UsageError


class Residual(nn.Module):
    """Registered in another order than it is called in."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.branch, self.stem = nn.Linear(8, 2), nn.Conv1d(4, 4, 1), nn.Conv1d(1, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.stem(x)
        return self.head((stream + self.branch(stream)).flatten(1))


def followed() -> tuple[fx.Graph, UnitFlow]:
    _, graph, units = traced(Residual(), torch.zeros(1, 1, 2))
    return graph, units


def test_members_are_in_the_order_of_registration() -> None:
    _, units = followed()
    assert units.permutations() == Permutations(
        (
            Group(
                4,
                (
                    Member("head.weight", 1, block=2),
                    Member("branch.weight", 0),
                    Member("branch.weight", 1),
                    Member("branch.bias", 0),
                    Member("stem.weight", 0),
                    Member("stem.bias", 0),
                ),
            ),
        )
    )


def test_places_are_what_layers_read() -> None:
    graph, units = followed()
    nodes = {node.name: node for node in graph.nodes}
    (places,) = units.places()
    assert {node: (flow.axis, flow.block) for node, flow in places.items()} == {
        nodes["stem"]: (1, 1),
        nodes["flatten"]: (1, 2),
    }


def test_groups_are_in_the_order_of_their_first_layers() -> None:
    model = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 3), nn.Linear(3, 4), nn.Linear(4, 2))
    _, _, units = traced(model, torch.zeros(1, 2))
    assert [group.size for group in units.permutations().groups] == [5, 3, 4]
    assert [len(places) for places in units.places()] == [1, 1, 1]


def test_function_names_are_those_of_functions_and_of_methods() -> None:
    graph, _ = followed()
    names = [function_name(node) for node in graph.nodes if node.op.startswith("call_")]
    assert names == ["stem", "branch", "add", "flatten", "head"]


def test_only_what_has_a_rule_is_understood() -> None:
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2))
    graph, shapes = fx.Tracer().trace(model), {}
    for node, width in zip(graph.nodes, (2, 5, 5, 2), strict=False):
        shapes[node] = (3, width)
    rules = {nn.Linear: LAYERS[nn.Linear]}
    with pytest.raises(
        UsageError, match=r"Sequential cannot be aligned: its layer '1' \(ReLU\) is"
    ):
        UnitFlow(model, graph, shapes, rules, {})
    assert UnitFlow(model, graph, shapes, LAYERS, FUNCTIONS).permutations().groups[0].size == 5


def test_joining_flows_of_other_sizes_is_refused() -> None:
    graph, units = followed()
    node = next(iter(graph.nodes))
    one, two = units.begin(3, 1), units.begin(4, 1)
    assert isinstance(one, Flow)
    assert isinstance(two, Flow)
    assert units.begin(1, 1) is None
    with pytest.raises(UsageError, match="joins units of different sizes"):
        units.join(node, [one, two])
