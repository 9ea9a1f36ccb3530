"""Images with more channels than colors: bands of TIFF files, and arrays, up to the report."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from gconv_jax.export import image_decoders
from tests.train.pages import cut, parse, picture
from train.__main__ import main
from train.config import Config
from train.data.load import load_data
from train.loop import train
from train.options import image_checks
from train.recipes.typed_options import configure
from train.report.shown_channels import shown_channels
from train.run_folder.folder import Run
from train.steps.augment import Prepare

tifffile = pytest.importorskip("tifffile", reason="pip install 'gconv_jax[train]'")
OF_FOLDER = Config(dataset="folder", image_size=28, batch_size=4, test_fraction=0.25)


def bands(count: int, label: str, rng: np.random.Generator) -> np.ndarray:
    """A spot in the first channel for one class and in the last for the other, as 12 bits."""
    image = rng.integers(0, 2000, (28, 28, count)).astype(np.uint16)
    image[9:19, 9:19, 0 if label == "a" else -1] += 2000
    return image


def store(path: Path, values: np.ndarray, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "npy":
        np.save(path.with_suffix(".npy"), values)
    else:
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(path.with_suffix(f".{kind}"), values, **options)


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> Path:
    """Images of five channels, half of them TIFF files and half arrays."""
    folder, rng = tmp_path_factory.mktemp("five") / "images", np.random.default_rng(0)
    for i in range(8):
        for label in "ab":
            store(folder / label / str(i), bands(5, label, rng), ("tif", "npy")[i % 2])
    return folder


@pytest.fixture(scope="module")
def run(five, tmp_path_factory) -> Run:
    config = dataclasses.replace(
        OF_FOLDER, data=five, channels=5, model="lenet", group="p4", width=4, epochs=8,
        augment="rotate", parallel="jit", angles=4, learning_rate=3e-3,
    )  # fmt: skip
    return train(config, tmp_path_factory.mktemp("run") / "run", lambda line: None)


@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_channels_are_taken_as_they_are_in_one_range(five, loader):
    config = dataclasses.replace(OF_FOLDER, data=five, channels=5, loader=loader)
    data = load_data(config)
    files = [file for file in data.folder.files if file.split == "train"]
    read = {".npy": np.load, ".tif": tifffile.imread}
    values = np.stack([read[Path(f.name).suffix](five / f.name) for f in files]).astype(float)
    low, high = data.folder.reading.range
    assert (low, high) == (values.min(), values.max())
    expected = np.rint(255 * (values - low) / (high - low))
    np.testing.assert_array_equal(np.asarray(data.train.image), expected)


def test_they_are_trained_on_and_predicted(run, five, tmp_path, capsys):
    assert run.results["test_error"] == 0 and run.results["input"]["shape"] == [28, 28, 5]
    for label in "ab":
        assert main(["predict", str(run.path), str(five / label / "0.tif")]) == 0
        assert f"0.tif: {label} (" in capsys.readouterr().out
    # A negative control: with the channels the other way round it is the other class.
    np.save(tmp_path / "x.npy", tifffile.imread(five / "a" / "0.tif")[..., ::-1])
    assert main(["predict", str(run.path), str(tmp_path / "x.npy")]) == 0
    assert "x.npy: b (" in capsys.readouterr().out
    np.save(tmp_path / "x.npy", np.zeros((9, 9, 4), np.uint16))
    assert main(["predict", str(run.path), str(tmp_path / "x.npy")]) == 2
    assert "it has 4 channels, and 5 are expected; --channels 4" in capsys.readouterr().err


def test_the_report_shows_three_of_them_and_says_so(run):
    text = (run.path / "report.md").read_text()
    said = "with 5 channels, of which pictures show the first three as RGB; brightness: 0 to "
    assert said in " ".join(text.split())
    page = parse(run)
    assert said in " ".join(page.text.split())
    for shown in page.data["inputs"]["images"]:
        first = cut(picture(shown["sprite"]), shown)[0].astype(int)
        assert first.shape == (28, 28, 3), "the slider has the same"
        spot = first[11:17, 11:17].mean((0, 1)) - first[:7].mean((0, 1))
        assert (spot[0] > 60) == (shown["label"] == 0) and np.abs(spot[1:]).max() < 40
    with Image.open(run.path / "predictions.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1:3].max(-1) > 60).sum()
    assert red > 50, "the spots in the first channel are red"


def test_what_is_shown(rng):
    image = rng.integers(0, 256, (2, 6, 6, 5)).astype(np.uint8)
    for count in (1, 3):
        assert shown_channels(image[..., :count]) is not None
        np.testing.assert_array_equal(shown_channels(image[..., :count]), image[..., :count])
    np.testing.assert_array_equal(shown_channels(image), image[..., :3])
    two = shown_channels(image[..., :2])
    assert two.dtype == np.uint8
    assert np.abs(two[..., 0] - image[..., :2].astype(float).mean(-1)).max() < 1


@pytest.mark.parametrize("augment", ["jitter", "rotate", "shift-flip"])
def test_augmentation_moves_all_channels_alike(rng, augment):
    one = rng.integers(0, 256, (3, 16, 16, 1)).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), 3)
    prepare = Prepare(0.4, 0.3, augment)
    many = np.asarray(prepare(np.repeat(one, 5, -1), keys))
    alone = np.asarray(prepare(one, keys))
    np.testing.assert_allclose(many, np.repeat(alone, 5, -1), atol=1e-5)
    assert np.abs(alone - np.asarray(prepare(one))).max() > 0.1, "they move"


def test_files_with_another_number_are_named(five, tmp_path, rng):
    for i in range(4):
        for label in "ab":
            store(tmp_path / label / str(i), bands(5, label, rng), "tif")
    store(tmp_path / "a" / "9", bands(13, "a", rng), "npy")
    config = dataclasses.replace(OF_FOLDER, data=tmp_path, channels=5)
    notes = "".join(load_data(dataclasses.replace(config, batch_size=2)).folder.notes)
    said = "skipped 1 file that cannot be read: a/9.npy (it has 13 channels, and 5 are expected; "
    assert f"{said}--channels 13)" in notes
    with pytest.raises(ValueError, match=r"a/\d.tif \(it has 5 channels, and 3 are expected; --ch"):
        load_data(dataclasses.replace(config, channels="auto"))
    with pytest.raises(ValueError, match="it has 5 channels, and 1 is expected; --channels 5"):
        load_data(dataclasses.replace(config, channels="grey"))
    Image.new("L", (9, 9)).save(tmp_path / "b" / "9.png")
    with pytest.raises(ValueError, match=r"1 image of 8 bits \(b/9.png\) and 9 images of more"):
        load_data(config)


def test_pages_that_are_not_read_are_told(tmp_path, rng):
    for i in range(4):
        for label in "ab":
            path = tmp_path / label / f"{i}.tif"
            path.parent.mkdir(exist_ok=True)
            pages = np.moveaxis(bands(4, label, rng), -1, 0)
            tifffile.imwrite(path, pages[: 1 if i else None], photometric="minisblack")
    config = dataclasses.replace(OF_FOLDER, data=tmp_path, batch_size=2)
    notes = load_data(config).folder.notes
    said = "warning: of 2 images with several pages the first is read: a/0.tif, b/0.tif; --channels"
    assert [note for note in notes if note.startswith(said)]


@pytest.mark.parametrize("count", [1, 17, 0, -3])
def test_numbers_that_are_none(count):
    with pytest.raises(ValueError, match=f"a number from 2 to 16, got {count}$"):
        configure("folder", ["--data", "x", "--channels", str(count)])
    assert configure("folder", ["--data", "x", "--channels", "13"]).channels == 13


def test_the_most_channels_are_those_of_the_decoders():
    assert image_checks.MOST_CHANNELS == image_decoders.MOST_CHANNELS
