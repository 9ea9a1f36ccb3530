"""Folders and arrays with masks: what is read, how it is divided, what is refused."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.masks import draw_masks, scenes
from train.config import Config
from train.data.image_files import read_image
from train.data.load import load_data
from train.data.mask_classes import IGNORED, MaskClasses, classes_of_values
from train.data.mask_files import fitted_mask, image_sides, read_mask
from train.data.mask_folder import MaskFolder
from train.data.provenance import write_record
from train.data.summary import summary_lines
from train.run_folder.folder import Run

MASKS = Config(
    task="segmentation", model="unet", dataset="folder", image_size=16, batch_size=4,
    validation=0.2,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    return draw_masks(tmp_path / "discs", 20, values=(0, 1, 2))


def loaded(path: Path, **options):
    return load_data(dataclasses.replace(MASKS, data=path, **options))


def test_masks_are_labels_and_stay_with_their_images(folder):
    data = loaded(folder)
    images, masks = scenes(20, classes=3)
    assert data.classes == 3 and data.names == ("0", "1", "2")
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    for split, part in parts.items():
        places = [int(Path(f.name).stem) for f in data.folder.files if f.split == split]
        assert part.label.dtype == np.uint8 and len(places) == len(part.label)
        np.testing.assert_array_equal(part.image[..., 0], images[places])
        np.testing.assert_array_equal(part.label, masks[places])
    assert sum(len(part.label) for part in parts.values()) == 20 and len(data.test.label) == 4
    said = "\n".join(summary_lines(MASKS, data.folder))
    assert "20 images with masks of 3 classes" in said and "warning" not in said
    again = {f.name: f.split for f in loaded(folder).folder.files}
    assert again == {f.name: f.split for f in data.folder.files}


def test_two_values_are_two_classes_and_names_are_read(tmp_path):
    folder = draw_masks(tmp_path / "discs", 10)
    assert loaded(folder).names == ("0", "255")
    (folder / "classes.txt").write_text("ground\ncell\n")
    data = loaded(folder)
    assert data.names == ("ground", "cell") and data.folder.masks.values == (0, 255)
    assert set(np.unique(data.train.label)) == {0, 1}


def test_splits_and_stems_and_groups(tmp_path):
    draw_masks(tmp_path / "data" / "train", 12)
    draw_masks(tmp_path / "data" / "test", 4, seed=1)
    train = tmp_path / "data" / "train"
    for i in range(12):  # another suffix, an ending, and a folder for each two
        below = train / "images" / f"p{i // 2}", train / "masks" / f"p{i // 2}"
        for place in below:
            place.mkdir(exist_ok=True)
        Image.open(train / "images" / f"{i}.png").save(below[0] / f"{i}.bmp")
        (train / "images" / f"{i}.png").unlink()
        (train / "masks" / f"{i}.png").rename(below[1] / f"{i}_mask.png")
    shutil.copy(train / "masks" / "p0" / "0_mask.png", train / "masks" / "p0" / "99.png")
    data = loaded(tmp_path / "data")
    files = data.folder.files
    assert {f.name for f in files if f.split == "test"} == {
        f"test/images/{i}.png" for i in range(4)
    }
    groups = [{f.group for f in files if f.split == s} for s in ("train", "validation")]
    assert groups[0].isdisjoint(groups[1]) and len(groups[0]) + len(groups[1]) == 6
    assert any("1 mask of no image" in note for note in data.folder.notes)
    named = loaded(tmp_path / "data", groups_by="(p[0-9]|test)")
    assert {f.group for f in named.folder.files} == {*(f"p{i}" for i in range(6)), "test"}


def test_arrays(tmp_path):
    images, masks = scenes(20, classes=3)
    path = tmp_path / "x.npz"
    arrays = {"train_images": images[:14], "train_masks": masks[:14, ..., None].astype(np.int64)}
    arrays |= {"test_images": images[14:], "test_masks": masks[14:]}
    np.savez(path, **arrays, class_names=["ground", "disc", "bar"])
    data = loaded(path, image_size=None)
    assert data.names == ("ground", "disc", "bar") and data.folder.own_test
    places = [int(f.name.split("/")[1]) for f in data.folder.files if f.split == "test"]
    np.testing.assert_array_equal(data.test.label, masks[14:][places])
    np.savez(path, images=images, masks=masks > 0)
    assert loaded(path, image_size=None).names == ("0", "1")


@pytest.mark.parametrize("sides", [(16, 16), (30, 20), (11, 40), (5, 5)])
def test_masks_are_scaled_and_placed_as_their_images(sides, tmp_path):
    """A mask that is shown as an image: both are equal where the image is of one value."""
    mask = np.zeros(sides, np.uint8)
    mask[sides[0] // 2 :, sides[1] // 3 :] = 1
    pixels = read_image(255 * mask, (16, 16, 1), ink="light", range=(0, 255))[..., 0]
    label = fitted_mask(mask, (16, 16))
    inside = label != IGNORED
    sure = inside & ((pixels < 64) | (pixels > 191))
    assert sure[inside].mean() > 0.7
    np.testing.assert_array_equal(label[sure], pixels[sure] // 128)
    if sides[0] == sides[1]:
        assert inside.all()
    else:
        assert inside.any(0).all() or inside.any(1).all()
        assert inside.mean() == pytest.approx(min(sides) / max(sides), abs=0.1)


def test_volumes_are_put_in_the_middle():
    mask = np.ones((3, 4, 6), np.uint8)
    label = fitted_mask(mask, (8, 8, 8))
    assert (label == 1).sum() == mask.size and (label == IGNORED).sum() == 512 - mask.size
    assert (label[2:5, 2:6, 1:7] == 1).all()


def test_the_values_of_palettes_grays_and_colors(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name, image in {
        "gray.png": Image.fromarray(values),
        "rgb.png": Image.fromarray(np.repeat(values[..., None], 3, -1)),
    }.items():
        image.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), values)
    palette = Image.fromarray(values)
    palette.putpalette([7 * i % 256 for i in range(36)])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "p.png"), values)
    Image.fromarray(values > 5).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.png"), values > 5)
    np.save(tmp_path / "x.npy", values.astype(np.float32))
    np.testing.assert_array_equal(read_mask(tmp_path / "x.npy"), values)
    assert image_sides(tmp_path / "p.png", 3) == (3, 4)


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (range(200), None, "200 different values .*anti-aliased or JPEG masks have; save them as"),
        ([0, 128, 255], None, "128 different|values 0, 128.*none of 1, 2|anti-aliased"),
        ([0, 2], None, r"values 0, 2, and none of 1: they must be the indices 0 to K - 1"),
        ([0], None, "one class alone"),
        ([0, 1, 2], ("a", "b"), "masks have the values 0, 1, 2, and 2 classes are named"),
        ([0, 255], ("a", "b", "c"), "masks of 0 and 255 have two classes, and 3 classes are named"),
        ([0, 1], ("a", "a"), "names of classes must differ"),
    ],
)
def test_values_that_are_no_classes(values, names, message):
    with pytest.raises(ValueError, match=message):
        classes_of_values(list(values), names)


def test_values_that_are_classes():
    assert classes_of_values([0, 255], None) == MaskClasses((0, 255), ("0", "255"))
    ignoring = classes_of_values([0, 1, 255], None)
    assert ignoring.values == (0, 1)
    assert ignoring.indices(np.array([0, 1, 255])).tolist() == [0, 1, IGNORED]
    assert classes_of_values([0, 2], ("a", "b", "c")).values == (0, 1, 2)
    for classes in (ignoring, MaskClasses((0, 255), ("a", "b"))):
        label = np.arange(2)
        np.testing.assert_array_equal(classes.indices(classes.stored(label)), label)
    with pytest.raises(ValueError, match=r"it has the value 7, and the classes are 0, 255"):
        MaskClasses((0, 255), ("a", "b")).indices(np.array([0, 7, 255]))


def change(folder: Path, what: str) -> None:
    """Make a mistake with image 3 that users make."""
    mask = folder / "masks" / "3.png"
    if what == "gone":
        mask.unlink()
    elif what == "size":
        Image.new("L", (16, 12)).save(mask)
    elif what == "smooth":
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(mask)
    elif what == "color":
        Image.new("RGB", (16, 16), (255, 0, 0)).save(mask)
    elif what == "broken":
        mask.write_bytes(b"no image")
    elif what == "twice":
        shutil.copy(mask, folder / "masks" / "3.bmp")
    elif what == "no masks":
        shutil.rmtree(folder / "masks")
    elif what == "no images":
        shutil.rmtree(folder / "images")
        (folder / "images").mkdir()
    else:
        (folder / "images" / "train").mkdir()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("gone", r"masks has no mask of 1 image of 20 \(images/3.png\); a mask has the path of"),
        ("size", r"1 mask of 20 that cannot be used: masks/3.png: it is of 12 x 16 pixels, and the "
                 r"image of 16 x 16"),
        ("smooth", r"anti-aliased or JPEG masks have.*masks/3.png has 256 values"),
        ("color", r"masks/3.png: it is in color; masks are PNG of class indices"),
        ("broken", r"masks/3.png: it cannot be read"),
        ("twice", r"images/3.png has several masks|$^"),
        ("no masks", r"must have images/ and masks/ .*it has images/ and no masks/"),
        ("no images", r"images has no image files"),
        ("splits", r"images has train/, as splits are named: move them above, as train/images and"),
    ],
)  # fmt: skip
def test_mistakes_are_named(folder, what, message):
    change(folder, what)
    if what == "twice":  # the one of the same name is meant
        assert MaskFolder(folder).mask_name("images/3.png") == "masks/3.png"
        return
    with pytest.raises(ValueError, match=message) as error:
        loaded(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_masks": None}, "has train_images and no train_masks, as --task segmentation"),
        ({"train_masks": np.zeros((20, 8, 8), int)}, r"train_masks must be a mask for each image"),
        ({"train_masks": np.full((20, 16, 16), 0.5)}, "its values must be integers, not float64"),
        ({"class_names": ["a", "b"]}, "masks have the values 0, 1, 2, and 2 classes are named"),
    ],
)
def test_arrays_that_are_no_masks(tmp_path, arrays, message):
    images, masks = scenes(20, classes=3)
    every = {"train_images": images, "train_masks": masks} | arrays
    np.savez(tmp_path / "x.npz", **{n: a for n, a in every.items() if a is not None})
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / "x.npz", image_size=None)


def test_a_record_holds_the_masks_to_what_they_were(folder, tmp_path):
    config = dataclasses.replace(MASKS, data=folder)
    run = Run.create(config, tmp_path / "run")
    first = load_data(config)
    write_record(run, first.folder.files)
    draw_masks(tmp_path / "more", 21, values=(0, 1, 2))
    for name in ("images", "masks"):
        shutil.copy(tmp_path / "more" / name / "20.png", folder / name)
    again = load_data(config, run)
    np.testing.assert_array_equal(again.train.label, first.train.label)
    assert again.folder.fingerprint == first.folder.fingerprint
    mask = Image.open(folder / "masks" / "5.png")
    Image.fromarray(np.asarray(mask)[::-1].copy()).save(folder / "masks" / "5.png")
    with pytest.raises(ValueError, match=r"relabeled \(images/5.png\); restore the files"):
        load_data(config, run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet"}, "`model` resnet gives one class for an image, and --task"),
        ({"task": "auto"}, "`model` unet gives a class for each pixel: add --task segmentation"),
        ({"loss": "huber"}, "`loss` huber is "),
        ({"sampling": "balanced"}, "`sampling` balanced is not for masks"),
        ({"metric": "auc", "patience": 1}, "`metric` auc is not for masks .*accuracy or loss or"),
        ({"adapt": "canonicalize", "group": "z2"}, "`adapt` canonicalize is not for masks"),
        ({"task": "auto", "model": "resnet", "loss": "dice"}, "`loss` dice is for masks: add"),
    ],
)  # fmt: skip
def test_options_that_are_not_for_masks(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MASKS, **options)
