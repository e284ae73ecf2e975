"""The README of an export folder: what the models are, how good, how to use them."""

from collections.abc import Sequence
from pathlib import Path

from search.records import Ensemble, Exported, Metrics
from search.studies import Study

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

CARD = """\
# {name}

Task: {task}. Data: `{dataset}`. Architecture: `{hypermodel}`.

- `ensemble`: weighted average of {members}
- `best_single`: {single}, the finalist that is best on validation

Members, weights, temperature and threshold were chosen on validation data; the test
set was scored afterwards.

| | {header} |
|{rule}
{table}

## Files

Each was run in a fresh process without vision-tuner, on validation images, and compared
with the trained networks: equal labels or mask pixels, largest difference of a
probability, and the median time of one image on the CPU of the machine that exported.

| file | size | agreement | largest difference | images | one image |
| --- | --- | --- | --- | --- | --- |
{files}

## Use

Input: RGB images as float32, 0-255, in the size of the model's input. Output:
{meaning}.

    import keras
    model = keras.models.load_model("ensemble.keras")  # needs nothing but Keras
    probabilities = model.predict(images)

`vision_tuner.json` inside the .keras archive (a zip file) names the classes, or

    vision-tuner predict {name} IMAGE...

The models keep the licence terms of the data they were trained on.
"""


def model_card(study: Study, record: Ensemble, exported: Sequence[Exported]) -> str:
    """Return the text that goes with the models: what they are and how to use them."""
    rows = [
        f"| `{Path(item.path).name}` | {item.bytes / 1e6:.2f} MB | {item.agreement:.2%}"
        f" | {item.max_abs_difference:.1e} | {item.images} | {item.latency_ms:.1f} ms |"
        for item in exported
    ]
    single = record.best_single
    sets: dict[str, Metrics] = {
        "ensemble, validation": record.validation,
        "ensemble, test": record.test,
        "best single, validation": single.validation,
        "best single, test": single.test,
    }
    names = list(dict.fromkeys(name for values in sets.values() for name in values))
    table = [
        f"| {title} | " + " | ".join(shown(values.get(name)) for name in names) + " |"
        for title, values in sets.items()
    ]
    members = ", ".join(
        f"{name} ({weight:.2f})"
        for name, weight in zip(record.members, record.weights, strict=True)
    )
    return CARD.format(
        name=study.name,
        task=TASKS[study.task],
        dataset=study.dataset,
        hypermodel=study.hypermodel,
        members=members,
        single=single.member,
        header=" | ".join(names),
        rule=" --- |" * (len(names) + 1),
        table="\n".join(table),
        files="\n".join(rows),
        meaning=MEANINGS[study.task].format(
            threshold=record.threshold, single=single.threshold
        ),
    )


def shown(value: float | None) -> str:
    """Return a metric as the card prints it."""
    return "-" if value is None else f"{value:.4f}"
