"""Images that stay on the disk: the same batches and the same runs as from memory."""

import dataclasses
import os
import pickle
import shutil
import signal
import sys

import chex
import numpy as np
import pytest

from gconv_jax.datasets import open_records
from tests.datasets import raw_files
from tests.datasets.prepared import write_prepared
from tests.train.runs import assert_same_bits
from tests.train.steps.test_step import assert_same, three_steps
from train.__main__ import main
from train.config import Config
from train.data.grain_loader import read_ahead
from train.data.load import load_data
from train.data.on_disk import ImagesOnDisk
from train.data.splits import Split
from train.data.statistics import moments, pixel_sums
from train.data.tfds import RecordImages
from train.loop import resume, train
from train.run.session import prepare_session
from train.run.trainer import Trainer
from train.run_folder.folder import Run
from train.seeds import train_seeds
from train.steps.parallel import Parallel


class Memory:
    """Reads from an array, and remembers how much at once."""

    def __init__(self, image: np.ndarray):
        self.image, self.most = image, 0

    def __call__(self, places: np.ndarray) -> np.ndarray:
        self.most = max(self.most, len(places))
        return self.image[places]


def stored(image: np.ndarray) -> ImagesOnDisk:
    places = np.arange(len(image))
    return ImagesOnDisk(Memory(image), places, image.shape[1:], image.dtype, pixel_sums(image))


@pytest.fixture(scope="module", params=[np.uint8, np.float32], ids=["uint8", "float32"])
def image(request) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (50, 5, 6, 2))
    return (255 * values).astype(np.uint8) if request.param == np.uint8 else values.astype("f4")


def test_stored_images_are_indexed_like_an_array(image):
    kept = stored(image)
    assert kept.shape == image.shape and len(kept) == 50 and kept.nbytes == image.nbytes
    rows = np.random.default_rng(1).integers(0, 20, (3, 2, 4))
    for index in (rows, [4, 1], 7, np.arange(0)):
        np.testing.assert_array_equal(kept[10:40][index], image[10:40][index])
    part = kept[5:][:9][2:]
    assert isinstance(part, ImagesOnDisk) and part.shape == (7, 5, 6, 2)
    np.testing.assert_array_equal(np.asarray(part), image[7:14])
    with pytest.raises(IndexError):
        kept[10:20][np.array([10])]


def test_moments_are_those_of_all_pixels(image):
    pixels = image.astype(np.float64) / (255 if image.dtype == np.uint8 else 1)
    for part in (slice(None), slice(7, 20)):
        expected = pixels[part].mean(), pixels[part].std()
        np.testing.assert_allclose(moments(image[part]), expected, rtol=1e-7)
        assert moments(stored(image)[part]) == moments(image[part])
    flat = np.full_like(image, 3)
    assert moments(flat)[1] == moments(stored(flat))[1] == 1.0, "not rounding errors of 0"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_come_in_their_order_and_from_any_step_on(image, workers):
    rows = np.random.default_rng(1).integers(0, 50, (40, 2, 3))
    kept = stored(image)
    came = list(read_ahead(kept, rows, lambda batch: (batch, 1), workers))
    assert len(came) == 40
    for (batch, _), row in zip(came, rows, strict=True):
        np.testing.assert_array_equal(batch, image[row])
    assert kept.read.most <= 6, "one batch at a time, at most"
    later = list(read_ahead(kept, rows[31:], lambda batch: batch, workers))
    np.testing.assert_array_equal(later, image[rows[31:]])


def test_an_error_while_reading_reaches_the_loop(tmp_path, own_images, own_run):
    folder = shutil.copytree(own_images, tmp_path / "shapes")

    def remove_images(line: str) -> None:
        if "training images" in line:  # the last line before training begins
            shutil.rmtree(folder / "star")

    config = dataclasses.replace(own_run.config, data=folder, loader="grain")
    with pytest.raises(ValueError, match="no such image file: "):
        train(config, tmp_path / "run", remove_images)


@pytest.mark.parametrize("mode", ["pmap", "sharding"])
def test_eight_devices_equal_one(smaller, mode):
    expected = three_steps(smaller, memory="host")
    data = load_data(dataclasses.replace(smaller, train_images=48))
    data = dataclasses.replace(data, train=Split(stored(data.train.image), data.train.label))
    assert_same(three_steps(smaller, data=data), expected, atol=0)
    assert_same(three_steps(smaller, Parallel(mode, 8), data), expected, atol=2e-5)


