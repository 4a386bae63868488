"""UnitFlow: hidden units followed through the graph of a forward pass.

Every layer that mixes units begins a new numbering; what comes after it carries the numbering on,
and what adds two of them makes them one. An operation that is not understood is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from landscape.analysis.alignment.symmetry import Group, Member, Permutations
from landscape.data_store.errors import UsageError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """Where a value carries units: which numbering, along which axis, entries of each unit."""

    numbering: int
    axis: int
    block: int = 1


Rule = Callable[["UnitFlow", fx.Node, Any], Flow | None]


class UnitFlow:
    """The numberings of hidden units in a graph, the tensors they order and the layers they feed.

    Parameters
    ----------
    model
        The traced network.
    graph
        Its graph.
    shapes
        Shape of every tensor in the graph, by node.
    layers, functions
        What is understood: rules by class of a layer, and by name of a function or method.

    Raises
    ------
    UsageError
        For the first node whose effect on the order of units is not understood, or a parameter
        or floating-point buffer that is in no layer that is called.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: fx.Graph,
        shapes: Mapping[fx.Node, Shape],
        layers: Mapping[type[nn.Module], Rule],
        functions: Mapping[str, Rule],
    ) -> None:
        self.model, self.shapes = model, shapes
        self._layers, self._functions = layers, functions
        buffers = dict(model.named_buffers())
        tensors = {**dict(model.named_parameters()), **buffers}
        moving = {n: tensor for n, tensor in tensors.items() if tensor.is_floating_point()}
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._registered = {name: i for i, name in enumerate(moving)}
        self._buffers = buffers.keys()
        self._sizes: list[int] = []
        self._leaders: list[int] = []
        self._fixed: set[int] = set()
        self._carried: dict[tuple[str, int], Flow] = {}
        self._still: set[tuple[str, int]] = set()
        self._flows: dict[fx.Node, Flow | None] = {}
        self._reads: list[tuple[fx.Node, Flow]] = []
        for node in graph.nodes:
            self._flows[node] = self._follow(node)
        self._require_all_accounted()
        for key in self._still & self._carried.keys():
            self.fix(self._carried[key])

    def permutations(self) -> Permutations:
        """The groups of units that can be renumbered, in the order in which they begin."""
        free = self._free()
        order = sorted(self._carried, key=lambda key: (self._registered[key[0]], key[1]))
        members: dict[int, list[Member]] = {numbering: [] for numbering in free}
        for name, axis in order:
            flow = self._carried[name, axis]
            if self._root(flow) in members:
                member = Member(name, axis, flow.block, name in self._buffers)
                members[self._root(flow)].append(member)
        return Permutations(tuple(Group(self._sizes[n], tuple(members[n])) for n in free))

    def places(self) -> tuple[dict[fx.Node, Flow], ...]:
        """Per group the values that layers read, each once: where a unit's activation is seen."""
        places: dict[int, dict[fx.Node, Flow]] = {numbering: {} for numbering in self._free()}
        for node, flow in self._reads:
            if self._root(flow) in places:
                places[self._root(flow)][node] = flow
        return tuple(places.values())

    def refusal(self, node: fx.Node, why: str = "is not understood") -> UsageError:
        """The error for a node whose effect on units is not known."""
        if node.op == "call_module":
            kind = type(self.model.get_submodule(str(node.target))).__name__
            what = f"layer {str(node.target)!r} ({kind})"
        elif node.op == "get_attr":
            what = f"tensor {str(node.target)!r}"
        else:
            what = f"operation {function_name(node)!r}"
        return UsageError(
            f"the units of {type(self.model).__name__} cannot be aligned: its {what} {why}"
        )

    def only(self, node: fx.Node) -> tuple[Flow | None, Shape]:
        """The units and the shape of a node's only tensor argument."""
        tensors = [operand for operand in node.all_input_nodes if operand in self.shapes]
        if len(tensors) != 1:
            raise self.refusal(node, f"takes {len(tensors)} tensors; one was expected")
        return self._flows[tensors[0]], self.shapes[tensors[0]]

    def operands(self, node: fx.Node) -> list[tuple[Flow | None, Shape]]:
        """The units and the shape of each of a node's tensor arguments."""
        tensors = [operand for operand in node.all_input_nodes if operand in self.shapes]
        return [(self._flows[operand], self.shapes[operand]) for operand in tensors]

    def channels(self, node: fx.Node, axes: int | None = None) -> Flow | None:
        """The units of a node's argument, which must lie along axis 1, of `axes`."""
        flow, shape = self.only(node)
        if (flow and flow.axis != 1) or (axes is not None and len(shape) != axes):
            raise self.refusal(node, f"has an input {shape} whose units are not along axis 1")
        return flow

    def begin(self, size: int, axis: int) -> Flow | None:
        """A new numbering; None for a single unit."""
        if size == 1:
            return None
        self._sizes.append(size)
        self._leaders.append(len(self._leaders))
        return Flow(len(self._leaders) - 1, axis)

    def size(self, flow: Flow) -> int:
        """How many units there are."""
        return self._sizes[flow.numbering]

    def read(self, node: fx.Node) -> None:
        """Note that a node mixes the units of its argument."""
        self._reads += [(n, flow) for n in node.all_input_nodes if (flow := self._flows[n])]

    def fix(self, flow: Flow | None) -> None:
        """Note that units keep their numbering."""
        self._fixed |= {flow.numbering} if flow else set()

    def carry(self, node: fx.Node, tensor: object, axis: int, flow: Flow | None) -> None:
        """Note that an axis of a layer's tensor is in the order of a flow; of None: as it is."""
        if not isinstance(tensor, Tensor):
            return  # a layer without bias, or without statistics
        if id(tensor) not in self._names:
            raise self.refusal(node, "computes its weight from other tensors")
        key = (self._names[id(tensor)], axis)
        if flow is None:
            self._still.add(key)
        elif key in self._carried:
            self.join(node, [self._carried[key], flow])
        else:
            self._carried[key] = flow

    def join(self, node: fx.Node, flows: Sequence[Flow]) -> None:
        """Make the numberings of several flows one."""
        for other in flows[1:]:
            one, two = self._root(flows[0]), self._root(other)
            if self._sizes[one] != self._sizes[two] or flows[0].block != other.block:
                raise self.refusal(node, "joins units of different sizes")
            self._leaders[max(one, two)] = min(one, two)

    def _follow(self, node: fx.Node) -> Flow | None:
        """The units that a node's result carries; None where none can be renumbered."""
        if node.op == "placeholder":
            return None
        if node.op == "output":
            for operand in node.all_input_nodes:
                self.fix(self._flows[operand])
            return None
        if node.op == "get_attr":
            raise self.refusal(node, "is used outside of a layer")
        if node.op == "call_module":
            module = self.model.get_submodule(str(node.target))
            rule = self._layers.get(type(module))
            if rule is None:
                raise self.refusal(node)
            return rule(self, node, module)
        if all(self._flows[operand] is None for operand in node.all_input_nodes):
            return None  # a function of what keeps its numbering keeps it too
        rule = self._functions.get(function_name(node))
        if rule is None:
            raise self.refusal(node)
        return rule(self, node, None)

    def _require_all_accounted(self) -> None:
        """Raise unless every tensor is in a layer that is called."""
        seen = {name for name, _ in (*self._carried, *self._still)}
        for name in self._registered:
            if name not in seen:
                raise UsageError(
                    f"the units of {type(self.model).__name__} cannot be aligned: "
                    f"its tensor {name!r} is in no layer that is called and understood"
                )

    def _free(self) -> list[int]:
        """The numberings that were joined with no earlier one and are not fixed."""
        fixed = {self._root(Flow(numbering, 0)) for numbering in self._fixed}
        return [n for n, leader in enumerate(self._leaders) if n == leader and n not in fixed]

    def _root(self, flow: Flow) -> int:
        """The numbering that a flow's own was joined with first."""
        numbering = flow.numbering
        while self._leaders[numbering] != numbering:
            numbering = self._leaders[numbering]
        return numbering


def function_name(node: fx.Node) -> str:
    """The name of a function or method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))
