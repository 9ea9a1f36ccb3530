"""Plain networks made equivariant by ``--adapt``, from training to evaluation and export."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, symmetrize
from train.commands.evaluate import Evaluate, evaluate
from train.config import Config
from train.loop import train
from train.recipes.presets import PRESETS
from train.report.first_filters import FILTERS, first_filters
from train.run.predictor import load_predictor
from train.run.session import prepare_session
from train.steps.build_model import build_model
from train.steps.optimizer import _base_filters
from train.steps.penalties import make_penalty
from train.steps.step import Batch, Steps

FEW = Config(
    model="lenet", group="z2", dataset="digits", epochs=1, batch_size=32, train_images=64,
    test_images=64, parallel="jit", report="quick",
)  # fmt: skip


@pytest.mark.parametrize("adapt", ["symmetrize", "canonicalize", "penalty"])
def test_training_evaluation_and_report(adapt, tmp_path):
    config = dataclasses.replace(FEW, adapt=adapt)
    run = train(config, tmp_path / "run", lambda line: None)
    results = run.results
    assert f"lenet z2 {adapt} p4" in (run.path / "report.md").read_text()
    again = evaluate(Evaluate(run.path), log=lambda line: None)
    assert again["test_loss"] == pytest.approx(results["test_loss"], rel=1e-5)
    predictor = load_predictor(run)
    image = prepare_session(run.config).data.test.image[:8]
    turned = np.rot90(image, axes=(1, 2))
    change = np.abs(predictor(turned) - predictor(image)).max()
    if adapt == "penalty":
        assert change > 1e-3
    else:
        assert change < 1e-4 * np.abs(predictor(image)).max()
    if adapt == "canonicalize":
        assert "canonicalize weight 1" in (run.path / "report.md").read_text()


def test_a_trained_network_is_averaged_over_poses(tmp_path):
    run = train(FEW, tmp_path / "run", lambda line: None)
    averaged = evaluate(Evaluate(run.path, symmetrize="p4"), log=lambda line: None)
    image = prepare_session(run.config).data.test
    logits = symmetrize(load_predictor(run), group=P4)(image.image)
    errors = (np.asarray(logits).argmax(-1) != image.label).mean()
    assert averaged["test_error"] == pytest.approx(errors)
    assert averaged["test_loss"] != pytest.approx(run.results["test_loss"], rel=1e-3)


def test_the_terms_of_the_loss(rng):
    """The prior of poses is that of the canonicalized network's scores; weights multiply."""
    x = jax.numpy.asarray(rng.normal(size=(8, 28, 28, 1)), jax.numpy.float32)
    key = jax.random.key(0)
    for adapt in ("canonicalize", "penalty"):
        one, two = (
            dataclasses.replace(FEW, adapt=adapt, adapt_weight=weight) for weight in (1.0, 2.0)
        )
        model = build_model(one, classes=10, in_features=1)
        model.eval()
        terms = [make_penalty(c)(model, x, model(x), key) for c in (one, two)]
        assert terms[0] > 1e-3
        np.testing.assert_allclose(terms[1], 2 * terms[0], rtol=1e-5)
    assert make_penalty(FEW) is None


def test_an_equivariant_network_has_no_penalty():
    """It has batch normalization; running statistics are as without the penalty."""
    session = prepare_session(FEW)
    batch = Batch(session.data.train.image[:8], session.data.train.label[:8])
    model = build_model(Config(model="p4cnn", width=2), classes=10, in_features=1)
    penalty = make_penalty(dataclasses.replace(FEW, adapt="penalty"))
    made, key = (session.steps.tx, session.steps.prepare), jax.random.key(0)
    steps = [Steps(model, *made, penalty=p) for p in (penalty, None)]
    found, expected = (s.train(s.init(), batch, key) for s in steps)
    assert found[1].loss - expected[1].loss < 1e-5
    jax.tree.map(np.testing.assert_array_equal, found[0].stats, expected[0].stats)


def test_relaxed_weights_do_not_decay():
    model = build_model(Config(model="p4cnn", relaxed=2), classes=10, in_features=1)
    decays = _base_filters(nnx.state(model, nnx.Param))
    found = {jax.tree_util.keystr(path): kept for path, kept in jax.tree.leaves_with_path(decays)}
    filters = {name: kept for name, kept in found.items() if "layer1" in name and "conv" in name}
    assert [kept for name, kept in filters.items() if "weights" in name] == [False]
    assert [kept for name, kept in filters.items() if "kernel" in name] == [True]


def test_the_report_shows_the_filters_of_the_classifier():
    model = build_model(
        dataclasses.replace(FEW, model="plain-cnn", group=None, adapt="canonicalize"),
        classes=10,
        in_features=1,
    )
    bank, _ = first_filters(model)
    np.testing.assert_array_equal(bank[:, :, 0], model.model.layer0.conv.kernel[:, :, 0, :FILTERS])


def test_the_seed_decides_the_parameters():
    configs = [dataclasses.replace(FEW, adapt="canonicalize", seed=seed) for seed in (0, 0, 1)]
    first, same, other = (
        jax.tree.leaves(nnx.state(build_model(c, classes=10, in_features=1), nnx.Param))
        for c in configs
    )
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_relaxed_filters_start_as_exact_ones():
    config = Config(model="p4cnn", relaxed=2)
    model = build_model(config, classes=10, in_features=1)
    assert model.layer1.conv.weights.shape == (2, 4)
    assert PRESETS["symmetry-rotmnist-relaxed"][1].relaxed == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "p4cnn", "group": None}, "networks without a group of their own: p4cnn needs"),
        ({"model": "mixed", "group": None, "groups": ("p4",)}, "mixed needs --groups z2"),
        ({"model": "e2cnn", "group": None}, "e2cnn needs --groups z2"),
        ({"adapt_weight": float("nan")}, "`adapt_weight` must be finite"),
        ({"model": "resnet44", "head": "ordinary"}, "`head` ordinary is for another network"),
        ({"model": "convnext", "head": "published"}, "`head` published is for another network"),
        ({"adapt": "none", "adapt_weight": 2.0}, "`adapt_weight` goes with --adapt symmetrize"),
        ({"adapt": "none", "adapt_group": "p4m"}, "`adapt_group` goes with --adapt"),
        ({"adapt": "symmetrize", "adapt_weight": 2.0}, "`adapt_weight` goes with --adapt canon"),
        ({"adapt_weight": -1.0}, "`adapt_weight` must be finite and at least 0.0, got"),
        ({"adapt": "average"}, "`adapt` must be one of none, symmetrize, canonicalize, penalty"),
        ({"relaxed": 2}, "`relaxed` is for p4cnn, not for lenet"),
    ],
)
def test_settings_that_do_not_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FEW, **({"adapt": "penalty"} | changes))


def test_the_report_shows_relaxed_filters():
    """They are the mixtures of each pose."""
    model = build_model(Config(model="p4cnn", relaxed=2, width=2), classes=10, in_features=1)
    conv = model.layer0.conv
    bank, names = first_filters(model)
    identity = (conv.weights[:, 0, None, None, None] * conv.kernel[:, :, :, 0]).sum(0)
    np.testing.assert_allclose(bank[:, :, 0], identity, atol=1e-6)
    assert names == ["e", "r90", "r180", "r270"]
