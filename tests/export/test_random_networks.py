"""Random networks of this library's layers and of JAX's functions, frozen and as ONNX files.

A few run by default; ``python -m tests.export.test_random_networks 130`` draws more, and counts
the operations that ONNX refuses.
"""

import collections
import re
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export as jax_export, lax

import gconv_jax.nnx as gnnx
from gconv_jax import P4, P4M, avg_pool, dihedral, group_pool, max_pool
from gconv_jax.export import freeze, onnx, stablehlo
from tests.export.test_onnx import run

# A jump in a function makes rounding before it large. The jumping ones are of the image, which all
# have exactly.
OF_IMAGES = {
    "sign": jnp.sign,
    "round": lambda x: jnp.round(2 * x),
    "half away": lambda x: lax.round(2 * x),
    "any": lambda x: jnp.where(jnp.any(x > 1, -1, keepdims=True), x, -x),
    "all": lambda x: x * jnp.all(x > -1, 1, keepdims=True),
    "argmax": lambda x: x + x.argmax(-1, keepdims=True),
    "largest": lambda x: jnp.take_along_axis(x, x.argmax(-1, keepdims=True), -1) - x,
    "set at the largest": lambda x: x.at[jnp.arange(x.shape[0]), x[:, :, 0, 0].argmax(1)].set(1.0),
    "identity": lambda x: x,
}
# Functions of features [N, *spatial, C] or [N, *spatial, G, C].
OF_FEATURES = {
    "relu": nnx.relu,
    "gelu": nnx.gelu,
    "celu": nnx.celu,
    "mish": jax.nn.mish,
    "hard swish": nnx.hard_swish,
    "sinh": lambda x: jnp.sinh(jnp.tanh(x)),
    "cbrt": lambda x: jnp.cbrt(x * x + 1),
    "atan2": lambda x: jnp.arctan2(x, 1 + x * x),
    "sort": lambda x: jnp.sort(x, 1),
    "largest two": lambda x: x - lax.top_k(x, 2)[0].mean(-1, keepdims=True),
    "median": lambda x: x - jnp.median(x, -1, keepdims=True),
    "running maximum": lambda x: lax.cummax(x, 2),
    "running sum": lambda x: jnp.cumsum(x, 1) / 4,
    "set": lambda x: x.at[:, 1:3].set(0.5),
    "add": lambda x: x.at[:, ::2].add(x[:, :1]),
    "row of a column": lambda x: x.at[:, 0, 1].multiply(2.0),
    "other order of the batch": lambda x: x + x[::-1],
    "first of the batch": lambda x: x - x[:1] / 2,
    "shifted batch": lambda x: x + jnp.concatenate([x[1:], x[:1]]),
    "rolled": lambda x: jnp.roll(x, (1, -1), (1, 2)),
    "edges": lambda x: jnp.pad(x, [(0, 0), (1, 0), (0, 1), *[(0, 0)] * (x.ndim - 3)], mode="edge"),
    "softmax": nnx.softmax,
    "standardized": lambda x: nnx.standardize(x, epsilon=1.0),
    "norm": lambda x: x / (1 + jnp.linalg.norm(x, axis=-1, keepdims=True)),
    "three cases": lambda x: jnp.select([x > 1, x > 0], [2 * x - 1, x], x / 2),
    "of the batch": lambda x: (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1),
}
LAYERS = ("conv", "norm", "pool", "linear", "layer norm", "strided")


