"""Numbers and vectors: the action, lifting and projection, over every group and element."""

import itertools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx

import gconv_jax.linen
from gconv_jax import (
    P4,
    P4M,
    P6,
    Fields,
    cyclic,
    dihedral,
    filter_bank,
    full_octahedral,
    group_conv,
    lift_conv,
    octahedral,
    project_fields,
    rotate,
    tetrahedral,
    transform,
)
from gconv_jax.export import freeze, onnx, stablehlo
from gconv_jax.filters.bank import filter_axes
from gconv_jax.models import UNet
from gconv_jax.nnx import GroupConv, LiftConv
from gconv_jax.testing import assert_equivariant, equivariance_errors, smooth_images
from tests.helpers import Case, assert_close, every_case, sources

ALL = Fields(scalars=1, pseudoscalars=1, vectors=2, pseudovectors=1)
FLOW = Fields(scalars=1, vectors=1)


def moved_by_hand(x: np.ndarray, case: Case, g: int) -> np.ndarray:
    """Return ``rho(g) x(g^-1 p)`` of ALL, from the matrices by hand."""
    matrix, d = case.matrices[g], case.dimension
    x = x[:, *sources(case, g, x.shape[1 : 1 + d])]
    sign = round(np.linalg.det(matrix))
    scalar, pseudoscalar, *components = np.moveaxis(x, -1, 0)
    vectors = [np.stack(components[d * i : d * i + d], -1) @ matrix.T for i in range(3)]
    parts = [scalar[..., None], sign * pseudoscalar[..., None], *vectors[:2], sign * vectors[2]]
    return np.concatenate(parts, -1)


@every_case
def test_the_action_is_that_by_hand(case, rng, x64):
    x = rng.normal(size=(2, *(4, 7)[: case.dimension], ALL.channels(case.group)))
    for g in range(case.order):
        element = case.index(case.matrices[g])
        y = transform(x, group=case.group, element=element, lifted=False, fields=ALL)
        assert_close(y, moved_by_hand(x, case, g), atol=1e-14)


@every_case
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_network_keeps_the_law(case, kernel, rng, x64):
    """Fields become features and then fields again; kernels and sizes are odd and even."""
    group, channels = case.group, ALL.channels(case.group)
    w = rng.normal(size=(*(kernel,) * case.dimension, channels, 3))
    v = rng.normal(size=(*(kernel,) * case.dimension, case.order, 3, channels))

    def network(x):
        y = jnp.tanh(lift_conv(x, w, group=group, fields=ALL, padding="VALID"))
        y = group_conv(y, v, group=group, padding="VALID")
        return project_fields(y, group=group, fields=ALL)

    x = rng.normal(size=(2, *(6, 7)[: case.dimension], channels))
    y = np.asarray(network(x))
    assert np.abs(y).max(tuple(range(y.ndim - 1))).min() > 0.01, "a channel is always zero"
    for g in range(case.order):
        assert_close(network(moved_by_hand(x, case, g)), moved_by_hand(y, case, g), atol=1e-11)


@pytest.mark.parametrize("wrong", ["numbers in", "numbers out", "vectors as pseudovectors"])
def test_negative_controls(wrong, rng, x64):
    """Arrows that are taken for numbers, or turned in the wrong way, break the law."""
    w, v = rng.normal(size=(3, 3, 3, 4)), rng.normal(size=(3, 3, 8, 4, 3))
    taken = {"vectors as pseudovectors": Fields(scalars=1, pseudovectors=1)}.get(wrong, FLOW)

    def network(x):
        y = lift_conv(x, w, group=P4M, fields=None if wrong == "numbers in" else taken)
        y = group_conv(jnp.tanh(y), v, group=P4M)
        return y.mean(-2) if wrong == "numbers out" else project_fields(y, group=P4M, fields=FLOW)

    actions = {"input_action": FLOW, "output_action": FLOW}
    with pytest.raises(AssertionError, match=r"not equivariant under [467] of the 8"):
        assert_equivariant(network, rng.normal(size=(1, 7, 7, 3)), group=P4M, **actions)


