"""ResultSchema: what a kind of result holds, checked before it is saved or drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.data_store.errors import LandscapeError

if TYPE_CHECKING:
    import xarray as xr

FLOAT, TEXT, STATUS = "float64", "str", "int8"


@dataclass(frozen=True)
class Variable:
    """One variable or coordinate of a result.

    Parameters
    ----------
    dims
        Its dimensions, in order.
    units
        ``nats per example``, ``fraction``, ``count``, ``1`` …
    long_name
        What it is, as an axis label would say it.
    dtype
        ``float64``, ``str`` or ``int8`` (a status).
    flags
        For a status: what 0, 1, 2 … mean; 0 is always ``ok``.
    optional
        True if a result may lack it.
    """

    dims: tuple[str, ...]
    units: str
    long_name: str
    dtype: str = FLOAT
    flags: tuple[str, ...] = ()
    optional: bool = False

    def attributes(self) -> dict[str, Any]:
        """The attributes of the variable in the file, CF style."""
        attrs: dict[str, Any] = {"long_name": self.long_name, "units": self.units}
        if self.flags:
            attrs["flag_values"] = np.arange(len(self.flags), dtype=np.int8)
            attrs["flag_meanings"] = " ".join(self.flags)
        return attrs


@dataclass(frozen=True)
class ResultSchema:
    """Dimensions, coordinates and variables of one kind of result.

    Parameters
    ----------
    kind
        Name of the kind: a folder of the store and the name of its analysis.
    version
        ``(major, minor)``; part of every result's id.
    coordinates
        Coordinates by name; one named like its dimension labels that dimension.
    variables
        Data variables by name.
    samples
        Labels of each dimension in `example`.
    """

    kind: str
    version: tuple[int, int]
    coordinates: Mapping[str, Variable]
    variables: Mapping[str, Variable]
    samples: Mapping[str, Sequence[Any]]

    @property
    def dims(self) -> tuple[str, ...]:
        """All dimensions, in the order of first use."""
        return tuple(self.samples)

    def build(self, coords: Mapping[str, Any], variables: Mapping[str, Any]) -> xr.Dataset:
        """A validated dataset of plain arrays, with units and long names added.

        Raises `LandscapeError` as `validate` does.
        """
        import xarray as xr

        unknown = set(coords) - set(self.coordinates) | set(variables) - set(self.variables)
        if unknown:
            raise LandscapeError(f"a {self.kind} result has no variable {sorted(unknown)[0]!r}")
        ds = xr.Dataset(
            {k: _variable(self.variables[k], values) for k, values in variables.items()},
            {k: _variable(self.coordinates[k], values) for k, values in coords.items()},
        )
        self.validate(ds)
        return ds

    def validate(self, ds: xr.Dataset) -> None:
        """Raise `LandscapeError` at the first departure of `ds` from the schema."""
        for name, want in {**self.coordinates, **self.variables}.items():
            if name not in ds.variables:
                if want.optional:
                    continue
                raise LandscapeError(
                    f"a {self.kind} dataset needs {name!r} over {want.dims}; "
                    f"it has {', '.join(map(str, ds.variables)) or 'nothing'}"
                )
            self._check(name, want, ds[name])

    def _check(self, name: str, want: Variable, got: xr.DataArray) -> None:
        """Raise if one variable has other dims, dtype or units."""
        if got.dims != want.dims:
            raise LandscapeError(
                f"{name!r} of a {self.kind} dataset has dims {got.dims}; expected {want.dims}"
            )
        kind = "str" if got.dtype.kind in "UTO" else got.dtype.name
        if kind != want.dtype:
            raise LandscapeError(
                f"{name!r} of a {self.kind} dataset is {kind}; expected {want.dtype}"
            )
        if got.attrs.get("units") != want.units:
            raise LandscapeError(
                f"{name!r} of a {self.kind} dataset has units {got.attrs.get('units')!r}; "
                f"expected {want.units!r}"
            )

    def example(self) -> xr.Dataset:
        """A small made-up dataset of this schema: what a figure is tested with."""
        coords: dict[str, Any] = {}
        for name, variable in self.coordinates.items():
            if name in self.samples:
                coords[name] = list(self.samples[name])
            else:
                coords[name] = self._made_up(variable)
        return self.build(
            coords, {name: self._made_up(variable) for name, variable in self.variables.items()}
        )

    def _made_up(self, variable: Variable) -> Any:
        """Values of the right shape: a ramp in (0, 1), text, or status 0."""
        shape = tuple(len(self.samples[dim]) for dim in variable.dims)
        if variable.dtype == TEXT:
            return np.full(shape, "example")
        if variable.dtype == STATUS:
            return np.zeros(shape, dtype=np.int8)
        return np.linspace(0.9, 0.1, int(np.prod(shape))).reshape(shape)


def _variable(want: Variable, values: Any) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """xarray's (dims, values, attrs) in the declared dtype."""
    array = np.asarray(values)
    array = array.astype(np.str_) if want.dtype == TEXT else array.astype(want.dtype)
    return want.dims, array, want.attributes()
