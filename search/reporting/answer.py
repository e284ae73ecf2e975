"""The first section of a report: the question, the answer, and what it cost."""

from collections.abc import Sequence

from search.records import Metrics
from search.reporting.blocks import (
    Block,
    Points,
    Section,
    Text,
    Tile,
    Tiles,
)
from search.reporting.comparisons import origin_of
from search.reporting.figures import listed
from search.reporting.final_sections import scores_table, without_network
from search.reporting.records import StudyRecords
from search.reporting.statistics import wilson_interval
from search.reporting.trainings import failed_candidates, trainings_of
from search.scoring.pareto import front, objectives_of
from search.wording import counted, duration, shown


def answer_section(records: StudyRecords) -> Section:
    """Return the question, the answer in words, and then in numbers."""
    verdicts = [text for c in records.comparisons.values() for text in c.verdicts]
    blocks: list[Block] = [Text(question(records), "question")]
    if records.is_comparison_only:
        blocks += [Text(" ".join(verdicts), "lead")] if verdicts else []
        blocks.append(Tiles(comparison_tiles(records)))
        return Section("answer", "The answer", blocks)
    blocks += [Text(answer(records), "lead"), Tiles(answer_tiles(records))]
    blocks += [Points(verdicts)] if verdicts else []
    ensemble = records.ensemble
    if ensemble is not None:
        blocks.append(scores_table(ensemble))
        painted = without_network(ensemble, records.errors)
        blocks += [Text(painted, "note")] if painted else []
        blocks.append(Text(caveat(records), "note"))
    return Section("answer", "The answer", blocks)


def comparison_tiles(records: StudyRecords) -> list[Tile]:
    """Return what comparisons and paths without a search cost.

    The record of a path does not hold the time of its trainings, nor how many seeds of
    a candidate failed.
    """
    done = trainings_of(records)
    seeds = {one.seed for one in done}
    epochs = sum(one.epochs for one in done)
    tiles = [
        Tile("trainings", f"{len(done):,}", counted(len(seeds), "seed")),
        Tile("epochs", f"{epochs:,}", "of all trainings"),
    ]
    if not records.ablations:
        seconds = duration(sum(one.seconds for one in done))
        tiles.append(Tile("training time", seconds, "of all trainings, added up"))
    lost = len(failed_candidates(records))
    failed = sum(one.has_failed for one in done) + lost
    note = "at least: a path records that a seed failed, not how many" if lost else ""
    return [*tiles, Tile("failures", str(failed), note)]


def question(records: StudyRecords) -> str:
    """Return what the study asks, in one sentence."""
    study = records.study
    what = "classifies" if study.task == "classification" else "segments"
    asked = []
    if not records.is_comparison_only:
        asked.append(
            f"Which configuration of {study.hypermodel} {what} {study.dataset} best, by"
            f" {listed(objectives_of(study))}?"
        )
    for knob in dict.fromkeys(c.knob for c in records.comparisons.values()):
        asked.append(f"What does {knob} change, everything else equal?")
    for path in records.ablations.values():
        asked.append(
            f"Which knobs lead from the {path.base} to {origin_of(path.target)}, and by"
            " how much?"
        )
    return " ".join(asked)


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
            f"{on_front(records)}"
        )
    if records.best:
        best = records.best[0]
        opened = (
            "was opened, and no score on it is on record yet"
            if records.looks
            else "has not been read"
        )
        return (
            f"The best of {counted(records.tried, 'trial')} so far is trial"
            f" {best.trial_id}: {records.objective} {shown(best.score)} in epoch"
            f" {best.best_epoch}. It was chosen by this very number, which is therefore"
            f" optimistic; the test set {opened}.{on_front(records)}"
        )
    if not records.trials:
        return "No search yet: no trial was begun."
    return f"No result yet: {counted(len(records.trials), 'trial')}, none with a score."


def on_front(records: StudyRecords) -> str:
    """Say how many trials no other beats, where there are several objectives."""
    number = len(front(records.trials, records.study))
    if not number:
        return ""
    verb = "is" if number == 1 else "are"
    return (
        f" {counted(number, 'trial')} {verb} on the front: no other is as good in"
        f" {listed(objectives_of(records.study))}."
    )


def test_interval(
    records: StudyRecords, model: str, test: Metrics
) -> Sequence[float] | None:
    """Return the 95 % interval of a test score: as recorded, else Wilson's.

    Args:
        model: `ensemble` or `best_single`.
    """
    metric, n = records.metric, records.size("test")
    value = test.get(metric)
    recorded = records.ensemble.intervals if records.ensemble else {}
    interval: Sequence[float] | None = recorded.get(model, {}).get(metric)
    if interval is None and value is not None and metric == "accuracy" and n:
        return wilson_interval(value, n)
    return interval


def with_interval(records: StudyRecords, model: str, test: Metrics) -> str:
    """Return a test score with its interval, in words."""
    n, value = records.size("test"), test.get(records.metric)
    interval = test_interval(records, model, test)
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
    if records.ensemble is not None and records.ensemble.look > 1:
        text += (
            f" This was look {records.ensemble.look} at the test set: members were"
            " chosen when the score of an earlier look was known, so this score is"
            " optimistic."
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
    share = f"{failed / records.tried:.0%} of those trained" if failed else ""
    most = f"at most {records.study.epochs} a trial"
    return [
        *tiles,
        Tile("trials", f"{records.tried:,}", f"{len(records.best)} with a score"),
        Tile("epochs of the search", f"{records.epochs:,}", most),
        Tile("training time", duration(records.seconds), "of all trials, added up"),
        Tile("failures", str(failed), share),
    ]
