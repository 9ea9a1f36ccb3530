"""Groups that tests run over, and the equivariance law, written without the library.

The groups are spelt out as matrices by hand, and the action on arrays is computed from those, so
that no table of the library is used to check another.
"""

from collections.abc import Callable
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import P4, P4M, Z2, FiniteGroup, cyclic, dihedral, mirror, trivial

# On (row, column), rows counted downwards: R takes the right (0, 1) to the top (-1, 0).
E, R, RR, RRR = ((1, 0), (0, 1)), ((0, -1), (1, 0)), ((-1, 0), (0, -1)), ((0, 1), (-1, 0))
# M mirrors left-right; RM, RRM, RRRM turn afterwards: diagonal, up-down, antidiagonal.
M, RM, RRM, RRRM = ((1, 0), (0, -1)), ((0, 1), (1, 0)), ((-1, 0), (0, 1)), ((0, -1), (-1, 0))


@dataclass(frozen=True)
class Case:
    """A group of the library, and the matrix by hand that each of its elements ought to be."""

    name: str
    group: FiniteGroup
    by_hand: tuple

    def __str__(self) -> str:
        return self.name

    @property
    def matrices(self) -> np.ndarray:
        return np.array(self.by_hand)

    @property
    def order(self) -> int:
        return len(self.by_hand)

    @property
    def dimension(self) -> int:
        return self.matrices.shape[-1]

    def index(self, matrix: np.ndarray) -> int:
        """The element with this matrix."""
        (found,) = np.flatnonzero((self.matrices == matrix).all(axis=(1, 2)))
        return int(found)

    def divide(self, g: int, h: int) -> int:
        """The element g^-1 h; the inverse of these matrices is their transpose."""
        return self.index(self.matrices[g].T @ self.matrices[h])


CASES = [
    Case("Z2", Z2, (E,)),
    Case("mirror", mirror(), (E, M)),
    Case("flip", P4M.subgroup(6), (E, RRM)),
    Case("diagonal", P4M.subgroup(5), (E, RM)),
    Case("p2", cyclic(2), (E, RR)),
    Case("p4", P4, (E, R, RR, RRR)),
    Case("pmm", dihedral(2), (E, RR, M, RRM)),
    Case("diagonals", P4M.subgroup(2, 5), (E, RR, RM, RRRM)),
    Case("p4m", P4M, (E, R, RR, RRR, M, RM, RRM, RRRM)),
    Case("line", trivial(dimension=1), (((1,),),)),
    Case("line-mirror", mirror(dimension=1), (((1,),), ((-1,),))),
]
BY_NAME = {case.name: case for case in CASES}
KERNELS = range(1, 8)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def some_cases(*names: str):
    """The covering set of groups for what would be slow over all."""
    return pytest.mark.parametrize("case", [BY_NAME[name] for name in names], ids=str)


