"""Rotate small images by any angle in integer arithmetic: the same bytes on every machine."""

import numpy as np

# Cosine and sine are rounded to multiples of 2**-20. For a 28x28 image this moves a sample point by
# at most 2e-5 pixel, which changes a gray value by less than 0.01 before it is rounded.
_TRIG_BITS = 20
# Sample points are counted in half pixels (the center of an image of even size lies between two
# pixels), so a pixel has one bit more.
_PIXEL_BITS = _TRIG_BITS + 1
_PIXEL = 1 << _PIXEL_BITS
# The image is padded with two pixels of zeros: a sample point outside is moved to the nearest place
# where all four neighbors are zero.
_PAD = 2
# Intermediate arrays of about a megabyte of int64 are faster than the whole set at once.
_CHUNK = 128


def rotate_images(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    r"""Rotate each image about its center, with bilinear interpolation and zeros outside.

    Rows $v$ count downwards from the center, columns $u$ to the right. The value of the result at
    $(u, v)$ is the input interpolated at

    $$(u \cos\theta - v \sin\theta,\; u \sin\theta + v \cos\theta),$$

    a counter-clockwise turn by $\theta$ as the image is displayed, the direction of `numpy.rot90`.
    The canvas keeps its size. A value is rounded to the nearest integer, halves upwards.

    Only the cosine and sine are computed in floating point (float64, then rounded to a multiple of
    2**-20); all else is int64. A quarter turn of a square image is therefore exactly `numpy.rot90`.

    Args:
        images: the images, uint8 ``[N, H, W, C]``.
        angles: the angles in radians, ``[N]``, finite.

    Returns:
        The rotated images, uint8 ``[N, H, W, C]``.

    Raises:
        TypeError: ``images`` is not uint8.
        ValueError: a shape is wrong, or an angle is not finite.

    Example:

        >>> import numpy as np
        >>> image = np.array([[1, 2], [3, 4]], np.uint8)
        >>> rotate_images(image.reshape(1, 2, 2, 1), np.array([np.pi / 2]))[0, :, :, 0]
        array([[2, 4],
               [1, 3]], dtype=uint8)
    """
    images, angles = np.asarray(images), np.asarray(angles, np.float64)
    if images.dtype != np.uint8:
        raise TypeError(f"`images` must be uint8, got {images.dtype}")
    if images.ndim != 4:
        raise ValueError(f"`images` must have shape [N, H, W, C], got {images.shape}")
    if angles.shape != images.shape[:1]:
        raise ValueError(
            f"`angles` must have one angle for each image, shape {images.shape[:1]}, "
            f"got {angles.shape}"
        )
    if not np.isfinite(angles).all():
        raise ValueError("`angles` must be finite, got nan or inf")
    result = np.empty_like(images)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = _rotate_chunk(images[part], angles[part])
    return result


def _rotate_chunk(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    n, height, width, channels = images.shape
    cos = np.rint(np.cos(angles) * (1 << _TRIG_BITS)).astype(np.int64)[:, None, None]
    sin = np.rint(np.sin(angles) * (1 << _TRIG_BITS)).astype(np.int64)[:, None, None]
    # Twice the distance from the center: an integer for even and odd sizes.
    u = 2 * np.arange(width, dtype=np.int64) - (width - 1)
    v = (2 * np.arange(height, dtype=np.int64) - (height - 1))[:, None]
    column = u * cos - v * sin + ((width - 1) << _TRIG_BITS)
    row = u * sin + v * cos + ((height - 1) << _TRIG_BITS)

    # The shift rounds down, also below zero, so the remainder is in [0, _PIXEL).
    left, column_part = column >> _PIXEL_BITS, column & (_PIXEL - 1)
    upper, row_part = row >> _PIXEL_BITS, row & (_PIXEL - 1)
    left = np.clip(left, -_PAD, width) + _PAD
    upper = np.clip(upper, -_PAD, height) + _PAD

    padded = np.pad(images, ((0, 0), (_PAD, _PAD), (_PAD, _PAD), (0, 0)))
    stride = width + 2 * _PAD
    flat = padded.reshape(n, -1, channels)
    corner = (upper * stride + left).reshape(n, -1)

    def value(offset: int) -> np.ndarray:
        taken = np.take_along_axis(flat, (corner + offset)[:, :, None], axis=1)
        return taken.reshape(images.shape).astype(np.int64)

    column_part, row_part = column_part[..., None], row_part[..., None]
    top = value(0) * (_PIXEL - column_part) + value(1) * column_part
    bottom = value(stride) * (_PIXEL - column_part) + value(stride + 1) * column_part
    total = top * (_PIXEL - row_part) + bottom * row_part  # the values stay below 2**50
    half = 1 << (2 * _PIXEL_BITS - 1)
    return ((total + half) >> (2 * _PIXEL_BITS)).astype(np.uint8)
