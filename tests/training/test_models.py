"""Models: sizes of the papers' networks, initial weights against closed forms, specs."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.data_store.records import RunConfig
from landscape.training.models import (
    LENET_300_100,
    buffer_values,
    build,
    current_point,
    fully_connected,
    initialize,
    is_bias,
    mlp,
    parameter_spec,
    parse_mlp,
    prunable_kinds,
    set_dropout,
    without,
)
from tests.support import naive

GREY = (1, 28, 28)


def sizes(module: nn.Module) -> dict[str, int]:
    """Number of entries of every parameter."""
    return {name: p.numel() for name, p in module.named_parameters()}


def test_lenet_has_the_paper_s_size() -> None:
    lenet = build(LENET_300_100, GREY, 10, seed=0)
    counts = sizes(lenet)
    assert sum(counts.values()) == 266_610
    assert sum(counts[name] for name in prunable_kinds(lenet)) == 266_200
    assert lenet(torch.zeros(7, *GREY)).shape == (7, 10)


def test_the_protocol_of_lenet_is_the_paper_s() -> None:
    assert LENET_300_100.protocol == {
        "iterations": 50_000,
        "batch_size": 60,
        "optimizer": "adam",
        "lr": 1.2e-3,
        "pruning_fraction": 0.2,
        "pruning_fraction_output": 0.1,
        "eval_every": 100,
    }
    assert RunConfig(**LENET_300_100.protocol).initialization == "glorot-normal"
    assert RunConfig(**LENET_300_100.protocol).scope == "layer"


def test_an_mlp_is_the_composition_of_its_layers() -> None:
    network = mlp([6, 5, 4, 3])
    assert list(sizes(network)) == [
        f"fc{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")
    ]
    inputs = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    hidden = inputs.numpy().reshape(4, 6)
    for i in (1, 2, 3):
        hidden = hidden @ parameters[f"fc{i}.weight"].T + parameters[f"fc{i}.bias"]
        hidden = np.maximum(hidden, 0) if i < 3 else hidden
    assert network(inputs).detach().numpy() == pytest.approx(hidden, abs=1e-6)


def test_an_mlp_of_two_widths_is_linear() -> None:
    assert [type(layer) for layer in mlp([4, 2])] == [nn.Flatten, nn.Linear]


def test_the_mlp_of_a_name() -> None:
    network = build(parse_mlp("mlp:784-300-100-10"), GREY, 10, seed=0)
    assert parameter_spec(network) == parameter_spec(build(LENET_300_100, GREY, 10, seed=0))


@pytest.mark.parametrize(
    "text", ["mlp:", "mlp:10", "mlp:a-b", "mlp:10-0-2", "mlp:10--2", "mlp:10-2.5-2", "mlp:-5-2"]
)
def test_a_name_without_widths_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"^'{text}' is no multilayer perceptron; write it as mlp"):
        parse_mlp(text)


@pytest.mark.parametrize("text", ["mlp:783-10", "mlp:784-9"])
def test_an_mlp_that_does_not_fit_its_task_is_refused(text: str) -> None:
    widths = text[4:].split("-")
    with pytest.raises(
        UsageError,
        match=f"{text} takes {widths[0]} inputs to {widths[1]} outputs; the task has 784 and 10",
    ):
        build(parse_mlp(text), GREY, 10, seed=0)


def assert_normal(values: np.ndarray, std: float) -> None:
    """Mean, deviation and shape of a normal sample, each within five standard errors."""
    n = values.size
    assert abs(values.mean()) < 5 * std / math.sqrt(n)
    assert abs(values.std() - std) < 5 * std / math.sqrt(2 * n)
    within = np.mean(np.abs(values) < std)
    share = math.erf(1 / math.sqrt(2))
    assert abs(within - share) < 5 * math.sqrt(share * (1 - share) / n)


def naive_std(shape: tuple[int, ...], scheme: str) -> float:
    """Standard deviation of a weight's initial entries."""
    field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * field, shape[0] * field
    return math.sqrt(2 / (fan_in + fan_out) if scheme == "glorot-normal" else 2 / fan_in)


