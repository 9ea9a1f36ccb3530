"""Velocities in, velocities out: a U-Net learns a flow from one orientation and knows all eight.

The flow is that of an incompressible fluid on a periodic square, computed by a spectral method.
Jets blow along the columns, with waves on them. A network is given the velocities and predicts
those half a second later. In training all jets blow along the columns. At the end the fields are
turned and mirrored in all eight ways, arrows and pixels, which the plain U-Net of as many
parameters has never seen.

    python examples/flow.py                         # about three minutes on two CPU cores
    python examples/flow.py --steps 20 --fields 32 --picture flow.png
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from gconv_jax import P4M, Z2, Fields, FiniteGroup, transform
from gconv_jax.models import UNet

SIZE = 32
VISCOSITY = 2e-3
SECONDS, STEPS = 0.5, 50
VELOCITY = Fields(vectors=1)  # two channels: down the rows, and along the columns
TURNS = [{"group": P4M, "element": g, "lifted": False, "fields": VELOCITY} for g in P4M.elements]


class Fluid:
    """An incompressible fluid on a square of side 1, by its vorticity.

    ``dw/dt + v . grad w = nu laplace w``, with ``w = d v_column / d row - d v_row / d column``.
    """

    def __init__(self):
        k = 2 * np.pi * np.fft.fftfreq(SIZE, 1 / SIZE)
        self.row, self.column = np.meshgrid(k, k, indexing="ij")
        self.square = self.row**2 + self.column**2
        limit = 2 * np.pi * SIZE / 3  # products of larger frequencies would be taken for others
        self.kept = (abs(self.row) < limit) & (abs(self.column) < limit)

    def velocity(self, vorticity: np.ndarray) -> np.ndarray:
        """``[..., H, W, 2]`` from the Fourier coefficients of the vorticity ``[..., H, W]``."""
        stream = vorticity / np.where(self.square, self.square, 1)
        parts = 1j * self.column * stream, -1j * self.row * stream
        return np.stack([np.fft.ifft2(part).real for part in parts], -1)

    def rate(self, vorticity: np.ndarray) -> np.ndarray:
        gradient = [np.fft.ifft2(1j * k * vorticity).real for k in (self.row, self.column)]
        carried = np.einsum("...i,i...->...", self.velocity(vorticity), np.stack(gradient))
        return -(self.kept * np.fft.fft2(carried)) - VISCOSITY * self.square * vorticity

    def later(self, vorticity: np.ndarray) -> np.ndarray:
        """The vorticity after `SECONDS`, by the Runge-Kutta method of fourth order."""
        h = SECONDS / STEPS
        for _ in range(STEPS):
            a = self.rate(vorticity)
            b = self.rate(vorticity + h / 2 * a)
            c = self.rate(vorticity + h / 2 * b)
            d = self.rate(vorticity + h * c)
            vorticity = vorticity + h / 6 * (a + 2 * b + 2 * c + d)
        return vorticity

    def jets(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Fourier coefficients of jets along the columns, one to three beside each other, with
        random waves on them."""
        rows = np.arange(SIZE)[:, None] / SIZE
        number, phase = rng.integers(1, 4, (count, 1, 1)), rng.uniform(size=(count, 1, 1))
        jets = 2 * np.pi * number * np.cos(2 * np.pi * (number * rows + phase))
        noise = np.fft.fft2(rng.normal(size=(count, SIZE, SIZE)))
        waves = np.fft.ifft2(noise * np.exp(-self.square / (2 * (2 * np.pi * 3) ** 2))).real
        waves *= 6 / waves.std((1, 2), keepdims=True)
        vorticity = np.fft.fft2(jets + waves)
        vorticity[:, 0, 0] = 0
        return vorticity * self.kept


def pairs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return velocities and those `SECONDS` later, ``[count, 32, 32, 2]``."""
    fluid = Fluid()
    now = fluid.jets(np.random.default_rng(seed), count)
    return tuple(fluid.velocity(w).astype(np.float32) for w in (now, fluid.later(now)))


def train(group: FiniteGroup, width: int, steps: int, fields: int) -> nnx.Module:
    """Return a U-Net that predicts the change of the velocities, trained on one orientation."""
    told = {"in_fields": VELOCITY, "out_fields": VELOCITY}
    model = UNet(
        group=group, depth=2, width=width, padding="CIRCULAR", rngs=nnx.Rngs(0), **told
    )  # fmt: skip
    rate = optax.cosine_decay_schedule(3e-3, steps)
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)
    x, y = pairs(1, fields)

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return jnp.square(model(x) - (y - x)).mean() / jnp.square(y - x).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    order = np.random.default_rng(2)
    for i in range(steps):
        batch = order.choice(len(x), 16, replace=False)
        value = step(model, optimizer, x[batch], y[batch])
        if i % max(1, steps // 5) == 0 or i == steps - 1:
            print(f"  step {i + 1:4}: mean square error {float(value):.4f} of the change")
    model.eval()
    return model


def error(model: nnx.Module, x: jax.Array, y: jax.Array) -> float:
    """Return the root mean square error, relative to that of predicting no change."""
    predict = nnx.jit(lambda model, x: x + model(x))
    return float(jnp.sqrt(jnp.square(predict(model, x) - y).mean() / jnp.square(x - y).mean()))


def draw(models: dict[str, nnx.Module], x: jax.Array, y: jax.Array, path: Path) -> None:
    """Draw the truth and the predictions for one field as in training, and for the same turned."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("error", ["0.25", "crimson"])
    shape = 2, 1 + len(models)
    figure, axes = plt.subplots(*shape, figsize=(3 * shape[1] + 0.4, 6.4), layout="constrained")
    for row, element, label in ((0, 0, "as in training"), (1, 1, "turned by 90 degrees")):
        now, later = (transform(a[:1], **TURNS[element]) for a in (x, y))
        shown = {"simulated": later} | {k: now + model(now) for k, model in models.items()}
        axes[row, 0].set_ylabel(label, size="large")
        for panel, (name, v) in zip(axes[row], shown.items(), strict=True):
            down, right = np.moveaxis(np.asarray(v[0, ::2, ::2]), -1, 0)
            off = np.linalg.norm(np.asarray(v - later)[0, ::2, ::2], axis=-1)
            panel.quiver(right, -down, off, cmap=colors, clim=(0, 0.5), scale=22, width=0.008)
            panel.set(xticks=[], yticks=[], aspect="equal", title="" if row else name)
            panel.invert_yaxis()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    steps: int = 600, fields: int = 512, picture: Path | None = None
) -> dict[str, list[float]]:
    """Return the relative error of each network at the eight orientations."""
    x, y = map(jnp.asarray, pairs(3, 64))
    found, models = {}, {}
    for name, group, width in (("plain", Z2, 17), ("p4m", P4M, 6)):
        print(f"{name} U-Net")
        model = models[name] = train(group, width, steps, fields)
        count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
        found[name] = [error(model, transform(x, **g), transform(y, **g)) for g in TURNS]
        shown = "  ".join(f"{100 * e:.2f}" for e in found[name])
        print(
            f"  {count:,} parameters; error in % of the change, at the eight orientations: {shown}"
        )
    if picture is not None:
        draw(models, x, y, picture)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--fields", type=int, default=512, help="the number of fields to train on")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="a file for a picture")
    main(**vars(parser.parse_args()))
