"""Image files of every kind to pixels at their full depth.

This needs Pillow and NumPy alone, and tifffile for TIFF files that Pillow does not read whole.
``python -m train export`` writes a copy of it into ``read_image.py``.
"""

import contextlib
import functools
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

MOST_CHANNELS = 16


class Pixels(NamedTuple):
    """Upright pixels at the depth of their file, ``[H, W, C]``; not uint8 if it is more than 8
    bits."""

    values: np.ndarray
    alpha: np.ndarray | None
    """uint8 ``[H, W]``: 0 where nothing is to be seen."""


class OpenedImage(NamedTuple):
    """An image file of which only the header has been read."""

    deep: bool
    """True if a channel has more than 8 bits."""
    alpha: bool
    """True if parts of it may be transparent."""
    read: Callable[[int | None], Pixels]
    """Decodes it. A number of pixels says that fewer than the file has may come, but on each side
    so many, if that is quicker."""


@contextlib.contextmanager
def opened(path: str | os.PathLike | np.ndarray, channels: int = 3) -> Iterator[OpenedImage]:
    """An image file for `read_image`. Other channels than 1 and 3 are taken as they are."""
    if isinstance(path, np.ndarray):
        yield _of_array(path)
        return
    _require_file(path)
    with open(path, "rb") as file:
        start = file.read(10)
    raw = channels not in (1, 3)
    if start.startswith(b"\x93NUMPY"):
        yield _of_array(np.load(path, mmap_mode="r", allow_pickle=False))
    elif start.startswith(b"SIMPLE  ="):
        yield _of_fits(path)
    elif start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and (raw or not _is_plain(path)):
        with _tifffile().TiffFile(path) as tiff:
            yield _of_tiff(tiff, channels)
    else:
        with _opened_by_pillow(path, _formats()) as image:
            _require_pixels(image.size)
            is_deep = image.mode[0] in "IF" or _layout(path, image) is not None
            read = functools.partial(_decoded, path, image, raw)
            yield OpenedImage(is_deep, image.has_transparency_data and not raw, read)


@contextlib.contextmanager
def _opened_by_pillow(path: str | os.PathLike, formats: tuple[str, ...]) -> Iterator[Any]:
    # Not by its name: then TIFF files that are mapped into memory would not be turned rightly.
    with open(path, "rb") as file, Image.open(file, formats=formats) as image:
        yield image


def _require_file(path: str | os.PathLike) -> None:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for whoever writes to it
        raise ValueError("it is not a regular file")
    if not status.st_size:
        raise ValueError("it is empty")


def _require_pixels(size: Sequence[int]) -> None:
    (width, height), most = size, Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise ValueError(
            f"its {width:,} x {height:,} pixels are more than {most:,}; it may be a "
            "decompression bomb"
        )


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the formats of Pillow but for PostScript, a program that Ghostscript would run."""
    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


def _decoded(path: str | os.PathLike, image: Any, raw: bool, least: int | None) -> Pixels:
    layout, key = _layout(path, image), image.info.get("transparency")
    if layout is None and image.mode[0] not in "IF":
        if least is not None:
            # Large photographs are decoded at a half, a quarter or an eighth if that is enough.
            image.draft(None, (least, least))
        image = _upright(image)
        return Pixels(_channels(image), None) if raw else _of_eight_bits(image)
    values = _one_channel(image) if layout is None else _sixteen_bits(path, image, layout)
    if raw:
        return Pixels(values, None)
    if values.shape[-1] in (2, 4):
        return Pixels(values[..., :-1], _visibility(values[..., -1]))
    if key is None:
        return Pixels(values, None)
    return Pixels(values, np.where((values == key).all(-1), 0, 255).astype(np.uint8))


def _one_channel(image: Any) -> np.ndarray:
    """Return ``[H, W, 1]`` of 16 or 32 bits."""
    tags = getattr(image, "tag_v2", {})
    layouts = {tile[3][0] for tile in image.tile if tile[0] == "libtiff"} & _NATIVE.keys()
    values = _read_as(image, _NATIVE[layouts.pop()] if layouts else None)
    if image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):
        values = values.view(np.uint32)  # Pillow takes unsigned numbers for signed ones
    if image.mode == "I;16" and tags.get(262) == 0:  # the least is white
        values = 65535 - values
    return np.atleast_3d(values)


def _of_eight_bits(image: Any) -> Pixels:
    if image.has_transparency_data:
        pixels = np.asarray(_in_mode(image, "RGBA"))
        return Pixels(pixels[..., :3], pixels[..., 3])
    gray = image.mode in ("1", "L")
    return Pixels(np.atleast_3d(np.asarray(_in_mode(image, "L" if gray else "RGB"))), None)


def _channels(image: Any) -> np.ndarray:
    """The channels of an image of 8 bits as they are; palettes in color."""
    if image.mode in ("1", "P", "PA", "La", "RGBa"):
        return _channels(_in_mode(image, {"1": "L", "La": "LA"}.get(image.mode, "RGBA")))
    return np.atleast_3d(np.asarray(image))


def _in_mode(image: Any, mode: str) -> Any:
    if image.mode == "La":  # which can become nothing else
        image = image.convert("LA")
    return image.convert(mode)


def _upright(image: Any) -> Any:
    """Return the image turned as its EXIF data say, if they can be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data are damaged, not the pixels
        return image


