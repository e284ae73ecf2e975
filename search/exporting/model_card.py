"""The README of an export folder: what the models are, how good, how to use them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypermodels import HYPERMODELS
from search.datasets import SOURCES
from search.exporting.usage import usage
from search.finalizing.finalists import Member
from search.records import Ensemble, Exported, Metrics
from search.studies import Study
from search.wording import shown

TASKS = {
    "classification": "image classification",
    "segmentation": "foreground/background segmentation",
}

MEANINGS = {
    "classification": "class probabilities, (images, classes)",
    "segmentation": (
        "the probability that a pixel is foreground, (images, height, width, 1);"
        " foreground is from {threshold:.2f} on for the ensemble, {single:.2f} for the"
        " single model"
    ),
}

OTHER_LICENCE = "The models keep the licence terms of the data they were trained on."
PRETRAINED_LICENCE = (
    " A part of the network began with pretrained weights ({weights}), whose terms (for"
    " ImageNet: non-commercial research) apply as well."
)

CARD = """\
# {name}

Task: {task}. Data: `{dataset}`. Architecture: `{hypermodel}`.

{models}

Members, weights, temperature and threshold were chosen on {validation_images}
validation images and sealed; then the {test_images} test images were read
({look}). {note}

## Scores

{scores}

In brackets: 95 % intervals, by bootstrap over test images. {difference}

## Files

Each was run in a fresh process without vision-tuner, on {images} validation images, and
compared with the trained networks: equal labels or mask pixels, largest difference of
a probability, and the median time of one image on the CPU of the machine that exported.

| file | size | agreement | largest difference | one image | sha256 |
| --- | --- | --- | --- | --- | --- |
{files}
{layers}
## Use

Input: RGB images, resized bilinearly, as float32, 0-255: (images, {shape}). Output:
{meaning}.

{usage}
All this for many images, and masks of their own size:

    vision-tuner predict {name} IMAGE...

## Knobs

{knobs}

## Made with

{environment}. Command: `{command}`.

## Licence