@pytest.fixture(scope="module")
def own_config(own_images) -> Config:
    return Config(
        model="lenet", group="p4", width=2, dataset="folder", data=own_images, image_size=28,
        batch_size=4, epochs=2, validation=4, patience=2, parallel="jit", report="quick", angles=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def from_memory(own_config, tmp_path_factory) -> Run:
    return train(own_config, tmp_path_factory.mktemp("memory") / "run", lambda line: None)


GRAY = pytest.param({"channels": "grey"}, marks=pytest.mark.slow)
WORKERS = pytest.param({"workers": 2}, marks=pytest.mark.slow)


@pytest.mark.parametrize("options", [{}, GRAY, WORKERS], ids=str)
def test_a_run_on_ones_own_images_has_the_same_bits(own_config, from_memory, tmp_path, options):
    expected = from_memory
    if "channels" in options:
        config = dataclasses.replace(own_config, **options)
        expected = train(config, tmp_path / "memory", lambda line: None)
    config = dataclasses.replace(own_config, loader="grain", **options)
    run = train(config, tmp_path / "run", lambda line: None)
    assert_same_bits(run, expected)
    for name in ("test_loss", "test_error", "input", "accuracy_at_angle", "fingerprint"):
        assert run.results[name] == expected.results[name], name


def test_gray_images_in_color_files_have_one_channel(tmp_path):
    from PIL import Image

    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8), (30 * i,) * 3).save(tmp_path / label / f"{i}.png")
    config = Config(dataset="folder", data=tmp_path, image_size=8, batch_size=2, loader="grain")
    grain, memory = load_data(config), load_data(dataclasses.replace(config, loader="memory"))
    assert grain.train.image.shape == memory.train.image.shape == (6, 8, 8, 1)
    np.testing.assert_array_equal(np.asarray(grain.train.image), memory.train.image)
    assert (grain.mean, grain.std) == pytest.approx((memory.mean, memory.std), rel=1e-12)


def test_a_run_on_a_tfds_set_has_the_same_bits(tmp_path):
    write_prepared("mnist", tmp_path / "data", raw_files.tiny_mnist())
    config = Config(
        model="lenet", width=2, dataset="mnist", batch_size=2, epochs=2, validation=2,
        train_images=6, test_images=4, parallel="jit", data_dir=tmp_path / "data", report="none",
    )  # fmt: skip
    runs = [
        train(dataclasses.replace(config, loader=loader), tmp_path / loader, lambda line: None)
        for loader in ("memory", "grain")
    ]
    assert_same_bits(*runs)
    one, other = (run.results for run in runs)
    assert one["input"] == other["input"] and one["test_loss"] == other["test_loss"]


def test_images_of_several_splits_are_one_after_another(tmp_path):
    write_prepared("mnist", tmp_path, raw_files.tiny_mnist())
    splits = open_records("mnist", data_dir=tmp_path)
    both = [splits["train"], splits["test"]]
    whole = np.concatenate([r.read(range(len(r)))["image"] for r in both])
    places = np.random.default_rng(0).permutation(len(whole))
    np.testing.assert_array_equal(RecordImages(both)(places), whole[places])
    again = pickle.loads(pickle.dumps(RecordImages(both)))
    np.testing.assert_array_equal(again(places), whole[places])


class Stop(Exception):
    pass


@pytest.fixture
def train_until(monkeypatch):
    """Train as a process does that ends after so many checkpoints."""
    from train.run_folder import checkpoint

    def run(function, checkpoints: int, *args) -> None:
        save, saved = checkpoint.save_tree, []

        def save_and_stop(*args, **options):
            save(*args, **options)
            saved.append(args[0])
            if len(saved) == checkpoints:
                raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_tree", save_and_stop)
            with pytest.raises(Stop):
                function(*args, lambda line: None)

    return run


@pytest.fixture
def epochs_of_steps(monkeypatch) -> list[int]:
    """The epoch of each step that is taken."""
    taken, epoch = [], Trainer.epoch

    def counted(self, state, number, first=0):
        for step in epoch(self, state, number, first):
            taken.append(number)
            yield step

    monkeypatch.setattr(Trainer, "epoch", counted)
    return taken


