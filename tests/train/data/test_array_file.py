"""Images of one's own in an .npz file: what is read, how it is split, and runs on it."""

import dataclasses
import json

import numpy as np
import pytest

from train.__main__ import main
from train.config import Config
from train.data.array_file import ArrayFile
from train.data.image_folder import load_folder
from train.data.provenance import IMAGES, read_record
from train.run_folder.folder import Run

OF_ARRAYS = Config(dataset="folder", validation=0)


def images(count: int, shape=(6, 6), dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(dtype)


def labels(count: int) -> np.ndarray:
    return np.arange(count) % 2


def medmnist(path, shape=(6, 6), **changes):
    """A file with 12 training, 4 validation and 6 test images of two classes."""
    arrays = {}
    for seed, (split, count) in enumerate((("train", 12), ("val", 4), ("test", 6))):
        arrays[f"{split}_images"] = images(count, shape, seed=seed)
        arrays[f"{split}_labels"] = labels(count)[:, None]
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def load(path, **changes):
    return load_folder(dataclasses.replace(OF_ARRAYS, data=path, **changes))


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1), (7, 5, 3)])
def test_pixels_and_labels_are_those_of_the_file(tmp_path, shape):
    arrays = medmnist(tmp_path / "x.npz", shape, class_names=np.array(["cat", "bee"]))
    folder = load(tmp_path / "x.npz")
    assert folder.names == ("bee", "cat") and folder.own_test
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        part, stored = getattr(folder, split), arrays[f"{short}_images"]
        names = [f.name for f in folder.files if f.split == split]
        assert sorted(names) == sorted(f"{split}/{i}" for i in range(len(stored)))
        assert part.image.shape[1:] == (
            max(shape[:2]),
            max(shape[:2]),
            shape[2] if shape[2:] else 1,
        )
        left = (part.image.shape[2] - shape[1]) // 2
        for name, pixels, label in zip(names, part.image, part.label, strict=True):
            i = int(name.rpartition("/")[2])
            shown = pixels[:, left : left + shape[1]]
            np.testing.assert_array_equal(shown, stored[i].reshape(shown.shape))
            assert folder.names[label] == ("cat", "bee")[i % 2]


def test_a_file_without_splits_is_split_by_class(tmp_path):
    np.savez(tmp_path / "x.npz", images=images(40), labels=np.arange(40) % 20 // 10 * 9 + 2)
    folder = load(tmp_path / "x.npz", test_fraction=0.25)
    assert folder.names == ("02", "11") and not folder.own_test
    assert np.bincount(folder.test.label).tolist() == [5, 5]
    assert len(folder.train.label) == 30 and folder.validation is None
    again = load(tmp_path / "x.npz", test_fraction=0.25)
    assert again.files == folder.files
    other = load(tmp_path / "x.npz", test_fraction=0.5)  # a negative control
    assert other.fingerprint != folder.fingerprint


def test_the_names_of_keras_and_text_labels(tmp_path):
    text = np.array(["a", "b"] * 4)
    np.savez(tmp_path / "x.npz", x_train=images(8), y_train=text, x_test=images(8), y_test=text)
    folder = load(tmp_path / "x.npz")
    assert folder.names == ("a", "b") and len(folder.train.label) == len(folder.test.label) == 8


def test_groups_stay_on_one_side(tmp_path):
    groups = np.arange(40) // 4
    np.savez(tmp_path / "x.npz", images=images(40), labels=labels(40), groups=groups)
    folder = load(tmp_path / "x.npz", test_fraction=0.3, validation=0.2)
    sides = {}
    for file in folder.files:
        assert file.group == str(groups[int(file.name)])
        sides.setdefault(file.group, set()).add(file.split)
    assert len(sides) == 10 and all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "validation", "test"}