@pytest.mark.parametrize("group", [cyclic(1), cyclic(3), P4, dihedral(5)], ids=str)
def test_every_equivariant_map_at_a_pixel_can_be_made(group, x64):
    """Lifting reaches all equivariant linear maps of fields to features, and a convolution with a
    projection all maps back: as many as solve M rho(g) = rho'(g) M, counted by its rank."""
    rho, c, order = ALL.matrices(group), ALL.channels(group), group.order
    regular = [permutation(group, g) for g in group.elements]
    commutator = [
        np.kron(a, np.eye(c)) - np.kron(np.eye(order), b.T)
        for a, b in zip(regular, rho, strict=True)
    ]
    dimension = c * order - np.linalg.matrix_rank(np.concatenate(commutator))
    images = np.eye(c)[:, None, None]
    lifted = [lift_conv(images, f[None, None, :, None], group=group, fields=ALL) for f in np.eye(c)]
    assert np.linalg.matrix_rank(np.reshape(lifted, (c, -1))) == dimension
    features = np.eye(order)[:, None, None, :, None]
    filters = np.eye(order * c).reshape(-1, 1, 1, order, 1, c)
    maps = [
        project_fields(group_conv(features, f, group=group), group=group, fields=ALL)
        for f in filters
    ]
    assert np.linalg.matrix_rank(np.reshape(maps, (len(filters), -1))) == dimension == c


def permutation(group, g):
    """The permutation of orientations by which g acts on features."""
    return np.eye(group.order)[group.cayley[group.inverse[g]]]


@pytest.mark.parametrize("group", [tetrahedral(), octahedral(), full_octahedral()], ids=str)
def test_voxels(group, rng, x64):
    fields = Fields(pseudoscalars=1, vectors=1, pseudovectors=1)
    w, v = rng.normal(size=(3, 3, 3, 7, 2)), rng.normal(size=(1, 1, 1, group.order, 2, 7))

    def network(x):
        y = group_conv(jnp.tanh(lift_conv(x, w, group=group, fields=fields)), v, group=group)
        return project_fields(y, group=group, fields=fields)

    x = rng.normal(size=(1, 5, 5, 5, 7))
    assert_equivariant(network, x, group=group, input_action=fields, output_action=fields)
    if group.order == 48:
        with pytest.raises(AssertionError, match="under 24 of the 48"):
            assert_equivariant(
                network, x, group=group, input_action=fields,
                output_action=Fields(scalars=1, vectors=1, pseudovectors=1),
            )  # fmt: skip


@pytest.mark.parametrize("group", [cyclic(8), dihedral(8)], ids=str)
def test_finer_rotations(group, rng, x64):
    """The arrows turn by 45 degrees with their pixels, as far as these are interpolated."""
    fields = Fields(vectors=1)
    options = {"group": group, "filters": "harmonic", "kernel_size": 5}
    (parameters,) = filter_axes("harmonic", group, (5, 5))
    w = rng.normal(size=(parameters, 2, 3))
    v = rng.normal(size=(parameters, group.order, 3, 2))

    def network(x, fields=fields):
        y = group_conv(jnp.tanh(lift_conv(x, w, fields=fields, **options)), v, **options)
        return project_fields(y, group=group, fields=Fields(vectors=1))

    x = smooth_images((1, 41, 41, 2), length=4.0)
    actions = {"input_action": fields, "output_action": fields, "group": group}
    assert_equivariant(network, x, rtol_resampled=0.05, **actions)
    with pytest.raises(AssertionError, match="is not equivariant"):
        assert_equivariant(lambda x: network(x, None), x, rtol_resampled=0.3, **actions)


