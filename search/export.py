"""The verb `export`: hand over the ensemble and the best single model of a study."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from search.beginning.inputs import only_driver
from search.errors import InputError
from search.exporting.artefacts import ExportError, Source, artefact_name, write_exports
from search.exporting.descriptions import Description, read_description
from search.exporting.formats import FORMATS, check_backend, check_formats
from search.exporting.inference_models import ensemble_model
from search.exporting.manifest import ensemble_hash
from search.exporting.model_card import model_card
from search.files import remove_leftovers, write_text
from search.finalizing import ensemble
from search.finalizing.finalists import (
    exported_members,
    recorded_members,
    recorded_order,
)
from search.machine.backend import load_keras
from search.paths import StudyPaths
from search.records import (
    Ensemble,
    Exported,
    Finalist,
    read_ensemble,
    read_records,
    write_records,
)
from search.scoring import calibration
from search.studies import Study, open_study, read_study

Array = NDArray[Any]

CHECKED_IMAGES = 1000
# Training images an 8-bit model learns its ranges from, all classes among them.
CALIBRATION_IMAGES = 500


def export(
    paths: StudyPaths,
    *,
    formats: Sequence[str] = ("keras",),
    data_dir: Path | None = None,
    images: int = CHECKED_IMAGES,
    say: Callable[[str], object] = lambda text: None,
) -> list[Exported]:
    """Export the ensemble and the best single model of a study.

    Args:
        images: validation images each artefact is compared on, at most.
        say: told what is going on, a line at a time.

    Raises:
        InputError: unknown or not installed format, or finalize has not ended.
        ExportError: an artefact failed its check and was not kept; the others were.
    """
    check_formats(formats)
    finalized(paths)
    load_keras()
    check_backend(formats)
    exported: list[Exported] = []
    failures: list[str] = []
    tried: set[str] = set()
    with only_driver(paths):
        # Read while nothing else can write: a finalize may just have ended.
        study, record = finalized(paths)
        sources, pictures, learned = load_sources(
            paths, study, record, data_dir, images
        )
        remove_leftovers(paths.export)
        earlier = earlier_exports(paths)
        for name in dict.fromkeys(formats):
            say(
                f"writing {name}, to be run in a new process on"
                f" {len(pictures)} validation images"
            )
            made, wrong = write_exports(paths.export, sources, pictures, name, learned)
            exported += made
            failures += wrong
            tried |= {artefact_name(source, name) for source in sources}
            kept = [item for item in earlier if Path(item.path).name not in tried]
            # After each format: converters take minutes, and what is done is done.
            keep_records(paths, study, record, [*exported, *kept])
    if failures:
        raise ExportError(". ".join([*failures, "These files were not kept"]))
    return exported


def finalized(paths: StudyPaths) -> tuple[Study, Ensemble]:
    """Return a study and its ensemble.

    Raises:
        InputError: finalize has not ended.
    """
    study, record = open_study(paths), read_ensemble(paths.ensemble)
    if record is None:
        raise InputError(
            f"a finalized study, with {paths.ensemble}",
            "no such file",
            f"Run `vision-tuner finalize {paths.name}` first",
        )
    return study, record


def keep_records(
    paths: StudyPaths, study: Study, record: Ensemble, exported: Sequence[Exported]
) -> None:
    """Write the manifest and the model card; remove models that are not in them."""
    write_records(paths.manifest, exported)
    remove_unlisted(paths, exported)
    members = recorded_members(record, read_records(paths.finalists, Finalist))
    card = model_card(study, read_study(paths), record, members, exported)
    write_text(paths.export / "README.md", card)


def remove_unlisted(paths: StudyPaths, listed: Sequence[Exported]) -> None:
    """Remove models of another ensemble, which an earlier export has left."""
    names = {Path(item.path).name for item in listed}
    for kind in ("ensemble", "best_single", "student"):
        for suffix in (form.suffix for form in FORMATS.values()):
            path = paths.export / f"{kind}{suffix}"
            if path.name not in names and path.is_dir():
                shutil.rmtree(path)
            elif path.name not in names:
                path.unlink(missing_ok=True)


def load_sources(
    paths: StudyPaths,
    study: Study,
    record: Ensemble,
    data_dir: Path | None,
    images: int,
) -> tuple[list[Source], Array, Array]:
    """Return the models, validation images to check them on, and some of train."""
    import keras

    # As in the checks: newer GPUs round matrix products.
    with keras.device("cpu:0"):
        models, data = load_trained(paths, study, record, data_dir)
        pictures = spread(data.open("validation", study.task)[0], images)
        about = Description(
            study.task,
            list(data.class_names),
            [],
            study=study.name,
            source=ensemble_hash(paths),
        )
        learned, _ = data.open_train(
            study.task, max(CALIBRATION_IMAGES, len(data.class_names)), study.seed
        )
        return make_sources(record, models, pictures, about), pictures, learned


def load_trained(
    paths: StudyPaths, study: Study, record: Ensemble, data_dir: Path | None
) -> tuple[dict[str, Any], Any]:
    """Return member id -> trained network for all that is exported, and the data."""
    from search.beginning.inputs import prepared_data, refuse_other_data
    from search.beginning.study_checks import check_hypermodel
    from search.training.predictions import load_best

    check_hypermodel(study.hypermodel)
    data = prepared_data(study, data_dir)
    refuse_other_data(paths, data)
    wanted = exported_members(record, read_records(paths.finalists, Finalist))
    models = {
        key: load_best(recorded_order(study, paths, data.folder, member, record))
        for key, member in wanted.items()
    }
    return models, data


def spread(images: Array, count: int) -> Array:
    """Return at most `count` images, evenly spread, in memory."""
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round()
    return np.asarray(images[chosen.astype(int)])


def make_sources(
    record: Ensemble, models: dict[str, Any], images: Array, about: Description
) -> list[Source]:
    """Build the models, and what they must answer from the networks one by one.

    Args:
        about: the description they share.
    """
    outputs = {
        name: np.asarray(model.predict(images, batch_size=32, verbose=0))
        for name, model in models.items()
    }
    single, student = record.best_single, record.student
    weights = dict(zip(record.members, record.weights, strict=True))
    sources = [
        make_source(
            replace(about, model="ensemble", threshold=record.threshold),
            {name: models[name] for name in weights},
            list(weights.values()),
            record.temperature,
            outputs,
        ),
        make_source(
            replace(about, model="best_single", threshold=single.threshold),
            {single.member: models[single.member]},
            [1.0],
            single.temperature,
            outputs,
        ),
    ]
    if student is None:
        return sources
    key = student["member_id"]
    about = replace(about, model="student", threshold=student["threshold"])
    own = ({key: models[key]}, [1.0], student["temperature"], outputs)
    return [*sources, make_source(about, *own)]


def make_source(
    description: Description,
    members: dict[str, Any],
    weights: Sequence[float],
    temperature: float,
    outputs: dict[str, Array],
) -> Source:
    """Build one model, and its reference in NumPy from its members' outputs."""
    task = description.task
    reference = ensemble.average(outputs, dict(zip(members, weights, strict=True)))
    reference = calibration.scaled(task, reference, temperature)
    model = ensemble_model(list(members.values()), weights, temperature, task)
    shape = list(model.input_shape[1:])
    return Source(model, reference, replace(description, image_shape=shape))


