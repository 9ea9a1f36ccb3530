"""Hexagonal lattices: P6 and P6M against geometry in Cartesian coordinates, and the law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    P6,
    P6M,
    InexactEquivarianceWarning,
    avg_pool,
    blur_pool,
    coset_pool,
    cyclic,
    filter_bank,
    group_conv,
    group_conv_transpose,
    group_pool,
    lift_conv,
    max_pool,
    restrict,
    separable_group_conv,
    transform,
    upsample,
)
from gconv_jax.hexagonal import hexagon_mean, to_hexagonal, to_square
from gconv_jax.lattice.hexagons import hexagon_mask
from gconv_jax.linen import GroupConv as LinenGroupConv
from gconv_jax.nnx import BatchNorm, GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant, smooth_images
from tests.helpers import assert_close, quick_jit, random_float64

GROUPS = [P6, P6M, P6.subgroup(2), P6M.subgroup(6), P6M.subgroup(3, 7)]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)
both = pytest.mark.parametrize("group", [P6, P6M], ids=repr)


def positions(size: int) -> np.ndarray:
    """Return the positions of pixels in (right, up), by hand: rows go to the lower right."""
    r, c = np.indices((size, size)) - (size - 1) / 2
    return np.stack([c + r / 2, -np.sqrt(3) / 2 * r], -1)


def isometries(group) -> np.ndarray:
    """Return matrices on (right, up), by name: ``r60·m`` mirrors left-right, then turns by 60°."""
    matrices = []
    for g in group.elements:
        parts = group.element_name(g).split("·")
        turn = sum(float(p[1:]) for p in parts if p.startswith("r")) * np.pi / 180
        c, s = np.cos(turn), np.sin(turn)
        matrices.append(np.array([[c, -s], [s, c]]) @ np.diag([-1 if "m" in parts else 1, 1]))
    return np.array(matrices)


def find(points: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The index of each point among others; -1 if it is none of them."""
    distance = np.linalg.norm(points[..., None, :] - among.reshape(-1, 2), axis=-1)
    return np.where(distance.min(-1) < 1e-6, distance.argmin(-1), -1)


def divide(matrices: np.ndarray, g: int, h: int) -> int:
    return int(np.abs(matrices - matrices[g].T @ matrices[h]).max((1, 2)).argmin())


def act(group, x: np.ndarray, g: int, *, lifted: bool) -> np.ndarray:
    matrices, size = isometries(group), x.shape[-3 - lifted]
    inside = hexagon_mask(size).ravel()
    source = find(positions(size).reshape(-1, 2) @ matrices[g], positions(size))  # g^-1 p
    assert (source[inside] >= 0).all()
    batch = x.shape[: -3 - lifted]
    flat = x.reshape(*batch, size * size, -1)[..., source, :] * inside[:, None]
    y = flat.reshape(x.shape)
    return y[..., [divide(matrices, g, h) for h in group.elements], :] if lifted else y


def law_error(fn, group, x, *, lifted) -> float:
    turned = np.stack([act(group, x, g, lifted=lifted[0]) for g in group.elements])
    y = np.asarray(fn(jnp.asarray(turned.reshape(-1, *x.shape[1:])))).reshape(
        len(turned), len(x), -1
    )
    reference = np.asarray(fn(jnp.asarray(turned[0])))
    assert np.abs(reference).max() > 0
    expected = [
        act(group, reference, g, lifted=lifted[1]).reshape(len(x), -1) for g in group.elements
    ]
    return float(np.abs(y - np.stack(expected)).max() / np.abs(reference).max())


def test_the_hexagon_is_that_of_its_distances():
    for size in (1, 3, 5, 9):
        p, radius = positions(size), (size - 1) / 2
        # The six sides, at the distance sqrt(3) / 2 R from the center.
        normals = [np.array([np.cos(a), np.sin(a)]) for a in np.pi / 6 + np.pi / 3 * np.arange(6)]
        inside = np.all([p @ n <= np.sqrt(3) / 2 * radius + 1e-9 for n in normals], axis=0)
        np.testing.assert_array_equal(hexagon_mask(size), inside)
        assert inside.sum() == 3 * radius * (radius + 1) + 1
    # The neighbors are at distance one.
    assert np.allclose(
        np.linalg.norm(positions(3)[hexagon_mask(3)], axis=-1), [1, 1, 1, 0, 1, 1, 1]
    )


