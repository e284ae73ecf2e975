"""The options that several verbs of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

from search.beginning.study_files import SUFFIX, read_study_file
from search.commands.completion import (
    all_studies,
    hypermodel_names,
    searched_studies,
    tuner_names,
)
from search.studies import FINALISTS


def studied(word: str) -> str:
    """Return the name of a study; that of a study file is what `search` calls it."""
    if not word.endswith(SUFFIX) or not Path(word).is_file():
        return word
    from search.beginning.inputs import own_study

    written = read_study_file(Path(word))
    named = written.get("name")
    return named or own_study(written["dataset"], written["hypermodel"], None).name


ResultsDir = Annotated[
    Path, typer.Option(metavar="DIR", help="Where records are kept.")
]
LogsDir = Annotated[
    Path, typer.Option(metavar="DIR", help="Where TensorBoard runs are kept.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Root that holds tensorflow_datasets/ and VOCdevkit/, or your folder of"
        " images where that was moved.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document only.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="No progress, only the result; errors as ever."),
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Processes that train; 0 trains in this process; auto as many as train"
        " most, which search measures. Default: one a GPU, or one a core up to 4.",
    ),
]
TrialsPerGpu = Annotated[
    str,
    typer.Option(
        metavar="N",
        help="Processes that share one GPU; auto as search measures.",
    ),
]
WorkerMemory = Annotated[
    str | None,
    typer.Option(
        metavar="4g",
        help="Memory at which a process is replaced."
        " Default: its share of 85 % of the machine.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="30m",
        help="Wall time of the search over all its runs; --finalize is part of it.",
    ),
]
FinalizeAfter = Annotated[
    bool,
    typer.Option("--finalize", help="Finalize afterwards, within the --budget."),
]
TrialTimeout = Annotated[
    str | None,
    typer.Option(
        metavar="30m", help="Training time after which a trial has failed, in all."
    ),
]
TotalEpochs = Annotated[
    int | None, typer.Option(metavar="N", help="Epochs of all trials together.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Train on a running Ray cluster: auto, HOST:PORT or ray://HOST:PORT.",
    ),
]
CpusPerTrial = Annotated[
    float | None,
    typer.Option(metavar="N", help="With --ray: cores a trial, 0.5 shares one; 1."),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="With --ray: GPUs a trial, 0 to 1, 0.5 shares one."
        " Default: 1 where the cluster has any.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable",
        help="Leave out image files that cannot be read, and count them.",
    ),
]
BalanceClasses = Annotated[
    bool,
    typer.Option(
        "--balance-classes",
        help="Draw training images so that all classes are equally frequent.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check all, say what it would cost; record nothing."
    ),
]
StudyName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A searched study, or its study.toml.",
        autocompletion=searched_studies,
        callback=studied,
    ),
]
ReadyMade = Annotated[
    str | None,
    typer.Argument(
        metavar="STUDY",
        help="A ready-made study, one that was begun, or a study.toml.",
        autocompletion=all_studies,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Own data: a folder, or tfds:NAME. Needs --hypermodel."
    ),
]
HyperModelName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="convnet, vgg16_transfer, unet, mobilenet_unet or own: module:Class.",
        autocompletion=hypermodel_names,
    ),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="KNOB=VALUE", help="Take a knob out of the search."),
]
Narrow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KNOB=…",
        help="Search a part of a knob's range: LOW..HIGH, or some choices, A,B.",
    ),
]
Tuner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=tuner_names,
        help="bohb, priorband, hyperband, bayesian, random, grid, kt-hyperband,"
        " kt-bayesian or own: module:Class.",
    ),
]
Objective = Annotated[
    list[str] | None,
    typer.Option(
        "--objective",
        metavar="METRIC",
        help="What is searched for: a metric such as val_accuracy; repeated, also"
        " latency_ms, parameters or flops.",
    ),
]
StartFrom = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Learn from the trials of an earlier study, or start with `baselines`.",
    ),
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Most epochs of one trial.")
]
Patience = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Epochs without a better score that end a trial. Default: 20.",
    ),
]
Trials = Annotated[int | None, typer.Option(metavar="N", help="Configurations to try.")]
LimitTrain = Annotated[
    int | None,
    typer.Option(metavar="N", help="Train on that many images, drawn evenly."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(metavar="N", help="Edge in pixels of what the network sees."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Pretrained parts: imagenet, none or the path of a file."
    ),
]
MaxFlops = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="Larger networks are infeasible (forward, one image)."
        " Default: no limit with a GPU, else half a minute an epoch, or the"
        " default network where that is larger.",
    ),
]
MaxParameters = Annotated[
    int | None, typer.Option(metavar="N", help="Networks with more are infeasible.")
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ms",
        metavar="N",
        help="Networks slower than that are infeasible: one image forward, median of"
        " several runs, measured before training on the worker's share of the machine.",
    ),
]
AugmentedPasses = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Let networks with a frozen part see N augmented versions of the images in"
        " turn, whose features are computed once. Default: new ones in every epoch.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="float32 (the default), mixed_bfloat16, or auto: that where GPUs have it."
        " Exports are float32.",
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Of splits, tuner and training.")
]
Top = Annotated[
    int | None,
    typer.Option(help="Configurations to retrain.", show_default=str(FINALISTS)),
]
Seeds = Annotated[int | None, typer.Option(help="Trainings of each.", show_default="1")]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the study; default: that of STUDY."),
]
