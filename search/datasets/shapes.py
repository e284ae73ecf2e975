"""Generated shapes on cluttered ground, for both tasks; nothing to download.

Each image holds one shape of ten kinds, of random size, proportions, rotation, place
and colours, some of it hidden under bars, over a ground of similar colours with edges,
blots and noise. It is meant to be quick and to tell better networks from worse ones.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.outlines import BAR, CLASS_NAMES, CLUTTER, look_up
from search.datasets.sources import (
    BACKGROUND,
    FOREGROUND,
    VOID,
    Array,
    Contents,
    Request,
    Source,
)

SIZES = {"train": 4000, "validation": 1000, "test": 1000}
BATCH = 250  # images drawn at once; a part of what decides the random numbers
BLOTS = 3
HIDDEN_FRACTION = 0.35  # of the images have a bar over the shape

Floats = NDArray[np.floating[Any]]


def find_shapes(request: Request) -> Source:
    """Return the generated shapes; the seed decides every pixel."""
    edge = request.edge(default=32, least=32, most=96)

    def load(folder: Path) -> Contents:
        return draw_all(edge, request.seed)

    return Source(
        label="shapes",
        tasks=["classification", "segmentation"],
        identity={"sizes": SIZES, "edge": edge, "seed": request.seed},
        load=load,
    )


def draw_all(edge: int, seed: int) -> Contents:
    """Draw every split, with as many images of each class, in random order."""
    batches, splits, start = [], {}, 0
    for number, (split, size) in enumerate(SIZES.items()):
        rng = np.random.default_rng([seed, number])
        labels = rng.permutation(np.arange(size, dtype=np.int32) % len(CLASS_NAMES))
        for part in np.split(labels, size // BATCH):
            batches.append((*Painter(part, edge, rng).paint(), part))
        splits[split] = np.arange(start, start + size)
        start += size
    images, masks, labels = map(np.concatenate, zip(*batches, strict=True))
    return Contents(
        images=images,
        targets={"labels": labels, "masks": masks},
        names=[f"{split}-{row:04d}" for split in SIZES for row in range(SIZES[split])],
        class_names=list(CLASS_NAMES),
        splits=splits,
    )


@dataclass(frozen=True)
class Painter:
    """Paints a batch of images, each with one shape.

    Attributes:
        labels: (n,) class of each image.
        edge: of the images in pixels.
        rng: where every random number comes from, in a fixed order.
    """

    labels: Array
    edge: int
    rng: np.random.Generator

    def paint(self) -> tuple[Array, Array]:
        """Return images (n, edge, edge, 3) and masks (n, edge, edge), uint8."""
        ground, colour = self.ground()
        place = self.uniform(-0.25, 0.25, 2)
        radius = self.uniform(0.5, 0.9)
        shape = self.cover(self.labels, place, radius, turn=0.5)
        surface = self.lighter(colour, 60, 200)[:, None, None] + 25 * self.waves(3)
        image = mix(ground, surface, shape)
        is_hidden = self.uniform(0, 1) < HIDDEN_FRACTION
        aside = place + self.uniform(-0.5, 0.5, 2) * radius[:, None]
        bar = self.cover(self.kinds([BAR]), aside, radius) * is_hidden[:, None, None]
        image = mix(image, self.near(colour, 30, 150)[:, None, None], bar)
        return self.photograph(image), mask_of(shape * (1 - bar))

    def ground(self) -> tuple[Floats, Floats]:
        """Return a cluttered ground and its mean colour (n, 3)."""
        colour = self.uniform(30, 170, 3)
        other = self.near(colour, 10, 60)
        image = mix(colour[:, None, None], other[:, None, None], self.waves(1)[..., 0])
        for _ in range(BLOTS):
            blot = self.cover(
                self.kinds(CLUTTER), self.uniform(-1, 1, 2), self.uniform(0.15, 0.5)
            )
            opacity = self.uniform(0.2, 0.9)[:, None, None]
            image = mix(image, self.near(colour, 20, 90)[:, None, None], blot * opacity)
        return image, (colour + other) / 2

    def photograph(self, image: Floats) -> Array:
        """Light the scene from one side and add the noise of a camera."""
        x, y = grid(self.edge)
        slope = self.uniform(-0.3, 0.3, 2)[:, :, None, None]
        light = 1 + slope[:, 0] * x + slope[:, 1] * y
        noise = self.rng.standard_normal(image.shape, dtype=np.float32)
        sigma = self.uniform(2, 16)[:, None, None, None]
        lit = image * light[..., None] + sigma * noise
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)

    def cover(
        self, kinds: Array, place: Floats, radius: Floats, turn: float = np.pi
    ) -> Floats:
        """Return how much of each pixel (0–1) shapes at random angles cover."""
        x, y = grid(self.edge)
        angle, stretch = self.uniform(-turn, turn), self.uniform(0.8, 1.25)
        cos, sin = (f(angle)[:, None, None] for f in (np.cos, np.sin))
        right, down = (x - place[:, :1, None], y - place[:, 1:, None])
        size = (radius * np.sqrt(stretch))[:, None, None]
        size_across = (radius / np.sqrt(stretch))[:, None, None]
        distances = look_up(
            kinds,
            (right * cos + down * sin) / size,
            (down * cos - right * sin) / size_across,
        )
        pixels = distances * radius[:, None, None] * self.edge / 2
        return np.clip(0.5 - pixels, 0, 1)

    def waves(self, channels: int) -> Floats:
        """Return smooth random fields (n, edge, edge, channels), about -1 to 1."""
        x, y = grid(self.edge)
        field = np.zeros((len(self.labels), self.edge, self.edge, channels), np.float32)
        for _ in range(3):
            turn = self.uniform(-7, 7, 2)[:, :, None, None]
            phase = self.uniform(0, 2 * np.pi, channels)[:, None, None]
            swing = turn[:, 0] * x + turn[:, 1] * y
            field += np.sin(swing[..., None] + phase) / 3
        return field

    def lighter(self, colour: Floats, least: float, most: float) -> Floats:
        """Return colours (n, 3) that are lighter by `least` to `most` grey levels."""
        direction = self.uniform(0, 1, 3)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return np.clip(colour + direction * self.uniform(least, most)[:, None], 0, 255)

    def near(self, colour: Floats, least: float, most: float) -> Floats:
        """Return colours (n, 3) at a distance of `least` to `most` grey levels."""
        direction = self.rng.standard_normal(colour.shape, dtype=np.float32)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        step = direction * self.uniform(least, most)[:, None]
        # Turned inwards where it would leave 0–255, so that the distance holds.
        is_outside = (colour + step < 10) | (colour + step > 245)
        return np.clip(colour + np.where(is_outside, -step, step), 0, 255)

    def kinds(self, choices: tuple[int, ...] | list[int]) -> Array:
        return self.rng.choice(np.array(choices), len(self.labels))

    def uniform(self, low: float, high: float, columns: int = 0) -> Floats:
        """Return (n,) or (n, columns) random numbers."""
        shape = (len(self.labels), columns) if columns else len(self.labels)
        return self.rng.uniform(low, high, shape).astype(np.float32)


def grid(edge: int) -> tuple[Floats, Floats]:
    """Return x (1, edge) and y (edge, 1) of the pixel centres, -1 to 1."""
    line = ((np.arange(edge, dtype=np.float32) + 0.5) * 2 / edge - 1).astype(np.float32)
    return line[None, :], line[:, None]


def mix(below: Floats, above: Floats, cover: Floats) -> Floats:
    """Lay `above` over `below` where `cover` (n, height, width) is 1."""
    return below + (above - below) * cover[..., None]


def mask_of(visible: Floats) -> Array:
    """Return foreground, background, and void along the visible outline, as VOC has."""
    mask = np.full(visible.shape, VOID, np.uint8)
    mask[visible <= 0.15] = BACKGROUND
    mask[visible >= 0.85] = FOREGROUND
    return mask
