"""Commands that use what finalize made: exports, predictions; and the demonstration."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import (
    AsJson,
    DataDir,
    LogsDir,
    ResultsDir,
    SkipUnreadable,
    StudyName,
    Workers,
    studied,
)
from search.output import human, next_command, output, where
from search.paths import LOGS, RESULTS, study_paths


def export(
    name: StudyName,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            show_default="keras",
            help="keras, savedmodel, onnx, litert, litert-float16, litert-int8,"
            " litert-int16, with commas or repeated, or all.",
        ),
    ] = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Write the ensemble and the best single model, each checked in a new process."""
    from dataclasses import asdict

    from search.export import export, print_exports
    from search.exporting.formats import named_formats
    from search.exporting.predictors import models_of

    paths = study_paths(name, results_dir, logs_dir)
    wanted = named_formats(formats or ["keras"])
    written = export(paths, formats=wanted, data_dir=data_dir, say=human(as_json).print)

    def show(console: Console) -> None:
        print_exports(paths, written, console)
        if models_of(results_dir, name):
            next_command(console, f"predict {name} IMAGE…{where(paths)}")

    output([asdict(item) for item in written], as_json, show)


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras, .onnx or .tflite file, a SavedModel, or an exported study."
        ),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH…",
            help="Images, folders or globs; - reads a list of them from stdin.",
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option(help="Where masks, previews and the table go.")
    ] = Path("predictions"),
    top: Annotated[int, typer.Option(min=1, help="Classes to name an image.")] = 5,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images at a time: bounds the memory.")
    ] = 32,
    skip_unreadable: SkipUnreadable = False,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Name the class of images, or write masks and previews."""
    from search.exporting.predictors import resolve_model
    from search.predict import predict, print_predictions

    rows = predict(
        resolve_model(studied(model), results_dir),
        inputs,
        output_dir=output_dir,
        top=top,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
    )
    output(rows, as_json, lambda console: print_predictions(rows, output_dir, console))


def demo(
    workers: Workers = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = RESULTS,
    logs_dir: LogsDir = LOGS,
    as_json: AsJson = False,
) -> None:
    """Do all of it on generated images, both tasks, in minutes."""
    from search.commands.who_trains import parse_count
    from search.demo import demo

    count = None if workers is None else parse_count(workers, least=0)
    made = demo(results_dir, logs_dir, workers=count, console=human(as_json))
    output(made, as_json, lambda console: None)
