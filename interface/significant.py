"""Significant digits: how a quantity and its uncertainty are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from landscape.sheet import Quantity

DASH = "–"
_DIGITS = 4
_LARGE, _SMALL = 1e6, 1e-3


@dataclass(frozen=True)
class Written:
    """The digits of a quantity.

    Parameters
    ----------
    value
        Of the number, times ten to the `exponent`.
    error
        Of its error, empty if there is none.
    ends
        Of the least and the greatest, None if they are unknown.
    exponent
        0 where the number is written out.
    """

    value: str
    error: str = ""
    ends: tuple[str, str] | None = None
    exponent: int = 0


def decimals(error: float) -> int:
    """Decimal places that an error above 0 and its value are written with.

    Of the three leading digits of the error, 100 to 354 keep two and 355 to 949 one; from 950 it
    is rounded up to the next power of ten and keeps two. Negative: places before the point.

    Source: Particle Data Group (2022), Review of Particle Physics, introduction, 5.3.

    >>> [decimals(error) for error in (0.119, 0.367, 0.967, 41.0, 2800.0)]
    [2, 1, 1, -1, -2]
    """
    exponent = math.floor(math.log10(error))
    leading = round(error / 10.0 ** (exponent - 2))
    return 1 - exponent if leading < 355 else -exponent


def written(quantity: Quantity, units: str) -> Written | None:
    """The digits of a quantity; None if its value is unknown.

    An uncertainty decides how many; without one they are 4, or 2 after the point of a percentage.
    What is above a million or below a thousandth is written with an exponent, counts are not.

    Parameters
    ----------
    quantity
        In `units`.
    units
        As a schema has them; fractions are written in percent.

    >>> written(Quantity(0.98123, 0.00119), "fraction")
    Written(value='98.12', error='0.12', ends=None, exponent=0)
    """
    scale = 100.0 if units == "fraction" else 1.0
    value, error = scale * quantity.value, scale * quantity.error
    low, high = scale * quantity.low, scale * quantity.high
    if math.isnan(value):
        return None
    if math.isinf(value):
        return Written("∞" if value > 0 else "-∞")
    has_ends = math.isfinite(low) and math.isfinite(high)
    spread = (high - low) / 2 if has_ends else error if math.isfinite(error) else 0.0
    exponent = _exponent(max(abs(value), spread), units)
    shift = 10.0**-exponent
    places = decimals(spread * shift) if spread > 0 else _places(value * shift, units)
    ends = (_fixed(low * shift, places), _fixed(high * shift, places)) if has_ends else None
    shown = _error(error * shift, places) if math.isfinite(error) and not has_ends else ""
    return Written(_fixed(value * shift, places), shown, ends, exponent)


def plain(quantity: Quantity, units: str) -> str:
    """A quantity as text: ``98.12 ± 0.12``, ``98.1 (97.9–98.3)``, ``(1.20 ± 0.11)e-05``.

    >>> plain(Quantity(0.981, low=0.9792, high=0.9831), "fraction")
    '98.10 (97.92–98.31)'
    """
    digits = written(quantity, units)
    if digits is None:
        return DASH
    power = f"e{digits.exponent:+03d}" if digits.exponent else ""
    if digits.ends:
        return f"{digits.value}{power} ({digits.ends[0]}{power}–{digits.ends[1]}{power})"
    if digits.error:
        both = f"{digits.value} ± {digits.error}"
        return f"({both}){power}" if power else both
    return f"{digits.value}{power}"


def tex(quantity: Quantity, units: str) -> str:
    r"""The same as mathematics of LaTeX.

    >>> print(tex(Quantity(1.2e-5, 1.1e-6), "1"))
    $(1.20 \pm 0.11) \times 10^{-5}$
    """
    digits = written(quantity, units)
    if digits is None:
        return "--"
    value = digits.value.replace("∞", r"\infty")
    power = rf" \times 10^{{{digits.exponent}}}" if digits.exponent else ""
    if digits.ends:
        low, high = digits.ends
        return rf"${value}{power}$ (${low}{power}$ to ${high}{power}$)"
    if digits.error:
        both = rf"{value} \pm {digits.error}"
        return f"$({both}){power}$" if power else f"${both}$"
    return f"${value}{power}$"


def exact(value: float) -> str:
    """A number with all its digits, nothing for NaN; whole ones without a point.

    >>> exact(0.1), exact(3.0), exact(float("nan"))
    ('0.1', '3', '')
    """
    if math.isnan(value):
        return ""
    return repr(value).removesuffix(".0")


def _exponent(magnitude: float, units: str) -> int:
    """The power of ten a quantity is written with."""
    if units in ("count", "fraction") or not magnitude or _SMALL <= magnitude < _LARGE:
        return 0
    return math.floor(math.log10(magnitude))


def _places(value: float, units: str) -> int:
    """Decimal places of a number of which no uncertainty is known."""
    order = math.floor(math.log10(abs(value))) if value else 0
    if units == "fraction":
        return max(2, 1 - order)
    short = f"{value:.{_DIGITS}g}"
    if "e" in short or (units == "count" and value == round(value)):
        return 0
    return len(short.partition(".")[2])


def _fixed(value: float, places: int) -> str:
    """A number with so many decimal places, without a sign before zero."""
    rounded = round(value, places) + 0.0
    text = f"{rounded:.{max(places, 0)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _error(error: float, places: int) -> str:
    """An error; exactly none is ``0``."""
    return _fixed(error, places) if error else "0"