def _layout(path: str | os.PathLike, image: Any) -> str | None:
    """The order of the bytes in the file, if Pillow would keep but 8 of 16 bits a channel."""
    if image.mode[0] in "IF":
        return None
    if image.format == "JPEG2000":
        with open(path, "rb") as file:
            # The sizes of the codestream, after which comes the depth of the first channel.
            found = re.search(rb"\xff\x4f\xff\x51.{38}(.)", file.read(4096), re.DOTALL)
        return "JPEG 2000" if found and (found[1][0] & 127) + 1 > 8 else None
    for tile in image.tile[:1]:
        words = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if image.format == "PPM" and isinstance(words[-1], int) and words[-1] > 255:
            return "PPM"
        for word in words:
            if isinstance(word, str) and re.search(";16[BLN]$", word):
                return word
    return None


_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
"""Layouts of compressed TIFF files as they come out of libtiff, which swaps the bytes itself."""
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def _sixteen_bits(path: str | os.PathLike, image: Any, layout: str) -> np.ndarray:
    """Return uint16 ``[H, W, C]``.

    Pillow has no mode for several channels of 16 bits: it keeps the upper byte of each, or the
    lower one, if it is told that the bytes are in the other order.
    """
    if layout == "LA;16B":  # four bytes a pixel, as of RGBA
        both = _read_as(image, "RGBA").astype(np.uint16)
        return 256 * both[..., ::2] + both[..., 1::2]
    if layout[:-1] not in ("RGB;16", "RGBA;16") or image.format not in ("PNG", "TIFF"):
        kind = f"{image.format}, {image.mode}"
        raise ValueError(f"only 8 of its bits can be read ({kind}): convert it to PNG or TIFF, RGB")
    with _opened_by_pillow(path, (image.format,)) as again:
        lower = _read_as(again, layout[:-1] + _SWAPPED[layout[-1]])
    return 256 * _read_as(image, layout).astype(np.uint16) + lower


def _read_as(image: Any, layout: str | None) -> np.ndarray:
    """Return the upright pixels, with those in the file in another layout than it says."""
    tiles = []
    for tile in image.tile if layout else ():
        words = layout if isinstance(tile[3], str) else (layout, *tile[3][1:])
        tiles.append((*tile[:3], words))
        if hasattr(tile, "_replace"):
            tiles[-1] = tile._replace(args=words)
    image.tile = tiles or image.tile
    return np.asarray(_upright(image))


