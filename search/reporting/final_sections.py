"""What finalize measured beside the scores: intervals, calibration, TTA, errors."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from search.records import Ensemble, Metrics
from search.reporting.blocks import (
    Block,
    Cell,
    Column,
    Image,
    Pictures,
    Section,
    Table,
    Text,
    columns,
    count_cell,
    score_cell,
    words,
)
from search.reporting.error_figures import (
    classes_picture,
    confusion_picture,
    reliability_picture,
)
from search.reporting.records import StudyRecords
from search.wording import counted, shown

LOWER_IS_BETTER = ("nll", "brier", "ece", "loss")
# Metrics of all pixels painted alike: the same for every model.
WITHOUT_NETWORK = re.compile("all_(?P<as>foreground|background)_(?P<metric>.+)")
# Times its even share, from which the most frequent class is worth a word.
UNEVEN = 1.2
MARK = "↓ lower is better; the others: higher is better."
PAIRS_SHOWN = 10
CLASSES_SHOWN = 10


def marked(metric: str) -> str:
    """Return a metric's name, marked where lower is better."""
    return f"{metric} ↓" if metric in LOWER_IS_BETTER else metric


def bounds(interval: Sequence[float] | None, sign: str = "") -> str:
    """Return an interval in brackets, or nothing."""
    return f" [{interval[0]:{sign}.4f}, {interval[1]:{sign}.4f}]" if interval else ""


def bounded_cell(value: float | None, interval: Sequence[float] | None) -> Cell:
    """Return a score with its interval."""
    return Cell(shown(value) + bounds(interval), value)


def scores_table(ensemble: Ensemble) -> Table:
    """Return a row a metric: both models on validation and test, their difference."""
    single, intervals = ensemble.best_single, ensemble.intervals
    names = dict.fromkeys([*ensemble.validation, *ensemble.test])
    rows = []
    for name in names:
        if WITHOUT_NETWORK.search(name):
            continue
        difference = intervals.get("difference", {}).get(name)
        cells = [words(marked(name))]
        for model, scored in (("ensemble", ensemble), ("best_single", single)):
            test = scored.test.get(name)
            cells.append(score_cell(scored.validation.get(name)))
            cells.append(bounded_cell(test, intervals.get(model, {}).get(name)))
        if difference:
            value, interval = difference["value"], difference["interval"]
            cells.append(Cell(f"{value:+.4f}" + bounds(interval, "+"), value))
        elif intervals:
            cells.append(words("–"))
        rows.append(cells)
    heads = [f"{m}, {s}" for m in ("ensemble", "best single") for s in ("val.", "test")]
    heads += ["ensemble − single"] if intervals else []
    caption = MARK
    if intervals:
        caption += (
            f" In brackets: {intervals['level']:.0%} intervals from"
            f" {intervals['resamples']:,} bootstrap resamples of the test images, the"
            " same for both models."
        )
    return Table(columns(["metric"], heads), rows, caption)


def without_network(ensemble: Ensemble, errors: Mapping[str, Any]) -> str:
    """Return what the same answer to every image or pixel would score.

    Nothing where classes are about as frequent as each other.
    """
    if "confusion" in errors:
        images = [sum(row) for row in errors["confusion"]["counts"]]
        most, share = max(images), max(images) / max(1, sum(images))
        name = errors["confusion"]["classes"][images.index(most)]
        if share < UNEVEN / len(images):
            return ""
        return f"Without a network, on test: always {name}, accuracy {share:.4f}."
    scores: dict[str, list[str]] = {}
    for name, value in ensemble.test.items():
        painted = WITHOUT_NETWORK.match(name)
        if painted:
            metric = f"{painted['metric'].replace('_', ' ')} {shown(value)}"
            scores.setdefault(painted["as"], []).append(metric)
    told = [f"all pixels {w}, {' and '.join(each)}" for w, each in scores.items()]
    return f"Without a network, on test: {'; '.join(told)}." if told else ""


def calibration_blocks(ensemble: Ensemble) -> list[Block]:
    """Return NLL, Brier score and calibration error without and with temperature."""
    rows = []
    for model, splits in ensemble.calibration.items():
        for split, both in splits.items():
            cells = [words(f"{model.replace('_', ' ')}, {split}")]
            for metric in both["before"]:
                cells += [score_cell(both[when].get(metric)) for when in both]
            rows.append(cells)
    if not rows:
        return []
    metrics = next(iter(next(iter(ensemble.calibration.values())).values()))["before"]
    heads = [f"{metric} {when}" for metric in metrics for when in ("before", "after")]
    caption = "Calibration without (before) and with (after) the temperature; all ↓."
    return [Table(columns(["model"], heads), rows, caption)]


def library_blocks(ensemble: Ensemble, metric: str) -> list[Block]:
    """Return everything the ensemble could be chosen from."""
    rows = [
        [
            words(entry["member_id"]),
            words("retrained" if entry["kind"] == "finalist" else "the search's own"),
            count_cell(entry["epoch"]),
            score_cell(entry["score"]),
            Cell(f"{entry['weight']:.3f}", entry["weight"], fraction=entry["weight"]),
        ]
        for entry in ensemble.library
    ]
    if not rows:
        return []
    how = ensemble.selection
    candidates = counted(how.get("candidates", len(rows)), "network")
    bags = f"{counted(how['bags'], 'bag')}, " if "bags" in how else ""
    text = (
        f"Chosen from {candidates} by {how.get('method')} selection"
        f" ({bags}seed {how.get('seed')})."
    )
    heads = columns(["member", "kind"], ["epoch", f"validation {metric}", "weight"])
    return [Text(text), Table(heads, rows)]


