"""State files and checkpoints, damaged one by one: a message or a recovery for each."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulation import Killed, SimulatedWorkers
from test_driver import driver, study

from search.beginning.study_record import record_study
from search.bookkeeping.state import journal_lines
from search.bookkeeping.trials_file import TrialsFile
from search.cli import run
from search.driving.driver import Driver
from search.errors import InputError, StorageError
from search.files import (
    append_record,
    read_sealed,
    remove_leftovers,
    write_sealed,
    write_text,
)
from search.listing import studies
from search.machine.room import when_there_is_room
from search.paths import StudyPaths
from search.records import Trial, read_records, write_records
from search.studies import open_study
from search.training.checkpoints import (
    BEST,
    LAST,
    PREVIOUS,
    Standing,
    find_checkpoint,
    save_checkpoint,
    save_last,
    standing_in,
)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """Flip one bit in the middle, so that text stays text."""
    data = bytearray(path.read_bytes())
    middle = next(
        i for i in range(len(data) // 2, len(data)) if chr(data[i]) in "02468"
    )
    data[middle] ^= 1
    path.write_bytes(data)


def missing(path: Path) -> None:
    path.unlink()


DAMAGES = [truncated, emptied, flipped, missing]
damaged = pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)


class Hears(list[str]):
    """A watcher that keeps what it was told."""

    def progress(self, progress: Any) -> None:
        pass

    def changed(self, trials: list[Trial]) -> None:
        pass

    def notice(self, text: str) -> None:
        self.append(text)


def cut_search(folder: Path, tuner: str = "hyperband") -> tuple[Driver, Any]:
    """Kill a search in its middle; return it and what its workers have trained."""
    workers = SimulatedWorkers(dies_after=7)
    searching = driver(folder, study(tuner, trials=9), workers)
    with pytest.raises(Killed):
        searching.search()
    return searching, workers


def gone_on(folder: Path, workers: Any, tuner: str = "hyperband") -> tuple[Any, Hears]:
    searching = driver(folder, study(tuner, trials=9), workers.next_life(None))
    searching.watcher = Hears()
    return searching.search(), searching.watcher


@damaged
@pytest.mark.parametrize("tuner", ["random", "hyperband", "kt-bayesian"])
def test_a_damaged_tuner_state_is_read_from_its_copy(
    tmp_path: Path, damage: Callable[[Path], None], tuner: str
) -> None:
    """keras-tuner: one truncated oracle.json makes the project unloadable."""
    of = study(tuner, trials=9)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    searching, workers = cut_search(tmp_path / "cut", tuner)
    damage(searching.paths.oracle)
    trials, notices = gone_on(tmp_path / "cut", workers, tuner)
    assert trials == whole
    if damage is not missing:
        assert "oracle.json" in notices[0]


@damaged
@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_a_tuner_state_lost_for_good_is_rebuilt_from_the_trials(
    tmp_path: Path, damage: Callable[[Path], None], tuner: str
) -> None:
    of = study(tuner, trials=9)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    searching, workers = cut_search(tmp_path / "cut", tuner)
    epochs = sum(workers.trained.values())
    damage(searching.paths.oracle)
    damage(searching.paths.oracle_copy)
    trials, notices = gone_on(tmp_path / "cut", workers, tuner)
    assert "rebuilt from trials.json" in notices[-1]
    assert [(t.values, t.score, t.epochs) for t in trials] == [
        (t.values, t.score, t.epochs) for t in whole
    ]
    assert sum(workers.trained.values()) == sum(t.epochs for t in whole) > epochs


@damaged
@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_a_damaged_journal_costs_questions_but_no_training(
    tmp_path: Path, damage: Callable[[Path], None], tuner: str
) -> None:
    of = study(tuner, trials=9)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    searching, workers = cut_search(tmp_path / "cut", tuner)
    damage(searching.paths.journal)
    trials, notices = gone_on(tmp_path / "cut", workers, tuner)
    assert trials == whole
    assert sum(workers.trained.values()) == sum(trial.epochs for trial in whole)
    assert damage is not flipped or "not as it was written" in notices[0]


@pytest.mark.parametrize("smallest_journal", [0, 2000, 10**6])
@pytest.mark.parametrize("tuner", ["bohb", "kt-hyperband", "grid"])
def test_a_kill_between_any_two_writes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuner: str, smallest_journal: int
) -> None:
    """Every write of the driver is followed by a kill once, the torn line included."""
    of = study(tuner, trials=6 if tuner == "grid" else None, epochs=3)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    monkeypatch.setattr("search.bookkeeping.journal.SMALLEST_JOURNAL", smallest_journal)
    workers, lives = SimulatedWorkers(), 0
    while True:
        lives += 1
        searching = driver(tmp_path / "cut", of, workers)
        left = iter(range(lives % 9, -1, -1))
        with monkeypatch.context() as patch:
            dying_after(patch, lambda left=left: next(left) == 0)
            try:
                trials = searching.search()
                break
            except Killed:
                workers = workers.next_life(None)
    assert lives > 3
    assert trials == whole
    assert read_records(searching.paths.trials, Trial) == whole
    assert not searching.paths.journal.exists()


def dying_after(patch: pytest.MonkeyPatch, is_last: Callable[[], bool]) -> None:
    """Kill the driver after, or in the middle of, one of its writes of the state."""

    def append(path: Path, record: bytes) -> None:
        if is_last():
            before = path.read_bytes() if path.exists() else b""
            path.write_bytes(before + record[: len(record) // 2])
            raise Killed
        append_record(path, record)

    def write(path: Path, text: str) -> None:
        write_text(path, text)
        if is_last():
            raise Killed

    patch.setattr("search.bookkeeping.journal.append_record", append)
    patch.setattr("search.bookkeeping.journal.write_text", write)


def test_what_is_written_does_not_grow_with_the_trials(tmp_path: Path) -> None:
    class Measures(Hears):
        sizes: list[int]

        def changed(self, trials: list[Trial]) -> None:
            lines = journal_lines(searching.paths)
            self.sizes = [len(line) for line in lines]

    searching = driver(tmp_path, study("random", trials=60), SimulatedWorkers())
    searching.watcher = watcher = Measures()
    searching.search()
    assert len(watcher.sizes) > 100
    assert max(watcher.sizes[-20:]) < 1.2 * max(watcher.sizes[10:30])


def test_trials_that_are_put_off_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("search.bookkeeping.trials_file.time.monotonic", lambda: now)
    file, other = TrialsFile(tmp_path / "a.json"), tmp_path / "b.json"
    trials = [Trial("0000", history={"loss": [1.5, None]}, message="zeile\nzwei ü")]
    assert file.is_due()
    file.write(trials)
    assert not file.is_due()
    trials += [Trial("0001", values={"depth": 2, "optimizer": "sgd"})]
    file.is_behind = True
    assert file.is_due()
    file.write(trials)
    write_records(other, trials)
    assert (tmp_path / "a.json").read_bytes() == other.read_bytes()
    file.write([])
    assert read_records(tmp_path / "a.json", Trial) == []


@damaged
def test_damaged_trials_come_back_from_the_tuner_s_state(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    of = study("hyperband", trials=9)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    searching, workers = cut_search(tmp_path / "cut")
    damage(searching.paths.trials)
    trials, _ = gone_on(tmp_path / "cut", workers)
    assert trials == whole == read_records(searching.paths.trials, Trial)


def test_everything_damaged_is_refused_with_what_to_do(tmp_path: Path) -> None:
    searching, workers = cut_search(tmp_path)
    for path in (
        searching.paths.oracle,
        searching.paths.oracle_copy,
        searching.paths.trials,
    ):
        truncated(path)
    with pytest.raises(InputError, match="Restore either from a copy"):
        gone_on(tmp_path, workers)


def test_a_deleted_work_folder_loses_no_trial(tmp_path: Path) -> None:
    of = study("random", trials=9)
    whole = driver(tmp_path, of, SimulatedWorkers()).search()
    paths = StudyPaths(tmp_path / "results", tmp_path / "logs", "toy")
    shutil.rmtree(paths.work)
    fresh = SimulatedWorkers()
    again = driver(tmp_path, of, fresh).search()
    assert fresh.trained == {}
    assert [(t.values, t.score) for t in again] == [(t.values, t.score) for t in whole]


@damaged
def test_a_damaged_study_is_read_from_its_copy(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    of = study("random")
    record_study(paths, of, {}, "one", "")
    damage(paths.study)
    assert open_study(paths) == of
    record_study(paths, of, {}, "one", "")
    assert read_sealed(paths.study)["study"]["name"] == "toy"


@damaged
def test_a_study_damaged_with_its_copy_is_refused_and_listed_as_such(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    record_study(paths, study("random"), {}, "one", "")
    paths.trials.write_text("[]")
    damage(paths.study)
    damage(paths.study_copy)
    with pytest.raises(InputError, match="Restore the file from a copy"):
        open_study(paths)
    with pytest.raises(InputError, match="Restore the file from a copy"):
        record_study(paths, study("random"), {}, "one", "")
    rows = {row["name"]: row for row in studies(tmp_path, tmp_path)}
    assert damage is missing or rows["toy"]["state"] == "damaged"
    assert {"depth", "upsampling", "loss"} <= set(rows["voc2012-unet"]["knobs"])


def test_a_study_written_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", {"a": [1, 2.5, None, "ü"]})
    value = json.loads((tmp_path / "a.json").read_text())
    del value["checksum"]
    (tmp_path / "b.json").write_text(json.dumps(value))
    assert read_sealed(tmp_path / "a.json") == read_sealed(tmp_path / "b.json")


def values(seed: int) -> list[NDArray[Any]]:
    return [np.random.default_rng(seed).normal(size=(40, 40))]


def trained(folder: Path, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        standing = Standing(epoch, best_epoch=1, configuration="mine")
        if epoch == 1:
            save_checkpoint(folder / BEST, values(0), standing)
        save_last(folder, values(epoch), standing)


@damaged
def test_a_damaged_last_checkpoint_costs_one_epoch(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    trained(tmp_path, 3)
    damage(tmp_path / LAST)
    found = find_checkpoint(tmp_path, "mine")
    assert found.standing.epochs == 2
    assert found.path == tmp_path / PREVIOUS
    assert damage is missing or "went on from epoch 2" in found.notes[-1]


@damaged
def test_both_last_checkpoints_damaged_begin_the_trial_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    trained(tmp_path, 3)
    damage(tmp_path / LAST)
    damage(tmp_path / PREVIOUS)
    found = find_checkpoint(tmp_path, "mine")
    assert (found.standing.epochs, found.path) == (0, None)
    assert damage is missing or found.notes[-1] == "trained from the start"
    assert standing_in(tmp_path).epochs in (0, 2, 3)


@damaged
def test_a_damaged_best_checkpoint_is_trained_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    trained(tmp_path, 3)
    damage(tmp_path / BEST)
    found = find_checkpoint(tmp_path, "mine")
    assert found.standing.epochs == 0
    assert "best.npz was damaged" in found.notes[0]


def test_every_flipped_bit_of_the_weights_is_seen(tmp_path: Path) -> None:
    trained(tmp_path, 1)
    whole = (tmp_path / LAST).read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(200, 40 * 40 * 8, size=50):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / LAST).write_bytes(data)
        assert find_checkpoint(tmp_path, "mine").standing.epochs == 0


def test_a_checkpoint_of_other_knobs_is_not_continued(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    found = find_checkpoint(tmp_path, "another")
    assert (found.standing.epochs, found.path) == (0, None)


def test_what_killed_processes_were_writing_is_removed(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".last.npz.{ended.pid}-ab12cd_9", ".previous.npz"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "export" / ".writing-ab12cd_9").mkdir(parents=True)
    (tmp_path / "export" / ".writing-ab12cd_9" / "ensemble.onnx").write_bytes(b"half")
    (tmp_path / ".keep").touch()
    remove_leftovers(tmp_path)
    assert list((tmp_path / "export").iterdir()) == []
    (tmp_path / "export").rmdir()
    assert {path.name for path in tmp_path.iterdir()} == {
        *(LAST, PREVIOUS, BEST),
        ".keep",
    }


def test_a_full_disk_is_waited_for_and_the_search_goes_on(tmp_path: Path) -> None:
    """keras-tuner: three writes that fail end the search, and truncate its state."""
    of = study("random", trials=5)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class MakesRoom(Hears):
        def notice(self, text: str) -> None:
            super().notice(text)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    searching = driver(tmp_path / "full", of, SimulatedWorkers())
    searching.watcher = MakesRoom()
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        trials = searching.search()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "waiting for room" in searching.watcher[0]
    assert trials == whole


def test_a_wait_for_room_can_be_ended(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"Free space.*the same command goes on"):
        when_there_is_room(full, tmp_path, lambda text: None, lambda: True, 0)


def test_a_folder_that_became_read_only_ends_the_search_with_one_line(
    tmp_path: Path,
) -> None:
    def read_only() -> None:
        raise OSError(30, "Read-only file system", str(tmp_path))

    with pytest.raises(StorageError, match="Read-only file system"):
        when_there_is_room(read_only, tmp_path, lambda text: None)


def test_a_read_only_results_folder_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = "/proc/nowhere"  # where not even root may make a folder
    assert run(["search", "shapes-convnet", "--results-dir", nowhere]) == 2
    assert "Expected a folder that can be written" in capsys.readouterr().err


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = study("hyperband", trials=9)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    times = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    assert driver(tmp_path / "jumps", of, SimulatedWorkers()).search() == whole
