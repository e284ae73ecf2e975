"""The sections around the search: answer, data, finalists, ensemble, exports, test."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from search.records import Finalist
from search.reporting.blocks import (
    Block,
    Cell,
    Column,
    Pictures,
    Section,
    Table,
    Text,
    columns,
    count_cell,
    hash_cell,
    score_cell,
    time_cell,
    words,
)
from search.reporting.export_figures import exports_picture
from search.reporting.figures import finalists_picture
from search.reporting.final_sections import (
    calibration_blocks,
    library_blocks,
)
from search.reporting.records import StudyRecords
from search.wording import counted, values_text


def data_section(records: StudyRecords) -> Section:
    """Return the data set, its splits and their hashes."""
    data, study = records.about.get("data", {}), records.study
    names = data.get("class_names", [])
    shape = " × ".join(str(edge) for edge in data.get("image_shape", []))
    limit, available = study.limit_train, records.size("train")
    used = "All images of the training split were trained on."
    if limit is not None and (available is None or limit < available):
        verb = "was" if limit == 1 else "were"
        part = f"{counted(limit, 'image')} of the training split, drawn evenly,"
        used = f"{part} {verb} trained on."
    skipped = data.get("skipped", 0)
    text = f"{study.dataset}: images of {shape}. {used}" if shape else used
    if skipped:
        text += f" Left out: {counted(skipped, 'file')}, which could not be read."
    hashes = data.get("hashes", {})
    rows = [
        [words(split), count_cell(size), hash_cell(hashes.get(split, "–"))]
        for split, size in data.get("sizes", {}).items()
    ]
    heads = [Column("split"), Column("images", "number"), Column("sha256", "code")]
    caption = "The hashes begin so; study.json holds them whole."
    classes = f"{counted(len(names), 'class')}: {', '.join(names)}."
    blocks: list[Block] = [Text(text), Table(heads, rows, caption)]
    return Section("data", "Data and split", [*blocks, Text(classes, "note")])


def finalists_section(records: StudyRecords) -> Section | None:
    """Return the retrained configurations and why they were chosen."""
    if not records.finalists:
        return None
    rows = [finalist_row(finalist, records.metric) for finalist in records.finalists]
    metric = records.metric
    heads = columns(
        ["finalist"],
        [f"validation {metric}", f"test {metric}", "best epoch", "epochs", "parameters",
         "time"],
    )  # fmt: skip
    heads.append(Column("why chosen", "long"))
    blocks: list[Block] = [
        Text(
            f"{counted(len(records.finalists), 'training')} to at most"
            f" {records.study.epochs} epochs, the weights of the best validation epoch"
            " kept. A finalist that keeps its trial's seed continues that trial:"
            " its epochs and time include the trial's."
        ),
        Table(heads, rows),
        *seed_spread(records),
        configurations(records),
        Pictures([finalists_picture(records)]),
    ]
    return Section("finalists", "Finalists", blocks)


def finalist_row(finalist: Finalist, metric: str) -> list[Cell]:
    """Return one finalist as a row."""
    return [
        words(finalist.finalist_id),
        score_cell(finalist.validation.get(metric)),
        score_cell(finalist.test.get(metric)),
        count_cell(finalist.best_epoch),
        count_cell(finalist.epochs),
        count_cell(finalist.parameters),
        time_cell(finalist.seconds),
        words("; ".join(filter(None, (finalist.chosen_because, finalist.training)))),
    ]


def configurations(records: StudyRecords) -> Table:
    """Return the knob values of each configuration that was retrained."""
    values = {finalist.trial_id: finalist.values for finalist in records.finalists}
    rows = [[words(key), words(values_text(own))] for key, own in values.items()]
    return Table([Column("trial"), Column("values", "long")], rows)


def seed_spread(records: StudyRecords) -> list[Block]:
    """Return mean and deviation over seeds, where a configuration has several."""
    rows = []
    for trial_id in dict.fromkeys(f.trial_id for f in records.finalists):
        own = [f for f in records.finalists if f.trial_id == trial_id]
        cells = []
        for split in ("validation", "test"):
            scores = [getattr(finalist, split).get(records.metric) for finalist in own]
            known = [score for score in scores if score is not None]
            if len(known) < 2:
                break
            cells += [score_cell(mean(known)), score_cell(stdev(known))]
        if len(cells) == 4:
            rows.append([words(trial_id), count_cell(len(own)), *cells])
    if not rows:
        return []
    metric = records.metric
    heads = ["seeds", f"validation {metric}, mean", "deviation", f"test {metric}, mean"]
    caption = (
        "The same configuration trained from several seeds: what chance alone does."
    )
    return [Table(columns(["trial"], [*heads, "deviation"]), rows, caption)]


def ensemble_section(records: StudyRecords) -> Section | None:
    """Return members, weights and calibration of the ensemble."""
    ensemble = records.ensemble
    if ensemble is None:
        return None
    rows = [
        [words(member), Cell(f"{weight:.3f}", weight, fraction=weight)]
        for member, weight in zip(ensemble.members, ensemble.weights, strict=True)
    ]
    single = ensemble.best_single
    name = "Temperature, which divides the logits"
    fitted = [(name, ensemble.temperature, single.temperature)]
    if records.study.task == "segmentation":
        name = "Threshold, which makes a pixel foreground"
        fitted.append((name, ensemble.threshold, single.threshold))
    text = " ".join(
        f"{name}, fitted on validation: {whole:.3f} for the ensemble, {alone:.3f} for"
        f" the best single model ({single.member})."
        for name, whole, alone in fitted
    )
    left = len(records.finalists) - len(rows)
    rest = f" {counted(left, 'finalist')} got no weight." if left > 0 else ""
    caption = f"Share of each member in the averaged probabilities.{rest}"
    table = Table(columns(["member"], ["weight"]), rows, caption)
    library = library_blocks(ensemble, records.metric) or [table]
    blocks = [*library, Text(text), *calibration_blocks(ensemble)]
    return Section("ensemble", "Ensemble", blocks)


def exports_section(records: StudyRecords) -> Section | None:
    """Return the exported models and what their checks measured."""
    if not records.exports:
        return None
    rows = [
        [
            Cell(item.path),
            words(item.model.replace("_", " ")),
            words(item.format),
            Cell(f"{item.bytes / 1e6:.2f} MB", item.bytes),
            Cell(f"{item.agreement:.2%}", item.agreement),
            Cell(f"{item.max_abs_difference:.1e}", item.max_abs_difference),
            count_cell(item.images),
            Cell(f"{item.latency_ms:.1f} ms", item.latency_ms),
            hash_cell(item.sha256),
        ]
        for item in records.exports
    ]
    numbers = ["size", "agreement", "largest difference", "images", "one image"]
    heads = [Column("file", "code"), *columns(["model", "format"], numbers)]
    text = (
        "Each file was run in a fresh process on validation images and compared with"
        " the trained networks: equal labels or mask pixels (agreement), the largest"
        " difference of a probability, and the median time of one image."
    )
    table = Table([*heads, Column("sha256", "code")], rows)
    blocks: list[Block] = [Text(text), table]
    picture = exports_picture(records)
    blocks += [Pictures([picture])] if picture else []
    return Section("exports", "Exported models", blocks)


def test_section(records: StudyRecords) -> Section:
    """Return every look at the test set."""
    if not records.looks:
        text = "The test set has not been read. “finalize” reads it, once."
        return Section("test", "Looks at the test set", [Text(text)])
    rows = [
        [
            Cell(str(number), number),
            words(look["when"]),
            words(", ".join(look["asked"])),
            words(asked_for(look)),
            hash_cell(look.get("choices", "–")),
        ]
        for number, look in enumerate(records.looks, start=1)
    ]
    times = "once" if len(rows) == 1 else counted(len(rows), "time")
    text = f"The test set was read {times}, by finalize."
    if len(rows) > 1:
        text += " Later looks knew the outcome of the first: they are optimistic."
    heads = [
        Column("look", "number"),
        Column("when (UTC)"),
        Column("finalists", "long"),
        Column("options"),
        Column("choices sealed", "code"),
    ]
    return Section("test", "Looks at the test set", [Text(text), Table(heads, rows)])


def asked_for(look: Mapping[str, Any]) -> str:
    """Return the options of a look at the test set."""
    options = {key: value for key, value in look.get("options", {}).items() if value}
    words = [
        f"{key} {'+'.join(value)}" if isinstance(value, list) else key
        for key, value in options.items()
    ]
    return ", ".join([*words, *(["again"] if look.get("again") else [])]) or "–"
