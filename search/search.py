"""The verb `search`: run a study, or go on with it where it was left."""

import time
from pathlib import Path

from rich.console import Console

from search.beginning import begin
from search.devices import default_workers
from search.driver import Driver
from search.events import write_hparams_domain
from search.executors import Workers, make_executor
from search.inputs import only_driver
from search.live import LiveView, duration, values_text
from search.oracles import check_tuner, make_oracle, planned
from search.paths import StudyPaths
from search.records import Trial, ranked
from search.spaces import knob_domains
from search.studies import Study


def search(
    study: Study,
    paths: StudyPaths,
    *,
    data_dir: Path | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> list[Trial]:
    """Search the study's space; the same call again goes on where it stopped.

    Args:
        workers: processes that train; None = what the machine carries, 0 = train in
            this process.

    Returns:
        The trials, as in trials.json.

    Raises:
        InputError: the input cannot be used; nothing has been written then.
        RepeatedBugError: the same bug ended the first trials.
    """
    console = console or Console(stderr=True, quiet=True)
    check_tuner(study.tuner)
    begun = begin(study, paths, data_dir, console.print)
    study, space = begun.study, begun.space
    with only_driver(paths):
        begun.record(paths)
        if not paths.oracle.exists():
            write_hparams_domain(paths.logs, knob_domains(space))
        announce(study, paths, workers, console)
        budget = study.budget_seconds
        view = LiveView(
            console,
            objective=study.objective,
            direction=study.direction,
            most_epochs=study.epochs,
            planned=planned(study),
        )
        with view:
            return Driver(
                study=study,
                paths=paths,
                data_folder=begun.data.folder,
                oracle=make_oracle(study, space),
                executor=make_executor(Workers(workers), paths.worker_logs),
                watcher=view,
                deadline=None if budget is None else time.monotonic() + budget,
            ).search()


def announce(
    study: Study, paths: StudyPaths, workers: int | None, console: Console
) -> None:
    """Say what the search will cost before it starts."""
    plan = planned(study)
    count = default_workers() if workers is None else workers
    cost = f"at most {study.epochs} epochs a trial"
    if plan is not None:
        cost = (
            f"{plan[0]} trials, {plan[1]} epochs in all (at most {study.epochs} each)"
        )
    limit = study.budget_seconds
    where = f"{count} worker processes" if count else "this process"
    parts = [study.tuner, cost, f"on {where}"]
    if limit is not None:
        parts.append(f"for at most {duration(limit)}")
    if study.max_flops is not None:
        console.print(
            f"networks above {study.max_flops / 1e6:.3g} MFLOPs an image are infeasible"
            " (--max-flops)",
            highlight=False,
        )
    verb = "Going on with" if paths.oracle.exists() else "Searching"
    console.print(f"{verb} [bold]{study.name}[/bold]: {', '.join(parts)}")
    console.print(f"records in {paths.folder}/, TensorBoard runs in {paths.logs}/")


def print_found(
    study: Study, paths: StudyPaths, found: list[Trial], console: Console
) -> None:
    """Say what a search found and where it lies."""
    best = ranked(found, study.direction)
    unfinished = sum(trial.state in ("PAUSED", "RUNNING", "WAITING") for trial in found)
    parts = [f"{len(found)} trials"]
    for state in ("FAILED", "INFEASIBLE"):
        count = sum(trial.state == state for trial in found)
        parts += [f"{count} {state.lower()}"] if count else []
    parts += [f"{unfinished} to be continued"] if unfinished else []
    console.print(f"{', '.join(parts)}; records in {paths.folder}/", highlight=False)
    if best:
        top = best[0]
        console.print(
            f"best: trial {top.trial_id},"
            f" {study.objective} [bold]{top.score:.4f}[/bold]"
            f" in epoch {top.best_epoch} with {values_text(top.values)}",
            highlight=False,
        )