@every_group
def test_transform_is_the_geometry(group, rng, x64):
    x = rng.normal(size=(2, 7, 7, group.order, 3))
    for g in group.elements:
        y = transform(jnp.asarray(x), group=group, element=g, lifted=True)
        assert_close(y, act(group, x, g, lifted=True), atol=0)
        image = x[..., 0, :]
        y = transform(jnp.asarray(image), group=group, element=g, lifted=False)
        assert_close(y, act(group, image, g, lifted=False), atol=0)


def conv_by_loops(group, x, w, *, lifting, kernel, low, stride, output):
    """Sums over all pixels q of the hexagon, whose filter tap is found by geometry."""
    matrices, size = isometries(group), x.shape[1]
    taps = positions(kernel)[hexagon_mask(kernel)]
    pixels = np.argwhere(hexagon_mask(size))
    y = np.zeros((len(x), output, output, group.order, w.shape[-1]))
    for p in np.argwhere(hexagon_mask(output)):
        center = stride * p + (kernel - 1) // 2 - low  # of its window, in the input
        steps = pixels - center
        apart = np.stack([steps[:, 1] + steps[:, 0] / 2, -np.sqrt(3) / 2 * steps[:, 0]], -1)
        for r in group.elements:
            tap = find(apart @ matrices[r], taps)  # r^-1 (q - p)
            for q, t in zip(pixels[tap >= 0], tap[tap >= 0], strict=True):
                if lifting:
                    y[:, p[0], p[1], r] += x[:, q[0], q[1]] @ w[t]
                else:
                    turned = np.stack([w[t, divide(matrices, r, s)] for s in group.elements])
                    y[:, p[0], p[1], r] += np.einsum("nsi,sio->no", x[:, q[0], q[1]], turned)
    return y


GEOMETRIES = [
    # size, kernel, strides, padding, low, output
    (5, 3, 1, "SAME", 1, 5),
    (7, 5, 1, "VALID", 0, 3),
    (5, 3, 2, 1, 1, 3),
    (5, 1, 1, "SAME", 0, 5),
]


@pytest.mark.one_in(23)
@every_group
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolutions_are_the_geometry_and_keep_the_law(group, geometry, rng, x64):
    """The layers have a bias, which breaks the law at the border if the outside is not masked."""
    size, kernel, stride, padding, low, output = geometry
    taps = int(hexagon_mask(kernel).sum())
    settings = {"kernel": kernel, "low": low, "stride": stride, "output": output}
    options = {"group": group, "strides": stride, "padding": padding, "bias": rng.normal(size=2)}
    inside = hexagon_mask(output)[..., None, None]
    for lifting in (True, False):
        group_axis = () if lifting else (group.order,)
        x = rng.normal(size=(1, size, size, *group_axis, 2))
        w = rng.normal(size=(taps, *group_axis, 2, 2))
        conv = jax.jit(lambda x: (lift_conv if lifting else group_conv)(x, w, **options))  # noqa: B023
        expected = conv_by_loops(group, x, w, lifting=lifting, **settings)
        assert_close(conv(x), (expected + options["bias"]) * inside, atol=1e-12)
        assert law_error(conv, group, x, lifted=(not lifting, True)) < 1e-12


@both
def test_pools_keep_the_law(group, rng, x64):
    x = rng.normal(size=(1, 9, 9, group.order, 2))
    options = {"group": group, "window_shape": 3, "strides": 2, "padding": 1, "lifted": True}
    for pool in (max_pool, avg_pool):
        of = jax.jit(functools.partial(pool, **options))
        assert of(x).shape[1:3] == (5, 5)
        assert law_error(of, group, x, lifted=(True, True)) < 1e-14
    # The window is the pixel and its six neighbors.
    taps = np.argwhere(hexagon_mask(3)) - 1
    values = [x[0, 4 + i, 4 + j] for i, j in taps]
    assert_close(max_pool(x, **options)[0, 2, 2], np.max(values, 0), atol=0)
    np.testing.assert_allclose(avg_pool(x, **options)[0, 2, 2], np.mean(values, 0), atol=1e-15)
    assert law_error(group_pool, group, x, lifted=(True, False)) < 1e-14
    below = np.full((1, 5, 5, 1), -1.0)
    y = max_pool(below, group=group, window_shape=3, strides=1, padding=1, lifted=False)
    assert_close(y[0, ..., 0], -1.0 * hexagon_mask(5), atol=0)