def earlier_exports(paths: StudyPaths) -> list[Exported]:
    """Return what an earlier export of the same ensemble left, in any format.

    What was made from another ensemble is forgotten: the manifest lists only models
    that are this study's.
    """
    mark = ensemble_hash(paths)
    records = read_records(paths.manifest, Exported)
    return [
        replace(item, source=mark)
        for item in records
        if is_made_from(paths.folder / item.path, mark)
    ]


def is_made_from(path: Path, mark: str) -> bool:
    """Return whether a model was made from the ensemble with this hash."""
    if not path.exists():
        return False
    try:
        description = read_description(path)
    except ImportError:  # what reads this format is not installed; it is plain text
        return mark.encode() in path.read_bytes()
    except Exception:  # a damaged file: each runtime has its own error
        return False
    return description is not None and description.source == mark


def print_exports(
    paths: StudyPaths, exported: Sequence[Exported], console: Console
) -> None:
    """Print what was written and what its check measured."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file", no_wrap=True)
    for heading in ("size", "agreement", "largest difference", "one image"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in exported:
        table.add_row(
            Path(item.path).name,
            f"{item.bytes / 1e6:.2f} MB",
            f"{item.agreement:.2%}",
            f"{item.max_abs_difference:.1e}",
            f"{item.latency_ms:.1f} ms",
        )
    console.print(table)
    for item in exported:
        left = item.quantisation.get("float_layers")
        if left:
            console.print(
                f"{Path(item.path).name}: {len(left)} of"
                f" {item.quantisation['layers']} layers stay float32",
                highlight=False,
            )
    console.print(f"written to {paths.export}/, see README.md there", highlight=False)
