"""Turn what a user wrote into a study that can run, or into one clear line."""

import inspect
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock

import hypermodels
from search.beginning.study_checks import check_hypermodel
from search.beginning.study_files import SUFFIX, read_study_file
from search.beginning.study_record import changed_setting
from search.datasets import PreparedDataset, prepare
from search.errors import InputError
from search.files import check_writable, file_hash, write_text
from search.machine.backend import load_keras
from search.oracles import ORACLES
from search.oracles import load as load_tuner
from search.paths import StudyPaths, name_from
from search.records import Direction, Task
from search.studies import (
    READY_MADE,
    Study,
    is_recorded,
    open_study,
    read_study,
    ready_made,
)

# Settings by knob: those of a command line are added to those that are known.
OF_KNOBS = ("fixed", "narrowed")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def own_study(dataset: str, hypermodel: str, name: str | None = None) -> Study:
    """Return a study on a data set of the user's choice.

    Args:
        dataset: a folder of images, `tfds:NAME`, or a registered name.
        hypermodel: a registered name, or `module:Class`.
        name: None = made of both.

    Raises:
        InputError: there is no such hypermodel.
    """
    check_hypermodel(hypermodel)
    task: Task = hypermodels.task_of(hypermodel)
    objective = "val_accuracy" if task == "classification" else "val_dice"
    direction: Direction = "max"
    if hypermodel not in hypermodels.HYPERMODELS:
        own = hypermodels.load(hypermodel)
        objective, direction = own.objective, own.direction
    words = (Path(dataset).name, hypermodel.rpartition(":")[2].replace("_", "-"))
    return Study(
        name=name or "-".join(filter(None, map(name_from, words))),
        task=task,
        dataset=dataset,
        hypermodel=hypermodel,
        objective=objective,
        direction=direction,
    )


def with_own_direction(study: Study) -> Study:
    """Return the study with the direction that an own network has for its objective.

    Of other metrics the name tells it (`search.scoring.pareto.direction_of`).
    """
    if study.hypermodel in hypermodels.HYPERMODELS:
        return study
    load_keras()
    own = hypermodels.load(study.hypermodel)
    known = study.objective == own.objective
    return replace(study, direction=own.direction) if known else study


def code_hashes(study: Study) -> list[str]:
    """Return the hashes of the files of a hypermodel and a tuner of one's own."""
    classes: list[type] = []
    if study.hypermodel not in hypermodels.HYPERMODELS:
        classes.append(hypermodels.load(study.hypermodel))
    if study.tuner not in ORACLES:
        classes.append(load_tuner(study.tuner))
    sources = [inspect.getsourcefile(own) for own in classes]
    files = [Path(source) for source in sources if source]
    return [file_hash(file) for file in files]


def weights_hash(weights: str) -> str | None:
    """Return the hash of a weights file, or None for weights known by name."""
    if weights in ("imagenet", "none"):
        return None
    return file_hash(Path(weights))


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `30m`, `2h`, `1d` or a bare number of seconds.

    Raises:
        InputError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise InputError(
            "a duration such as 90s, 30m or 2h", repr(text), "Write a number and a unit"
        )
    return float(match[1]) * UNITS[match[2] or "s"]


def check_folders(paths: StudyPaths) -> None:
    """Raise InputError where the study's folders (made if absent) take no file."""
    for folder in (paths.folder, paths.logs):
        option = "--logs-dir" if folder == paths.logs else "--results-dir"
        remedy = f"Change its permissions, make room, or choose another {option}"
        check_writable(folder, remedy)


def prepared_data(
    study: Study,
    data_dir: Path | None,
    say: Callable[[str], None] = lambda text: None,
) -> PreparedDataset:
    """Prepare (or open) the study's data.

    Args:
        data_dir: where it lies; None = where an earlier command found it.
    """
    found = None if study.data_dir is None else Path(study.data_dir)
    return prepare(
        study.dataset,
        task=study.task,
        data_dir=data_dir or found,
        image_size=study.image_size,
        seed=study.seed,
        skip_unreadable=study.skip_unreadable,
        say=say,
    )


def described(data: PreparedDataset) -> dict[str, Any]:
    """Return what study.json says of the data: sizes, hashes, classes."""
    return {
        "fingerprint": data.fingerprint,
        "image_shape": list(data.image_shape),
        "class_names": data.class_names,
        "sizes": data.sizes,
        "hashes": data.hashes,
        "skipped": len(data.skipped),
    }


def refuse_other_data(paths: StudyPaths, data: PreparedDataset) -> None:
    """Raise InputError where images, targets or classes are not those of the search."""
    known, found = read_study(paths)["data"], described(data)
    if any(
        known.get(key, found[key]) != found[key] for key in ("hashes", "class_names")
    ):
        raise InputError(
            "the images the search was run on, and its classes",
            f"others in {data.name}",
            "Restore them, or search again under another --name",
        )


