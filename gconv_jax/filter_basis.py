"""Filters as functions of the plane, which can be turned by any angle.

A filter is ``psi(x) = sum_p w_p b_p(x)``, a combination of fixed functions b_p of the plane with
parameters w_p. Turned by g it is ``psi(g^-1 x)``: its taps are those of the functions, evaluated at
``g^-1 x``. That is all that a basis has to provide; the group and the gathers are in
`gconv_jax.filters`.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

# Of `Harmonic`, in pixels and in periods around the circle.
SIGMA, OUTER_SIGMA = 0.6, 0.4
OUTER_FREQUENCY = 2


class FilterBasis(Protocol):
    """What the argument ``filters`` of the convolutions takes. Must be hashable: a frozen
    dataclass, for instance.

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
        """The functions at some points of the plane.

        Args:
            points: ``[..., 2]``, row and column counted from the centre of the filter, in pixels,
                float64.
            kernel_size: of the filter, in pixels; odd or even.

        Returns:
            ``[..., P]``: ``b_p(points)`` for p = 0 ... P - 1.
        """
        ...


def _tent(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _keys(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), -0.5
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


_INTERPOLATION = {"bilinear": _tent, "bicubic": _keys}


@dataclass(frozen=True)
class Interpolated:
    """One parameter for each tap in the disc that fits into the filter; in between the filter is
    interpolated.

    ``b_t(x) = h(x_0 - t_0) h(x_1 - t_1)`` for each tap t with ``|t| <= k / 2``, and 0 where
    ``|x| > k / 2``, since the corners of the square have nowhere to turn to. h is the tent of
    bilinear interpolation, or the cubic of R. Keys (1981) with a = -1/2. The identity has the
    parameters themselves as its taps. Between pixels interpolation blurs; for finer rotations
    `Harmonic` is several times more accurate.

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
        if self.method not in _INTERPOLATION:
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
    """Circular harmonics times rings: the steerable filters of Weiler et al. 2018
    (arXiv:1711.07289) and Weiler & Cesa 2019 (arXiv:1911.08251).

    ``tau_j(|x|) cos(m phi)`` and ``tau_j(|x|) sin(m phi)`` with Gaussian rings
    ``tau_j(r) = exp(-(r - mu_j)^2 / 2 sigma_j^2)``, m = 0 ... M_j. A turned harmonic is a
    combination of the two of its m, so turning loses nothing but what sampling on pixels does; that
    is little, since a ring has no higher frequency than its pixels can show. Each function has
    unit norm on the taps, so that variance-preserving initialisers preserve the variance.

    Attributes:
        rings: radii mu_j in pixels; by default every pixel from the centre to the last tap on the
            axis: 0, 1 ... for odd sizes, 1/2, 3/2 ... for even ones.
        sigma: width of the rings in pixels, one or one for each; by default `SIGMA`, and
            `OUTER_SIGMA` for the outermost, which would otherwise be cut off by the square.
        max_frequency: M_j, one integer or one for each ring; by default ``2 mu_j``, rounded down,
            which is what its pixels can show, less 1 for even radii, where the sine of ``2 mu_j``
            is 0 on axes and diagonals, and at most `OUTER_FREQUENCY` for the outermost.

    >>> import numpy as np
    >>> from gconv_jax import Harmonic
    >>> taps = np.stack(np.indices((5, 5)), -1) - 2.0
    >>> Harmonic()(taps, 5).shape  # 1 + 5 + 5 harmonics on rings of radius 0, 1, 2
    (5, 5, 11)
    """

    rings: tuple[float, ...] | None = None
    sigma: float | tuple[float, ...] | None = None
    max_frequency: int | tuple[int, ...] | None = None

    def __post_init__(self):
        for name in ("rings", "sigma", "max_frequency"):
            value = getattr(self, name)
            if isinstance(value, Sequence | np.ndarray):
                object.__setattr__(self, name, tuple(value))  # hashable
        if self.rings is None:
            return
        if not isinstance(self.rings, tuple) or not self.rings or min(self.rings) < 0:
            raise ValueError(f"`rings` must be radii of at least 0 pixels, got {self.rings!r}")
        self._of_rings(self.rings)

    def __call__(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        return self._functions(points, kernel_size) / _norms(self, kernel_size)

    def _functions(self, points: np.ndarray, kernel_size: int) -> np.ndarray:
        rings = self.rings or _radii(kernel_size)
        sigma, max_frequency = self._of_rings(rings)
        # Rows count downwards, angles counter-clockwise.
        z = points[..., 1] - 1j * points[..., 0]
        radius = np.abs(z)
        direction = np.divide(z, radius, where=radius > 0, out=np.zeros_like(z))
        functions = []
        for mu, s, last in zip(rings, sigma, max_frequency, strict=True):
            tau = np.exp(-((radius - mu) ** 2) / (2 * s**2))
            functions.append(tau)
            for m in range(1, last + 1):  # 0 in the centre, which has no direction
                functions += [tau * (direction**m).real, tau * (direction**m).imag]
        return np.stack(functions, -1)

    def _of_rings(self, rings: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """``sigma`` and ``max_frequency`` for each ring."""
        outermost = len(rings) - 1
        sigma, last = self.sigma, self.max_frequency
        if sigma is None:
            sigma = (SIGMA,) * outermost + (OUTER_SIGMA if outermost else SIGMA,)
        if last is None:
            last = tuple(
                min(_shown(mu), OUTER_FREQUENCY if i == outermost else math.inf)
                for i, mu in enumerate(rings)
            )
        sigma = sigma if isinstance(sigma, tuple) else (sigma,) * len(rings)
        last = last if isinstance(last, tuple) else (last,) * len(rings)
        if len(sigma) != len(rings) or not all(s > 0 for s in sigma):
            raise ValueError(
                f"`sigma` must be positive, one for all {len(rings)} rings or one for each, got "
                f"{self.sigma!r}"
            )
        if len(last) != len(rings) or not all(isinstance(m, int) and m >= 0 for m in last):
            raise ValueError(
                f"`max_frequency` must be integers of at least 0, one for all {len(rings)} rings "
                f"or one for each, got {self.max_frequency!r}"
            )
        return sigma, last


Filters = Literal["pixel", "bilinear", "bicubic", "harmonic"] | FilterBasis
_BY_NAME: dict[str, FilterBasis | None] = {
    "pixel": None,
    "bilinear": Interpolated("bilinear"),
    "bicubic": Interpolated("bicubic"),
    "harmonic": Harmonic(),
}


def find_basis(filters: Filters) -> FilterBasis | None:
    """The basis that ``filters`` names, None for pixels; ValueError, TypeError for what is none."""
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


def tap_positions(kernel_size: int) -> np.ndarray:
    """``[k, k, 2]``: rows and columns of the taps, counted from the centre."""
    return np.stack(np.indices((kernel_size, kernel_size)), -1) - (kernel_size - 1) / 2


def evaluate(basis: FilterBasis, points: np.ndarray, kernel_size: int) -> np.ndarray:
    """``basis(points, kernel_size)``; ValueError unless that is ``[..., P]`` and finite."""
    values = np.asarray(basis(points, kernel_size))
    good = values.ndim == points.ndim and values.shape[:-1] == points.shape[:-1]
    if not good or values.shape[-1] == 0 or not np.isrealobj(values):
        raise ValueError(
            f"`filters` must return real numbers [*points.shape[:-1], P], got {values.dtype} of "
            f"shape {values.shape} for points of shape {points.shape} from {basis!r}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"`filters` must return finite numbers, got others from {basis!r}")
    return values.astype(np.float64)


def _shown(radius: float) -> int:
    """The largest frequency whose cosine and sine pixels can show on a ring."""
    even = radius > 0 and radius % 2 == 0
    return math.floor(2 * radius) - even


def _radii(kernel_size: int) -> tuple[float, ...]:
    return tuple(np.arange((kernel_size - 1) % 2 / 2, kernel_size / 2).tolist())


@functools.cache
def _norms(basis: Harmonic, kernel_size: int) -> np.ndarray:
    """Of each function on the taps; the same for the cosine and the sine of a frequency, or the
    two would no longer turn into one another."""
    squares = (basis._functions(tap_positions(kernel_size), kernel_size) ** 2).sum((0, 1))
    _, max_frequency = basis._of_rings(basis.rings or _radii(kernel_size))
    first = 0
    for last in max_frequency:
        pairs = squares[first + 1 : first + 1 + 2 * last].reshape(-1, 2)
        pairs[:] = pairs.mean(-1, keepdims=True)
        first += 1 + 2 * last
    return np.sqrt(squares)


def _in_disc(points: np.ndarray, kernel_size: int) -> np.ndarray:
    # No tap lies on the rim: 4 |t|^2 is a sum of two squares of equal parity, never k^2.
    return (points**2).sum(-1) <= kernel_size**2 / 4
