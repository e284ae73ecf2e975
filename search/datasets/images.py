"""Reads one image or mask file of any mode to uint8 arrays, and resizes them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from search.errors import InputError

Pixels = NDArray[np.uint8]

# Pillow only warns of images above 89 megapixels, which need 256 MiB each. Set once
# and not per call: the filters are shared by all threads.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def read_image(path: Path) -> Pixels:
    """Read an image as RGB, upright (EXIF) and on white where it is transparent.

    Of an animation the first frame is read; 16 bits a channel are reduced to 8.

    Returns:
        (height, width, 3) uint8, 0–255.

    Raises:
        InputError: the file is absent, damaged, empty, too large or no image.
    """
    try:
        with Image.open(path) as image:
            return rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # damaged files raise anything, SyntaxError included
        raise unreadable(path, "image", error) from error


def read_mask(path: Path) -> Pixels:
    """Read a mask as the values stored in it: palette indices, grey levels or 0/1.

    Returns:
        (height, width) uint8; values of 16-bit masks above 255 become 1.

    Raises:
        InputError: the file is absent, damaged or a colour picture, or holds numbers
            that are negative or no whole ones.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(ImageOps.exif_transpose(image))
    except Exception as error:  # as above
        raise unreadable(path, "mask", error) from error
    if values.ndim == 3:
        values = single_channel(values, path)
    if values.dtype in (np.bool_, np.uint8):
        return values.astype(np.uint8)
    odd = values[~((values >= 0) & (values == np.floor(values)))]
    if odd.size:
        raise InputError(
            "a mask of whole numbers from 0 on",
            f"{odd.flat[0]} in {path}",
            "Save it as 8 bits: 0 background, 255 void, other numbers foreground",
        )
    return np.where(values > 255, 1, values).astype(np.uint8)


def resize_image(image: Pixels, height: int, width: int) -> Pixels:
    """Resize an RGB image, bilinear and antialiased; the aspect ratio may change."""
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_mask(mask: Pixels, height: int, width: int) -> Pixels:
    """Resize a mask to the nearest pixel, so that no value is invented."""
    if mask.shape == (height, width):
        return mask
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized)


def resize_probabilities(
    probabilities: NDArray[Any], height: int, width: int
) -> NDArray[np.float32]:
    """Return (height, width) float32 probabilities, bilinear between pixels."""
    picture = Image.fromarray(np.asarray(probabilities, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def eight_bits(values: NDArray[Any]) -> Pixels:
    """Bring numbers of any type to 0–255.

    Floats up to 1 count as fractions, whole numbers above 255 as 16 bits; those that
    are stored in 16 bits whatever they are, so that a series is made alike.
    """
    if values.dtype == np.uint8:
        return values
    top = values.max(initial=0)
    if values.dtype.kind == "f":
        factor = 255.0 if top <= 1 else 1.0
    else:
        factor = 1 / 257 if values.dtype.itemsize == 2 or top > 255 else 1.0
    scaled = np.nan_to_num(values * factor)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def single_channel(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the one channel of a grey picture stored in colour."""
    colours = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
    if (colours != colours[..., :1]).any():
        raise InputError(
            "a mask with one value a pixel",
            f"the colour picture {path}",
            "Save it as a grey or palette PNG: 0 background, 255 foreground",
        )
    return values[..., 0]


def unreadable(path: Path, kind: str, error: Exception) -> InputError:
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        return InputError(
            f"an {kind} of at most {limit} megapixels",
            f"{path}: {error}",
            "Make it smaller, remove it, or pass --skip-unreadable",
        )
    return InputError(
        f"a readable {kind} file",
        f"{path}, {cause(path, error)}",
        "Replace it, remove it, or pass --skip-unreadable",
    )


def cause(path: Path, error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if not path.exists():
        return "which does not exist"
    if path.is_dir():
        return "which is a folder"
    if path.stat().st_size == 0:
        return "which is empty"
    if isinstance(error, UnidentifiedImageError):
        return "which is no image or damaged"
    return f"which is damaged ({str(error) or type(error).__name__})"
