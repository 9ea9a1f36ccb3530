"""Lists and arrays whose images have numbers: what is read, how it is divided, what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.data.test_csv_lists import write
from tests.train.data.test_image_folder import touch
from train.config import Config
from train.data.array_file import ArrayFile
from train.data.class_folders import list_images
from train.data.labelled_folder import list_labelled
from train.data.load import load_data
from train.data.numbers import as_text, number_array, read_number
from train.data.provenance import IMAGES, lines, read_record, relabeled_files
from train.data.summary import summary_lines
from train.run_folder.folder import Run

HEADER = "path,age,Size,patient"
REGRESSION = Config(dataset="folder", task="regression", image_size=8, batch_size=4, validation=0.2)


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = touch(tmp_path / "images", *(f"{i}.png" for i in range(40)))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def table(scale: float = 1.0) -> list[tuple]:
    """Ages go from 0 to 39, sizes from 0 to -78; pairs are of one patient."""
    return [(f"{i}.png", i * scale, f"{-2 * i}e0", f"p{i // 2}") for i in range(40)]


def numbers_of(listing) -> dict[str, str]:
    return {file.name: listing.names[file.label] for file in listing.files}


def test_columns_are_named(folder):
    path = write(folder / "l.csv", HEADER, table())
    listing = list_images(path, 0.25, targets=("age", "size"))
    assert numbers_of(listing) == {f"{i}.png": as_text([i, -2 * i]) for i in range(40)}
    parts = {
        split: {file.group for file in listing.files if file.split == split}
        for split in ("train", "test")
    }
    assert parts["train"].isdisjoint(parts["test"])
    assert sum(file.split == "test" for file in listing.files) == 10
    one = list_images(write(folder / "l.csv", "path,label", [r[:2] for r in table()]), 0.25,
                      targets=())  # fmt: skip
    assert numbers_of(one) == {f"{i}.png": f"{i}.0" for i in range(40)}
    assert list_images(folder / "l.csv", 0.25, targets=("label",)) == one


def test_the_arrays_are_the_numbers(folder, tmp_path):
    path = write(folder / "l.csv", HEADER, table())
    config = dataclasses.replace(REGRESSION, data=path, targets=("Size", "age"))
    data = load_data(config)
    assert data.names == ("Size", "age") and data.classes == 2
    files = data.folder.files
    for split, part in (
        ("train", data.train),
        ("validation", data.validation),
        ("test", data.test),
    ):
        names = [int(f.name.removesuffix(".png")) for f in files if f.split == split]
        np.testing.assert_array_equal(part.label, [[-2 * i, i] for i in names])
        assert part.label.dtype == np.float32
    np.testing.assert_allclose(data.center, data.train.label.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data.scale, data.train.label.std(0), rtol=1e-6)
    groups = [
        {f.group for f in files if f.split == split} for split in ("train", "validation", "test")
    ]
    assert sum(map(len, groups)) == len(set.union(*groups)), "patients stay on one side"
    said = "\n".join(summary_lines(config, data.folder))
    assert "with 2 numbers" in said and "Size from -78 to 0, age from 0 to 39" in said
    assert "class" not in said


def test_arrays_have_names_of_their_targets(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 255, (20, 8, 8), dtype=np.uint8)}
    values = rng.normal(size=(20, 2)).astype(np.float32)
    path = tmp_path / "x.npz"
    np.savez(path, **arrays, labels=values, target_names=["a", "b"])
    file = ArrayFile(path, numbers=True)
    assert file.target_names == ("a", "b")
    texts = [text for (text,) in file.labels.values()]
    np.testing.assert_array_equal(number_array(texts, 2), values)
    data = load_data(dataclasses.replace(REGRESSION, data=path, image_size=None))
    every = np.concatenate([part.label for part in (data.train, data.validation, data.test)])
    assert sorted(map(tuple, every)) == sorted(map(tuple, values)) and data.names == ("a", "b")
    np.savez(path, **arrays, labels=np.arange(20))
    assert ArrayFile(path, numbers=True).target_names == ("0",)
    with pytest.raises(ValueError, match=r"`targets` are columns of a CSV file"):
        load_data(dataclasses.replace(REGRESSION, data=path, targets=("a",)))
    for labels, names, message in (
        (values, ["a"], r"target_names must name the 2 columns of labels, once each, got a"),
        (values, ["a", "a"], "once each"),
        (np.full(20, np.nan), ["a"], "labels must be finite numbers to predict"),
        (np.array(["x"] * 20), ["a"], "labels must be finite numbers to predict"),
    ):
        np.savez(path, **arrays, labels=labels, target_names=names)
        with pytest.raises(ValueError, match=message):
            ArrayFile(path, numbers=True)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("old", "age old is no finite number"),
        ("3,5", "age 3,5 is no finite number, which has a point for decimals"),
        ("nan", "age nan is no finite number"),
        ("inf", "age inf is no finite number"),
        ("", "empty age"),
        ("1e39", "age 1e39 is too large for float32: give it in another unit"),
    ],
)
def test_cells_that_are_no_numbers(folder, cell, message):
    rows = [(f"{i}.png", f'"{cell}"' if i == 3 else i) for i in range(40)]
    path = write(folder / "l.csv", "path,age", rows)
    with pytest.raises(ValueError, match=rf"has 1 wrong row: line 5: {message}$"):
        list_images(path, 0.25, targets=("age",))
    with pytest.raises(ValueError, match=message):
        read_number(cell, "age")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("weight",), r"`data` .* has no column weight, which `targets` or `vectors` names; the"),
        (("age", "Age"), r"`targets` and `vectors` name a column of .* twice"),
        (("age", "age"), r"`targets` and `vectors` name a column of .* twice"),
        (("path",), r"has paths, splits or groups in the column path, which"),
        (("patient",), r"has paths, splits or groups in the column patient"),
        ((), r"must be a header with a column label"),
    ],
)
def test_columns_that_are_refused(folder, targets, message):
    path = write(folder / "l.csv", HEADER, table())
    with pytest.raises(ValueError, match=message):
        list_images(path, 0.25, targets=targets)


def test_what_numbers_need(folder):
    path = write(folder / "list.csv", HEADER, [(*row[:2], 7, row[3]) for row in table()])
    with pytest.raises(ValueError, match=r"`targets` Size is 7 for all \d+ training images"):
        load_data(dataclasses.replace(REGRESSION, data=path, targets=("age", "Size")))
    with pytest.raises(ValueError, match=r"is a folder: list its images in a CSV file .*list\.csv"):
        load_data(dataclasses.replace(REGRESSION, data=folder))
    only_test = [(row[0], row[1], "test") for row in table()]
    path = write(folder / "l.csv", "path,age,split", only_test)
    with pytest.raises(ValueError, match="must have training images; there is none"):
        list_images(path, 0.25, targets=("age",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "auto", "targets": ("age",)}, "`targets` age are numbers to predict"),
        ({"dataset": "digits", "image_size": None}, "`task` is for images of your own"),
        ({"task": "auto", "loss": "huber"}, "`loss` huber is for numbers"),
        ({"loss": "focal"}, "`loss` focal is for classes"),
        ({"class_weights": "balanced"}, "`class_weights` balanced is for classes"),
        ({"sampling": "balanced"}, "`sampling` balanced is for classes"),
        ({"label_smoothing": 0.1}, "`label_smoothing` 0.1 is for classes"),
        ({"metric": "auc", "patience": 1}, "`metric` auc is for classes"),
    ],
)
def test_options_that_do_not_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(REGRESSION, **changes)


def test_a_run_keeps_the_numbers_it_began_with(folder, tmp_path):
    path = write(folder / "l.csv", HEADER, table())
    targets = ("age", "size")
    listing = list_images(path, 0.25, targets=targets)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write(IMAGES, lines(listing.files))
    record = read_record(run, targets)
    assert {f.name: f.class_name for f in record.files} == numbers_of(listing)
    assert {f.name: f.split for f in record.files} == {f.name: f.split for f in listing.files}
    assert not relabeled_files(record, path)
    rows = [(*row[:1], 99, *row[2:]) if row[0] == "7.png" else row for row in table()]
    write(path, HEADER, rows)
    assert [file.name for file in relabeled_files(record, path)] == ["7.png"]


def test_new_images_with_numbers(folder, tmp_path):
    path = write(folder / "l.csv", "path,size,age", [(r[0], r[2], r[1]) for r in table()])
    found = list_labelled(path, ["age", "size"], numbers=True)
    assert found.labels == [as_text([i, -2 * i]) for i in range(40)]
    with pytest.raises(ValueError, match=r"is a folder, .* predicts age, size"):
        list_labelled(folder, ["age", "size"], numbers=True)
    rows = [(r[0], r[2], r[1], "test" if i < 3 else "train") for i, r in enumerate(table())]
    path = write(folder / "l.csv", "path,size,age,split", rows)
    found = list_labelled(path, ["age", "size"], numbers=True)
    assert found.labels == [as_text([i, -2 * i]) for i in range(3)]
    assert f"only the test images of {path} are evaluated" in found.notes
    with pytest.raises(ValueError, match="has no column weight"):
        list_labelled(path, ["weight"], numbers=True)
    arrays = tmp_path / "x.npz"
    np.savez(arrays, test_images=np.zeros((3, 8, 8)), test_labels=np.arange(3.0),
             train_images=np.zeros((2, 8, 8)), train_labels=np.arange(2.0),
             target_names=["age"])  # fmt: skip
    found = list_labelled(arrays, ["age"], numbers=True)
    assert found.labels == ["0.0", "1.0", "2.0"] and "only the test images" in found.notes[0]
    with pytest.raises(ValueError, match="has the numbers age, and the network predicts size"):
        list_labelled(arrays, ["size"], numbers=True)
