"""`RotatedMnist`: both configs from raw files to arrays, and archives that are wrong."""

import io
import re
import zipfile

import chex
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gconv_jax.datasets import RotatedMnist, load_arrays, rotate_images
from gconv_jax.datasets._larochelle import LarochelleFiles
from gconv_jax.datasets._raw import RawFile
from tests.datasets import raw_files

GENERATED, ORIGINAL = "rotated_mnist/generated", "rotated_mnist/larochelle2007"
TRAIN_AMAT = "mnist_all_rotation_normalized_float_train_valid.amat"
TEST_AMAT = "mnist_all_rotation_normalized_float_test.amat"


def test_generated_is_made_from_both_splits_of_mnist(tiny, tmp_path):
    data = load_arrays(GENERATED, data_dir=tmp_path / "data", raw_dir=tiny)
    mnist = raw_files.tiny_mnist()
    images = np.concatenate([mnist["train"][0], mnist["test"][0]])
    labels = np.concatenate([mnist["train"][1], mnist["test"][1]])
    for split, size in raw_files.GENERATED_SIZES.items():
        found = data[split]
        chex.assert_shape(found["image"], (size, 28, 28, 1))
        chex.assert_trees_all_equal(
            found["image"], rotate_images(images[found["index"]], found["angle"])
        )
        chex.assert_trees_all_equal(found["label"], labels[found["index"]].astype(np.int32))
        dtypes = {key: array.dtype for key, array in found.items()}
        assert dtypes == {
            "image": np.uint8, "label": np.int32, "angle": np.float32, "index": np.int32
        }  # fmt: skip
    used = np.concatenate([data[split]["index"] for split in data])
    assert len(np.unique(used)) == sum(raw_files.GENERATED_SIZES.values())


@pytest.mark.parametrize("packed", [True, False])
def test_original_is_read_digit_side_up(tiny, tmp_path, packed):
    folder = tmp_path / "other"
    raw_files.write_larochelle(folder, packed=packed)
    data = load_arrays(ORIGINAL, data_dir=tmp_path / "data", raw_dir=folder)
    for split, (images, labels) in raw_files.tiny_amat().items():
        expected = {"image": images, "label": labels.astype(np.int32)}
        chex.assert_trees_all_equal_shapes_and_dtypes(data[split], expected)
        chex.assert_trees_all_equal(data[split], expected)
        # Row by row they would be mirrored.
        assert not np.array_equal(data[split]["image"], images.swapaxes(1, 2))