def sources(case: Case, g: int, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return the pixel g^-1 p of an array of ``shape`` for each pixel p of the moved array.

    Coordinates count from the center and are doubled, which keeps them integers on even sizes.
    """
    matrix, size = case.matrices[g], np.array(shape)
    moved_size = np.abs(matrix) @ size
    one_each = (-1,) + (1,) * case.dimension
    doubled = 2 * np.indices(moved_size) - (moved_size - 1).reshape(one_each)
    source = np.tensordot(matrix.T, doubled, axes=1) + (size - 1).reshape(one_each)
    assert not (source % 2).any()
    return tuple(source // 2)


def act(case: Case, x, g: int, *, lifted: bool) -> np.ndarray:
    """``[L_g f](p) = f(g^-1 p)``, and ``[L_g f](p, h) = f(g^-1 p, g^-1 h)`` if ``lifted``."""
    x = np.asarray(x)
    first = x.ndim - case.dimension - (2 if lifted else 1)
    spatial = x.shape[first : first + case.dimension]
    x = x[(slice(None),) * first + sources(case, g, spatial)]
    return x[..., [case.divide(g, h) for h in range(case.order)], :] if lifted else x


def law_error(fn: Callable, case: Case, x, *, lifted: tuple[bool, bool]) -> float:
    """The largest of ``|fn(L_g x) - L_g fn(x)| / max|fn(x)|`` over all g.

    ``fn`` sees all L_g x of one shape as one batch, which is many times quicker than one by one.
    ``lifted`` says whether input and output have a group axis.
    """
    turned = [act(case, x, g, lifted=lifted[0]) for g in range(case.order)]
    results = {}
    for shape in {t.shape for t in turned}:
        members = [g for g, t in enumerate(turned) if t.shape == shape]
        y = np.asarray(fn(jnp.asarray(np.concatenate([turned[g] for g in members]))))
        results |= dict(zip(members, np.split(y, len(members)), strict=True))
    expected = [act(case, results[0], g, lifted=lifted[1]) for g in range(case.order)]
    assert all(results[g].shape == e.shape for g, e in enumerate(expected))
    assert np.isfinite(results[0]).all()
    assert np.abs(results[0]).max() > 0, "zeros keep every law"
    errors = [np.abs(results[g] - e).max() for g, e in enumerate(expected)]
    return float(max(errors) / np.abs(results[0]).max())


def assert_close(actual, expected, atol: float) -> None:
    """Equal shapes and dtypes, finite, and no value further off than ``atol``.

    The closeness of chex alone broadcasts, so that a scalar would pass for an array.
    """
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_tree_all_finite(actual)
    chex.assert_trees_all_close(actual, expected, atol=atol, rtol=0)


def lifting_filter(rng, case: Case, kernel: int | tuple, c_in: int, c_out: int) -> np.ndarray:
    kernel = (kernel,) * case.dimension if isinstance(kernel, int) else kernel
    return rng.normal(size=(*kernel, c_in, c_out))


def group_filter(rng, case: Case, kernel: int | tuple, c_in: int, c_out: int) -> np.ndarray:
    kernel = (kernel,) * case.dimension if isinstance(kernel, int) else kernel
    return rng.normal(size=(*kernel, case.order, c_in, c_out))


def image(rng, case: Case, size: int | tuple, channels: int = 2, batch: int = 1) -> np.ndarray:
    size = (size,) * case.dimension if isinstance(size, int) else size
    return rng.normal(size=(batch, *size, channels))


def feature_map(
    rng, case: Case, size: int | tuple, channels: int = 2, batch: int = 1
) -> np.ndarray:
    size = (size,) * case.dimension if isinstance(size, int) else size
    return rng.normal(size=(batch, *size, case.order, channels))


def random_float64(build: Callable[[], nnx.Module], rng) -> nnx.Module:
    """Return the network that ``build`` makes, with random float64 parameters and statistics.

    None keeps its default, so that batch normalization really shifts and scales. The
    model is built abstractly, without compiling the initializer of each parameter.
    """
    graphdef, state = nnx.split(nnx.eval_shape(build))

    def draw(path, leaf):
        shape, name = leaf.shape, jax.tree_util.keystr(path)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(shape, leaf.dtype)
        if len(shape) > 1:  # keeps the size of the signal through convolution and ReLU
            return jnp.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])))
        value = 0.3 * rng.normal(size=shape)
        return jnp.asarray(np.exp(value) if "'scale'" in name or "'var'" in name else value)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(draw, state))


def quick_jit(fn: Callable) -> Callable:
    """``jax.jit`` without most of XLA's optimizations, for deep networks of a few channels, which
    take longer to compile than to run."""
    return jax.jit(fn, compiler_options={"xla_backend_optimization_level": 0})


def parameters(model: nnx.Module) -> int:
    return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))


def evaluated(network, rng, **options):
    """The network as a compiled function, with random parameters and batch statistics."""
    model = random_float64(lambda: network(rngs=nnx.Rngs(0), **options), rng)
    model.eval()
    graphdef, state = nnx.split(model)
    return quick_jit(lambda x: nnx.merge(graphdef, state)(x))


def invariance_error(fn, case, x) -> float:
    """``max|fn(L_g x) - fn(x)|`` over all g, where two different images differ by 1."""
    turned = np.concatenate([act(case, x, g, lifted=False) for g in range(case.order)])
    logits = np.asarray(fn(turned)).reshape(case.order, len(x), -1)
    assert np.isfinite(logits).all()
    unit = np.abs(logits[0, 0] - logits[0, 1]).max()
    assert unit > 1e-3, "the logits hardly depend on the image"
    return float(np.abs(logits - logits[0]).max() / unit)
