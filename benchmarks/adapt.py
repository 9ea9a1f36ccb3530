"""A training step of a plain CNN, and of the same made equivariant by each means.

    python benchmarks/adapt.py [--rounds N] [--quick] [--json PATH]

The network is `PlainCNN` of 20 channels on 28 x 28 pixels, the group P4. Ratios are "it / plain".
`penalty, 8 images` estimates the deviation on the first eight images of the batch. `filters` is
the penalty on the distance of the hidden filters from their equivariant parts.
"""

import harness
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from gconv_jax import P4, equivariance_penalty, kernel_penalty
from gconv_jax.models import P4CNN, PlainCNN
from gconv_jax.nnx import Canonicalized, ScorePoses, Symmetrized

FORMS = (
    "plain",
    "symmetrize",
    "canonicalize",
    "penalty",
    "penalty, 8 images",
    "filters",
    "P4CNN, relaxed",
    "P4CNN",
)


class Score(nnx.Module):
    """The small network that scores poses in `python -m train --adapt canonicalize`."""

    def __init__(self, rngs: nnx.Rngs):
        widths = ((1, 16, 2), (16, 32, 2), (32, 32, 1))
        self.layers = nnx.List(
            [nnx.Conv(a, b, (3, 3), strides=(s, s), rngs=rngs) for a, b, s in widths]
        )
        self.top = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.top(x.mean((1, 2)))


def network(form: str) -> nnx.Module:
    rngs = nnx.Rngs(0)
    if form.startswith("P4CNN"):
        return P4CNN(filter_banks=2 if "relaxed" in form else None, rngs=rngs)
    plain = PlainCNN(rngs=rngs)
    if form == "symmetrize":
        return Symmetrized(plain, group=P4)
    if form == "canonicalize":
        return Canonicalized(plain, ScorePoses(Score(rngs), group=P4), group=P4)
    return plain


def penalty(form: str, model: nnx.Module, x: jax.Array, y: jax.Array) -> jax.Array | float:
    key = jax.random.key(0)
    if form == "penalty":
        return equivariance_penalty(model, x, group=P4, key=key, y=y)  # pyright: ignore[reportArgumentType]
    if form == "penalty, 8 images":
        return equivariance_penalty(model, x[:8], group=P4, key=key, y=y[:8])  # pyright: ignore[reportArgumentType]
    if form == "filters":
        kernels = [getattr(model, f"layer{i}").conv.kernel[..., 0, :, :] for i in range(1, 6)]
        return sum(kernel_penalty(w, group=P4) for w in kernels)
    return 0.0


def training_step(form: str, batch: int):
    """Make a contender."""
    structure, params, rest = nnx.split(network(form), nnx.Param, ...)
    x = jax.random.normal(jax.random.key(1), (batch, 28, 28, 1))
    label = jnp.arange(batch) % 10

    @jax.jit
    def step(params, rest):
        def loss(params):
            model = nnx.merge(structure, params, rest, copy=True)
            y = model(x)
            cost = optax.softmax_cross_entropy_with_integer_labels(y, label).mean()
            return cost + penalty(form, model, x, y), nnx.state(model, nnx.BatchStat)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return harness.local(lambda: step(params, rest))


def main() -> None:
    args = harness.options(__doc__, rounds=9).parse_args()
    batch, rounds = (4, 2) if args.quick else (128, args.rounds)
    print(harness.header())
    builders = {form: lambda form=form: training_step(form, batch) for form in FORMS}
    seconds, notes = harness.measure(builders, rounds, turn=0.3)
    harness.describe(notes)
    rows = [
        {"form": form, "ms": 1e3 * seconds[form], "it / plain": seconds[form] / seconds["plain"]}
        for form in FORMS
        if form in seconds
    ]
    print(harness.table(rows))
    harness.write_json(args, "adapt", rows=rows)


if __name__ == "__main__":
    main()
