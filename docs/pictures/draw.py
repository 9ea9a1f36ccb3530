"""The pictures of the documentation, drawn beside this file. No network is trained.

    python docs/pictures/draw.py

They are committed, so that the site can be built where JAX is not; draw them again when what they
show has changed.
"""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from gconv_jax import (
    P4,
    P4M,
    P6,
    Z2,
    FiniteGroup,
    Harmonic,
    cyclic,
    filter_bank,
    group_pool,
    lift_conv,
    octahedral,
    transform,
)
from gconv_jax.groups.elements import HEXAGONAL_BASIS
from gconv_jax.hexagonal import to_hexagonal
from gconv_jax.lattice.hexagons import hexagon_mask
from gconv_jax.nnx import GroupConv, LiftConv

HERE = Path(__file__).parent
INDEX = 22  # of scikit-learn's digits: a two
COLORS = ("#1f6fb4", "#d1495b", "#3a7d44", "#8d6a9f")
TURNS = ("upright", "turned by 90°", "by 180°", "by 270°")
INK = "#333333"


def digit() -> jnp.ndarray:
    """One of scikit-learn's digits, enlarged, on a canvas of odd size: ``[1, 29, 29, 1]``."""
    small = load_digits().images[INDEX] / 16
    large = np.clip(zoom(small, 3, order=1, grid_mode=True, mode="nearest"), 0, 1)
    return jnp.asarray(np.pad(large, ((2, 3), (2, 3)))[None, ..., None], jnp.float32)


def edge_filter() -> jnp.ndarray:
    """Bright above dark, more so on the left, so that no turn is like another: ``[5, 5, 1, 1]``."""
    rows, columns = np.mgrid[-2:3, -2:3]
    weights = -rows * np.exp(-(rows**2 + columns**2) / 4) * (1 - 0.35 * columns)
    return jnp.asarray((weights - weights.mean())[..., None, None], jnp.float32)


def plain_maps() -> Figure:
    """Draw the maps of one filter of a plain CNN as the digit turns, and the same turned back."""
    x, w = digit(), edge_filter()
    figure = Figure(figsize=(7.2, 5.5), layout="constrained")
    axes = figure.subplots(3, 4)
    for turn, column in enumerate(axes.T):
        turned = jnp.rot90(x, turn, (1, 2))
        y = nnx.relu(lift_conv(turned, w, group=Z2))[..., 0, :]  # the ordinary convolution
        _image(column[0], turned[0, ..., 0], "gray_r")
        _image(column[1], y[0, ..., 0], "magma")
        _image(column[2], jnp.rot90(y, -turn, (1, 2))[0, ..., 0], "magma")
        column[0].set_title(TURNS[turn], fontsize=10, color=INK)
    for label, row in zip(("image", "feature map", "feature map,\nturned back"), axes, strict=True):
        row[0].set_ylabel(label, fontsize=10, color=INK)
    return figure


def lifted_maps() -> Figure:
    """Draw the maps of the same filter in a `LiftConv` over P4; equal maps have equal frames."""
    x, w = digit(), edge_filter()
    figure = Figure(figsize=(7.2, 8.9), layout="constrained")
    axes = figure.subplots(5, 4)
    for turn, column in enumerate(axes.T):
        turned = jnp.rot90(x, turn, (1, 2))
        y = nnx.relu(lift_conv(turned, w, group=P4))
        _image(column[0], turned[0, ..., 0], "gray_r")
        column[0].set_title(TURNS[turn], fontsize=10, color=INK)
        for g in P4.elements:
            _image(column[1 + g], y[0, ..., g, 0], "magma", COLORS[(g - turn) % 4])
    axes[0, 0].set_ylabel("image", fontsize=10, color=INK)
    for g in P4.elements:
        axes[1 + g, 0].set_ylabel(f"orientation {P4.element_name(g)}", fontsize=10, color=INK)
    return figure


