"""Groups of images: none is on two sides, and the shares come out near what was asked for."""

import collections
import dataclasses
import hashlib
import json

import numpy as np
import pytest

from tests.train.data.test_image_folder import OF_FOLDER, paint, touch
from tests.train.data.test_layouts import begin
from train.config import Config
from train.data.class_folders import list_images
from train.data.groups import choose_groups, group_by_pattern, whole_groups_for_validation
from train.data.image_folder import load_folder
from train.data.load import load_data
from train.data.provenance import IMAGES, read_record
from train.data.summary import groups_in_words
from train.options.images import ImageOptions
from train.report.protocol import protocol


def of_class(sizes, name="a"):
    """Groups of one class, by their sizes."""
    return {group: {name: size} for group, size in sizes.items()}


def by_hash(names):
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


def patients(folder, sizes: dict[str, list[int]], form="{c}/p{c}{i}/{k}.png"):
    """Image files of patients, of so many images each, by class."""
    return touch(folder, *(
        form.format(c=c, i=i, k=k)
        for c, counts in sizes.items() for i, count in enumerate(counts) for k in range(count)
    ))  # fmt: skip


def sides(files) -> dict[str, set[str]]:
    found = collections.defaultdict(set)
    for file in files:
        found[file.group].add(file.split)
    return found


def test_groups_of_one_image_are_chosen_as_images_are():
    names = [f"g{i}" for i in range(40)]
    chosen = choose_groups(of_class(dict.fromkeys(names, 1)), {"a": 10}, ["a"])
    assert chosen == set(by_hash(names)[:10])


def test_a_share_is_met_exactly_where_groups_allow_it():
    sizes = {"large": 34, "one": 9, "two": 9, "other": 38}
    assert choose_groups(of_class(sizes), {"a": 18}, ["a"]) == {"one", "two"}
    # Else it is the group that comes nearest, with more or with fewer.
    assert choose_groups(of_class({"x": 30, "y": 24, "z": 46}), {"a": 20}, ["a"]) == {"y"}
    assert choose_groups(of_class({"x": 95, "y": 5}), {"a": 20}, ["a"]) == {"y"}
    # A class is never without images to train on, and has images to test on if it can.
    assert choose_groups(of_class({"x": 50, "y": 60}), {"a": 20}, ["a"]) == {"x"}
    assert choose_groups(of_class({"x": 50}), {"a": 10}, ["a"]) == set()
    assert choose_groups(of_class({"x": 50, "y": 60}), {"a": 20}, []) == set()


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_near_in_every_class(seed):
    """Groups of 1 to 20 images, some of them in two classes."""
    random = np.random.default_rng(seed)
    sizes = {}
    for i in range(60):
        classes = random.choice(list("abc"), random.choice([1, 1, 2]), replace=False)
        sizes[f"{seed}-{i}"] = {str(c): int(random.integers(1, 21)) for c in classes}
    totals = collections.Counter()
    for group in sizes.values():
        totals.update(group)
    targets = {name: round(0.2 * total) for name, total in totals.items()}
    chosen = choose_groups(sizes, targets, targets)
    taken = collections.Counter()
    for group in chosen:
        taken.update(sizes[group])
    for name, total in totals.items():
        assert abs(taken[name] / total - 0.2) < 0.03
    again = dict(sorted(sizes.items(), reverse=True))
    assert choose_groups(again, targets, targets) == chosen, "whatever the order of the files"


def test_a_folder_below_the_class_stays_on_one_side(tmp_path):
    sizes = {"a": [5] * 10, "b": [2, 30, 4, 4, 4, 6]}
    folder = patients(tmp_path / "x", sizes)
    touch(folder, "a/pa0/deeper/5.png", "b/loose.png")
    listing = list_images(folder, 0.2)
    found = sides(listing.files)
    assert len(found) == 17 and all(len(splits) == 1 for splits in found.values())
    assert {f.group for f in listing.files if f.name.startswith("a/pa0/")} == {"pa0"}
    assert {f.group for f in listing.files if "loose" in f.name} == {"b/loose.png"}
    counts = collections.Counter((f.label, f.split) for f in listing.files)
    assert counts[0, "test"] in (10, 11) and counts[1, "test"] == 10
    assert list_images(patients(tmp_path / "y", sizes), 0.2) != listing
    touch(tmp_path / "y", "a/pa0/deeper/5.png", "b/loose.png")
    assert list_images(tmp_path / "y", 0.2) == listing, "the same for everyone"


