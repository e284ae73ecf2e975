"""A budget that finalize is part of: what it has no time for is not trained."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from small import ONE_GRAPH

from search.errors import InputError
from search.finalize import finalize, print_ensemble
from search.finalizing.steps import Finalizing
from search.orders import Order, Outcome
from search.paths import StudyPaths
from search.records import Finalist, read_records
from search.search import search
from search.studies import ready_made
from search.training.accumulation import IN_HALVES
from search.training.checkpoints import BEST, LAST, read_standing, save_checkpoint
from search.training.failures import NOT_FINITE, OUT_OF_MEMORY
from search.training.loop import fit_epoch

STUDY = replace(
    ready_made("shapes-convnet"),
    name="short",
    tuner="random",
    trials=2,
    epochs=4,
    total_epochs=4,
    limit_train=64,
    fixed=ONE_GRAPH,
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    folder = tmp_path_factory.mktemp("short")
    paths = StudyPaths(folder / "results", folder / "logs", STUDY.name)
    assert [trial.epochs for trial in search(STUDY, paths, workers=0)] == [4]
    larger = replace(STUDY, total_epochs=8)
    assert len(search(larger, paths, workers=0)) == 2
    return paths


def test_a_finalize_that_was_stopped_goes_on_to_the_same_ensemble(
    paths: StudyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    stop = 0

    def counted(*arguments: Any) -> Any:
        epochs.append(1)
        if len(epochs) == stop:
            raise KeyboardInterrupt
        return fit_epoch(*arguments)

    def copied(name: str) -> StudyPaths:
        copy = StudyPaths(tmp_path / name, tmp_path / "logs", paths.name)
        shutil.copytree(paths.folder, copy.folder)
        return copy

    monkeypatch.setattr("search.training.loop.fit_epoch", counted)
    whole, cut = copied("whole"), copied("cut")
    record = finalize(whole, top=1, seeds=2, workers=0)
    needed = len(epochs)
    assert needed == STUDY.epochs  # of the second seed; the first is a trial of it
    epochs, stop = [], 3
    with pytest.raises(KeyboardInterrupt):
        finalize(cut, top=1, seeds=2, workers=0)
    assert not cut.ensemble.exists() and not cut.test_ledger.exists()
    stop = 0
    assert finalize(cut, top=1, seeds=2, workers=0) == record
    assert len(epochs) == needed + 1  # only the one that was cut came again


def test_without_time_the_checkpoints_of_the_search_are_combined(
    paths: StudyPaths,
) -> None:
    left = paths.folder / ".ensemble.json.999999999-abcdefgh"  # by a killed process
    left.touch()
    console = Console(width=200, record=True)
    record = finalize(paths, workers=0, seconds=0.0, console=console)
    assert "time to train none of 2 finalists" in console.export_text()
    assert {entry["kind"] for entry in record.library} == {"trial"}
    assert read_records(paths.finalists, Finalist) == []
    assert 0 <= record.test["accuracy"] <= 1 and not left.exists()
    # The same command again prints the record, however much time there is now.
    again = Console(width=200, record=True)
    assert finalize(paths, workers=0, seconds=1e6, console=again) == record
    assert "scored before" in again.export_text()
    assert "none of" not in again.export_text()


def test_with_time_all_finalists_are_trained(paths: StudyPaths) -> None:
    record = finalize(paths, workers=0, seconds=1e6, again=True)
    assert len(read_records(paths.finalists, Finalist)) == 2
    assert record.look == 2


def test_without_a_number_the_finalists_are_those_of_the_last_look(
    paths: StudyPaths,
) -> None:
    """So the same words bring back weights that are gone, whatever was afforded."""
    record = finalize(paths, workers=0, top=1, again=True)
    trained = [f.finalist_id for f in read_records(paths.finalists, Finalist)]
    with pytest.raises(InputError, match="finalists the test set was read for"):
        finalize(paths, workers=0, seeds=3)
    shutil.rmtree(paths.work)
    assert finalize(paths, workers=0) == record
    assert (paths.finalist(trained[0]) / BEST).exists() or trained[0] not in (
        *record.members,
        record.best_single.member,
    )


def test_a_finalist_in_half_batches_says_so(paths: StudyPaths) -> None:
    """Its checkpoint remembers it, where nothing is left to train."""
    halved = StudyPaths(paths.results_dir, paths.logs_dir, "halved")
    (trial,) = search(replace(STUDY, name="halved"), halved, workers=0)
    for name in (BEST, LAST):
        file = halved.trial(trial.trial_id) / name
        standing = read_standing(file)
        assert standing is not None
        with np.load(file) as opened:
            values = [opened[key] for key in sorted(set(opened) - {"state"})]
        save_checkpoint(file, values, replace(standing, parts=2))
    record = finalize(halved, workers=0)
    (finalist,) = read_records(halved.finalists, Finalist)
    assert [IN_HALVES in note for note in finalist.notes] == [True]
    console = Console(width=200, record=True)
    print_ensemble(halved, record, console)
    assert f"finalist {finalist.finalist_id}: out of" in console.export_text()


def test_finalists_that_fail_leave_the_checkpoints_of_the_search(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = replace(STUDY, name="failing")
    failing = StudyPaths(paths.results_dir, paths.logs_dir, longer.name)
    search(longer, failing, workers=0)

    kind = OUT_OF_MEMORY

    def fails(self: Finalizing, orders: list[Order]) -> Any:
        return {}, [Outcome(o.order_id, "FAILED", "why", kind) for o in orders]

    monkeypatch.setattr(Finalizing, "attempt", fails)
    with pytest.raises(RuntimeError, match="every training failed"):
        finalize(failing, workers=0)  # there may be memory the next time
    assert not failing.test_ledger.exists()
    kind = NOT_FINITE
    record = finalize(failing, workers=0)
    assert {entry["kind"] for entry in record.library} == {"trial"}
    assert 0 <= record.test["accuracy"] <= 1