def filters() -> Figure:
    """One base filter in every pose of several groups, as they enter the planar convolution."""
    rows: list[tuple[str, FiniteGroup, np.ndarray]] = []
    small = edge_filter()
    for name, group in (("P4", P4), ("P4M", P4M)):
        bank = filter_bank(small, group=group, lifting=True)
        rows.append((name, group, np.moveaxis(np.asarray(bank)[:, :, 0], -1, 0)))
    bank = filter_bank(
        jnp.asarray(_harmonic_weights(), jnp.float32),
        group=cyclic(8),
        lifting=True,
        filters="harmonic",
        kernel_size=7,
    )
    rows.append(("cyclic(8),\nharmonic", cyclic(8), np.moveaxis(np.asarray(bank)[:, :, 0], -1, 0)))
    taps = np.array([0.9, 0.35, -0.8, 0.1, 1.0, -0.3, -0.9])[:, None, None]
    bank = filter_bank(jnp.asarray(taps, jnp.float32), group=P6, lifting=True, kernel_size=3)
    rows.append(("P6", P6, np.moveaxis(np.asarray(bank)[:, :, 0], -1, 0)))

    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots(len(rows), 8)
    for (name, group, bank), row in zip(rows, axes, strict=True):
        limit = np.abs(bank).max()
        for g, ax in enumerate(row):
            ax.axis("off")
            if g >= group.order:
                continue
            title = group.element_name(g)
            ax.set_title(title, fontsize=8, color=INK)
            if group.is_hexagonal:
                _hexagons(ax, bank[g], limit)
            else:
                ax.imshow(bank[g], cmap="RdBu_r", vmin=-limit, vmax=limit)
        row[0].text(
            -0.25, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=10
        )
    return figure


def sizes() -> Figure:
    """Windows of 3 pixels with stride 2 on an even and on an odd row, and on its mirror image."""
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    for ax, n in zip(figure.subplots(1, 2), (8, 9), strict=True):
        good = (n - 3) % 2 == 0
        for level, mirrored in ((1, False), (0, True)):
            y = 1.9 * level
            for i in range(n):
                ax.add_patch(Rectangle((i, y), 1, 0.55, facecolor="#e8e8e8", edgecolor="white"))
            for k, start in enumerate(range(0, n - 2, 2)):
                left = n - start - 3 if mirrored else start
                ax.add_patch(
                    Rectangle(
                        (left + 0.06, y + 0.66 + 0.17 * (k % 2)),
                        2.88,
                        0.11,
                        facecolor=COLORS[0] if not mirrored else COLORS[1],
                    )
                )
        verdict = "the same places" if good else "other places: the law breaks"
        ax.set_title(f"n = {n}, k = 3, s = 2: {verdict}", fontsize=10, color=INK)
        ax.text(-0.25, 2.2, "windows", ha="right", va="center", fontsize=9, color=INK)
        ax.text(-0.25, 0.3, "mirrored", ha="right", va="center", fontsize=9, color=INK)
        ax.set(xlim=(-2.2, n + 0.2), ylim=(-0.2, 3.1))
        ax.axis("off")
    return figure


def invariants() -> Figure:
    """The digit as it turns, and eight features of a plain CNN and of a G-CNN, both untrained."""
    x = digit()
    figure = Figure(figsize=(7.2, 4.3), layout="constrained")
    axes = figure.subplots(3, 4, sharey="row", height_ratios=(1.5, 1, 1))
    upright = {}
    networks = [("plain CNN", Z2, COLORS[1]), ("G-CNN (P4)", P4, COLORS[0])]
    for turn, column in enumerate(axes.T):
        turned = jnp.rot90(x, turn, (1, 2))
        _image(column[0], turned[0, ..., 0], "gray_r")
        column[0].set_title(TURNS[turn], fontsize=10, color=INK)
        for ax, (name, group, color) in zip(column[1:], networks, strict=True):
            rngs = nnx.Rngs(3)
            lift = LiftConv(1, 8, 5, group=group, rngs=rngs)
            conv = GroupConv(8, 8, 5, group=group, rngs=rngs)
            values = group_pool(nnx.relu(conv(nnx.relu(lift(turned))))).max((1, 2))[0]
            upright[name] = upright.get(name, values)
            ax.bar(range(8), np.asarray(values), color=color)
            ax.step(range(-1, 9), [0, *upright[name], 0], where="mid", color=INK, linewidth=1)
            ax.set(xticks=[], yticks=[])
            if turn == 0:
                ax.set_ylabel(name, fontsize=10, color=INK)
    return figure


def pooling() -> Figure:
    """Four maps of a `LiftConv`, one for each orientation, and their maximum."""
    x = digit()
    y = nnx.relu(lift_conv(x, edge_filter(), group=P4))
    figure = Figure(figsize=(7.2, 1.9), layout="constrained")
    axes = figure.subplots(1, 6)
    _image(axes[0], x[0, ..., 0], "gray_r")
    axes[0].set_title("image", fontsize=10, color=INK)
    for g, ax in enumerate(axes[1:5]):
        _image(ax, y[0, ..., g, 0], "magma")
        ax.set_title(P4.element_name(g), fontsize=10, color=INK)
    _image(axes[5], group_pool(y)[0, ..., 0], "magma")
    axes[5].set_title("maximum", fontsize=10, color=INK)
    return figure


