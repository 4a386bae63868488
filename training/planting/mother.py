"""Mother networks: initial weights in which a ticket of scaled parameters can exist.

>>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
>>> draw_scaled(network, "scaled-normal", torch.Generator().manual_seed(0))
>>> bool(network[0].bias.count_nonzero() == 3)
True
"""

from __future__ import annotations

import math

import torch
from torch import nn

from landscape.data_store.errors import unknown

SCHEMES = ("scaled-normal", "scaled-uniform")
_CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d
# Where the product of scales begins if the network has convolutions: the constant of the
# authors' VGG code (RelationalML/PlantNSeek, edgepopup_vgg/initializers.py).
_CONVOLUTIONAL_START = 0.06


def draw_scaled(model: nn.Module, scheme: str, draws: torch.Generator) -> None:
    """Draw weights and biases in place, with biases as small as the layer's outputs.

    With fan-in n_l and s_0 = 1 (0.06 if the network has convolutions), for the linear and
    convolution layers l = 1, 2, … in the order of registration:

    - ``scaled-normal``: w ~ N(0, 2 / n_l), b ~ N(0, s_l²), s_l = s_{l-1} · sqrt(2 / n_l);
    - ``scaled-uniform``: w ~ U[-σ_l, σ_l], b ~ U[-s_l, s_l], s_l = s_{l-1} · σ_l, with
      σ_l = sqrt(6 / n_l), so that the weights have the variance 2 / n_l of the other scheme.

    If the parameters of a ticket are in reach of such weights, it exists with all outputs scaled.

    Parameters
    ----------
    model
        The network; normalisation and other parameters stay as they are. A layer without bias
        counts in the product.
    scheme
        ``scaled-normal`` or ``scaled-uniform``.
    draws
        A CPU generator; each layer draws its weight, then its bias.

    Raises
    ------
    UsageError
        For another scheme.

    Notes
    -----
    Fischer & Burkholz (2022), Theorem 2 (uniform; it leaves σ_l free) and ``init_He_scaled`` of
    their code (normal).
    """
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | _CONVOLUTIONS)]
    scale = _CONVOLUTIONAL_START if any(isinstance(m, _CONVOLUTIONS) for m in layers) else 1.0
    for layer in layers:
        fan_in = layer.weight[0].numel()
        sigma = math.sqrt((2 if scheme == "scaled-normal" else 6) / fan_in)
        scale *= sigma
        for tensor, spread in ((layer.weight, sigma), (layer.bias, scale)):
            if tensor is None:
                continue
            if scheme == "scaled-normal":
                nn.init.normal_(tensor, 0.0, spread, generator=draws)
            else:
                nn.init.uniform_(tensor, -spread, spread, generator=draws)