def test_a_patient_in_two_classes_is_one_patient(tmp_path):
    folder = patients(tmp_path, {"sick": [4] * 8, "well": [4] * 8}, form="{c}/p{i}/{k}.png")
    found = sides(list_images(folder, 0.25).files)
    assert set(found) == {f"p{i}" for i in range(8)}
    assert sorted(map(sorted, found.values())) == [["test"]] * 2 + [["train"]] * 6


def test_groups_by_a_pattern(tmp_path):
    folder = patients(tmp_path, {"a": [3] * 8, "b": [3] * 8}, form="{c}/pat{i}_{k}.png")
    for pattern in (r"(pat\d+)_", r"pat\d+(?=_)", r"(pat(\d+))_"):
        listing = list_images(folder, 0.25, pattern)
        assert {f.group for f in listing.files} == {f"pat{i}" for i in range(8)}
        assert all(len(splits) == 1 for splits in sides(listing.files).values())
        assert sum(f.split == "test" for f in listing.files) == 12
    # A negative control: without it, patients are on both sides.
    assert not any(f.group for f in list_images(folder, 0.25).files)
    split = collections.defaultdict(set)
    for file in list_images(folder, 0.25).files:
        split[file.name.split("/")[1].split("_")[0]].add(file.split)
    assert any(len(splits) == 2 for splits in split.values())
    # It is for folders below classes, too, and '.+' takes each image by itself.
    deep = patients(tmp_path / "deep", {"a": [9], "b": [9]})
    assert sum(f.split == "test" for f in list_images(deep, 1 / 3, ".+").files) == 6


def test_patterns_that_do_not_do():
    assert group_by_pattern("x(.)", ["x1", "ax2"]) == ["1", "2"]
    message = r"`groups_by` 'x\(\.\)' says no group of 2 files of 3: a/y.png, a/z.png; it must"
    with pytest.raises(ValueError, match=message):
        group_by_pattern("x(.)", ["x1", "a/y.png", "a/z.png"])
    with pytest.raises(ValueError, match="says no group of 1 file of 1: y"):
        group_by_pattern("(x)?y", ["y"])
    with pytest.raises(ValueError, match=r"`groups_by` '\(' is no regular expression \(missing"):
        Config(dataset="folder", groups_by="(")
    with pytest.raises(ValueError, match="`groups_by` is for images of your own"):
        Config(dataset="mnist", groups_by="x")


def test_a_class_with_a_single_group_is_named(tmp_path):
    folder = patients(tmp_path / "x", {"a": [3, 3], "b": [9], "c": [5]})
    message = (
        r"x has a single group of images of b, c \(folder below the class: pb0\), and a class "
        r"needs one to train on and another to test on; --groups-by '\.\+' takes each image"
    )
    with pytest.raises(ValueError, match=message):
        list_images(folder, 0.2)
    # Groups in several classes cannot always be divided: of three classes, each two share one.
    tangled = touch(tmp_path / "y", *("a/1/1.png", "a/2/1.png", "b/2/1.png", "b/3/1.png"))
    touch(tangled, "c/1/1.png", "c/3/1.png")
    with pytest.raises(ValueError, match=r"no choice of whole groups .* both to train and to test"):
        list_images(tangled, 0.2)


def test_groups_in_two_splits_of_the_user_are_counted(tmp_path):
    names = [f"{split}/{c}/p{c}{i}/{split}{k}.png" for split, patients in
             (("train", range(4)), ("test", range(3, 6)), ("val", range(2, 4)))
             for c in "ab" for i in patients for k in range(2)]  # fmt: skip
    listing = list_images(touch(tmp_path, *names), 0.2)
    assert listing.own_test and len({f.group for f in listing.files}) == 12
    assert listing.notes[0] == (
        "warning: 2 of 6 groups of the test images (folder below the class) are among the training "
        "images, too (pa3, pb3): the test error is too low"
    )
    assert "4 of 4 groups of the validation images" in listing.notes[1]
    assert "are among the validation images, too (pa3, pb3)" in listing.notes[2]
    assert len(listing.notes) == 3
    apart = [name for name in names if "3/" not in name and "val" not in name]
    assert not list_images(touch(tmp_path / "z", *apart), 0.2).notes


