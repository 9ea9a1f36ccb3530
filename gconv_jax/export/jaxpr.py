"""Programs of JAX as lists of operations on numbered values, without calls of functions."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# The primitives that call functions, which are written out.
_CALLS = {
    "jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call",
    "custom_vjp_call", "custom_vjp_call_jaxpr",
}  # fmt: skip
# Repetitions that make an array so many times larger stay in the program, to save memory.
_GROWTH = 16

Node = int


@dataclass(frozen=True)
class Equation:
    """One operation on numbered values."""

    equation: Any
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @property
    def name(self) -> str:
        return self.equation.primitive.name

    @property
    def is_repetition(self) -> bool:
        """True if the result is much larger than the operands and has no more information."""
        if self.name not in ("broadcast_in_dim", "iota"):
            return False
        size = sum(v.aval.size for v in self.equation.invars)
        return self.equation.outvars[0].aval.size > _GROWTH * max(1, size)

    @property
    def is_computable(self) -> bool:
        """True if the result may be computed ahead once its operands are known.

        A result whose size depends on a symbolic batch may not.
        """
        shapes = (v.aval.shape for v in self.equation.outvars)
        known = all(isinstance(n, int) for shape in shapes for n in shape)
        return known and not self.equation.effects and self.name != "dim_as_value"


@dataclass
class Program:
    """A program without calls: its constants, inputs and outputs are numbered values."""

    equations: list[Equation] = field(default_factory=list)
    constants: dict[Node, Any] = field(default_factory=dict)
    count: int = 0

    def new(self) -> Node:
        """Return the number of a new value."""
        self.count += 1
        return self.count - 1

    def constant(self, value) -> Node:
        """Add a constant and return its number."""
        node = self.new()
        self.constants[node] = value
        return node

    def write(self, jaxpr: Jaxpr, constants: list[Node], inputs: list[Node]) -> list[Node]:
        """Add the operations of a program, calls written out, and return its results."""
        nodes = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

        def read(atom) -> Node:
            if isinstance(atom, Literal):
                return self.constant(np.asarray(atom.val, atom.aval.dtype))  # pyright: ignore[reportAttributeAccessIssue]
            return nodes[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            inner = called(equation)
            if inner is None:
                results = [self.new() for _ in equation.outvars]
                self.equations.append(Equation(equation, tuple(arguments), tuple(results)))
            else:
                constants = [self.constant(value) for value in inner[1]]
                results = self.write(inner[0], constants, arguments)
            nodes |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def bind(equation, *values) -> list:
    """Return the results of an equation for these values."""
    primitive = equation.primitive
    params = primitive.get_bind_params(equation.params)
    functions, params = params if isinstance(params, tuple) else ((), params)  # until JAX 0.8
    results = primitive.bind(*functions, *values, **params)
    return results if primitive.multiple_results else [results]


def called(equation) -> tuple[Jaxpr, list] | None:
    """Return the program and constants of the function that an equation calls, if it calls one."""
    if equation.primitive.name not in _CALLS:
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        if isinstance(inner, ClosedJaxpr):
            return inner.jaxpr, inner.consts
        if isinstance(inner, Jaxpr):
            return inner, []
    return None


def compute_ahead(constants: dict, equations: list[Equation], wanted: set[Node]) -> dict:
    """Return the values of the ``wanted`` nodes, computed by one compiled program."""

    def run(constants):
        values = dict(constants)
        for equation in equations:
            results = bind(equation.equation, *(values[node] for node in equation.inputs))
            values |= dict(zip(equation.outputs, results, strict=True))
        return {node: values[node] for node in sorted(wanted)}

    # A model that is traced together with x has tracers for parameters, whose values are unknown.
    if any(isinstance(value, Tracer) for value in constants.values()):
        raise ValueError(
            "`model` must have numbers as parameters, got traced ones; do not freeze it inside jit "
            "or grad"
        )
    with jax.ensure_compile_time_eval():
        found = jax.jit(run)(constants)
    keys = jax.dtypes.prng_key  # which NumPy does not know
    return {
        node: value if jnp.issubdtype(value.dtype, keys) else np.asarray(value)
        for node, value in found.items()
    }
