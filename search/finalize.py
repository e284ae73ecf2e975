"""The verb `finalize`: retrain the best, build the ensemble, score the test set once.

Everything is chosen on validation and sealed in choices.json before a test image is
opened; every look at the test set is a line in test_ledger.json.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.beginning.crew import Auto, settled_crew
from search.beginning.inputs import only_driver, prepared_data, refuse_other_data
from search.beginning.leaks import refuse_copies
from search.beginning.study_checks import check_weights
from search.bookkeeping.state import read_state
from search.cluster.connection import RayOptions
from search.driving.budgets import (
    affordable,
    epochs_left,
    finalist_seconds,
    mean_overhead,
)
from search.driving.executors import Workers, make_executor
from search.errors import InputError
from search.files import remove_leftovers
from search.finalizing.final_records import write_final_records
from search.finalizing.finalists import Member, choose
from search.finalizing.restoring import histories_of, lost_members, restore
from search.finalizing.sealing import already_scored, asked_before
from search.finalizing.steps import Finalizing, Options
from search.machine.backend import load_keras
from search.output import plainly
from search.paths import StudyPaths
from search.records import Ensemble, Finalist, Trial, read_ensemble, read_records
from search.studies import FINALISTS, Study, open_study
from search.training.tta import check_kinds
from search.wording import counted, duration, shown

# The epoch that ends a search may cost a little of what was kept for finalists.
SLACK = 1.25


def finalize(
    paths: StudyPaths,
    *,
    top: int | None = None,
    seeds: int | None = None,
    use_validation: bool = False,
    tta: Sequence[str] = (),
    distill: bool = False,
    workers: int | Auto | None = None,
    trials_per_gpu: int | Auto = 1,
    worker_memory: int | None = None,
    cluster: RayOptions | None = None,
    data_dir: Path | None = None,
    again: bool = False,
    seconds: float | None = None,
    console: Console | None = None,
) -> Ensemble:
    """Retrain the `top` configurations × `seeds`, and combine them.

    Args:
        top: configurations to retrain, as unlike as their scores allow; None = 3.
        seeds: trainings of each; None = 1. Without either, those of them that the test
            set was read for.
        use_validation: train what is handed over anew on train + validation, for as
            many epochs as were best; members, weights and temperature stay.
        tta: kinds of test-time augmentation to measure: `flip`, `shift`.
        distill: train one student on the ensemble's outputs.
        workers, trials_per_gpu: as of `search`; `auto` is what the search measured.
        worker_memory: bytes a process may hold before it is replaced.
        cluster: train on a Ray cluster instead of this machine.
        again: look at the test set once more, with other choices.
        seconds: train only the finalists that are trained in so long, at the pace of
            the search; where there are none, the search's checkpoints are combined.

    Raises:
        InputError: nothing to finalize, test images were trained on, or the test set
            was read before for other choices.
    """
    console = console or Console(stderr=True, quiet=True)
    options = Options(use_validation, check_kinds(tta), distill)
    study = open_study(paths)
    trials = read_records(paths.trials, Trial)
    numbers = settled_crew(workers, trials_per_gpu, paths)
    crew = Workers(*numbers, worker_memory, cluster)
    finalists = best_configurations(paths, study, trials, top, seeds)
    is_open = top is None and seeds is None and not again
    seen = asked_before(paths) if is_open else None
    if seen is not None and seen <= {member.member_id for member in finalists}:
        finalists = [member for member in finalists if member.member_id in seen]
    elif seconds is not None:
        in_time = affordable_finalists(finalists, trials, study, paths, crew, seconds)
        if len(in_time) < len(finalists):
            console.print(
                f"The budget has time to train {len(in_time) or 'none'} of"
                f" {counted(len(finalists), 'finalist')} to the end; the search's own"
                " checkpoints are there as well"
            )
        finalists = in_time
    asked = [member.member_id for member in finalists]
    work: Callable[[Finalizing], Ensemble] = partial(
        choose_and_score, finalists=finalists, trials=trials
    )
    if already_scored(paths, asked, options.recorded(), again):
        console.print(
            "These finalists were scored before; the record is unchanged. --again reads"
            " the test set once more"
        )
        record, on_record = recorded(paths)
        lost = lost_members(paths, record, on_record)
        if not lost:
            return record
        networks = counted(len(lost), "network")
        console.print(f"The weights of {networks} are gone: trained again")
        curves = histories_of(lost, on_record, trials)
        work = partial(restore, record=record, lost=lost, histories=curves)
    with begun(study, paths, crew, options, again, data_dir, console) as run:
        return work(run)


def best_configurations(
    paths: StudyPaths,
    study: Study,
    trials: Sequence[Trial],
    top: int | None,
    seeds: int | None,
) -> list[Member]:
    """Return the configurations × seeds to retrain, the best first.

    Raises:
        InputError: there is none.
    """
    count, each = FINALISTS if top is None else top, 1 if seeds is None else seeds
    if count < 1 or each < 1:
        raise InputError(
            "--top and --seeds of at least 1",
            f"{count} and {each}",
            "Choose larger ones",
        )
    finalists = choose(trials, study, count, each)
    if not finalists:
        raise InputError(
            "a search with at least one finished epoch",
            f"none in {paths.trials}",
            f"Run `vision-tuner search {study.name}` first",
        )
    return finalists


def choose_and_score(
    run: Finalizing, finalists: list[Member], trials: Sequence[Trial]
) -> Ensemble:
    """Train the finalists, seal what is chosen among them, and score it."""
    objective = run.study.objective.removeprefix("val_")
    if objective != run.study.metric:
        run.console.print(
            f"Members are chosen by {run.study.metric}: what networks predict is not"
            f" judged by {objective}"
        )
    return write_final_records(run, run.choose(finalists, trials))


@contextmanager
def begun(
    study: Study,
    paths: StudyPaths,
    crew: Workers,
    options: Options,
    again: bool,
    data_dir: Path | None,
    console: Console,
) -> Iterator[Finalizing]:
    """Check the data, start workers, and hold the study while they work."""
    crew.number()  # an unreachable cluster is told before any work
    crew.expect()
    check_weights(study.weights)
    data = prepared_data(study, data_dir, say=console.print)
    refuse_other_data(paths, data)
    copies = refuse_copies(data)
    with only_driver(paths):
        remove_leftovers(paths.folder)
        started = time.monotonic()
        if crew.count == 0:
            load_keras()
        executor = make_executor(crew, paths.worker_logs, plainly(console))
        with closing(executor):
            yield Finalizing(
                study, paths, data, executor, console, options, copies, again
            )
    console.print(f"finalized in {duration(time.monotonic() - started)}")


def affordable_finalists(
    finalists: list[Member],
    trials: Sequence[Trial],
    study: Study,
    paths: StudyPaths,
    crew: Workers,
    seconds: float,
) -> list[Member]:
    """Return the finalists that `seconds` are enough for, the first before others."""
    state, workers = read_state(paths)[0], crew.number()
    trained = sum(trial.seconds for trial in trials)
    spent = state.seconds if state else 0.0
    overhead = mean_overhead(len(trials), trained, spent, workers)
    known = {trial.trial_id: trial for trial in trials}
    each = []
    for member in finalists:
        trial = known[member.trial_id]
        is_own = member.seed == trial.seed
        epochs = epochs_left(trial, study.epochs) if is_own else study.epochs
        each.append(finalist_seconds(trial, epochs, overhead))
    return [finalists[n] for n in affordable(each, workers, SLACK * seconds)]


def recorded(paths: StudyPaths) -> tuple[Ensemble, list[Finalist]]:
    """Return the ensemble and the finalists on record."""
    record = read_ensemble(paths.ensemble)
    assert record is not None, "the lock has seen it"
    return record, read_records(paths.finalists, Finalist)


def print_ensemble(paths: StudyPaths, ensemble: Ensemble, console: Console) -> None:
    """Print the members, the best single model, the ensemble and its intervals."""
    study = open_study(paths)
    key = study.metric
    table = Table(box=None, pad_edge=False)
    for heading in ("model", f"validation {key}", f"test {key}", "weight"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    weights = dict(zip(ensemble.members, ensemble.weights, strict=True))
    finalists = read_records(paths.finalists, Finalist)
    rows = [(f"finalist {f.finalist_id}", f.finalist_id, f) for f in finalists]
    for title, member, record in rows:
        share = weights.pop(member, None)
        table.add_row(
            title,
            shown(record.validation[key]),
            shown(record.test[key]),
            "–" if share is None else f"{share:.2f}",
        )
    scores = {entry["member_id"]: entry["score"] for entry in ensemble.library}
    for member, share in weights.items():
        name = f"search checkpoint {member}"
        table.add_row(name, shown(scores.get(member)), "", f"{share:.2f}")
    single = ensemble.best_single
    own = f"{single.member}, foreground from {single.threshold:.2f} on"
    name = f"best single ({own if study.task == 'segmentation' else single.member})"
    lines = [(name, single.validation, single.test)]
    lines.append(("ensemble", ensemble.validation, ensemble.test))
    if ensemble.student:
        student = ensemble.student
        lines.append(("student", student["validation"], student["test"]))
    for model, tta in ensemble.tta.items():
        if model in ("ensemble", "best_single"):
            name = f"{model.replace('_', ' ')} with {' + '.join(ensemble.tta['kinds'])}"
            lines.append((name, tta["validation"], tta["test"]))
    for name, validation, test in lines:
        cells = (shown(validation[key]), shown(test[key]), "")
        table.add_row(f"[bold]{name}[/bold]", *cells)
    console.print(table)
    console.print(difference_line(ensemble, key), highlight=False)
    for finalist in finalists:
        for note in finalist.notes:
            console.print(f"finalist {finalist.finalist_id}: {note}", markup=False)
    if ensemble.leaks.get("copies"):
        copies = ensemble.leaks["copies"]
        told = "is a copy" if copies == 1 else "are copies"
        console.print(
            f"{counted(copies, 'test image')} {told} of train or validation images;"
            " ensemble.json also holds the scores without them",
            highlight=False,
        )
    if ensemble.look > 1:
        console.print(f"look {ensemble.look} at the test set: an optimistic score")
    console.print(f"records in {paths.folder}/")


def difference_line(ensemble: Ensemble, key: str) -> str:
    """Say what the ensemble gains over the best single model, with its interval."""
    compared = ensemble.intervals.get("difference", {}).get(key)
    if not compared or compared["interval"] is None:
        return "no interval of the difference is on record"
    low, high = compared["interval"]
    line = (
        f"ensemble − best single on test: {compared['value']:+.4f}"
        f" (95 % interval {low:+.4f} to {high:+.4f}"
    )
    test = ensemble.intervals.get("mcnemar")
    return line + (f", McNemar p = {test['p_value']:.2g})" if test else ")")
