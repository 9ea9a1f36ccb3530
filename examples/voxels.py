"""Pieces of four cubes, seen upright in training and in every orientation afterwards.

Eight pieces can be made of four cubes in space; two of them are mirror images of each other. Each
is drawn in a noisy volume at a random place, always in the same orientation. A network over the 24
rotations of the cube then recognizes them however they are turned, and tells the mirror images
apart. A network over all 48 symmetries recognizes them mirrored too, so the two are one class for
it. A plain network of as many parameters has learned the orientation.

    python examples/voxels.py                    # about ten minutes on two CPU cores
    python examples/voxels.py --steps 2
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from gconv_jax import FiniteGroup, full_octahedral, octahedral, transform, trivial
from gconv_jax.models import VoxelCNN

SIZE, CELL = 12, 2
PIECES = {
    "I": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)],
    "O": [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)],
    "L": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 2)],
    "T": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1)],
    "S": [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2)],
    "corner": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
    "left": [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)],
    "right": [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0)],
}


def volumes(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes ``[count, 12, 12, 12, 1]``, and the number of the piece in each."""
    labels = np.arange(count) % len(PIECES)
    x = rng.normal(0, 0.1, (count, SIZE, SIZE, SIZE))
    for volume, label in zip(x, labels, strict=True):
        cells = np.array(list(PIECES.values())[label])
        room = SIZE - CELL * (cells.max(0) + 1)
        for cell in CELL * cells + rng.integers(0, room + 1):
            volume[tuple(slice(c, c + CELL) for c in cell)] += 1
    return x[..., None].astype(np.float32), labels


def train(group: FiniteGroup, widths: tuple[int, ...], steps: int, merged: bool) -> nnx.Module:
    """Return a network trained on upright pieces; ``merged`` makes the mirror images one class."""
    model = VoxelCNN(group=group, widths=widths, classes=len(PIECES), rngs=nnx.Rngs(0))
    schedule = optax.cosine_decay_schedule(1e-2, steps)
    optimizer = nnx.Optimizer(model, optax.adam(schedule), wrt=nnx.Param)
    rng = np.random.default_rng(1)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    for _ in range(steps):
        x, y = volumes(rng, 32)
        value = step(model, optimizer, x, np.minimum(y, 6) if merged else y)
    print(f"  loss after {steps} steps: {float(value):.3f}")
    model.eval()
    return model


def main(steps: int = 300) -> dict[str, np.ndarray]:
    """Return the accuracy of each network in every orientation."""
    x, y = volumes(np.random.default_rng(2), 64)
    found = {}
    for name, group, widths, every in (
        ("plain", trivial(dimension=3), (24, 48, 48), octahedral()),
        ("24 rotations", octahedral(), (6, 8, 12), octahedral()),
        ("48 symmetries", full_octahedral(), (4, 6, 8), full_octahedral()),
    ):
        merged = group == full_octahedral()
        print(name)
        model = train(group, widths, steps, merged)
        predict = nnx.jit(lambda model, x: model(x).argmax(-1))
        labels = np.minimum(y, 6) if merged else y
        accuracy = []
        for g in every.elements:
            turned = transform(jnp.asarray(x), group=every, element=g, lifted=False)
            accuracy.append((predict(model, turned) == labels).mean())
        found[name] = accuracy = np.array(accuracy)
        count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
        print(
            f"  {count:,} parameters; upright {100 * accuracy[0]:.1f} % right; in {every.order} "
            f"orientations from {100 * accuracy.min():.1f} to {100 * accuracy.max():.1f} %, "
            f"{100 * accuracy.mean():.1f} % in the mean"
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    main(**vars(parser.parse_args()))
