"""What verbs leave for each other: frozen dataclasses, written whole as JSON.

A number that is not finite is `null` on disk and `None` here, so that the files stay
JSON that every parser reads.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from search.errors import InputError
from search.files import read_json, write_json

State = Literal["WAITING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "INFEASIBLE"]
Task = Literal["classification", "segmentation"]
Direction = Literal["max", "min"]
# What predictions are judged by, better the larger; the first where none is asked for.
JUDGED: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "top5_accuracy"),
    "segmentation": ("dice", "foreground_iou", "pixel_accuracy"),
}
Value = bool | int | float | str
Values = dict[str, Value]
Metrics = dict[str, float | None]
History = dict[str, list[float | None]]


@dataclass(frozen=True)
class Trial:
    """One set of knob values, over its whole life (all rungs).

    Attributes:
        trial_id: name of its folder in work/ and tensorboard_logs/.
        score: best value of the objective on validation so far, or None.
        best_epoch: the epoch of `score`, counted from 1.
        epochs: epochs trained so far.
        seconds: time spent training and validating.
        parameters: all weights of the network, trainable or not.
        values: knob -> value, active knobs only.
        message: why it failed, or why it stopped early.
        failure: the kind of failure, where there is one.
        history: metric -> value per epoch.
        measured: what was measured of the network: `flops` (one image forward) and,
            where it is an objective, `latency_ms` (one image forward, median, beside
            what else was running).
        seed: of weights, data order, augmentation and dropout.
        notes: what went wrong on the way and was mended: a worker replaced, a batch
            halved, a damaged checkpoint.
    """

    trial_id: str
    state: State = "WAITING"
    score: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    parameters: int | None = None
    values: Values = field(default_factory=dict)
    message: str | None = None
    failure: str | None = None
    history: History = field(default_factory=dict)
    seed: int = 0
    notes: list[str] = field(default_factory=list)
    measured: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Finalist:
    """A retrained configuration and seed.

    Attributes:
        finalist_id: name of its folder in work/finalists/.
        epochs: epochs trained; the weights kept are those of `best_epoch`.
        validation: metric -> value.
        test: the same; empty until every choice is made.
        chosen_because: why this configuration was taken.
        training: how far its trial was continued, or that it began anew.
        notes: what went wrong on the way and was mended, as of trials.
    """

    finalist_id: str
    trial_id: str
    seed: int
    values: Values
    epochs: int
    best_epoch: int
    validation: Metrics
    test: Metrics
    parameters: int
    seconds: float
    history: History
    chosen_because: str
    training: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BestSingle:
    """The model that is best on validation: what the ensemble is compared with."""

    member: str
    temperature: float
    validation: Metrics
    test: Metrics
    threshold: float = 0.5


@dataclass(frozen=True)
class Ensemble:
    """A weighted average of finalists and of the search's own best, by validation.

    Attributes:
        members: member ids; `weights` are theirs and sum to 1.
        temperature: of the averaged probabilities, fitted on validation.
        threshold: a pixel is foreground from this probability on (segmentation).
        look: how often the test set has been read, this time included.
        selection: {"method", "bags", "seed"} of the choice of members.
        library: what could be chosen: {"member_id", "kind", "trial_id", "seed",
            "values", "epoch", "score", "weight"}; kind `finalist` or `trial` (the
            search's own checkpoint).
        calibration: model -> split -> {"before", "after"}: metrics without and with
            the temperature.
        intervals: of test metrics, from `search.scoring.intervals`; with `mcnemar` for
            classification.
        tta: test-time augmentation: {"kinds", "ensemble", "best_single"}, each model
            with its temperature, threshold and metrics; empty where not asked for.
        classes: of the test set: {"class", "images", "ensemble", "best_single"},
            accuracies (classification).
        confusions: most frequent errors: {"true", "predicted", "images"}.
        student: the distilled network; None where not asked for.
        refit: {"epochs": member -> epochs on train + validation, "test_before"}.
        leaks: {"copies", "near_copies", "test_without_copies"}.
    """

    members: list[str]
    weights: list[float]
    temperature: float
    threshold: float
    validation: Metrics
    test: Metrics
    best_single: BestSingle
    look: int = 1
    selection: dict[str, Any] = field(default_factory=dict)
    library: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, dict[str, dict[str, Metrics]]] = field(default_factory=dict)
    intervals: dict[str, Any] = field(default_factory=dict)
    tta: dict[str, Any] = field(default_factory=dict)
    classes: list[dict[str, Any]] = field(default_factory=list)
    confusions: list[dict[str, Any]] = field(default_factory=list)
    student: dict[str, Any] | None = None
    refit: dict[str, Any] = field(default_factory=dict)
    leaks: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """One exported artefact and what its check measured.

    Attributes:
        path: relative to the study's folder.
        bytes: size of the artefact.
        max_abs_difference: largest difference of a probability from the trained model.
        agreement: fraction of labels (or mask pixels) that are the same.
        latency_ms: of one image, median.
        images: validation images compared.
        quantisation: of 8-bit files: {"weight_bits", "activation_bits", "layers" (with
            weights), "float_layers" (left float32), "calibration_images"}.
        source: hash of the ensemble.json it was made from; "" = unknown.
    """

    model: Literal["ensemble", "best_single", "student"]
    format: str
    path: str
    bytes: int
    sha256: str
    max_abs_difference: float
    agreement: float
    latency_ms: float
    images: int
    quantisation: dict[str, Any] = field(default_factory=dict)
    source: str = ""


Record = TypeVar("Record", Trial, Finalist, Ensemble, Exported)


def finite(value: float) -> float | None:
    """Return `value`, or None where it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def best_epoch_of(history: History, objective: str, direction: Direction) -> int | None:
    """Return the epoch (from 1) with the best `objective`, the first of equals.

    Epochs whose value is not finite are passed over; None where there is no other.
    """
    sign = 1 if direction == "max" else -1
    scores = [
        (sign * value, -epoch)
        for epoch, value in enumerate(history.get(objective, ()), start=1)
        if value is not None
    ]
    return -max(scores)[1] if scores else None


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write a list of records."""
    write_json(path, [dataclasses.asdict(record) for record in records])


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read a list of records of one kind; an absent file is an empty list."""
    if not path.exists():
        return []
    with of_this_version(path):
        return [kind(**item) for item in read_json(path)]


def write_ensemble(path: Path, ensemble: Ensemble) -> None:
    """Write the one ensemble of a study."""
    write_json(path, dataclasses.asdict(ensemble))


def read_ensemble(path: Path) -> Ensemble | None:
    """Read the ensemble of a study, or None where finalize has not ended."""
    if not path.exists():
        return None
    with of_this_version(path):
        item = read_json(path)
        single = BestSingle(**item["best_single"])
        return Ensemble(**item | {"best_single": single})


@contextmanager
def of_this_version(path: Path) -> Iterator[None]:
    """Raise InputError where records are made of JSON of another version."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        missing = isinstance(error, KeyError)
        raise InputError(
            f"records of this version in {path}",
            f"no {error}" if missing else str(error).split("() ")[-1],
            "Use the version that wrote the file, or run the search under another"
            " --name",
        ) from error


def ranked(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """Return the trials that have a score and have not failed, best first.

    Ties by trial id. What a failed one had reached is no result of its configuration.
    """
    return leading(trials, direction, len(trials))


def leading(trials: Sequence[Trial], direction: Direction, count: int) -> list[Trial]:
    """Return the first of `ranked`, without sorting all of them."""
    sign = -1 if direction == "max" else 1
    scored = [t for t in trials if t.score is not None and t.state != "FAILED"]
    return heapq.nsmallest(
        count, scored, key=lambda trial: (sign * (trial.score or 0), trial.trial_id)
    )