def extras_section(records: StudyRecords) -> Section | None:
    """Return test-time augmentation, student, refit and copies, where there are any."""
    ensemble = records.ensemble
    if ensemble is None:
        return None
    metric = records.metric
    rows: list[tuple[str, Metrics, Metrics]] = [
        ("ensemble", ensemble.validation, ensemble.test)
    ]
    blocks: list[Block] = []
    if ensemble.tta:
        kinds = " + ".join(ensemble.tta["kinds"])
        for model in ("ensemble", "best_single"):
            own = ensemble.tta[model]
            name = f"{model.replace('_', ' ')} with {kinds}"
            rows.append((name, own["validation"], own["test"]))
        blocks.append(Text(tta_text(ensemble.tta, metric)))
    if ensemble.student:
        own = ensemble.student
        rows.append(("student", own["validation"], own["test"]))
        text = f"The student {own['member_id']} was trained {own['training']}."
        blocks.append(Text(text))
    if ensemble.refit:
        before = ensemble.refit["test_before"]["ensemble"]
        rows.append(("ensemble before train + validation", {}, before))
        blocks.append(
            Text(
                "The members were trained anew on train + validation, for the number of"
                " epochs that was best before."
            )
        )
    clean = ensemble.leaks.get("test_without_copies")
    if clean:
        rows.append(("ensemble, without copies", {}, clean["ensemble"]))
    blocks += leak_blocks(ensemble.leaks)
    if len(rows) > 1:
        blocks.append(extras_table(rows, metric))
    return Section("extras", "Beside the ensemble", blocks) if blocks else None


def extras_table(rows: Sequence[tuple[str, Metrics, Metrics]], metric: str) -> Table:
    """Return the objective and the calibration of every variant."""
    names = list(dict.fromkeys([metric, "nll", "ece"]))
    heads = [
        f"{split} {marked(name)}" for name in names for split in ("validation", "test")
    ]
    cells = [
        [words(what)]
        + [score_cell(split.get(n)) for n in names for split in (validation, test)]
        for what, validation, test in rows
    ]
    return Table(columns(["model"], heads), cells)


def tta_text(tta: Mapping[str, Any], metric: str) -> str:
    """Say what test-time augmentation changes."""
    kinds = " and ".join(tta["kinds"])
    compared = tta.get("difference", {}).get(metric)
    text = f"Test-time augmentation ({kinds}) averages over changed views of an image"
    if not compared:
        return f"{text}."
    return (
        f"{text}: test {metric} of the ensemble {compared['value']:+.4f}"
        f"{bounds(compared['interval'], '+')}. The exported models do not do it."
    )


def leak_blocks(leaks: Mapping[str, Any]) -> list[Block]:
    """Say how many test images were also trained on."""
    if not leaks:
        return []
    copies, near = leaks["copies"], leaks["near_copies"]
    text = (
        f"{counted(copies, 'test image')} {'has' if copies == 1 else 'have'} the same"
        f" pixels as an image of train or validation, {near:,}"
        f" {'looks' if near == 1 else 'look'} like one (copies included)."
    )
    return [Text(text, "note")]


def errors_section(records: StudyRecords) -> Section | None:
    """Return telling images, reliability, and which classes are taken for which."""
    ensemble = records.ensemble
    if ensemble is None:
        return None
    blocks: list[Block] = [*gallery_blocks(records)]
    reliability, matrix = reliability_picture(records), confusion_picture(records)
    blocks += [Pictures([p]) for p in (reliability, matrix) if p is not None]
    if ensemble.classes:
        blocks += class_blocks(ensemble)
    return Section("errors", "Errors", blocks) if blocks else None


def gallery_blocks(records: StudyRecords) -> list[Block]:
    """Return the test images that tell most of how the ensemble errs."""
    is_blank = records.errors.get("gallery") == []  # as it was once written
    if records.gallery is None or is_blank:
        return []
    title = "The most confident mistakes"
    caption = (
        "Test images of which the ensemble is surest and wrong: what it says, how sure"
        " it is, and what is true."
    )
    if records.study.task == "segmentation":
        title = "Worst, median and best masks"
        caption = (
            "Test images by Dice of the ensemble's mask; void pixels count nowhere and"
            " images without foreground are left out."
        )
    return [Image(records.gallery, records.gallery.name, title, caption)]


def class_blocks(ensemble: Ensemble) -> list[Block]:
    """Return the accuracy of every class and the pairs most often confused."""
    known = [row for row in ensemble.classes if row["ensemble"] is not None]
    hardest = sorted(known, key=lambda row: row["ensemble"])[:CLASSES_SHOWN]
    rows = [
        [
            words(row["class"]),
            count_cell(row["images"]),
            score_cell(row["ensemble"]),
            score_cell(row["best_single"]),
        ]
        for row in hardest
    ]
    heads = columns(["class"], ["images", "ensemble", "best single"])
    of_all = counted(len(known), "class")
    caption = f"Test accuracy of the {len(rows)} hardest of {of_all}."
    if len(rows) == len(known):
        caption = f"Test accuracy of {of_all}, the hardest first."
    pairs = [
        [words(row["true"]), words(row["predicted"]), count_cell(row["images"])]
        for row in ensemble.confusions[:PAIRS_SHOWN]
    ]
    blocks: list[Block] = [Table(heads, rows, caption)]
    if pairs:
        titles = [Column("true"), Column("predicted"), Column("test images", "number")]
        blocks.append(Table(titles, pairs, "The ensemble's most frequent errors."))
    if len(known) > 1:
        blocks.append(Pictures([classes_picture(known)]))
    return blocks
