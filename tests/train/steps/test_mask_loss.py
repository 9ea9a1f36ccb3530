"""The losses and counts of masks, and how masks are moved, against loops and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from sklearn.metrics import confusion_matrix

from gconv_jax import P4M, full_octahedral, rotate
from train.config import Config
from train.data.mask_classes import IGNORED
from train.run.mask_turns import in_disc, turned_back, turned_mask
from train.steps.augment import Prepare, rotate_mask
from train.steps.loss import make_loss
from train.steps.mask_loss import balanced_pixels, dice_loss, mask_counts
from train.steps.step import Batch, Steps
from train.steps.task import MASKS, task_of, task_of_results
from train.steps.turned_images import turned, turns_of

N, SIDE, CLASSES = 3, 5, 4


@pytest.fixture(scope="module")
def given() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, CLASSES, (N, SIDE, SIDE)).astype(np.uint8)
    mask[1, :2] = IGNORED
    mask[2] = IGNORED
    return rng.normal(size=(N, SIDE, SIDE, CLASSES)).astype(np.float32), mask


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64))
    return p / p.sum(-1, keepdims=True)


def losses(given, weights=(1.0,) * CLASSES, gamma: float = 0.0) -> np.ndarray:
    """The loss of each image, pixel by pixel."""
    logits, mask = given
    found = []
    for p_of_image, of_image in zip(softmax(logits), mask, strict=True):
        terms = [
            -weights[c] * (1 - p[c]) ** gamma * np.log(p[c])
            for p, c in zip(p_of_image.reshape(-1, CLASSES), of_image.ravel(), strict=True)
            if c != IGNORED
        ]
        found.append(np.mean(terms) if terms else 0.0)
    return np.array(found)


def made(**options):
    config = Config(task="segmentation", model="unet", dataset="folder", **options)
    return lambda given: make_loss(config, given[1], CLASSES)(*map(jnp.asarray, given))


def test_the_cross_entropy_is_the_mean_over_known_pixels(given):
    np.testing.assert_allclose(made()(given), losses(given), rtol=1e-5)
    np.testing.assert_allclose(MASKS.cross_entropy(*given), losses(given), rtol=1e-5)
    focal = made(loss="focal", focal_gamma=1.5)
    np.testing.assert_allclose(focal(given), losses(given, gamma=1.5), rtol=1e-4)


def test_weights_are_those_of_classes_of_pixels(given):
    _, mask = given
    known = mask[mask != IGNORED]
    counts = [(known == c).sum() for c in range(CLASSES)]
    weights = [known.size / (CLASSES * n) for n in counts]
    np.testing.assert_allclose(balanced_pixels(mask, CLASSES), weights, rtol=1e-6)
    weighted = made(class_weights="balanced")
    np.testing.assert_allclose(weighted(given), losses(given, weights), rtol=1e-5)
    assert balanced_pixels(mask, CLASSES + 1)[-1] == 0


def test_dice_is_added(given):
    logits, mask = given
    found = []
    for p, of_image in zip(softmax(logits), mask, strict=True):
        known = of_image != IGNORED
        each = []
        for c in np.unique(of_image[known]):
            t = of_image[known] == c
            each.append(1 - 2 * p[known][:, c][t].sum() / (p[known][:, c].sum() + t.sum()))
        found.append(np.mean(each) if each else 0.0)
    np.testing.assert_allclose(dice_loss(logits, mask), found, rtol=1e-5)
    np.testing.assert_allclose(made(loss="dice")(given), losses(given) + found, rtol=1e-5)
    perfect = 100 * jax.nn.one_hot(mask, CLASSES)
    assert float(dice_loss(perfect, mask)[0]) < 1e-5


def test_counts_are_those_of_scikit_learn(given):
    logits, mask = given
    counts, said = np.asarray(mask_counts(*given)), logits.argmax(-1)
    for found, true, predicted in zip(counts, mask, said, strict=True):
        known = true != IGNORED
        expected = np.zeros((CLASSES, CLASSES))
        if known.any():
            expected = confusion_matrix(true[known], predicted[known], labels=range(CLASSES))
        np.testing.assert_array_equal(found, expected)
    wrong = [(s != m)[m != IGNORED].mean() if (m != IGNORED).any() else 0
             for s, m in zip(said, mask, strict=True)]  # fmt: skip
    np.testing.assert_allclose(MASKS.errors(*given), wrong, rtol=1e-6)


def test_labels_of_pixels_make_the_task():
    assert task_of(np.zeros((1, 4, 4), np.uint8)) is MASKS
    assert task_of(np.zeros((1, 4, 4, 4), np.uint8)) is MASKS
    assert task_of_results({"input": {"mask_values": [0, 1]}}) is MASKS


def blobs(side: int, rank: int = 2) -> np.ndarray:
    """Masks of large regions of two classes, without a symmetry."""
    place = np.indices((side,) * rank) / side
    mask = (place[0] + 0.6 * place[1] > 0.8).astype(np.uint8)
    mask[: side // 3, : side // 4] = 1
    return np.stack([mask, np.flip(mask, 0)])


@pytest.mark.parametrize("augment", ["rotate", "jitter", "shift-flip"])
def test_masks_are_moved_as_their_images(augment):
    """An image that shows its mask: both are equal but for the borders of regions."""
    mask, keys = blobs(32), jax.random.split(jax.random.key(3), 2)
    prepare = Prepare(0.5, 0.5, augment)
    moved = np.asarray(prepare.mask(jnp.asarray(mask), keys))
    image = np.asarray(prepare(jnp.asarray(255 * mask[..., None]), keys))[..., 0]
    known = moved != IGNORED
    assert moved.dtype == np.uint8 and known.mean() > 0.75
    alike = ((image > 0) == moved)[known].mean()
    assert alike > 0.97
    others = np.asarray(prepare.mask(jnp.asarray(mask), keys[::-1]))
    assert ((image > 0) == others)[known].mean() < alike, "the negative control"
    assert known.all() == (augment == "shift-flip")


def test_volumes_are_moved_with_their_masks():
    mask, keys = blobs(8, 3), jax.random.split(jax.random.key(0), 2)
    prepare = Prepare(0.0, 1.0, "rotate")
    image = prepare(jnp.asarray(255 * mask[..., None]), keys)[..., 0]
    np.testing.assert_array_equal(image, prepare.mask(jnp.asarray(mask), keys))
    still = Prepare(0.0, 1.0).mask(jnp.asarray(mask), keys)
    np.testing.assert_array_equal(still, mask)


@pytest.mark.parametrize("side", [7, 8])
def test_quarter_turns_of_masks_are_exact(side):
    mask = np.random.default_rng(0).integers(0, 5, (side, side)).astype(np.uint8)
    for quarters in range(4):
        found = rotate_mask(jnp.asarray(mask), quarters * np.pi / 2)
        np.testing.assert_array_equal(found, np.rot90(mask, quarters))
    tilted = np.asarray(rotate_mask(jnp.asarray(mask), 0.6))
    assert (tilted[in_disc(side)] != IGNORED).all() and (tilted == IGNORED).any()
    smooth = np.asarray(rotate(jnp.asarray(mask, jnp.float32)[..., None], 0.6))[..., 0]
    near = np.abs(smooth - tilted)[in_disc(side)] < 2.5
    assert near.mean() > 0.8


@pytest.mark.parametrize("group", [P4M, full_octahedral()], ids=["P4M", "cube"])
def test_masks_turn_with_images_and_logits_turn_back(group):
    shape = (2, *(4,) * group.dimension)
    logits = np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)
    mask = logits.argmax(-1).astype(np.uint8)
    for turn in turns_of(group):
        moved = turned(logits, turn)
        np.testing.assert_array_equal(turned_mask(mask, turn), moved.argmax(-1))
        np.testing.assert_array_equal(turned_back(moved, turn), logits)


class Threshold(nnx.Module):
    """A network that says of a pixel whether it is light, at once."""

    def __init__(self):
        self.scale = nnx.Param(jnp.float32(50.0))

    def __call__(self, x):
        return jnp.concatenate([-x, x], -1) * self.scale


@pytest.mark.parametrize("augment", ["rotate", "shift-flip"])
def test_a_step_moves_masks_with_their_images(augment):
    """Images that show their masks have no error, unless the masks are those of others."""
    mask = blobs(32)
    steps = Steps(Threshold(), optax.sgd(0.0), Prepare(0.5, 0.5, augment), task=MASKS)
    for label, least, most in ((mask, 0.0, 0.03), (mask[::-1], 0.1, 1.0)):
        batch = Batch(jnp.asarray(255 * mask[..., None]), jnp.asarray(label))
        _, metrics = jax.jit(steps.train)(steps.init(), batch, jax.random.key(1))
        assert least <= metrics.error <= most
