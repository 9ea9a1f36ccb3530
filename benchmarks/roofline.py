"""The best that accelerators could do, on paper, and the memory that a group costs.

    python benchmarks/roofline.py [--quick] [--json PATH]

Nothing is timed. For each network the multiplications and the bytes of a training step are counted
in its program, in bfloat16: three times those of the forward pass, each convolution reading its
input and its filters and writing its output once, all else fused with it. The time of a convolution
is the longer of

    multiplications x 2 / peak rate / filling       and       bytes / memory bandwidth,

where filling is the share of matrix tiles of 128 x 128 (input channels x taps, output channels)
that is not padding. Gradients in float32 go round a ring of devices: 2 (n - 1) / n of their bytes
over one link. From these follow the images a second, and the batch for each device from which the
exchange takes less than a fifth of the step. The figures of devices are those of their data sheets.

The memory is what XLA sets aside for a training step (temporary buffers, for CPU), float32.
"""

import math
from dataclasses import dataclass

import harness


@dataclass(frozen=True)
class Device:
    """A device: bfloat16 operations a second, bytes of memory, bytes a second of it and a link."""

    name: str
    peak: float
    memory: float
    bandwidth: float
    link: float
    together: int
    """The number of devices with such links: a pod or a node."""


DEVICES = (
    Device("TPU v5e", 197e12, 16e9, 819e9, 100e9, 256),
    Device("H200", 989e12, 141e9, 4.8e12, 450e9, 8),
)
TILE = 128


@dataclass(frozen=True)
class Convolution:
    """A convolution of one image: multiplications, bytes of image and filter, sizes of tiles."""

    multiplications: int
    image_bytes: int
    filter_bytes: int
    depth: int
    outputs: int

    @property
    def filling(self) -> float:
        return math.prod(n / (TILE * math.ceil(n / TILE)) for n in (self.depth, self.outputs))


def build(network: str):
    """Return the network, in evaluation mode, and the shape of its input."""
    from flax import nnx
    from networks import CHANNELS, PIXELS, jax_model

    from gconv_jax import P4M
    from gconv_jax.models import WideResNet

    if network == "wide_resnet":
        model, shape = WideResNet(groups=(P4M,), widen=4, rngs=nnx.Rngs(0)), (33, 33, 3)
    else:
        model = jax_model(network)
        shape = (PIXELS[network], PIXELS[network], CHANNELS[network])
    model.eval()
    return model, shape


def convolutions(model, shape) -> list[Convolution]:
    """Return the convolutions of the forward pass for one image, as dense ones."""
    import jax
    from jax.extend.core import jaxprs_in_params

    from gconv_jax.conv.algorithm import auto_algorithm
    from gconv_jax.export.folding import fold

    x = jax.ShapeDtypeStruct((1, *shape), "float32")
    with auto_algorithm("dense"):
        traced = jax.make_jaxpr(fold(model, x, portable=True))(x)
    found = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            for inner in jaxprs_in_params(equation.params):
                visit(inner)
            if equation.primitive.name == "conv_general_dilated":
                image, weights = (v.aval for v in equation.invars)
                (out,) = (v.aval for v in equation.outvars)
                outputs = weights.shape[equation.params["dimension_numbers"].rhs_spec[0]]
                depth = weights.size // outputs
                found.append(
                    Convolution(
                        multiplications=out.size * depth,
                        image_bytes=2 * (image.size + out.size),
                        filter_bytes=2 * weights.size,
                        depth=depth,
                        outputs=outputs,
                    )
                )

    visit(traced.jaxpr)
    if not found:
        raise ValueError(f"no convolutions in the program of {type(model).__name__}")
    return found


def roofline(network: str, device: Device) -> dict:
    """Return the best times of a training step on one device and on all that are linked."""
    import jax
    from flax import nnx

    model, shape = build(network)
    parts = convolutions(model, shape)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))

    def seconds(batch: int) -> tuple[float, float]:
        compute = sum(3 * batch * 2 * p.multiplications / device.peak / p.filling for p in parts)
        total = sum(
            3
            * max(
                batch * 2 * p.multiplications / device.peak / p.filling,
                (batch * p.image_bytes + p.filter_bytes) / device.bandwidth,
            )
            for p in parts
        )
        return total, compute

    exchange = 2 * 4 * parameters / device.link
    batch = 1
    while seconds(batch)[0] < 5 * exchange:
        batch *= 2
    total, compute = seconds(1024)
    kept = sum(p.image_bytes for p in parts)  # for the backward pass
    return {
        "network": network,
        "device": device.name,
        "parameters": parameters,
        "operations an image": f"{3 * 2 * sum(p.multiplications for p in parts) / 1e9:.3g} G",
        "operations a byte": round(
            sum(2 * p.multiplications for p in parts) / sum(p.image_bytes for p in parts), 1
        ),
        "filling": round(
            sum(p.multiplications for p in parts)
            / sum(p.multiplications / p.filling for p in parts),
            2,
        ),
        "bound by": "arithmetic" if compute > 0.5 * total else "memory",
        "images a second": f"{1024 / total:,.0f}",
        "of all linked": f"{1024 / total * device.together:,.0f}",
        "least batch": batch,
        "largest batch": f"{device.memory / kept:,.0f}",
    }


def memory(groups: list[str], batch: int) -> list[dict]:
    """Return the temporary memory of a training step for groups of growing order."""
    import jax
    from flax import nnx
    from group_conv import group
    from networks import Training, data

    from gconv_jax.models import P4CNN

    rows = []
    for name in groups:
        g = group(name)
        row = {"group": name, "order": g.order}
        for what, width in (("10 for each element", 10), ("40 in all", max(1, 40 // g.order))):
            training = Training(P4CNN(group=g, width=width, rngs=nnx.Rngs(0)))
            image, label = data("p4cnn", batch)
            compiled = jax.jit(training.train).lower(training.state, image, label).compile()
            size = compiled.memory_analysis().temp_size_in_bytes
            row[f"MB, channels: {what}"] = round(size / 1e6, 1)
        rows.append(row)
    return rows


def main() -> None:
    args = harness.options(__doc__, rounds=1).parse_args()
    networks = ["p4cnn"] if args.quick else ["p4cnn", "p4m_resnet", "wide_resnet"]
    rows = [roofline(network, device) for network in networks for device in DEVICES]
    print(harness.table(rows))
    orders = (
        ["cyclic1", "cyclic2"] if args.quick else ["cyclic1", "cyclic2", "cyclic4", "dihedral4"]
    )
    used = memory(orders, 8 if args.quick else 128)
    print(harness.table(used))
    harness.write_json(args, "roofline", rows=rows, memory=used)


if __name__ == "__main__":
    main()
