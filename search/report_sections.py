"""The sections around the search: answer, data, finalists, ensemble, exports, test."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from search.live import duration, shown, values_text
from search.records import Finalist, Metrics
from search.report_blocks import (
    Block,
    Cell,
    Column,
    Pictures,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    columns,
    count_cell,
    hash_cell,
    score_cell,
    time_cell,
    words,
)
from search.report_figures import finalists_picture
from search.report_final_sections import (
    calibration_blocks,
    library_blocks,
    scores_table,
)
from search.report_records import StudyRecords
from search.report_statistics import wilson_interval


def answer_section(records: StudyRecords) -> Section:
    """Return what came out, in words, then in numbers."""
    blocks: list[Block] = [Text(answer(records), "lead"), Tiles(answer_tiles(records))]
    ensemble = records.ensemble
    if ensemble is not None:
        blocks += [scores_table(ensemble), Text(caveat(records), "note")]
    return Section("answer", "The answer", blocks)


def answer(records: StudyRecords) -> str:
    """Return the result in one or two sentences."""
    metric, ensemble = records.metric, records.ensemble
    if ensemble is not None:
        single = ensemble.best_single
        return (
            f"The ensemble of {counted(len(ensemble.members), 'network')} reaches a"
            f" test {metric} of {with_interval(records, 'ensemble', ensemble.test)}."
            f" The best single model, {single.member}, reaches"
            f" {with_interval(records, 'best_single', single.test)}."
        )
    if records.best:
        best = records.best[0]
        return (
            f"The best of {counted(len(records.trials), 'trial')} so far is trial"
            f" {best.trial_id}: {records.objective} {shown(best.score)} in epoch"
            f" {best.best_epoch}. It was chosen by this very number, which is therefore"
            " optimistic; the test set has not been read."
        )
    if not records.trials:
        made = len(records.comparisons) + len(records.ablations)
        found = f" {counted(made, 'comparison')} below." if made else ""
        return f"No search yet: no trial was begun.{found}"
    return f"No result yet: {counted(len(records.trials), 'trial')}, none with a score."


def with_interval(records: StudyRecords, model: str, test: Metrics) -> str:
    """Return a test score with its interval: as recorded, else Wilson's of an accuracy.

    Args:
        model: `ensemble` or `best_single`.
    """
    metric, n = records.metric, records.size("test")
    value = test.get(metric)
    recorded = records.ensemble.intervals if records.ensemble else {}
    interval = recorded.get(model, {}).get(metric)
    if interval is None and value is not None and metric == "accuracy" and n:
        interval = wilson_interval(value, n)
    images = f"n = {n:,} images" if n else ""
    if interval is None:
        return shown(value) + (f" ({images})" if images else "")
    low, high = interval
    parts = [f"95 % interval {low:.4f} to {high:.4f}", images]
    return f"{shown(value)} ({', '.join(filter(None, parts))})"


def caveat(records: StudyRecords) -> str:
    """Return what the numbers of the answer do not say."""
    text = (
        "Members, weights, temperature and threshold were chosen on validation, so"
        " validation numbers are optimistic; the test set was scored afterwards."
    )
    if records.ensemble is not None and records.ensemble.intervals:
        text += (
            " Intervals tell the chance in drawing the test images, not that of"
            " training."
        )
    elif records.metric == "accuracy":
        text += (
            " Intervals (Wilson) tell the chance in drawing the test images, not that"
            " of training; both models saw the same images, so their difference is more"
            " certain than the intervals suggest."
        )
    return text


def answer_tiles(records: StudyRecords) -> list[Tile]:
    """Return the result and what it cost."""
    tiles, metric = [], records.metric
    if records.ensemble is not None:
        whole, single = records.ensemble, records.ensemble.best_single
        members = counted(len(whole.members), "member")
        scores = (shown(whole.test.get(metric)), shown(single.test.get(metric)))
        tiles = [
            Tile(f"test {metric}, ensemble", scores[0], members),
            Tile(f"test {metric}, best single", scores[1], single.member),
        ]
    elif records.best:
        best = records.best[0]
        tiles = [Tile(records.objective, shown(best.score), f"trial {best.trial_id}")]
    failed = len(records.failures)
    tried = len(records.trials) - len(records.infeasible)
    share = f"{failed / tried:.0%} of those trained" if failed else ""
    most = f"at most {records.study.epochs} a trial"
    return [
        *tiles,
        Tile("trials", f"{tried:,}", f"{len(records.best)} with a score"),
        Tile("epochs of the search", f"{records.epochs:,}", most),
        Tile("training time", duration(records.seconds), "of all trials, added up"),
        Tile("failures", str(failed), share),
    ]


def counted(number: int, noun: str) -> str:
    """Return `1 trial`, `3 trials` or `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def data_section(records: StudyRecords) -> Section:
    """Return the data set, its splits and their hashes."""
    data, study = records.about.get("data", {}), records.study
    names = data.get("class_names", [])
    shape = " × ".join(str(edge) for edge in data.get("image_shape", []))
    part = f"{study.limit_train:,} images" if study.limit_train else "All images"
    drawn = ", drawn evenly," if study.limit_train else ""
    used = f"{part} of the training split{drawn} were trained on."
    skipped = data.get("skipped", 0)
    text = f"{study.dataset}: images of {shape}. {used}" if shape else used
    if skipped:
        text += f" {counted(skipped, 'file')} could not be read and were left out."
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
    return Section("exports", "Exported models", [Text(text), table])


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
    times = counted(len(rows), "time")
    text = f"The test set was read {times.replace('1 time', 'once')}, by finalize."
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
