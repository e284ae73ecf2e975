"""The verb `search`: run a study, or go on with it where it was left."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from search.backend import load_keras
from search.datasets import PreparedDataset
from search.devices import cpu_flops, default_workers, gpus
from search.driver import Driver
from search.events import write_hparams_domain
from search.executors import Workers, make_executor
from search.inputs import (
    check_study,
    check_writable,
    described,
    only_driver,
    prepared_data,
    weights_hash,
    with_data_dir,
)
from search.live import LiveView, duration, values_text
from search.oracles import check_tuner, make_oracle, planned
from search.oracles.sampling import default_values
from search.paths import StudyPaths
from search.records import Trial, ranked
from search.spaces import declare_space, knob_domains
from search.studies import Study, fingerprint, open_study, record_study
from search.training import make_hypermodel


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
    study = with_data_dir(check_study(study), data_dir)
    data = prepared_data(study, data_dir, console.print)
    load_keras()
    hypermodel = make_hypermodel(study, data, study.epochs)
    space = declare_space(hypermodel, study.fixed)
    study = sized(study, paths, data, default_flops(hypermodel, space))
    mark = fingerprint(study, data.fingerprint, weights_hash(study.weights))
    for folder in (paths.folder, paths.logs):
        check_writable(folder)
    with only_driver(paths):
        command = " ".join(["vision-tuner", *sys.argv[1:]])
        record_study(paths, study, described(data), mark, command)
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
                data_folder=data.folder,
                oracle=make_oracle(study, space),
                executor=make_executor(Workers(workers), paths.worker_logs),
                watcher=view,
                deadline=None if budget is None else time.monotonic() + budget,
            ).search()


def default_flops(hypermodel: Any, space: Any) -> Callable[[], float]:
    """Return what builds and counts the default network, forward, one image."""

    def count() -> float:
        import keras
        import keras_tuner

        from hypermodels.cost import forward_flops

        hp = keras_tuner.HyperParameters()
        hp.values = default_values(space)
        flops = forward_flops(hypermodel.build(hp))
        keras.utils.clear_session(free_memory=False)
        return flops

    return count


def sized(
    study: Study,
    paths: StudyPaths,
    data: PreparedDataset,
    default_flops: Callable[[], float],
) -> Study:
    """Return the study with the size limit of this machine, where none was chosen.

    The default network is always within it. A study that was begun keeps its own
    limit, wherever it goes on.
    """
    if study.max_flops is not None:
        return study
    if paths.study.exists():
        return replace(study, max_flops=open_study(paths).max_flops)
    if gpus():
        return study
    images = min(data.sizes["train"], study.limit_train or data.sizes["train"])
    limit = max(cpu_flops(images), default_flops())
    return replace(study, max_flops=limit)


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
