"""Segmentation: a U-Net over p4m finds shapes whose masks turn with the image.

Every image has an L, a triangle and an ellipse among noise. The mask says for each pixel which of
them it belongs to, if any. In training all shapes stand upright. At the end they are turned by 90,
180 and 270 degrees, which the plain U-Net of as many parameters has never seen.

    python examples/segmentation.py                 # about five minutes on two CPU cores
    python examples/segmentation.py --steps 20 --images 32
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from gconv_jax import P4M, Z2, FiniteGroup, transform
from gconv_jax.models import UNet

SIZE = 32
CLASSES = ("ground", "L", "triangle", "ellipse")


def scenes(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images ``[count, 32, 32, 1]`` and their masks ``[count, 32, 32]`` of class indices."""
    rows, columns = np.indices((SIZE, SIZE))
    masks = np.zeros((count, SIZE, SIZE), np.int32)
    for mask in masks:
        for label in rng.permutation([1, 2, 3]):
            size = rng.uniform(5, 8)
            r, c = ((np.array([rows, columns]).transpose(1, 2, 0) - rng.uniform(7, 25, 2)) / size).T
            r, c = r.T, c.T  # from -1 to 1 inside the shape's box
            inside = {
                1: (abs(r) < 1) & (abs(c) < 1) & ((c < -0.3) | (r > 0.3)),
                2: (r > -1) & (r < 1) & (abs(c) < (r + 1) / 2),
                3: r**2 / 0.25 + c**2 < 1,
            }[label]
            mask[inside] = label
    brightness = rng.uniform(0.5, 1, (count, 1, 1)) * (masks > 0)
    images = brightness + rng.normal(0, 0.3, masks.shape)
    return images[..., None].astype(np.float32), masks


def train(group: FiniteGroup, width: int, steps: int, images: int) -> nnx.Module:
    """Return a U-Net trained on upright shapes."""
    model = UNet(
        group=group, depth=2, width=width, classes=len(CLASSES), in_features=1, rngs=nnx.Rngs(0)
    )
    optimizer = nnx.Optimizer(
        model, optax.adam(optax.cosine_decay_schedule(5e-3, steps)), wrt=nnx.Param
    )
    x, y = scenes(np.random.default_rng(1), images)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    order = np.random.default_rng(2)
    for i in range(steps):
        batch = order.choice(len(x), 16, replace=False)
        value = step(model, optimizer, x[batch], y[batch])
        if i % max(1, steps // 5) == 0 or i == steps - 1:
            print(f"  step {i + 1:4}: loss {float(value):.3f}")
    model.eval()
    return model


def overlap(model: nnx.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return intersection over union, as a mean over the shapes."""
    predict = nnx.jit(lambda model, x: model(x).argmax(-1))
    predicted = np.concatenate([predict(model, part) for part in np.split(x, len(x) // 16)])
    scores = []
    for label in range(1, len(CLASSES)):
        a, b = predicted == label, y == label
        scores.append((a & b).sum() / max((a | b).sum(), 1))
    return float(np.mean(scores))


def main(steps: int = 300, images: int = 512) -> dict[str, list[float]]:
    """Return intersection over union at 0, 90, 180 and 270 degrees for each network."""
    x, y = scenes(np.random.default_rng(3), 128)
    found = {}
    for name, group, width in (("plain", Z2, 17), ("p4m", P4M, 6)):
        print(f"{name} U-Net")
        model = train(group, width, steps, images)
        count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
        found[name] = [
            overlap(model, np.rot90(x, turns, axes=(1, 2)), np.rot90(y, turns, axes=(1, 2)))
            for turns in range(4)
        ]
        scores = "  ".join(f"{100 * s:.1f}" for s in found[name])
        print(f"  {count:,} parameters; overlap in % at 0, 90, 180, 270 degrees: {scores}")
        if group == P4M:  # not only in the mean: the logits of every pixel turn
            turned = [transform(x[:2], group=P4M, element=g, lifted=False) for g in range(8)]
            logits = model(jnp.asarray(x[:2]))
            errors = [
                jnp.abs(model(t) - transform(logits, group=P4M, element=g, lifted=False)).max()
                for g, t in enumerate(turned)
            ]
            print(f"  logits turn with the image, to {float(max(errors)):.1e}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--images", type=int, default=512)
    main(**vars(parser.parse_args()))
