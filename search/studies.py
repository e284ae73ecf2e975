"""Studies: what one search is, the ready-made ones, and how their record is read."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.files import read_sealed
from search.paths import StudyPaths, studies_in
from search.records import JUDGED, Direction, Task, Value, Values
from search.wording import setting_text, suggestion

# As Keras names them; the weights of both are float32.
PRECISIONS = ("float32", "mixed_bfloat16", "auto")
# Configurations that finalize retrains unless told otherwise.
FINALISTS = 3


@dataclass(frozen=True)
class Study:
    """One search: data set + hypermodel + tuner + budget.

    Attributes:
        name: its folder below results/ and tensorboard_logs/.
        dataset: a registered name, `tfds:NAME` or a folder.
        hypermodel: a registered name, or `module:Class`.
        tuner: a registered name, or `module:Class`.
        objective: Keras' log key of the score, on validation.
        epochs: most epochs of one trial.
        trials: number of configurations; None = what the tuner plans.
        fixed: knob -> value, taken out of the search.
        narrowed: knob -> `LOW..HIGH` of a number, or the choices that are left.
        limit_train: train on that many images, drawn evenly; None = all.
        image_size: edge in pixels of what the network sees; None = its default.
        weights: `imagenet`, `none` or a path, for pretrained parts.
        seed: of the splits, the tuner and the training.
        patience: epochs without a better score that end a trial; None = never.
        data_dir: where the data was found, as the user wrote it.
        budget_seconds: wall time of the search; None = no limit.
        max_flops: larger networks are infeasible (forward, one image); None = no
            limit where there is a GPU, else what trains an epoch in half a minute.
        further_objectives: what else is to be good, besides `objective`.
        start_from: earlier studies whose trials the tuner is told, or `baselines`.
        skip_unreadable: leave image files out that cannot be read.
        max_parameters: networks with more are infeasible; None = no limit.
        balance_classes: draw training images so that all classes are equally frequent.
        max_latency_ms: networks slower than that are infeasible (one image forward,
            measured where the trial trains); None = no limit.
        trial_timeout_seconds: of training and validation, over the whole life of a
            trial; None = no limit.
        total_epochs: of all trials together; None = what the tuner plans.
        augmented_passes: versions of the augmented training images that a network
            with a frozen part sees in turn, so that its features are computed once;
            None = new ones in every epoch.
        precision: of the training, one of `PRECISIONS`; predictions are float32.
    """

    name: str
    task: Task
    dataset: str
    hypermodel: str
    tuner: str = "bohb"
    objective: str = "val_accuracy"
    direction: Direction = "max"
    epochs: int = 30
    trials: int | None = None
    fixed: Values = field(default_factory=dict)
    limit_train: int | None = None
    image_size: int | None = None
    weights: str = "imagenet"
    seed: int = 0
    patience: int | None = 20
    data_dir: str | None = None
    budget_seconds: float | None = None
    max_flops: float | None = None
    max_parameters: int | None = None
    max_latency_ms: float | None = None
    skip_unreadable: bool = False
    further_objectives: list[str] = field(default_factory=list)
    start_from: list[str] = field(default_factory=list)
    balance_classes: bool = False
    trial_timeout_seconds: float | None = None
    total_epochs: int | None = None
    augmented_passes: int | None = None
    precision: str = PRECISIONS[0]
    narrowed: dict[str, str | list[Value]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """What predictions are judged by: the objective, unless it is a loss."""
        name, known = self.objective.removeprefix("val_"), JUDGED[self.task]
        return name if name in known else known[0]


# What may differ between two runs of the same command: a search can be extended or
# moved, not changed.
MAY_CHANGE = ("trials", "total_epochs", "data_dir", "budget_seconds")
# A study that was only compared has had no tuner yet.
OF_A_SEARCH = ("tuner", "start_from")

READY_MADE = (
    Study("shapes-convnet", "classification", "shapes", "convnet", epochs=9),
    Study(
        "shapes-unet", "segmentation", "shapes", "unet", objective="val_dice", epochs=9
    ),
    Study("cifar100-vgg16", "classification", "cifar100", "vgg16_transfer", epochs=27),
    Study("cifar100-convnet", "classification", "cifar100", "convnet", epochs=81),
    Study(
        "voc2012-unet",
        "segmentation",
        "voc2012",
        "unet",
        objective="val_dice",
        epochs=81,
        image_size=128,
    ),
    Study(
        "voc2012-mobilenet",
        "segmentation",
        "voc2012",
        "mobilenet_unet",
        objective="val_dice",
        epochs=27,
        image_size=128,
    ),
)


def ready_made(name: str) -> Study:
    """Return the ready-made study `name`.

    Raises:
        InputError: there is none; the nearest names are suggested.
    """
    studies = {study.name: study for study in READY_MADE}
    if name not in studies:
        raise InputError(
            f"a ready-made study ({', '.join(studies)}), one that was searched, or a"
            " study file that ends in .toml",
            repr(name),
            f"Of a folder of images, `vision-tuner init {name}` writes one"
            if Path(name).is_dir()
            else suggestion(name, studies) + "`vision-tuner studies` describes them",
        )
    return studies[name]


def unlike_usual(study: Study) -> str:
    """Return what a study sets unlike the ready-made one of its kind, in words.

    What may change between two runs is left out.
    """
    kind = (study.dataset, study.hypermodel)
    usual = next(
        (one for one in READY_MADE if (one.dataset, one.hypermodel) == kind),
        None,
    )
    others = [] if usual else ["objective"]  # follows from the network of one's own
    usual = usual or Study(study.name, study.task, *kind)
    fields = [field.name for field in dataclasses.fields(Study)]
    untold = ("name", "direction", "max_flops", *MAY_CHANGE, *others)
    return ", ".join(
        setting_text(name, getattr(study, name))
        for name in fields
        if name not in untold and getattr(study, name) != getattr(usual, name)
    )


def open_study(paths: StudyPaths) -> Study:
    """Read the study that was searched under this name.

    Raises:
        InputError: nothing was searched under this name.
    """
    if not is_recorded(paths):
        known = studies_in(paths.results_dir)
        is_ready_made = paths.name in {study.name for study in READY_MADE}
        raise InputError(
            f"a study that has been searched in {paths.results_dir}/"
            f" ({', '.join(known) or 'none yet'})",
            repr(paths.name),
            f"Run `vision-tuner search {paths.name}` first, or pass --results-dir"
            if is_ready_made
            else suggestion(paths.name, known)
            + "Choose a searched study, or pass --results-dir",
        )
    return Study(**read_study(paths)["study"])


def read_study(paths: StudyPaths) -> dict[str, Any]:
    """Read study.json, or its copy in work/ where it is damaged or lost.

    Raises:
        InputError: neither is as it was written.
    """
    problem = f"no {paths.study}"
    for path in (paths.study, paths.study_copy):
        try:
            recorded = read_sealed(path)
            Study(**recorded["study"])
            return recorded
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, KeyError) as error:
            problem = str(error)
    raise InputError(
        f"the study as it was recorded in {paths.study}",
        problem,
        "Restore the file from a copy, or search again under another --name",
    )


def is_recorded(paths: StudyPaths) -> bool:
    """Return whether something was searched under this name."""
    files = (paths.study, paths.study_copy, paths.trials)
    return any(path.exists() for path in files)