def with_data_dir(study: Study, data_dir: Path | None) -> Study:
    """Return the study that remembers where its data was found."""
    return study if data_dir is None else replace(study, data_dir=str(data_dir))


@contextmanager
def only_driver(paths: StudyPaths) -> Iterator[None]:
    """Hold the study for one driver; the kernel frees it when the process ends.

    Raises:
        InputError: another process holds it.
    """
    paths.work.mkdir(parents=True, exist_ok=True)
    holder = paths.lock.with_suffix(".pid")
    lock = filelock.FileLock(paths.lock)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        who = holder.read_text().strip() if holder.exists() else "another process"
        raise InputError(
            f"no other process working on the study {paths.name}",
            who,
            "Wait for it, end it, or choose another --name",
        ) from None
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    me = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
    try:
        write_text(holder, f"{me}\n")
        yield
    finally:
        lock.release()


def chosen_study(
    ready: str | None,
    name: str | None,
    dataset: str | None,
    hypermodel: str | None,
    options: Mapping[str, Any],
    paths_of: Callable[[str], StudyPaths],
) -> Study:
    """Return the study a command line asks for.

    A study remembers the options it was searched with: what the command line leaves
    out is taken from study.json where there is one, else from the ready-made study. A
    ready-made study under another name begins as it is ready-made.

    Args:
        ready: a ready-made study, the name of one that was searched, or a study file.
        options: fields of `Study` as given; None = not given.

    Raises:
        InputError: it names no study, or two.
    """
    given = {key: value for key, value in options.items() if value is not None}
    refuse_none_or_two(ready, dataset, hypermodel)
    if ready is not None and ready.endswith(SUFFIX):
        written = read_study_file(Path(ready))
        own_name = written.pop("name", None)
        dataset, hypermodel = written.pop("dataset"), written.pop("hypermodel")
        knobs = {key: written.pop(key) | given.get(key, {}) for key in OF_KNOBS}
        base = own_study(str(dataset), str(hypermodel), name or own_name)
        given = {**written, **given, **knobs}
    elif ready is not None:
        base = known_study(ready, name, paths_of)
    else:
        base = own_study(str(dataset), str(hypermodel), name)
    base = as_recorded(base, paths_of(base.name))
    for key in OF_KNOBS:
        if key in given:
            given[key] = getattr(base, key) | given[key]
    chosen = replace(base, **given)
    return with_own_direction(chosen) if "objective" in given else chosen


def refuse_none_or_two(
    ready: str | None, dataset: str | None, hypermodel: str | None
) -> None:
    """Raise InputError where a command line names no study, half of one, or two."""
    halves = (dataset is not None) + (hypermodel is not None)
    if ready is not None and halves and ready.endswith(SUFFIX):
        raise InputError(
            f"data set and hypermodel as {ready} has them",
            "another one" if halves == 1 else "others",
            f"Change them in {ready}, and search under another --name",
        )
    if (ready is None) == (halves == 0):
        raise InputError(
            "a ready-made STUDY, or --dataset with --hypermodel",
            "both" if ready is not None else "neither",
            "`vision-tuner studies` lists the ready-made ones",
        )
    if halves == 1:
        raise InputError(
            "--dataset and --hypermodel together", "only one of them", "Add the other"
        )


def known_study(
    ready: str, name: str | None, paths_of: Callable[[str], StudyPaths]
) -> Study:
    """Return a ready-made study, or one that was searched, under a name."""
    if os.sep in ready:  # no study has such a name
        ready_made(ready)
    recorded = paths_of(ready)
    is_ready_made = ready in {study.name for study in READY_MADE}
    if is_recorded(recorded) and (name is None or not is_ready_made):
        base = open_study(recorded)
    else:
        base = ready_made(ready)
    return replace(base, name=name or ready)


def as_recorded(base: Study, paths: StudyPaths) -> Study:
    """Return the study on record under the name of one, where there is any.

    Raises:
        InputError: it has another task, data set or hypermodel.
    """
    if not is_recorded(paths):
        return base
    on_record = open_study(paths)
    for key in ("task", "dataset", "hypermodel"):
        known, asked = getattr(on_record, key), getattr(base, key)
        if known != asked and not (key == "dataset" and is_same_folder(known, asked)):
            raise changed_setting(paths, key, known, asked)
    return replace(on_record, name=base.name)


def is_same_folder(first: str, second: str) -> bool:
    """Return whether two data sets are one folder, however it is spelt.

    Of one that was moved only the end of its path is compared: what decides is whether
    it holds the same images.
    """
    paths = [Path(dataset).expanduser() for dataset in (first, second)]
    if not any(path.is_dir() for path in paths):
        return os.sep in first + second and paths[0].name == paths[1].name
    return all(path.is_dir() for path in paths) and paths[0].samefile(paths[1])
