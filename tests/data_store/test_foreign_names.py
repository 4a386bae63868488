"""Names of foreign tensors: prefixes, pruned modules, and matching by order."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from landscape.data_store.errors import LandscapeError
from landscape.data_store.foreign_names import by_order, named_as
from landscape.fitting import onto_network, without_network

W = np.arange(6.0, dtype=np.float32).reshape(2, 3)
B = np.array([1.0, 2.0], np.float32)
STATE = {"fc.weight": W, "fc.bias": B}


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(1, 3, 3),
                bn=nn.BatchNorm2d(3),
                flat=nn.Flatten(),
                fc=nn.Linear(12, 4),
            )
        )


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


PREFIXES = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."),
]


@pytest.mark.parametrize("declared", [STATE, None])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_are_stripped(prefix, declared):
    state = {prefix + name: values for name, values in STATE.items()}
    assert list(named_as(state, declared, "a.pt").state) == list(STATE)


def test_a_prefix_that_some_names_lack_stays():
    for state in ({"module.weight": W, "n_averaged": B}, {"module.": W}):
        assert named_as(state, None, "a.pt").state == state


@pytest.mark.parametrize("wrapped", ["", "module.", "_orig_mod."])
def test_a_network_whose_own_attribute_is_called_module(wrapped):
    net = nn.Sequential(OrderedDict(module=network()))
    state = {wrapped + name: values for name, values in arrays(net).items()}
    found = onto_network(net, state, "a.pt")
    assert found.theta.tobytes() == onto_network(net, arrays(net), "b.pt").theta.tobytes()
    assert found.spec.names[0] == "module.conv.weight"


def test_a_real_data_parallel_module():
    net = network()
    found = onto_network(net, arrays(nn.DataParallel(net)), "a.pt")
    assert found.theta.tobytes() == onto_network(net, arrays(net), "b.pt").theta.tobytes()


def pruned(how: str) -> nn.Sequential:
    """The network pruned by torch itself."""
    net = network()
    if how == "l1":
        prune.l1_unstructured(net.conv, "weight", amount=0.5)
    elif how == "global":
        both = [(net.conv, "weight"), (net.fc, "weight")]
        prune.global_unstructured(both, pruning_method=prune.L1Unstructured, amount=20)
    elif how == "custom":
        prune.custom_from_mask(net.fc, "weight", mask=torch.eye(4, 12))
    elif how == "biases":
        prune.random_unstructured(net.fc, "bias", amount=2)
        prune.l1_unstructured(net.fc, "weight", amount=3)
    elif how == "twice":
        prune.l1_unstructured(net.fc, "weight", amount=8)
        prune.ln_structured(net.fc, "weight", amount=1, n=2, dim=0)
    return net


HOW = ["l1", "global", "custom", "biases", "twice"]


@pytest.mark.parametrize("how", HOW)
def test_state_dicts_of_torchs_pruning(how):
    net = pruned(how)
    masks = {k.removesuffix("_mask"): v for k, v in arrays(net).items() if k.endswith("_mask")}
    found = onto_network(network(), arrays(net), "a.pt")
    values = found.spec.unflatten(found.theta)
    assert masks
    for name, mask in masks.items():
        np.testing.assert_array_equal(found.mask.layer(name), mask.reshape(-1) == 1)
        assert name in found.mask.prunable
    for name, values_of in values.items():
        place, _, tensor = name.rpartition(".")
        effective = getattr(net.get_submodule(place), tensor).detach().numpy()
        np.testing.assert_array_equal(values_of, effective)
    assert not np.signbit(found.theta[~found.mask.kept]).any()


@pytest.mark.parametrize("how", HOW)
def test_the_imported_network_computes_what_the_pruned_one_did(how):
    net = pruned(how).eval()
    found = onto_network(network(), arrays(net), "a.pt")
    twin = network().eval()
    tensors = {**found.spec.unflatten(found.theta), **found.buffers}
    twin.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in tensors.items()})
    inputs = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(twin(inputs), net(inputs), rtol=0, atol=0)


def test_pruning_made_permanent_is_told_by_its_zeros():
    net = pruned("l1")
    mask = net.conv.weight_mask.numpy().reshape(-1) == 1
    prune.remove(net.conv, "weight")
    found = onto_network(network(), arrays(net), "a.pt")
    np.testing.assert_array_equal(found.mask.layer("conv.weight"), mask)


def test_a_kept_weight_that_is_zero_stays_kept():
    net = pruned("custom")
    with torch.no_grad():
        net.fc.weight_orig[0, 0] = 0
    assert onto_network(network(), arrays(net), "a.pt").mask.layer("fc.weight")[0]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_pruned_and_wrapped(prefix):
    state = {prefix + name: values for name, values in arrays(pruned("global")).items()}
    found = onto_network(network(), state, "a.pt")
    assert found.digest == onto_network(network(), arrays(pruned("global")), "b.pt").digest
    bare = without_network(state, "a.pt")
    assert bare.spec.names == ("conv.weight", "fc.weight")
    np.testing.assert_array_equal(
        bare.mask.kept,
        np.concatenate([found.mask.layer("conv.weight"), found.mask.layer("fc.weight")]),
    )


def test_a_network_that_declares_the_pair_keeps_it():
    net = pruned("l1")
    found = onto_network(net, arrays(net), "a.pt")
    assert "conv.weight_orig" in found.spec.names
    assert "conv.weight_mask" in found.buffers
    np.testing.assert_array_equal(
        found.spec.unflatten(found.theta)["conv.weight_orig"], net.conv.weight_orig.detach().numpy()
    )


def test_masks_beside_plain_weights():
    state = {**STATE, "fc.weight_mask": np.array([[1, 0, 1], [1, 1, 0]])}
    found = named_as(state, STATE, "a.pt")
    np.testing.assert_array_equal(found.state["fc.weight"], [[0, 0, 2], [3, 4, 0]])
    np.testing.assert_array_equal(found.masks["fc.weight"], [[1, 0, 1], [1, 1, 0]])
    assert set(named_as(state, None, "a.pt").state) == set(state)  # may be anything


MASK = np.array([[1, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"fc.weight_orig": W}, r"^a\.pt holds 'fc\.weight_orig' without 'fc\.weight_mask'$"),
        ({"fc.weight_mask": MASK}, r"^a\.pt holds 'fc\.weight_mask' without 'fc\.weight_orig'$"),
        (
            {"fc.weight_orig": W, "fc.weight_mask": MASK.T},
            r"the mask of 'fc\.weight' in a\.pt is \(3, 2\); its tensor is \(2, 3\)",
        ),
        (
            {"fc.weight_orig": W, "fc.weight_mask": MASK * 0.5},
            r"the mask of 'fc\.weight' in a\.pt holds 0\.5; expected 0 and 1",
        ),
        (
            {"fc.weight": W, "fc.weight_orig": W, "fc.weight_mask": MASK},
            r"a\.pt holds both 'fc\.weight' and 'fc\.weight_orig'",
        ),
    ],
)
def test_pairs_that_are_none_are_refused(state, match):
    with pytest.raises(LandscapeError, match=match):
        named_as({"fc.bias": B, **state}, STATE, "a.pt")


def test_halves_of_pairs_that_nothing_declares_are_names_like_others():
    for name in ("attention_mask", "weight_orig", "_mask", "_orig"):
        assert set(named_as({name: W}, None, "a.pt").state) == {name}
        assert set(named_as({name: W}, STATE, "a.pt").state) == {name}


SHAPES = {"fc.weight": (2, 3), "fc.bias": (2,)}


def test_by_order_renames_what_has_another_name():
    with pytest.warns(
        UserWarning, match=r"^matched by order in a\.pt: '0\.w' as 'fc\.weight', '0\.b' as"
    ):
        found = by_order({"0.w": W, "0.b": B}, SHAPES, "a.pt")
    assert list(found) == ["fc.weight", "fc.bias"]
    np.testing.assert_array_equal(found["fc.weight"], W)
    with pytest.warns(UserWarning, match=r"a\.pt: 'w' as 'fc\.weight'$"):
        assert list(by_order({"module.fc.bias": B, "module.w": W}, SHAPES, "a.pt")) == [
            *("fc.bias", "fc.weight"),
        ]


def test_by_order_leaves_names_that_fit():
    assert by_order(STATE, SHAPES, "a.pt") == STATE
    net = pruned("l1")
    shapes = {k: v.shape for k, v in arrays(network()).items()}
    assert set(by_order(arrays(net), shapes, "a.pt")) == set(arrays(net))


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"w": W}, r"a\.pt holds 1 tensors of other names, and the model declares 2; only as many"),
        (
            {"b": B, "w": W},
            r"'b' is \(2,\) in a\.pt, and in its place the model declares 'fc\.weight' of \(2, 3\)",
        ),
        (
            {"fc.weight_orig": W, "fc.weight_mask": MASK, "b": B},
            r"a\.pt states masks by name; it cannot be matched by order",
        ),
    ],
)
def test_by_order_refuses_what_does_not_agree(state, match):
    with pytest.raises(LandscapeError, match=match):
        by_order(state, SHAPES, "a.pt")


def test_a_whole_network_by_order():
    net, theirs = network(), network()
    shuffled = {f"layer{i}": values for i, values in enumerate(arrays(theirs).values())}
    with pytest.warns(UserWarning, match="'layer0' as 'conv.weight', 'layer1' as 'conv.bias'"):
        found = onto_network(net, shuffled, "a.pt", by_order=True)
    assert found.digest == onto_network(net, arrays(theirs), "b.pt").digest
