"""Files are whole or absent, and records survive what JSON cannot say."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from search.errors import InputError
from search.files import (
    append_record,
    read_json,
    remove_leftovers,
    whole_file,
    write_json,
)
from search.records import (
    Trial,
    best_epoch_of,
    finite,
    ranked,
    read_records,
    write_records,
)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"old": True})
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b'{"ne')
        raise KeyboardInterrupt
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_living_process_is_writing_is_no_leftover(tmp_path: Path) -> None:
    """A search that begins beside a report, or goes on after a kill."""
    path = tmp_path / "report.html"
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f".trials.json.{ended.pid}-abcdefgh").write_text("half")
    with whole_file(path) as file:
        file.write(b"whole")
        remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_that_cannot_be_synced_is_not_there_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    append_record(path, b"first\n")

    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="quota"):
            append_record(path, b"second\n")
    append_record(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"


def test_records_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"class": "Käfer"})
    read = (
        "from pathlib import Path; from search.files import read_json;"
        f"print(ascii(read_json(Path({str(path)!r}))))"
    )
    plain = {**os.environ, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-X", "utf8=0", "-c", read]
    assert b"K\\xe4fer" in subprocess.check_output(command, env=plain)


def test_written_files_can_be_read_by_others_as_the_umask_says(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b").touch()
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("a.json", "b")]
    assert modes[0] == modes[1]


def test_a_value_json_cannot_say_is_refused_and_the_old_file_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert read_json(path) == 1


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    path.write_text('[{"trial_id": "0000"')
    with pytest.raises(ValueError, match=r"trials\.json is not JSON"):
        read_json(path)


def test_trials_come_back_as_they_were(tmp_path: Path) -> None:
    trials = [
        Trial("0000", "COMPLETED", 0.5, 2, 3, values={"depth": 2, "residual": True}),
        Trial("0001", "FAILED", message="ValueError: ü\n", failure="bug"),
        Trial("0002", history={"loss": [1.0, None], "val_accuracy": [0.1, 0.2]}),
    ]
    path = tmp_path / "trials.json"
    write_records(path, trials)
    assert read_records(path, Trial) == trials
    keys = set(json.loads(path.read_text())[0])
    assert keys >= {
        "trial_id",
        "state",
        "score",
        "best_epoch",
        "epochs",
        "seconds",
        "parameters",
        "values",
        "message",
        "history",
    }


def test_a_record_of_another_version_is_refused_by_the_name_of_the_field(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trials.json"
    write_json(path, [{"trial_id": "0000", "colour": "red"}])
    with pytest.raises(InputError, match="colour"):
        read_records(path, Trial)


def test_the_best_epoch_is_the_first_of_equals_and_never_one_that_is_not_finite() -> (
    None
):
    history = {"val_accuracy": [0.1, None, 0.3, 0.3, 0.2]}
    assert best_epoch_of(history, "val_accuracy", "max") == 3
    assert best_epoch_of(history, "val_accuracy", "min") == 1
    assert best_epoch_of({"val_accuracy": [None]}, "val_accuracy", "max") is None
    assert best_epoch_of({}, "val_accuracy", "max") is None


def test_ranking_follows_the_direction_and_leaves_out_what_has_failed() -> None:
    trials = [
        Trial("a", score=0.1),
        Trial("b", score=0.3),
        Trial("c"),
        Trial("d", score=0.3),
        Trial("e", "FAILED", score=0.9),
    ]
    assert [t.trial_id for t in ranked(trials, "max")] == ["b", "d", "a"]
    assert [t.trial_id for t in ranked(trials, "min")] == ["a", "b", "d"]


def test_only_finite_numbers_reach_a_record() -> None:
    assert finite(float("inf")) is None
    assert finite(0.0) == 0.0
