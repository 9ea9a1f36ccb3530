"""Filters as functions of the plane, which can be turned by any angle.

A filter is ``psi(x) = sum_p w_p b_p(x)``, a combination of fixed functions b_p of the plane with
parameters w_p. The filter turned by g is ``psi(g^-1 x)``, so its taps are values of the functions
at ``g^-1 x``. A basis has to provide nothing but these values; `gconv_jax.filters.bank` does the
rest.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.lattice.hexagons import hexagon_mask
from gconv_jax.lattice.sampling import cubic_kernel, linear_kernel, tap_positions

# The defaults of `Harmonic`, in pixels and in periods around the circle.
SIGMA, OUTER_SIGMA = 0.6, 0.5
OUTER_INSET = 0.25
OUTER_FREQUENCY = 2


class FilterBasis(Protocol):
    """The interface of the argument ``filters`` of the convolutions.

    A basis must be hashable, as a frozen dataclass is.

    >>> import dataclasses
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from gconv_jax import cyclic, filter_bank
    >>> @dataclasses.dataclass(frozen=True)
    ... class Stripes:  # a Gaussian, and its two derivatives
    ...     sigma: float = 1.0
    ...
    ...     def __call__(self, points, kernel_size):
    ...         bell = np.exp(-(points**2).sum(-1) / (2 * self.sigma**2))
    ...         return np.stack([bell, bell * points[..., 0], bell * points[..., 1]], -1)
    >>> filter_bank(
    ...     jnp.ones((3, 1, 2)), group=cyclic(8), lifting=True, filters=Stripes(), kernel_size=7
    ... ).shape
    (7, 7, 1, 16)
    """

    def __call__(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        """Return the values of the functions at some points of the plane.

        Args:
            points: float64 ``[..., 2]``, row and column counted from the center of the filter, in
                pixels.
            kernel_size: the size of the filter in pixels, odd or even.

        Returns:
            ``[..., P]``: ``b_p(points)`` for p = 0 ... P - 1.
        """
        ...


_INTERPOLATION = {"bilinear": linear_kernel, "bicubic": cubic_kernel}


@dataclass(frozen=True)
class Interpolated:
    """A basis with one parameter for each tap in the disc, interpolated between the taps.

    The functions are ``b_t(x) = h(x_0 - t_0) h(x_1 - t_1)`` for each tap t with ``|t| <= k / 2``.
    They are 0 where ``|x| > k / 2``, since the corners of the square have nowhere to turn to. h is
    the kernel of bilinear interpolation, or the cubic of R. Keys (1981) with a = -1/2. The identity
    has the parameters themselves as its taps. Interpolation between pixels blurs; for finer
    rotations `Harmonic` is several times more accurate.

    Attributes:
        method: ``"bilinear"`` or ``"bicubic"``.

    >>> import numpy as np
    >>> from gconv_jax import Interpolated
    >>> taps = np.stack(np.indices((5, 5)), -1) - 2.0
    >>> Interpolated()(taps, 5).shape  # 21 of 25 taps are in the disc
    (5, 5, 21)
    """

    method: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self):
        if not isinstance(self.method, str) or self.method not in _INTERPOLATION:
            raise ValueError(
                f"`method` must be one of {', '.join(_INTERPOLATION)}, got {self.method!r}"
            )

    def __call__(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        taps = tap_positions(kernel_size)
        taps = taps[_in_disc(taps, kernel_size)]
        weights = _INTERPOLATION[self.method](points[..., None, :] - taps).prod(-1)
        return np.where(_in_disc(points, kernel_size)[..., None], weights, 0)


@dataclass(frozen=True)
class Harmonic:
    """Circular harmonics times rings: a basis of steerable filters.

    They are those of Weiler et al. 2018 (arXiv:1711.07289) and Weiler & Cesa 2019
    (arXiv:1911.08251). The functions are ``tau_j(|x|) cos(m phi)`` and ``tau_j(|x|) sin(m phi)``
    for m = 0 ... M_j, with Gaussian rings ``tau_j(r) = exp(-(r - mu_j)^2 / 2 sigma_j^2)``. A turned
    harmonic is a combination of the two with its m. So turning is exact up to the sampling on
    pixels and the square that cuts off the outermost ring. Each function has unit norm on the taps,
    so that variance-preserving initializers preserve the variance.

    Attributes:
        rings: the radii mu_j in pixels, up to half the size of the filter. By default there is one
            ring for each pixel from the center to the last tap on the axis: 0, 1 ... for odd sizes
            and 1/2, 3/2 ... for even ones. The outermost one lies `OUTER_INSET` further inside,
            since it would otherwise be cut off on the axes.
        sigma: the width of the rings in pixels, one number or one for each ring; by default
            `SIGMA`, and `OUTER_SIGMA` for the outermost.
        max_frequency: M_j for each ring, at most ``2 mu_j``, since the pixels of the ring resolve
            no more. By default it is ``2 mu_j`` rounded down, less 1 for even radii, where the sine
            of ``2 mu_j`` is 0 on axes and diagonals, and at most `OUTER_FREQUENCY` for the
            outermost. One integer lowers the default of all rings.

    >>> import numpy as np
    >>> from gconv_jax import Harmonic
    >>> taps = np.stack(np.indices((5, 5)), -1) - 2.0
    >>> Harmonic()(taps, 5).shape  # 1 + 5 + 5 harmonics on three rings
    (5, 5, 11)
    """

    rings: tuple[float, ...] | None = None
    sigma: float | tuple[float, ...] | None = None
    max_frequency: int | tuple[int, ...] | None = None

    def __post_init__(self):
        for name in ("rings", "sigma", "max_frequency"):
            value = getattr(self, name)
            if value is not None:
                # Tuples make the basis hashable, and equal to another with equal numbers.
                object.__setattr__(self, name, _numbers(name, value))
        if self.rings is not None and not isinstance(self.rings, tuple):
            raise ValueError(f"`rings` must be a sequence of radii in pixels, got {self.rings!r}")
        if self.rings is not None:
            self._with_defaults(self.rings, self.rings)

    def __call__(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        return self._functions(points, kernel_size) / _norms(self, kernel_size)

    def _functions(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        # Rows count downwards, angles counter-clockwise.
        z = points[..., 1] - 1j * points[..., 0]
        radius = np.abs(z)
        direction = np.divide(z, radius, where=radius > 0, out=np.zeros_like(z))
        functions = []
        for mu, sigma, last in self._layout(kernel_size):
            tau = np.exp(-((radius - mu) ** 2) / (2 * sigma**2))
            functions.append(tau)
            for m in range(1, last + 1):  # 0 in the center, which has no direction
                turned = direction**m
                functions += [tau * np.real(turned), tau * np.imag(turned)]
        return np.stack(functions, -1)

    def _layout(self, kernel_size: int) -> list[tuple[float, float, int]]:
        """Return ``(mu_j, sigma_j, M_j)`` for each ring."""
        if self.rings is not None:
            if max(self.rings) > kernel_size / 2:
                raise ValueError(
                    f"`rings` must be at most {kernel_size / 2} pixels, half the kernel_size "
                    f"{kernel_size}, got {self.rings}"
                )
            return self._with_defaults(self.rings, self.rings)
        nominal: list[float] = np.arange((kernel_size - 1) % 2 / 2, kernel_size / 2).tolist()
        inset = OUTER_INSET if len(nominal) > 1 else 0.0
        return self._with_defaults((*nominal[:-1], nominal[-1] - inset), tuple(nominal))

    def _with_defaults(
        self, rings: tuple[float, ...], nominal: tuple[float, ...]
    ) -> list[tuple[float, float, int]]:
        """Return the layout with default widths and frequencies where none are given."""
        outermost = len(rings) - 1
        sigma, last = self.sigma, self.max_frequency
        if sigma is None:
            sigma = (SIGMA,) * outermost + (OUTER_SIGMA if outermost else SIGMA,)
        elif not isinstance(sigma, tuple):
            sigma = (sigma,) * len(rings)
        if not isinstance(last, tuple):
            shown = [math.floor(2 * mu) - (mu > 0 and mu % 2 == 0) for mu in nominal]
            shown[-1] = min(shown[-1], OUTER_FREQUENCY)
            last = tuple(int(m) if last is None else min(int(m), last) for m in shown)
        for name, values in (("sigma", sigma), ("max_frequency", last)):
            if len(values) != len(rings):
                raise ValueError(
                    f"`{name}` must be one number, or one for each of the {len(rings)} rings, got "
                    f"{getattr(self, name)!r}"
                )
        for mu, m in zip(nominal, last, strict=True):
            if m > 2 * mu:
                raise ValueError(
                    f"`max_frequency` must be at most {math.floor(2 * mu)} on the ring of radius "
                    f"{mu:g}, whose pixels show no more, got {m} in {last}"
                )
        return list(zip(rings, sigma, last, strict=True))


Filters = Literal["pixel", "bilinear", "bicubic", "harmonic"] | FilterBasis
_BY_NAME: dict[str, FilterBasis | None] = {
    "pixel": None,
    "bilinear": Interpolated("bilinear"),
    "bicubic": Interpolated("bicubic"),
    "harmonic": Harmonic(),
}


def find_basis(filters: Filters, group: FiniteGroup) -> FilterBasis | None:
    """Return the basis that ``filters`` names, or None for pixels of a square lattice.

    Raises:
        TypeError, ValueError: ``filters`` is no basis, or no basis for the lattice of the group.
    """
    if group.is_hexagonal:
        if isinstance(filters, str) and filters == "pixel":
            return HexagonalTaps()
        raise ValueError(f"`filters` must be 'pixel' on a hexagonal lattice, got {filters!r}")
    if isinstance(filters, str):
        if filters not in _BY_NAME:
            raise ValueError(
                f"`filters` must be one of {', '.join(_BY_NAME)} or a FilterBasis, got {filters!r}"
            )
        return _BY_NAME[filters]
    if not callable(filters) or isinstance(filters, type):
        raise TypeError(
            f"`filters` must be one of {', '.join(_BY_NAME)} or a FilterBasis, a function of "
            f"(points, kernel_size), got {filters!r} of type {type(filters).__name__}"
        )
    try:
        hash(filters)
    except TypeError:
        raise TypeError(
            f"`filters` must be hashable, got {filters!r}; make it a frozen dataclass"
        ) from None
    return filters


def _numbers(name: str, value: Any) -> float | tuple[float, ...]:
    """Return an argument of `Harmonic` as a number or a tuple of numbers.

    They must be at least 0; those of ``max_frequency`` must be integers, those of ``sigma``
    positive.
    """
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    values: tuple[Any, ...] = tuple(value) if several else (value,)
    kind, what = (int, "integers") if name == "max_frequency" else (float, "numbers")
    allowed = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if not all(isinstance(v, allowed) and not isinstance(v, bool) for v in values):
        raise TypeError(f"`{name}` must be {what}, got {value!r}")
    positive = name == "sigma"
    if not values or not all(0 <= v < math.inf and (v or not positive) for v in values):
        least = "positive" if positive else "at least 0"
        raise ValueError(f"`{name}` must be finite and {least}, got {value!r}")
    values = tuple(map(kind, values))
    return values if several else values[0]


def evaluate(basis: FilterBasis, points: np.ndarray, kernel_size: int) -> np.ndarray:
    """Return ``basis(points, kernel_size)``, checked.

    TypeError or ValueError unless it is float64, finite and ``[*points.shape[:-1], P]``.
    """
    values = basis(points, kernel_size)
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        kind = f"{type(values).__name__} of {getattr(values, 'dtype', 'no dtype')}"
        raise TypeError(
            f"`filters` must compute with NumPy and return float64 numbers, got {kind} from "
            f"{basis!r}; use np in place of jnp"
        )
    if values.shape[:-1] != points.shape[:-1] or values.shape[-1] == 0:
        raise ValueError(
            f"`filters` must return [*points.shape[:-1], P], got shape {values.shape} for points "
            f"of shape {points.shape} from {basis!r}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"`filters` must return finite numbers, got others from {basis!r}")
    return values


@functools.cache
def _norms(basis: Harmonic, kernel_size: int) -> np.ndarray:
    """Return the norm of each function on the taps.

    The cosine and the sine of a frequency share one norm, or they would not turn into one another.
    """
    squares = (basis._functions(tap_positions(kernel_size), kernel_size) ** 2).sum((0, 1))
    first = 0
    for _, _, last in basis._layout(kernel_size):
        pairs = squares[first + 1 : first + 1 + 2 * last].reshape(-1, 2)
        pairs[:] = pairs.mean(-1, keepdims=True)
        first += 1 + 2 * last
    return np.sqrt(squares)


def _in_disc(points: np.ndarray, kernel_size: int) -> np.ndarray:
    # No tap lies on the rim: 4 |t|^2 is a sum of two squares of equal parity, never k^2.
    return (points**2).sum(-1) <= kernel_size**2 / 4


@dataclass(frozen=True)
class HexagonalTaps:
    """The basis of hexagonal lattices: one parameter for each tap of the hexagon, row by row."""

    def __call__(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        """Return 1 where a point is a tap, else 0: ``[..., P]``."""
        taps = np.argwhere(hexagon_mask(kernel_size)) - (kernel_size - 1) / 2
        return (np.abs(points[..., None, :] - taps).max(-1) < 0.5).astype(np.float64)
