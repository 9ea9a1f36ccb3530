"""The range of brightness belongs to the data set: found once, announced, kept and used by all."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gconv_jax.export import read_image
from gconv_jax.export.brightness import limits
from tests.image_bytes import fits_unit, png_of_sixteen_bits
from train.__main__ import main
from train.config import Config
from train.data.load import load_data
from train.data.provenance import IMAGES
from train.data.reading import EARLIER, READING, Reading
from train.loop import train
from train.run.predictor import load_predictor
from train.run_folder.folder import Run

tifffile = pytest.importorskip("tifffile", reason="pip install 'gconv_jax[train]'")
SIDE = 64
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
OF_FOLDER = Config(dataset="folder", image_size=SIDE, batch_size=2, test_fraction=0.25)


def store(path: Path, values: np.ndarray) -> None:
    """Write one channel, as PNG where that holds the numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.dtype in (np.uint8, np.uint16):
        Image.fromarray(np.ascontiguousarray(values)).save(path.with_suffix(".png"))
    else:
        tifffile.imwrite(path.with_suffix(".tif"), values)


def folder_of(path: Path, *images: np.ndarray, count: int = 4) -> Path:
    """Two classes, each with ``count`` files, which are the images in turn, rotated."""
    for i in range(count):
        for label in "ab":
            store(path / label / str(i), np.rot90(images[i % len(images)], i))
    return path


def gapped(values: np.ndarray, gap: float) -> np.ndarray:
    values = values.astype(np.float32)
    values[3, 5] = gap
    return values


def whole(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.uint16)


