"""The kill harness in small: SIGKILL at random instants, of driver or worker."""

import os
import subprocess
import sys
from pathlib import Path

from search.files import read_json

HARNESS = Path(__file__).parents[1] / "benchmarks" / "reliability" / "kills.py"


def test_a_search_killed_again_and_again_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    """keras-tuner: the running trial begins again, or the whole search does."""
    command = [sys.executable, str(HARNESS), str(tmp_path), "--light"]
    options = ["--kills", "5", "--longest", "2", "--results", str(tmp_path)]
    root = str(HARNESS.parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([*command, *options], env=environment, check=True)
    result = read_json(tmp_path / "kills-light.json")
    assert result["kills"] == 5
    assert result["searches ended"] >= 1
    for count in (
        *("unreadable files", "trials lost", "trials duplicated"),
        *("finished epochs trained again", "tables that differ"),
    ):
        assert result[count] == 0, count
