"""Commands that train for a result: search and finalize."""

from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import (
    AsJson,
    AugmentedPasses,
    BalanceClasses,
    Budget,
    CpusPerTrial,
    DataDir,
    Dataset,
    DryRun,
    Epochs,
    FinalizeAfter,
    Fix,
    GpusPerTrial,
    HyperModelName,
    ImageSize,
    LimitTrain,
    LogsDir,
    MaxFlops,
    MaxLatency,
    MaxParameters,
    Name,
    Narrow,
    Objective,
    Patience,
    Precision,
    Quiet,
    Ray,
    ReadyMade,
    ResultsDir,
    Seed,
    Seeds,
    SkipUnreadable,
    StartFrom,
    StudyName,
    Top,
    TotalEpochs,
    Trials,
    TrialsPerGpu,
    TrialTimeout,
    Tuner,
    Weights,
    WorkerMemory,
    Workers,
)
from search.output import human, next_command, output, where
from search.paths import LOGS, RESULTS, study_paths
from search.studies import FINALISTS


def search(
    study: ReadyMade = None,
    dataset: Dataset = None,
    hypermodel: HyperModelName = None,
    tuner: Tuner = None,
    objective: Objective = None,
    epochs: Epochs = None,
    patience: Patience = None,
    trials: Trials = None,
    total_epochs: TotalEpochs = None,
    budget: Budget = None,
    finalize: FinalizeAfter = False,
    trial_timeout: TrialTimeout = None,
    workers: Workers = None,
    ray: Ray = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trials_per_gpu: TrialsPerGpu = "1",
    worker_memory: WorkerMemory = None,
    fix: Fix = None,
    narrow: Narrow = None,
    start_from: StartFrom = None,
    limit_train: LimitTrain = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    max_flops: MaxFlops = None,
    max_parameters: MaxParameters = None,
    max_latency_ms: MaxLatency = None,
    augmented_passes: AugmentedPasses = None,
    precision: Precision = None,
    seed: Seed = None,
    name: Name = None,
    skip_unreadable: SkipUnreadable = False,
    balance_classes: BalanceClasses = False,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a search; the same command again goes on where it stopped."""
    from search.beginning.inputs import chosen_study, parse_duration
    from search.commands.knobs import of_a_study
    from search.commands.who_trains import who_trains
    from search.driving.budgets import seconds_left
    from search.finalize import finalize as run_finalize
    from search.finalize import print_ensemble
    from search.finalizing.sealing import asked_before
    from search.records import ranked
    from search.scoring.pareto import objective_fields
    from search.search import check_success, print_found, search
    from search.search import dry_run as foresee
    from search.trials import trials as read_trials

    chosen = chosen_study(
        study,
        name,
        dataset,
        hypermodel,
        of_a_study(
            fix=fix,
            narrow=narrow,
            skip_unreadable=skip_unreadable,
            tuner=tuner,
            epochs=epochs,
            patience=patience,
            trials=trials,
            total_epochs=total_epochs,
            budget_seconds=parse_duration(budget) if budget else None,
            trial_timeout_seconds=parse_duration(trial_timeout)
            if trial_timeout
            else None,
            start_from=start_from or None,
            **objective_fields(objective or ()),
            limit_train=limit_train,
            image_size=image_size,
            weights=weights,
            max_flops=max_flops,
            max_parameters=max_parameters,
            max_latency_ms=max_latency_ms,
            augmented_passes=augmented_passes,
            precision=precision,
            seed=seed,
            balance_classes=balance_classes or None,
        ),
        lambda name: study_paths(name, results_dir, logs_dir),
    )
    paths = study_paths(chosen.name, results_dir, logs_dir)
    console = human(as_json, quiet)
    crew = who_trains(
        workers, trials_per_gpu, worker_memory, ray, cpus_per_trial, gpus_per_trial
    )
    if dry_run:
        plan = foresee(chosen, paths, data_dir=data_dir, **crew, console=console)
        output(plan, as_json, lambda console: console.print("Nothing was recorded"))
        return
    if finalize and asked_before(paths) is not None:
        console.print(
            "The test set was read for this study before: should the search find other"
            f" finalists now, `vision-tuner finalize {chosen.name} --again` scores them"
        )
    found = search(
        chosen,
        paths,
        data_dir=data_dir,
        **crew,
        finalize_top=FINALISTS if finalize else 0,
        console=console,
    )
    if finalize:
        print_found(chosen, paths, found, console)
        check_success(chosen, found)
        ensemble = run_finalize(
            paths,
            **crew,
            data_dir=data_dir,
            seconds=seconds_left(paths, chosen.budget_seconds),
            console=console,
        )

    def show(console: Console) -> None:
        if finalize:
            print_ensemble(paths, ensemble, console)
            next_command(console, f"export {chosen.name}{where(paths)}")
            return
        print_found(chosen, paths, found, console)
        if ranked(found, chosen.direction):
            next_command(console, f"finalize {chosen.name}{where(paths)}")

    output(read_trials(paths), as_json, show)
    check_success(chosen, found)


def finalize(
    name: StudyName,
    top: Top = None,
    seeds: Seeds = None,
    use_validation: Annotated[
        bool,
        typer.Option(
            "--use-validation",
            help="Then train what is handed over on train + validation.",
        ),
    ] = False,
    tta: Annotated[
        str,
        typer.Option(
            metavar="flip,shift", help="Also score with test-time augmentation."
        ),
    ] = "",
    distill: Annotated[
        bool, typer.Option("--distill", help="Also train one student of the ensemble.")
    ] = False,
    workers: Workers = None,
    ray: Ray = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trials_per_gpu: TrialsPerGpu = "1",
    worker_memory: WorkerMemory = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read the test set once more.")
    ] = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Retrain the best, build the ensemble, score the test set once."""
    from dataclasses import asdict

    from search.commands.who_trains import who_trains
    from search.finalize import finalize, print_ensemble

    paths = study_paths(name, results_dir, logs_dir)
    ensemble = finalize(
        paths,
        top=top,
        seeds=seeds,
        use_validation=use_validation,
        tta=[word.strip() for word in tta.split(",") if word.strip()],
        distill=distill,
        **who_trains(
            workers, trials_per_gpu, worker_memory, ray, cpus_per_trial, gpus_per_trial
        ),
        data_dir=data_dir,
        again=again,
        console=human(as_json, quiet),
    )

    def show(console: Console) -> None:
        print_ensemble(paths, ensemble, console)
        next_command(console, f"export {name}{where(paths)}")

    output(asdict(ensemble), as_json, show)