{licence}
"""


def model_card(
    study: Study,
    about: Mapping[str, Any],
    record: Ensemble,
    members: Mapping[str, Member],
    exported: Sequence[Exported],
) -> str:
    """Return the text that goes with the models: what they are and how to use them.

    Args:
        about: study.json.
        members: member id -> member, of everything on record.
    """
    sizes = about.get("data", {}).get("sizes", {})
    shape = about["data"]["image_shape"]
    return CARD.format(
        name=study.name,
        task=TASKS[study.task],
        dataset=study.dataset,
        hypermodel=study.hypermodel,
        models="\n".join(models_of(record)),
        validation_images=sizes.get("validation", "the"),
        test_images=sizes.get("test", ""),
        look="once" if record.look == 1 else f"look {record.look} at them",
        note=refit_note(record),
        scores=scores_table(record),
        difference=difference_of(study, record),
        images=max((item.images for item in exported), default=0),
        files="\n".join(file_row(item) for item in exported),
        layers="".join(map(layers_note, exported)),
        shape=", ".join(map(str, shape)),
        usage=usage(exported, shape, study.task, thresholds_of(record)),
        meaning=MEANINGS[study.task].format(
            threshold=record.threshold, single=record.best_single.threshold
        ),
        knobs="\n".join(knob_lines(record, members)),
        environment=environment_of(about),
        command=about.get("command", ""),
        licence=licence_of(study),
    )


def thresholds_of(record: Ensemble) -> dict[str, float]:
    """Return model -> the probability from which on a pixel is foreground."""
    return {
        "ensemble": record.threshold,
        "best_single": record.best_single.threshold,
        "student": float((record.student or {}).get("threshold", 0.5)),
    }


def models_of(record: Ensemble) -> list[str]:
    """Return a line a model."""
    members = ", ".join(
        f"{name} ({weight:.2f})"
        for name, weight in zip(record.members, record.weights, strict=True)
    )
    lines = [
        f"- `ensemble`: weighted average of {members}; temperature"
        f" {record.temperature:.3f}",
        f"- `best_single`: {record.best_single.member}, the best on validation;"
        f" temperature {record.best_single.temperature:.3f}",
    ]
    if record.student:
        lines.append(
            f"- `student`: {record.student['member_id']}, distilled from the ensemble;"
            f" temperature {record.student['temperature']:.3f}"
        )
    return lines


def refit_note(record: Ensemble) -> str:
    """Say on what the handed-over members were trained."""
    if not record.refit:
        return "The models were trained on the training split only."
    return (
        "The members were then trained anew on train + validation, for as many epochs"
        " as were best before; validation scores are of the networks before that."
    )


def scores_table(record: Ensemble) -> str:
    """Return metrics as rows and models as columns."""
    models: dict[str, tuple[Metrics, Metrics, Mapping[str, Any]]] = {
        "ensemble": bounded(record, "ensemble", record),
        "best single": bounded(record, "best_single", record.best_single),
    }
    if record.student:
        own = record.student
        models["student"] = (own["validation"], own["test"], own.get("intervals", {}))
    heads = [f"{name}, {split}" for name in models for split in ("validation", "test")]
    names = list(
        dict.fromkeys(
            key
            for validation, test, _ in models.values()
            for key in (*validation, *test)
        )
    )
    rows = [f"| metric | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for name in names:
        cells = []
        for validation, test, bounds in models.values():
            cells += [shown(validation.get(name))]
            cells += [shown(test.get(name)) + brackets(bounds.get(name))]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def bounded(
    record: Ensemble, model: str, scored: Any
) -> tuple[Metrics, Metrics, Mapping[str, Any]]:
    return scored.validation, scored.test, record.intervals.get(model, {})


def brackets(interval: Sequence[float] | None) -> str:
    """Return an interval in brackets."""
    return f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""


def difference_of(study: Study, record: Ensemble) -> str:
    """Say what the ensemble gains over the best single model."""
    metric = study.metric
    compared = record.intervals.get("difference", {}).get(metric)
    if not compared:
        return ""
    return (
        f"Ensemble minus best single, {metric}, on the same resamples:"
        f" {compared['value']:+.4f}{brackets(compared['interval'])}."
    )


def file_row(item: Exported) -> str:
    """Return one artefact as a row."""
    return (
        f"| `{Path(item.path).name}` | {item.bytes / 1e6:.2f} MB | {item.agreement:.3%}"
        f" | {item.max_abs_difference:.1e} | {item.latency_ms:.1f} ms"
        f" | `{item.sha256[:16]}…` |"
    )


def layers_note(item: Exported) -> str:
    """Say of a quantised file which layers are rounded; nothing of others."""
    about = item.quantisation
    if not about:
        return ""
    left = about["float_layers"]
    rounded = about["layers"] - len(left)
    return (
        f"\n`{Path(item.path).name}`: {rounded} of {about['layers']} layers have"
        f" {about['weight_bits']}-bit weights (convolutions also"
        f" {about['activation_bits']}-bit activations, by"
        f" {about['calibration_images']} training images)."
        + (f" Left float32: {', '.join(left)}." if left else "")
        + "\n"
    )


def knob_lines(record: Ensemble, members: Mapping[str, Member]) -> list[str]:
    """Return a line a configuration that is handed over."""
    used = dict.fromkeys([*record.members, record.best_single.member])
    return [
        f"- {name}: "
        + ", ".join(f"{knob} {value}" for knob, value in members[name].values.items())
        for name in used
        if name in members
    ]


def environment_of(about: Mapping[str, Any]) -> str:
    """Return versions, machine and commit in one line."""
    made = about.get("environment", {})
    parts = [f"Python {made.get('python')}", str(made.get("machine"))]
    parts += [made["device"]] if "device" in made else []
    parts += [f"{name} {number}" for name, number in made.get("packages", {}).items()]
    if made.get("commit"):
        parts.append(f"commit {made['commit']}")
    return ", ".join(parts)


def licence_of(study: Study) -> str:
    """Return what is known of the terms of data and pretrained weights."""
    named = SOURCES.get(study.dataset)
    text = named.terms if named else OTHER_LICENCE
    entry = HYPERMODELS.get(study.hypermodel)
    if entry is not None and entry.is_pretrained and study.weights != "none":
        text += PRETRAINED_LICENCE.format(weights=Path(study.weights).name)
    return text
