"""Where everything of a study lies; the only place that knows file names."""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from search.errors import InputError

# Where studies lie unless another folder is named, seen from the working directory.
RESULTS = Path("results")
LOGS = Path("tensorboard_logs")


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study below `results/<name>` and `tensorboard_logs/<name>`."""

    results_dir: Path
    logs_dir: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.results_dir / self.name

    @property
    def study(self) -> Path:
        return self.folder / "study.json"

    @property
    def trials(self) -> Path:
        return self.folder / "trials.json"

    @property
    def finalists(self) -> Path:
        return self.folder / "finalists.json"

    @property
    def ensemble(self) -> Path:
        return self.folder / "ensemble.json"

    @property
    def choices(self) -> Path:
        return self.folder / "choices.json"

    @property
    def errors(self) -> Path:
        return self.folder / "errors.json"

    @property
    def gallery(self) -> Path:
        """Test images that tell how the ensemble errs."""
        return self.folder / "gallery.png"

    @property
    def test_ledger(self) -> Path:
        return self.folder / "test_ledger.json"

    @property
    def export(self) -> Path:
        return self.folder / "export"

    @property
    def manifest(self) -> Path:
        return self.export / "manifest.json"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def comparisons(self) -> Path:
        return self.folder / "comparisons"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def oracle(self) -> Path:
        return self.work / "oracle.json"

    @property
    def oracle_copy(self) -> Path:
        """What stands in where `oracle` is damaged."""
        return self.work / "oracle.copy.json"

    @property
    def journal(self) -> Path:
        """What changed since `oracle` was written."""
        return self.work / "oracle.journal"

    @property
    def study_copy(self) -> Path:
        """What stands in where `study` is damaged or lost."""
        return self.work / "study.json"

    @property
    def lock(self) -> Path:
        return self.work / "driver.lock"

    @property
    def crew(self) -> Path:
        """How many workers a measurement chose."""
        return self.work / "crew.json"

    @property
    def worker_logs(self) -> Path:
        return self.work / "workers"

    @property
    def logs(self) -> Path:
        return self.logs_dir / self.name

    def trial(self, trial_id: str) -> Path:
        """Checkpoints of one trial."""
        return self.work / "trials" / trial_id

    def finalist(self, finalist_id: str) -> Path:
        """Checkpoints and predictions of one finalist."""
        return self.work / "finalists" / finalist_id

    def comparison_run(self, run: str) -> Path:
        """Checkpoints and predictions of one training of a comparison."""
        return self.work / "comparisons" / run


def study_paths(
    name: str,
    results_dir: Path = Path("results"),
    logs_dir: Path = Path("tensorboard_logs"),
) -> StudyPaths:
    """Return the paths of the study `name`; what lies there is made by the verbs.

    Raises:
        InputError: the name is not one plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            "a study name of at most 100 letters, digits, '.', '_' and '-' that begins"
            " with a letter or digit",
            repr(name),
            "Choose another --name",
        )
    return StudyPaths(results_dir, logs_dir, name)


def studies_in(results_dir: Path) -> list[str]:
    """Return the names of the studies that have been searched, sorted."""
    return sorted(path.parent.name for path in results_dir.glob("*/study.json"))


def cache_dir() -> Path:
    """Return the folder of prepared arrays (`VISION_TUNER_CACHE`)."""
    chosen = os.environ.get("VISION_TUNER_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vision-tuner"


def name_from(words: str) -> str:
    """Return words as the name of a study; letters lose their accents."""
    parts = unicodedata.normalize("NFKD", words)
    letters = "".join(sign for sign in parts if not unicodedata.combining(sign))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-._")
