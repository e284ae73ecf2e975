"""The verb `search`: run a study, or go on with it where it was left."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from search.beginning.crew import Auto, images_of_a_trial, settled_crew
from search.beginning.foretold import announce, predicted_seconds
from search.beginning.inputs import check_folders, only_driver
from search.beginning.preparation import Beginning, begin
from search.beginning.study_checks import check_study
from search.cluster.connection import RayOptions
from search.driving.budgets import WallTime, mean_overhead, reserved_seconds
from search.driving.driver import Driver
from search.driving.executors import Workers, make_executor
from search.driving.retention import checkpoint_bytes
from search.driving.roster import Roster
from search.machine.memory import size_text
from search.oracles import (
    check_limits,
    check_tellable,
    make_oracle,
    planned,
)
from search.oracles.warm_start import WarmStart, warm_start
from search.orders import Order
from search.paths import StudyPaths
from search.records import Trial, ranked
from search.spaces import default_values, knob_domains
from search.studies import Study, is_recorded, open_study
from search.watching.event_hparams import metric_names, write_hparams_domain
from search.watching.event_search import SearchEvents
from search.watching.live import LiveView
from search.watching.watchers import Watchers
from search.wording import counted, values_text


def search(
    study: Study,
    paths: StudyPaths,
    *,
    data_dir: Path | None = None,
    workers: int | Auto | None = None,
    trials_per_gpu: int | Auto = 1,
    worker_memory: int | None = None,
    cluster: RayOptions | None = None,
    finalize_top: int = 0,
    console: Console | None = None,
) -> list[Trial]:
    """Search the study's space; the same call again goes on where it stopped.

    Args:
        workers: processes that train; None = what the machine carries, 0 = train in
            this process, `auto` = as many as train most in a measurement.
        trials_per_gpu: processes that share one GPU; `auto` measures, too.
        worker_memory: bytes a process may hold; None = its share of the machine.
        cluster: train on a Ray cluster instead of this machine; `workers` = None is
            then as many as it holds.
        finalize_top: keep so much of the budget, up to half of it, that as many
            finalists can be trained.

    Returns:
        The trials, as in trials.json.

    Raises:
        InputError: the input cannot be used; nothing has been written then.
        RepeatedBugError: the same bug ended the first trials.
        StorageError: records or checkpoints cannot be written.
    """
    wall = WallTime(study.budget_seconds)
    console = console or Console(stderr=True, quiet=True)
    crew = Workers(*by_rule(workers, trials_per_gpu), worker_memory, cluster)
    begun, told = prepare_search(study, paths, data_dir, crew, console, crew.expect)
    study, space = begun.study, begun.space
    check_folders(paths)
    oracle = make_oracle(study, space, told)  # one of the user's own may fail
    with only_driver(paths):
        known = open_study(paths) if is_recorded(paths) else None
        begun.record(paths)
        if not paths.oracle.exists():
            metrics = metric_names(study.task, len(begun.data.class_names))
            write_hparams_domain(paths.logs, knob_domains(space), metrics)
        crew = settled(crew, workers, trials_per_gpu, begun, paths, console)
        seconds = predicted_seconds(begun, paths, crew)
        announce(study, paths, crew, seconds, console, known=known)
        view = LiveView(
            console,
            objective=study.objective,
            direction=study.direction,
            most_epochs=study.epochs,
            planned=planned(study),
            budget_left=wall.left,
        )
        events = SearchEvents(paths, study.objective, study.direction, wall.spent)
        with view, closing(events):
            driver = Driver(
                study=study,
                paths=paths,
                data_folder=begun.data.folder,
                oracle=oracle,
                executor=make_executor(crew, paths.worker_logs, view.notice),
                watcher=Watchers([view, events]),
                wall=wall,
                reserve=lambda roster: kept_for_finalists(
                    roster, study, finalize_top, crew.number(), wall.spent()
                ),
            )
            view.targets = driver.targets
            return driver.search()


def kept_for_finalists(
    roster: Roster, study: Study, top: int, workers: int, spent: float
) -> float:
    """Return the seconds of the budget that a search keeps for finalize."""
    if not top:
        return 0.0
    trained = roster.seconds_so_far()
    overhead = mean_overhead(len(roster.trials), trained, spent, workers)
    trials = [roster.pace.so_far(trial) for trial in roster.with_checkpoints()]
    return reserved_seconds(trials, study, top, workers, overhead)


def prepare_search(
    study: Study,
    paths: StudyPaths,
    data_dir: Path | None,
    crew: Workers,
    console: Console,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[Beginning, WarmStart]:
    """Check everything a search needs, and read what it starts from.

    Args:
        meanwhile: as of `begin`.
    """
    check_study(study)
    check_tellable(study)
    check_limits(study)
    have_gpus = crew.have_gpus()
    begun = begin(study, paths, data_dir, console.print, have_gpus, meanwhile)
    told = warm_start(begun.study, paths, begun.space, begun.baselines)
    for note in told.notes:
        console.print(note, highlight=False)
    return begun, told


def by_rule(
    workers: int | Auto | None, trials_per_gpu: int | Auto
) -> tuple[int | None, int]:
    """Return what is used where nothing is measured."""
    return (
        None if workers == "auto" else workers,
        1 if trials_per_gpu == "auto" else trials_per_gpu,
    )


def settled(
    crew: Workers,
    workers: int | Auto | None,
    trials_per_gpu: int | Auto,
    begun: Beginning,
    paths: StudyPaths,
    console: Console,
) -> Workers:
    """Return the crew with the numbers that are to be measured; Ray deals its own."""
    if crew.cluster is not None or "auto" not in (workers, trials_per_gpu):
        return crew
    scratch = paths.work / "measuring"
    validation = begun.data.sizes["validation"]
    images = images_of_a_trial(begun.study, begun.train_images(), validation)
    # The default network may be above a limit that the user chose.
    study = replace(begun.study, max_flops=None, max_parameters=None)

    def order(place: int) -> Order:
        return Order(
            order_id=f"measure{place}",
            job="measure",
            study=asdict(study),
            data_folder=str(begun.data.folder),
            folder=str(scratch / str(place)),
            logs=None,
            values=default_values(begun.space),
            seed=begun.study.seed,
            epochs=1,
            length=begun.study.epochs,
        )

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    try:
        count, per_gpu = settled_crew(
            workers, trials_per_gpu, paths, order, images, say
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(crew, count=count, per_gpu=per_gpu)


def dry_run(
    study: Study,
    paths: StudyPaths,
    *,
    data_dir: Path | None = None,
    workers: int | Auto | None = None,
    trials_per_gpu: int | Auto = 1,
    worker_memory: int | None = None,
    cluster: RayOptions | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Check a search and say what it would cost; only the data cache is written.

    Args:
        workers, trials_per_gpu, worker_memory, cluster: as of `search`.

    Returns:
        Trials, epochs and seconds as far as they are known, and the study.

    Raises:
        InputError: the search would refuse its input.
    """
    console = console or Console(stderr=True, quiet=True)
    crew = Workers(*by_rule(workers, trials_per_gpu), worker_memory, cluster)
    begun, _ = prepare_search(study, paths, data_dir, crew, console)
    seconds = predicted_seconds(begun, paths, crew)
    known = open_study(paths) if is_recorded(paths) else None
    verb = "Would search"
    announce(begun.study, paths, crew, seconds, console, known=known, verb=verb)
    trials, epochs = planned(begun.study) or (None, None)
    return {
        "study": asdict(begun.study),
        "predicted_trials": trials,
        "predicted_epochs": epochs,
        "predicted_seconds": seconds,
        "workers": crew.number(),
    }


