"""Blocks of a transformer and of a ConvNeXt over a group beside Flax's of equal width.

    python benchmarks/transformer.py [--quick] [--rounds N] [--json PATH]

``flax`` is made of Flax's layers alone: ``nnx.LayerNorm``, ``nnx.MultiHeadAttention``, ``nnx.Conv``
and ``nnx.Linear``, or ``jax.nn.dot_product_attention`` for the rows of attention without linear
maps. ``plain`` is the block of `gconv_jax.models` over the trivial group, ``regular`` and
``irreps`` are the block over the group, with tokens in the regular basis and in the Fourier basis.
All have the same width. Ratios are "block / flax": below 1 is faster. `multiplications.py` counts
what they multiply.
"""

import functools

import harness
from networks import JAX_IMPORTS

# block, group, width in all, side of the square of tokens, batch
SHAPES = (
    ("vit", "dihedral4", 512, 14, 8),
    ("vit", "cyclic4", 512, 14, 8),
    ("vit", "dihedral4", 192, 14, 8),
    ("convnext", "dihedral4", 512, 14, 8),
    ("convnext", "cyclic4", 512, 14, 8),
    ("attention", "dihedral4", 512, 14, 8),
)
HEADS = 8


def forms(model: str) -> list[str]:
    """Return the kinds of contenders: a ConvNeXt block has the regular basis only."""
    return ["flax", "plain", "regular"] + ["irreps"] * (model != "convnext")


def block(kind, model, name, width, side, batch, backward, dtype=None):
    """Make a contender: a block, with all gradients if ``backward``."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from gconv_jax import Z2, to_irreps

    if model == "attention":
        return attention(kind, name, width, side, batch, backward, dtype)
    make = flax_block if kind == "flax" else functools.partial(ours, kind, name)
    made = make(model, width, dtype)
    graph, params = nnx.split(made)
    shape = batch, side, side, width
    x = jax.random.normal(jax.random.key(0), shape, dtype)
    if kind == "flax" and model == "vit":
        x = x.reshape(batch, -1, width)
    elif kind != "flax":
        on = Z2 if kind == "plain" else group(name)
        x = x.reshape(*shape[:-1], on.order, -1)
        x = to_irreps(x, group=on) if kind == "irreps" else x

    def forward(params, x):
        return nnx.merge(graph, params)(x)

    def loss(params, x):
        return sum(jnp.square(y).sum() for y in jax.tree.leaves(forward(params, x)))

    step = jax.jit(jax.grad(loss, (0, 1)) if backward else forward)
    return lambda: step(params, x)


def attention(kind, name, width, side, batch, backward, dtype=None):
    """Make a contender: attention of tokens to themselves, without linear maps."""
    import jax
    import jax.numpy as jnp

    from gconv_jax import Z2, group_attention, to_irreps

    x = jax.random.normal(jax.random.key(0), (batch, side**2, width), dtype)
    if kind == "flax":
        x = x.reshape(*x.shape[:2], HEADS, -1)
        attend = jax.nn.dot_product_attention
    else:
        on = Z2 if kind == "plain" else group(name)
        x = x.reshape(*x.shape[:2], on.order, -1)
        x = to_irreps(x, group=on) if kind == "irreps" else x

        def attend(q, k, v):
            return group_attention(q, k, v, group=on, heads=HEADS)

    def loss(q, k, v):
        return sum(jnp.square(y).sum() for y in jax.tree.leaves(attend(q, k, v)))

    step = jax.jit(jax.grad(loss, (0, 1, 2)) if backward else attend)
    return lambda: step(x, x, x)


def ours(kind: str, name: str, model: str, width: int, dtype):
    from flax import nnx

    from gconv_jax import Z2
    from gconv_jax.models import ConvNeXtBlock, TransformerBlock

    on = Z2 if kind == "plain" else group(name)
    options = {"group": on, "dtype": dtype, "rngs": nnx.Rngs(0)}
    if model == "vit":
        return TransformerBlock(width // on.order, HEADS, **options)
    return ConvNeXtBlock(width // on.order, **options)


def flax_block(model: str, width: int, dtype):
    """Return a block of Flax's own layers."""
    from flax import nnx

    common = {"dtype": dtype, "rngs": nnx.Rngs(0)}

    class ViT(nnx.Module):
        def __init__(self):
            self.norm0, self.norm1 = (nnx.LayerNorm(width, **common) for _ in range(2))
            self.attention = nnx.MultiHeadAttention(HEADS, width, decode=False, **common)
            self.up = nnx.Linear(width, 4 * width, **common)
            self.down = nnx.Linear(4 * width, width, **common)

        def __call__(self, x):
            x = x + self.attention(self.norm0(x))
            return x + self.down(nnx.gelu(self.up(self.norm1(x))))

    class ConvNeXt(nnx.Module):
        def __init__(self):
            self.spatial = nnx.Conv(width, width, (7, 7), feature_group_count=width, **common)
            self.norm = nnx.LayerNorm(width, **common)
            self.up = nnx.Linear(width, 4 * width, **common)
            self.down = nnx.Linear(4 * width, width, **common)

        def __call__(self, x):
            return x + 1e-6 * self.down(nnx.gelu(self.up(self.norm(self.spatial(x)))))

    return {"vit": ViT, "convnext": ConvNeXt}[model]()


def group(name: str):
    from gconv_jax import Z2, cyclic, dihedral, octahedral

    groups = {"trivial": Z2, "cyclic4": cyclic(4), "dihedral4": dihedral(4)}
    return {**groups, "octahedral": octahedral()}[name]


def main() -> None:
    args = harness.options(__doc__, rounds=7).parse_args()
    quick = [(model, "dihedral4", 64, 4, 1) for model in ("vit", "convnext", "attention")]
    rounds = 2 if args.quick else args.rounds
    print(harness.header())

    rows = []
    with harness.Worker("transformer", JAX_IMPORTS) as worker:
        for model, name, width, side, batch in quick if args.quick else SHAPES:
            kinds = forms(model)
            for backward in (False, True):
                spec = {"model": model, "name": name, "width": width, "side": side, "batch": batch}
                builders = {
                    kind: lambda kind=kind, spec=spec, backward=backward: worker.build(
                        block, kind=kind, backward=backward, **spec
                    )
                    for kind in kinds
                }
                seconds, notes = harness.measure(builders, rounds)
                harness.describe(notes)
                row = {"block": model, "group": name, "width": width, "tokens": side**2}
                row["pass"] = "forward+backward" if backward else "forward"
                row["flax ms"] = 1e3 * seconds["flax"]
                row |= {k: seconds[k] / seconds["flax"] for k in kinds[1:]}
                rows.append(row)
    print(harness.table(rows))
    harness.write_json(args, "transformer", rows=rows)


if __name__ == "__main__":
    main()
