"""Channels of an image as numbers and components of vectors, which turn with space.

A rotation of a photograph moves its pixels. A rotation of a picture of wind moves the arrows and
turns each of them as well. `Fields` says which channels are arrows. The action of g on an image
with such channels is ``[L_g f](p) = rho(g) f(g^-1 p)``, with one matrix rho(g) for each element.
"""

import functools
from dataclasses import astuple, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import check_integer
from gconv_jax.ops.frozen import freeze_array


@dataclass(frozen=True)
class Fields:
    """The fields that the channels of an image are the components of, in this order.

    The components of a vector are adjacent channels. They are along the spatial axes of the array,
    in the order of the axes: in the plane the first one points to larger rows, that is down, and
    the second one to larger columns, that is right. Of a vector v in data with x to the right and
    y up, pass ``(-v_y, v_x)``.

    Args:
        scalars: numbers that stay as they are when space turns: pressure, temperature, a color.
        pseudoscalars: numbers that change their sign in a mirror: the vorticity in the plane.
        vectors: one component for each spatial axis: velocity, force, a gradient.
        pseudovectors: vectors that change their sign in a mirror in addition, such as the
            vorticity in space.

    >>> from gconv_jax import P4, Fields
    >>> flow = Fields(scalars=1, vectors=1)  # pressure and velocity
    >>> flow.channels(P4)
    3
    >>> flow.matrices(P4)[1]  # of a quarter turn
    array([[ 1.,  0.,  0.],
           [ 0.,  0., -1.],
           [ 0.,  1.,  0.]])
    """

    scalars: int = 0
    pseudoscalars: int = 0
    vectors: int = 0
    pseudovectors: int = 0

    def __post_init__(self):
        for name, count in vars(self).items():
            check_integer(name, count, least=0)
        if not any(astuple(self)):
            raise ValueError("`Fields` must have a field, got none: say Fields(vectors=1)")

    def channels(self, group: FiniteGroup) -> int:
        """Return the number of channels of an image with these fields, in a group's space."""
        return self._channels(check_group(group).dimension)

    def matrices(self, group: FiniteGroup) -> np.ndarray:
        """Return rho(g) for every element: orthogonal, float64 ``[|G|, C, C]``, read-only.

        ValueError for groups of a hexagonal lattice, whose axes are not at right angles.
        """
        return _matrices(self, check_group(group))

    def turn(self, x: jax.Array, isometry: np.ndarray) -> jax.Array:
        """Return ``rho(g) x(p)``: the vectors are turned, and the pixels stay where they are.

        Args:
            x: images ``[..., C]``.
            isometry: the matrix ``[d, d]`` of g on array indices, such as `FiniteGroup.matrices`.

        Returns:
            ``[..., C]`` of the same dtype.

        Raises:
            ValueError: the channels are not those of these fields, or they are integers and the
                matrix is not of integers.
        """
        self.check_channels(len(isometry), x.shape[-1], "C")
        return multiply("ji,...i->...j", _blocks(self, isometry[None])[0], x)

    def check_channels(self, dimension: int, channels: int, name: str) -> None:
        """Raise ValueError unless so many channels hold these fields; ``name`` is theirs."""
        if channels != self._channels(dimension):
            raise ValueError(
                f"`{name}` must be {self._channels(dimension)}, the channels of {self!r} in "
                f"{dimension} dimensions, got {channels}"
            )

    def _channels(self, dimension: int) -> int:
        return self.scalars + self.pseudoscalars + dimension * (self.vectors + self.pseudovectors)


def multiply(axes: str, rho: np.ndarray, a: jax.Array) -> jax.Array:
    """Return ``jnp.einsum(axes, rho, a)`` in the dtype of ``a``.

    ValueError for integers whose type has no such products: vectors between the axes, or negative
    ones.
    """
    dtype = a.dtype
    if jnp.issubdtype(dtype, jnp.inexact):
        dtype = accumulation_dtype(dtype)
    elif (rho != np.round(rho)).any() or (
        not jnp.issubdtype(dtype, jnp.signedinteger) and (rho < 0).any()
    ):
        raise ValueError(f"`dtype` must be floating for vectors that turn so, got {dtype}")
    product = jnp.einsum(
        axes, jnp.asarray(rho, dtype), a.astype(dtype), precision=lax.Precision.HIGHEST
    )
    return product.astype(a.dtype)


def check_fields(fields: Any, group: FiniteGroup, channels: int, name: str = "C") -> "Fields":
    """Return ``fields``.

    Args:
        fields: what the user gave.
        group: G.
        channels: the channels that are to be these fields.
        name: the name of the channels, for messages.

    Raises:
        TypeError: it is not a `Fields`.
        ValueError: the channels are not those of the fields, or the lattice is hexagonal.
    """
    require_fields(fields).matrices(group)
    fields.check_channels(group.dimension, channels, name)
    return fields


def require_fields(fields: Any) -> Fields:
    """Return ``fields``; TypeError if it is not a `Fields`."""
    if not isinstance(fields, Fields):
        raise TypeError(
            f"`fields` must be a Fields, such as Fields(scalars=1, vectors=1), got {fields!r} of "
            f"type {type(fields).__name__}"
        )
    return fields


def check_layer_fields(
    fields: Any, group: FiniteGroup, channels: int, *, lifting: bool
) -> Fields | None:
    """Return the fields that the input channels of a layer are, as `check_fields`, or None.

    ValueError if the layer is not a lifting one.
    """
    if fields is None:
        return None
    if not lifting:
        raise ValueError(
            "`fields` must be None for a layer between feature maps, whose channels are numbers: "
            "LiftConv takes vectors"
        )
    return check_fields(fields, group, channels, "in_features")


@functools.cache
def _matrices(fields: Fields, group: FiniteGroup) -> np.ndarray:
    if group.is_hexagonal:
        raise ValueError(
            f"`fields` must be None for {group!r}: the axes of a hexagonal lattice are not at "
            "right angles, and vectors on it are not supported"
        )
    return freeze_array(_blocks(fields, group.matrices))


def _blocks(fields: Fields, isometries: np.ndarray) -> np.ndarray:
    """Return the representation of isometries ``[n, d, d]``: float64 ``[n, C, C]``."""
    signs = np.round(np.linalg.det(isometries)).reshape(-1, 1, 1)
    blocks = [
        *fields.scalars * [np.ones_like(signs)],
        *fields.pseudoscalars * [signs],
        *fields.vectors * [isometries],
        *fields.pseudovectors * [signs * isometries],
    ]
    size = sum(block.shape[-1] for block in blocks)
    matrices, start = np.zeros((len(isometries), size, size)), 0
    for block in blocks:
        end = start + block.shape[-1]
        matrices[:, start:end, start:end] = block
        start = end
    return matrices
