"""Models as a user writes them, for the tests of ``--model FILE.py:NAME``."""

import itertools

import jax
from flax import linen as nn, nnx

from gconv_jax import P4, group_pool
from gconv_jax.nnx import BatchNorm, GroupConv, LiftConv


class Plain(nnx.Module):
    """A convolutional network with batch statistics, dropout, and a counter of its calls."""

    def __init__(self, *, width: int = 3, rate: float = 0.2, classes, in_features, dtype, rngs):
        options = {"dtype": dtype, "rngs": rngs}
        self.conv = nnx.Conv(in_features, width, (3, 3), strides=3, **options)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.top = nnx.Linear(width, classes, **options)
        self.calls = nnx.Variable(jax.numpy.zeros((), jax.numpy.int32))

    def __call__(self, x):
        self.calls[...] += 1
        x = nnx.relu(self.norm(self.conv(x))).mean((1, 2))
        return self.top(self.dropout(x))


class Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.features, (3, 3), strides=3)(x)
        return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))


class Linen(nn.Module):
    """A Linen network with nested batch statistics, and dropout."""

    num_classes: int
    width: int = 3
    rate: float = 0.5

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = Block(self.width)(x, train)
        x = Block(self.width)(x, train).mean((1, 2))
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


class Equivariant(nnx.Module):
    """A network of group convolutions, which takes the group."""

    def __init__(self, *, group=P4, width=2, classes, in_features, rngs):
        self.lift = LiftConv(in_features, width, 3, group=group, rngs=rngs)
        self.norm = BatchNorm(width, rngs=rngs)
        self.conv = GroupConv(width, width, 3, group=group, rngs=rngs)
        self.top = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.lift(x)))
        return self.top(group_pool(nnx.relu(self.conv(x))).mean((1, 2)))


def made(depth: int, classes: int, in_features: int, rngs: nnx.Rngs, subgroup=None, act="relu"):
    """A function that returns a model."""
    assert act in ("relu", "gelu"), act
    widths = [in_features, *[3] * depth, classes]
    layers = [nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in itertools.pairwise(widths)]
    return Chain(layers, subgroup)


class Chain(nnx.Module):
    def __init__(self, layers, subgroup):
        for i, layer in enumerate(layers):
            setattr(self, f"conv{i}", layer)
        self.depth, self.subgroup = len(layers), subgroup

    def __call__(self, x):
        for i in range(self.depth):
            x = nnx.relu(getattr(self, f"conv{i}")(x))
        return x.mean((1, 2))


class Fixed(Plain):
    """A network whose ten classes are written into it."""

    def __init__(self, *, in_features, dtype, rngs):
        super().__init__(classes=10, in_features=in_features, dtype=dtype, rngs=rngs)


class Grows(Plain):
    def __call__(self, x):
        self.seen = nnx.Variable(x)
        return super().__call__(x)


class NoMode(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.BatchNorm(use_running_average=False)(x).mean((1, 2)))


class Broken(nnx.Module):
    def __init__(self, *, rngs):
        self.linear = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


class Other:
    """A class that is no module."""


instance = NoMode()


def nothing():
    return None


def empty(rngs):
    return nnx.Dropout(0.5, rngs=rngs)


number = 3


class Pixels(Equivariant):
    """The same, with a class for each pixel of images or volumes."""

    def __call__(self, x):
        x = nnx.relu(self.norm(self.lift(x)))
        return self.top(group_pool(nnx.relu(self.conv(x))))
