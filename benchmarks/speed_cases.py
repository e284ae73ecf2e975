"""The cases of benchmarks/speed.py: what both sides are asked to search."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search.studies import Study, ready_made

WEIGHTS = Path("weights") / "mobilenet_v2_0.35_224_notop.h5"
TRANSFER: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "input_size": 96,
    "augmentation": "none",
    "mixing": "none",
    "erasing_probability": 0.0,
}
# One small network, so that only training differs from trial to trial.
SMALL_CONVNET: dict[str, Any] = {
    "stages": 3,
    "blocks_per_stage": 1,
    "base_filters": 16,
    "convolution": "standard",
    "batch_size": 128,
}


@dataclass(frozen=True)
class Case:
    """A search that both sides run.

    Attributes:
        about: what it is, for the table.
        target: largest ratio of wall times the issue asks for.
        changes: fields of the ready-made study.
        needs_weights: whether it takes the pretrained MobileNetV2.
    """

    name: str
    about: str
    target: float
    study: str
    changes: dict[str, Any] = field(default_factory=dict)
    needs_weights: bool = False

    @property
    def trials(self) -> int:
        """Return how many are asked for; 0 where the tuner decides."""
        return int(self.changes.get("trials", 0))

    def options(self, data_dir: Path, trials: int | None = None) -> list[str]:
        """Return what our command is told, with fewer trials where time is short."""
        changes = self.changed(data_dir, trials)
        told = [self.study, "--name", self.name]
        for knob, value in changes.pop("fixed", {}).items():
            told += ["--fix", f"{knob}={value}"]
        for name, value in changes.items():
            told += [f"--{name.replace('_', '-')}", str(value)]
        return told

    def made(self, data_dir: Path, trials: int | None = None) -> Study:
        """Return the study, with fewer trials where time is short."""
        changes = self.changed(data_dir, trials)
        return replace(ready_made(self.study), name=self.name, **changes)

    def changed(self, data_dir: Path, trials: int | None) -> dict[str, Any]:
        """Return the fields of the ready-made study that differ."""
        changes = dict(self.changes)
        if self.needs_weights:
            changes["weights"] = str(data_dir / WEIGHTS)
        if trials is not None:
            changes["trials"] = trials
        return changes


CASES = {
    case.name: case
    for case in (
        Case(
            "scratch",
            "12 convnets from scratch × 4 epochs, 10,000 CIFAR-100 images",
            0.60,
            "cifar100-convnet",
            {"tuner": "random", "trials": 12, "epochs": 4, "limit_train": 10_000},
        ),
        Case(
            "frozen",
            "12 frozen transfer trials × 5 epochs, MobileNetV2 0.35, 96 px, 5,000"
            " images",
            0.10,
            "cifar100-vgg16",
            {
                "tuner": "random",
                "trials": 12,
                "epochs": 5,
                "limit_train": 5_000,
                "fixed": {**TRANSFER, "unfrozen_blocks": 0},
            },
            needs_weights=True,
        ),
        Case(
            "upper-block",
            "the same with the upper block unfrozen",
            0.50,
            "cifar100-vgg16",
            {
                "tuner": "random",
                "trials": 12,
                "epochs": 5,
                "limit_train": 5_000,
                "fixed": {**TRANSFER, "unfrozen_blocks": 1},
            },
            needs_weights=True,
        ),
        Case(
            "unet",
            "8 U-Nets × 4 epochs, VOC pairs, 128 px",
            0.75,
            "voc2012-unet",
            {"tuner": "random", "trials": 8, "epochs": 4},
        ),
        Case(
            "hyperband",
            "Hyperband 1→3→9, a small convnet, 2,500 CIFAR-100 images",
            0.60,
            "cifar100-convnet",
            {
                "tuner": "kt-hyperband",
                "epochs": 9,
                "limit_train": 2_500,
                "fixed": SMALL_CONVNET,
            },
        ),
    )
}
