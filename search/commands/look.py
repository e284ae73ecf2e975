"""Commands that look: what there is, what it costs, what came out."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from search.commands.options import (
    AsJson,
    DataDir,
    Dataset,
    Epochs,
    Fix,
    HyperModelName,
    ImageSize,
    LimitTrain,
    LogsDir,
    Name,
    Narrow,
    ReadyMade,
    ResultsDir,
    Seed,
    SkipUnreadable,
    StudyName,
    TotalEpochs,
    Trials,
    Tuner,
    Weights,
    studied,
)
from search.environment import COMMAND
from search.output import human, next_command, output, where
from search.paths import LOGS, RESULTS, study_paths


def studies(
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List ready-made studies and those searched here."""
    from search.listing import studies

    rows = studies(results_dir, logs_dir)

    def show(console: Console) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("study", overflow="fold")
        table.add_column("dataset", overflow="fold", min_width=8)
        for heading in ("hypermodel", "knobs", "state", "trials", "validation"):
            table.add_column(heading, no_wrap=True)
        for row in rows:
            score = row["best_score"]
            metric = row["objective"].removeprefix("val_")
            best = "" if score is None else f"{metric} {score:.4f}"
            # Of a folder its name; --json tells where it lies.
            words = [row["name"], Path(row["dataset"]).name, row["hypermodel"]]
            words += [str(len(row["knobs"]) or ""), row["state"]]
            table.add_row(*words, str(row["trials"] or ""), best)
        console.print(table)
        next_command(console, "space STUDY")

    output(rows, as_json, show)


def data(
    dataset: Annotated[
        str, typer.Argument(help="shapes, cifar100, voc2012, tfds:NAME or a folder.")
    ],
    image_size: ImageSize = None,
    seed: Seed = None,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Fetch, verify and prepare a data set; show its splits."""
    from search.data import data, print_data

    console = human(as_json)
    description = data(
        dataset,
        task=None,
        data_dir=data_dir,
        image_size=image_size,
        seed=seed or 0,
        skip_unreadable=skip_unreadable,
        say=console.print,
    )

    def show(console: Console) -> None:
        print_data(description, console)
        lies = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
        next_command(console, f"{after_data(dataset)}{lies}")

    output(description, as_json, show)


def after_data(dataset: str) -> str:
    """Return what is done next with a data set: its ready-made study, or one of it."""
    from search.studies import READY_MADE

    ready = [study.name for study in READY_MADE if study.dataset == dataset]
    if ready:
        return f"space {ready[0]}"
    if Path(dataset).expanduser().is_dir():
        return f"init {shlex.quote(dataset)}"
    return f"space --dataset {shlex.quote(dataset)} --hypermodel vgg16_transfer"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of images.")],
    file: Annotated[Path, typer.Option(help="Where the study is written.")] = Path(
        "study.toml"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Look at a folder of images, say what is wrong, and write a study for it."""
    from search.init import init, print_init

    console = human(as_json)
    found = init(folder, file, overwrite=overwrite, say=console.print)

    def show(console: Console) -> None:
        print_init(found, console)
        next_command(console, f"search {shlex.quote(str(file))}")

    output(found, as_json, show)


def space(
    study: ReadyMade = None,
    dataset: Dataset = None,
    hypermodel: HyperModelName = None,
    tuner: Tuner = None,
    epochs: Epochs = None,
    trials: Trials = None,
    fix: Fix = None,
    narrow: Narrow = None,
    limit_train: LimitTrain = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    total_epochs: TotalEpochs = None,
    name: Name = None,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Show each knob of a study and what searching it costs."""
    from search.beginning.inputs import chosen_study
    from search.commands.knobs import of_a_study
    from search.space import print_space, space

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
            trials=trials,
            limit_train=limit_train,
            image_size=image_size,
            weights=weights,
            total_epochs=total_epochs,
        ),
        lambda name: study_paths(name, results_dir, logs_dir),
    )
    description = space(chosen, data_dir, human(as_json).print)

    def show(console: Console) -> None:
        print_space(description, console)
        # It takes all that `space` does.
        next_command(console, COMMAND.get().replace("vision-tuner space", "search", 1))

    output(description, as_json, show)


def trials(
    name: StudyName,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Show every trial of a study, best first."""
    from search.trials import print_trials, trials

    paths = study_paths(name, results_dir, logs_dir)

    found = trials(paths)

    def show(console: Console) -> None:
        print_trials(paths, console)
        is_open = not paths.ensemble.exists()
        if is_open and any(trial["score"] is not None for trial in found):
            next_command(console, f"finalize {paths.name}{where(paths)}")
        else:
            next_command(console, f"report {paths.name}{where(paths)}")

    output(found, as_json, show)


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Searched studies; default: all."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Instead: recompute the numbers on record and say what differs.",
        ),
    ] = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page, and Markdown with figures, for each study.

    Of several studies also one of all, with a table across them.
    """
    from dataclasses import asdict

    from search.paths import studies_in
    from search.report import (
        print_report,
        print_verification,
        report,
        verify_reports,
    )

    wanted = [studied(name) for name in names or []] or studies_in(results_dir)
    all_paths = [study_paths(name, results_dir, logs_dir) for name in wanted]
    if verify:
        found = verify_reports(all_paths)
        plain = {study: asdict(result) for study, result in found.items()}
        output(plain, as_json, lambda console: print_verification(found, console))
        raise typer.Exit(any(result.findings for result in found.values()))
    files = report(all_paths)

    def show(console: Console) -> None:
        print_report(files, console)

    output([str(file) for file in files], as_json, show)


def board(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study; default: all.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes any free port.")
    ] = 6006,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
) -> None:
    """Open TensorBoard on a study, at 127.0.0.1."""
    from search.board import board
    from search.studies import open_study

    logs, objectives = logs_dir, []
    if name:
        paths = study_paths(studied(name), results_dir, logs_dir)
        logs = paths.logs
        objectives = [open_study(paths).objective] if paths.study.exists() else []
    raise typer.Exit(board(logs, port, objectives, human(False)))
