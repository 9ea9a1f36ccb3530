"""Lists and arrays whose images have several labels: what is read, and how it is divided."""

import collections
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.test_array_file import OF_ARRAYS as OF, images, load
from tests.train.data.test_csv_lists import write
from tests.train.data.test_image_folder import touch
from train.data.array_file import ArrayFile
from train.data.class_folders import list_images
from train.data.labelled_folder import list_labelled
from train.data.labels import label_array, rarest, split_labels
from train.data.provenance import IMAGES, lines, read_record, relabeled_files
from train.data.summary import summary_lines
from train.run_folder.folder import Run

SETS = ["a", "a;b", "b", "", "a;c", "a", "b;a", "a"]
"""The labels of 40 images, again and again: 30 have a, 15 have b, 5 have c."""


@pytest.fixture
def folder(tmp_path) -> Path:
    return touch(tmp_path / "images", *(f"{i}.png" for i in range(40)))


def table(sets=SETS):
    return [(f"{i}.png", cell) for i, cell in zip(range(40), itertools.cycle(sets))]


def labels_of(listing) -> dict[str, set[str]]:
    return {file.name: {listing.names[c] for c in file.label} for file in listing.files}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_cell_may_have_several_names(folder, separator):
    """Where semicolons separate the columns, the cell is quoted."""
    quoted = [(name, f'"{cell}"' if separator == ";" else cell) for name, cell in table()]
    listing = list_images(write(folder / "l.csv", "path,label", quoted, separator), 0.2)
    assert listing.names == ("a", "b", "c") and listing.several
    assert labels_of(listing) == {name: set(filter(None, c.split(";"))) for name, c in table()}
    assert split_labels(" x y ; z") == ("x y", "z")


def test_without_quotes_the_error_says_so(folder):
    path = write(folder / "l.csv", "path,label", table(), ";")
    with pytest.raises(ValueError, match=r'several labels need quotes, as in "cat;dog"'):
        list_images(path, 0.2)


def test_one_label_in_each_row_is_ordinary_classification(folder):
    listing = list_images(write(folder / "l.csv", "path,label", table(["a", "b"])), 0.2)
    assert not listing.several and {file.label for file in listing.files} == {0, 1}


def test_each_class_is_divided_in_its_share(folder):
    path = write(folder / "l.csv", "path,label", table())
    listing = list_images(path, 0.2)
    by_split = collections.Counter(
        (file.split, listing.names[c]) for file in listing.files for c in file.label
    )
    # Of 5 images with c one, of 15 with b three, of 15 with a alone three, of 5 without one.
    assert by_split["test", "c"] == 1 and by_split["test", "b"] == 3
    assert by_split["test", "a"] in (4, 5, 6, 7)
    assert sum(f.split == "test" for f in listing.files) == 8
    assert sum(f.split == "test" and f.label == () for f in listing.files) == 1
    again = list_images(write(folder / "l.csv", "path,label", reversed(table())), 0.2)
    assert again.files == listing.files, "whatever the order of the rows"


def test_an_image_counts_for_its_rarest_label():
    sets = [("a",), ("a", "b"), ("a", "b"), ("c",), ()]
    assert rarest(sets) == {
        ("a",): "a", ("a", "b"): "b", ("c",): "c", (): "none of the classes",
    }  # fmt: skip


def test_groups_stay_on_one_side(folder):
    rows = [(*row, f"p{i // 4}") for i, row in enumerate(table())]
    listing = list_images(write(folder / "l.csv", "path,label,patient", rows), 0.2)
    sides = collections.defaultdict(set)
    for file in listing.files:
        sides[file.group].add(file.split)
    assert all(len(splits) == 1 for splits in sides.values()) and len(sides) == 10
    for split in ("train", "test"):
        assert {c for f in listing.files if f.split == split for c in f.label} == {0, 1, 2}
    lonely = [(name, cell, "x" if "c" in cell else group) for name, cell, group in rows]
    with pytest.raises(ValueError, match="has a single group of images of c"):
        list_images(write(folder / "l.csv", "path,label,patient", lonely), 0.2)


def test_a_class_without_training_images_is_named(folder):
    rows = [(*row, "test" if "c" in row[1] or i % 4 == 0 else "train") for i, row in
            enumerate(table())]  # fmt: skip
    with pytest.raises(ValueError, match="test images of classes that are not trained on: c"):
        list_images(write(folder / "l.csv", "path,label,split", rows), 0.2)
    rows = [(name, cell, "train" if "c" in cell else split) for name, cell, split in rows]
    listing = list_images(write(folder / "l.csv", "path,label,split", rows), 0.2)
    assert any("has no test images of b, c" in note for note in listing.notes)


def test_the_record_keeps_all_labels(folder, tmp_path):
    path = write(folder / "l.csv", "path,label", table())
    listing = list_images(path, 0.2)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write(IMAGES, lines(listing.files))
    record = read_record(run)
    assert record.names == listing.names
    assert {f.name: f.label for f in record.files} == {f.name: f.label for f in listing.files}
    assert relabeled_files(record, path) == []
    changed = [(name, {"b;a": "b", "": "c"}.get(cell, cell)) for name, cell in table()]
    write(folder / "l.csv", "path,label", changed)
    expected = {name for name, cell in table() if cell in ("b;a", "")}
    assert {f.name for f in relabeled_files(record, path)} == expected