class Random(nnx.Module):
    """A network whose layers and functions the seed decides."""

    def __init__(self, seed: int):
        rng, rngs = np.random.default_rng(seed), nnx.Rngs(seed)
        self.of_image = str(rng.choice(list(OF_IMAGES)))
        group = self.group = (P4, P4M, dihedral(1))[rng.integers(3)]
        self.lift = gnnx.LiftConv(2, 3, 3, group=group, rngs=rngs)
        self.with_group = bool(rng.integers(3))
        self.steps = ()
        for i in range(rng.integers(3, 7)):
            kind = str(rng.choice([*LAYERS, *[str(name) for name in OF_FEATURES]]))
            layer = None
            if kind in ("conv", "strided"):
                options = {"strides": 2 if kind == "strided" else 1, "rngs": rngs}
                if self.with_group:
                    layer = gnnx.GroupConv(3, 3, 3, group=group, **options)
                else:
                    layer = nnx.Conv(3, 3, (3, 3), **options)
            elif kind == "norm":
                layer = nnx.BatchNorm(3, rngs=rngs)
            elif kind == "layer norm":  # whose small epsilon makes rounding large
                layer = nnx.LayerNorm(3, epsilon=1.0, rngs=rngs)
            elif kind == "linear":
                layer = nnx.Linear(3, 3, rngs=rngs)
            self.steps += (kind,)
            setattr(self, f"layer{i}", layer)
        self.mean = bool(rng.integers(2))

    def __call__(self, x):
        x = self.lift(OF_IMAGES[self.of_image](x))
        x = x if self.with_group else group_pool(x)
        for i, kind in enumerate(self.steps):
            if (layer := getattr(self, f"layer{i}")) is not None:
                x = layer(x)
            elif kind == "pool":
                pool = max_pool if self.mean else avg_pool
                x = pool(
                    x,
                    window_shape=2,
                    strides=1,
                    padding=1,
                    group=self.group,
                    lifted=self.with_group,
                )
            else:
                x = OF_FEATURES[kind](x)
        x = group_pool(x) if self.with_group else x
        return x.mean((1, 2)) if self.mean else (x.max((1, 2)), x)


def draw(seed: int) -> tuple[Random, jax.Array]:
    model = Random(seed)
    rng = np.random.default_rng(seed)

    def leaf(a):
        return a + 0.2 * rng.random(a.shape, np.float32) if a.dtype == jnp.float32 else a

    nnx.update(model, jax.tree.map(leaf, nnx.state(model)))
    model.eval()
    # Multiples of 1/8 round alike everywhere.
    return model, jnp.asarray(rng.integers(-20, 20, (3, 8, 8, 2)) / 8, jnp.float32)


def check(seed: int, folder: Path) -> str | None:
    """The largest differences are those of rounding; returns what ONNX refuses."""
    model, x = draw(seed)
    expected = [jax.tree.leaves(nnx.jit(lambda model, x: model(x))(model, x[:n])) for n in (3, 1)]

    def assert_same(found, wanted, what):
        for a, b in zip(found, wanted, strict=True):
            message = f"{what} of {model.of_image}, {model.steps}"
            tolerance = 2e-5 * max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, atol=tolerance, rtol=0, err_msg=message)

    assert_same(jax.tree.leaves(freeze(model)(x)), expected[0], "frozen")
    shape = (None, *x.shape[1:])
    program = jax_export.deserialize(stablehlo(model, shape, folder / "jax").read_bytes())
    assert_same(jax.tree.leaves(program.call(x)), expected[0], "StableHLO")
    try:
        path = onnx(model, shape, folder / "onnx")
    except ValueError as error:
        return str(error)
    assert_same(run(path, x), expected[0], "ONNX")
    assert_same(run(path, x[:1]), expected[1], "ONNX of one")
    return None


@pytest.mark.filterwarnings("ignore::gconv_jax.InexactEquivarianceWarning")
@pytest.mark.parametrize(
    "seed", [s if s < 3 else pytest.param(s, marks=pytest.mark.slow) for s in range(20)]
)
def test_random_networks(seed, tmp_path):
    pytest.importorskip("onnx", reason="pip install 'gconv_jax[onnx]'")
    assert check(seed, tmp_path) is None


if __name__ == "__main__":
    refused, failed = collections.Counter(), 0
    for seed in range(int(sys.argv[1])):
        with tempfile.TemporaryDirectory() as folder:
            try:
                reason = check(seed, Path(folder))
            except Exception as error:
                failed += 1
                print(f"{seed}: {type(error).__name__}: {error}"[:1500])
            else:
                refused[re.sub(r", for which.*", "", reason or "nothing", flags=re.S)] += 1
    print(f"{failed} differ or fail; refused: {dict(refused)}")