def test_the_gradient_of_a_turned_image_is_the_turned_gradient(rng, x64):
    """A closed form: central differences are a linear map from numbers to vectors."""

    def gradient(x):
        rows, columns = (jnp.roll(x, -1, a) - jnp.roll(x, 1, a) for a in (1, 2))
        return jnp.concatenate([rows, columns], -1)

    def divergence(v):
        rows, columns = (
            jnp.roll(v[..., i], -1, 1 + i) - jnp.roll(v[..., i], 1, 1 + i) for i in (0, 1)
        )
        return (rows + columns)[..., None]

    def curl(v):
        across, along = (
            jnp.roll(v[..., 1 - i], -1, 1 + i) - jnp.roll(v[..., 1 - i], 1, 1 + i) for i in (0, 1)
        )
        return (across - along)[..., None]

    vector, number = Fields(vectors=1), Fields(scalars=1)
    x, v = rng.normal(size=(1, 6, 6, 1)), rng.normal(size=(1, 6, 6, 2))
    assert_equivariant(gradient, x, group=P4M, output_action=vector)
    assert_equivariant(divergence, v, group=P4M, input_action=vector)
    pseudo = Fields(pseudoscalars=1)
    assert_equivariant(curl, v, group=P4M, input_action=vector, output_action=pseudo)
    with pytest.raises(AssertionError, match="under 4 of the 8"):
        assert_equivariant(curl, v, group=P4M, input_action=vector, output_action=number)
    # By layers: a lifted gradient filter and a projection give 8 / 8 of it.
    w = np.zeros((3, 3, 1, 2))
    w[0, 1, 0, 0] = w[1, 0, 0, 1] = -1
    w[2, 1, 0, 0] = w[1, 2, 0, 1] = 1
    y = lift_conv(x, w, group=P4M, padding="CIRCULAR")
    assert_close(project_fields(y, group=P4M, fields=vector), gradient(x), atol=1e-14)


def test_an_arrow_turns_as_a_picture_of_it_does():
    """Counter-clockwise as displayed: what points right points up after a quarter turn."""
    right, up, down = (jnp.array([[a]]) for a in ([[0.0, 1.0]], [[-1.0, 0.0]], [[1.0, 0.0]]))
    vector = Fields(vectors=1)
    y = transform(right, group=P4, element="r90", lifted=False, fields=vector)
    np.testing.assert_array_equal(y, up)
    mirrored = transform(right, group=P4M, element="m", lifted=False, fields=vector)
    np.testing.assert_array_equal(mirrored, -right)
    mirrored = transform(
        right, group=P4M, element="m", lifted=False, fields=Fields(pseudovectors=1)
    )
    np.testing.assert_array_equal(mirrored, right)
    y = transform(right, group=P4, element="r270", lifted=False, fields=vector)
    np.testing.assert_array_equal(y, down)
    # The same direction as that of `rotate`: a bright pixel moves to where the arrow points.
    image = jnp.zeros((1, 5, 5, 1)).at[0, 2, 4].set(1.0)
    assert rotate(image, jnp.pi / 2)[0, 0, 2, 0] > 0.99


@pytest.mark.parametrize("library", ["nnx", "linen"])
def test_layers(library, rng, x64):
    x = rng.normal(size=(2, 6, 6, 3))
    layer = LiftConv(3, 4, 3, group=P4M, fields=FLOW, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    kernel, bias = layer.kernel[...], rng.normal(size=4)
    layer.bias[...] = jnp.asarray(bias)
    expected = lift_conv(x, kernel, bias=bias, group=P4M, fields=FLOW)
    if library == "linen":
        module = gconv_jax.linen.LiftConv(4, 3, group=P4M, fields=FLOW)
        variables = {"params": {"kernel": kernel, "bias": bias}}
        layer = module.bind(variables)
    assert_close(layer(x), expected, atol=1e-13)
    assert_equivariant(layer, x, group=P4M, input_action=FLOW)
    with pytest.raises(AssertionError, match="LiftConv is not equivariant"):
        assert_equivariant(layer, x, group=P4M)


class Head(nnx.Module):
    """A network with one vector for each image, or for each pixel."""

    def __init__(self, *, pooled, rngs):
        options = {"group": P4M, "rngs": rngs, "param_dtype": jnp.float64}
        self.lift = LiftConv(3, 4, 3, fields=FLOW, **options)
        self.conv = GroupConv(4, 2, 3, **options)
        self.head = Project()
        self.pooled = pooled

    def __call__(self, x):
        y = self.head(self.conv(jnp.tanh(self.lift(x))))
        return y.mean((1, 2)) if self.pooled else y


class Project(nnx.Module):
    def __call__(self, x):
        return project_fields(x, group=P4M, fields=Fields(vectors=1))


@pytest.mark.parametrize("pooled", [True, False])
def test_the_checks_know_vectors(pooled, rng, x64):
    model = Head(pooled=pooled, rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 6, 6, 3))
    actions = {"input_action": FLOW, "output_action": Fields(vectors=1)}
    assert_equivariant(model, x, group=P4M, **actions)
    report = equivariance_errors(model, x, group=P4M, **actions)
    assert {"lift", "conv", "head", "output"} <= set(report.errors)
    assert max(errors.max() for errors in report.errors.values()) < 1e-12
    with pytest.raises(ValueError, match="`channels of the output` must be 3"):
        assert_equivariant(model, x, group=P4M, input_action=FLOW, output_action=FLOW)
    model.lift.fields = None
    with pytest.raises(AssertionError, match=r"the first layer .*lift"):
        assert_equivariant(model, x, group=P4M, **actions)