@pytest.fixture(params=["memory", "grain"])
def config(request, tmp_path) -> Config:
    """Seven patients of each class, whose images have gray values of their own."""
    if request.param == "grain":
        pytest.importorskip("grain", reason="pip install 'gconv_jax[grain]'")
    for c, first in (("a", 0), ("b", 100)):
        for i in range(7):
            images = {f"{c}__p{c}{i}__{k}": ((9, 9), first + 10 * i + k) for k in range(4)}
            paint(tmp_path / "images", **images)
    return dataclasses.replace(
        OF_FOLDER, data=tmp_path / "images", validation=0.25, loader=request.param, image_size=8
    )


def values(split) -> list[int]:
    return np.asarray(split.image)[:, 0, 0, 0].tolist()


def test_validation_images_are_whole_groups(config, tmp_path):
    run, data = begin(config, tmp_path / "run")
    parts = {name: values(getattr(data, name)) for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 40, "validation": 8, "test": 8,
    }  # fmt: skip
    groups = {name: {value // 10 for value in part} for name, part in parts.items()}
    assert len(set.union(*groups.values())) == 14 == sum(map(len, groups.values()))
    for name, part in parts.items():
        assert getattr(data, name).label.tolist() == [value // 100 for value in part]
    rows = [json.loads(line) for line in (run.path / IMAGES).read_text().splitlines()]
    assert all(row["group"] == row["file"].split("/")[1] for row in rows)
    words = "folder below the class: 14 groups, 10 to train on, 2 to validate with, 2 to test on"
    assert groups_in_words(config, data.folder) == words
    again = load_data(config, run)
    assert {name: values(getattr(again, name)) for name in parts} == parts
    assert read_record(run).files == data.folder.files and not again.folder.notes
    # A negative control: images that are held out one by one come from the same patients.
    alone = load_data(dataclasses.replace(config, groups_by=".+"))
    shared = {v // 10 for v in values(alone.train)} & {v // 10 for v in values(alone.validation)}
    assert shared


def test_validation_of_few_groups():
    def share(held, counts):
        return {name: sum(g in held for g in groups) for name, groups in counts.items()}

    few = {"a": ["1"] * 10 + ["2"] * 10 + ["3"] * 10, "b": ["x"] * 30 + ["y"] * 30}
    assert share(whole_groups_for_validation(few, 0.1), few) == {"a": 10, "b": 0}
    pairs = {"a": ["1"] * 10 + ["2"] * 20, "b": ["x"] * 40}
    assert share(whole_groups_for_validation(pairs, 0.1), pairs) == {"a": 10, "b": 0}
    with pytest.raises(ValueError, match=r"`validation` 0.1 .* --validation 0, or --groups-by"):
        whole_groups_for_validation({"a": ["1"] * 9, "b": ["2"] * 9}, 0.1)


def test_the_protocol_says_what_the_images_were_split_by(config):
    config = dataclasses.replace(config, loader="memory")
    folder = load_folder(config)
    results = {
        "input": {"shape": (8, 8, 1), "classes": 2}, "own_test": False, "fingerprint": "f",
        "groups": groups_in_words(config, folder), "epochs": 1, "train_images": 1,
        "validation_images": 1, "test_images": 1,
    }  # fmt: skip
    said = protocol(config, results)
    assert "test images: 0.2 of each class in whole groups, chosen by hashes of their names" in said
    assert "; split by folder below the class: 14 groups, 10 to train on, 2 to validate" in said
    # Results of an earlier version have no groups.
    del results["groups"]
    said = protocol(config, results)
    assert "0.2 of each class, chosen by hashes of the file names; files" in said
    said = protocol(dataclasses.replace(config, groups_by="x"), results | {"own_test": True})
    assert "test images: those in test/" in said


def test_groups_by_is_an_option_of_images():
    assert "groups_by" in {field.name for field in dataclasses.fields(ImageOptions)}
