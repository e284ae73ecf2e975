"""The command that compares: one knob, everything else equal."""

from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import (
    AsJson,
    CpusPerTrial,
    DataDir,
    Dataset,
    Epochs,
    Fix,
    GpusPerTrial,
    HyperModelName,
    ImageSize,
    LimitTrain,
    LogsDir,
    Name,
    Narrow,
    Quiet,
    Ray,
    ReadyMade,
    ResultsDir,
    Seed,
    SkipUnreadable,
    TrialsPerGpu,
    Weights,
    WorkerMemory,
    Workers,
)
from search.output import human, next_command, output, where
from search.paths import LOGS, RESULTS, study_paths


def compare(
    study: ReadyMade = None,
    vary: Annotated[
        str | None, typer.Option(metavar="KNOB", help="The only knob that changes.")
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Its values, the reference first. Default: all choices, or the ends"
            " and the default of a range.",
        ),
    ] = None,
    path: Annotated[
        bool,
        typer.Option(
            "--path", help="Instead: from the default to the best, a knob at a time."
        ),
    ] = False,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB=VALUE",
            help="Of --path: begin with the default configuration so changed.",
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="default|best|TRIAL",
            help="Configuration that is varied. Default: best, where there is one.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each value.")] = 3,
    epochs: Epochs = None,
    workers: Workers = None,
    ray: Ray = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trials_per_gpu: TrialsPerGpu = "1",
    worker_memory: WorkerMemory = None,
    dataset: Dataset = None,
    hypermodel: HyperModelName = None,
    fix: Fix = None,
    narrow: Narrow = None,
    limit_train: LimitTrain = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    seed: Seed = None,
    name: Name = None,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Change one knob and nothing else: paired differences with intervals."""
    from dataclasses import asdict

    from search.beginning.inputs import chosen_study
    from search.commands.knobs import of_a_study, parse_fixed, parse_value
    from search.commands.who_trains import who_trains
    from search.compare import compare
    from search.comparing.tables import print_comparison

    chosen = chosen_study(
        study,
        name,
        dataset,
        hypermodel,
        of_a_study(
            fix=fix,
            narrow=narrow,
            skip_unreadable=skip_unreadable,
            epochs=epochs,
            limit_train=limit_train,
            image_size=image_size,
            weights=weights,
            seed=seed,
        ),
        lambda name: study_paths(name, results_dir, logs_dir),
    )
    paths = study_paths(chosen.name, results_dir, logs_dir)
    wanted = None
    if values is not None:
        words = [word.strip() for word in values.split(",") if word.strip()]
        wanted = [parse_value(word) for word in words]
    record = compare(
        chosen,
        paths,
        vary=vary,
        values=wanted,
        path=path,
        start=parse_fixed(start, "--start") if start else None,
        origin=origin,
        seeds=seeds,
        **who_trains(
            workers, trials_per_gpu, worker_memory, ray, cpus_per_trial, gpus_per_trial
        ),
        data_dir=data_dir,
        console=human(as_json, quiet),
    )

    def show(console: Console) -> None:
        print_comparison(record, console)
        next_command(console, f"report {chosen.name}{where(paths)}")

    output(asdict(record), as_json, show)