def test_restriction_and_cosets(rng, x64):
    x = rng.normal(size=(1, 5, 5, 12, 2))
    lower = P6M.subgroup(2, 6)
    y = np.asarray(restrict(x, group=P6M, subgroup=lower))
    for h, g in enumerate(P6M.indices(lower)):
        turned = restrict(act(P6M, x, int(g), lifted=True), group=P6M, subgroup=lower)
        expected = act(lower, y, h, lifted=True)
        assert_close(turned * hexagon_mask(5)[..., None, None], expected, atol=0)
    pooled = coset_pool(x, group=P6M, subgroup=P6)
    assert pooled.shape == (1, 5, 5, 2, 2)


class Network(nnx.Module):
    """A network over P6 or P6M, from resampled images of digits to logits."""

    def __init__(self, group, *, rngs: nnx.Rngs):
        options = {"group": group, "rngs": rngs}
        self.lift = LiftConv(1, 3, 5, padding="VALID", **options)
        self.norm = BatchNorm(3, rngs=rngs)
        self.conv = GroupConv(3, 4, 3, **options)
        self.deep = GroupConv(4, 4, 3, strides=2, padding=1, **options)
        self.head = nnx.Linear(4, 3, rngs=rngs)
        self.group = group

    def __call__(self, x):
        x = self.lift(x)
        x = nnx.relu(self.norm(x, mask=hexagon_mask(x.shape[1])[..., None, None]))
        x = self.conv(x)
        x = max_pool(
            nnx.relu(x), group=self.group, window_shape=3, strides=2, padding=1, lifted=True
        )
        return self.head(hexagon_mean(group_pool(nnx.relu(self.deep(x))), lifted=False))


@both
def test_logits_of_a_network_are_invariant(group, rng, x64):
    model = random_float64(lambda: Network(group, rngs=nnx.Rngs(0)), rng)
    x = rng.normal(size=(2, 21, 21, 1))
    for train in (False, True):
        (model.train if train else model.eval)()
        graphdef, state = nnx.split(model)
        fn = quick_jit(lambda x: nnx.merge(graphdef, state, copy=True)(x))  # noqa: B023
        logits = [np.asarray(fn(act(group, x, g, lifted=False))) for g in group.elements]
        assert np.abs(logits[0][0] - logits[0][1]).max() > 1e-3
        assert np.abs(np.array(logits) - logits[0]).max() < 1e-10
    model.eval()
    assert_equivariant(model, jnp.asarray(x), group=group, rtol=1e-10)


