"""The verb `predict`: class probabilities, or masks beside a preview, for image files.

Needs the .keras file only: what its numbers mean lies inside it. All images are read
once before anything is written, so an unreadable one ends the command with nothing
done; the batches then read them again, and memory stays that of one batch.
"""

import csv
import io
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

from search.backend import load_keras
from search.datasets.images import read_image, resize_image
from search.errors import InputError
from search.files import write_text
from search.image_files import find_images, output_stems
from search.inference_models import Description, read_description
from search.paths import studies_in
from search.previews import panel, preview_of, resized_probabilities, write_png

Array = NDArray[Any]
Row = dict[str, Any]

MASK, PREVIEW = "_mask.png", "_preview.png"
SHOWN_ROWS = 20


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


@dataclass(frozen=True)
class Predictor:
    """A loaded model and what its numbers mean."""

    model: Any
    about: Description

    def probabilities(self, pictures: Sequence[Picture]) -> Array:
        """Return (images, classes), or (images, height, width) of the foreground."""
        images = np.stack([picture.pixels for picture in pictures]).astype(np.float32)
        outputs = np.asarray(self.model.predict_on_batch(images), np.float32)
        if self.about.task == "segmentation":
            return outputs[..., 0]
        if outputs.shape[1] == 1:  # one sigmoid: the probability of the second class
            return np.concatenate([1 - outputs, outputs], axis=1)
        return outputs


def predict(
    model_path: Path,
    inputs: Sequence[Path],
    *,
    output_dir: Path,
    batch_size: int = 32,
    top: int = 5,
    skip_unreadable: bool = False,
) -> list[Row]:
    """Predict image files and write predictions.csv, for segmentation masks, too.

    Args:
        inputs: image files, folders (searched whole) and glob patterns.
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
    check_writable(output_dir)
    predictor = load_predictor(model_path)
    readable = [path for path in files if path not in errors]
    stems = output_stems(readable, output_dir, (MASK, PREVIEW))
    rows: dict[Path, Row] = {
        path: {"path": str(path), "error": str(error)} for path, error in errors.items()
    }
    for pictures in batches(readable, predictor.about, batch_size):
        outputs = predictor.probabilities(pictures)
        for picture, output in zip(pictures, outputs, strict=True):
            if predictor.about.task == "classification":
                row = class_row(picture, output, predictor.about, top)
            else:
                stem = stems[picture.path]
                row = mask_row(picture, output, predictor.about, output_dir / stem)
            rows[picture.path] = row
    ordered = [rows[path] for path in files]
    write_text(output_dir / "predictions.csv", as_csv(ordered))
    return ordered


def resolve_model(model: str, results_dir: Path) -> Path:
    """Return the .keras file a user means: a path, or the name of a study.

    Raises:
        InputError: it is neither, or the study was not exported.
    """
    if Path(model).is_file():
        return Path(model)
    exported = [
        name
        for name in studies_in(results_dir)
        if (results_dir / name / "export" / "ensemble.keras").is_file()
    ]
    if model in exported:
        return results_dir / model / "export" / "ensemble.keras"
    if model in studies_in(results_dir):
        raise InputError(
            f"an exported model of {model}",
            f"no {results_dir / model / 'export' / 'ensemble.keras'}",
            f"Run `vision-tuner export {model}` first",
        )
    raise InputError(
        f"a .keras file or an exported study in {results_dir}/"
        f" ({', '.join(exported) or 'none yet'})",
        repr(model),
        "Check the path, or run `vision-tuner export NAME` first",
    )


def check_model_file(path: Path) -> None:
    """Raise InputError where a path cannot be a .keras model, before Keras starts."""
    if path.suffix != ".keras" or not path.is_file():
        raise InputError(
            "a .keras file",
            f"{path}" if path.exists() else f"{path}, which does not exist",
            "Check the path, or pass the name of an exported study",
        )
    described(path)


def described(path: Path) -> Description | None:
    """Return the description inside a model file.

    Raises:
        InputError: the file is not a .keras archive, or is damaged.
    """
    try:
        return read_description(path)
    except (OSError, ValueError, TypeError) as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> InputError:
    """Return the error of a model file that cannot be used."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"a whole .keras model in {path}", lines[0].rstrip("."), "Export it again"
    )


def load_predictor(path: Path) -> Predictor:
    """Load a model; where no description lies in it, read what its shapes say.

    Raises:
        InputError: Keras cannot load it, or it does not map images to probabilities.
    """
    load_keras()
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        # Keras raises whatever the damaged part caused.
        raise unusable(path, error) from error
    about = described(path) or guessed(model)
    if about is None:
        raise InputError(
            "a model of one (height, width, 3 or 1) image and class probabilities or"
            " one mask",
            f"{path} with input {model.input_shape} and output {model.output_shape}",
            "Use a model of `vision-tuner export`",
        )
    return Predictor(model, about)


def guessed(model: Any) -> Description | None:
    """Describe a model by its shapes alone: classes are numbers then."""
    source, result = model.input_shape, model.output_shape
    if not (isinstance(source, tuple) and isinstance(result, tuple)):
        return None
    if len(source) != 4 or None in source[1:] or source[3] not in (1, 3):
        return None
    if len(result) == 2:
        classes = max(2, result[1])
        names = [str(number) for number in range(classes)]
        return Description("classification", names, list(source[1:]))
    if len(result) == 4 and result[3] == 1:
        return Description(
            "segmentation", ["background", "foreground"], list(source[1:])
        )
    return None


def unreadable(files: Sequence[Path]) -> dict[Path, InputError]:
    """Read every image once and return the errors of those that cannot be."""
    errors = {}
    for path in files:
        try:
            read_image(path)
        except InputError as error:
            errors[path] = error
    return errors


def check_writable(folder: Path) -> None:
    """Raise InputError where no file can be made in `folder` (made if absent)."""
    try:
        write_text(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"a folder that can be written: {folder}",
            error.strerror or str(error),
            "Choose another output folder",
        ) from error


def batches(
    files: Sequence[Path], about: Description, batch_size: int
) -> Iterator[list[Picture]]:
    """Yield the images, `batch_size` at a time."""
    for start in range(0, len(files), batch_size):
        yield [open_picture(path, about) for path in files[start : start + batch_size]]


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
    mask = resized_probabilities(output, *picture.size) >= about.threshold
    small = resized_probabilities(output, *picture.panel.shape[:2]) >= about.threshold
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
    headings = ["foreground", "preview"] if is_masks else ["class", "probability"]
    table = Table(box=None, pad_edge=False)
    for heading in ("image", *headings):
        is_number = heading in ("foreground", "probability")
        table.add_column(heading, justify="right" if is_number else "left")
    for row in rows[:SHOWN_ROWS]:
        if "error" in row:
            cells = ["", f"skipped: {row['error']}"]
        elif is_masks:
            cells = [f"{row['foreground_fraction']:.1%}", Path(row["preview"]).name]
        else:
            cells = [row["class"], f"{row['probability']:.1%}"]
        table.add_row(*(escape(cell) for cell in (Path(row["path"]).name, *cells)))
    console.print(table)
    more = len(rows) - SHOWN_ROWS
    rest = f" ({more} more than here)" if more > 0 else ""
    console.print(
        f"written to {output_dir}/, predictions.csv lists all{rest}", highlight=False
    )
