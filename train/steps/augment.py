"""Scaling and augmentation of stored pixels to the network's input, in the compiled step."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gconv_jax import rotate

from ..data.mask_classes import IGNORED
from ..data.pixels import to_unit
from .turned_images import ground, rotation_matrix
from .turned_volumes import random_rotation, turned_at_random

JITTER = math.radians(math.pi)
SHIFT = 2.0


@dataclass(frozen=True)
class Prepare:
    """``(pixels - mean) / std``, then a random change if ``augment`` says so.

    ``jitter`` turns by an angle uniform in +-3.14 degrees and fills with 0 after scaling, i.e.
    with the mean gray, as the published code did; ``rotate`` turns by any angle and fills with
    the ground of the image (`train.steps.turned_images.ground`), and volumes by one of the 24
    rotations of the cube; ``shift-flip`` mirrors every other image and moves it (`shift`) by up to
    two pixels on each axis (Cohen & Welling 2016, arXiv:1602.07576, CIFAR10+).
    """

    mean: float
    std: float
    augment: str = "none"

    def __call__(self, image: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """``[N, H, W, C]``, or volumes ``[N, D, H, W, C]``, to the same in float32; without
        ``keys`` (one each) no augmentation."""
        image = (to_unit(image) - self.mean) / self.std
        if keys is None or self.augment == "none":
            return image
        if image.ndim == 5:
            return jax.vmap(turned_at_random)(image, keys)
        if self.augment == "shift-flip":
            return jax.vmap(_shift_flip)(image, keys)
        jitter = self.augment == "jitter"
        fill = jnp.zeros((len(image), 1, 1, 1)) if jitter else ground(image)
        turn = jax.vmap(lambda x, angle, fill: rotate(x, angle, fill=fill))
        return turn(image, self._angles(keys), fill)

    def mask(self, mask: jax.Array, keys: jax.Array) -> jax.Array:
        """Move masks ``[N, *spatial]`` as their images are moved with the same keys: each pixel has
        the class of the nearest one, and `IGNORED` where the image has none."""
        if self.augment == "none":
            return mask
        if mask.ndim == 4:
            return jax.vmap(turned_at_random)(mask[..., None], keys)[..., 0]
        if self.augment == "shift-flip":
            return jax.vmap(_shift_flip_mask)(mask, keys)
        return jax.vmap(rotate_mask)(mask, self._angles(keys))

    def matrices(self, keys: jax.Array, dimension: int) -> jax.Array:
        """Return how vectors are turned while images, or volumes, are moved with the same keys:
        ``[N, d, d]`` on the axes of the array."""
        if self.augment == "none":
            return jnp.broadcast_to(jnp.eye(dimension), (len(keys), dimension, dimension))
        if dimension == 3:
            return jax.vmap(random_rotation)(keys)
        if self.augment == "shift-flip":
            flipped, _ = jax.vmap(_flip_and_offset)(keys)
            return jnp.where(flipped[:, None, None], jnp.diag(jnp.array([1.0, -1.0])), jnp.eye(2))
        return rotation_matrix(self._angles(keys))

    def _angles(self, keys: jax.Array) -> jax.Array:
        largest = JITTER if self.augment == "jitter" else jnp.pi
        return jax.vmap(lambda key: jax.random.uniform(key, (), minval=-largest, maxval=largest))(
            keys
        )


def rotate_mask(mask: jax.Array, angle: jax.Array | float) -> jax.Array:
    """Turn a mask ``[H, W]`` about its center as `gconv_jax.rotate` turns an image, each pixel to
    the class of the nearest one; `IGNORED` comes from outside."""
    height, width = mask.shape
    rows = jnp.arange(height)[:, None] - (height - 1) / 2
    columns = jnp.arange(width)[None, :] - (width - 1) / 2
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    row = jnp.rint(cos * rows + sin * columns + (height - 1) / 2).astype(jnp.int32)
    column = jnp.rint(cos * columns - sin * rows + (width - 1) / 2).astype(jnp.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(inside, mask[row, column], jnp.asarray(IGNORED, mask.dtype))


def shift(image: jax.Array, offset: jax.Array) -> jax.Array:
    """Move an image by a fraction of pixels, with cubic convolution; mirrored at its borders.

    ``y(p) = x(p - offset)``, with Keys' kernel (1981, doi:10.1109/TASSP.1981.1163711): exact for
    whole pixels and for polynomials of the second degree.

    Args:
        image: ``[H, W, C]``, more than two pixels wide.
        offset: ``[2]`` in pixels, down and to the right.
    """
    rows, columns = (_shift_matrix(n, d) for n, d in zip(image.shape[:2], offset, strict=True))
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("ah,hwc,bw->abc", rows, image, columns, precision=exact)


def _shift_matrix(n: int, offset: jax.Array) -> jax.Array:
    """``[n, n]``: what each pixel of the moved line takes from those of the line."""
    place = jnp.arange(n) - offset
    first = jnp.floor(place).astype(jnp.int32) - 1
    matrix = jnp.zeros((n, n), offset.dtype)
    for tap in range(4):
        source = first + tap
        distance = jnp.abs(place - source)
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = jnp.where(distance < 1, near, far)
        matrix = matrix.at[jnp.arange(n), _mirrored(source, n)].add(weight)
    return matrix


def _mirrored(source: jax.Array, n: int) -> jax.Array:
    """``... 1 0 | 0 1 ... n-1 | n-1 n-2 ...``"""
    source = jnp.where(source < 0, -1 - source, source) % (2 * n)
    return jnp.where(source >= n, 2 * n - 1 - source, source)


def _shift_flip(image: jax.Array, key: jax.Array) -> jax.Array:
    flipped, offset = _flip_and_offset(key)
    return shift(jnp.where(flipped, image[:, ::-1], image), offset)


def _shift_flip_mask(mask: jax.Array, key: jax.Array) -> jax.Array:
    flipped, offset = _flip_and_offset(key)
    mask = jnp.where(flipped, mask[:, ::-1], mask)
    rows, columns = (
        _mirrored(jnp.rint(jnp.arange(n) - d).astype(jnp.int32), n)
        for n, d in zip(mask.shape, offset, strict=True)
    )
    return mask[rows][:, columns]


def _flip_and_offset(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    flip_key, shift_key = jax.random.split(key)
    offset = jax.random.uniform(shift_key, (2,), minval=-SHIFT, maxval=SHIFT)
    return jax.random.bernoulli(flip_key), offset
