"""The command line: reads options, calls one verb, prints what it made.

Nothing here or imported here loads TensorFlow: verbs load what they need when called.
"""

import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from search.errors import InputError
from search.paths import StudyPaths, study_paths

app = typer.Typer(
    help="Search hyperparameters of image models, retrain the best, combine them into"
    " an ensemble and export models that were checked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Start with `vision-tuner demo`, or"
    " `vision-tuner search cifar100-convnet --limit-train 5000 --epochs 9`.",
)

ResultsDir = Annotated[Path, typer.Option(help="Where records are kept.")]
LogsDir = Annotated[Path, typer.Option(help="Where TensorBoard runs are kept.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Root that holds tensorflow_datasets/ and VOCdevkit/."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document only.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that train; 0 trains in this process."
        " Default: one a GPU, or one a core up to 4.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(help="Leave out image files that cannot be read, and count them."),
]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="A searched study.")]
ReadyMade = Annotated[
    str | None, typer.Argument(metavar="STUDY", help="A ready-made study.")
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Own data: a folder, or tfds:NAME. Needs --hypermodel."),
]
HyperModelName = Annotated[
    str | None,
    typer.Option(help="convnet, vgg16_transfer, unet or mobilenet_unet."),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="KNOB=VALUE", help="Take a knob out of the search."),
]
Tuner = Annotated[
    str | None,
    typer.Option(help="random, grid, hyperband, kt-hyperband or kt-bayesian."),
]
Epochs = Annotated[int | None, typer.Option(help="Most epochs of one trial.")]
Trials = Annotated[int | None, typer.Option(help="Configurations to try.")]
LimitTrain = Annotated[
    int | None, typer.Option(help="Train on that many images, drawn evenly.")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Edge in pixels of what the network sees.")
]
Weights = Annotated[
    str | None,
    typer.Option(help="Pretrained parts: imagenet, none or the path of a file."),
]
Seed = Annotated[int | None, typer.Option(help="Of splits, tuner and training.")]
Name = Annotated[
    str | None, typer.Option(help="Name of the study; default: that of STUDY.")
]

RESULTS = Path("results")
LOGS = Path("tensorboard_logs")


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"vision-tuner {metadata.version('vision-tuner')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Search hyperparameters of image models and finish the job."""


def human(as_json: bool) -> Console:
    """Return where a person reads: not stdout where that carries JSON."""
    return Console(stderr=as_json)


