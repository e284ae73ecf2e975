"""Sheets of small pictures with a line of words below each, drawn by Pillow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[Any]

CELL = 112  # pixels, the edge of a picture
GAP = 8
LINE = 17  # pixels of a line of words
INK, SOFT, PAPER = (36, 41, 47), (106, 115, 125), (255, 255, 255)
FONT_SIZE = 12


def sheet(
    pictures: Sequence[Array], words: Sequence[Sequence[str]], columns: int
) -> Image.Image:
    """Return pictures in rows, with their lines of words below.

    Args:
        pictures: (height, width, 3) each, 0–255.
        words: lines of each; the first is dark, the others are grey.
    """
    lines = max((len(own) for own in words), default=0)
    high = CELL + GAP + lines * LINE
    across = min(columns, max(1, len(pictures)))
    down = -(-len(pictures) // across)
    size = (across * (CELL + GAP) + GAP, down * high + GAP)
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.truetype(font_file(), FONT_SIZE)
    for place, (picture, own) in enumerate(zip(pictures, words, strict=True)):
        x = GAP + place % across * (CELL + GAP)
        y = GAP + place // across * high
        page.paste(fitted(picture), (x, y))
        for number, text in enumerate(own):
            colour = SOFT if number else INK
            place_below = (x, y + CELL + 2 + number * LINE)
            draw.text(place_below, cut(text, draw, font), fill=colour, font=font)
    return page


def font_file() -> str:
    """Return a font with the letters of most languages; Pillow's own has no umlauts."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


def fitted(picture: Array) -> Image.Image:
    """Return a picture as a square of CELL; pixels of small ones stay visible."""
    image = Image.fromarray(np.asarray(picture).clip(0, 255).astype(np.uint8))
    scale = CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (CELL, CELL), PAPER)
    corner = ((CELL - size[0]) // 2, (CELL - size[1]) // 2)
    square.paste(image.resize(size, way), corner)
    return square


def cut(text: str, draw: Any, font: Any) -> str:
    """Return a line that fits below a picture."""
    plain = "".join(sign if sign.isprintable() else "·" for sign in text)
    if draw.textlength(plain, font=font) <= CELL:
        return plain
    while plain and draw.textlength(plain + "…", font=font) > CELL:
        plain = plain[:-1]
    return plain + "…"