def chest(path, one_hot=False, **changes):
    """A file in the layout of ChestMNIST, of three classes."""
    arrays = {}
    for seed, (split, count) in enumerate((("train", 16), ("val", 8), ("test", 8))):
        rows = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]]
        labels = np.tile(np.array(rows, np.uint8), (count // 4, 1))
        if one_hot:
            labels = np.eye(3, dtype=np.uint8)[np.arange(count) % 3]
        arrays |= {f"{split}_images": images(count, seed=seed), f"{split}_labels": labels}
    arrays |= changes
    np.savez(path, **arrays)
    return arrays


def test_columns_of_an_array_are_classes(tmp_path):
    names = np.array(["mass", "air", "fluid"])
    arrays = chest(tmp_path / "x.npz", class_names=names)
    config = load(tmp_path / "x.npz")
    assert config.names == ("air", "fluid", "mass")
    order = [1, 2, 0]
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        part = getattr(config, split)
        assert part.label.dtype == np.float32
        places = [int(f.name.rpartition("/")[2]) for f in config.files if f.split == split]
        np.testing.assert_array_equal(part.label, arrays[f"{short}_labels"][places][:, order])
        np.testing.assert_array_equal(part.image[..., 0], arrays[f"{short}_images"][places])
    chest(tmp_path / "x.npz")
    assert load(tmp_path / "x.npz").names == ("0", "1", "2")


def test_whole_groups_are_held_out(tmp_path):
    arrays = chest(tmp_path / "x.npz")
    labels = np.tile(arrays["train_labels"], (3, 1))
    groups = np.arange(48) // 4
    np.savez(tmp_path / "x.npz", images=images(48), labels=labels, groups=groups)
    folder = load(tmp_path / "x.npz", validation=0.2, test_fraction=0.25)
    parts = {
        split: {f.group for f in folder.files if f.split == split}
        for split in ("train", "validation", "test")
    }
    assert [len(of) for of in parts.values()] == [7, 2, 3]
    assert not any(one & other for one, other in itertools.combinations(parts.values(), 2))
    for part in (folder.train, folder.validation, folder.test):
        np.testing.assert_allclose(part.label.mean(0), [0.5, 0.5, 0.25])


def test_validation_leaves_each_class_an_image(tmp_path):
    """An only training image with a label is never held out; a class can be lost by a cut."""
    labels = np.array([[1, 0, 0]] * 9 + [[1, 1, 0]] * 9 + [[0, 0, 1]] * 2)
    np.savez(tmp_path / "x.npz", images=images(20), labels=labels)
    folder = load(tmp_path / "x.npz", validation=0.3)
    assert folder.train.label[:, 2].sum() == folder.test.label[:, 2].sum() == 1
    with pytest.raises(ValueError, match="no training image of 2 is left, since others are held"):
        load(tmp_path / "x.npz", validation=0.8)


def test_a_one_hot_code_is_one_class(tmp_path):
    chest(tmp_path / "x.npz", one_hot=True)
    folder = load(tmp_path / "x.npz")
    assert folder.train.label.dtype == np.int32 and folder.train.label.shape == (16,)
    for file in folder.files:
        assert file.label == int(file.name.rpartition("/")[2]) % 3
    assert any("one-hot code" in note for note in folder.notes)


def test_an_unused_column_is_named(tmp_path):
    arrays = chest(tmp_path / "x.npz")
    chest(tmp_path / "x.npz", train_labels=arrays["train_labels"] * np.array([1, 1, 0]))
    with pytest.raises(ValueError, match="has no training image of 2: leave out the columns"):
        load(tmp_path / "x.npz")
    assert ArrayFile(tmp_path / "x.npz").several, "for others it can be read"


def test_the_start_says_how_many_labels_there_are(tmp_path):
    chest(tmp_path / "x.npz")
    folder = load(tmp_path / "x.npz")
    config = dataclasses.replace(OF, data=tmp_path / "x.npz")
    assert "several labels per image: 3 classes, 1.2 of them per image, 8 images without any" in (
        summary_lines(config, folder)
    )


def test_new_labelled_images_are_of_the_same_kind(folder, tmp_path):
    names = ["a", "b", "c"]
    path = write(folder / "l.csv", "path,label", table())
    found = list_labelled(path, names, several=True)
    assert found.labels[:5] == [(0,), (0, 1), (1,), (), (0, 2)]
    with pytest.raises(ValueError, match="20 images with several labels or none"):
        list_labelled(path, names)
    with pytest.raises(ValueError, match="says one class of each image, and the network knows"):
        list_labelled(folder, names, several=True)
    # One label in each row, or none: they are all the labels that these images have.
    path = write(folder / "l.csv", "path,label", table(["a", ""]))
    assert list_labelled(path, names, several=True).labels[:2] == [(0,), ()]
    array = label_array(found.labels[:4], 3, several=True)
    assert array.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
