"""Weights of a finalized study that are gone are trained again, to the same."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_finalize_in_time import STUDY

from search.errors import InputError
from search.finalize import finalize
from search.finalizing.finalists import exported_members, recorded_order
from search.paths import StudyPaths
from search.records import Ensemble, Finalist, read_records
from search.search import search
from search.studies import open_study
from search.training.checkpoints import BEST
from search.training.predictions import load_best


@pytest.fixture(scope="module")
def finalized(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StudyPaths, Ensemble]:
    folder = tmp_path_factory.mktemp("restored")
    paths = StudyPaths(folder / "results", folder / "logs", STUDY.name)
    search(replace(STUDY, total_epochs=8), paths, workers=0)
    return paths, again(paths)


def again(paths: StudyPaths, console: Console | None = None) -> Ensemble:
    return finalize(
        paths, top=1, use_validation=True, distill=True, workers=0, console=console
    )


def weights_of(paths: StudyPaths, record: Ensemble) -> dict[Path, list[np.ndarray]]:
    """Return the file of each exported member, and the arrays in it."""
    study, found = open_study(paths), {}
    members = exported_members(record, read_records(paths.finalists, Finalist))
    for member in members.values():
        order = recorded_order(study, paths, paths.folder, member, record)
        path = Path(order.folder) / BEST
        with np.load(path) as file:
            found[path] = [file[k] for k in sorted(file.files) if k != "state"]
    return found


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(a, b)
        for path in first
        for a, b in zip(first[path], second[path], strict=True)
    )


def test_all_are_had_again_where_the_work_folder_was_deleted(
    finalized: tuple[StudyPaths, Ensemble],
) -> None:
    paths, record = finalized
    before = weights_of(paths, record)
    assert len(before) >= 2, "a member and the student"
    shutil.rmtree(paths.work)
    console = Console(width=200, record=True)
    assert again(paths, console) == record
    told = console.export_text()
    assert f"The weights of {len(before)} networks are gone: trained again" in told
    assert same(weights_of(paths, record), before)


def test_a_damaged_one_is_told_by_export_and_trained_again(
    finalized: tuple[StudyPaths, Ensemble],
) -> None:
    paths, record = finalized
    before = weights_of(paths, record)
    members = exported_members(record, read_records(paths.finalists, Finalist))
    first = recorded_order(
        open_study(paths), paths, paths.folder, next(iter(members.values())), record
    )
    for content in (b"", Path(first.folder, BEST).read_bytes()[:-99]):
        Path(first.folder, BEST).write_bytes(content)
        with pytest.raises(InputError, match="the same finalize command again"):
            load_best(first)
    assert again(paths) == record
    assert same(weights_of(paths, record), before)
