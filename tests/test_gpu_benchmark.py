"""The GPU benchmark runs, at toy size, where there is no GPU."""

from pathlib import Path

import pytest

from benchmarks.gpu import main
from search.files import read_json


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
