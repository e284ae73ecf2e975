"""The verb `finalize`: retrain the best, build the ensemble, score the test set once.

Everything is chosen on validation and written to work/choices.json before a test image
is opened; every look at the test set is a line in test_ledger.json.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from search.batches import run_all
from search.blending import (
    Calibrated,
    Choices,
    Predictions,
    choose_blend,
    metrics_of,
)
from search.datasets import PreparedDataset
from search.errors import InputError
from search.executors import Workers, make_executor
from search.files import read_json, write_json
from search.finalists import Candidate, choose, continue_trial, training_order
from search.inputs import only_driver, prepared_data
from search.live import duration, shown
from search.orders import Executor, Order, Outcome, Progress
from search.output import plainly
from search.paths import StudyPaths
from search.ray_connection import RayOptions
from search.records import (
    BestSingle,
    Ensemble,
    Finalist,
    Metrics,
    Trial,
    best_epoch_of,
    read_ensemble,
    read_records,
    write_ensemble,
    write_records,
)
from search.studies import Study, open_study, read_study


def finalize(
    paths: StudyPaths,
    *,
    top: int = 3,
    seeds: int = 1,
    workers: int | None = None,
    cluster: RayOptions | None = None,
    data_dir: Path | None = None,
    again: bool = False,
    console: Console | None = None,
) -> Ensemble:
    """Retrain the `top` configurations × `seeds`, and combine them.

    Args:
        cluster: train on a Ray cluster instead of this machine.
        again: look at the test set once more, with another choice of finalists.

    Raises:
        InputError: nothing to finalize, or the test set was read before.
    """
    console = console or Console(stderr=True, quiet=True)
    if top < 1 or seeds < 1:
        raise InputError(
            "--top and --seeds of at least 1",
            f"{top} and {seeds}",
            "Choose larger ones",
        )
    study = open_study(paths)
    candidates = choose(read_records(paths.trials, Trial), study, top, seeds)
    if not candidates:
        raise InputError(
            "a search with at least one finished epoch",
            f"none in {paths.trials}",
            f"Run `vision-tuner search {study.name}` first",
        )
    done = finished_before(paths, candidates, again)
    if done is not None:
        console.print("These finalists were scored before; the record is unchanged.")
        return done
    crew = Workers(workers, cluster=cluster)
    crew.number()  # an unreachable cluster is told before any work
    data = prepared_data(study, data_dir or recorded_data_dir(study), say=console.print)
    refuse_other_data(paths, data)
    with only_driver(paths):
        executor = make_executor(crew, paths.worker_logs, plainly(console))
        try:
            return Finalizing(study, paths, data, executor, console).run(candidates)
        finally:
            executor.close()


def recorded_data_dir(study: Study) -> Path | None:
    """Return where the search found its data."""
    return None if study.data_dir is None else Path(study.data_dir)


def refuse_other_data(paths: StudyPaths, data: PreparedDataset) -> None:
    """Raise InputError where the splits are not those of the search."""
    recorded = read_study(paths)["data"]["hashes"]
    if recorded != data.hashes:
        raise InputError(
            "the images the search was run on",
            f"others in {data.name}",
            "Restore them, or search again under another --name",
        )


def finished_before(
    paths: StudyPaths, candidates: list[Candidate], again: bool
) -> Ensemble | None:
    """Return the ensemble of these finalists, where the test set was read for them.

    Raises:
        InputError: it was read for other finalists, and `again` is not set.
    """
    ensemble = read_ensemble(paths.ensemble)
    if ensemble is None or again:
        return None
    before = {f.finalist_id for f in read_records(paths.finalists, Finalist)}
    wanted = {candidate.finalist_id for candidate in candidates}
    if before <= wanted and ledger(paths)[-1]["asked"] == sorted(wanted):
        return ensemble
    raise InputError(
        f"the finalists the test set was read for ({len(before)})",
        f"{len(wanted)} others",
        "Pass --again to read the test set a second time; the ledger will say so",
    )


def ledger(paths: StudyPaths) -> list[dict[str, Any]]:
    """Return the looks at the test set so far."""
    entries: list[dict[str, Any]] = (
        read_json(paths.test_ledger) if paths.test_ledger.exists() else []
    )
    return entries


@dataclass
class Finalizing:
    """One run of finalize: the steps share the study, its data and the workers."""

    study: Study
    paths: StudyPaths
    data: PreparedDataset
    executor: Executor
    console: Console

    def run(self, candidates: list[Candidate]) -> Ensemble:
        """Train, choose on validation, then open the test set."""
        started = time.monotonic()
        outcomes = self.train(candidates)
        trained = [c for c in candidates if c.finalist_id in outcomes]
        validation = self.predict(trained, "validation")
        choices = choose_blend(
            self.study.task,
            validation,
            self.targets("validation"),
            self.study.objective.removeprefix("val_"),
        )
        write_json(self.paths.work / "choices.json", asdict(choices))
        note_look(self.paths, candidates)
        test = self.predict(trained, "test")
        finalists = [
            self.finalist(candidate, outcomes[candidate.finalist_id], validation, test)
            for candidate in trained
        ]
        ensemble = self.ensemble(choices, validation, test)
        write_records(self.paths.finalists, finalists)
        write_ensemble(self.paths.ensemble, ensemble)
        self.console.print(f"finalized in {duration(time.monotonic() - started)}")
        return ensemble

    def train(self, candidates: list[Candidate]) -> dict[str, Outcome]:
        """Train all candidates; return those that succeeded."""
        total = self.study.epochs * len(candidates)
        self.console.print(
            f"Retraining {len(candidates)} finalists of [bold]{self.study.name}[/bold]"
            f" to {self.study.epochs} epochs, at most {total} epochs in all"
        )
        for candidate in candidates:
            continue_trial(self.paths, candidate)
        orders = [self.order(candidate) for candidate in candidates]
        outcomes = run_all(orders, self.executor, self.say_progress)
        for outcome in outcomes.values():
            if outcome.state != "COMPLETED":
                self.console.print(
                    f"finalist {outcome.order_id} {outcome.failure}: {outcome.message}"
                )
        trained = {k: o for k, o in outcomes.items() if o.state == "COMPLETED"}
        if not trained:
            first = next(iter(outcomes.values()))
            raise RuntimeError(
                f"every finalist failed; the first one: {first.message}\n"
                f"{first.traceback or ''}"
            )
        return trained

    def say_progress(self, progress: Progress) -> None:
        """Say a line a finished epoch."""
        value = shown(progress.logs.get(self.study.objective))
        self.console.print(
            f"finalist {progress.order_id}: epoch {progress.epoch}/"
            f"{self.study.epochs}, {self.study.objective} {value}",
            highlight=False,
        )

    def order(self, candidate: Candidate) -> Order:
        return training_order(self.study, self.paths, self.data.folder, candidate)

    def predict(self, trained: list[Candidate], split: str) -> Predictions:
        """Return each finalist's probabilities on a split, memory-mapped."""
        orders = [
            replace(self.order(candidate), job="predict", split=split)
            for candidate in trained
        ]
        outcomes = run_all(orders, self.executor, lambda progress: None)
        for outcome in outcomes.values():
            if outcome.state != "COMPLETED":
                raise RuntimeError(
                    f"finalist {outcome.order_id} could not predict {split}:"
                    f" {outcome.message}\n{outcome.traceback or ''}"
                )
        return {
            order.order_id: np.load(Path(order.folder) / f"{split}.npy", mmap_mode="r")
            for order in orders
        }

    def targets(self, split: str) -> NDArray[Any]:
        return self.data.open(split, self.study.task)[1]

    def metrics(
        self, predictions: Predictions, choice: Calibrated, split: str
    ) -> Metrics:
        return metrics_of(self.study.task, predictions, choice, self.targets(split))

    def finalist(
        self,
        candidate: Candidate,
        outcome: Outcome,
        validation: Predictions,
        test: Predictions,
    ) -> Finalist:
        """Return the record of a trained and scored finalist."""
        key, history = candidate.finalist_id, outcome.history
        plain = Calibrated({key: 1.0})
        best = best_epoch_of(history, self.study.objective, self.study.direction)
        return Finalist(
            finalist_id=key,
            trial_id=candidate.trial.trial_id,
            seed=candidate.seed,
            values=candidate.trial.values,
            epochs=max(len(values) for values in history.values()),
            best_epoch=best or 0,
            validation=self.metrics(validation, plain, "validation"),
            test=self.metrics(test, plain, "test"),
            parameters=outcome.parameters or 0,
            seconds=outcome.seconds,
            history=history,
            chosen_because=candidate.chosen_because,
        )

    def ensemble(
        self, choices: Choices, validation: Predictions, test: Predictions
    ) -> Ensemble:
        """Return the record of the ensemble beside the best single model."""
        blend, single = choices.ensemble, choices.best_single
        return Ensemble(
            members=list(blend.weights),
            weights=list(blend.weights.values()),
            temperature=blend.temperature,
            threshold=blend.threshold,
            validation=self.metrics(validation, blend, "validation"),
            test=self.metrics(test, blend, "test"),
            best_single=BestSingle(
                member=next(iter(single.weights)),
                temperature=single.temperature,
                threshold=single.threshold,
                validation=self.metrics(validation, single, "validation"),
                test=self.metrics(test, single, "test"),
            ),
        )