def check_success(study: Study, found: Sequence[Trial]) -> None:
    """Raise RuntimeError where there are trials and none of them has a score."""
    if not found or ranked(found, study.direction):
        return
    kinds = Counter(trial.failure or trial.state.lower() for trial in found)
    words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    raise RuntimeError(
        f"none of {len(found)} trials has a score ({words});"
        f" `vision-tuner trials {study.name}` shows why"
    )


def print_found(
    study: Study, paths: StudyPaths, found: list[Trial], console: Console
) -> None:
    """Say what a search found and where it lies."""
    best = ranked(found, study.direction)
    unfinished = sum(trial.state in ("PAUSED", "RUNNING", "WAITING") for trial in found)
    parts = [counted(len(found), "trial")]
    for state in ("FAILED", "INFEASIBLE"):
        count = sum(trial.state == state for trial in found)
        parts += [f"{count} {state.lower()}"] if count else []
    parts += [f"{unfinished} to be continued"] if unfinished else []
    parts += [f"checkpoints {size_text(checkpoint_bytes(paths))}"]
    console.print(f"{', '.join(parts)}; records in {paths.folder}/", highlight=False)
    if best:
        top = best[0]
        console.print(
            f"best: trial {top.trial_id},"
            f" {study.objective} [bold]{top.score:.4f}[/bold]"
            f" in epoch {top.best_epoch} with {values_text(top.values)}",
            highlight=False,
        )
