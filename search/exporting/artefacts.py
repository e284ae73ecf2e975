"""Exported files: written, run in their own runtime, compared, and only then installed.

Every artefact is written under a temporary name, run by `export_check.py` in a fresh
process that cannot import vision-tuner, on validation images, and compared with the
trained networks. Only one that has passed gets its name; one that fails is not left
behind, nor is an older file under its name. Where storage fails, nothing is known of
the model: what was there stays.
"""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.errors import StorageError
from search.exporting import export_check
from search.exporting.descriptions import Description, embed_description
from search.exporting.formats import FORMATS, Quantisation, check_backend, check_formats
from search.exporting.quantisation import Calibration
from search.files import (
    UNFINISHED,
    file_hash,
    put_in_place,
    read_json,
    sync_files,
    sync_folder,
    write_json,
)
from search.records import Exported
from search.scoring import evaluation
from search.training.failures import brief, is_storage, tells_of_storage

Array = NDArray[Any]

CHECK_SECONDS = 1800
# How often a quantised file that fails its check is written with more float32 layers.
ATTEMPTS = 3


OWN_LAYERS = (
    " (layers of your own can be exported as onnx, savedmodel or litert, which hold"
    " what they compute)"
)


class ExportError(RuntimeError):
    """An artefact could not be written, or does not do what the trained model does."""


@dataclass(frozen=True)
class Source:
    """A model to hand over.

    Attributes:
        model: plain Keras, from `search.exporting.inference_models`.
        reference: probabilities of the trained networks for the checked images.
    """

    model: Any
    reference: Array
    description: Description

    @property
    def kind(self) -> Literal["ensemble", "best_single", "student"]:
        name = self.description.model
        assert name in ("ensemble", "best_single", "student")
        return name  # type: ignore[return-value]


def write_exports(
    folder: Path,
    sources: Sequence[Source],
    images: Array,
    format_name: str,
    calibration_images: Array | None = None,
) -> tuple[list[Exported], list[str]]:
    """Write and check every source in a format; install those that pass.

    Args:
        folder: the export folder of a study.
        images: uint8 or float, RGB 0–255, those of the sources' references.
        calibration_images: others, that a quantiser learns from; default: the same.

    Returns:
        What was installed, and what is wrong with each artefact that was not: of those
        nothing is left in the folder.

    Raises:
        StorageError: the disk is full or fails.
    """
    check_formats([format_name])
    check_backend([format_name])
    folder.mkdir(parents=True, exist_ok=True)
    exported: list[Exported] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as name:
        work = Path(name)
        np.save(work / "images.npy", images)
        learned = images if calibration_images is None else calibration_images
        for answer in written_and_checked(sources, format_name, learned, work):
            target = folder / answer.name
            if isinstance(answer.outcome, Exported):
                sync_files(work / answer.name)
                put_in_place(work / answer.name, target)
                exported.append(answer.outcome)
            else:
                remove(target, work)
                failures.append(str(answer.outcome))
    sync_folder(folder)
    return exported, failures


class Checked(NamedTuple):
    """An artefact's name, and its record or what is wrong with it."""

    name: str
    outcome: Exported | ExportError


def written_and_checked(
    sources: Sequence[Source], format_name: str, learned: Array, work: Path
) -> list[Checked]:
    """Write all models in one format until each passes its check, or none is left.

    A quantised file that fails is written again with half the disagreement on the
    images it learns from, so with more of its layers in float32.
    """
    outcomes: dict[str, Exported | ExportError] = {}
    pending = list(sources)
    for goal in goals(format_name):
        outcomes |= attempted(pending, format_name, learned, goal, work)
        pending = [
            source
            for source in pending
            if isinstance(outcomes[artefact_name(source, format_name)], ExportError)
        ]
        if not pending:
            break
    return [Checked(name, outcome) for name, outcome in outcomes.items()]


def goals(format_name: str) -> list[float]:
    """Return what a writer aims at on the images it learns from, attempt by attempt."""
    limits = FORMATS[format_name]
    if not limits.is_quantised:
        return [1.0]
    least = max(limits.label_agreement, limits.pixel_agreement)
    return [1 - (1 - least) / 2**attempt for attempt in range(1, ATTEMPTS + 1)]


def attempted(
    sources: Sequence[Source],
    format_name: str,
    learned: Array,
    goal: float,
    work: Path,
) -> dict[str, Exported | ExportError]:
    """Write models in one format and compare them, run in a fresh process."""
    outcomes: dict[str, Exported | ExportError] = {}
    written: list[tuple[Source, Quantisation]] = []
    for source in sources:
        name = artefact_name(source, format_name)
        calibration = Calibration(learned, same_decisions(source.description), goal)
        try:
            written.append(
                (source, write_artefact(source, format_name, calibration, work))
            )
        except ExportError as error:
            outcomes[name] = error
    answers = run_check(work, format_name, [source for source, _ in written])
    for (source, quantisation), answer in zip(written, answers, strict=True):
        name = artefact_name(source, format_name)
        try:
            record = measured(source, format_name, work, answer)
            outcomes[name] = replace(record, quantisation=quantisation or {})
        except ExportError as error:
            outcomes[name] = error
    return outcomes


