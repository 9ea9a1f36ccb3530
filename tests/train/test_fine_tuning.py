"""Fine-tuning: a run that starts from the weights of another network."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4
from gconv_jax.models import P4CNN, LeNet, VectorOutputs, load_pretrained
from gconv_jax.models._network import describe
from tests.train.runs import assert_same_bits
from train.config import Config
from train.loop import resume, train
from train.options.fine_tuning import is_frozen
from train.recipes.typed_options import configure
from train.run.initial_weights import INITIAL
from train.run.predictor import load_predictor
from train.run.session import prepare_session
from train.run.source_weights import read_weights, weights_for
from train.run_folder.folder import Run
from train.seeds import train_seeds
from train.steps.build_model import build_model
from train.steps.optimizer import make_optimizer
from train.steps.saved_options import saved_options
from train.steps.starting_weights import StartingWeights, arrays_of, head_of, start_from

READY = "digits-p4cnn"
QUIET = {"log": lambda line: None}


@pytest.fixture(scope="module")
def few(tiny) -> Config:
    """A run of seconds that starts from a ready network. Nearly all runs here have the same
    compiled step."""
    changes = {"init": READY, "train_images": 32, "epochs": 1, "report": "none"}
    changes |= {"freeze": ("layer0", "layer1.*"), "head_rate": 3.0, "weight_decay": 0.1}
    changes |= {"clip": 1.0}
    return dataclasses.replace(tiny, model="p4cnn", group="p4", width=None, **changes)


@pytest.fixture(scope="module")
def tuned(few, tmp_path_factory) -> Run:
    """A finished run with frozen layers."""
    return train(few, tmp_path_factory.mktemp("tuned") / "run", **QUIET)


def arrays(run: Run) -> dict[str, np.ndarray]:
    network = load_predictor(run)
    return arrays_of(network.steps.model(network.params, network.stats))


def ready() -> dict[str, np.ndarray]:
    return read_weights(READY).arrays


def test_frozen_layers_keep_every_number_and_others_change(tuned):
    before, after = ready(), arrays(tuned)
    assert before.keys() == after.keys()
    for path, array in after.items():
        frozen = path.startswith(("layer0.", "layer1."))
        assert np.array_equal(array, before[path]) == frozen, path
    assert any(path.startswith("layer0.norm.mean") for path in after), "statistics, too"
    text = json.loads((tuned.path / "config.json").read_text())
    assert (text["init"], text["freeze"]) == (READY, ["layer0", "layer1.*"])


def test_without_a_step_it_is_the_network_that_it_starts_from(few):
    session = prepare_session(few, weights=weights_for(few))
    for steps in session.networks:
        state = steps.init()
        start = arrays_of(steps.model(state.params, state.stats))
        assert all(np.array_equal(start[path], array) for path, array in ready().items())
    image = session.data.test.image[:8]
    logits = session.trainer.logits(session.init(), image)
    prepared = (jnp.asarray(image, jnp.float32) / 255 - session.data.mean) / session.data.std
    np.testing.assert_allclose(logits, load_pretrained(READY).model(prepared), atol=1e-4)


def test_it_goes_on_without_the_network_that_it_started_from(few, tuned, tmp_path):
    """The source is moved away; a copy in the run folder is what a resumed run begins with."""
    source = shutil.copytree(tuned.path, tmp_path / "source")
    config = dataclasses.replace(few, init=str(source))
    whole = train(dataclasses.replace(config, epochs=2), tmp_path / "whole", **QUIET)
    run = train(config, tmp_path / "run", **QUIET)
    assert run.config.init == str(source) and (run.path / INITIAL).is_dir()
    shutil.rmtree(source)
    (run.path / "checkpoints" / "000001" / "arrays.npz").write_bytes(b"cut")
    longer = resume(run.path, epochs=2, **QUIET)  # from the beginning: no checkpoint is whole
    assert_same_bits(longer, whole)
    shutil.rmtree(run.path / INITIAL)
    with pytest.raises(FileNotFoundError, match="source is not a run folder"):
        resume(run.path, epochs=3, **QUIET)


@pytest.mark.slow
def test_several_seeds_start_alike(few, tmp_path):
    config = dataclasses.replace(few, seeds=2)
    runs = train_seeds(config, tmp_path / "seeds", **QUIET)
    first, second = map(arrays, runs)
    assert np.array_equal(first["layer1.conv.kernel"], second["layer1.conv.kernel"])
    assert not np.array_equal(first["top.kernel"], second["top.kernel"]), "other images' order"


def test_another_number_of_classes_has_a_new_last_layer():
    def build(classes: int, **options):
        return P4CNN(width=2, classes=classes, rngs=nnx.Rngs(1), **options)

    head = head_of(build, 3, 4)
    assert head == {"top.kernel", "top.bias"}
    theirs = P4CNN(width=2, classes=5, rngs=nnx.Rngs(2))
    weights = StartingWeights("theirs", arrays_of(theirs), 5, (28, 28, 1))
    fresh, model = build(3), start_from(build(3), weights, head)
    old, new, ours = arrays_of(theirs), arrays_of(fresh), arrays_of(model)
    for path, array in ours.items():
        assert np.array_equal(array, new[path] if path in head else old[path]), path
    with pytest.raises(ValueError, match="theirs is another network: `layer0"):
        start_from(P4CNN(width=3, rngs=nnx.Rngs(0)), weights, head)
    with pytest.raises(ValueError, match=r"`conv0.bias` has shape .* here, and is missing there"):
        start_from(LeNet(widths=1, hidden=2, rngs=nnx.Rngs(0)), weights, head)


def flow(vectors, targets: int, seed: int) -> VectorOutputs:
    network = P4CNN(width=2, classes=0, rngs=nnx.Rngs(seed))
    options = {"targets": targets, "vectors": vectors, "rngs": nnx.Rngs(seed)}
    return VectorOutputs(network, in_features=2, group=P4, **options)


@pytest.mark.parametrize("kind", ["vectors", "as many", "other vectors", "classes", "from classes"])
def test_layers_that_make_vectors_are_new_if_others_make_them(kind):
    ours, theirs = flow(((0, 1),), 4, 1), flow(((0, 1),), 4, 2)
    if kind == "as many":  # at other places
        theirs = flow(((3, 2),), 4, 2)
    elif kind == "other vectors":  # with as many channels
        theirs = flow(((0, 1), (2, 3)), 4, 2)
    elif kind == "classes":
        ours = P4CNN(width=2, classes=3, rngs=nnx.Rngs(1))
    elif kind == "from classes":
        theirs = P4CNN(width=2, classes=3, rngs=nnx.Rngs(2))
    there, before = arrays_of(theirs), arrays_of(ours)
    head = head_of(lambda n: ours, 3, 4) if kind != "classes" else frozenset({"top.bias"})
    has_vectors = isinstance(theirs, VectorOutputs)
    weights = StartingWeights("theirs", there, 4, (28, 28, 1), has_vectors)
    found = arrays_of(start_from(ours, weights, head))
    for name, array in found.items():
        layer = name.split(".")[0]
        new = layer == "top" or (
            layer in ("project", "moment") and kind not in ("vectors", "as many")
        )
        assert np.array_equal(array, before[name] if new else there[name]), name
    narrow = P4CNN(width=3, classes=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="theirs is another network: `layer0"):
        start_from(narrow, weights, head)


def test_a_model_of_ones_own_with_vectors_starts_whole():
    """Its layers have any names, and none is new without a word."""

    class Own(nnx.Module):
        def __init__(self, seed: int, more: bool = False):
            self.project = nnx.Linear(2, 3, rngs=nnx.Rngs(seed))
            if more:
                self.other = nnx.Linear(2, 3, rngs=nnx.Rngs(seed))

    weights = StartingWeights("theirs", arrays_of(Own(1)), 3, (28, 28, 1))
    found = start_from(Own(2), weights, frozenset())
    np.testing.assert_array_equal(found.project.kernel[...], Own(1).project.kernel[...])
    with pytest.raises(ValueError, match="theirs is another network: `other"):
        start_from(Own(2, more=True), weights, frozenset())


def test_the_last_layer_has_its_own_rate(few):
    params = nnx.state(P4CNN(width=2, classes=3, rngs=nnx.Rngs(0)), nnx.Param)
    head = frozenset({"top.kernel", "top.bias"})
    options = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.5, "clip": None}
    options |= {"weight_decay": 0.0}
    config = dataclasses.replace(few, head_rate=10.0, freeze=("layer0",), **options)
    tx = make_optimizer(config, 1, head)
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(grads, tx.init(params), params)
    for path, step in nnx.to_flat_state(updates):
        name = ".".join(map(str, path))
        rate = 0.0 if is_frozen(name, config.freeze) else 5.0 if name in head else 0.5
        np.testing.assert_allclose(step[...], -rate, err_msg=name)


def test_the_options_of_the_network_come_from_it(tuned):
    config = configure("digits-z2cnn", ["--init", str(tuned.path), "--epochs", "3"])
    assert (config.model, config.group, config.width, config.epochs) == ("p4cnn", "p4", None, 3)
    config = configure("folder", ["--data", "x", "--init", "blood-p4m", "--group", "p4m"])
    assert (config.model, config.group, config.width, config.blocks) == ("resnet", "p4m", 4, 1)
    with pytest.raises(ValueError, match="`group` p4 contradicts --init blood-p4m, whose network"):
        configure("folder", ["--data", "x", "--init", "blood-p4m", "--model", "p4-resnet"])


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"network": "own", "arguments": {}}, "no option --model stands for a network own"),
        (
            {"network": "UNet", "arguments": {"width": 2}},
            "of UNet has no `classes` in its arguments",
        ),
        (
            {"network": "P4CNN", "arguments": {"group": {"P6": None}}},
            "no option --group stands for P6",
        ),
        (
            {
                "network": "AllCNNC",
                "arguments": {
                    "group": {"cyclic": 4},
                    "widths": [2, 4],
                    "dropout": 0.1,
                    "classes": 2,
                    "in_features": 3,
                },
            },
            "no options stand for a AllCNNC with `dropout` 0.1: build and train it in Python",
        ),
    ],
)
def test_a_network_that_no_options_stand_for(description, message):
    with pytest.raises(ValueError, match=message):
        saved_options(description)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "unet", "group": "octahedral", "width": 2},
        {"model": "group-unet", "group": "p4", "blocks": 1},
    ],
)
def test_networks_for_masks_have_options(options):
    config = Config(task="segmentation", dataset="folder", **options)
    model = nnx.eval_shape(lambda: build_model(config, classes=3, in_features=1))
    found = saved_options(describe(model))
    assert {name: found[name] for name in options} == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"freeze": ("nothing",)},
            "`freeze` 'nothing' matches no parameter; the network has layer0",
        ),
        ({"freeze": ("*",)}, r"`freeze` \* matches all 26 parameters"),
        (
            {"init": "no-such-run"},
            "no-such-run is not a run folder: .*; ready networks are .*blood-p4m",
        ),
        (
            {"init": "blood-p4m"},
            "`init` blood-p4m takes images of 3 channels.*with --channels colour",
        ),
    ],
)
def test_what_it_cannot_start_from_is_named(few, options, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(dataclasses.replace(few, **options), tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_cut_or_unfinished_source_is_named(tuned, tmp_path):
    source = shutil.copytree(tuned.path, tmp_path / "source")
    (source / "model" / "arrays.npz").write_bytes(b"cut")
    with pytest.raises(ValueError, match="source/model is damaged"):
        read_weights(str(source))
    (source / "results.json").unlink()
    with pytest.raises(ValueError, match="source is a run that is not finished: finish it with"):
        read_weights(str(source))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ("layer0",)}, "`freeze` goes with --init"),
        ({"head_rate": 2.0}, "`head_rate` goes with --init"),
        ({"init": READY, "head_rate": 0.0}, "`head_rate` must be positive"),
        ({"init": READY, "compare_plain": True, "group": "p4"}, "--compare-plain trains three"),
        ({"init": ""}, "`init` must be a run folder"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        Config(model="p4cnn", **options)


def test_fine_tuning_beats_training_from_nothing(few, tmp_path):
    """The ready network has seen digits of MNIST, and these are of another source;
    docs/how-to/fine-tuning.md has cells."""
    other = dataclasses.replace(few, init="mnist-p4cnn", epochs=2)
    started = train(other, tmp_path / "started", **QUIET)
    random = {"init": None, "freeze": (), "head_rate": 1.0, "epochs": 2}
    nothing = train(dataclasses.replace(few, **random), tmp_path / "nothing", **QUIET)
    assert started.results["test_error"] < 0.3 < nothing.results["test_error"]