def _of_array(array: np.ndarray, meant: Callable = np.array) -> OpenedImage:
    """An array as an image; ``meant`` returns the values that its numbers stand for."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"its numbers must be integers or floating-point, not {array.dtype}")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"an array must be [H, W] or [H, W, C], and this is {array.shape}")
    _require_pixels(array.shape[1::-1])

    def read(least: int | None) -> Pixels:
        values = meant(array)
        values = 255 * values.astype(np.uint8) if values.dtype == bool else values
        return Pixels(values.reshape(*values.shape[:2], -1), None)

    return OpenedImage(array.dtype not in (np.uint8, bool), False, read)


def _of_fits(path: str | os.PathLike) -> OpenedImage:
    """The first image of a FITS file. Its first row is the lowest."""
    with open(path, "rb") as file:
        while True:
            cards = _fits_cards(file)
            if cards.get("ZIMAGE") == "T":
                raise ValueError("its image is compressed: unpack it, for example with funpack")
            axes = np.arange(int(cards["NAXIS"]), 0, -1)
            shape, start = tuple(int(cards[f"NAXIS{i}"]) for i in axes), file.tell()
            table = cards.get("XTENSION", "IMAGE") != "IMAGE"
            if len(shape) > 1 and 0 not in shape and not table:
                break
            count = int(cards.get("PCOUNT", 0)) + int(np.prod(shape or [0]))
            length = abs(int(cards["BITPIX"])) // 8 * count
            file.seek(start + -(-length // _BLOCK) * _BLOCK)
    if int(np.prod(shape[:-3])) > 1:
        raise ValueError(f"an image must be [H, W] or [C, H, W], and this is {list(shape)}")
    kind = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[int(cards["BITPIX"])]
    stored = np.memmap(path, kind, "r", start, shape)
    stored = np.moveaxis(stored.reshape(-1, *shape[-2:]), 0, -1)[::-1]
    scale, zero = (float(cards.get(*card).replace("D", "E")) for card in _SCALING)
    blank = int(cards["BLANK"]) if "BLANK" in cards and kind[-2] != "f" else None
    plain = (scale, zero, blank) == (1, 0, None)

    def meant(stored: np.ndarray) -> np.ndarray:
        values = np.array(stored) if plain else zero + scale * stored.astype(np.float64)
        return values if blank is None else np.where(stored == blank, np.nan, values)

    return _of_array(stored, meant)._replace(deep=not (plain and kind == "u1"))


_BLOCK = 2880
_SCALING = (("BSCALE", "1"), ("BZERO", "0"))


def _fits_cards(file: Any) -> dict[str, str]:
    """The values of a header by their names."""
    cards: dict[str, str] = {}
    while "END" not in cards:
        block = file.read(_BLOCK).decode("latin-1")
        if len(block) < _BLOCK:
            raise ValueError("it is cut off" if cards else "it holds no image")
        for card in re.findall(".{80}", block, re.DOTALL):
            cards[card[:8].strip()] = card[10:].split("/")[0].strip(" '")
    return cards


def _is_plain(path: str | os.PathLike) -> bool:
    """Return whether Pillow reads all that is in a TIFF file."""
    try:
        with _opened_by_pillow(path, ("TIFF",)) as image:
            tags = image.tag_v2
            bits, kinds = (np.max(tags.get(*tag)) for tag in ((258, 1), (339, 1)))
            extra, planes = tags.get(338, ()), tags.get(284, 1)
    except Exception:  # tifffile says what is wrong
        return False
    if tags.get(277, 1) == 1:
        return (bits, kinds) != (8, 2)  # signed bytes
    if bits <= 8:
        return extra in ((), (1,), (2,), (999,))
    return extra in ((), (2,)) and planes == 1


def _tifffile() -> Any:
    try:
        import tifffile  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "Pillow does not read this kind of TIFF file, and tifffile may: pip install tifffile"
        ) from None
    return tifffile


def _of_tiff(tiff: Any, channels: int) -> OpenedImage:
    """The first page of a TIFF file; or of several channels that are pages, all of them."""
    page, raw = tiff.pages[0], channels not in (1, 3)
    colors, bits = getattr(page.photometric, "name", str(page.photometric)), page.bitspersample
    allowed = ("MINISBLACK", "MINISWHITE", "RGB", *(["SEPARATED"] if raw else []))
    if page.dtype is None or colors not in allowed:
        raise ValueError(f"its channels are of a kind that cannot be read ({colors}, {bits} bits)")
    _require_pixels((page.imagewidth, page.imagelength))
    alpha = not raw and page.samplesperpixel in (2, 4) and tuple(page.extrasamples)[:1] == (2,)
    pages = raw and page.samplesperpixel == 1

    def read(least: int | None) -> Pixels:
        if pages:
            values = _pages_as_channels(tiff.series[0], channels)
        else:
            values = page.asarray(
                squeeze=False, maxworkers=1
            )  # [planes, depth, height, width, channels]
            values = np.moveaxis(values[:, 0], 0, -2).reshape(*values.shape[2:4], -1)
        if bits < 8:
            values = values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
        if colors == "MINISWHITE" and values.dtype.kind == "u":
            values = 2 ** max(8, bits) - 1 - values
        turned = page.tags.get(274)
        values = _turned(values, 1 if turned is None else turned.value)
        if not alpha:
            return Pixels(values, None)
        return Pixels(values[..., :-1], _visibility(values[..., -1]))

    return OpenedImage(bits > 8 or page.dtype.kind != "u", alpha, read)


def _pages_as_channels(series: Any, channels: int) -> np.ndarray:
    """Return ``[H, W, C]``, where the file has ``[C, H, W]`` or was written as if it had."""
    most = Image.MAX_IMAGE_PIXELS
    if len(series.shape) not in (2, 3) or (most and series.size > MOST_CHANNELS * most):
        raise ValueError(f"its shape is {series.shape}; it must be pages of equal size")
    values = series.asarray(maxworkers=1)
    if values.ndim == 2:
        return values[..., None]
    return values if values.shape[0] != channels == values.shape[-1] else np.moveaxis(values, 0, -1)


def _visibility(alpha: np.ndarray) -> np.ndarray:
    """Return alpha as uint8, full at the largest integer, or at 1.0."""
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    return np.rint(255 * np.clip(alpha / full, 0, 1)).astype(np.uint8)


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels upright, from an orientation as TIFF and EXIF number it."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::down, ::right]
