"""The curvature of small networks against their Hessians written out, and against curvlinops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.nn import functional

from landscape.analysis.curvature import CurvatureSettings, curvature
from landscape.analysis.extremes import DENSE
from landscape.analysis.masked_hessian import MaskedHessian
from landscape.analysis.network.evaluator import Evaluator
from landscape.analysis.sampling import subset
from landscape.analysis.subspace import Subspace
from landscape.analysis.work import AtOnce
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.training.task import cross_entropy

INPUTS, CLASSES, EXAMPLES = 6, 3, 40


def smooth(width=5):
    return nn.Sequential(nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, CLASSES))


def with_norm():
    return nn.Sequential(nn.Linear(INPUTS, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, CLASSES))


def data(dtype=torch.float64):
    draws = torch.Generator().manual_seed(1)
    inputs = torch.randn(EXAMPLES, INPUTS, generator=draws).to(dtype)
    return inputs, torch.randint(0, CLASSES, (EXAMPLES,), generator=draws)


def at(model, seed=0, density=0.7):
    """A network at random weights under a random mask, and the checkpoint of it."""
    draws = np.random.default_rng(seed)
    dtype = next(model.parameters()).dtype
    spec = ParamSpec(
        tuple(n for n, _ in model.named_parameters()),
        tuple(tuple(p.shape) for _, p in model.named_parameters()),
        str(dtype).removeprefix("torch."),
    )
    prunable = tuple(n for n in spec.names if len(spec.shape(n)) == 2)
    dense = Mask.dense(spec, prunable)
    mask = Mask(spec, prunable, ~dense.covered | (draws.random(spec.size) < density))
    theta = mask.apply(0.7 * draws.standard_normal(spec.size)).astype(spec.dtype)
    with torch.no_grad():
        for name, values in spec.unflatten(theta).items():
            dict(model.named_parameters())[name].copy_(torch.from_numpy(values))
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.from_numpy(draws.random(buffer.shape) + 0.5))
    buffers = {n: b.numpy().copy() for n, b in model.named_buffers()}
    return model, Checkpoint(spec, theta, mask, buffers=buffers, address="net@2")


def evaluator(model, **options):
    dtype = next(model.parameters()).dtype
    return Evaluator(model, {"train": data(dtype)}, cross_entropy, **options)


def written_out(model, checkpoint, chosen=slice(None)):
    """The Hessian of the kept weights, by torch.autograd in double precision, buffers fixed."""
    inputs, targets = (part[chosen] for part in data())
    double = model.double().eval()
    spec = checkpoint.spec

    def loss(flat):
        parts, start = {}, 0
        for name, shape in zip(spec.names, spec.shapes, strict=True):
            size = int(np.prod(shape))
            parts[name] = flat[start : start + size].reshape(shape)
            start += size
        return functional.cross_entropy(functional_call(double, parts, (inputs,)), targets)

    whole = hessian(loss, torch.from_numpy(checkpoint.theta.astype(np.float64))).numpy()
    kept = checkpoint.mask.kept
    return whole[np.ix_(kept, kept)]


def measured(model, checkpoint, **changes):
    options = {"eigenvalues": 4, "smallest": 2, "probes": 10, "steps": 30, **changes}
    return curvature(checkpoint, evaluator(model), CurvatureSettings(**options), AtOnce())


@pytest.mark.parametrize("make", [smooth, with_norm])
def test_a_small_network_is_solved_exactly(make):
    model, checkpoint = at(make().double())
    ds = measured(model, checkpoint)
    values = np.linalg.eigvalsh(written_out(model, checkpoint))[::-1]
    np.testing.assert_allclose(ds.eigenvalue.values[0], [*values[:4], *values[-2:]], atol=1e-12)
    assert ds.trace.item() == pytest.approx(values.sum(), rel=1e-10)
    assert ds.n_parameters.item() == len(values) < checkpoint.spec.size


def test_a_subset_of_the_examples():
    model, checkpoint = at(smooth().double())
    ds = measured(model, checkpoint, examples=15, seed=3)
    values = np.linalg.eigvalsh(written_out(model, checkpoint, subset(EXAMPLES, 15, 3)))
    assert ds.eigenvalue.sel(rank=1).item() == pytest.approx(values[-1], rel=1e-10)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_a_wider_network_by_products_alone(dtype, limit):
    model, checkpoint = at(smooth(60).to(dtype))
    ds = measured(model, checkpoint, tolerance=limit)
    values = np.linalg.eigvalsh(written_out(model, checkpoint))[::-1]
    assert len(values) > DENSE
    assert not ds.status.any()
    close = limit * values[0]
    np.testing.assert_allclose(ds.eigenvalue.values[0], [*values[:4], *values[-2:]], atol=close)
    assert (ds.residual <= close).all()
    assert abs(ds.trace.item() - values.sum()) <= 4 * ds.trace_se.item()
    assert ds.trace_se.item() < 0.2 * values.sum()
    x, density = ds.grid_eigenvalue.values[0], ds.spectral_density.values[0]
    steps = np.diff(x) * (density[1:] + density[:-1]) / 2
    assert steps.sum() == pytest.approx(1, abs=2e-3)
    cut = (values[3] + values[4]) / 2  # the four largest are a share of 4 / d, not of a probe
    assert steps[x[1:] > cut].sum() == pytest.approx(4 / len(values), rel=0.3)


def curvlinops_hessian(model, checkpoint):
    """The products of curvlinops, (columns) -> (columns), or a skip by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = pytest.importorskip(
            "curvlinops",
            reason="curvlinops is not installed; see CONTRIBUTING",
            exc_type=ImportError,
        )
        model = model.eval().requires_grad_(True)
        return oracle.HessianLinearOperator(
            model,
            nn.CrossEntropyLoss(reduction="mean"),
            list(model.parameters()),
            [data(next(model.parameters()).dtype)],
        )


@pytest.mark.parametrize("make", [smooth, with_norm])
def test_products_and_eigenvalues_are_those_of_curvlinops(make):
    model, checkpoint = at(make().double())
    oracle = curvlinops_hessian(model, checkpoint)
    subspace = Subspace.of(checkpoint)
    ours = MaskedHessian(evaluator(model), checkpoint.point, subspace)
    draws = np.random.default_rng(0).standard_normal((4, subspace.dims))
    whole = np.zeros((4, checkpoint.spec.size))
    whole[:, checkpoint.mask.kept] = draws
    theirs = (oracle @ torch.from_numpy(whole.T)).detach().numpy().T[:, checkpoint.mask.kept]
    np.testing.assert_allclose(ours.product(draws), theirs, rtol=1e-10, atol=1e-14)
    everything = (oracle @ torch.eye(checkpoint.spec.size, dtype=torch.float64)).detach().numpy()
    kept = checkpoint.mask.kept
    values = np.linalg.eigvalsh(everything[np.ix_(kept, kept)])
    ds = measured(model, checkpoint)
    assert ds.eigenvalue.sel(rank=1).item() == pytest.approx(values[-1], rel=1e-10)
    assert ds.eigenvalue.sel(rank=-1).item() == pytest.approx(values[0], rel=1e-8)
    assert ds.trace.item() == pytest.approx(values.sum(), rel=1e-10)
