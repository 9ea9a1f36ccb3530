"""Image files are read at their full depth, whatever their format, byte order and compression."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from gconv_jax.export import read_image
from gconv_jax.export.image_decoders import opened
from tests.image_bytes import fits_unit, png_of_sixteen_bits

tifffile = pytest.importorskip("tifffile", reason="pip install 'gconv_jax[train]'")
HEIGHT, WIDTH = 9, 13


def decoded(path, channels: int = 3):
    with opened(path, channels) as file:
        values, alpha = file.read(None)
    return values, alpha, file.deep


def assert_read(path, expected: np.ndarray, channels: int = 3, alpha: np.ndarray | None = None):
    values, found, deep = decoded(path, channels)
    np.testing.assert_array_equal(values, expected.reshape(*expected.shape[:2], -1))
    assert deep == (expected.dtype != np.uint8)
    if alpha is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, alpha, atol=0.5)


@pytest.fixture(scope="module")
def deep() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """As the TIFF specification defines its tag 274."""
    if orientation > 4:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image[:, ::-1] if orientation in (2, 3, 6, 7) else image


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_with_sixteen_bits(tmp_path, deep, channels):
    values, path = deep[..., :channels], tmp_path / "x.png"
    path.write_bytes(png_of_sixteen_bits(values))
    if channels in (2, 4):
        assert_read(path, values[..., :-1], alpha=values[..., -1] / 257)
        assert_read(path, values, channels)
    else:
        assert_read(path, values)
        key = tuple(int(v) for v in values[2, 3])
        path.write_bytes(png_of_sixteen_bits(values, key))
        alpha = np.full((HEIGHT, WIDTH), 255.0)
        alpha[2, 3] = 0
        assert_read(path, values, alpha=alpha)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_tiff_in_color_with_sixteen_bits(tmp_path, deep, order, compression, planes):
    path, options = tmp_path / "x.tif", {"byteorder": order, "compression": compression}
    options |= {"photometric": "rgb", "planarconfig": planes}
    axis = -1 if planes == "contig" else 0
    tifffile.imwrite(path, np.moveaxis(deep[..., :3], -1, axis), **options)
    assert_read(path, deep[..., :3])
    every = np.moveaxis(deep, -1, axis)
    tifffile.imwrite(path, every, extrasamples=["unassalpha"], **options)
    assert_read(path, deep[..., :3], alpha=deep[..., 3] / 257)
    tifffile.imwrite(path, every, extrasamples=["unspecified"], **options)
    assert_read(path, deep, channels=4)
    with pytest.raises(ValueError, match="it has 4 channels, and 3 are expected; --channels 4"):
        read_image(path, (8, 8, 3))


KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_tiff_of_every_number(tmp_path, rng, order, compression, kind):
    """Pillow takes some of them for others: signed bytes, the largest of uint32, and those with the
    most significant byte first, if they are compressed."""
    values = rng.uniform(0, 1, (HEIGHT, WIDTH)) * 1000
    if kind[0] != "f":
        bounds = np.iinfo(kind)
        values = rng.integers(bounds.min, bounds.max, (HEIGHT, WIDTH), endpoint=True)
    values = values.astype(kind)
    path, options = tmp_path / "x.tif", {"byteorder": order, "compression": compression}
    tifffile.imwrite(path, values, photometric="minisblack", **options)
    assert_read(path, values)
    if kind[0] == "u":  # the least is white
        tifffile.imwrite(path, values, photometric="miniswhite", **options)
        assert_read(path, np.iinfo(kind).max - values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_stands_upright(tmp_path, deep, orientation):
    path, tag = tmp_path / "x.tif", [(274, "H", 1, orientation, True)]
    for values in (deep[..., :3], deep[..., 0], deep[..., 0] / 7, deep.astype(np.uint8)[..., 1]):
        photometric = "rgb" if values.ndim == 3 else "minisblack"
        tifffile.imwrite(path, values, photometric=photometric, extratags=tag)
        assert_read(path, upright(values, orientation))


@pytest.mark.parametrize("count", [2, 5, 13])
def test_several_channels_are_bands_or_pages(tmp_path, deep, count):
    bands = np.random.default_rng(1).integers(0, 4096, (HEIGHT, WIDTH, count)).astype(np.uint16)
    path, first = tmp_path / "x.tif", np.moveaxis(bands, -1, 0)
    for values, options in (
        (bands, {"planarconfig": "contig"}), (first, {"planarconfig": "separate"}),
        (bands, {}), (first, {}), (bands, {"bigtiff": True}),
    ):  # fmt: skip
        tifffile.imwrite(path, values, photometric="minisblack", **options)
        if count != HEIGHT:
            assert_read(path, bands, channels=count)
    np.save(tmp_path / "x.npy", bands)
    assert_read(tmp_path / "x.npy", bands, channels=count)
    said = f"it has {count} channels, and 6 are expected; --channels {count}"
    with pytest.raises(ValueError, match=said):
        read_image(tmp_path / "x.npy", (8, 8, 6))


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_fits(tmp_path, rng, kind):
    values, path = (50 * rng.normal(size=(HEIGHT, WIDTH)) + 120).astype(kind), tmp_path / "x.fits"
    path.write_bytes(fits_unit(values))
    assert_read(path, values[::-1])
    path.write_bytes(fits_unit(None) + fits_unit(values, extension=True))
    assert_read(path, values[::-1])
    cube = np.stack([values + i for i in np.arange(5).astype(kind)])
    path.write_bytes(fits_unit(cube))
    assert_read(path, np.moveaxis(cube, 0, -1)[::-1], channels=5)


def test_fits_with_an_offset_a_scale_and_gaps(tmp_path, rng):
    path, values = tmp_path / "x.fits", rng.integers(0, 65536, (HEIGHT, WIDTH))
    path.write_bytes(fits_unit((values - 32768).astype("i2"), BZERO="3.2768D4"))
    np.testing.assert_array_equal(decoded(path)[0][..., 0], values[::-1])
    stored = rng.integers(0, 9, (HEIGHT, WIDTH)).astype("i2")
    path.write_bytes(fits_unit(stored, BSCALE=0.5, BLANK=7))
    expected = np.where(stored == 7, np.nan, stored / 2)[::-1]
    np.testing.assert_array_equal(decoded(path)[0][..., 0], expected)
    for content, said in (
        (fits_unit(None), "it holds no image"), (fits_unit(stored)[:1000], "cut off|no image"),
        (fits_unit(stored)[:2900], "cannot read"), (fits_unit(None, ZIMAGE="T"), "is compressed"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_image(path, (8, 8, 1))


@pytest.mark.parametrize("kind", ["?", "u1", "i1", "u2", ">u2", "i4", "u8", "f2", "f4", ">f8"])
def test_arrays(tmp_path, rng, kind):
    values, path = (40 * rng.normal(size=(HEIGHT, WIDTH)) + 120).astype(kind), tmp_path / "x.npy"
    np.save(path, np.asfortranarray(values))
    assert_read(path, 255 * values.astype(np.uint8) if kind == "?" else values)


class Dangerous:
    def __reduce__(self):
        return sys.exit, (3,)


@pytest.mark.parametrize(("array", "said"), [
    (np.ones((3, 4), complex), "integers or floating-point, not complex128"),
    (np.array([[Dangerous()]]), "cannot read"), (np.ones(4), r"this is \(4,\)"),
    (np.ones((2, 3, 4, 5)), r"must be \[H, W\] or \[H, W, C\]"), (np.ones((0, 4)), r"\(0, 4\)"),
    (np.ones((3, 4, 17)), "it has 17 channels"),
])  # fmt: skip
def test_arrays_that_are_no_images(tmp_path, array, said):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=said):
        read_image(tmp_path / "x.npy", (8, 8, 3))


def test_colors_of_other_spaces(tmp_path):
    """Pillow does not make gray of Lab, nor anything of premultiplied gray."""
    color = Image.new("RGB", (WIDTH, HEIGHT), (180, 90, 60))
    modes = {mode: color.convert(mode) for mode in ("CMYK", "YCbCr", "LAB", "RGB")}
    for name, image in modes.items():
        image.save(tmp_path / f"{name}.tif")
        gray = read_image(tmp_path / f"{name}.tif", (4, 4, 1), ink="light")
        assert np.abs(gray.astype(int) - 114).max() <= 2, name
        rgb = read_image(tmp_path / f"{name}.tif", (4, 4, 3))
        assert np.abs(rgb.astype(int) - (180, 90, 60)).max() <= 3, name
    # Lab of TIFF has signed numbers: lightness 52.9 %, a of -20, b of 30 are a dull green. By the
    # formulas of CIE for D50 it is XYZ (0.1642, 0.2099, 0.0724), and that is this color in sRGB.
    lab = np.full((HEIGHT, WIDTH, 3), (135, 236, 30), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", lab, photometric="cielab")
    green = read_image(tmp_path / "x.tif", (4, 4, 3))[0, 0]
    assert np.abs(green.astype(int) - (105, 135, 72)).max() <= 1
    tifffile.imwrite(tmp_path / "x.tif", lab.astype(np.uint16), photometric="cielab")
    with pytest.raises(ValueError, match=r"cannot be read \(CIELAB, 16 bits"):
        read_image(tmp_path / "x.tif", (4, 4, 3))


def premultiplied(path, color: tuple[int, int, int], alpha: int) -> None:
    pixels = np.full((HEIGHT, WIDTH, 4), (*(c * alpha // 255 for c in color), alpha), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["assocalpha"])


def test_transparent_parts_come_on_the_ground_that_is_asked_for(tmp_path):
    path = tmp_path / "x.tif"
    premultiplied(path, (200, 100, 50), 102)
    for ground, value in (("black", 0), ("white", 255)):
        pixels = read_image(path, (4, 4, 3), ground=ground)
        expected = 0.4 * np.array([200, 100, 50]) + 0.6 * value
        assert np.abs(pixels - expected).max() <= 2
    for kind, gray in (("assocalpha", 30), ("unassalpha", 150)):
        stored = np.full((HEIGHT, WIDTH, 2), (gray, 51), np.uint8)
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(path, stored, extrasamples=[kind], **options)
        pixels = read_image(path, (4, 4, 1), ink="light", ground="white")
        assert np.abs(pixels - (0.2 * 150 + 0.8 * 255)).max() <= 2


def test_formats_of_which_half_the_bits_would_be_lost_are_refused(tmp_path, deep):
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6 13 9 65535\n" + deep[..., :3].astype(">u2").tobytes())
    with pytest.raises(ValueError, match=r"only 8 of its bits can be read .PPM, RGB.*PNG or TIFF"):
        read_image(path, (4, 4, 3))
    path.write_bytes(b"P6 13 9 255\n" + deep[..., :3].astype(np.uint8).tobytes())
    assert_read(path, deep[..., :3].astype(np.uint8))
    path.write_bytes(b"P5 13 9 65535\n" + deep[..., 0].astype(">u2").tobytes())
    assert_read(path, deep[..., 0].astype(np.int32))
    file = io.BytesIO()
    Image.fromarray(deep[..., :3].astype(np.uint8)).save(file, "JPEG2000")
    content = bytearray(file.getvalue())
    content[content.index(b"\xff\x4f\xff\x51") + 42] = 15  # 16 bits, unsigned
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"only 8 of its bits can be read \(JPEG2000, RGB"):
        read_image(path, (4, 4, 3))


def test_without_tifffile_the_rest_is_read(tmp_path, deep, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    path = tmp_path / "x.tif"
    with Image.fromarray(deep[..., 0]) as image:
        image.save(path, compression="tiff_lzw")
    assert_read(path, deep[..., 0])
    monkeypatch.undo()
    tifffile.imwrite(path, deep[..., :3], photometric="rgb")
    bands = np.moveaxis(deep[:, :, [0] * 5], -1, 0)
    tifffile.imwrite(tmp_path / "5.tif", bands, photometric="minisblack", planarconfig="separate")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert_read(path, deep[..., :3])
    with pytest.raises(ValueError, match=r"5\.tif as an image: .*: pip install tifffile"):
        read_image(tmp_path / "5.tif", (4, 4, 5))


def test_arrays_and_fits_may_be_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.save(tmp_path / "a", np.zeros((HEIGHT, WIDTH)))
    (tmp_path / "b").write_bytes(fits_unit(np.zeros((HEIGHT, WIDTH))))
    (tmp_path / "a.npy").rename(tmp_path / "a")
    tifffile.imwrite(tmp_path / "c", np.zeros((HEIGHT, WIDTH)))
    for name in "abc":
        with pytest.raises(ValueError, match="13 x 9 pixels are more than 100; it may be a"):
            read_image(tmp_path / name, (8, 8, 1))
