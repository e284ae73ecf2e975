"""Exported files: written, run in their own runtime, compared, and only then installed.

Every artefact is written under a temporary name, run by `export_check.py` in a fresh
process that cannot import vision-tuner, on validation images, and compared with the
trained networks. Only when all artefacts have passed do they get their names: one that
fails is not left behind, and the export that was there before stays.
"""

import hashlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search import evaluation, export_check
from search.errors import InputError
from search.files import read_json, sync_folder, write_json
from search.inference_models import Description, embed_description
from search.records import Exported

Array = NDArray[Any]

CHECK_SECONDS = 1800


class ExportError(RuntimeError):
    """An artefact could not be written, or does not do what the trained model does."""


@dataclass(frozen=True)
class Format:
    """How a model is written, and what its check must measure at the least.

    Attributes:
        suffix: of the file or folder, after the model's name.
        write: (model, path) -> None, to a path with that suffix.
        needs: modules that must be installed.
        max_abs_difference: largest allowed difference of a probability.
        label_agreement, pixel_agreement: smallest allowed fraction of equal labels,
            or of equal mask pixels.
    """

    suffix: str
    write: Callable[[Any, Path], object]
    needs: tuple[str, ...] = ()
    max_abs_difference: float = 1e-4
    label_agreement: float = 0.999
    pixel_agreement: float = 0.9999


def write_keras(model: Any, path: Path) -> None:
    """Write the .keras archive."""
    model.save(path)


def written_by_keras(name: str) -> Callable[[Any, Path], None]:
    """Return a writer that leaves the work to `keras.Model.export`."""

    def write(model: Any, path: Path) -> None:
        with warnings.catch_warnings():
            # Keras looks for np.object, which NumPy announces to come back.
            warnings.simplefilter("ignore", FutureWarning)
            model.export(path, format=name, verbose=False)

    return write


FORMATS = {
    "keras": Format(".keras", write_keras),
    "savedmodel": Format(
        "_savedmodel", written_by_keras("tf_saved_model"), ("tensorflow",)
    ),
    "onnx": Format(
        ".onnx", written_by_keras("onnx"), ("tensorflow", "tf2onnx", "onnxruntime")
    ),
    "litert": Format(
        ".tflite", written_by_keras("litert"), ("tensorflow", "ai_edge_litert")
    ),
}


@dataclass(frozen=True)
class Source:
    """A model to hand over.

    Attributes:
        model: plain Keras, from `search.inference_models`.
        reference: probabilities of the trained networks for the checked images.
    """

    model: Any
    reference: Array
    description: Description

    @property
    def kind(self) -> Literal["ensemble", "best_single"]:
        return "ensemble" if self.description.model == "ensemble" else "best_single"


def check_formats(formats: Sequence[str]) -> None:
    """Raise InputError for a format that is unknown or whose packages are absent."""
    for name in formats or ("",):
        if name not in FORMATS:
            raise InputError(
                f"formats among {', '.join(FORMATS)}", repr(name), "Change --format"
            )
        missing = [need for need in FORMATS[name].needs if not find_spec(need)]
        if missing:
            raise InputError(
                f"the packages that write and check {name}",
                f"no {', '.join(missing)}",
                "Install them: pip install 'vision-tuner[export]'",
            )


def check_backend(formats: Sequence[str]) -> None:
    """Raise InputError where a format needs Keras to run on TensorFlow."""
    import keras

    tied = [name for name in formats if "tensorflow" in FORMATS[name].needs]
    if tied and keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND=tensorflow, which Keras needs to write {', '.join(tied)}",
            f"KERAS_BACKEND={keras.backend.backend()}",
            "Set it for this command (the trained weights are the same)",
        )


def write_exports(
    folder: Path, sources: Sequence[Source], images: Array, formats: Sequence[str]
) -> list[Exported]:
    """Write, check and install every source in every format; all of them or none.

    Args:
        folder: the export folder of a study.
        images: uint8 or float, RGB 0–255, those of the sources' references.
    """
    check_formats(formats)
    check_backend(formats)
    folder.mkdir(parents=True, exist_ok=True)
    exported, moves = [], []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as name:
        work = Path(name)
        np.save(work / "images.npy", images)
        for format_name in dict.fromkeys(formats):
            for source in sources:
                write_artefact(source, format_name, work)
            latencies = run_check(work, format_name, sources)
            for source, latency in zip(sources, latencies, strict=True):
                artefact = work / artefact_name(source, format_name)
                record = measured(source, format_name, work, latency)
                exported.append(record)
                moves.append((artefact, folder / artefact.name))
        for artefact, target in moves:
            install(artefact, target, work)
    sync_folder(folder)
    return exported


