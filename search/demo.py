"""The verb `demo`: all of it on generated images, both tasks, in minutes."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.rule import Rule

from search.beginning.crew import Auto
from search.beginning.inputs import prepared_data
from search.datasets import PreparedDataset
from search.export import export, print_exports
from search.finalize import finalize, print_ensemble
from search.output import where
from search.paths import StudyPaths, study_paths
from search.predict import predict, print_predictions
from search.report import print_report, report
from search.search import print_found, search
from search.studies import Study, ready_made
from search.wording import duration

TRIALS = 4
TOP = 2
# Small enough for seconds an epoch on one core, large enough to learn something.
STUDIES = (
    replace(
        ready_made("shapes-convnet"),
        name="demo-classification",
        epochs=6,
        limit_train=2000,
        fixed={"stem_stride": 2, "batch_size": 32, "mixing": "none"},
        max_flops=3e7,
    ),
    replace(
        ready_made("shapes-unet"),
        name="demo-segmentation",
        epochs=4,
        limit_train=1000,
        fixed={"base_filters": 8},
        max_flops=4e7,
    ),
)
PICTURES = 3


def demo(
    results_dir: Path,
    logs_dir: Path,
    *,
    workers: int | Auto | None,
    console: Console,
) -> list[dict[str, Any]]:
    """Search, finalize, export and predict on `shapes`; return what was made."""
    started = time.monotonic()
    made = []
    for study in STUDIES:
        study = replace(study, trials=TRIALS)
        paths = study_paths(study.name, results_dir, logs_dir)
        made.append(run_all_verbs(study, paths, workers, console))
    console.print(Rule(style="dim"))
    console.print(f"Done in {duration(time.monotonic() - started)}. Next:")
    place = where(study_paths(STUDIES[0].name, results_dir, logs_dir))
    for command in (
        f"vision-tuner trials {STUDIES[0].name}{place}",
        f"vision-tuner board{place}",
        f"vision-tuner studies{place}",
        "vision-tuner search cifar100-convnet --name small --limit-train 5000"
        " --epochs 9",
    ):
        console.print(f"  [bold]{command}[/bold]", highlight=False, soft_wrap=True)
    return made


def run_all_verbs(
    study: Study, paths: StudyPaths, workers: int | Auto | None, console: Console
) -> dict[str, Any]:
    """Run one study from search to predictions."""
    console.print(Rule(f"{study.task}: {study.name}", align="left", style="dim"))
    print_found(
        study, paths, search(study, paths, workers=workers, console=console), console
    )
    ensemble = finalize(paths, top=TOP, workers=workers, console=console)
    print_ensemble(paths, ensemble, console)
    written = export(paths, say=console.print)
    print_exports(paths, written, console)
    pictures = save_pictures(
        prepared_data(study, None), study, paths.folder / "predictions" / "input"
    )
    model = paths.folder / written[0].path
    folder = paths.folder / "predictions"
    rows = predict(model, pictures, output_dir=folder)
    print_predictions(rows, folder, console)
    print_report(report([paths]), console)
    return {
        "study": study.name,
        "model": str(model),
        "predictions": str(folder),
        "test": ensemble.test,
    }


def save_pictures(data: PreparedDataset, study: Study, folder: Path) -> list[Path]:
    """Write a few validation images as files, for `predict` to read."""
    images, _ = data.open("validation", study.task)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture{number}.png" for number in range(PICTURES)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    return paths
