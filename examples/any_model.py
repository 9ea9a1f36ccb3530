"""Plain networks that are trained already, made right in all orientations afterwards.

A small CNN learns the upright digits of scikit-learn, and another one digits that are turned at
random. Then the test digits are turned by multiples of 15 degrees, and the networks see them: by
themselves, averaged over the poses of a group (`symmetrize`), and behind a small network that
chooses a pose (`canonicalize`). The latter learns from turned training digits without labels. The
last column is the local equivariance error of the logits, for each radian.

The mean helps the network that knows turned digits. The other one is as sure of them as it is
wrong, and outvotes itself; it has to see digits upright.

    python examples/any_model.py                  # nine minutes on two CPU cores
    python examples/any_model.py --steps 2
"""

import argparse
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from gconv_jax import P4, FiniteGroup, canonicalize, cyclic, pose_prior, rotate, symmetrize
from gconv_jax.nnx import ScorePoses
from gconv_jax.testing import local_equivariance_errors

SIZE, MARGIN = 25, 5  # pixels of a digit with the room to turn it
ANGLES = np.arange(0, 360, 15)
C24 = cyclic(24)


def digits() -> tuple[jax.Array, np.ndarray]:
    """Return the 1,797 digits on 25 x 25 pixels, in a mixed order, and their labels."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = jnp.asarray(data.images[order, ..., None] / 16, jnp.float32)
    inner = SIZE - 2 * MARGIN
    images = jax.image.resize(images, (len(images), inner, inner, 1), "cubic")
    padding = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return jnp.pad(images, padding), data.target[order]


class CNN(nnx.Module):
    """An ordinary network of three convolutions."""

    def __init__(self, width: int, outputs: int, rngs: nnx.Rngs):
        for i, (c_in, c_out) in enumerate(((1, width), (width, 2 * width), (2 * width, 2 * width))):
            setattr(self, f"conv{i}", nnx.Conv(c_in, c_out, (3, 3), strides=(2, 2), rngs=rngs))
        self.head = nnx.Linear(2 * width * 16, outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(3):
            x = nnx.relu(getattr(self, f"conv{i}")(x))
        return self.head(x.reshape(len(x), -1))


def fit(model: nnx.Module, loss: Callable, steps: int, images: jax.Array, labels: jax.Array):
    """Minimize ``loss(model, x, y, key)`` over batches of 48."""
    schedule = optax.cosine_decay_schedule(2e-3, steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y, key):
        value, gradient = nnx.value_and_grad(lambda model: loss(model, x, y, key))(model)
        optimizer.update(model, gradient)
        return value

    rng, key = np.random.default_rng(1), jax.random.key(1)
    for i in range(steps):
        chosen = rng.choice(len(images), 48, replace=False)
        value = step(model, optimizer, images[chosen], labels[chosen], jax.random.fold_in(key, i))
    print(f"  loss after {steps} steps: {float(value):.3f}")


def classification(model, x, y, key):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def augmented(model, x, y, key):
    angles = jax.random.uniform(key, (len(x),), maxval=2 * jnp.pi)
    return classification(model, jax.vmap(rotate)(x, angles), y, key)


def posed(scores: nnx.Module) -> Callable:
    """Return the loss of a network that sees turned digits in the poses that scores choose."""

    def loss(model, x, y, key):
        seen = canonicalize(model, group=C24, by=scores, choice="argmax")
        return augmented(seen, x, y, key)

    return loss


def pose(group: FiniteGroup) -> Callable:
    """Return the loss of scores of poses, on images that are turned by random elements."""

    def loss(model, x, y, key):
        elements = jax.random.randint(key, (len(x),), 0, group.order)
        turned = jax.vmap(rotate)(x, elements * (2 * jnp.pi / group.order))
        return pose_prior(model(turned), element=elements)

    return loss


def main(steps: int = 1000, images: int = 600) -> dict[str, np.ndarray]:
    """Return the accuracy of each network at each of `ANGLES`, in degrees."""
    x, y = digits()
    y = jnp.asarray(y)
    train_x, train_y, test_x, test_y = x[600:], y[600:], x[:images], y[:images]
    print("a plain network, on upright digits")
    plain = CNN(16, 10, nnx.Rngs(0))
    fit(plain, classification, steps, train_x, train_y)
    print("the same network, on turned digits")
    turned = CNN(16, 10, nnx.Rngs(0))
    fit(turned, augmented, 2 * steps, train_x, train_y)
    print("scores of 24 poses")
    scores = ScorePoses(CNN(16, 1, nnx.Rngs(1)), group=C24)
    fit(scores, pose(C24), 2 * steps, train_x, train_y)
    print("the first network, tuned on digits in the poses that are chosen")
    tuned = nnx.clone(plain)
    fit(tuned, posed(scores), steps, train_x, train_y)
    networks = {
        "upright": plain,
        "upright, symmetrize P4": symmetrize(plain, group=P4),
        "upright, canonicalize C24": canonicalize(plain, group=C24, by=scores, choice="argmax"),
        "tuned, canonicalize C24": canonicalize(tuned, group=C24, by=scores, choice="argmax"),
        "turned": turned,
        "turned, symmetrize P4": symmetrize(turned, group=P4),
        "turned, symmetrize C24": symmetrize(turned, group=C24),
    }
    found = {}
    angles = "".join(f"{a:>7}°" for a in (0, 15, 45, 90, 180))
    print(f"{'trained on':26}{angles}  worst  mean  local error   (accuracy in %)")
    for name, network in networks.items():
        predict = jax.jit(lambda angle, network=network: network(rotate(test_x, angle)).argmax(-1))
        accuracy = [float((predict(np.deg2rad(a)) == test_y).mean()) for a in ANGLES]
        found[name] = row = 100 * np.array(accuracy)
        shown = "".join(f"{row[a // 15]:8.1f}" for a in (0, 15, 45, 90, 180))
        local = local_equivariance_errors(network, test_x[:64], per_layer=False).errors["output"]
        print(f"{name:26}{shown}{row.min():7.1f}{row.mean():6.1f}{local:13.2f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=600, help="of the test images")
    main(**vars(parser.parse_args()))
