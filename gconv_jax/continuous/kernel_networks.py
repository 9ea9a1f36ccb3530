"""Small networks whose values are the filters of a continuous convolution.

``psi(x, g)`` is a network from a position and a group coordinate to ``C_in C_out`` numbers, so
that filters can be evaluated anywhere (Schuett et al. 2017, arXiv:1706.08566; Finzi et al. 2020,
arXiv:2002.12880; Romero & Lohit 2021, arXiv:2110.10211).

At initialization its outputs have mean 0 and variance 1 at every point, over the draws of the
parameters: phases are uniform, so a sine has variance 1/2 whatever its frequency, and the linear
maps keep what they are given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, normal, zeros

Parameters = Mapping[str, jax.Array]


@runtime_checkable
class KernelNetwork(Protocol):
    """The interface of kernel networks: hashable, with two methods. Users may write their own."""

    def parameters(
        self, inputs: int, outputs: int
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """Return an initializer and a shape for each parameter, by name."""
        ...

    def __call__(self, parameters: Parameters, coordinates: jax.Array) -> jax.Array:
        """Return ``[..., outputs]`` for ``[..., inputs]``, of unit variance at initialization."""
        ...


@dataclass(frozen=True)
class Siren:
    """A network of sines (Sitzmann et al. 2020, arXiv:2006.09661).

    ``h_1 = sin(omega (W_1 x + b_1))``, ``h_i = sin(omega (W_i h_{i-1} + b_i))``, and a linear map
    at the end. ``omega`` sets how fast filters vary: first layer weights are uniform in +-1/inputs.

    Args:
        hidden: width of the hidden layers.
        layers: hidden layers and the linear one; 3 as in Romero & Lohit 2021.
        omega: frequency, in radians for half the width of the filter.

    >>> import jax
    >>> shapes = {name: shape for name, (_, shape) in Siren().parameters(4, 10).items()}
    >>> shapes["kernel_0"], shapes["kernel_2"]
    ((4, 32), (32, 10))
    """

    hidden: int = 32
    layers: int = 3
    omega: float = 10.0

    def __post_init__(self) -> None:
        _check(self, least_layers=2)
        _check_positive(self, "omega")

    def parameters(
        self, inputs: int, outputs: int
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """See `KernelNetwork`."""
        widths = [inputs, *[self.hidden] * (self.layers - 1)]
        found: dict[str, tuple[Initializer, tuple[int, ...]]] = {}
        for i in range(self.layers - 1):
            # Sines have variance 1/2; a uniform distribution in +-a has a^2 / 3.
            bound = 1 / max(1, inputs) if i == 0 else (6 / widths[i]) ** 0.5 / self.omega
            found[f"kernel_{i}"] = _uniform(bound), (widths[i], self.hidden)
            found[f"bias_{i}"] = _uniform(jnp.pi / self.omega), (self.hidden,)
        return found | _linear(self.layers - 1, self.hidden, outputs)

    def __call__(self, parameters: Parameters, coordinates: jax.Array) -> jax.Array:
        x = coordinates
        for i in range(self.layers - 1):
            x = jnp.sin(self.omega * (x @ parameters[f"kernel_{i}"] + parameters[f"bias_{i}"]))
        return x @ parameters[f"kernel_{self.layers - 1}"] + parameters[f"bias_{self.layers - 1}"]


@dataclass(frozen=True)
class MultiplicativeFilters:
    """A multiplicative filter network with sines (Fathony et al. 2021, ICLR, "Multiplicative Filter
    Networks"): a sum of sines whose frequencies are sums of those of the layers.

    ``z_1 = s_1(x)``, ``z_i = (W_i z_{i-1} + b_i) s_i(x)`` with ``s_i(x) = sin(Omega_i x + phi_i)``,
    and a linear map at the end.

    Args:
        hidden: width of the hidden layers.
        layers: sines; 3 as in Romero & Lohit 2021.
        frequency: standard deviation of the frequencies of the whole, in radians for half the
            width of the filter.

    >>> MultiplicativeFilters().frequency
    4.0
    """

    hidden: int = 32
    layers: int = 3
    frequency: float = 4.0

    def __post_init__(self) -> None:
        _check(self, least_layers=1)
        _check_positive(self, "frequency")

    def parameters(
        self, inputs: int, outputs: int
    ) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """See `KernelNetwork`."""
        found: dict[str, tuple[Initializer, tuple[int, ...]]] = {}
        deviation = self.frequency / self.layers**0.5
        for i in range(self.layers):
            found[f"frequency_{i}"] = normal(deviation), (inputs, self.hidden)
            found[f"phase_{i}"] = _uniform(jnp.pi), (self.hidden,)
            if i:
                found |= _linear(i - 1, self.hidden, self.hidden)
        return found | _linear(self.layers - 1, self.hidden, outputs)

    def __call__(self, parameters: Parameters, coordinates: jax.Array) -> jax.Array:
        z = 1.0
        for i in range(self.layers):
            if i:
                z = z @ parameters[f"kernel_{i - 1}"] + parameters[f"bias_{i - 1}"]
            z = z * jnp.sin(coordinates @ parameters[f"frequency_{i}"] + parameters[f"phase_{i}"])
        return z @ parameters[f"kernel_{self.layers - 1}"] + parameters[f"bias_{self.layers - 1}"]


def check_kernel_network(network: KernelNetwork) -> KernelNetwork:
    """``network`` itself; TypeError unless it is one."""
    if isinstance(network, type) or not isinstance(network, KernelNetwork):
        raise TypeError(
            "`kernel_network` must be Siren(), MultiplicativeFilters() or an object of the "
            f"protocol gconv_jax.KernelNetwork, got {network!r}"
        )
    hash(network)
    return network


def _uniform(bound: float) -> Initializer:
    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _linear(i: int, inputs: int, outputs: int):
    """Return the parameters of a layer from inputs of variance 1/2 to outputs of variance 1, which
    are uniform again."""
    return {
        f"kernel_{i}": (_uniform((6 / inputs) ** 0.5), (inputs, outputs)),
        f"bias_{i}": (zeros, (outputs,)),
    }


def _check(network, *, least_layers: int) -> None:
    for name, least in (("hidden", 1), ("layers", least_layers)):
        value = getattr(network, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}")


def _check_positive(network, name: str) -> None:
    value = getattr(network, name)
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be positive and finite, got {value!r}")
