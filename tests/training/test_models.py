"""Models: sizes of the papers' networks, initial weights against closed forms, specs."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from landscape.data_store.errors import UsageError
from landscape.training.models import (
    CONV_2,
    LENET_300_100,
    Model,
    buffer_values,
    build,
    current_point,
    initialize,
    mlp,
    parameter_spec,
    parse_mlp,
    prunable_kinds,
)

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def sizes(module: nn.Module) -> dict[str, int]:
    """Number of entries of every parameter."""
    return {name: p.numel() for name, p in module.named_parameters()}


def test_lenet_has_the_paper_s_size() -> None:
    lenet = build(LENET_300_100, GREY, 10, seed=0)
    counts = sizes(lenet)
    assert sum(counts.values()) == 266_610
    assert sum(counts[name] for name in prunable_kinds(lenet)) == 266_200
    assert lenet(torch.zeros(7, *GREY)).shape == (7, 10)


def test_conv_2_has_the_paper_s_size() -> None:
    conv = build(CONV_2, COLOUR, 10, seed=0)
    counts, kinds = sizes(conv), prunable_kinds(conv)
    assert kinds == {
        "conv1.weight": "conv",
        "conv2.weight": "conv",
        "fc1.weight": "fc",
        "fc2.weight": "fc",
        "fc3.weight": "output",
    }
    assert counts["conv1.weight"] + counts["conv2.weight"] == 38_592  # 38K
    total = sum(counts[name] for name in kinds)
    assert total == 64 * 27 + 64 * 64 * 9 + 64 * 16 * 16 * 256 + 256 * 256 + 2560
    assert round(total / 1e6, 1) == 4.3
    assert conv(torch.zeros(2, *COLOUR)).shape == (2, 10)


def test_conv_2_takes_other_pictures_and_refuses_vectors() -> None:
    conv = build(CONV_2, (1, 9, 7), 4, seed=0)
    assert conv(torch.zeros(2, 1, 9, 7)).shape == (2, 4)
    with pytest.raises(
        UsageError, match=r"conv-2 takes inputs \(channels, height, width\), not \(6,\)"
    ):
        build(CONV_2, (6,), 4, seed=0)


@pytest.mark.parametrize(
    ("model", "protocol"),
    [
        (LENET_300_100, {"iterations": 50_000, "lr": 1.2e-3, "pruning_fraction": 0.2}),
        (CONV_2, {"iterations": 20_000, "lr": 2e-4, "pruning_fraction_conv": 0.1}),
    ],
)
def test_the_protocols_are_the_paper_s(model: Model, protocol: dict[str, float]) -> None:
    expected = {"batch_size": 60, "optimizer": "adam", "eval_every": 100, **protocol}
    assert {key: model.protocol[key] for key in expected} == expected
    assert model.protocol["pruning_fraction_output"] == 0.1


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
