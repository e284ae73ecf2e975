"""The GPU benchmark runs, at toy size, where there is no GPU.

`sprint`, `scratch` and `search` are left out: a minute more of processor time.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import main
from benchmarks.sharing import AUTO, ONE, begin_again, compared
from search.files import read_json, write_json
from search.paths import study_paths

ROOT = Path(__file__).parents[1]
SHARING = (ONE, AUTO)


def test_a_part_is_measured_once_and_recorded_with_its_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--toy", "--work", str(tmp_path), "--part", "throughput"]
    main(command)
    record = read_json(tmp_path / "gpu.json")["throughput"]
    assert record["ours"] > 0
    assert record["ratio"] == pytest.approx(record["ours"] / record["bare"])
    assert record["toy"]
    assert record["device"]
    capsys.readouterr()
    main(command)
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both halves of `sharing`, after one that was cut off in its first trial."""
    folder = tmp_path_factory.mktemp("gpu")
    options = ["--toy", "--work", str(folder), "--part"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", *options, ONE],
        cwd=ROOT,
        start_new_session=True,
    ) as cut:
        trials = study_paths(ONE, folder / "results", folder / "logs").trial("0000")
        while not trials.exists() and cut.poll() is None:
            time.sleep(0.05)
        os.killpg(cut.pid, signal.SIGKILL)
    assert trials.exists() and not (folder / "gpu.json").exists()
    (folder / "results" / f"{ONE}-jax").mkdir()
    (folder / "results" / f"{ONE}-jax" / "of the one that was cut").touch()
    main([*options, ONE, "--part", AUTO])
    return folder


def test_a_half_begins_again_and_both_train_the_same_at_first(work: Path) -> None:
    assert not (work / "results" / f"{ONE}-jax" / "of the one that was cut").exists()
    values = []
    for name in SHARING:
        paths = study_paths(name, work / "results", work / "logs")
        trials = read_json(paths.trials)
        assert {trial["state"] for trial in trials} == {"COMPLETED"}
        values.append([trial["values"] for trial in trials])
    assert [len(each) for each in values] == [2, 4]
    assert values[0] == values[1][:2]


def test_the_clock_of_a_half_begins_with_its_first_order(work: Path) -> None:
    record = read_json(work / "gpu.json")
    for name in SHARING:
        half = record[name]
        assert sum(half["seconds of each trial's epochs"]) > 0
        assert 0 < half["seconds"] < half["wall_seconds"]
        rate = 3600 * half["trials"] / half["seconds"]
        assert half["trials an hour"] == pytest.approx(rate)
    ratio = record[AUTO]["trials an hour"] / record[ONE]["trials an hour"]
    assert record["sharing"]["ratio"] == pytest.approx(ratio)


def half(rate: float, included: float, device: str = "H100") -> dict[str, Any]:
    return {
        "trials an hour": rate,
        "trials an hour, measurement included": included,
        "device": device,
        "backend": "jax",
        "toy": False,
    }


def test_halves_are_compared_where_they_ran_on_the_same_device() -> None:
    one = half(100.0, 100.0)
    assert compared({ONE: one}) is None
    assert compared({ONE: one, AUTO: half(300.0, 200.0, "H200")}) is None
    both = compared({ONE: one, AUTO: half(300.0, 200.0)})
    assert both is not None
    assert (both["ratio"], both["ratio, measurement included"]) == (3.0, 2.0)


def test_of_a_half_that_was_cut_only_what_was_measured_to_choose_stays(
    tmp_path: Path,
) -> None:
    paths = study_paths(AUTO, tmp_path / "results", tmp_path / "logs")
    compiled = tmp_path / "compiled"
    for folder in (paths.trial("0000"), paths.logs / "0000", compiled):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    write_json(paths.crew, {"seconds": 7.0})
    begin_again(paths, compiled)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [paths.crew]
    assert read_json(paths.crew) == {"seconds": 7.0}
