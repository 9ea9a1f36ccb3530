"""A checkpoint comes back bit for bit, or is recognized as damaged."""

import hashlib
import json
import marshal
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gconv_jax
from train.run_folder.checkpoint import (
    Checkpoints,
    CorruptCheckpointError,
    Moment,
    load_tree,
    save_tree,
)


def make_tree(seed: int):
    x = jax.random.normal(jax.random.key(seed), (300, 7))
    params = {"a": {"kernel": x, "half": x.astype(jnp.bfloat16)}, "b": x[0]}
    return params, optax.adam(1e-3).init(params), jnp.int32(seed)


def test_round_trip_is_bitwise(tmp_path):
    tree = make_tree(1)
    save_tree(tmp_path / "x", tree)
    restored = load_tree(tmp_path / "x", make_tree(2))
    chex.assert_trees_all_equal_shapes_and_dtypes(restored, tree)
    chex.assert_trees_all_equal(restored, tree)
    save_tree(tmp_path / "x", make_tree(3))  # replaces
    chex.assert_trees_all_equal(load_tree(tmp_path / "x", tree), make_tree(3))


def test_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    assert checkpoints.restore(lambda _: make_tree(0)) is None
    for number in (1, 2, 10):
        checkpoints.save(Moment(number), make_tree(number))
    assert checkpoints.moments() == [Moment(2), Moment(10)]
    moment, tree = checkpoints.restore(lambda _: make_tree(0))
    assert moment == Moment(10)
    chex.assert_trees_all_equal(tree, make_tree(10))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def no_arrays_but_their_checksum(folder):
    (folder / "arrays.npz").write_bytes(b"no zip")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["arrays.npz"] = hashlib.sha256(b"no zip").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGE = {
    "bit": lambda folder: flip_a_bit(folder / "arrays.npz"),
    "cut": lambda folder: cut(folder / "arrays.npz"),
    "empty": lambda folder: (folder / "arrays.npz").write_bytes(b""),
    "missing file": lambda folder: (folder / "arrays.npz").unlink(),
    "no arrays": no_arrays_but_their_checksum,
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": lambda folder: (folder / "manifest.json").write_text('{"a": '),
    "manifest not text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "manifest not a table": lambda folder: (folder / "manifest.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    checkpoints, said = Checkpoints(tmp_path), []
    for number in (1, 2):
        checkpoints.save(Moment(number), make_tree(number))
    DAMAGE[damage](tmp_path / "000002")
    moment, tree = checkpoints.restore(lambda _: make_tree(0), warn=said.append)
    assert moment == Moment(1)
    chex.assert_trees_all_equal(tree, make_tree(1))
    assert len(said) == 1 and "the checkpoint of epoch 2 is damaged" in said[0]
    DAMAGE[damage](tmp_path / "000001")
    assert checkpoints.restore(lambda _: make_tree(0), warn=said.append) is None
    assert "none is left: starting again" in said[-1]
    checkpoints.save(Moment(1), make_tree(5))  # a run that starts again is not kept from saving
    assert checkpoints.moments() == [Moment(1)]
    DAMAGE[damage](tmp_path / "000001")
    with pytest.raises(CorruptCheckpointError):
        load_tree(tmp_path / "000001", make_tree(0))


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Moment(1), make_tree(1))
    (tmp_path / ".000002.tmp").mkdir()  # what a kill while writing leaves
    assert checkpoints.restore(lambda _: make_tree(0))[0] == Moment(1)
    checkpoints.save(Moment(2), make_tree(2))
    assert checkpoints.restore(lambda _: make_tree(0))[0] == Moment(2)


def test_another_network_is_not_a_damaged_one(tmp_path):
    save_tree(tmp_path / "x", {"a": np.zeros(3)})
    for other in ({"a": np.zeros(4)}, {"b": np.zeros(3)}, {"a": np.zeros(3), "b": np.zeros(3)}):
        with pytest.raises(ValueError, match="was written by a network of another shape"):
            load_tree(tmp_path / "x", other)


def test_the_manifest_says_what_wrote_it_and_a_later_format_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, about={"config": {"model": "p4cnn"}})
    checkpoints.save(Moment(1), make_tree(1))
    path = tmp_path / "000001" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["format"] == 2 and manifest["gconv_jax"] == gconv_jax.__version__
    assert manifest["about"] == {"config": {"model": "p4cnn"}}
    path.write_text(json.dumps(manifest | {"format": 3, "gconv_jax": "9.9"}))
    with pytest.raises(ValueError, match=r"written by gconv_jax 9.9 in format 3; this version"):
        checkpoints.restore(lambda _: make_tree(0))


