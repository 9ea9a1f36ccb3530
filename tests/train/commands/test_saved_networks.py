"""The network of a run as a folder: commands and `load_pretrained` give its answers."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from gconv_jax import P4, models
from gconv_jax.models import load_pretrained, pretrained_config, save_pretrained
from gconv_jax.nnx import Symmetrized
from tests.train.masks import draw_masks
from tests.train.runs import untrained_run
from train.__main__ import main
from train.commands.evaluate import Evaluate, evaluate
from train.commands.export import description
from train.commands.save_network import training_command
from train.config import Config
from train.recipes.presets import PRESETS
from train.run.predictor import load_predictor
from train.run.saved_predictor import open_predictor
from train.run_folder.saved_network import open_run
from train.steps.saved_options import saved_options

PLAIN = Config(model="lenet", group="z2", width=2)


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def saved(own_run, tmp_path_factory) -> Path:
    """The network of the run on rings and stars, as a user saves it."""
    path = tmp_path_factory.mktemp("saved") / "shapes"
    command = ["export", str(own_run.path), "--format", "pretrained", "--out", str(path)]
    for _ in range(2):  # its own folder is replaced
        assert main(command) == 0
    return path


def test_the_module_gives_the_logits_of_the_program(own_run, saved, rng):
    stored = rng.integers(0, 256, (3, 28, 28, 3)).astype(np.uint8)
    expected = load_predictor(own_run)(stored)
    model = load_pretrained(saved)
    assert isinstance(model, models.Standardized) and isinstance(model.model, models.LeNet)
    for images in (stored, stored / np.float32(255)):
        np.testing.assert_allclose(model(images), expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * np.abs(expected).max(), "a control"
    wrong = model(stored.astype(np.float32))
    assert np.abs(wrong - expected).max() > 1e-2 * np.abs(expected).max(), "pixels up to 255"


def test_commands_give_the_answers_of_the_run(own_run, own_images, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"run": str(own_run.path), "saved": str(saved)}
    for name, place in names.items():
        for command, file in (("predict", f"{name}.csv"), ("features", f"{name}.npz")):
            assert main([command, place, str(own_images), "--output", file]) == 0
    one, two = (Path(f"{name}.csv").read_text() for name in names)
    assert one == two and len(set(one.splitlines())) == 33
    with np.load("run.npz") as one, np.load("saved.npz") as two:
        for key in ("features", "paths", "predicted"):
            np.testing.assert_array_equal(one[key], two[key])
    for path in own_images.glob("*/1*.*"):  # by other names they are new
        new = tmp_path / "new" / path.parent.name / f"new{path.name}"
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, new)
    options = {"data": Path("new"), "symmetrize": "p4"}
    figures = evaluate(Evaluate(saved, **options), silent)
    assert figures == evaluate(Evaluate(own_run.path, **options), silent)
    assert figures["test_images"] == 14
    assert main(["export", str(saved), "--format", "stablehlo"]) == 0
    about = json.loads((tmp_path / "shapes.stablehlo.json").read_text())
    assert about == description(load_predictor(own_run))


def test_the_folder_has_the_figures_and_their_protocol(own_run, saved):
    config, results = pretrained_config(saved), own_run.results
    figures = {"test error": "test_error", "test class-mean accuracy": "class_mean_accuracy"}
    figures |= {"test AUC": "auc"}
    assert list(config["figures"].items()) == [(n, results[key]) for n, key in figures.items()]
    assert "the last of 1 epochs, no selection; Adam 0.002" in config["protocol"]
    assert config["classes"] == ["ring", "star"]
    assert config["images"] == {"shape": [28, 28, 3], "range": [0, 1]}
    about = config["about"]
    assert about["title"] == "lenet p4 on the images in shapes"
    assert about["program"]["reading"] == results["input"]["reading"]
    card = (saved / "README.md").read_text()
    assert "python -m train folder --model lenet --group p4" in card and "--data DIR" in card
    assert str(own_run.config.data.parent) not in card + json.dumps(config), "no path of the user"


def test_a_command_is_typed_as_it_was():
    config = dataclasses.replace(
        PRESETS["rotmnist-p4cnn"][1], epochs=3, milestones=(1, 2), schedule="step", run=Path("x")
    )
    assert training_command(config).endswith(
        "train rotmnist-p4cnn --epochs 3 --schedule step --milestones 1 2"
    )
    assert training_command(Config(compare_plain=True)).endswith("train --compare-plain")


@pytest.mark.parametrize(
    "kind",
    [
        *("digits", "whitened", "symmetrized", "canonicalized", "labels", "numbers"),
        *("symmetrized numbers", "vectors"),
    ],
)
def test_all_that_a_prediction_needs_is_kept(kind, tmp_path, rng):
    own = dataclasses.replace(PLAIN, dataset="folder", data=Path("photos"), image_size=28)
    numbers = dataclasses.replace(own, task="regression", targets=("age", "height"))
    flow = {"model": "p4cnn", "group": "p4m", "targets": ("age",), "vectors": ("dx", "dy")}
    config, names, more = {
        "digits": (PLAIN, None, {}),
        "whitened": (dataclasses.replace(own, preprocess="whiten"), ["day", "night"], {}),
        "symmetrized": (dataclasses.replace(PLAIN, adapt="symmetrize", dtype="bfloat16"), None, {}),
        "canonicalized": (dataclasses.replace(PLAIN, adapt="canonicalize"), None, {}),
        "labels": (
            own,
            ["cat", "dog", "élan"],
            {"several_labels": True, "reading": {"range": [2.0, 9.0], "ground": "white"}},
        ),
        "numbers": (numbers, ["age", "height"], {"scale": [12.0, 0.1]}),
        "symmetrized numbers": (
            dataclasses.replace(numbers, adapt="symmetrize"),
            ["age", "height"],
            {"scale": [12.0, 0.1]},
        ),
        "vectors": (
            dataclasses.replace(numbers, **flow),
            ["dy", "age", "dx"],
            {"scale": [0.1, 12.0, 0.1], "vectors": [[2, 0]]},
        ),
    }[kind]
    run = untrained_run(config, tmp_path / "run", (28, 28, 1), names, more)
    assert main(["export", str(run.path), "--format", "pretrained"]) == 0
    network = open_predictor(open_run(run.path / "pretrained"))
    expected = load_predictor(run)
    assert network.reading == expected.reading
    if own.task != config.task:
        np.testing.assert_array_equal(network.task.scale, np.float32(more["scale"]))
        assert network.task.vectors == expected.task.vectors
        assert (network.task.vectors is not None) == (kind == "vectors")
    else:
        assert network.task == expected.task
    assert network.title == expected.title == config.title and network.shape == expected.shape
    assert [network.name(i) for i in range(network.classes)] == [
        expected.name(i) for i in range(expected.classes)
    ]
    stored = rng.integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    logits = expected(stored)
    # Numbers of their own are rounded in another order.
    np.testing.assert_allclose(network(stored), logits, rtol=1e-6 if more.get("scale") else 0)
    scale = np.abs(logits.astype(np.float32)).max()
    loaded = load_pretrained(run.path / "pretrained")
    np.testing.assert_allclose(loaded(stored), logits, atol=1e-5 * scale, rtol=0)
    assert pretrained_config(run.path / "pretrained")["figures"] == {}
    if kind == "symmetrized":
        assert loaded(stored).dtype == jnp.bfloat16
    options = saved_options(pretrained_config(run.path / "pretrained"))
    named = ("model", "group", "width", "adapt", "adapt_group")
    given = {name: getattr(config, name) for name in named}
    assert {name: options.get(name, given[name]) for name in named} == given


@pytest.fixture(scope="module")
def unet(tmp_path_factory) -> Path:
    """A run for masks of 0 and 255, with a saved network beside its files."""
    config = Config(
        model="unet",
        seed=2,
        group="z2",
        width=2,
        dataset="folder",
        data=Path("cells"),
        task="segmentation",
    )
    values = {"mask_values": [0, 255], "reading": {"ink": "light", "range": [0, 255]}}
    path = tmp_path_factory.mktemp("masks") / "run"
    untrained_run(config, path, (8, 8, 1), ["ground", "cell"], values)
    assert main(["export", str(path), "--format", "pretrained"]) == 0
    return path


def test_a_network_for_masks_writes_the_same_masks(unet, tmp_path, capsys):
    saved, new = unet / "pretrained", draw_masks(tmp_path / "new", 6, side=8)
    for name, place in {"run": unet, "saved": saved}.items():
        out = ["--output", str(tmp_path / name)]
        assert main(["predict", str(place), str(new / "images"), *out]) == 0
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("run", "saved")
    )
    assert len(one) == 7 and one.pop("shares.csv") and two.pop("shares.csv") and one == two
    true, said = (
        np.stack([np.asarray(Image.open(at / f"{i}.png")) for i in range(6)])
        for at in (new / "masks", tmp_path / "saved")
    )
    assert set(np.unique(said)) == {0, 255}
    figures = evaluate(Evaluate(saved, data=new), silent)
    assert figures["test_error"] == pytest.approx((true != said).mean())
    model = load_pretrained(saved)
    assert isinstance(model.model, models.UNet)
    stored = np.stack(
        [np.asarray(Image.open(new / "images" / f"{i}.png"))[..., None] for i in range(6)]
    )
    np.testing.assert_array_equal(np.asarray(model(stored)).argmax(-1), said == 255)
    assert saved_options(pretrained_config(saved))["model"] == "unet"
    card = (saved / "README.md").read_text()
    assert "| output | `[N, 8, 8, 2]`, logits of each pixel; their softmax are" in card
    assert main(["features", str(saved), str(new), "--output", str(tmp_path / "x.npz")]) == 2
    assert "`features` are of whole images" in capsys.readouterr().err


def test_networks_that_the_program_has_not_written(tmp_path, rng):
    """They take pixels in the range that the folder says, and classes have numbers."""
    model = models.LeNet(widths=1, hidden=2, rngs=nnx.Rngs(0))
    options = {"image_shape": (28, 28, 1), "image_range": (-1, 3)}
    network = open_predictor(open_run(save_pretrained(model, tmp_path / "mine", **options)))
    stored = rng.integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    expected = model(stored / np.float32(255) * 4 - 1)
    np.testing.assert_allclose(network(stored), expected, atol=1e-5)
    assert network.name(3) == "3" and network.title == "mine"
    color = models.Standardized(
        models.LeNet(widths=1, hidden=2, in_features=3, rngs=nnx.Rngs(0)),
        mean=(0.1, 0.2, 0.3),
        std=0.5,
    )
    path = save_pretrained(color, tmp_path / "color", image_shape=(28, 28, 3))
    network, stored = open_predictor(open_run(path)), stored.repeat(3, -1)
    color.eval()
    np.testing.assert_allclose(network(stored), color(stored), atol=1e-5)
    assert "minus 0.1, 0.2, 0.3, divided by 0.5" in " ".join(description(network)["steps"])


def test_mistakes_get_one_clear_line(saved, own_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = str(own_images / "ring" / "0.png")
    plain = models.LeNet(widths=1, hidden=2, rngs=nnx.Rngs(0))
    save_pretrained(plain, "unsaid")
    save_pretrained(plain, "odd", image_shape=(28, 28, 2))
    save_pretrained(plain, "named", image_shape=(28, 28, 1), classes=["a", "b"])
    about = {"program": {"reading": {"shutter": 1}}}
    save_pretrained(plain, "read", image_shape=(28, 28, 1), about=about)
    save_pretrained(
        plain, "several", image_shape=(28, 28, 1), about={"program": {"several_labels": 3}}
    )
    save_pretrained(
        plain, "valued", image_shape=(28, 28, 1), about={"program": {"mask_values": [0]}}
    )
    ages = models.RescaledOutputs(plain, mean=40, std=12)
    both = {"program": {"several_labels": True}}
    save_pretrained(ages, "ages", image_shape=(28, 28, 1), about=both)
    named = {"classes": [f"age {i}" for i in range(10)]}
    save_pretrained(ages, "three", image_shape=(28, 28, 1), **named)
    maps = {"in_features": 2, "group": P4, "targets": 2, "vectors": ((0, 1),)}
    still = models.LeNet(widths=2, hidden=2, classes=0, rngs=nnx.Rngs(0))
    flow = models.VectorOutputs(still, **maps, rngs=nnx.Rngs(1))
    save_pretrained(Symmetrized(flow, group=P4), "averaged", image_shape=(28, 28, 1))
    moved = models.RescaledOutputs(flow, mean=(0, 1), std=2)
    save_pretrained(moved, "moved", image_shape=(28, 28, 1))
    config = json.loads(Path("three/config.json").read_text())
    config["arguments"]["std"] = [1, 2, 3]
    Path("three/config.json").write_text(json.dumps(config))
    pixels = nnx.eval_shape(lambda: models.UNet(width=1, depth=1, in_features=1, rngs=nnx.Rngs(0)))
    nnx.update(pixels, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), nnx.state(pixels)))
    save_pretrained(pixels, "pixels", image_shape=(8, 8, 1))
    save_pretrained(
        *(pixels, "values"),
        image_shape=(8, 8, 1),
        classes=["a", "b"],
        about={"program": {"mask_values": [0, 2]}},
    )
    shutil.copytree(saved, "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"0")
    shutil.copytree(saved, "cut")
    (tmp_path / "cut" / "config.json").unlink()
    plain_run = untrained_run(PLAIN, tmp_path / "plain", (28, 28, 1), None)
    mistakes = {
        "names no shape of images: save the network with image_shape=": [
            "predict",
            "unsaid",
            image,
        ],
        "odd does not take images of (28, 28, 2): ": ["predict", "odd", image],
        "`output_action` None of Symmetrized does not turn": ["predict", "averaged", image],
        "the components [0, 1] of a vector must have the `mean` 0": ["predict", "moved", image],
        "names 2 classes of a network with 10": ["predict", "named", image],
        "config.json is damaged: `reading`: ": ["predict", "read", image],
        "`several_labels` must be true or false, got 3": ["predict", "several", image],
        "`mask_values` are for masks, and the network has": ["predict", "valued", image],
        "`several_labels` is for classes, and": ["predict", "ages", image],
        "`std` must be one number, or one for each of 10 outputs; it has 3": [
            *("predict", "three", image),
        ],
        "results are (1, 8, 8, 2); name the classes of its pixels with": [
            *("predict", "pixels", image),
        ],
        "`mask_values` must be 0 to 1, one for each class, or 0 and 255": [
            *("predict", "values", image),
        ],
        "damaged/model.safetensors is damaged or another file": ["predict", "damaged", image],
        "cut is not the folder of a saved network: it has no config.json": [
            "predict",
            "cut",
            image,
        ],
        "`data` must name labelled images: ": ["evaluate", str(saved)],
        "without the images of its training": [
            *("evaluate", str(saved), "--data", str(own_images), "--split", "validation"),
        ],
        "`raw_dir` is for runs, and": ["predict", str(saved), image, "--raw-dir", "."],
        "`format` pretrained is what": ["export", str(saved), "--format", "pretrained"],
        "is a saved network and no run folder: predict, features": ["report", str(saved)],
        "nowhere is not a run folder: it has no config.json": ["predict", "nowhere", image],
        "; ready networks are ": ["predict", "nowhere", image],
        "has other files; name a new one": [
            *("export", str(plain_run.path), "--format", "pretrained", "--out", str(own_images)),
        ],
    }
    for message, command in mistakes.items():
        capsys.readouterr()
        assert main(command) == 2, command
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