def output(value: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print a verb's result, for a program or for a person."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False))
    else:
        show(human(False))


def next_command(console: Console, command: str) -> None:
    """Say what to type next."""
    console.print(f"next: [bold]vision-tuner {command}[/bold]", highlight=False)


def where(paths: StudyPaths) -> str:
    """Return the options that say where a study lies, unless they are the defaults."""
    text = "" if paths.results_dir == RESULTS else f" --results-dir {paths.results_dir}"
    return text + ("" if paths.logs_dir == LOGS else f" --logs-dir {paths.logs_dir}")


@app.command("studies")
def studies_command(
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List ready-made studies and those searched here."""
    from search.studies import studies

    rows = studies(results_dir, logs_dir)

    def show(console: Console) -> None:
        table = Table(box=None, pad_edge=False)
        for key in rows[0]:
            table.add_column(key.replace("_", " "))
        for row in rows:
            cells = ["–" if value is None else value for value in row.values()]
            table.add_row(
                *[f"{c:.4f}" if isinstance(c, float) else str(c) for c in cells]
            )
        console.print(table)

    output(rows, as_json, show)


@app.command("data")
def data_command(
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
    output(description, as_json, lambda console: print_data(description, console))


@app.command("space")
def space_command(
    study: ReadyMade = None,
    dataset: Dataset = None,
    hypermodel: HyperModelName = None,
    tuner: Tuner = None,
    epochs: Epochs = None,
    trials: Trials = None,
    fix: Fix = None,
    limit_train: LimitTrain = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Show each knob of a study and what searching it costs."""
    from search.inputs import chosen_study
    from search.space import print_space, space
    from search.spaces import parse_fixed

    chosen = chosen_study(
        study,
        None,
        dataset,
        hypermodel,
        {
            "tuner": tuner,
            "epochs": epochs,
            "trials": trials,
            "fixed": parse_fixed(fix) if fix else None,
            "limit_train": limit_train,
            "image_size": image_size,
            "weights": weights,
        },
        lambda name: study_paths(name, results_dir, logs_dir),
    )
    description = space(chosen, data_dir)
    output(description, as_json, lambda console: print_space(description, console))


@app.command("search")
def search_command(
    study: ReadyMade = None,
    dataset: Dataset = None,
    hypermodel: HyperModelName = None,
    tuner: Tuner = None,
    epochs: Epochs = None,
    trials: Trials = None,
    budget: Annotated[
        str | None, typer.Option(metavar="30m", help="Wall time of the search.")
    ] = None,
    workers: Workers = None,
    fix: Fix = None,
    limit_train: LimitTrain = None,
    image_size: ImageSize = None,
    weights: Weights = None,
    seed: Seed = None,
    name: Name = None,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Run a search; the same command again goes on where it stopped."""
    from search.inputs import chosen_study, parse_duration
    from search.search import print_found, search
    from search.spaces import parse_fixed
    from search.trials import trials as read_trials

    chosen = chosen_study(
        study,
        name,
        dataset,
        hypermodel,
        {
            "tuner": tuner,
            "epochs": epochs,
            "trials": trials,
            "budget_seconds": parse_duration(budget) if budget else None,
            "fixed": parse_fixed(fix) if fix else None,
            "limit_train": limit_train,
            "image_size": image_size,
            "weights": weights,
            "seed": seed,
        },
        lambda name: study_paths(name, results_dir, logs_dir),
    )
    paths = study_paths(chosen.name, results_dir, logs_dir)
    console = human(as_json)
    found = search(
        chosen,
        paths,
        data_dir=data_dir,
        workers=workers,
        skip_unreadable=skip_unreadable,
        console=console,
    )

    def show(console: Console) -> None:
        print_found(chosen, paths, found, console)
        next_command(console, f"finalize {chosen.name}{where(paths)}")

    output(read_trials(paths), as_json, show)


@app.command("trials")
def trials_command(
    name: StudyName,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Show every trial of a study, best first."""
    from search.trials import print_trials, trials

    paths = study_paths(name, results_dir, logs_dir)
    output(trials(paths), as_json, lambda console: print_trials(paths, console))


@app.command("finalize")
def finalize_command(
    name: StudyName,
    top: Annotated[int, typer.Option(help="Configurations to retrain.")] = 3,
    seeds: Annotated[int, typer.Option(help="Trainings of each.")] = 1,
    workers: Workers = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read the test set once more.")
    ] = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Retrain the best, build the ensemble, score the test set once."""
    from dataclasses import asdict

    from search.finalize import finalize, print_ensemble

    paths = study_paths(name, results_dir, logs_dir)
    ensemble = finalize(
        paths,
        top=top,
        seeds=seeds,
        workers=workers,
        data_dir=data_dir,
        again=again,
        console=human(as_json),
    )

    def show(console: Console) -> None:
        print_ensemble(paths, ensemble, console)
        next_command(console, f"export {name}{where(paths)}")

    output(asdict(ensemble), as_json, show)


@app.command("export")
def export_command(
    name: StudyName,
    formats: Annotated[
        str,
        typer.Option("--format", help="keras, savedmodel, onnx, litert, with commas."),
    ] = "keras",
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Write the ensemble and the best single model, each checked in a new process."""
    from dataclasses import asdict

    from search.export import export, print_exports

    paths = study_paths(name, results_dir, logs_dir)
    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    written = export(paths, formats=wanted, data_dir=data_dir, say=human(as_json).print)

    def show(console: Console) -> None:
        print_exports(paths, written, console)
        model = paths.folder / written[0].path
        next_command(console, f"predict {model} IMAGE…")

    output([asdict(item) for item in written], as_json, show)


@app.command("predict")
def predict_command(
    model: Annotated[str, typer.Argument(help="A .keras file or an exported study.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Images, folders or globs.")
    ],
    output_dir: Annotated[
        Path, typer.Option(help="Where masks, previews and the table go.")
    ] = Path("predictions"),
    top: Annotated[int, typer.Option(min=1, help="Classes to name an image.")] = 5,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Name the class of images, or write masks and previews."""
    from search.predict import predict, print_predictions, resolve_model

    rows = predict(
        resolve_model(model, results_dir),
        inputs,
        output_dir=output_dir,
        top=top,
        skip_unreadable=skip_unreadable,
    )
    output(rows, as_json, lambda console: print_predictions(rows, output_dir, console))


@app.command("board")
def board_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study; default: all.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, help="0 takes any free port.")] = 6006,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
) -> None:
    """Open TensorBoard on a study, at 127.0.0.1."""
    from search.board import board

    logs = study_paths(name, results_dir, logs_dir).logs if name else logs_dir
    raise typer.Exit(board(logs, port))


@app.command("demo")
def demo_command(
    workers: Workers = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Do all of it on generated images, both tasks, in minutes."""
    from search.demo import demo

    made = demo(results_dir, logs_dir, workers=workers, console=human(as_json))
    output(made, as_json, lambda console: None)


def main() -> None:
    """Run the command line; exit with 0 (done), 1 (failed) or 2 (wrong input)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code, with one line for what went wrong."""
    complain = Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print
    command = typer.main.get_command(app)
    try:
        status = command.main(
            arguments, prog_name="vision-tuner", standalone_mode=False
        )
    except InputError as error:
        complain(f"vision-tuner: {error}")
        return 2
    except KeyboardInterrupt:
        complain("vision-tuner: stopped; the same command goes on from here")
        return 1
    except Exception as error:
        usage = usage_message(error)
        if usage is not None:
            complain(f"vision-tuner: {usage}")
            return 2
        if isinstance(error, RuntimeError):
            complain(f"vision-tuner: {error}")
            return 1
        raise
    return status if isinstance(status, int) else 0


def usage_message(error: Exception) -> str | None:
    """Return the message of a wrong option or argument, or None for other errors."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    verb = context.command_path if context is not None else "vision-tuner"
    return f"{describe()} Try `{verb} --help`."