def hexagons() -> Figure:
    """The digit on a lattice of hexagons, turned exactly by sixths of a turn."""
    x = to_hexagonal(digit(), 27)
    figure = Figure(figsize=(6.4, 1.9), layout="constrained")
    for g, ax in enumerate(figure.subplots(1, 4)):
        turned = transform(x, group=P6, element=g, lifted=False)
        values = np.asarray(turned)[0, ..., 0]
        cells = np.argwhere(hexagon_mask(len(values)))
        places = (cells - (len(values) - 1) / 2) @ HEXAGONAL_BASIS.T
        colors = [values[tuple(cell)] for cell in cells]
        ax.scatter(
            places[:, 1], -places[:, 0], c=colors, cmap="gray_r", s=9, marker="h", linewidths=0
        )
        ax.set_title(f"{60 * g}°", fontsize=10, color=INK)
        ax.set(aspect="equal")
        ax.axis("off")
    return figure


def voxels() -> Figure:
    """A piece of four cubes in four of its 24 orientations."""
    piece = np.zeros((1, 3, 3, 3, 1), np.float32)
    piece[0, 1, 1, :, 0] = piece[0, 1, 2, 2, 0] = 1
    group = octahedral()
    figure = Figure(figsize=(7.2, 2.1), layout="constrained")
    for place, g in enumerate((0, 5, 10, 17)):
        ax = figure.add_subplot(1, 4, place + 1, projection="3d")
        turned = transform(jnp.asarray(piece), group=group, element=g, lifted=False)
        filled = np.asarray(turned)[0, ..., 0] > 0.5
        ax.voxels(filled, facecolors=COLORS[0], edgecolors="white")
        ax.set_aspect("equal")
        ax.axis("off")
    return figure


def arrows() -> Figure:
    """A filter that is its own mirror image, in its poses under P4M: each of them occurs twice."""
    weights = edge_filter() + edge_filter()[:, ::-1]
    bank = np.asarray(filter_bank(weights, group=P4M, lifting=True))[:, :, 0]
    figure = Figure(figsize=(7.2, 1.3), layout="constrained")
    limit = np.abs(bank).max()
    for g, ax in enumerate(figure.subplots(1, 8)):
        ax.imshow(bank[..., g], cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(P4M.element_name(g), fontsize=9, color=INK)
        ax.axis("off")
    return figure


def _harmonic_weights() -> np.ndarray:
    """The harmonic coefficients nearest to a smooth edge of 7 x 7 taps: ``[P, 1, 1]``."""
    rows, columns = np.mgrid[-3:4, -3:4]
    wanted = -rows * np.exp(-(rows**2 + columns**2) / 6) * (1 - 0.3 * columns)
    points = np.stack([rows, columns], -1).reshape(-1, 2).astype(float)
    table = Harmonic()(points, 7)
    return np.linalg.lstsq(table, wanted.reshape(-1), rcond=None)[0][:, None, None]


def _image(ax: Axes, values, cmap: str, frame: str | None = None) -> None:
    ax.imshow(np.asarray(values), cmap=cmap, vmin=0)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color=frame or "#cccccc", linewidth=3.5 if frame else 0.8)


def _hexagons(ax: Axes, values: np.ndarray, limit: float) -> None:
    """Taps as hexagons, where they lie in the plane."""
    size = len(values)
    cells = np.argwhere(hexagon_mask(size))
    places = (cells - (size - 1) / 2) @ HEXAGONAL_BASIS.T
    colors = [values[tuple(cell)] for cell in cells]
    ax.scatter(
        places[:, 1],
        -places[:, 0],
        c=colors,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        s=260,
        marker="h",
    )
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")


PICTURES = {
    "plain_maps": plain_maps,
    "lifted_maps": lifted_maps,
    "filters": filters,
    "sizes": sizes,
    "invariants": invariants,
    "pooling": pooling,
    "hexagons": hexagons,
    "voxels": voxels,
    "arrows": arrows,
}


def main(folder: Path = HERE) -> None:
    for name, picture in PICTURES.items():
        beside = folder / f".{name}.png"
        picture().savefig(beside, dpi=110)
        os.replace(beside, folder / f"{name}.png")


if __name__ == "__main__":
    main()
