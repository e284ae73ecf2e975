"""The verb `compare`: what one knob changes, and which knobs made the best trial good.

Everything else is equal: the other knobs, the seeds and with them weights, data order
and augmentation. Scores are of validation; the test set is not touched.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from search.beginning.crew import Auto, settled_crew
from search.beginning.foretold import time_of
from search.beginning.inputs import check_folders, described, only_driver
from search.beginning.preparation import Beginning, begin
from search.cluster.connection import RayOptions
from search.comparing.ablation import make_path, most_epochs
from search.comparing.checks import check_question, refuse_equal_ends
from search.comparing.comparisons import (
    AblationPath,
    Comparison,
    Run,
    differences_of,
    ended_run,
    folder_of,
    verdicts_of,
    write_comparison,
)
from search.comparing.files import file_of, path_file_of
from search.comparing.variants import (
    base_values,
    changed,
    compared_values,
    differing,
    seeds_for,
    starting_name,
    starting_values,
)
from search.driving.batches import run_all
from search.driving.executors import Workers, make_executor
from search.environment import COMMAND, environment
from search.orders import Executor, Order, Progress
from search.output import plainly
from search.paths import StudyPaths
from search.pictures.mask_gallery import write_gallery
from search.records import Finalist, Trial, Value, Values, ranked, read_records
from search.scoring.paired import resolution_of
from search.studies import Study, is_recorded
from search.training.failures import raise_where_storage_failed
from search.wording import counted, duration, shown


@dataclass
class Trainings:
    """Trains configurations × seeds, each once, however often it is asked for.

    A training that was cut goes on from its last epoch; one that was finished before
    answers at once.
    """

    begun: Beginning
    paths: StudyPaths
    executor: Executor
    console: Console
    have_gpus: bool
    names: dict[str, str] = field(default_factory=dict)

    def foretold(self, epochs: int) -> str:
        """Return about how long so many epochs take in all."""
        return time_of(self.begun, epochs, self.executor.capacity, self.have_gpus)

    def run(self, runs: Sequence[Run], epochs: int) -> list[Run]:
        """Train every run to `epochs` epochs and return them with their scores."""
        study = self.begun.study
        orders = {run.run_id: self.order(run, epochs) for run in runs}
        self.names = {order.order_id: key for key, order in orders.items()}
        unlike = list({order.order_id: order for order in orders.values()}.values())
        outcomes = run_all(unlike, self.executor, self.say, plainly(self.console))
        ended = []
        for run in runs:
            outcome = outcomes[orders[run.run_id].order_id]
            raise_where_storage_failed(outcome)
            if outcome.state != "COMPLETED":
                self.console.print(
                    f"{run.run_id} {outcome.failure}: {outcome.message}", markup=False
                )
            for note in outcome.notes:
                self.console.print(f"{run.run_id}: {note}", markup=False)
            ended.append(ended_run(run, outcome, study.objective, study.direction))
        return ended

    def order(self, run: Run, epochs: int) -> Order:
        """Return the order of a run; what decides its outcome names its folder."""
        # Limits are for what a tuner draws; here somebody asked for it.
        study = replace(
            self.begun.study,
            max_flops=None,
            max_parameters=None,
            max_latency_ms=None,
            trial_timeout_seconds=None,
        )
        name = folder_of(run.values, run.seed)
        return Order(
            order_id=name,
            job="train",
            study=asdict(study),
            data_folder=str(self.begun.data.folder),
            folder=str(self.paths.comparison_run(name)),
            # Run ids of comparisons from another base are the same: a curve each.
            logs=str(self.paths.logs / "comparisons" / f"{run.run_id}-{name[:8]}"),
            values=run.values,
            seed=run.seed,
            epochs=epochs,
            length=study.epochs,
        )

    def predict(self, runs: Sequence[Run]) -> dict[str, Path]:
        """Return label -> file of the validation predictions of these runs."""
        study = self.begun.study
        orders = {
            run.value: replace(self.order(run, study.epochs), job="predict")
            for run in runs
            if run.state == "COMPLETED"
        }
        outcomes = run_all(
            list(orders.values()),
            self.executor,
            lambda progress: None,
            plainly(self.console),
        )
        for outcome in outcomes.values():
            raise_where_storage_failed(outcome)
        files = {k: Path(o.folder) / "validation.npy" for k, o in orders.items()}
        return {value: file for value, file in files.items() if file.exists()}

    def say(self, progress: Progress) -> None:
        """Say a line a finished epoch."""
        study = self.begun.study
        score = shown(progress.logs.get(study.objective))
        self.console.print(
            f"{self.names[progress.order_id]}: epoch {progress.epoch}/{study.epochs},"
            f" {study.objective} {score}",
            highlight=False,
        )


def compare(
    study: Study,
    paths: StudyPaths,
    *,
    vary: str | None = None,
    values: Sequence[Value] | None = None,
    path: bool = False,
    start: Mapping[str, Value] | None = None,
    origin: str | None = None,
    seeds: int = 3,
    workers: int | Auto | None = None,
    trials_per_gpu: int | Auto = 1,
    worker_memory: int | None = None,
    cluster: RayOptions | None = None,
    data_dir: Path | None = None,
    console: Console | None = None,
) -> Comparison | AblationPath:
    """Compare the values of one knob, or find the ablation path to the best trial.

    Args:
        vary: the knob that changes. Exactly one of `vary` and `path`.
        values: of the knob, the reference first; None = see `compared_values`.
        path: go from the default configuration to `origin`, a knob at a time.
        start: knobs of the path's first configuration that are not at their default.
        origin: `default`, `best` or a trial id; None = best where there is one.
        seeds: trainings of each configuration, seeds from the study's on; where
            `origin` is a trial, after those it was chosen by.
        workers, trials_per_gpu: as of `search`; `auto` is what a search measured.
        worker_memory: bytes a process may hold before it is replaced.
        cluster: train on a Ray cluster instead of this machine.

    Returns:
        The record, as in results/<name>/comparisons/.

    Raises:
        InputError: the input cannot be used; nothing has been trained then.
    """
    console = console or Console(stderr=True, quiet=True)
    check_question(vary, values, path, start, seeds)
    numbers = settled_crew(workers, trials_per_gpu, paths)
    crew = Workers(*numbers, worker_memory, cluster)
    begun = begin(study, paths, data_dir, console.print, crew.have_gpus(), crew.expect)
    trials = read_records(paths.trials, Trial)
    has_best = bool(ranked(trials, study.direction))
    origin = origin or ("best" if has_best or path else "default")
    finalists = read_records(paths.finalists, Finalist)
    base, wanted = base_values(origin, begun.space, trials, finalists, begun.study)
    chosen = seeds_for(base, seeds, trials, finalists, begun.study)
    variants: dict[str, Values] = {}
    labels: Values = {}
    if vary is not None:
        labels = compared_values(begun.space, vary, values)
        variants = {k: changed(begun.space, wanted, vary, v) for k, v in labels.items()}
    steps = start or {}
    first = starting_name(steps), starting_values(begun.space, steps)
    if path:
        refuse_equal_ends(begun.space, first, (base, wanted))
    check_folders(paths)
    with only_driver(paths):
        if not is_recorded(paths):  # else study.json says how it was searched
            begun.record(paths)
        executor = make_executor(crew, paths.worker_logs, plainly(console))
        try:
            trainings = Trainings(begun, paths, executor, console, crew.have_gpus())
            if vary is None:
                return ablate(trainings, first, (base, wanted), chosen)
            return vary_knob(trainings, vary, base, labels, variants, chosen)
        finally:
            executor.close()


def vary_knob(
    trainings: Trainings,
    knob: str,
    base: str,
    labels: Values,
    variants: Mapping[str, Values],
    seeds: list[int],
) -> Comparison:
    """Train every value × seed and write what came out."""
    study, started = trainings.begun.study, time.monotonic()
    runs = [
        Run(f"{knob}-{label}-seed{seed}", label, seed, values)
        for seed in seeds
        for label, values in variants.items()
    ]
    trainings.console.print(
        f"Comparing {knob} = {', '.join(labels)} from {base}: {len(runs)} trainings of"
        f" at most {counted(study.epochs, 'epoch')}, {len(runs) * study.epochs} in all"
        + trainings.foretold(len(runs) * study.epochs)
    )
    # Found before hours of training: a damaged record of before is told now.
    file = file_of(trainings.paths, knob, base, labels, seeds)
    runs = trainings.run(runs, study.epochs)
    objective, direction = study.objective, study.direction
    images = trainings.begun.data.sizes["validation"]
    differences = differences_of(runs, list(labels), objective, images)
    record = Comparison(
        knob=knob,
        base=base,
        objective=objective,
        direction=direction,
        values=labels,
        seeds=seeds,
        runs=runs,
        differences=differences,
        verdicts=verdicts_of(runs, differences, objective, direction, images),
        about=about(trainings.begun),
        images=images,
    )
    all_failed = all(run.state != "COMPLETED" for run in runs)
    if all_failed and file.exists():
        raise RuntimeError(f"every training failed; {file} stays as it was")
    if study.task == "segmentation":
        first = [run for run in runs if run.seed == seeds[0]]
        files = trainings.predict(first)
        write_gallery(file.with_suffix(".png"), trainings.begun.data, files)
    write_comparison(file, record)
    say_done(trainings, file, started)
    if all_failed:
        raise RuntimeError("every training failed, so there is nothing to compare")
    return record


def ablate(
    trainings: Trainings,
    start: tuple[str, Values],
    end: tuple[str, Values],
    seeds: list[int],
) -> AblationPath:
    """Find the path between two configurations, each with its name, and write it."""
    begun, started = trainings.begun, time.monotonic()
    study = begun.study
    (base, first), (target, wanted) = start, end
    knobs = differing(begun.space, first, wanted)
    most = most_epochs(len(knobs), study.epochs) * len(seeds)
    trainings.console.print(
        f"Path from the {base} to {target}: at least {len(knobs)} knobs differ"
        f" ({', '.join(knobs)}), about {most} epochs in all{trainings.foretold(most)}"
    )
    file = path_file_of(trainings.paths, base, first, target, seeds)
    resolution = resolution_of(study.objective, begun.data.sizes["validation"])
    steps = make_path(
        begun.space, first, wanted, seeds, study, trainings.run, resolution
    )
    if all(step.score is None for step in steps):
        raise RuntimeError(
            "no step of the path has a score, for want of a training that ended with"
            " every seed; nothing was written"
        )
    record = AblationPath(
        base=base,
        target=target,
        objective=study.objective,
        direction=study.direction,
        seeds=seeds,
        steps=steps,
        about=about(begun),
    )
    write_comparison(file, record)
    say_done(trainings, file, started)
    return record


def about(begun: Beginning) -> dict[str, Any]:
    """Return what is needed to repeat a comparison."""
    return {
        "study": asdict(begun.study),
        "data": described(begun.data),
        "environment": environment(),
        "command": COMMAND.get(),
    }


def say_done(trainings: Trainings, file: Path, started: float) -> None:
    """Say where the record lies and how long it took."""
    trainings.console.print(
        f"record in {file}, after {duration(time.monotonic() - started)}",
        highlight=False,
    )
