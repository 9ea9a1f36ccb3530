"""Image files of every kind to the pixels that a network was trained on.

This file needs Pillow and NumPy alone. ``python -m train export`` writes a copy of it beside each
network, as ``read_image.py``, so that another program reads images as the network knows them.
Files are not trusted: the error names a damaged one, whatever its decoder raises.
"""

import functools
import os
import stat

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Shape = tuple[int, int, int]
INKS = ("auto", "light", "dark")


def read_image(path: str | os.PathLike, size: Shape, ink: str = "auto") -> np.ndarray:
    """Return the pixels of an image file for a network: uint8 ``[H, W, C]``, upright.

    The image is scaled to fit, without distortion, and centered on the ground, which is the median
    of its border. If it has several frames, the first is read.

    Args:
        path: a file in any format of Pillow's but PostScript.
        size: ``(H, W, C)``; with one channel the image becomes gray, with three RGB.
        ink: ``"light"`` leaves an image as it is, ``"dark"`` inverts it, and ``"auto"`` inverts
            gray ones with a light border, so that strokes are light on dark ground.

    Raises:
        ValueError: the file cannot be read, which the message names, or ``size`` or ``ink`` is not
            one of those allowed.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "wide.png"
    ...     Image.new("L", (40, 20), 200).save(path)
    ...     pixels = read_image(path, (28, 28, 1), ink="light")
    >>> pixels.shape, int(pixels.min())
    ((28, 28, 1), 200)
    """
    height, width, channels = size
    if channels not in (1, 3) or min(height, width) < 1:
        raise ValueError(f"`size` must be (height, width, 1) or (height, width, 3), got {size}")
    if ink not in INKS:
        raise ValueError(f"`ink` must be one of {', '.join(INKS)}, got {ink!r}")
    try:
        _require_file(path)
        with Image.open(path, formats=_formats()) as opened:
            _require_pixels(opened)
            # Large photographs are decoded at a half, a quarter or an eighth if that is enough.
            opened.draft(None, (2 * max(height, width), 2 * max(height, width)))
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


def _placed(image: Image.Image, ground: np.ndarray) -> np.ndarray:
    """Return the image in the middle of the ground ``[H, W, C]``, as large as fits.

    However thin the image is, it stays at least a pixel wide.
    """
    height, width, channels = ground.shape
    scale = min(width / image.width, height / image.height)
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.uint8)
    top, left = round((height - size[1]) / 2), round((width - size[0]) / 2)
    canvas = ground.copy()
    canvas[top : top + size[1], left : left + size[0]] = pixels.reshape(*size[::-1], channels)
    return canvas


def _require_file(path: str | os.PathLike) -> None:
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
    """Return the formats of Pillow but for PostScript, a program that Ghostscript would run."""
    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF data say, if they can be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data are damaged, not the pixels
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
    """Return the image with 8 bits a channel, and transparent parts filled in contrast to it."""
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits, which `convert` would cut off at 255
        values = np.nan_to_num(np.asarray(image, np.float64))
        full = 1.0 if image.mode == "F" and values.max() <= 1 else 255.0
        full = 65535.0 if values.max() > full else full
        return Image.fromarray(np.clip(255 * values / full, 0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        gray, alpha = (np.asarray(image.convert("LA"), np.float64)[..., i] for i in (0, 1))
        light = (gray * alpha).sum() > 127 * alpha.sum()
        ground = Image.new("RGBA", image.size, "black" if light else "white")
        image = Image.alpha_composite(ground, image)
    return image.convert(mode)
