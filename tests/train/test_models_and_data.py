"""Every network and kind of image goes through training, report, evaluation and prediction."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from tests.datasets.prepared import write_prepared
from train.commands.evaluate import Evaluate, evaluate
from train.commands.export import Export, export
from train.commands.predict import Predict, predict
from train.config import Config
from train.loop import train
from train.report.html_page import saved_frames
from train.report.turning_frames import CLASSES, IMAGES
from train.run.predictor import load_predictor
from train.run.session import prepare_session
from train.run_folder.folder import Run

SLOW = pytest.mark.slow
FEW = Config(train_images=32, test_images=16, epochs=1, batch_size=16, parallel="jit", angles=8)


@pytest.fixture
def color(tmp_path, rng):
    """A run on color images in place of the downloaded ones; of few colors, so that a few images
    are enough to whiten with."""

    def split(count):
        coarse = rng.integers(0, 256, (count, 2, 2, 3)).astype(np.uint8)
        return coarse.repeat(16, 1).repeat(16, 2), np.arange(count) % 10

    write_prepared("cifar10", tmp_path / "data", {"train": split(64), "test": split(32)})
    return dataclasses.replace(
        FEW, dataset="cifar10", data_dir=tmp_path / "data", preprocess="whiten", model="resnet44",
        group="p4", blocks=1, width=2,
    )  # fmt: skip


@pytest.mark.slow
def test_whitened_color_images_from_training_to_prediction(color, tmp_path, capsys):
    said = []
    run = train(color, tmp_path / "run", said.append)
    results = run.results
    assert results["input"]["mean"] == 0 and results["input"]["std"] == 1
    assert "contrast-normalized and whitened" in (run.path / "report.md").read_text()
    assert not [line for line in said if "warning" in line]
    frames = saved_frames(run)
    assert frames["inputs"]["classes"][:2] == ["airplane", "automobile"]
    assert frames["network"]["note"].startswith("The network is given the whitened image, turned")
    # Exact geometry: whitening breaks the law by itself, and is not in this figure.
    assert max(results["invariance_error_at_element"].values()) < 1e-4
    again = evaluate(Evaluate(run.path))
    assert again["test_loss"] == pytest.approx(results["test_loss"], rel=1e-5)
    # The network by itself sees what the session saw: whitened once, not twice and not never.
    session = prepare_session(run.config)
    image = session.data.test.image[:2]
    expected = load_predictor(run)(image)
    whitened = session.data.whitening(image)
    assert np.abs(whitened - image / 255).max() > 0.5
    network = dataclasses.replace(load_predictor(run), whitening=None)
    np.testing.assert_allclose(network(whitened), expected, atol=1e-3)
    for i, x in enumerate(image):
        Image.fromarray(x).save(tmp_path / f"{i}.png")
    probabilities = predict(Predict(run.path, (tmp_path / "0.png", tmp_path / "1.png")))
    exp = np.exp(expected - expected.max(-1, keepdims=True))
    np.testing.assert_allclose(probabilities, exp / exp.sum(-1, keepdims=True), atol=1e-3)
    # The exported one, too, takes stored pixels.
    program = jax.export.deserialize(export(Export(run.path)).read_bytes())
    np.testing.assert_allclose(program.call(image), probabilities, atol=1e-3)
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    session = onnxruntime.InferenceSession(export(Export(run.path, format="onnx")))
    np.testing.assert_allclose(session.run(None, {"x": image})[0], probabilities, atol=1e-3)


@SLOW
@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
def test_all_cnn_c_as_published_with_augmentation(color, tmp_path):
    config = dataclasses.replace(
        color,
        model="all-cnn-c",
        blocks=None,
        geometry="published",
        preprocess="scale",
        augment="shift-flip",
    )
    run = train(config, tmp_path / "run", lambda line: None)
    assert np.isfinite(run.results["test_loss"]) and (run.path / "filters.png").is_file()
    errors = run.results["invariance_error_at_element"]
    assert max(errors.values()) > 1e-3, "the published geometry breaks the law"


@pytest.mark.parametrize(
    "options",
    [
        # Its gradient was NaN where XLA is told not to optimize, as here.
        pytest.param({"model": "small-e2cnn", "groups": ("d8", "c8"), "width": 1}, marks=SLOW),
        pytest.param({"model": "mixed", "groups": ("p4m", "p4", "z2"), "width": 2}, marks=SLOW),
        pytest.param({"model": "early-p4cnn", "size": "letters"}, marks=SLOW),
        pytest.param(
            {"model": "group-cnn", "group": "c8", "width": 2, "filters": "bilinear"}, marks=SLOW
        ),
        pytest.param(
            {"model": "augerino", "width": 1, "kernel_network": "multiplicative"}, marks=SLOW
        ),
        pytest.param({"model": "separable-cnn", "group": "p4m", "width": 2}, marks=SLOW),
        pytest.param({"model": "densenet", "group": "p4m", "width": 2}, marks=SLOW),
        pytest.param(
            {"model": "wide-resnet", "groups": ("p4m", "mirror"), "width": 1, "blocks": 1},
            marks=SLOW,
        ),
    ],
    ids=str,
)
def test_the_networks_for_letters(tmp_path, rng, options):
    """47 classes, as EMNIST has."""

    def split(count):
        image = rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
        return image, np.arange(count) % 47

    data = tmp_path / "data"
    write_prepared("emnist/balanced", data, {"train": split(64), "test": split(94)})
    config = dataclasses.replace(FEW, dataset="emnist/balanced", data_dir=data, **options)
    said = []
    run = train(config, tmp_path / "run", said.append)
    assert not [line for line in said if "warning" in line]
    network = saved_frames(run)["network"]
    assert len(network["maps"]) == (0 if options["model"] == "augerino" else 2)
    assert [len(shown["classes"]) for shown in network["probabilities"]] == [CLASSES] * IMAGES
    assert run.results["input"]["classes"] == 47
    assert run.results["model"].startswith(options["model"])
    assert Run.open(run.path).config == config
    assert load_predictor(run)(np.zeros((1, 28, 28, 1), np.uint8)).shape == (1, 47)
