"""All records of one study, read once, and the sums a report takes from them."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from search.comparing.comparisons import (
    AblationPath,
    Comparison,
    read_comparison,
    read_path,
)
from search.errors import InputError
from search.exporting.manifest import current_exports
from search.files import read_json
from search.oracles import entry_of, planned_rungs
from search.paths import StudyPaths
from search.records import (
    Ensemble,
    Exported,
    Finalist,
    Trial,
    ranked,
    read_ensemble,
    read_records,
)
from search.studies import Study, open_study, read_study

FAILED = ("FAILED",)


@dataclass(frozen=True)
class StudyRecords:
    """What lies below results/<name>, as records.

    Attributes:
        about: study.json.
        exports: files of the ensemble on record, not of an earlier one.
        looks: entries of the test ledger, oldest first.
        comparisons, ablations, galleries: file name without suffix -> what it holds.
        errors: errors.json; empty where it is not there.
        gallery: telling test images.
    """

    study: Study
    about: dict[str, Any]
    trials: list[Trial]
    finalists: list[Finalist]
    ensemble: Ensemble | None
    exports: list[Exported]
    looks: list[dict[str, Any]]
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    ablations: dict[str, AblationPath] = field(default_factory=dict)
    galleries: dict[str, Path] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)
    gallery: Path | None = None

    @cached_property
    def best(self) -> list[Trial]:
        """Trials with a score that did not fail, best first."""
        return ranked(self.trials, self.direction)

    @cached_property
    def failures(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state in FAILED]

    @cached_property
    def infeasible(self) -> list[Trial]:
        """Networks larger than the study allows, which were never trained."""
        return [trial for trial in self.trials if trial.state == "INFEASIBLE"]

    @property
    def tried(self) -> int:
        """Return how many trials could be trained; infeasible ones were not begun."""
        return len(self.trials) - len(self.infeasible)

    @property
    def is_comparison_only(self) -> bool:
        """Return whether values were compared and nothing was searched."""
        return bool(self.comparisons or self.ablations) and not self.trials

    @property
    def direction(self) -> Any:
        return self.study.direction

    @property
    def objective(self) -> str:
        return self.study.objective

    @property
    def metric(self) -> str:
        """Name of what finalists and ensembles are judged by in their metrics."""
        return self.study.metric

    @property
    def epochs(self) -> int:
        return sum(trial.epochs for trial in self.trials)

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)

    def size(self, split: str) -> int | None:
        """Return the number of images of a split, where it is recorded."""
        size = self.about.get("data", {}).get("sizes", {}).get(split)
        return None if size is None else int(size)

    @property
    def has_rungs(self) -> bool:
        """Return whether the tuner compares trials at rungs."""
        return entry_of(self.study.tuner).schedule != "full"

    @cached_property
    def rungs(self) -> list[int]:
        """Epoch counts at which trials were compared, as far as any has come.

        keras-tuner's Hyperband has no plan that could be asked: its rungs are where
        trials ended.
        """
        if not self.has_rungs:
            return []
        most = max((trial.epochs for trial in self.best), default=0)
        planned = planned_rungs(self.study)
        if planned:
            return [epochs for epochs in planned if epochs <= most]
        ends = [trial.epochs for trial in self.best if trial.message is None]
        return sorted({e for e in ends if ends.count(e) > 1 or e == self.study.epochs})


def read_study_records(paths: StudyPaths) -> StudyRecords:
    """Read everything recorded of one study.

    Raises:
        InputError: nothing was searched under this name, or a record is damaged.
    """
    try:
        return StudyRecords(
            study=open_study(paths),
            about=read_study(paths),
            trials=read_records(paths.trials, Trial),
            finalists=read_records(paths.finalists, Finalist),
            ensemble=read_ensemble(paths.ensemble),
            exports=current_exports(paths),
            looks=read_json(paths.test_ledger) if paths.test_ledger.exists() else [],
            comparisons={
                file.stem: read_comparison(file)
                for file in sorted(paths.comparisons.glob("*-from-*.json"))
            },
            ablations={
                file.stem: read_path(file)
                for file in sorted(paths.comparisons.glob("path-to-*.json"))
            },
            galleries={
                file.stem: file for file in sorted(paths.comparisons.glob("*.png"))
            },
            errors=read_json(paths.errors) if paths.errors.exists() else {},
            gallery=paths.gallery if paths.gallery.exists() else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"readable records of this version in {paths.folder}",
            str(error),
            "Restore the file from a copy, or search again under another --name",
        ) from error
