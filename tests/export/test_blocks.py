"""Every block of vision models is exported: ONNX, StableHLO and frozen give its numbers."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4M, Fields, from_irreps, nnx as gnnx, project_fields, to_irreps
from gconv_jax.export import freeze, onnx, stablehlo
from gconv_jax.models import GroupUNet
from tests.helpers import assert_close

G, C = P4M.order, 4


class Irreps(nnx.Module):
    """A layer of features in the Fourier basis, between the transforms."""

    def __init__(self, layer: nnx.Module):
        self.layer = layer

    def __call__(self, x: jax.Array) -> jax.Array:
        return from_irreps(self.layer(to_irreps(x, group=P4M)))


class Conditioned(nnx.Module):
    """FiLM by the means of its own input."""

    def __init__(self, rngs: nnx.Rngs):
        self.film = gnnx.FiLM(C, C, rngs=rngs)
        self.film.linear.kernel[...] = 0.3 * jax.random.normal(rngs.params(), (C, 2 * C))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.film(x, x.mean((1, 2, 3)))


class Vectors(nnx.Module):
    """Vectors in and out: a lifting map, and a projection."""

    def __init__(self, rngs: nnx.Rngs):
        fields = Fields(scalars=1, vectors=1)
        self.lift = gnnx.LiftLinear(2, fields=fields, group=P4M, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return project_fields(self.lift(x), fields=Fields(vectors=1), group=P4M)


class Sequence(nnx.Module):
    """A causal convolution over time, and a normalization."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv = gnnx.SequenceConv(C, C, 3, padding="CAUSAL", group=P4M, rngs=rngs)
        self.norm = gnnx.RMSNorm(C, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Attention(nnx.Module):
    """Attention between pixels with rotary positions, in the given basis."""

    def __init__(self, rngs: nnx.Rngs, *, irreps: bool):
        self.layer = gnnx.GroupAttention(2, C, rotary=True, group=P4M, rngs=rngs)
        self.irreps = irreps

    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.irreps:
            return self.layer(x)
        return from_irreps(self.layer(to_irreps(x, group=P4M)))


def unet(rngs: nnx.Rngs) -> GroupUNet:
    model = GroupUNet(group=P4M, in_features=1, width=4, multipliers=(2,), blocks=1, rngs=rngs)

    def moved(p):  # its last layers are 0 at first
        return p + 0.1 * jax.random.normal(rngs.params(), p.shape, p.dtype)

    nnx.update(model, jax.tree.map(moved, nnx.state(model, nnx.Param)))
    return model


MAP = (3, 4, 4, G, C)
BLOCKS = {
    "layer norm": (lambda rngs: gnnx.LayerNorm(C, rngs=rngs), MAP),
    "group norm": (lambda rngs: gnnx.GroupNorm(C, num_groups=2, rngs=rngs), MAP),
    "instance norm": (lambda rngs: gnnx.InstanceNorm(C, rngs=rngs), MAP),
    "squeeze and excite": (lambda rngs: gnnx.SqueezeExcite(C, rngs=rngs), MAP),
    "FiLM": (Conditioned, MAP),
    "gates": (lambda rngs: Irreps(gnnx.GatedActivation(C, group=P4M, rngs=rngs)), MAP),
    "norms": (lambda rngs: Irreps(gnnx.NormActivation(C, group=P4M, rngs=rngs)), MAP),
    "depthwise": (lambda rngs: gnnx.DepthwiseGroupConv(C, 3, group=P4M, rngs=rngs), MAP),
    "attention": (lambda rngs: Attention(rngs, irreps=False), MAP),
    "attention of irreps": (lambda rngs: Attention(rngs, irreps=True), MAP),
    "linear of irreps": (lambda rngs: Irreps(gnnx.GroupLinear(C, 3, group=P4M, rngs=rngs)), MAP),
    "sequence": (Sequence, (3, 6, G, C)),
    "vectors": (Vectors, (3, 5, 3)),
    "U-Net": (unet, (3, 4, 4, 1)),
}


@pytest.mark.one_in(7)
@pytest.mark.parametrize("name", BLOCKS)
def test_exported_for_batches_of_any_size(name, rng, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    make, shape = BLOCKS[name]
    model = make(nnx.Rngs(0))
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    y = np.asarray(model(x))
    assert y.std() > 1e-2
    assert_close(freeze(model)(x), y, atol=2e-5)
    stablehlo(model, (None, *shape[1:]), tmp_path / "block.jax")
    program = jax.export.deserialize((tmp_path / "block.jax").read_bytes())
    assert_close(program.call(x), y, atol=2e-5)
    onnx(model, (None, *shape[1:]), tmp_path / "block.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "block.onnx")
    for batch in (x, x[:1]):
        (z,) = session.run(None, {"x": np.asarray(batch)})
        assert_close(z, y[: len(batch)], atol=2e-5)
