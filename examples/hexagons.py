"""Digits on hexagonal pixels: seen upright in training, turned by any angle afterwards.

A quarter turn maps square pixels onto square pixels, and a sixth of a turn maps hexagons onto
hexagons. The same small network is trained on the upright digits of scikit-learn three times: plain
and over p4 on square pixels, over p6 on hexagonal ones, with about as many parameters. Then the
test digits are turned.

    python examples/hexagons.py                  # five minutes on two CPU cores
    python examples/hexagons.py --steps 2
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from gconv_jax import P4, P6, Z2, FiniteGroup, group_pool, max_pool, rotate
from gconv_jax.hexagonal import hexagon_mean, to_hexagonal
from gconv_jax.nnx import BatchNorm, GroupConv, LiftConv

SIZE, MARGIN = 25, 5  # pixels of a digit with the room to turn it
ANGLES = np.arange(0, 361, 15)


def digits() -> tuple[jax.Array, np.ndarray]:
    """Return the 1,797 digits on 25 x 25 pixels, in a mixed order, and their labels."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = jnp.asarray(data.images[order, ..., None] / 16, jnp.float32)
    inner = SIZE - 2 * MARGIN
    images = jax.image.resize(images, (len(images), inner, inner, 1), "cubic")
    padding = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return jnp.pad(images, padding), data.target[order]


class Network(nnx.Module):
    """A network of four convolutions, two poolings over group and space, a linear classifier.

    The pooling over the group is by the maximum, that over space by the mean.
    """

    def __init__(self, group: FiniteGroup, width: int, rngs: nnx.Rngs):
        self.group = group
        options = {"group": group, "use_bias": False, "rngs": rngs}
        widths = (width, width, 2 * width, 2 * width)
        for i, c_out in enumerate(widths):
            c_in = widths[i - 1]
            conv = GroupConv(c_in, c_out, 3, **options) if i else LiftConv(1, c_out, 5, **options)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"norm{i}", BatchNorm(c_out, momentum=0.9, rngs=rngs))
        self.head = nnx.Linear(2 * width, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.group.is_hexagonal:
            x = to_hexagonal(x, SIZE)
        for i in range(4):
            x = nnx.relu(getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x)))
            if i % 2:
                options = {"window_shape": 3, "strides": 2, "padding": 1, "lifted": True}
                x = max_pool(x, group=self.group, **options)
        x = group_pool(x)
        mean = hexagon_mean(x, lifted=False) if self.group.is_hexagonal else x.mean((1, 2))
        return self.head(mean)


def train(group: FiniteGroup, width: int, x: jax.Array, y: np.ndarray, steps: int) -> nnx.Module:
    model = Network(group, width, nnx.Rngs(0))
    schedule = optax.cosine_decay_schedule(1e-2, steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    rng = np.random.default_rng(1)
    for _ in range(steps):
        chosen = rng.choice(len(x), 48, replace=False)
        value = step(model, optimizer, x[chosen], y[chosen])
    print(f"  loss after {steps} steps: {float(value):.3f}")
    model.eval()
    return model


def main(steps: int = 500, images: int = 600) -> dict[str, np.ndarray]:
    """Return the accuracy of each network at each of `ANGLES`, in degrees."""
    x, y = digits()
    train_x, train_y, test_x, test_y = x[600:], y[600:], x[:images], y[:images]
    turned = jax.jit(lambda angle: rotate(test_x, angle))
    found = {}
    for name, group, width in (("plain", Z2, 16), ("p4", P4, 8), ("p6", P6, 7)):
        print(name)
        model = train(group, width, train_x, train_y, steps)
        predict = nnx.jit(lambda model, x: model(x).argmax(-1))
        accuracy = [(predict(model, turned(np.deg2rad(a))) == test_y).mean() for a in ANGLES]
        found[name] = np.array(accuracy)
        count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
        at = {a: 100 * found[name][list(ANGLES).index(a)] for a in (0, 60, 90, 120, 180)}
        print(
            f"  {count:,} parameters; right at "
            + ", ".join(f"{a} degrees: {value:.1f} %" for a, value in at.items())
            + f"; in the mean {100 * found[name].mean():.1f} %"
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--images", type=int, default=600, help="of the test images")
    main(**vars(parser.parse_args()))
