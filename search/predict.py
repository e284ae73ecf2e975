"""The verb `predict`: class probabilities, or masks beside a preview, for image files.

Needs the model file only: what its numbers mean lies inside it. All images are read
once before anything is written, so an unreadable one ends the command with nothing
done; the batches then read them again, and memory stays that of one batch.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.datasets.images import read_image, resize_image, resize_probabilities
from search.errors import InputError
from search.exporting.descriptions import Description
from search.exporting.predictors import check_model_file, load_predictor
from search.files import check_writable, write_json, write_text
from search.pictures.image_files import find_images, output_stems
from search.pictures.previews import panel, preview_of, write_png
from search.wording import counted

Array = NDArray[Any]
Row = dict[str, Any]

MASK, PREVIEW = "_mask.png", "_preview.png"
SHOWN_ROWS = 20
# Classes of an image, after the most probable one.
SHOWN_NEXT = 2


@dataclass(frozen=True)
class Picture:
    """One image, reduced to what its prediction needs.

    Attributes:
        pixels: at the size the network sees, uint8.
        size: (height, width) of the file.
        panel: for the preview, RGB.
    """

    path: Path
    pixels: Array
    size: tuple[int, int]
    panel: Array


def predict(
    model_path: Path,
    inputs: Sequence[Path],
    *,
    output_dir: Path,
    batch_size: int = 32,
    top: int = 5,
    skip_unreadable: bool = False,
) -> list[Row]:
    """Predict image files; write a table as CSV and JSON, for segmentation masks, too.

    Args:
        model_path: a .keras, .onnx or .tflite file, or the folder of a SavedModel.
        inputs: image files, folders (searched whole), glob patterns, and `-` for a list
            of these on standard input, one a line.
        top: most classes listed for an image.
        skip_unreadable: give an unreadable image a row with its `error`.

    Returns:
        A row an image, in the order of `inputs`. Classification: path, class,
        probability, top [{class, probability}]. Segmentation: path,
        foreground_fraction, mask, preview.

    Raises:
        InputError: a model or image that cannot be read; nothing was written.
    """
    if batch_size < 1 or top < 1:
        raise InputError(
            "a batch size and a number of classes of at least 1",
            f"{batch_size} and {top}",
            "Choose larger ones",
        )
    check_model_file(model_path)
    files = find_images(inputs, output_dir, (MASK, PREVIEW))
    errors = unreadable(files)
    if errors and not skip_unreadable:
        raise next(iter(errors.values()))
    check_writable(output_dir, "Choose another output folder")
    predictor = load_predictor(model_path)
    readable = [path for path in files if path not in errors]
    stems = output_stems(readable, output_dir, (MASK, PREVIEW))
    rows: dict[Path, Row] = {
        path: unreadable_row(path, error) for path, error in errors.items()
    }
    for pictures in batches(readable, predictor.about, batch_size, rows):
        outputs = predictor.probabilities(np.stack([p.pixels for p in pictures]))
        for picture, output in zip(pictures, outputs, strict=True):
            if predictor.about.task == "classification":
                row = class_row(picture, output, predictor.about, top)
            else:
                stem = stems[picture.path]
                row = mask_row(picture, output, predictor.about, output_dir / stem)
            rows[picture.path] = row
    ordered = [rows[path] for path in files]
    write_text(output_dir / "predictions.csv", as_csv(ordered))
    write_json(output_dir / "predictions.json", ordered)
    return ordered


def unreadable(files: Sequence[Path]) -> dict[Path, InputError]:
    """Read every image once and return the errors of those that cannot be."""
    errors = {}
    for path in files:
        try:
            read_image(path)
        except InputError as error:
            errors[path] = error
    return errors


def unreadable_row(path: Path, error: InputError) -> Row:
    """Return the row of an image that is left out; what to do about it was done."""
    reason = f"Expected {error.expected}. Received: {error.received}"
    return {"path": str(path), "error": reason}


def batches(
    files: Sequence[Path], about: Description, batch_size: int, rows: dict[Path, Row]
) -> Iterator[list[Picture]]:
    """Yield the images, `batch_size` at a time.

    One that has become unreadable since it was checked gets its error as a row.
    """
    for start in range(0, len(files), batch_size):
        pictures = []
        for path in files[start : start + batch_size]:
            try:
                pictures.append(open_picture(path, about))
            except InputError as error:
                rows[path] = unreadable_row(path, error)
        if pictures:
            yield pictures


def open_picture(path: Path, about: Description) -> Picture:
    """Read an image file and reduce it to what the prediction needs."""
    image = read_image(path)
    height, width, channels = about.image_shape
    pixels = resize_image(image, height, width)
    if channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    is_shown = about.task == "segmentation"
    size = (image.shape[0], image.shape[1])
    return Picture(path, pixels, size, panel(image) if is_shown else image[:0, :0])


def class_row(picture: Picture, output: Array, about: Description, top: int) -> Row:
    """Return the most probable classes of an image."""
    names = about.class_names
    if len(names) != len(output):
        names = [str(number) for number in range(len(output))]
    best = np.argsort(-output, kind="stable")[:top]
    ranking = [{"class": names[k], "probability": float(output[k])} for k in best]
    return {"path": str(picture.path), **ranking[0], "top": ranking}


def mask_row(picture: Picture, output: Array, about: Description, stem: Path) -> Row:
    """Write the mask, at the size of the file, and the preview of an image."""
    mask = resize_probabilities(output, *picture.size) >= about.threshold
    small = resize_probabilities(output, *picture.panel.shape[:2]) >= about.threshold
    mask_path = stem.with_name(stem.name + MASK)
    preview_path = stem.with_name(stem.name + PREVIEW)
    write_png(mask_path, Image.fromarray(mask.astype(np.uint8) * 255))
    write_png(preview_path, preview_of(picture.panel, small))
    return {
        "path": str(picture.path),
        "foreground_fraction": float(mask.mean()),
        "mask": str(mask_path),
        "preview": str(preview_path),
    }


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; further classes of an image become columns of their own."""
    flat = []
    for row in rows:
        plain = {key: value for key, value in row.items() if key != "top"}
        for rank, item in enumerate(row.get("top", [])[1:], start=2):
            plain[f"class_{rank}"] = item["class"]
            plain[f"probability_{rank}"] = item["probability"]
        flat.append(plain)
    columns = list(dict.fromkeys(key for row in flat for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def print_predictions(
    rows: Sequence[Mapping[str, Any]], output_dir: Path, console: Console
) -> None:
    """Print the first predictions and where all of them are."""
    is_masks = any("mask" in row for row in rows)
    has_more = any(len(row.get("top", [])) > 1 for row in rows)
    headings = ["class", "probability", *(["next"] if has_more else [])]
    if is_masks:
        headings = ["foreground", "preview"]
    table = Table(box=None, pad_edge=False)
    for heading in ("image", *headings):
        is_number = heading in ("foreground", "probability")
        table.add_column(heading, justify="right" if is_number else "left")
    names = Counter(Path(row["path"]).name for row in rows)
    for row in rows[:SHOWN_ROWS]:
        name = Path(row["path"]).name
        shown = name if names[name] == 1 else row["path"]
        table.add_row(*(escape(cell) for cell in (shown, *cells_of(row))))
    console.print(table)
    skipped = sum("error" in row for row in rows)
    if skipped:
        left_out = f"left out: {counted(skipped, 'image')} that cannot be read"
        console.print(left_out, highlight=False)
    more = len(rows) - SHOWN_ROWS
    rest = f" ({more} more than here)" if more > 0 else ""
    console.print(
        f"written to {output_dir}/, predictions.csv lists all{rest}", highlight=False
    )


def cells_of(row: Mapping[str, Any]) -> list[str]:
    """Return what the printed table says of an image."""
    if "error" in row:
        return ["", f"skipped: {row['error']}"]
    if "mask" in row:
        return [f"{row['foreground_fraction']:.1%}", Path(row["preview"]).name]
    following = row["top"][1 : 1 + SHOWN_NEXT]
    named = [f"{item['class']} {item['probability']:.1%}" for item in following]
    cells = [row["class"], f"{row['probability']:.1%}"]
    return [*cells, ", ".join(named)] if named else cells
