"""Draw a network as its paper would: boxes of feature maps, a U where there is one."""

import itertools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle

from hypermodels.backbones import BACKBONES

matplotlib.use("Agg")
# Text stays text, and the same network gives the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "vision-tuner"})

COLOURS = {
    "pretrained, frozen": "#b8c0cc",
    "pretrained, learns": "#4878a8",
    "encoder": "#4878a8",
    "stages": "#4878a8",
    "decoder": "#e08b3c",
    "head": "#e08b3c",
    "images": "#dddddd",
    "output": "#5a9e6f",
}
INK, PALE = "#222222", "#777777"
GROUPS = (
    (r"images|resize|preprocess", "images"),
    (r"stem", "stem"),
    (r"(stage\d+)_", None),
    (r"(encoder\d+)", None),
    (r"(down\d+)", None),
    (r"bottom", "bottom"),
    (r"(up\d+)", None),
    (r"(decoder\d+)", None),
    (r"logits|resize_logits|probabilities|foreground", "output"),
)


@dataclass
class Block:
    """Layers that belong together.

    Attributes:
        shape: (height, width, channels) or (units,) of what comes out.
    """

    name: str
    role: str
    layers: list[Any] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


def stage_of(layers: list[Any], backbone: str | None) -> dict[str, str]:
    """Return layer name -> stage, for the layers of a pretrained network."""
    if backbone is None:
        return {}
    first = dict(zip(BACKBONES[backbone].stages, range(1, 6), strict=True))
    stages: dict[str, str] = {}
    current = 0
    for layer in layers:
        current = first.get(layer.name, current)
        ours = re.match("decoder|bottom_|global|flatten|dense|feature|head", layer.name)
        if current and ours:
            break
        if current:
            stages[layer.name] = f"block {current}"
    return stages


def group_of(name: str) -> str:
    """Return the block a layer of ours belongs to."""
    for pattern, group in GROUPS:
        match = re.match(pattern, name)
        if match:
            return group or match[1]
    return "head"


def role_of(name: str, layers: list[Any], *, is_u: bool) -> str:
    """Return what a block is for, which is its colour."""
    if name.startswith("block "):
        learns = any(layer.trainable_variables for layer in layers)
        return "pretrained, learns" if learns else "pretrained, frozen"
    if name in ("images", "output", "head"):
        return name
    if name == "stem" and not is_u:
        return "stages"
    if name.startswith(("decoder", "up")):
        return "decoder"
    return "stages" if name.startswith("stage") else "encoder"


def blocks_of(model: Any, backbone: str | None) -> list[Block]:
    """Cut a network into the blocks that its layers' names tell of."""
    stages = stage_of(model.layers, backbone)
    found: dict[str, Block] = {}
    for layer in model.layers:
        name = stages.get(layer.name) or group_of(layer.name)
        block = found.setdefault(name, Block(name, ""))
        block.layers.append(layer)
        shape = layer.output.shape[1:]
        if len(shape) in (1, 3):
            block.shape = tuple(shape)
    for block in found.values():
        is_u = "bottom" in found
        block.role = role_of(block.name, block.layers, is_u=is_u)
    return list(found.values())


def content(block: Block) -> str:
    """Say in a line or two what is inside: `2 conv 3×3`, `add`."""
    counts: dict[str, int] = {}
    for layer in block.layers:
        kind = type(layer).__name__
        edge = getattr(layer, "kernel_size", (0,))[0]
        names = {
            "Conv2D": f"conv {edge}×{edge}",
            "SeparableConv2D": "separable conv",
            "DepthwiseConv2D": "depthwise conv",
            "Conv2DTranspose": f"transposed {edge}×{edge}",
            "MaxPooling2D": "max pool",
            "UpSampling2D": f"{getattr(layer, 'interpolation', '')} ×2",
            "GlobalAveragePooling2D": "global pool",
            "Flatten": "flatten",
            "Dense": f"dense {getattr(layer, 'units', '')}",
            "Dropout": f"dropout {getattr(layer, 'rate', 0):g}",
            "Concatenate": "concat",
            "Add": "add",
            "Resizing": "resize",
        }
        if kind in names:
            counts[names[kind]] = counts.get(names[kind], 0) + 1
    return "\n".join(
        f"{count} {name}" if count > 1 else name for name, count in counts.items()
    )


