"""Does every exported file do what the trained network does, in its own runtime?

    python benchmarks/export_fidelity.py --data-dir DIR

Trains small networks (convnets on CIFAR-100, two of them hardly better than chance,
whose flat probabilities are the hardest to keep in order; a U-Net with each kind of
upsampling on the generated shapes), exports each and an ensemble of two in every
format, and runs every file on 1,000 validation images in a fresh process that cannot
import vision-tuner. 8-bit files learn from 500 training images. Writes
benchmarks/results/export_fidelity.json.

Targets: float32 formats 100 % of labels (largest difference of a probability 1e-4) and
99.99 % of mask pixels, float16 99.5 %, int8 97 %.
"""

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from hypermodels.blocks import UPSAMPLINGS
from search.beginning.inputs import prepared_data
from search.datasets import PreparedDataset
from search.environment import environment
from search.export import CALIBRATION_IMAGES, spread
from search.exporting.artefacts import Source, write_exports
from search.exporting.descriptions import Description
from search.exporting.formats import FORMATS
from search.exporting.inference_models import ensemble_model
from search.files import read_json, write_json
from search.finalizing.ensemble import average
from search.finalizing.finalists import Member, member_order
from search.machine.backend import load_keras
from search.paths import study_paths
from search.records import Exported
from search.scoring.calibration import scaled
from search.spaces import declare_space
from search.studies import Study, ready_made
from search.training.continuing import train
from search.training.loop import make_hypermodel
from search.training.predictions import load_best

RECORD = Path(__file__).parent / "results" / "export_fidelity.json"
IMAGES = 1000
WEIGHTS = {"first": 0.6, "second": 0.4}
TEMPERATURE = 1.4


def studies(data_dir: Path) -> dict[str, Study]:
    """Return the networks that are exported, by name."""
    convnet = replace(
        ready_made("cifar100-convnet"),
        epochs=4,
        limit_train=10_000,
        data_dir=str(data_dir),
        fixed={
            "stages": 2,
            "base_filters": 16,
            "stem_stride": 2,
            "blocks_per_stage": 1,
        },
    )
    gelu = replace(convnet, fixed=convnet.fixed | {"activation": "gelu"})
    trained = replace(
        convnet, epochs=10, limit_train=30_000, fixed={"base_filters": 16, "stages": 3}
    )
    unet = replace(ready_made("shapes-unet"), epochs=4, limit_train=2000)
    unets = {
        f"unet, {kind}": replace(
            unet, fixed={"depth": 2, "base_filters": 8, "upsampling": kind}
        )
        for kind in UPSAMPLINGS
    }
    convnets = {
        "convnet, relu": convnet,
        "convnet, gelu": gelu,
        "convnet, trained": trained,
    }
    return convnets | unets


def members(study: Study, data: PreparedDataset, work: Path) -> dict[str, Any]:
    """Train the default configuration from two seeds; return the networks."""
    hypermodel = make_hypermodel(study, data, study.epochs)
    values = dict(declare_space(hypermodel, study.fixed).values)
    paths = study_paths("fidelity", work / "results", work / "logs")
    networks = {}
    for seed, name in enumerate(WEIGHTS):
        member = Member(name, "finalist", name, seed, values)
        order = replace(member_order(study, paths, data.folder, member), logs=None)
        train(order, lambda progress: None, lambda: False)
        networks[name] = load_best(order)
    return networks


def rows(name: str, study: Study, work: Path) -> list[dict[str, Any]]:
    """Return what the check of every file measured."""
    data = prepared_data(study, None)
    networks = members(study, data, work)
    images = spread(data.open("validation", study.task)[0], IMAGES)
    outputs = {
        key: np.asarray(model.predict(images, batch_size=64, verbose=0))
        for key, model in networks.items()
    }
    sources = []
    for kind, weights in (("ensemble", WEIGHTS), ("best_single", {"first": 1.0})):
        model = ensemble_model(
            [networks[key] for key in weights],
            list(weights.values()),
            TEMPERATURE,
            study.task,
        )
        about = Description(
            study.task, data.class_names, list(model.input_shape[1:]), model=kind
        )
        reference = scaled(study.task, average(outputs, weights), TEMPERATURE)
        sources.append(Source(model, reference, about))
    learned, _ = data.open_train(study.task, CALIBRATION_IMAGES, study.seed)
    made: list[Exported] = []
    failures: list[str] = []
    for format_name in FORMATS:
        written, wrong = write_exports(
            work / "export", sources, images, format_name, learned
        )
        made += written
        failures += wrong
    for failure in failures:
        print("FAILED", name, failure)
    measured = [
        {key: value for key, value in asdict(item).items() if key != "path"}
        for item in made
    ]
    about = {"network": name, "validation_accuracy": accuracy(study, data, outputs)}
    return [about | item for item in measured] + [
        about | {"failure": failure} for failure in failures
    ]


def accuracy(
    study: Study, data: PreparedDataset, outputs: dict[str, Any]
) -> float | None:
    """Return how good the first network is on the checked images, if it classifies."""
    if study.task != "classification":
        return None
    labels = spread(data.open("validation", study.task)[1], IMAGES)
    return float((outputs["first"].argmax(axis=1) == labels).mean())


def recorded(path: Path, about: dict[str, Any], measured: set[str]) -> list[Any]:
    """Return the rows of other networks, where they are of this commit."""
    before = read_json(path) if path.exists() else {}
    if any(before.get(key) != value for key, value in about.items()):
        return []
    return [row for row in before["files"] if row["network"] not in measured]


def show(row: dict[str, Any]) -> None:
    """Print a line a file."""
    if "failure" not in row:
        print(
            f"{row['network']:18} {row['model']:12} {row['format']:15}"
            f" {row['max_abs_difference']:.1e} {row['agreement']:.4%}"
            f" {row['quantisation'].get('float_layers', '')}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="Names of networks; default: all.")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--work", type=Path, help="Keeps trained networks for again.")
    arguments = parser.parse_args()
    load_keras()
    about = {
        "command": "python benchmarks/export_fidelity.py --data-dir DATA",
        "environment": environment(),
        "hardware": f"{os.cpu_count()} CPU cores, no GPU",
        "images": IMAGES,
    }
    for name, study in studies(arguments.data_dir).items():
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            made = rows(name, study, (arguments.work or Path(folder)) / name)
        table = recorded(arguments.record, about, {name}) + made
        write_json(arguments.record, about | {"files": table})
        for row in made:
            show(row)


if __name__ == "__main__":
    main()