def test_no_code_is_loaded(tmp_path, monkeypatch):
    save_tree(tmp_path / "x", make_tree(1))
    for module in (pickle, marshal):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("code may be loaded by this"))
    chex.assert_trees_all_equal(load_tree(tmp_path / "x", make_tree(0)), make_tree(1))


FORMAT_1 = Path(__file__).parent / "format_1.zip"
"""A checkpoint that an earlier version wrote with orbax."""


@pytest.fixture
def of_an_earlier_version(tmp_path):
    template = {
        "half": np.zeros(3, jnp.bfloat16),
        "kernel": np.zeros((2, 3), np.float32),
        "step": np.int32(0),
    }
    with zipfile.ZipFile(FORMAT_1) as files:
        files.extractall(tmp_path / "run[1]")
    return tmp_path / "run[1]", template


def assert_format_1(tree):
    expected = {
        "half": np.array([0.5, -2, 3], jnp.bfloat16),
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "step": np.int32(7),
    }
    chex.assert_trees_all_equal_shapes_and_dtypes(tree, expected)
    chex.assert_trees_all_equal(tree, expected)


def test_checkpoints_of_earlier_versions_are_read(of_an_earlier_version):
    path, template = of_an_earlier_version
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert_format_1(load_tree(path, template))
    del manifest["format"], manifest["gconv_jax"], manifest["about"]  # as they once were
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert_format_1(load_tree(path, template))
    with pytest.raises(ValueError, match="was written by a network of another shape"):
        load_tree(path, template | {"kernel": np.zeros((3, 2), np.float32)})
    flip_a_bit(path / "arrays" / "_METADATA")
    with pytest.raises(CorruptCheckpointError, match=r"1 of 10 files changed, e.g. _METADATA"):
        load_tree(path, template)


def test_earlier_checkpoints_whose_parts_were_not_merged_are_read(of_an_earlier_version):
    """Orbax left that out where the path had a character of a pattern."""
    path, template = of_an_earlier_version
    shutil.rmtree(path / "arrays" / "d")
    (path / "arrays" / "manifest.ocdbt").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    for name in list(manifest["files"]):
        if name.startswith(("d/", "manifest")):
            del manifest["files"][name]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert_format_1(load_tree(path, template))


def test_earlier_checkpoints_need_tensorstore(of_an_earlier_version, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(ImportError, match="in a format that tensorstore reads: pip install"):
        load_tree(*of_an_earlier_version)


PATHS = {
    "brackets": "run[1]",
    "star": "run*",
    "question mark": "run?",
    "braces": "{run}",
    "spaces": " a run ",
    "quotes": '"it\'s"',
    "percent": "100%d%",
    "unicode": "Läufe 运行 🏃",
    "no text": os.fsdecode(b"run-\xff"),
    "leading dash": "-run",
    "trailing dot": "run.",
    "200 characters": "r" * 200,
    "dollar": "$HOME;`x`&",
    "newline": "a\nb",
    "backslash": "a\\b",
    "hash": "run#1",
    "address": "s3:",
}


@pytest.mark.parametrize("name", PATHS)
def test_every_path_that_can_be_written_can_be_read(tmp_path, name):
    folder = tmp_path / PATHS[name]
    checkpoints, said = Checkpoints(folder / "checkpoints"), []
    for number in (1, 2):
        checkpoints.save(Moment(number), make_tree(number))
    moment, tree = checkpoints.restore(lambda _: make_tree(0), warn=said.append)
    assert moment == Moment(2) and not said
    chex.assert_trees_all_equal(tree, make_tree(2))


def test_a_symbolic_link_to_a_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    save_tree(tmp_path / "link" / "model", make_tree(1))
    tree = load_tree(tmp_path / "elsewhere" / "model", make_tree(0))
    chex.assert_trees_all_equal(tree, make_tree(1))


def test_what_is_not_read_back_as_it_was_is_not_kept(tmp_path, monkeypatch):
    save_tree(tmp_path / "x", make_tree(1))

    def other_numbers(file, **arrays):
        savez(file, **{name: np.zeros_like(array) for name, array in arrays.items()})

    savez = np.savez
    monkeypatch.setattr(np, "savez", other_numbers)
    with pytest.raises(OSError, match=r"cannot write .* was read back with other numbers"):
        save_tree(tmp_path / "x", make_tree(2))
    chex.assert_trees_all_equal(load_tree(tmp_path / "x", make_tree(0)), make_tree(1))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