def place(blocks: list[Block], *, as_u: bool) -> None:
    """Set positions and sizes: wide = many channels, tall = many pixels."""
    tallest = max(block.shape[0] for block in blocks if len(block.shape) == 3)
    x = 0.0
    for block in blocks:
        if len(block.shape) == 3:
            edge, channels = block.shape[0], block.shape[2]
            block.height = 0.35 + 1.5 * (edge / tallest) ** 0.5
            block.width = 0.12 + 0.055 * math.log2(channels) ** 1.3
            level = math.log2(tallest / edge)
        else:
            block.height, block.width, level = 1.3, 0.14, 0.0
        block.x, block.y = x, -1.55 * level if as_u else 0.0
        x += block.width + (0.95 if as_u else 1.15)


def skips_of(blocks: list[Block]) -> list[tuple[Block, Block]]:
    """Return which block's features are joined to which later block."""
    owner = {id(layer.output): block for block in blocks for layer in block.layers}
    joined = [
        (owner.get(id(tensor)), block)
        for block in blocks
        for layer in block.layers
        if type(layer).__name__ == "Concatenate"
        for tensor in layer.input
    ]
    return [(a, b) for a, b in joined if a is not None and a is not b and a.x < b.x]


def draw(model: Any, path: Path, *, backbone: str | None, as_u: bool) -> None:
    """Write the picture of a network to `path`, an SVG."""
    blocks = blocks_of(model, backbone)
    place(blocks, as_u=as_u)
    right = blocks[-1].x + blocks[-1].width
    low = min(block.y - block.height / 2 for block in blocks)
    high = max(block.y + block.height / 2 for block in blocks)
    figure, axes = plt.subplots(figsize=(right + 1.2, high - low + 1.9))
    axes.set_xlim(-0.6, right + 0.6)
    axes.set_ylim(low - 1.1, high + 0.8)
    axes.axis("off")
    draw_arrows(axes, blocks)
    for block in blocks:
        draw_block(axes, block)
    draw_legend(axes, blocks)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw_block(axes: Any, block: Block) -> None:
    """Draw one box, its name and size below, its content above."""
    left, bottom = block.x, block.y - block.height / 2
    axes.add_patch(
        Rectangle(
            (left, bottom),
            block.width,
            block.height,
            facecolor=COLOURS[block.role],
            edgecolor="white",
            linewidth=1,
            zorder=3,
        )
    )
    middle = left + block.width / 2
    size = "×".join(str(edge) for edge in block.shape)
    text = {"ha": "center", "zorder": 4, "family": "sans-serif"}
    axes.text(
        middle, bottom - 0.08, block.name, va="top", fontsize=9, color=INK, **text
    )
    axes.text(middle, bottom - 0.32, size, va="top", fontsize=8, color=PALE, **text)
    axes.text(
        middle,
        bottom + block.height + 0.08,
        content(block) if not block.role.startswith("pretrained") else "",
        va="bottom",
        fontsize=7.5,
        color=PALE,
        linespacing=1.25,
        **text,
    )


def draw_arrows(axes: Any, blocks: list[Block]) -> None:
    """Draw the way from block to block, and the skips across."""
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "zorder": 2}
    for before, after in itertools.pairwise(blocks):
        start = (before.x + before.width, before.y)
        end = (after.x, after.y)
        axes.add_patch(
            FancyArrowPatch(start, end, color="#999999", linewidth=1.1, **style)
        )
    for before, after in skips_of(blocks):
        start = (before.x + before.width, before.y + before.height * 0.25)
        end = (after.x, after.y + after.height * 0.25)
        axes.add_patch(
            FancyArrowPatch(
                start, end, color="#5a9e6f", linewidth=1.1, linestyle="--", **style
            )
        )


def draw_legend(axes: Any, blocks: list[Block]) -> None:
    """Name the colours that are there."""
    roles = list(dict.fromkeys(block.role for block in blocks))
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[role]) for role in roles]
    axes.legend(
        handles,
        roles,
        loc="lower left",
        ncols=len(roles),
        frameon=False,
        fontsize=8,
        handlelength=1,
        handleheight=1,
        bbox_to_anchor=(0.0, -0.02),
    )