@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_a_run_goes_on_in_mid_epoch_with_the_same_bits(
    own_config, from_memory, tmp_path, train_until, epochs_of_steps, loader
):
    config = dataclasses.replace(own_config, loader=loader, checkpoint_steps=2)
    # Of 22 images, 5 steps an epoch: after 2, 4, 5 and the validation of the first, then after 2.
    train_until(train, 5, config, tmp_path / "run")
    names = sorted(p.name for p in (tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    assert names[1:] == ["000001", "000001+00000002"], "the first is about to be removed"
    said = []
    epochs_of_steps.clear()
    run = resume(tmp_path / "run", log=said.append)
    assert any(line.endswith("continuing after epoch 1 and 2 steps") for line in said)
    assert epochs_of_steps == [2, 2, 2], "the first two steps are not done again"
    assert_same_bits(run, from_memory)
    for ours, theirs in zip(run.metrics(), from_memory.metrics(), strict=True):
        for name in ("epoch", "train_loss", "train_error", "validation_loss"):
            assert ours[name] == theirs[name]
    assert (tmp_path / "run" / "checkpoints" / "000002").is_dir()


def test_a_run_goes_on_before_the_validation(
    own_config, from_memory, tmp_path, train_until, epochs_of_steps
):
    config = dataclasses.replace(own_config, checkpoint_steps=4)
    # After 4, 5 and validation, then after 4 and 5.
    train_until(train, 5, config, tmp_path / "run")
    said = []
    epochs_of_steps.clear()
    run = resume(tmp_path / "run", log=said.append)
    assert any(line.endswith("continuing after epoch 1 and 5 steps") for line in said)
    assert not epochs_of_steps
    assert_same_bits(run, from_memory)
    assert [r["validation_loss"] for r in run.metrics()] == [
        r["validation_loss"] for r in from_memory.metrics()
    ]


def test_fewer_epochs_than_have_begun_are_refused(own_config, tmp_path, train_until):
    config = dataclasses.replace(own_config, epochs=3, checkpoint_steps=2)
    train_until(train, 6, config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"`epochs` must be more than 1: .* epoch 1 and 4 steps"):
        resume(tmp_path / "run", epochs=1)
    assert Run(tmp_path / "run").config.epochs == 3, "nothing was changed"


def test_more_steps_than_an_epoch_has_are_refused(own_config):
    with pytest.raises(ValueError, match="`checkpoint_steps` 5 must be below the 5 steps of an ep"):
        prepare_session(dataclasses.replace(own_config, checkpoint_steps=5))


@pytest.mark.slow
def test_a_worker_that_dies_is_named(image):
    places = np.arange(len(image))
    kept = ImagesOnDisk(_Dying(), places, image.shape[1:], image.dtype, pixel_sums(image))
    with pytest.raises(OSError, match=r"a process that reads images has ended .*fewer --workers"):
        list(read_ahead(kept, np.zeros((9, 4), int), lambda batch: batch, 2, ahead_bytes=1))


class _Dying:
    def __call__(self, places: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_two_seeds_go_on_from_what_both_have(smaller, tmp_path, train_until):
    config = dataclasses.replace(
        smaller, seeds=2, train_images=64, checkpoint_steps=1, optimizer="sgd", learning_rate=0.01
    )
    whole = train_seeds(config, tmp_path / "whole", lambda line: None)
    # The first seed has three steps, the second two.
    train_until(train_seeds, 5, config, tmp_path / "run")
    said = []
    runs = train_seeds(config, tmp_path / "run", said.append)
    assert any(line.endswith("continuing after epoch 0 and 2 steps") for line in said)
    for run, expected in zip(runs, whole, strict=True):
        assert_same_bits(run, expected)
        losses = [[r["train_loss"] for r in r_.metrics()] for r_ in (run, expected)]
        chex.assert_trees_all_equal(*losses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loader": "grain"}, "`dataset` digits is made in memory"),
        ({"loader": "grain", "dataset": "mnist", "preprocess": "whiten"}, "`preprocess` whiten is"),
        ({"loader": "grain", "dataset": "mnist", "memory": "device"}, "`memory` device and loader"),
        ({"loader": "grain", "dataset": "mnist", "loop": "scan"}, "`loop` scan needs all images"),
        ({"workers": 2}, "`workers` 2 is for --loader grain"),
        ({"workers": -1}, "`workers` must be finite and at least 0"),
        ({"checkpoint_steps": 0}, "`checkpoint_steps` must be finite and at least 1"),
        ({"checkpoint_steps": 5, "loop": "scan"}, "`checkpoint_steps` 5 needs --loop step"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_without_grain_it_is_said_how_to_get_it(own_images, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "grain", None)
    assert main(["--data", str(own_images), "--loader", "grain"]) == 2
    assert "pip install 'gconv_jax[grain]'" in capsys.readouterr().err