def test_deep_arrays_have_one_range(tmp_path):
    """It is that of the training images, and the levels are kept."""
    ramp = np.linspace(100, 1000, 900).astype(np.uint16)
    train = np.stack([ramp.reshape(30, 30), ramp[::-1].reshape(30, 30)] * 4)
    arrays = {"train_images": train, "train_labels": labels(8)}
    arrays |= {"test_images": train[:2] // 2, "test_labels": labels(2)}
    np.savez(tmp_path / "x.npz", **arrays)
    folder = load(tmp_path / "x.npz")
    assert folder.reading.range == (100, 1000)
    assert len(np.unique(folder.train.image)) >= 250
    assert folder.test.image.max() == np.rint(255 * (500 - 100) / 900)


def test_channels_are_taken_as_they_are(tmp_path):
    arrays = medmnist(tmp_path / "x.npz", (6, 6, 5))
    folder = load(tmp_path / "x.npz")
    assert folder.test.image.shape == (6, 6, 6, 5)
    i = int(next(f.name for f in folder.files if f.split == "test").rpartition("/")[2])
    np.testing.assert_array_equal(folder.test.image[0], arrays["test_images"][i])
    with pytest.raises(ValueError, match="has 5 channels, and 3 are expected; --channels 5"):
        load(tmp_path / "x.npz", channels="colour")


def test_a_run_of_arrays_from_training_to_resumption(tmp_path, capsys):
    path, run = tmp_path / "x.npz", tmp_path / "run"
    arrays = medmnist(path, (12, 12), class_names=np.array(["cat", "bee"]))
    words = ["--model", "z2-resnet", "--width", "2", "--blocks", "1", "--batch-size", "4"]
    words += ["--parallel", "jit", "--report", "none"]
    words = ["--data", str(path), *words, "--epochs", "1", "--run", str(run)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "test images: those of the file" in said and "12 x 12 pixels, gray" in said
    assert "12 training, 4 validation and 6 test images" in said
    error = json.loads((run / "results.json").read_text())["test_error"]
    assert main(["evaluate", str(run)]) == 0
    assert f"{100 * error:.2f} %" in capsys.readouterr().out
    rows = [json.loads(line) for line in (run / IMAGES).read_text().splitlines()]
    assert {row["file"]: row["class"] for row in rows}["test/3"] == "bee"
    # Another image in its place is told, and not gone on with.
    images = arrays["train_images"].copy()
    images[3] += 1
    medmnist(path, (12, 12), class_names=np.array(["cat", "bee"]), train_images=images)
    assert main(["--resume", str(run), "--epochs", "2"]) == 2
    assert "1 of 12 training images changed (train/3)" in capsys.readouterr().err
    # Nor is one with another label.
    swapped = labels(12)[::-1]
    medmnist(path, (12, 12), class_names=np.array(["cat", "bee"]), train_labels=swapped)
    with pytest.raises(ValueError, match="12 of 12 training images relabeled"):
        load_folder(dataclasses.replace(OF_ARRAYS, data=path), read_record(Run.open(run)))
    medmnist(path, (12, 12), class_names=np.array(["cat", "bee"]))
    assert main(["--resume", str(run), "--epochs", "2"]) == 0


WRONG = [
    ({"train_images": None}, "must have the arrays train_images and train_labels"),
    ({"train_labels": None}, "has train_images and no train_labels"),
    ({"train_labels": labels(11)}, r"must be one label for each of 12 images, got \(11,\)"),
    ({"train_labels": np.zeros((12, 3), int)}, "has no training image of 0, 1, 2: leave out"),
    ({"train_labels": np.full((12, 3), 2)}, r"train_labels \(12, 3\) must be 0 and 1, a column"),
    ({"train_labels": np.zeros((12, 2, 2), int)}, r"must be one label for each of 12 images, got"),
    (
        {
            "train_labels": np.eye(3, dtype=int)[:2].repeat(6, 0),
            "class_names": np.array(["a", "b"]),
        },
        "class_names must name the 3 columns of train_labels, and has 2 names",
    ),
    ({"train_labels": np.zeros(12)}, "must be integers or text, not float64"),
    ({"train_labels": labels(12) - 1}, "must be from 0, got -1 to 0"),
    ({"train_labels": np.zeros(12, int)}, "two or more classes; there is only 0"),
    ({"test_labels": labels(6) + 1}, "test images of classes that are not trained on: 2"),
    ({"class_names": np.array(["a"])}, "must be from 0 to 0, as class_names has them, got 0 to 1"),
    ({"class_names": np.array(["a", "a"])}, "has a name twice"),
    ({"train_images": images(12, (4, 6, 6, 17))}, "at most 16 channels, got"),
    ({"train_images": images(12, (4, 6, 6, 1))}, "images of several shapes"),
    ({"train_images": images(12, ())}, r"or volumes \[n, D, H, W\] or .*, got \(12,\)"),
    ({"train_images": images(12, (6, 7))}, "images of several shapes"),
    ({"train_images": np.array(["a"] * 12)}, "must be numbers, not <U1"),
    ({"train_images": np.array([None] * 12)}, "it has Python objects in place of numbers"),
    ({"valid_images": images(4)}, "has two arrays for validation: valid_images, val_images"),
    ({"train_groups": np.arange(12)}, "has groups, but not of test"),
    ({"train_groups": np.arange(11)}, "train_groups must be one for each image"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_files_that_are_refused(tmp_path, changes, message):
    medmnist(tmp_path / "x.npz", **changes)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "x.npz")


def test_damaged_files_and_other_loaders(tmp_path):
    path = tmp_path / "x.npz"
    medmnist(path)
    with pytest.raises(ValueError, match="`loader` grain is for image files"):
        load(path, loader="grain")
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"`data` {path} cannot be read"):
            ArrayFile(path)
    with pytest.raises(ValueError, match="does not exist"):
        load(tmp_path / "no.npz")
