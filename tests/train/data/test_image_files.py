"""Image files as they come, also damaged and made to harm: an answer, or one line that names them.

Images of every mode and either ink are in test_run.
"""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from train.__main__ import main
from train.data.image_files import is_gray, read_image, read_images
from train.data.reading import EARLIER


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Colors that change slowly, so that lossy formats keep them."""
    y, x = np.mgrid[:60, :90]
    return Image.fromarray(np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, in 57 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (90, 60), (31, 32), (64, 64)])
def test_images_of_any_shape_are_fitted_as_pillow_does(tmp_path, rng, size):
    pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    got = read_image(tmp_path / "x.png", (32, 32, 3))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = tuple(int(v) for v in np.rint(np.median(border, 0)))
    bilinear = Image.Resampling.BILINEAR
    expected = ImageOps.pad(Image.fromarray(pixels), (32, 32), bilinear, color=ground)
    np.testing.assert_array_equal(got, np.asarray(expected))


def test_thirty_thousand_pixels_wide_is_a_line_not_nothing(tmp_path):
    image = Image.new("L", (30_000, 200), 255)
    image.paste(40, (0, 0, 30_000, 3))
    image.paste(40, (0, 197, 30_000, 200))
    image.save(tmp_path / "x.png")
    read = read_image(tmp_path / "x.png", (64, 64, 1), ink="light")
    # The ground is dark, as its long sides are; scaled without distortion, 200 pixels are 0.4.
    assert (read[[0, 31, 33, 63]] == 40).all() and (read[32] > 200).all()


KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_is_named(tmp_path, photo, kind):
    path = tmp_path / "x"
    photo.save(path, kind)
    assert np.abs(read_image(path, (60, 90, 3)) - np.asarray(photo, float)).mean() < 30
    whole = path.read_bytes()
    for length in (0, 1, 11, 40, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cannot read .*x as an image: \w") as error:
            read_image(path, (28, 28, 3))
        assert "\n" not in str(error.value)


def test_what_is_no_image_is_said_in_a_word(tmp_path, monkeypatch):
    paths = {name: tmp_path / f"{name}.png" for name in ("text", "empty", "folder", "pipe", "eps")}
    paths["text"].write_text("no image")
    paths["empty"].touch()
    paths["folder"].mkdir()
    os.mkfifo(paths["pipe"])  # nobody writes to it: opening it would wait for ever
    paths["eps"].write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    paths["gone"] = tmp_path / "gone.png"
    paths["loop"] = tmp_path / "loop.png"
    paths["loop"].symlink_to(paths["loop"])
    ghostscript = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: ghostscript.append(args))
    found = [str(e) for e in read_images(list(paths.values()), (28, 28, 1))]
    said = ("format is not known", "is empty", "is a folder", "not a regular file", "not known")
    said += ("no such image file", "symbolic links")
    for words, message, path in zip(said, found, paths.values(), strict=True):
        assert words in message and str(path) in message
    assert not ghostscript, "PostScript is a program: it is not to be run"


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    """Beyond twice the limit Pillow refuses itself, and below it only warns."""
    for width, height in ((60_000, 50_000), (10_000, 10_000)):
        (tmp_path / "bomb.png").write_bytes(png_header(width, height))
        (error,) = read_images([tmp_path / "bomb.png"], (28, 28, 3))
        assert isinstance(error, ValueError) and "a decompression bomb" in str(error)
    # A negative control: as many bytes, but of a small image, are a damaged one.
    (tmp_path / "small.png").write_bytes(png_header(9, 9))
    (error,) = read_images([tmp_path / "small.png"], (28, 28, 3))
    assert "bomb" not in str(error).partition("as an image:")[2]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(tmp_path, photo, kind):
    dark, light = (Image.new("RGB", (20, 20), color) for color in ("navy", "yellow"))
    dark.save(tmp_path / "x", kind, save_all=True, append_images=[light], lossless=True)
    with Image.open(tmp_path / "x") as image:
        assert image.n_frames == 2
    assert (read_image(tmp_path / "x", (8, 8, 3)) == (0, 0, 128)).all()


def test_palettes_with_transparency_and_sixteen_bits(tmp_path):
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.paste(1, (4, 4, 12, 12))
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")  # white on nothing
    values = np.zeros((16, 16), np.uint16)
    values[4:12, 4:12] = 40_000
    Image.fromarray(values).save(tmp_path / "deep.png")
    names = ("palette.png", "deep.png")
    images = list(read_images([tmp_path / n for n in names], (16, 16, 3), EARLIER))
    for image, light in zip(images, (255, 155), strict=True):
        assert is_gray(image) and image[8, 8, 0] == light and image[0, 0, 0] == 0


def test_photographs_stand_upright_and_damaged_exif_is_no_matter(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    photo.save(tmp_path / "x.jpg", exif=exif, quality=95)
    turned = photo.transpose(Image.Transpose.ROTATE_270)
    read = read_image(tmp_path / "x.jpg", (90, 60, 3))
    assert np.abs(read - np.asarray(turned, float)).mean() < 3
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content.replace(b"Exif\0\0MM\0*", b"Exif\0\0MMMMM", 1))
    assert (tmp_path / "x.jpg").read_bytes() != content
    (read,) = read_images([tmp_path / "x.jpg"], (60, 90, 3))
    assert np.abs(read - np.asarray(photo, float)).mean() < 3


def test_large_photographs_are_read_small_and_are_the_same(tmp_path, photo):
    large = photo.resize((3600, 2400), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    large.save(tmp_path / "x.bmp")
    quick, whole = (read_image(tmp_path / f"x.{kind}", (40, 60, 3)) for kind in ("jpg", "bmp"))
    assert np.abs(quick - whole.astype(float)).mean() < 2


def test_one_bad_image_does_not_cost_the_answers_of_others(own_run, own_images, tmp_path, capsys):
    good = sorted((own_images / "star").glob("*.png"))[:2]
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    capsys.readouterr()
    files = [good[0], bad, good[1], tmp_path / "gone.png"]
    assert main(["predict", str(own_run.path), *map(str, files)]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(good[0]), str(good[1])]
    assert "2 of 4 images could not be read" in err
    assert f"cannot read {bad}" in err and "no such image file" in err and "Traceback" not in err
    assert main(["predict", str(own_run.path), str(bad)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and str(bad) in err