RAMPS = {
    "max 255": whole(255 * RAMP), "max 256": whole(256 * RAMP), "10 bits": whole(100 + 900 * RAMP),
    "12 bits on an offset": whole(32768 + 4095 * RAMP), "to 1.01": (1.01 * RAMP).astype("f4"),
    "infinite": gapped(RAMP, np.inf), "not a number": gapped(RAMP, np.nan),
    "flux": (1e-3 * RAMP).astype("f4"), "CT": np.rint(2000 * RAMP - 1000).astype("i2"),
    "signed": (900 * RAMP - 300).astype("f4"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RAMPS)
def test_a_ramp_keeps_its_levels(tmp_path, kind):
    ramp = RAMPS[kind]
    config = dataclasses.replace(OF_FOLDER, data=folder_of(tmp_path, ramp))
    data = load_data(config)
    finite = ramp[np.isfinite(ramp)].astype(np.float64)
    low, high = finite.min(), finite.max()
    assert data.folder.reading == Reading(range=(low, high), depth="deeper")
    kept = np.concatenate([data.train.image, data.test.image])
    assert kept.shape == (8, SIDE, SIDE, 1)
    expected = 255 * (np.nan_to_num(ramp.astype(float), nan=low, posinf=high) - low) / (high - low)
    for image in kept:
        assert len(np.unique(image)) >= 250
        (turn,) = [i for i in range(4) if np.abs(np.rot90(expected, i) - image[..., 0]).max() < 1]
        assert turn in range(4), "the pixels are those of one of the files"
    (note,) = data.folder.notes[:1]
    numbers = " to ".join(f"{limit:,.6g}" for limit in (low, high))
    assert note.startswith(f"brightness: {numbers} in ") and note.endswith(" become 0 to 255")
    # From the disk the same.
    stored = load_data(dataclasses.replace(config, loader="grain"))
    np.testing.assert_array_equal(np.asarray(stored.train.image), data.train.image)
    np.testing.assert_array_equal(np.asarray(stored.test.image), data.test.image)
    # A negative control: without the range, few levels are left of most, or they are cut off.
    path = next((tmp_path / "a").iterdir())
    guessed = len(np.unique(read_image(path, (SIDE, SIDE, 1), ink="light")))
    assert (guessed < 250) == (kind not in ("max 255", "not a number"))


def test_few_pixels_far_outside_do_not_count(rng):
    values = rng.uniform(100, 200, 100_000)
    low, high = limits(values)
    assert (low, high) == (values.min(), values.max())
    values[:50] = 65_535
    low, high = limits(values)
    assert 100 <= low < 101 and 199 < high <= 200
    # Twice as far is not far: these are what there is to see.
    values[:50] = 240
    assert limits(values)[1] == 240
    # Nor is anything far where nearly all are equal.
    sparse = np.zeros(100_000)
    sparse[:50] = 7
    assert limits(sparse) == (0, 7)
    for few in (np.array([3.0]), np.array([1.0, np.nan]), np.array([1, 2]), np.array([np.inf])):
        finite = few[np.isfinite(few)]
        assert limits(few) == ((finite.min(), finite.max()) if finite.size else (0, 0))
    one_hot = rng.uniform(0, 1, (28, 28))
    one_hot[4, 4] = 1e9
    assert limits(one_hot)[1] < 1, "of a small image, too"


def test_the_range_is_that_of_training_images_alone(tmp_path):
    for split, top in (("train", 1000), ("val", 3000), ("test", 9000)):
        folder_of(tmp_path / split, whole(top * RAMP))
    config = dataclasses.replace(OF_FOLDER, data=tmp_path)
    data = load_data(config)
    assert data.folder.reading.range == (0, 1000)
    assert (data.test.image == 255).mean() > 0.8, "brighter ones are cut off"
    # Of a hot pixel it is told that it is outside.
    hot = whole(1000 * RAMP)
    hot[9, 9] = 65_535
    folder_of(tmp_path / "train", hot)
    data = load_data(config)
    low, high = data.folder.reading.range
    assert low == pytest.approx(1, abs=1) and high == pytest.approx(999, abs=1)
    assert "0.1 % of the training pixels are below and 0.1 % above, from 0 to 65,535" in "".join(
        data.folder.notes
    )


def test_images_of_eight_bits_stay_as_they_are(tmp_path):
    dark = (100 * RAMP).astype(np.uint8)
    data = load_data(dataclasses.replace(OF_FOLDER, data=folder_of(tmp_path, dark)))
    assert data.folder.reading == Reading(range=(0, 255), depth="8") and not data.folder.notes[1:]
    assert data.train.image.max() == 100


def test_a_range_by_hand_and_one_for_each_image(tmp_path):
    dim, bright = (100 * RAMP).astype(np.uint8), whole(4000 * RAMP)
    config = dataclasses.replace(OF_FOLDER, data=folder_of(tmp_path, dim, bright))
    said = (
        r"`range` auto needs images of one depth, and there are 4 images of 8 bits \(a/0.png, "
        r"a/2.png, b/0.png and 1 more\) and 4 images of more \(a/1.*--range LOW HIGH.*--range each"
    )
    with pytest.raises(ValueError, match=said):
        load_data(config)
    each = load_data(dataclasses.replace(config, range="each"))
    for image in each.train.image:
        assert len(np.unique(image)) >= 101 and (image.min(), image.max()) == (0, 255)
    by_hand = load_data(dataclasses.replace(config, range=(0.0, 2000.0)))
    tops = {int(image.max()) for image in by_hand.train.image}
    assert tops == {round(255 * 100 / 2000), 255}
    assert by_hand.folder.notes[0] == "brightness: 0 to 2,000 become 0 to 255"
    for path in tmp_path.glob("*/[13].png"):
        path.unlink()
    assert load_data(config).train.image.max() == 100, "a negative control: one depth is left"


def test_images_without_a_range_are_told(tmp_path):
    config = dataclasses.replace(OF_FOLDER, data=folder_of(tmp_path, np.full((9, 9), 7.0)))
    with pytest.raises(ValueError, match=r"6 training images are from 7 to 7; name it with --ran"):
        load_data(config)
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    folder_of(tmp_path, np.full((9, 9), np.nan))
    with pytest.raises(ValueError, match="6 training images are not finite"):
        load_data(config)
    data = load_data(dataclasses.replace(config, range=(0.0, 1.0)))
    assert (data.train.image == 0).all()
    assert data.folder.notes[1].startswith("warning: 8 images are of one value: b/")


def test_color_of_sixteen_bits_and_fits_are_trained_on(tmp_path):
    color = np.stack([whole(1000 * RAMP), whole(4000 * RAMP.T), whole(100 + 0 * RAMP)], -1)
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(4):
            (tmp_path / label / f"{i}.png").write_bytes(png_of_sixteen_bits(color))
    data = load_data(dataclasses.replace(OF_FOLDER, data=tmp_path))
    expected = np.rint(255 * color.astype(float) / 4000)
    np.testing.assert_array_equal(data.train.image, np.stack([expected] * 6))
    for path in tmp_path.glob("*/*.png"):
        path.with_suffix(".FITS").write_bytes(fits_unit(1e-9 * RAMP))
        path.unlink()
    data = load_data(dataclasses.replace(OF_FOLDER, data=tmp_path))
    expected = np.rint(255 * RAMP[::-1, :, None])
    np.testing.assert_array_equal(data.train.image, np.stack([expected] * 6))


def alpha_image(gray: int, alpha: int, side: int = 9) -> Image.Image:
    pixels = np.zeros((side, side, 2), np.uint8)
    pixels[2:7, 2:7] = gray, alpha
    return Image.fromarray(pixels)


def test_one_ground_for_all_transparent_images(tmp_path):
    """Each has the contrast that most training images need, whatever its own brightness."""
    for i in range(8):
        for label in "ab":
            path = tmp_path / label / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            alpha_image(200 if i < 6 else 30, 255).save(path)
    config = dataclasses.replace(OF_FOLDER, data=tmp_path, image_size=9)
    data = load_data(config)
    assert data.folder.reading.ground == "black"
    assert data.folder.notes[0] == "transparent parts of images are put on black, in all of them"
    assert not [note for note in data.folder.notes if "warning" in note]
    every = np.concatenate([data.train.image, data.test.image])
    assert (every[:, 0, 0] == 0).all() and {int(x[4, 4, 0]) for x in every} == {30, 200}
    # A negative control: on their own, dark ones are put on white.
    assert read_image(tmp_path / "a" / "7.png", (9, 9, 1), ink="light")[0, 0] == 255
    alpha_image(200, 0).save(tmp_path / "b" / "3.png")
    Image.new("L", (9, 9), 200).save(tmp_path / "a" / "4.png")
    notes = load_data(config).folder.notes
    assert "warning: 1 image is transparent everywhere: b/3.png" in notes
    assert "warning: 2 images are of one value: a/4.png, b/3.png" in notes or (
        "warning: 2 images are of one value: b/3.png, a/4.png" in notes
    )
    for path in tmp_path.glob("*/*.png"):
        alpha_image(30, 255).save(path)
    assert load_data(config).folder.reading.ground == "white"


def test_the_ground_of_deep_images_is_found_in_their_range(tmp_path):
    """Values of 3,000 are dark in 0 to 40,000, and light in 0 to 4,000."""
    for top, ground in ((40_000, "white"), (4000, "black")):
        pixels = np.full((9, 9, 2), (3000, 65_535), np.uint16)
        pixels[0, 0], pixels[8, 8], pixels[4] = (top, 65_535), (0, 65_535), (50_000, 0)
        for name in ("a/1", "a/2", "b/1", "b/2"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}.png").write_bytes(png_of_sixteen_bits(pixels))
        config = dataclasses.replace(OF_FOLDER, data=tmp_path, image_size=9)
        reading = load_data(config).folder.reading
        assert reading == Reading("light", (0, top), "deeper", ground), "what is hidden is not seen"


@pytest.fixture(scope="module")
def deep_run(tmp_path_factory) -> Run:
    """A finished run on 12 bits with two hot pixels, two epochs long."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("deep")
    for label, slope in (("a", 1), ("b", -1)):
        for i in range(8):
            image = whole(500 + 3000 * RAMP[::slope] + rng.normal(0, 90, RAMP.shape))
            image[i, i] = 65_000
            store(path / "images" / label / str(i), image)
    config = dataclasses.replace(
        OF_FOLDER, data=path / "images", image_size=28, model="lenet", width=2, epochs=2,
        parallel="jit", report="none", validation=2,
    )  # fmt: skip
    return train(config, path / "run", lambda line: None)


def test_a_run_keeps_its_range(deep_run, tmp_path, capsys):
    kept = json.loads((deep_run.path / READING).read_text())
    assert kept == deep_run.results["input"]["reading"]
    assert kept["depth"] == "deeper" and 200 < kept["range"][0] < 500 and kept["range"][1] < 4000
    data = load_data(deep_run.config)
    image, label = np.asarray(data.test.image), data.test.label
    network = load_predictor(deep_run)
    assert network.reading == data.folder.reading
    expected = network.probabilities(list(image))
    # Files that are predicted have the pixels of the test, whatever is predicted beside them.
    names = [file.name for file in data.folder.files if file.split == "test"]
    files = [str(deep_run.config.data / name) for name in names]
    capsys.readouterr()
    assert main(["predict", str(deep_run.path), files[0]]) == 0
    best = expected[0].argmax()
    assert f"{'ab'[best]} ({100 * expected[0, best]:.1f} %)" in capsys.readouterr().out
    assert {Path(n).parent.name for n in names} == set("ab") and len(label) == len(names)
    assert main(["export", str(deep_run.path), "--out", str(tmp_path / "net")]) == 0
    about = json.loads((tmp_path / "net.json").read_text())["image"]
    assert about["range"] == kept["range"]
    np.testing.assert_array_equal(read_image(files[0], **about), image[0])
    # Images of 8 bits have another scale, and are refused.
    store(tmp_path / "8", (255 * RAMP).astype(np.uint8))
    capsys.readouterr()
    assert main(["predict", str(deep_run.path), str(tmp_path / "8.png")]) == 2
    assert "has 8 bits a channel, and the images of the training had more" in (
        capsys.readouterr().err
    )


def test_other_test_images_do_not_change_the_range_of_a_run(deep_run, tmp_path, capsys):
    moved = Path(shutil.copytree(deep_run.config.data, tmp_path / "moved"))
    rows = [json.loads(line) for line in (deep_run.path / IMAGES).read_text().splitlines()]
    for row in rows:
        if row["split"] == "train":
            (moved / row["file"]).unlink()
    error = f"{100 * deep_run.results['test_error']:.2f} %"
    assert main(["evaluate", str(deep_run.path), "--data", str(moved)]) == 0
    assert error in capsys.readouterr().out
    kept = load_data(deep_run.config_at(data=moved), deep_run, finished=True)
    expected = load_data(deep_run.config)
    np.testing.assert_array_equal(kept.test.image, expected.test.image)


@pytest.mark.parametrize("left", [(), ("reading",)], ids=["kept", "of an earlier version"])
def test_an_unfinished_run_goes_on_with_the_range_that_it_began_with(deep_run, tmp_path, left):
    run = Run(shutil.copytree(deep_run.path, tmp_path / "run"))
    (run.path / "results.json").unlink()
    kept = json.loads((run.path / READING).read_text()) | {"range": [0, 9000]}
    (run.path / READING).write_text(json.dumps(kept))
    if left:
        (run.path / READING).unlink()
    reading = load_data(run.config, run).folder.reading
    assert reading == (EARLIER if left else Reading(range=(0, 9000), depth="deeper"))
    assert main(["--resume", str(run.path)]) == 0
    assert run.results["input"]["reading"] == reading.arguments()
    (run.path / READING).write_text("[1]")
    (run.path / "results.json").unlink()
    with pytest.raises(ValueError, match=r"reading\.json is damaged"):
        load_data(run.config, run)


def test_a_finished_run_of_an_earlier_version_reads_as_it_did(deep_run, tmp_path):
    run = Run(shutil.copytree(deep_run.path, tmp_path / "run"))
    (run.path / READING).unlink()
    results = run.results
    del results["input"]["reading"]
    run.write_json("results.json", results)
    assert load_predictor(run).reading == EARLIER
    data = load_data(run.config, run, finished=True)
    path = run.config.data / next(f.name for f in data.folder.files if f.split == "test")
    with Image.open(path) as image:
        guessed = np.clip(255 * np.asarray(image, np.float64) / 65535, 0, 255).astype(np.uint8)
    small = Image.fromarray(guessed).resize((28, 28), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(data.test.image[0, ..., 0], np.asarray(small))


@pytest.mark.parametrize(("options", "said"), [
    ({"range": (5.0, 5.0)}, "`range` must be auto, each, or two .* got 5 5"),
    ({"range": (1.0, 2.0, 3.0)}, "got 1 2 3"), ({"range": (0.0, np.nan)}, "got 0 nan"),
    ({"range": "some"}, "`range` must be"), ({"range": (-1e308, 1e308)}, "`range` must be"),
    ({"dataset": "digits", "image_size": None, "range": "each"}, "`range` is for images of your"),
])  # fmt: skip
def test_ranges_that_are_none(options, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(OF_FOLDER, **options)


@pytest.mark.parametrize("chosen", ["auto", "each", (-1000.0, 0.5)])
def test_a_range_survives_a_round_trip(chosen):
    config = dataclasses.replace(OF_FOLDER, data=Path("x"), range=chosen)
    assert Config.from_json(config.to_json()) == config
    reading = Reading(range=None if chosen == "auto" else chosen, ground="white")
    assert Reading.from_arguments(json.loads(json.dumps(reading.arguments()))) == reading