def test_original_of_more_rows_than_a_block(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("gconv_jax.datasets._amat._BLOCK", 3)
    data = load_arrays(ORIGINAL, data_dir=tmp_path / "data", raw_dir=tiny)
    chex.assert_trees_all_equal(data["train"]["image"], raw_files.tiny_amat()["train"][0])


def test_tfds_knows_it_by_name(tiny, tmp_path):
    load_arrays(GENERATED, data_dir=tmp_path, raw_dir=tiny)
    data = load_arrays(GENERATED, data_dir=tmp_path)
    source = tfds.data_source(GENERATED, data_dir=tmp_path, split="test", download=False)
    for i, example in enumerate(source):
        chex.assert_trees_all_equal(example, {key: array[i] for key, array in data["test"].items()})
    assert i == raw_files.GENERATED_SIZES["test"] - 1


def test_the_original_is_the_default_config(tmp_path):
    assert tfds.builder("rotated_mnist", data_dir=tmp_path).builder_config.name == "larochelle2007"


def test_description(tmp_path):
    generated = RotatedMnist(config="generated", data_dir=tmp_path).info
    assert set(generated.features) == {"image", "label", "angle", "index"}
    assert "not the original" in generated.config_description
    original = RotatedMnist(config="larochelle2007", data_dir=tmp_path).info
    assert set(original.features) == {"image", "label"}
    assert original.features["image"].np_dtype == np.float32
    assert generated.disable_shuffling and original.disable_shuffling


def _load_archive(monkeypatch, tmp_path, members, *, content=None):
    """Load from a zip with these members, its checksum to match."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    content = content(stream.getvalue()) if content else stream.getvalue()
    path = tmp_path / "mnist_rotation_new.zip"
    path.write_bytes(content)
    file = RawFile(
        url=f"{raw_files.NOWHERE}/{path.name}",
        size="some bytes",
        checksums={"md5": raw_files.md5(content)},
        unpacked={TRAIN_AMAT: None, TEST_AMAT: None},
    )
    source = LarochelleFiles(file, {"train": TRAIN_AMAT, "test": TEST_AMAT}, raw_files.AMAT_SIZES)
    monkeypatch.setattr(RotatedMnist, "_larochelle", source)
    try:
        return load_arrays(ORIGINAL, data_dir=tmp_path / "data", raw_dir=tmp_path)
    finally:
        prepared = tmp_path / "data" / "rotated_mnist" / "larochelle2007"
        if not (prepared / "1.0.0").exists():
            assert not list(prepared.glob("*"))  # nothing half-made is left


def _texts(**changes):
    texts = {
        TRAIN_AMAT: raw_files.amat_text(*raw_files.tiny_amat()["train"]),
        TEST_AMAT: raw_files.amat_text(*raw_files.tiny_amat()["test"]),
    }
    if "train" in changes:
        texts[TRAIN_AMAT] = changes["train"](texts[TRAIN_AMAT])
    return texts


def test_blank_lines_comments_and_a_folder_in_the_archive(monkeypatch, tmp_path):
    texts = _texts(train=lambda text: "# a comment\n\n" + text + "\n\n")
    data = _load_archive(monkeypatch, tmp_path, {f"set/{k}": v for k, v in texts.items()})
    chex.assert_trees_all_equal(data["train"]["image"], raw_files.tiny_amat()["train"][0])


WRONG_TEXTS = {
    "a row is missing": (
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        "6 rows found, 7 expected; fetch the file again",
    ),
    "one row too many": (lambda text: text + text.split("\n")[0], "8 rows found, 7 expected"),
    "empty": (lambda text: "", "0 rows found, 7 expected"),
    "no label": (
        lambda text: "\n".join(line.rsplit(" ", 1)[0] for line in text.splitlines()),
        "rows 1 to 7: 784 columns found, 785 expected; is it the right file?",
    ),
    "a row ends early": (lambda text: text[:-2000], "rows 1 to 7: "),
    "a word": (lambda text: text.replace("0.", "zero.", 1), "rows 1 to 7: could not convert"),
    "no text": (lambda text: "\xff\xfe" * 50, "rows 1 to 1: could not convert"),
    "256 grays": (
        lambda text: "254 " + text.split(" ", 1)[1],
        "gray values must be in [0, 1]; is it the right file?",
    ),
    "not a number": (
        lambda text: "nan " + text.split(" ", 1)[1],
        "gray values must be in [0, 1];",
    ),
    "no digit": (
        lambda text: text.rstrip().rsplit(" ", 1)[0] + " 3.5\n",
        "labels must be digits, the last column of a row; is it the right file?",
    ),
}


@pytest.mark.parametrize("case", WRONG_TEXTS)
def test_a_wrong_text(monkeypatch, tmp_path, case):
    change, message = WRONG_TEXTS[case]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        _load_archive(monkeypatch, tmp_path, _texts(train=change))
    assert f"mnist_rotation_new.zip: {TRAIN_AMAT}" in str(caught.value)


def test_an_archive_without_the_file(monkeypatch, tmp_path):
    message = f"exactly one {TRAIN_AMAT} expected in the archive, which holds ['other.txt']; "
    with pytest.raises(ValueError, match=re.escape(message)):
        _load_archive(monkeypatch, tmp_path, {"other.txt": ""})


def test_a_truncated_archive(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"mnist_rotation_new\.zip: damaged or truncated zip \("):
        _load_archive(monkeypatch, tmp_path, _texts(), content=lambda content: content[:-100])


def test_a_damaged_archive(monkeypatch, tmp_path):
    def damage(content):
        middle = len(content) // 3
        return content[:middle] + bytes(200) + content[middle + 200 :]

    with pytest.raises(ValueError, match=r"mnist_rotation_new\.zip: damaged or truncated zip \("):
        _load_archive(monkeypatch, tmp_path, _texts(), content=damage)


def test_an_archive_with_another_checksum(tiny, tmp_path):
    path = tiny / "mnist_rotation_new.zip"
    path.write_bytes(b"not the archive")
    with pytest.raises(ValueError, match=re.escape(f"{path}: md5 ")):
        load_arrays(ORIGINAL, data_dir=tmp_path / "data", raw_dir=tiny)