@pytest.mark.one_in(13)
@pytest.mark.parametrize(
    "group", [P4, P4M, pytest.param(octahedral(), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("train", [True, False])
def test_unet_from_flow_to_flow(group, train, rng, x64):
    model = UNet(
        group=group, depth=1, width=2, in_fields=FLOW, out_fields=FLOW, rngs=nnx.Rngs(0)
    )  # fmt: skip
    model.train() if train else model.eval()
    side, channels = 4 if group.dimension == 3 else 8, FLOW.channels(group)
    x = rng.normal(size=(2, *group.dimension * (side,), channels))
    assert model(x).shape == x.shape
    assert_equivariant(model, x, group=group, input_action=FLOW, output_action=FLOW, rtol=1e-5)


def test_frozen_gradients_and_second_derivatives(rng, x64):
    model = UNet(depth=1, width=2, in_fields=FLOW, out_fields=FLOW, rngs=nnx.Rngs(0))
    model.eval()
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)))
    assert_close(freeze(model)(x), model(x), atol=1e-5)
    w = jnp.asarray(rng.normal(size=(3, 3, 3, 2)))

    def loss(w):
        return (lift_conv(x, w, group=P4, fields=FLOW) ** 3).sum()

    jax.test_util.check_grads(loss, (w,), order=2, rtol=1e-6)