def same_decisions(about: Description) -> Callable[[Array, Array], float]:
    """Return what judges a quantised model: the fraction of equal labels or pixels."""
    return lambda reference, outputs: evaluation.agreement(
        about.task, reference, outputs, about.threshold
    )[1]


def remove(target: Path, work: Path) -> None:
    """Move what has a name out of the way; it goes with the working folder."""
    if target.exists():
        target.rename(work / f"old-{target.name}")


def artefact_name(source: Source, format_name: str) -> str:
    """Return the file or folder name of a model in a format."""
    return source.kind + FORMATS[format_name].suffix


def write_artefact(
    source: Source, format_name: str, calibration: Calibration, work: Path
) -> Quantisation:
    """Write one model into the working folder; return what became of its layers.

    Raises:
        ExportError: the exporter failed.
        StorageError: the disk is full or fails.
    """
    path = work / artefact_name(source, format_name)
    try:
        written = FORMATS[format_name].write(source.model, path, calibration)
        embed_description(path, source.description)
    except Exception as error:
        if is_storage(error):
            raise no_room(path, error) from error
        # Exporters fail with whatever their converter raised.
        raise ExportError(
            f"{path.name} could not be written: {brief(error)}"
        ) from error
    return written


def run_check(
    work: Path, format_name: str, sources: Sequence[Source]
) -> list[dict[str, Any]]:
    """Run the models of one format in a fresh process, as `export_check` describes.

    Returns:
        {"latency_ms"} or {"error"} for each; the outputs are left beside the models.
    """
    if not sources:
        return []
    answer_path = work / "answer.json"
    request = {
        "format": FORMATS[format_name].runtime,
        "images": str(work / "images.npy"),
        "answer": str(answer_path),
        "artefacts": [
            {
                "path": str(work / artefact_name(source, format_name)),
                "outputs": str(work / f"{source.kind}.npy"),
            }
            for source in sources
        ],
    }
    write_json(work / "request.json", request)
    command = [sys.executable, "-P", export_check.__file__, str(work / "request.json")]
    answer_path.unlink(missing_ok=True)
    failure = f"its check did not end in {CHECK_SECONDS} seconds"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
        failure = f"its check died: {process.stderr.strip()[-500:]}"
    if not answer_path.exists():
        return [{"error": failure}] * len(sources)
    answers: list[dict[str, Any]] = read_json(answer_path)
    return answers


def measured(
    source: Source, format_name: str, work: Path, answer: dict[str, Any]
) -> Exported:
    """Compare what an artefact answered in its check with the trained networks.

    Raises:
        ExportError: it did not run, or differs by more than its format may.
        StorageError: its outputs could not be kept.
    """
    limits, about = FORMATS[format_name], source.description
    artefact = work / artefact_name(source, format_name)
    if tells_of_storage(answer.get("error", "")):
        raise no_room(artefact, answer["error"])
    if "error" in answer:
        raise ExportError(
            f"{artefact.name} does not run without vision-tuner: {answer['error']}"
            + (OWN_LAYERS if "Could not locate class" in answer["error"] else "")
        )
    outputs = np.load(work / f"{source.kind}.npy", allow_pickle=False)
    difference, same = evaluation.agreement(
        about.task, source.reference, outputs, about.threshold
    )
    is_labels = about.task == "classification"
    least = limits.label_agreement if is_labels else limits.pixel_agreement
    if not (difference <= limits.max_abs_difference and same >= least):
        raise ExportError(
            f"{artefact.name} does not do what the trained model does: on"
            f" {len(outputs)} validation images the largest difference is"
            f" {difference:.2g} (at most {limits.max_abs_difference:g} allowed) and"
            f" {same:.2%} of the {'labels' if is_labels else 'mask pixels'} agree (at"
            f" least {least:.2%})"
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
        latency_ms=round(float(answer["latency_ms"]), 3),
        images=len(outputs),
        source=about.source,
    )


def size_and_hash(path: Path) -> tuple[int, str]:
    """Return the bytes and SHA-256 of a file.

    Of a folder: the hash of `sha256  relative/path` lines, sorted by path, as
    `sha256sum` prints them.
    """
    if path.is_file():
        return path.stat().st_size, file_hash(path)
    size, lines = 0, []
    for file_path in sorted(item for item in path.rglob("*") if item.is_file()):
        file_size, digest = size_and_hash(file_path)
        size += file_size
        lines.append(f"{digest}  {file_path.relative_to(path).as_posix()}\n")
    return size, hashlib.sha256("".join(lines).encode()).hexdigest()


def no_room(path: Path, error: object) -> StorageError:
    """Return what to say where the disk is at fault and not the model."""
    return StorageError(
        f"Cannot write or check {path.name}: {error}. Free space on the disk of the"
        " export folder; the same command goes on."
    )
