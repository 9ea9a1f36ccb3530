"""Plant typical mistakes of this field in a copy of the code, and see whether the tests notice.

python -m tests.mutations               all of them
python -m tests.mutations 3 7           some, by number

Each was seen in a published implementation, or is its nearest relative here. A mistake counts as
noticed if one of the named test files fails, which pass without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mistake:
    what: str
    file: str
    right: str
    wrong: str
    tests: str
    """The test files in tests/ that ought to notice."""


MISTAKES = [
    Mistake(
        "frequencies of rotary embeddings turn the wrong way",
        "gconv_jax/attention/positions.py",
        "group.matrices[group.inverse], long",
        "group.matrices, long",
        "attention/test_positions.py",
    ),
    Mistake(
        "features of positions turn the wrong way",
        "gconv_jax/attention/positions.py",
        "element=int(h), lifted=False",
        "element=int(group.inverse[h]), lifted=False",
        "attention/test_positions.py",
    ),
    Mistake(
        "offsets of one orbit have biases of their own",
        "gconv_jax/attention/positions.py",
        'moved = np.rint(np.einsum("hij,tsj->htsi", group.matrices, offsets)).astype(int)',
        'moved = np.rint(np.einsum("hij,tsj->htsi", group.matrices[:1], offsets)).astype(int)',
        "attention/test_positions.py",
    ),
    Mistake(
        "matrices of irreps are transposed in a linear map",
        "gconv_jax/conv/linear.py",
        '"uio,ujk->kijo"',
        '"uio,ukj->kijo"',
        "groups/test_irrep_features.py",
    ),
    Mistake(
        "a bias in the Fourier basis without the factor of the trivial irrep",
        "gconv_jax/groups/irrep_features.py",
        "self.parts[TRIVIAL] + math.sqrt(self.group.order) * constant",
        "self.parts[TRIVIAL] + constant",
        "groups/test_irrep_features.py",
    ),
    Mistake(
        "layer normalization in the Fourier basis takes the trivial part for the mean",
        "gconv_jax/normalization/layer_norm.py",
        "mean = x.parts[TRIVIAL].mean(-1, keepdims=True) / math.sqrt(order)",
        "mean = x.parts[TRIVIAL].mean(-1, keepdims=True)",
        "normalization/test_layer_norm.py",
    ),
    Mistake(
        "group normalization in the Fourier basis takes the trivial part for the mean",
        "gconv_jax/normalization/group_norm.py",
        "mean = total(x.parts[TRIVIAL]) * math.sqrt(order) / count",
        "mean = total(x.parts[TRIVIAL]) / count",
        "normalization/test_group_norm.py",
    ),
    Mistake(
        "norms of irreps are those of rows, which the group mixes",
        "gconv_jax/normalization/irrep_activations.py",
        "squares = jnp.square(blocks).sum((-4, -2), keepdims=True)",
        "squares = jnp.square(blocks).sum((-3, -2), keepdims=True)",
        "normalization/test_irrep_activations.py",
    ),
    Mistake(
        "vectors without space are turned the wrong way",
        "gconv_jax/conv/lift_linear.py",
        '"hji,io->jho"',
        '"hij,io->jho"',
        "conv/test_sequence.py",
    ),
    Mistake(
        "a causal convolution sees one step of the future",
        "gconv_jax/conv/sequence.py",
        "return reach, 0",
        "return max(reach - 1, 0), min(reach, 1)",
        "conv/test_sequence.py",
    ),
    Mistake(
        "faces of a staggered grid are a pixel off",
        "gconv_jax/lattice/staggered.py",
        "((0, 0, 1) if i == j else (1, 1, 1) for j in range(d))",
        "((0, 0, 1) if i == j else (0, 2, 1) for j in range(d))",
        "lattice/test_staggered.py",
    ),
    Mistake(
        "of several results only the first is compared",
        "gconv_jax/testing/equivariance.py",
        "for (path, a), act in zip(outputs.items(), act_out.acts, strict=True):",
        "for (path, a), act in [*zip(outputs.items(), act_out.acts, strict=True)][:1]:",
        "testing/test_trees.py",
    ),
    Mistake(
        "heads divide the elements and not the channels",
        "gconv_jax/attention/dot_product.py",
        "x = x.reshape(*batch, tokens, order, heads, channels // heads)",
        "x = x.reshape(*batch, tokens, heads, -1, channels // heads).swapaxes(-2, -3)",
        "attention/test_dot_product.py",
    ),
    Mistake(
        "a class token that differs between orientations",
        "gconv_jax/models/vit.py",
        "x = jnp.concatenate([token, x.reshape",
        "token = token * jnp.arange(1.0, x.shape[-2] + 1)[:, None]\n"
        "            x = jnp.concatenate([token, x.reshape",
        "models/test_transformers.py",
    ),
    Mistake(
        "vectors are turned backwards where they are lifted",
        "gconv_jax/filters/bank.py",
        '"rji,tiro->tjro"',
        '"rij,tiro->tjro"',
        "groups/test_fields.py",
    ),
    Mistake(
        "vectors of an orientation are not turned before their mean is taken",
        "gconv_jax/pooling/fields.py",
        'multiply("hji,...hi->...j", rho / group.order, x)',
        'multiply("hji,...hi->...j", 0 * rho + rho[0] / group.order, x)',
        "groups/test_fields.py",
    ),
    Mistake(
        "pseudovectors are mirrored as vectors are",
        "gconv_jax/groups/fields.py",
        "*fields.pseudovectors * [signs * isometries],",
        "*fields.pseudovectors * [isometries],",
        "groups/test_fields.py",
    ),
    Mistake(
        "filters turn the wrong way",
        "gconv_jax/filters/bank.py",
        "moved = np.flip(taps.transpose(permutation), tuple(flipped))",
        "moved = np.flip(taps, tuple(flipped)).transpose(permutation)",
        "filters/test_bank.py",
    ),
    Mistake(
        "the group axis of a filter rolls the wrong way",
        "gconv_jax/filters/bank.py",
        "source = group.cayley[group.inverse]  # source[r, s] = r^-1 s",
        "source = group.cayley",
        "filters/test_bank.py",
    ),
    Mistake(
        "elements are multiplied from the wrong side",
        "gconv_jax/filters/bank.py",
        "source = group.cayley[group.inverse]  # source[r, s] = r^-1 s",
        "source = group.cayley.T[group.inverse]",
        "filters/test_bank.py",
    ),
    Mistake(
        "turned functions of a basis keep the group axis as it is",
        "gconv_jax/filters/bank.py",
        "parts[:, group.cayley[group.inverse]]  # r^-1 s",
        "parts[:, np.tile(np.arange(group.order), (group.order, 1))]",
        "filters/test_basis.py",
    ),
    Mistake(
        "cosets of the wrong side are pooled",
        "gconv_jax/pooling/group_axis.py",
        "    cosets = group.cosets(subgroup)\n    if onto",
        '    cosets = group.cosets(subgroup, side="right")\n    if onto',
        "pooling/test_pooling.py",
    ),
    Mistake(
        "cosets of the wrong side become channels",
        "gconv_jax/pooling/group_axis.py",
        'group.cosets(subgroup, side="right")  # [i, h] -> h g_i',
        "group.cosets(subgroup)",
        "pooling/test_pooling.py",
    ),
    Mistake(
        "XLA's own SAME, 0 + 1 where 1 + 1 keeps the law",
        "gconv_jax/lattice/padding.py",
        "if total % 2 and stride > 1:",
        "if False:",
        "lattice/test_padding.py",
    ),
    Mistake(
        "no warning of windows that miss the last pixels",
        "gconv_jax/lattice/padding.py",
        "return low == high - self.remainder(axis, n)",
        "return low == high",
        "lattice/test_padding.py conv/test_sizes.py",
    ),
    Mistake(
        "statistics for each orientation in training",
        "gconv_jax/ops/normalize.py",
        "means = mean_channels(means, settings.order)",
        "means = means[: means.shape[-1] // settings.order]",
        "nnx/test_batch_norm.py",
    ),
    Mistake(
        "the mean of variances, without that between orientations",
        "gconv_jax/ops/normalize.py",
        "difference = rows - tile_channels(mean, settings.order)",
        "difference = rows - rows.mean(_batch_axes(rows))",
        "nnx/test_batch_norm.py",
    ),
    Mistake(
        "the derivative of a normalization takes the variance for a constant",
        "gconv_jax/ops/normalize.py",
        "slope = r * (dscale - factor * r * product)",
        "slope = r * dscale",
        "nnx/test_batch_norm.py",
    ),
    Mistake(
        "left cosets where a finer group goes over to its exact elements",
        "gconv_jax/conv/exact_subgroup.py",
        'cosets = group.cosets(subgroup, "right")',
        'cosets = group.cosets(subgroup, "left")',
        "conv/test_exact_subgroup.py",
    ),
    Mistake(
        "the action leaves the group axis alone",
        "gconv_jax/lattice/action.py",
        "return x[..., source, :]",
        "return x",
        "lattice/test_action.py",
    ),
    Mistake(
        "images turn clockwise",
        "gconv_jax/lattice/rotate.py",
        "cos, sin = jnp.cos(angle), jnp.sin(angle)",
        "cos, sin = jnp.cos(angle), -jnp.sin(angle)",
        "lattice/test_action.py test_transformations.py",
    ),
    Mistake(
        "images turn about a corner of the central pixels",
        "gconv_jax/lattice/rotate.py",
        "rows = jnp.arange(height, dtype=angle.dtype)[:, None] - (height - 1) / 2",
        "rows = jnp.arange(height, dtype=angle.dtype)[:, None] - height // 2",
        "lattice/test_action.py test_transformations.py",
    ),
    Mistake(
        "angles counted clockwise in harmonics",
        "gconv_jax/filters/basis.py",
        "z = points[..., 1] - 1j * points[..., 0]",
        "z = np.abs(points[..., 1]) - 1j * points[..., 0]",
        "filters/test_basis.py",
    ),
    Mistake(
        "even filters turn about a tap beside their center",
        "gconv_jax/lattice/sampling.py",
        "return centered(kernel_size, kernel_size)",
        "return np.stack(np.indices((kernel_size, kernel_size)), -1) - float(kernel_size // 2)",
        "filters/test_basis.py conv/test_fine_rotations.py",
    ),
    Mistake(
        "fan-in without the group",
        "gconv_jax/nnx/conv.py",
        "return (init(rngs.params(), shape, self.param_dtype),)",
        "return (init(rngs.params(), shape, self.param_dtype) * (shape[-3] ** 0.5),)",
        "nnx/test_layers.py",
    ),
    Mistake(
        "a matrix of the Fourier transform over the group is transposed",
        "gconv_jax/conv/fourier.py",
        '"tuio,ujk->ktijo"',
        '"tuio,ukj->ktijo"',
        "conv/test_fourier.py",
    ),
    Mistake(
        "dropout of single orientations",
        "gconv_jax/nnx/dropout.py",
        "kept = jnp.ones((x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]), x.dtype)",
        "kept = jnp.ones_like(x)",
        "nnx/test_regularization.py",
    ),
    Mistake(
        "hexagons without their border in the bias",
        "gconv_jax/conv/common.py",
        "y = y * mask_of(y, 1)",
        "pass",
        "lattice/test_hexagons.py",
    ),
    Mistake(
        "pooling windows of hexagons are squares",
        "gconv_jax/pooling/spatial.py",
        "for tap in np.argwhere(hexagon_mask(windows.size[0])):",
        "for tap in np.argwhere(np.ones(windows.size)):",
        "lattice/test_hexagons.py",
    ),
    Mistake(
        "sums over sampled elements are not divided by their number",
        "gconv_jax/continuous/conv.py",
        "share = inputs.weights / inputs.weights.sum()",
        "share = inputs.weights",
        "continuous/test_conv.py",
    ),
    Mistake(
        "elements are drawn in evaluation too",
        "gconv_jax/nnx/continuous.py",
        "        if self.deterministic:\n            return support_grid",
        "        if False:\n            return support_grid",
        "continuous/test_support.py nnx/test_continuous_layers.py models/test_partial.py",
    ),
    Mistake(
        "a parameter that left its bounds cannot come back",
        "gconv_jax/continuous/support.py",
        "gradient = jnp.where(raw >= 1, jnp.maximum(gradient, 0), gradient)",
        "gradient = jnp.where(raw >= 1, 0.0, gradient)",
        "continuous/test_support.py",
    ),
    Mistake(
        "radians for degrees in the augmentation",
        "train/steps/augment.py",
        "JITTER = math.radians(math.pi)",
        "JITTER = math.pi",
        "train/steps/test_augment.py",
    ),
    Mistake(
        "corners are filled after scaling with 0, which is gray",
        "train/steps/augment.py",
        "largest, fill = jnp.pi, ground(image)",
        "largest, fill = jnp.pi, jnp.zeros((len(image), 1, 1, 1))",
        "train/steps/test_augment.py",
    ),
    Mistake(
        "tiles forget the padding before them",
        "gconv_jax/_native/tiling.py",
        "top = first * self.strides[0] - int(self.padding[0, 0])",
        "top = first * self.strides[0]",
        "native/test_fourier_call.py",
    ),
    Mistake(
        "the last of a row of channels are left out",
        "gconv_jax/_native/llvm.py",
        "with f.loop(channels, width) as start:",
        "with f.loop(channels // width * width, width) as start:",
        "native/test_llvm.py",
    ),
]


def notices(mistake: Mistake) -> bool:
    """Return whether the tests fail with this mistake in the code.

    RuntimeError if the tests cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("gconv_jax", "train", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / name, copy)
        file = copy / mistake.file
        text = file.read_text()
        if text.count(mistake.right) != 1:
            raise RuntimeError(f"{mistake.file} must have once: {mistake.right!r}")
        file.write_text(text.replace(mistake.right, mistake.wrong))
        tests = [f"tests/{name}" for name in mistake.tests.split()]
        # The cache of compiled programs is kept from one mistake to the next.
        options = ["-x", "-q", "-m", "not slow", "-o", f"cache_dir={ROOT / '.pytest_cache'}"]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=copy,
            env=dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
        )
    if result.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    print("   ", failed[0].split(" - ")[0] if failed else "NO TEST FAILS", flush=True)
    return bool(failed)


def main(arguments: list[str]) -> int:
    chosen = [int(a) for a in arguments] or range(1, len(MISTAKES) + 1)
    noticed = 0
    for number in chosen:
        mistake = MISTAKES[number - 1]
        print(f"{number:3} {mistake.what} ({mistake.file})", flush=True)
        noticed += notices(mistake)
    print(f"{noticed} of {len(chosen)} mistakes noticed")
    return noticed != len(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
