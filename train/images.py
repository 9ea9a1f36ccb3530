"""Image files of every kind to pixels of one shape.

What files hold is not trusted: a damaged one is named, whatever its decoder makes of it.
"""

import functools
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Of oddities in files that are read all the same; for whatever thread or process reads them.
warnings.filterwarnings("ignore", module="PIL")

Shape = tuple[int, int, int]
_THREADS = min(16, os.cpu_count() or 1)  # each may hold an image of hundreds of megabytes

_AHEAD = 16 * _THREADS


def read_images(
    paths: Sequence[Path], size: Shape, ink: str = "auto"
) -> Iterator[np.ndarray | ValueError]:
    """`read_image` of many files, several at once, in their order. Where a file cannot be read, the
    error stands in place of its pixels."""

    def read(path: Path) -> np.ndarray | ValueError:
        try:
            return read_image(path, size, ink)
        except ValueError as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        # Of oddities in files that are read all the same; and here it is said what cannot be.
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(paths), _AHEAD):  # or all might be decoded before one is used
            yield from pool.map(read, paths[start : start + _AHEAD])


def read_image(path: Path, size: Shape, ink: str = "auto") -> np.ndarray:
    """An image file as the network wants it: uint8 ``[H, W, C]``, upright, the first frame.

    It is scaled to fit, without distortion, and centred on the ground, which is the median of its
    border.

    Args:
        path: a file of any format of Pillow's, but for PostScript.
        size: ``(H, W, C)``; with one channel the image becomes grey.
        ink: ``"light"`` leaves an image as it is, ``"dark"`` inverts it; ``"auto"`` inverts grey
            ones with a light border, so that strokes are light on dark ground.

    Raises:
        ValueError: names a file that cannot be read.
    """
    height, width, channels = size
    try:
        _require_file(path)
        with Image.open(path, formats=_formats()) as opened:
            _require_pixels(opened)
            # Large photographs are decoded at a half, a quarter or an eighth if that is enough.
            opened.draft(None, (2 * max(height, width),) * 2)
            image = _eight_bits(_upright(opened), "L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise ValueError(f"no such image file: {path}") from None
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        raise ValueError(f"cannot read {path} as an image: {_reason(error)}") from None
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if ink == "dark" or (ink == "auto" and channels == 1 and border.mean() > 127):
        image, border = ImageOps.invert(image), 255 - border
    ground = np.rint(np.median(border.reshape(-1, channels), axis=0)).astype(np.uint8)
    return _placed(image, np.broadcast_to(ground, size))


def is_grey(image: np.ndarray) -> bool:
    """Whether all channels of ``[H, W, C]`` are equal."""
    return bool((image == image[..., :1]).all())


def _placed(image: Image.Image, ground: np.ndarray) -> np.ndarray:
    """The image in the middle of the ground ``[H, W, C]``, as large as fits: a line, however thin
    the image, is at least a pixel wide."""
    height, width, channels = ground.shape
    scale = min(width / image.width, height / image.height)
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.uint8)
    top, left = round((height - size[1]) / 2), round((width - size[0]) / 2)
    canvas = ground.copy()
    canvas[top : top + size[1], left : left + size[0]] = pixels.reshape(*size[::-1], channels)
    return canvas


def _require_file(path: Path) -> None:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for whoever writes to it
        raise ValueError("it is not a regular file")
    if not status.st_size:
        raise ValueError("it is empty")


def _require_pixels(image: Image.Image) -> None:
    count, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most is not None and count > most:
        raise ValueError(
            f"its {image.width:,} x {image.height:,} pixels are more than {most:,}; it may be a "
            "decompression bomb"
        )


@functools.cache
def _formats() -> tuple[str, ...]:
    """What Pillow reads, but for PostScript: that is a program, which Ghostscript would run."""
    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data say, if they can be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of damaged EXIF data alone: the pixels are there
        return image


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # repeats the path
        return "its format is not known, or it is damaged"
    if isinstance(error, Image.DecompressionBombError):
        return "it has so many pixels that it may be a decompression bomb"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """The image with 8 bits for each channel, transparent parts filled with what contrasts."""
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits, which `convert` would cut off at 255
        values = np.nan_to_num(np.asarray(image, np.float64))
        full = 1.0 if image.mode == "F" and values.max() <= 1 else 255.0
        full = 65535.0 if values.max() > full else full
        return Image.fromarray(np.clip(255 * values / full, 0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        grey, alpha = (np.asarray(image.convert("LA"), np.float64)[..., i] for i in (0, 1))
        light = (grey * alpha).sum() > 127 * alpha.sum()
        ground = Image.new("RGBA", image.size, "black" if light else "white")
        image = Image.alpha_composite(ground, image)
    return image.convert(mode)