def note_look(paths: StudyPaths, candidates: list[Candidate]) -> None:
    """Write down that the test set is opened now, and for whom."""
    entry = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "asked": sorted(candidate.finalist_id for candidate in candidates),
    }
    write_json(paths.test_ledger, [*ledger(paths), entry])


def print_ensemble(paths: StudyPaths, ensemble: Ensemble, console: Console) -> None:
    """Print the finalists, the best single model and the ensemble."""
    study = open_study(paths)
    key = study.objective.removeprefix("val_")
    table = Table(box=None, pad_edge=False)
    for heading in ("model", f"validation {key}", f"test {key}", "weight"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    weights = dict(zip(ensemble.members, ensemble.weights, strict=True))
    for finalist in read_records(paths.finalists, Finalist):
        share = weights.get(finalist.finalist_id)
        table.add_row(
            f"finalist {finalist.finalist_id}",
            shown(finalist.validation[key]),
            shown(finalist.test[key]),
            "–" if share is None else f"{share:.2f}",
        )
    single = ensemble.best_single
    for name, metrics in (
        (f"best single ({single.member})", single),
        ("ensemble", ensemble),
    ):
        table.add_row(
            f"[bold]{name}[/bold]",
            shown(metrics.validation[key]),
            shown(metrics.test[key]),
            "",
        )
    console.print(table)
    console.print(f"records in {paths.folder}/")