@pytest.mark.parametrize("scheme", ["glorot-normal", "kaiming-normal"])
def test_initial_weights_have_the_stated_deviation(scheme: str) -> None:
    lenet = build(LENET_300_100, GREY, 10, seed=0)
    convolutions = nn.Sequential(nn.Conv1d(20, 30, 5), nn.Conv2d(16, 24, 3), nn.Conv3d(8, 12, 2))
    for module in (lenet, convolutions):
        initialize(module, scheme, seed=0)
        for name, parameter in module.named_parameters():
            values = parameter.detach().double().numpy()
            if name.endswith("bias"):
                assert not values.any()
            else:
                assert_normal(values, naive_std(values.shape, scheme))


def test_initial_weights_are_a_function_of_the_seed() -> None:
    def drawn(seed: int) -> torch.Tensor:
        network = build(parse_mlp("mlp:20-10-5"), (20,), 5, seed=99)
        initialize(network, "glorot-normal", seed)
        return torch.cat([p.detach().reshape(-1) for p in network.parameters()])

    assert torch.equal(drawn(1), drawn(1))
    weights = torch.cat([drawn(1)[:200], drawn(1)[210:260]])
    others = torch.cat([drawn(2)[:200], drawn(2)[210:260]])
    assert not (weights == others).any()


def test_a_constructor_draws_from_the_run_s_seed() -> None:
    def drawn(seed: int) -> torch.Tensor:
        network = build(parse_mlp("mlp:20-10-5"), (20,), 5, seed)
        initialize(network, "model", seed=0)  # nothing
        return network.get_parameter("fc1.weight").detach()

    assert torch.equal(drawn(1), drawn(1))
    assert not (drawn(1) == drawn(2)).any()
    assert 0 < drawn(1).abs().max() <= 1 / math.sqrt(20)  # torch's own uniform draw


@pytest.mark.parametrize("scheme", ["glorot-normal", "kaiming-normal", "model"])
def test_the_global_generator_is_untouched(scheme: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    initialize(build(LENET_300_100, (1, 4, 4), 10, seed=0), scheme, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_normalisation_and_missing_biases_are_left_alone() -> None:
    network = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3))
    network[1].weight.data.fill_(7.0)
    network[1].bias.data.fill_(8.0)
    initialize(network, "glorot-normal", seed=0)
    assert network[1].weight.tolist() == [7.0] * 3
    assert network[1].bias.tolist() == [8.0] * 3