def artefact_name(source: Source, format_name: str) -> str:
    """Return the file or folder name of a model in a format."""
    return source.kind + FORMATS[format_name].suffix


def write_artefact(source: Source, format_name: str, work: Path) -> None:
    """Write one model into the working folder.

    Raises:
        ExportError: the exporter failed.
    """
    path = work / artefact_name(source, format_name)
    try:
        FORMATS[format_name].write(source.model, path)
    except Exception as error:
        # Exporters fail with whatever their converter raised.
        raise ExportError(
            f"{path.name} could not be written: {first_line(error)}"
        ) from error
    if format_name == "keras":
        embed_description(path, source.description)


def run_check(work: Path, format_name: str, sources: Sequence[Source]) -> list[float]:
    """Run the models of one format in a fresh process; return milliseconds an image.

    Their outputs are left beside the models.

    Raises:
        ExportError: a model could not be loaded or run there.
    """
    request = {
        "format": format_name,
        "images": str(work / "images.npy"),
        "answer": str(work / "answer.json"),
        "artefacts": [
            {
                "path": str(work / artefact_name(source, format_name)),
                "outputs": str(work / f"{source.kind}.npy"),
            }
            for source in sources
        ],
    }
    write_json(work / "request.json", request)
    command = [sys.executable, "-I", export_check.__file__, str(work / "request.json")]
    (work / "answer.json").unlink(missing_ok=True)
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(
            f"The check of {format_name} did not end in {CHECK_SECONDS} seconds"
        ) from error
    if not (work / "answer.json").exists():
        end = process.stderr.strip()[-500:]
        raise ExportError(f"The check of {format_name} died: {end}")
    answer = read_json(work / "answer.json")
    if "error" in answer:
        raise ExportError(
            f"The {format_name} models do not run without vision-tuner:"
            f" {answer['error']}"
        )
    return [float(item["latency_ms"]) for item in answer]


def measured(
    source: Source, format_name: str, work: Path, latency_ms: float
) -> Exported:
    """Compare what an artefact answered in its check with the trained networks.

    Raises:
        ExportError: it differs by more than its format may.
    """
    limits, about = FORMATS[format_name], source.description
    outputs = np.load(work / f"{source.kind}.npy", allow_pickle=False)
    difference, same = evaluation.agreement(
        about.task, source.reference, outputs, about.threshold
    )
    is_labels = about.task == "classification"
    least = limits.label_agreement if is_labels else limits.pixel_agreement
    artefact = work / artefact_name(source, format_name)
    if not (difference <= limits.max_abs_difference and same >= least):
        raise ExportError(
            f"{artefact.name} does not do what the trained model does: on"
            f" {len(outputs)} validation images the largest difference is"
            f" {difference:.2g} (at most {limits.max_abs_difference:g} allowed) and"
            f" {same:.2%} of the {'labels' if is_labels else 'mask pixels'} agree (at"
            f" least {least:.2%}). Nothing was exported; what was there before stays"
        )
    size, digest = size_and_hash(artefact)
    return Exported(
        model=source.kind,
        format=format_name,
        path=f"export/{artefact.name}",
        bytes=size,
        sha256=digest,
        max_abs_difference=difference,
        agreement=same,
        latency_ms=round(latency_ms, 3),
        images=len(outputs),
    )


def size_and_hash(path: Path) -> tuple[int, str]:
    """Return the bytes and SHA-256 of a file.

    Of a folder: the hash of `sha256  relative/path` lines, sorted by path, as
    `sha256sum` prints them.
    """
    if path.is_file():
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    size, lines = 0, []
    for file_path in sorted(item for item in path.rglob("*") if item.is_file()):
        file_size, digest = size_and_hash(file_path)
        size += file_size
        lines.append(f"{digest}  {file_path.relative_to(path).as_posix()}\n")
    return size, hashlib.sha256("".join(lines).encode()).hexdigest()


def install(artefact: Path, target: Path, work: Path) -> None:
    """Give a checked artefact its name; an old folder is moved out of the way."""
    if target.is_dir():
        target.rename(work / f"old-{target.name}")
    artefact.rename(target)


def first_line(error: Exception) -> str:
    """Return what kind of error it is and its first line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