def test_exported(rng, tmp_path):
    """StableHLO and ONNX files give the same."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = UNet(depth=1, width=2, in_fields=FLOW, out_fields=FLOW, rngs=nnx.Rngs(0))
    model.eval()
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    stablehlo(model, (None, 8, 8, 3), tmp_path / "unet.jax")
    program = jax.export.deserialize((tmp_path / "unet.jax").read_bytes())
    assert_close(program.call(x), model(x), atol=1e-4)
    onnx(model, (None, 8, 8, 3), tmp_path / "unet.onnx")
    (y,) = onnxruntime.InferenceSession(tmp_path / "unet.onnx").run(None, {"x": x})
    assert_close(y, model(x), atol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "complex64"])
def test_every_type_in_is_the_same_out(dtype, rng):
    x, w = (jnp.asarray(rng.integers(-3, 4, size=s)).astype(dtype)
            for s in ((1, 5, 5, 3), (3, 3, 3, 2)))  # fmt: skip
    y = lift_conv(x, w, group=P4M, fields=FLOW)
    exact = lift_conv(x.real.astype(int), w.real.astype(int), group=P4M, fields=FLOW)
    assert y.dtype == dtype
    assert_close(np.asarray(y.real, float), np.asarray(exact, float), atol=0.5)
    moved = transform(x, group=P4M, element=1, lifted=False, fields=FLOW)
    assert moved.dtype == dtype


def test_bad_input():
    image = jnp.ones((1, 5, 5, 3))
    with pytest.raises(ValueError, match="must have a field"):
        Fields()
    with pytest.raises(ValueError, match="`vectors` must be at least 0, got -1"):
        Fields(vectors=-1)
    with pytest.raises(TypeError, match="`scalars` must be an integer"):
        Fields(scalars=1.5)
    with pytest.raises(ValueError, match=r"`C_in` must be 2, the channels of .* in 2 dimensions"):
        lift_conv(image, jnp.ones((3, 3, 3, 2)), group=P4, fields=Fields(vectors=1))
    with pytest.raises(ValueError, match="`in_features` must be 2"):
        LiftConv(3, 4, 3, group=P4, fields=Fields(vectors=1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`fields` must be None for a layer between feature maps"):
        GroupConv(3, 4, 3, group=P4, fields=FLOW, rngs=nnx.Rngs(0))
    module = gconv_jax.linen.GroupConv(4, 3, group=P4, fields=FLOW)
    with pytest.raises(ValueError, match="`fields` must be None for a layer between feature maps"):
        module.init(jax.random.key(0), jnp.ones((1, 5, 5, 4, 3)))
    with pytest.raises(ValueError, match="`fields` must be None for a filter on the group"):
        filter_bank(jnp.ones((3, 3, 4, 3, 2)), group=P4, fields=FLOW)
    with pytest.raises(ValueError, match="`fields` must be None for a feature map"):
        transform(jnp.ones((5, 5, 4, 3)), group=P4, element=1, lifted=True, fields=FLOW)
    with pytest.raises(ValueError, match="hexagonal lattice"):
        Fields(vectors=1).matrices(P6)
    with pytest.raises(ValueError, match="hexagonal lattice"):
        transform(jnp.ones((7, 7, 2)), group=P6, element=1, lifted=False, fields=Fields(vectors=1))
    with pytest.raises(ValueError, match=r"`x` must be \[\.\.\., \|G\|=4"):
        project_fields(jnp.ones((5, 5, 8, 3)), group=P4, fields=FLOW)
    with pytest.raises(ValueError, match="`C` must be 3"):
        project_fields(jnp.ones((5, 5, 4, 2)), group=P4, fields=FLOW)
    with pytest.raises(
        ValueError, match="`dtype` must be floating for vectors that turn so, got int32"
    ):
        filter_bank(jnp.ones((1, 1, 2, 1), int), group=cyclic(8), lifting=True,
                    fields=Fields(vectors=1))  # fmt: skip
    with pytest.raises(
        ValueError, match="`dtype` must be floating for vectors that turn so, got uint8"
    ):
        transform(jnp.ones((5, 5, 2), "uint8"), group=P4, element=1, lifted=False,
                  fields=Fields(vectors=1))  # fmt: skip
    for call in (
        lambda: lift_conv(image, jnp.ones((3, 3, 3, 2)), group=P4, fields="vectors"),
        lambda: LiftConv(3, 4, 3, group=P4, fields=(1, 1), rngs=nnx.Rngs(0)),
        lambda: transform(image, group=P4, element=1, lifted=False, fields={"vectors": 1}),
        lambda: project_fields(jnp.ones((5, 5, 4, 2)), group=P4, fields=2),
        lambda: UNet(in_fields="vectors", rngs=nnx.Rngs(0)),
        lambda: UNet(out_fields=2, rngs=nnx.Rngs(0)),
    ):
        with pytest.raises(
            TypeError, match=r"`fields` must be a Fields, such as .* got .* of type"
        ):
            call()
    with pytest.raises(ValueError, match="`output_action` must not be a Fields for an array of sh"):
        assert_equivariant(
            lambda x: lift_conv(x, jnp.ones((3, 3, 3, 3)), group=P4), image, group=P4,
            output_action=FLOW,
        )  # fmt: skip


def test_fields_are_hashable_and_their_matrices_read_only():
    assert hash(FLOW) == hash(Fields(1, vectors=1)) and Fields(1, vectors=1) == FLOW
    with pytest.raises(ValueError, match="read-only"):
        FLOW.matrices(P4)[0, 0, 0] = 2
    for a, b in itertools.product(P4M.elements, repeat=2):
        rho = ALL.matrices(P4M)
        np.testing.assert_array_equal(rho[a] @ rho[b], rho[P4M.cayley[a, b]])
    assert issubclass(gconv_jax.linen.LiftConv, nn.Module)