def normed() -> nn.Sequential:
    """Layers with all there is to draw: weights, biases, scales with and without parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 400, 3),
        nn.BatchNorm2d(400),
        nn.BatchNorm2d(400, affine=False),
        nn.Flatten(),
        nn.Linear(400, 300),
        nn.BatchNorm1d(300),
    )


def test_uniform_scales_of_normalisation() -> None:
    network = normed()
    initialize(network, "kaiming-normal", 3, norm_scale="uniform")
    scales = torch.cat([network[1].weight, network[5].weight]).detach().double().numpy()
    assert len(np.unique(scales)) > 690
    assert 0 <= scales.min() < 0.02 < 0.98 < scales.max() < 1
    assert abs(scales.mean() - 0.5) < 5 / math.sqrt(12 * 700)
    assert abs(scales.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / 700)  # variance of (U - 1/2)^2
    assert not torch.cat([network[1].bias, network[5].bias]).any()
    own = torch.Generator().manual_seed(naive.stream(3, "norm-scale"))
    assert torch.equal(network[1].weight, torch.empty(400).uniform_(generator=own))
    again, other = normed(), normed()
    initialize(again, "kaiming-normal", 3, norm_scale="uniform")
    initialize(other, "kaiming-normal", 4, norm_scale="uniform")
    assert torch.equal(again[1].weight, network[1].weight)
    assert not (other[1].weight == network[1].weight).any()


@pytest.mark.parametrize("scheme", ["glorot-normal", "kaiming-normal", "model"])
def test_the_scales_have_a_stream_of_their_own(scheme: str) -> None:
    one, uniform = normed(), normed()
    uniform.load_state_dict(one.state_dict())
    initialize(one, scheme, 3)
    initialize(uniform, scheme, 3, norm_scale="uniform")
    assert one[1].weight.tolist() == [1.0] * 400
    for name, value in one.named_parameters():
        same = torch.equal(value, uniform.get_parameter(name))
        assert same == (name not in ("1.weight", "5.weight"))


def test_dropout_layers_get_the_rate_asked_for() -> None:
    rates = {"a": nn.Dropout(0.1), "b": nn.Sequential(nn.Dropout2d(0.2)), "c": nn.Linear(2, 2)}
    network = nn.Sequential(OrderedDict(rates))
    set_dropout(network, 0.0)
    assert (network.a.p, network.b[0].p) == (0.1, 0.2)  # a network's own
    set_dropout(network, 0.5)
    assert (network.a.p, network.b[0].p) == (0.5, 0.5)


def test_dropout_is_refused_where_there_is_none() -> None:
    lenet = build(LENET_300_100, GREY, 10, seed=0)
    set_dropout(lenet, 0.0)
    with pytest.raises(
        UsageError, match=r"dropout is 0\.5, but the network has no dropout layer; leave it out"
    ):
        set_dropout(lenet, 0.5)


def test_fully_connected_layers_with_dropout_before_each() -> None:
    assert [name for name, _ in fully_connected([4, 3, 2])] == ["fc1", "fc1_relu", "fc2"]
    layers = fully_connected([4, 3, 2], dropout=True)
    assert [name for name, _ in layers] == [
        "fc1_dropout", "fc1", "fc1_relu", "fc2_dropout", "fc2",
    ]  # fmt: skip
    assert [layer.p for _, layer in layers if isinstance(layer, nn.Dropout)] == [0.0, 0.0]


ALL_KINDS = {
    "stem.weight": "conv",
    "shortcut.weight": "shortcut",
    "fc1.weight": "fc",
    "fc2.weight": "fc",
    "fc3.weight": "output",
}


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ((), ["stem", "shortcut", "fc1", "fc2", "fc3"]),
        (("output",), ["stem", "shortcut", "fc1", "fc2"]),
        (("output", "shortcut"), ["stem", "fc1", "fc2"]),
        (("conv",), ["shortcut", "fc1", "fc2", "fc3"]),
        (("fc",), ["stem", "shortcut", "fc3"]),
        (("fc2.weight", "conv"), ["shortcut", "fc1", "fc3"]),
    ],
)
def test_exclusions_by_kind_and_by_name(exclude: tuple[str, ...], left: list[str]) -> None:
    expected = {f"{name}.weight": ALL_KINDS[f"{name}.weight"] for name in left}
    assert without(ALL_KINDS, exclude) == expected


def test_a_kind_that_a_network_has_not_may_be_excluded() -> None:
    lenet = prunable_kinds(build(LENET_300_100, GREY, 10, seed=0))
    assert without(lenet, ("shortcut", "conv")) == lenet


@pytest.mark.parametrize(
    ("wrong", "near"), [("outputs", "output"), ("fc1.weigth", "fc1.weight"), ("short", "shortcut")]
)
def test_an_unknown_exclusion_gets_the_nearest(wrong: str, near: str) -> None:
    message = f"unknown tensor or kind to exclude '{wrong}'; did you mean '{near}'"
    with pytest.raises(UsageError, match=message):
        without(ALL_KINDS, ("conv", wrong))


def test_exclusions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude is fc, output; nothing is left to prune"):
        without({"fc1.weight": "fc", "fc2.weight": "output"}, ("fc", "output"))


def test_kinds_of_nested_layers() -> None:
    inner = nn.Sequential(OrderedDict([("conv", nn.Conv1d(2, 2, 1)), ("norm", nn.BatchNorm1d(2))]))
    network = nn.Sequential(
        OrderedDict(
            [
                ("first", inner),
                ("volume", nn.Conv3d(1, 1, 1)),
                ("head", nn.Linear(2, 2)),
                ("lookup", nn.Embedding(3, 2)),
                ("last", nn.Linear(2, 2)),
                ("after", nn.Conv2d(1, 1, 1)),
            ]
        )
    )
    assert prunable_kinds(network) == {
        "first.conv.weight": "conv",
        "volume.weight": "conv",
        "head.weight": "fc",
        "last.weight": "output",
        "after.weight": "conv",
    }


def test_kinds_of_a_lone_layer_and_of_none() -> None:
    assert prunable_kinds(nn.Linear(2, 2)) == {"weight": "output"}
    assert prunable_kinds(nn.Sequential(nn.Conv2d(1, 1, 1))) == {"0.weight": "conv"}
    assert prunable_kinds(nn.BatchNorm1d(3)) == {}


def test_a_tied_weight_is_one_tensor() -> None:
    network = nn.Sequential(OrderedDict([("a", nn.Linear(3, 3)), ("b", nn.Linear(3, 3))]))
    network.b.weight = network.a.weight
    assert prunable_kinds(network) == {"a.weight": "output"}
    assert parameter_spec(network).names == ("a.weight", "a.bias", "b.bias")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spec_names_parameters_in_order(dtype: torch.dtype) -> None:
    spec = parameter_spec(nn.Sequential(nn.Conv2d(2, 3, (4, 5)), nn.Linear(6, 7)).to(dtype))
    assert spec.names == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert spec.shapes == ((3, 2, 4, 5), (3,), (7, 6), (7,))
    assert spec.dtype == str(dtype).removeprefix("torch.")


def test_parameters_of_two_dtypes_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(
        UsageError,
        match=r"parameter '1.weight' is float64; all parameters must be float32, or all float64",
    ):
        parameter_spec(network)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_parameters_of_half_precision_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match=r"parameter 'weight' is b?float16; all parameters must"):
        parameter_spec(nn.Linear(2, 2).to(dtype))


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(UsageError, match="the model ReLU has no parameters"):
        parameter_spec(nn.ReLU())


class Counting(nn.Module):
    """A module with a buffer that its state holds and one that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("scratch", torch.zeros(4), persistent=False)


