"""Five hundred image files of every kind, whole or damaged: each is read rightly or is named."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.export.test_image_decoders import upright
from tests.image_bytes import fits_unit, png_of_sixteen_bits
from train.config import Config
from train.data.image_files import read_images
from train.data.image_folder import load_folder
from train.data.reading import Reading
from train.data.scan import SUFFIXES

tifffile = pytest.importorskip("tifffile", reason="pip install 'gconv_jax[train]'")
COUNT = 500
Rng = np.random.Generator


class Made(NamedTuple):
    """A file and what is in it, upright and in color."""

    path: Path
    color: np.ndarray
    """``[H, W, 3]`` in [0, 255] once its range is scaled to that, of floating-point numbers."""
    reading: Reading
    tolerance: int
    damage: str


def eight(rng: Rng, size: tuple[int, int], channels: int) -> np.ndarray:
    return rng.integers(0, 256, (*size, channels)).astype(np.uint8)


def plain(path: Path, rng: Rng, size: tuple[int, int], orientation: int) -> tuple:
    """8 bits, without loss."""
    mode = str(rng.choice(["1", "L", "P", "RGB", "LA", "RGBA", "CMYK", "YCbCr"]))
    kinds = {
        "1": "png tif bmp pbm", "L": "png tif bmp pgm gif", "RGB": "png tif bmp ppm webp jp2",
        "P": "png gif tif bmp", "LA": "png tif", "RGBA": "png tif webp",
    }  # fmt: skip
    kind = str(rng.choice(kinds.get(mode, "tif").split()))
    values = eight(rng, size, {"LA": 2, "RGB": 3, "YCbCr": 3, "RGBA": 4, "CMYK": 4}.get(mode, 1))
    if mode == "1":
        values = 255 * (values > 127).astype(np.uint8)
    shown = values.squeeze(-1) if values.shape[-1] == 1 else values
    image = Image.fromarray(shown, None if mode not in ("CMYK", "YCbCr") else mode)
    if mode == "1":
        image = image.convert("1")
    color, alpha = values.astype(float), None
    if mode == "P":
        palette = eight(rng, (256, 1), 3)
        image = Image.fromarray(shown)
        image.putpalette(palette.tobytes())
        color = palette[shown][:, :, 0].astype(float)
    elif mode == "CMYK":
        color = (255 - color[..., :3]) * (255 - color[..., 3:]) / 255
    elif mode == "YCbCr":
        y, cb, cr = np.moveaxis(color - (0, 128, 128), -1, 0)
        parts = y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb
        color = np.clip(np.stack(parts, -1), 0, 255)
    elif mode in ("LA", "RGBA"):
        color, alpha = color[..., :-1], color[..., -1:] / 255
    options: dict = {"lossless": True, "exact": True} if kind == "webp" else {}
    if kind == "tif":
        raw = mode == "YCbCr"  # else its colors are stored at half the resolution
        options["compression"] = None if raw else str(rng.choice(["tiff_lzw", "packbits", "raw"]))
    if kind in ("png", "webp", "tif"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = orientation, "ångström \x00\xff" * int(rng.integers(3))
        options["exif"] = exif
    else:
        orientation = 1
    image.save(path.with_suffix(f".{kind}"), **options)
    ground = str(rng.choice(["black", "white"]))
    if alpha is not None:
        color = alpha * color + (1 - alpha) * 255 * (ground == "white")
    tolerance = {"YCbCr": 2, "CMYK": 1, "LA": 1, "RGBA": 1}.get(mode, 0)
    reading = Reading(range=(0.0, 255.0), ground=ground)
    return path.with_suffix(f".{kind}"), upright(color, orientation), reading, tolerance


def lossy(path: Path, rng: Rng, size: tuple[int, int], orientation: int) -> tuple:
    slope = np.add.outer(np.arange(size[0]), np.arange(size[1])) * 3 + int(rng.integers(100))
    values = np.stack([slope, slope[::-1], slope[:, ::-1]], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = path.with_suffix(str(rng.choice([".jpg", ".webp", ".jfif"])))
    Image.fromarray(values).save(path, exif=exif, quality=95, subsampling=0, comment=b"\xff\0 x")
    return path, upright(values.astype(float), orientation), Reading(range=(0.0, 255.0)), 24


def deep(path: Path, rng: Rng, size: tuple[int, int], orientation: int) -> tuple:
    """More than 8 bits, in gray or in color, with pixels that are no numbers."""
    kind = str(rng.choice(["png", "tif", "npy", "fits"]))
    channels = 1 if kind == "fits" else int(rng.choice([1, 3]))
    dtype = "u2" if kind == "png" else str(rng.choice(["u2", "i2", "i4", "f4", "f8"]))
    if (kind, dtype) == ("fits", "u2"):
        dtype = "i2"
    low, high = float(rng.integers(0, 300)), float(rng.integers(400, 9000))
    values = rng.uniform(low - 50 * (dtype != "u2"), high + 50, (*size, channels))
    values = np.maximum(values, 0 if dtype == "u2" else -np.inf).astype(dtype)
    if dtype[0] == "f" and values.size > 3:
        values.ravel()[:3] = np.inf, -np.inf, np.nan
    path, shown = path.with_suffix(f".{kind}"), values if channels == 3 else values[..., 0]
    if kind == "png":
        path.write_bytes(png_of_sixteen_bits(values))
    elif kind == "npy":
        np.save(path, shown)
    elif kind == "fits":
        path.write_bytes(fits_unit(shown[::-1]))
    else:
        tags = [(274, "H", 1, orientation, True)]
        options = {"photometric": "rgb" if channels == 3 else "minisblack", "extratags": tags}
        options |= {"byteorder": str(rng.choice(["<", ">"])), "planarconfig": "contig"}
        tifffile.imwrite(path, shown, compression=[None, "zlib"][int(rng.integers(2))], **options)
    numbers = np.nan_to_num(values.astype(float), nan=low, posinf=high, neginf=low)
    color = 255 * (np.clip(numbers, low, high) - low) / (high - low)
    turned = upright(color, orientation if kind == "tif" else 1)
    return path, turned, Reading(range=(low, high)), 0


def damaged(content: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(content)))
    how = int(rng.integers(4))
    if how == 0:
        return content[:place]
    if how == 1:
        return content[:place] + rng.bytes(int(rng.integers(1, 9))) + content[place:]
    if how == 2:
        return content[:place] + content[place + int(rng.integers(1, 40)) :]
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 12))):
        changed[int(rng.integers(len(content)))] = int(rng.integers(256))
    return bytes(changed)


def make(folder: Path, number: int) -> Made:
    rng = np.random.default_rng(number)
    kinds: list[Callable] = [plain, plain, deep, deep, lossy]
    height, width = (int(n) for n in rng.integers(1, 24, 2))
    size = (1, 1) if number % 50 == 0 else (height, width)
    path = folder / "ab"[number % 2] / f"{number:03}"
    path.parent.mkdir(exist_ok=True)
    write = kinds[int(rng.integers(len(kinds)))]
    path, color, reading, tolerance = write(path, rng, size, int(rng.integers(1, 9)))
    hurt = ""
    if number % 5 > 2:
        hurt = "damaged"
        path.write_bytes(damaged(path.read_bytes(), rng))
    return Made(path, np.broadcast_to(color, (*color.shape[:2], 3)), reading, tolerance, hurt)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Made]:
    folder = tmp_path_factory.mktemp("fuzz")
    return [make(folder, number) for number in range(COUNT)]


def read(made: Made, channels: int) -> np.ndarray | ValueError:
    """The pixels of a file at the size that it should have, so that nothing is interpolated."""
    (found,) = read_images([made.path], (*made.color.shape[:2], channels), made.reading)
    return found


def test_files_are_read_rightly_or_are_named(files, capfd):
    refused = collected = 0
    for i, made in enumerate(files):
        assert made.path.suffix in SUFFIXES
        channels = (1, 3)[i % 2]
        found = read(made, channels)
        if isinstance(found, ValueError):
            assert made.damage and str(made.path) in str(found) and "\n" not in str(found), found
            refused += 1
            continue
        assert found.shape == (*made.color.shape[:2], channels) and found.dtype == np.uint8
        if made.damage:
            continue
        expected = made.color if channels == 3 else made.color @ (0.299, 0.587, 0.114)
        off = np.abs(found.astype(float) - expected.reshape(found.shape)).max()
        assert off <= made.tolerance + 0.51 + (channels == 1), made
        assert found.max() or expected.max() < 1, "no black image"
        collected += 1
    assert collected == COUNT * 3 // 5 and 60 < refused < COUNT * 2 // 5
    out, err = capfd.readouterr()
    # libtiff, which Pillow calls, says in its own words what is wrong with damaged files.
    assert not out and all(line.startswith("TIFF") for line in err.splitlines()), err


def test_a_folder_of_them_is_trained_on_without_those_that_are_named(files):
    config = Config(dataset="folder", data=files[0].path.parents[1], image_size=8, batch_size=2)
    config = dataclasses.replace(config, range=(0.0, 4000.0), channels="colour")
    folder = load_folder(config)
    unreadable = {file.name for file in folder.files if file.split == "unreadable"}
    assert len(folder.train.label) + len(folder.test.label) == COUNT - len(unreadable)
    (note,) = [note for note in folder.notes if "skipped" in note]
    assert f"skipped {len(unreadable)} files that cannot be read" in note
    whole = {str(made.path) for made in files if not made.damage}
    assert not whole & {str(config.data / name) for name in unreadable}


def plainly_read(made: Made) -> np.ndarray | None:
    try:
        with Image.open(made.path) as image:
            return np.asarray(image.convert("RGB"), float)
    except (OSError, ValueError, SyntaxError):
        return None


def test_a_plain_reader_gets_many_of_them_wrong(files):
    """A negative control."""
    wrong = 0
    for made in files:
        found = None if made.damage else plainly_read(made)
        right = found is not None and found.shape == made.color.shape
        right = right and np.abs(found - made.color).max() <= made.tolerance + 1
        wrong += not (made.damage or right)
    assert wrong > COUNT // 3