def test_negative_control_a_bias_without_the_mask(rng, x64):
    """The law breaks at the border where the corners of the array are not zeroed."""
    w, v = rng.normal(size=(7, 1, 2)), rng.normal(size=(7, 6, 2, 2))
    corners = ~hexagon_mask(9)

    def unmasked(x):
        y = lift_conv(x, w, group=P6) + corners[..., None, None]
        bank = filter_bank(jnp.asarray(v), group=P6)
        y = y.reshape(len(x), 9, 9, 12)
        y = jax.lax.conv_general_dilated(
            y, bank, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y.reshape(len(x), 9, 9, 6, 2) * hexagon_mask(9)[..., None, None]

    x = rng.normal(size=(1, 9, 9, 1))
    assert law_error(unmasked, P6, x, lifted=(False, True)) > 1e-2


def test_linen_is_nnx(rng):
    x = jnp.asarray(rng.normal(size=(2, 7, 7, 6, 2)), jnp.float32)
    layer = GroupConv(2, 3, 5, group=P6, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (19, 6, 2, 3)
    weights = nnx.to_pure_dict(nnx.state(layer))
    y = LinenGroupConv(3, 5, group=P6).apply({"params": weights}, x)
    assert_close(y, layer(x), atol=1e-6)


def test_there_and_back(x64):
    """Resampling there and back loses as little as the docstring says."""
    x = jnp.asarray(smooth_images((4, 33, 33, 1)))
    back = to_square(to_hexagonal(x, 33, spacing=1.0), 33, spacing=1.0)
    right, up = np.meshgrid(np.arange(33) - 16, 16 - np.arange(33))
    inner = (np.hypot(right, up) < 11)[..., None]
    error = np.linalg.norm((back - x) * inner) / np.linalg.norm(x * inner)
    assert error < 0.01
    assert error > 1e-6, "interpolation is not exact"


def test_resampling_of_planes_is_exact(x64):
    """Cubic convolution reproduces linear functions: away from the border, of the hexagon too."""
    size, pixels = 15, 31
    rows, columns = np.indices((pixels, pixels)) - 15.0
    image = jnp.asarray((2 * columns + 3 * rows + 1)[..., None])
    x = to_hexagonal(image, size)
    right, up = np.moveaxis(positions(size) * 30 / 14, -1, 0)
    expected = (2 * right - 3 * up + 1) * hexagon_mask(size)
    inside = np.hypot(right, up) < 12
    np.testing.assert_allclose(x[..., 0][inside], expected[inside], atol=1e-9)
    back = to_square(x, pixels)
    inside = np.hypot(rows, columns) < 7
    np.testing.assert_allclose(back[inside], image[inside], atol=1e-9)
    assert to_square(jnp.ones((2, 9, 9, 3)), 8, 10).shape == (2, 8, 10, 3)
    assert to_hexagonal(jnp.ones((4, 4, 1), jnp.uint8), 3).dtype == jnp.float32


def test_bad_input():
    x, w = jnp.ones((1, 7, 7, 2)), jnp.ones((7, 2, 3))
    with pytest.raises(
        ValueError, match="`x` must have as many rows as columns, and an odd number"
    ):
        transform(x[:, :6], group=P6, element=1, lifted=False)
    with pytest.raises(ValueError, match="must have as many rows as columns"):
        lift_conv(x[:, :5], w, group=P6, padding=1)
    with pytest.raises(ValueError, match="`x` must leave an odd number of pixels"):
        lift_conv(x, w, group=P6, strides=2, padding=1)
    with pytest.raises(ValueError, match="`padding` must be zeros on a hexagonal lattice"):
        lift_conv(x, w, group=P6, padding="CIRCULAR")
    with pytest.raises(ValueError, match="`w` must begin with 1, 7, 19, 37"):
        lift_conv(x, jnp.ones((3, 3, 2, 3)), group=P6)
    with pytest.raises(ValueError, match="`filters` must be 'pixel' on a hexagonal lattice"):
        LiftConv(2, 3, 5, group=P6, filters="harmonic", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`size` of a hexagon must be odd"):
        LiftConv(2, 3, 4, group=P6, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`algorithm` must be 'auto' or 'dense'"):
        GroupConv(2, 3, 3, group=P6, algorithm="fourier", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="must act on square pixels"):
        upsample(x, group=P6, scale=2, lifted=False)
    with pytest.raises(ValueError, match="must act on square pixels"):
        blur_pool(x, group=P6, window_shape=3, strides=2, padding=1, lifted=False)
    lifted = jnp.ones((1, 7, 7, 6, 2))
    with pytest.raises(ValueError, match="must act on square pixels"):
        group_conv_transpose(lifted, jnp.ones((3, 3, 6, 2, 2)), group=P6)
    with pytest.raises(ValueError, match="must act on square pixels"):
        separable_group_conv(lifted, jnp.ones((3, 3, 1, 2)), jnp.ones((6, 2, 2)), group=P6)
    with pytest.raises(ValueError, match="`subgroup` must be a subgroup of P6, got cyclic"):
        restrict(lifted, group=P6, subgroup=cyclic(2))
    with pytest.raises(ValueError, match="`spacing` must be positive"):
        to_hexagonal(x, 7, spacing=0)
    with pytest.raises(TypeError, match="`size` must be an integer"):
        to_hexagonal(x, 7.0)
    trivial = P6.subgroup(0)  # asks for no symmetry that would warn
    with pytest.raises(ValueError, match="`strides` and window sizes must be equal on both axes"):
        max_pool(x, group=trivial, window_shape=(3, 5), strides=1, lifted=False)
    with pytest.warns(InexactEquivarianceWarning):
        lift_conv(x, w, group=P6, padding=((0, 2), (1, 1)))