def test_buffers_are_persistent_ones_copied() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), Counting())
    values = buffer_values(module)
    names = ["0.running_mean", "0.running_var", "0.num_batches_tracked", "1.kept"]
    assert list(values) == names
    assert values["0.num_batches_tracked"].dtype == np.int64
    assert values["0.num_batches_tracked"].shape == ()
    module[0](torch.randn(8, 2))
    assert values["0.num_batches_tracked"] == 0
    assert values["0.running_mean"].tolist() == [0.0, 0.0]


def test_the_current_point_is_a_copy_in_order() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    point = current_point(module, parameter_spec(module))
    expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy().copy()
    for parameter in module.parameters():
        parameter.data.zero_()
    assert point.theta.tobytes() == expected.tobytes()
    assert list(point.buffers) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]


def test_a_bias_has_the_kind_of_its_layer() -> None:
    network = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 2, 3),
            norm=nn.BatchNorm2d(2),
            shortcut=nn.Conv2d(2, 2, 1, bias=False),
            fc1=nn.Linear(2, 3),
            fc2=nn.Linear(3, 2),
        )
    )
    expected = {
        "conv.weight": "conv",
        "conv.bias": "conv",
        "shortcut.weight": "shortcut",
        "fc1.weight": "fc",
        "fc1.bias": "fc",
        "fc2.weight": "output",
        "fc2.bias": "output",
    }
    found = prunable_kinds(network, biases=True)
    assert found == expected
    assert list(found) == [name for name in dict(network.named_parameters()) if name in found]
    assert without(found, ("output", "conv.bias")) == {
        n: kind for n, kind in expected.items() if kind != "output" and n != "conv.bias"
    }
    assert prunable_kinds(network) == {n: k for n, k in expected.items() if not is_bias(n)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bias", True), ("fc1.bias", True), ("fc1.weight", False), ("bias.weight", False)],
)
def test_a_bias_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_bias(name) is expected
