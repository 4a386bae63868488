"""Known volumes beside what every estimator makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from landscape.analysis.volume.bowls import Bowl, Rotation, log_uniform_spectrum, network_spectrum
from landscape.analysis.volume.estimators import ESTIMATORS
from landscape.analysis.volume.volume import VolumeSettings, volume
from landscape.data_store.mask import Mask
from landscape.data_store.params import ParamSpec
from landscape.data_store.records import Checkpoint
from landscape.data_store.schemas.volume import STATUSES

CUTOFF = 0.1
_SPECTRA = {"log-uniform": log_uniform_spectrum, "network": network_spectrum}


@dataclass(frozen=True)
class Case:
    """A bowl of the table.

    Parameters
    ----------
    dims
        Its dimension n.
    spectrum
        ``log-uniform`` on [1, 100], or like a ``network``'s.
    orientation
        ``axes`` or ``rotated``.
    bend
        Strength of the bend against the cutoff: 0 for a quadratic bowl.
    """

    dims: int
    spectrum: str
    orientation: str
    bend: float = 0.0

    def __str__(self) -> str:
        shape = f"bend {self.bend:g}" if self.bend else "quadratic"
        return f"{self.dims} {self.spectrum} {self.orientation} {shape}"

    def bowl(self, seed: int) -> Bowl:
        """The landscape of a seed."""
        return Bowl(
            _SPECTRA[self.spectrum](self.dims, seed),
            np.random.default_rng([seed, self.dims, 1]).standard_normal(self.dims),
            Rotation.random(self.dims, seed) if self.orientation == "rotated" else None,
            self.bend / CUTOFF,
            self.dims // 2,
        )


CASES = (
    *(
        Case(dims, "log-uniform", orientation)
        for dims in (20, 100, 1000, 10_000)
        for orientation in ("axes", "rotated")
    ),
    *(Case(dims, "network", "rotated") for dims in (100, 1000, 10_000)),
    *(Case(dims, "log-uniform", "rotated", bend=0.3) for dims in (20, 100, 1000)),
)


def checkpoint_at(bowl: Bowl) -> Checkpoint:
    """A dense checkpoint at the bowl's lowest point."""
    spec = ParamSpec(("w",), ((1, len(bowl.centre)),), "float64")
    return Checkpoint(spec, bowl.centre, Mask.dense(spec, ("w",)), address="bowl")


def self_test(
    cases: tuple[Case, ...] = CASES, seed: int = 0, *, rays: int = 3000, probes: int | None = None
) -> xr.Dataset:
    """Every estimator on every case, and the truth.

    Parameters
    ----------
    cases
        The bowls.
    seed
        Of bowls, rays and probes.
    rays
        Rays of ``monte-carlo``, as the literature takes them, and of ``diagonal``.
    probes
        Probes of ``hessian`` and ``laplace``; 256, or 64 from n = 10 000, unless given.

    Returns
    -------
    xarray.Dataset
        Over (bowl, estimator): ``error`` (estimate minus truth, per dimension), ``error_se``
        (its standard error by the estimator), ``effective_sample_size``, ``verdict``. Over
        bowl: ``truth`` (log volume per dimension) and ``n_parameters``. A correct estimator is
        within two of its standard errors or says that it is not.

    Cost: one to two minutes on one core.
    """
    rows = []
    for case in cases:
        bowl = case.bowl(seed)
        settings = VolumeSettings(
            estimators=ESTIMATORS,
            normalization="isotropic",
            cutoff=CUTOFF,
            rays=rays,
            probes=probes or (256 if case.dims < 10_000 else 64),
            seed=seed,
            max_radius=1e4,
        )
        found = volume(checkpoint_at(bowl), bowl, settings).isel(checkpoint=0)
        truth = bowl.log_volume(CUTOFF) / case.dims
        rows.append((case, truth, found))
    table = {
        "error": np.array([f["log_volume_per_dimension"].values - t for _, t, f in rows]),
        "error_se": np.array([f["log_volume_per_dimension_se"].values for *_, f in rows]),
        "effective_sample_size": np.array([f["effective_sample_size"].values for *_, f in rows]),
        "verdict": np.array([[STATUSES[i] for i in f["status"].values] for *_, f in rows]),
    }
    both = ("bowl", "estimator")
    return xr.Dataset(
        {
            "n_parameters": ("bowl", [case.dims for case in cases]),
            "truth": ("bowl", [truth for _, truth, _ in rows], {"units": "nats"}),
            **{name: (both, values) for name, values in table.items()},
        },
        {"bowl": [str(case) for case in cases], "estimator": list(ESTIMATORS)},
    )
