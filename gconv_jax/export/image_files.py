"""Image files of every kind to the pixels that a network was trained on.

This needs Pillow and NumPy alone, and tifffile for TIFF files that Pillow does not read whole.
``python -m train export`` writes a copy of it beside each network, with those of `brightness` and
`image_decoders`, as ``read_image.py``: another program then reads images as the network knows them.
Files are not trusted: the error names a damaged one, whatever its decoder raises.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from gconv_jax.export.brightness import eight_bits, limits
from gconv_jax.export.image_decoders import MOST_CHANNELS, opened

Shape = tuple[int, int, int]
INKS = ("auto", "light", "dark")
DEPTHS = ("any", "8", "deeper")


def read_image(
    path: str | os.PathLike | np.ndarray,
    size: Shape,
    ink: str = "auto",
    *,
    range: str | Sequence[float] | None = None,
    depth: str = "any",
    ground: str | None = None,
) -> np.ndarray:
    """Return the pixels of an image file for a network: uint8 ``[H, W, C]``, upright.

    The image is scaled to fit, without distortion, and centered on the median of its border. If it
    has several frames, the first is read. Pixels that are not finite become 0, or 255 for ``inf``.

    Args:
        path: a file in any format of Pillow's but PostScript, or FITS, or NumPy's ``.npy`` with
            ``[H, W]`` or ``[H, W, C]``; or such an array.
        size: ``(H, W, C)``; with one channel the image becomes gray, with three RGB. With another
            number the channels of the file are taken as they are, and must be as many.
        ink: ``"light"`` leaves an image as it is, ``"dark"`` inverts it, and ``"auto"`` inverts
            gray ones with a light border, so that strokes are light on dark ground.
        range: the brightness in the file that becomes 0 and the one that becomes 255, the same for
            all channels; ``"each"`` takes them from the image itself (`limits`). By default 8 bits
            stay as they are, and others are scaled by the full range of 8 or 16 bits.
        depth: ``"8"`` refuses files of more than 8 bits a channel, ``"deeper"`` those of 8.
        ground: ``"black"`` or ``"white"``, on which transparent images are put; by default what is
            in contrast to each.

    Raises:
        ValueError: the file cannot be read, which the message names, or an argument is not one of
            those allowed.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "wide.png"
    ...     Image.new("L", (40, 20), 200).save(path)
    ...     pixels = read_image(path, (28, 28, 1), ink="light")
    >>> pixels.shape, int(pixels.min())
    ((28, 28, 1), 200)
    """
    _check(size, ink, range, depth, ground)
    height, width, channels = size
    try:
        with opened(path, channels) as file:
            _require_depth(file.deep, depth)
            values, alpha = file.read(2 * max(height, width))
        if range == "each":
            range = limits(visible(values, alpha))
        pixels = _with_channels(on_ground(eight_bits(values, range), alpha, ground), channels)
    except FileNotFoundError:
        raise ValueError(f"no such image file: {path}") from None
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        what = "an array" if isinstance(path, np.ndarray) else path
        raise ValueError(f"cannot read {what} as an image: {_reason(error)}") from None
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if ink == "dark" or (ink == "auto" and channels == 1 and border.mean() > 127):
        pixels, border = 255 - pixels, 255 - border
    padding = np.rint(np.median(border, axis=0)).astype(np.uint8)
    return _placed(pixels, np.broadcast_to(padding, size))


def visible(values: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """The pixels that are not transparent: ``[N, C]``."""
    return values.reshape(-1, values.shape[-1]) if alpha is None else values[alpha > 0]


def on_ground(pixels: np.ndarray, alpha: np.ndarray | None, ground: str | None) -> np.ndarray:
    """Return uint8 pixels with ``ground`` where they are transparent."""
    if alpha is None:
        return pixels
    image = Image.fromarray(np.dstack([pixels] * (1 if pixels.shape[-1] == 3 else 3) + [alpha]))
    if ground is None:
        gray, weight = np.asarray(image.convert("L"), np.float64), alpha.astype(np.float64)
        ground = "black" if (gray * weight).sum() > 127 * weight.sum() else "white"
    composite = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return np.asarray(composite.convert("RGB"))


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    count = pixels.shape[-1]
    if (count, channels) == (1, 3):
        return np.repeat(pixels, 3, -1)
    if (count, channels) == (3, 1):
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if count != channels:
        has = f"{count} channel{'s' * (count != 1)}"
        expected = f"{channels} {'is' if channels == 1 else 'are'} expected"
        remedy = {1: "grey", 3: "colour"}.get(count, count)
        raise ValueError(f"it has {has}, and {expected}; --channels {remedy}")
    return pixels


def _placed(pixels: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Return pixels ``[h, w, C]`` in the middle of the ground ``[H, W, C]``, as large as fits.

    However thin the image is, it stays at least a pixel wide.
    """
    (h, w), (height, width, channels) = pixels.shape[:2], ground.shape
    scale = min(width / w, height / h)
    size = max(1, round(scale * w)), max(1, round(scale * h))
    bands = [pixels] if channels == 3 else [pixels[..., c] for c in np.arange(channels)]
    bilinear = Image.Resampling.BILINEAR
    bands = [np.asarray(Image.fromarray(band).resize(size, bilinear)) for band in bands]
    top, left = round((height - size[1]) / 2), round((width - size[0]) / 2)
    canvas = ground.copy()
    canvas[top : top + size[1], left : left + size[0]] = np.dstack(bands)
    return canvas


def _check(size: Shape, ink: str, range: Any, depth: str, ground: str | None) -> None:
    height, width, channels = size
    if not 1 <= channels <= MOST_CHANNELS or min(height, width) < 1:
        most = f"with 1 to {MOST_CHANNELS} channels"
        raise ValueError(f"`size` must be (height, width, channels) {most}, got {size}")
    for name, value, allowed in (("ink", ink, INKS), ("depth", depth, DEPTHS)):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}")
    if ground not in (None, "black", "white"):
        raise ValueError(f"`ground` must be None, black or white, got {ground!r}")
    if range in (None, "each"):
        return
    if isinstance(range, str) or len(range) != 2 or not 0 < range[1] - range[0] < np.inf:
        raise ValueError(f"`range` must be each, or two numbers that rise, got {range}")


def _require_depth(deep: bool, depth: str) -> None:
    if depth == ("8" if deep else "deeper"):
        given, trained = ("more than 8", "8") if deep else ("8", "more")
        raise ValueError(
            f"it has {given} bits a channel, and the images of the training had {trained}: convert "
            "it as those were, or train with --range LOW HIGH or --range each"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # repeats the path
        return "its format is not known, or it is damaged"
    if isinstance(error, Image.DecompressionBombError):
        return "it has so many pixels that it may be a decompression bomb"
    if "mmap length" in str(error):
        return "it is cut off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
