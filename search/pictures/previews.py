"""Pictures of masks for people: the image beside the same image with its foreground."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from search.files import write_with

Array = NDArray[Any]

GAP = 8
# Two panels and the gap between them are 1024 pixels wide.
PANEL_WIDTH = 508
PANEL_HEIGHT = 768
SMALL_EDGE = 256
# Orange stands apart from grass, sky, skin and water, also for the colour-blind.
COLOUR = np.array([255, 122, 26], np.float32)
TINT = 0.3
SHADE = 0.5
WHITE = (255, 255, 255)


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of one panel: reduced to fit, or enlarged where tiny."""
    scale = min(PANEL_WIDTH / width, PANEL_HEIGHT / height)
    if scale > 1:
        scale = min(scale, max(1.0, SMALL_EDGE / max(height, width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def panel(image: Array) -> Array:
    """Return an RGB image at the size it has in a preview."""
    height, width = panel_size(*image.shape[:2])
    picture = Image.fromarray(image)
    enlarged = width > picture.width
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return np.asarray(picture.resize((width, height), method))


def preview_of(image: Array, mask: Array) -> Image.Image:
    """Return the image and, beside it, its foreground in colour with an outline.

    Args:
        image: (height, width, 3) uint8, from `panel`.
        mask: (height, width) bool, of the same size.
    """
    height, width = mask.shape
    sheet = Image.new("RGB", (2 * width + GAP, height), WHITE)
    sheet.paste(Image.fromarray(image), (0, 0))
    sheet.paste(Image.fromarray(highlighted(image, mask)), (width + GAP, 0))
    return sheet


def highlighted(image: Array, mask: Array) -> Array:
    """Tint the foreground, quieten the background, and draw the line between them."""
    pixels = image.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    quiet = (0.6 * pixels + 0.4 * grey) * SHADE
    tinted = (1 - TINT) * pixels + TINT * COLOUR
    result = blended(quiet, tinted, smooth(mask))
    result = blended(result, WHITE, 0.8 * smooth(outline(mask, 5)))
    result = blended(result, COLOUR, smooth(outline(mask, 3)))
    return result.clip(0, 255).astype(np.uint8)


def blended(below: Array, above: Any, cover: Array) -> Array:
    """Lay one picture or colour over another; `cover` (height, width) is 0–1."""
    share = cover[..., None]
    return np.asarray((1 - share) * below + share * np.asarray(above, np.float32))


def smooth(mask: Array) -> Array:
    """Return a bool mask as 0–1 without the steps of its pixels."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    cover: Array = soft / 255
    return cover


def outline(mask: Array, size: int) -> Array:
    """Return the pixels within (size - 1) / 2 of the border of a mask."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    widest = np.asarray(picture.filter(ImageFilter.MaxFilter(size)))
    narrowest = np.asarray(picture.filter(ImageFilter.MinFilter(size)))
    border: Array = widest != narrowest
    return border


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG, whole."""
    write_with(path, lambda file: picture.save(file, format="PNG"))
