"""How fast is a whole search beside plain keras-tuner's? One command:

    python -m benchmarks.speed --data-dir DIR [--case frozen] [--repeats 3]

Each case is a search of ours, by its command, and one of keras-tuner 1.4.8, in turn,
each in a process of its own: wall time from its start (imports, building and compiling
included) to its end, the processor time of all its processes, and their largest memory
together (a page that several share counts once). Wall times mean something on a machine
that does nothing else; processor time nearly everywhere. Data are prepared before;
features of frozen parts are not. Runs are added to `benchmarks/results/speed.json`,
from which the table is made; `--table` only prints it. `--ours-alone --workers 1`
measures how much of a search passes outside its epochs: with imports, building,
checkpoints, records. DIR holds `tensorflow_datasets/`, `VOCdevkit/` and `weights/`.

For a machine that is free for a short time: `--repeats 1 --case scratch --trials 2`
adds one pair, which took 159 and 200 s on two cores; `--case frozen --trials 4` took 56
and 458 s.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.speed_cases import CASES, Case
from search.environment import environment
from search.files import read_json, write_json
from search.paths import study_paths
from search.records import Trial, read_records

RECORD = Path(__file__).parent / "results" / "speed.json"
SIDES = ("ours", "keras-tuner")
SECONDS_BETWEEN_LOOKS = 2.0


def measured(command: list[str], env: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Run a command; return its seconds and peak memory, and its last line."""
    started, spent_before = time.monotonic(), processor_seconds()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=env)
        peak = 0
        while is_running(process):
            peak = max(peak, memory_of_all(process.pid))
        seconds = time.monotonic() - started
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(errors.read().decode()[-3000:])
        lines = output.read().decode().strip().splitlines()
    spent = processor_seconds() - spent_before
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(spent, 2),
        "peak_mib": round(peak / 2**20),
    }, lines[-1]


def processor_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def is_running(process: subprocess.Popen[bytes]) -> bool:
    """Wait a while for a process; return whether it still runs."""
    try:
        process.wait(SECONDS_BETWEEN_LOOKS)
    except subprocess.TimeoutExpired:
        return True
    return False


def memory_of_all(pid: int) -> int:
    """Return the bytes of a process and its descendants, shared pages once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


def run_pair(case: str, options: argparse.Namespace, work: Path) -> list[Any]:
    """Run both sides of a case once, ours first: it names the configurations."""
    runs = []
    cache = Path(os.environ.get("VISION_TUNER_CACHE") or work / "cache")
    env = {**os.environ, "VISION_TUNER_CACHE": str(cache)}
    env["TF_CPP_MIN_LOG_LEVEL"] = "2"
    for side in SIDES[:1] if options.ours_alone else SIDES:
        if side == "ours":
            shutil.rmtree(cache / "features", ignore_errors=True)
            costs, _ = measured(our_command(case, options, work), env)
            told = recorded(case, work)
        else:
            costs, line = measured(peer_command(case, options, work), env)
            told = json.loads(line)
        run = {"case": case, "side": side, "asked_trials": options.trials}
        run |= {"workers": options.workers, **costs, **told}
        runs.append(run | {"commit": environment()["commit"]})
        print(json.dumps({k: v for k, v in run.items() if k != "scores"}), flush=True)
    return runs


def our_command(case: str, options: argparse.Namespace, work: Path) -> list[str]:
    """Return the command line of our search."""
    asked = CASES[case].options(options.data_dir, options.trials)
    if options.workers is not None:
        asked += ["--workers", str(options.workers)]
    places = ["--data-dir", str(options.data_dir), "--results-dir", f"{work}/results"]
    places += ["--logs-dir", f"{work}/logs", "--quiet", "--json"]
    return [sys.executable, "-m", "search", "search", *asked, *places]


def peer_command(case: str, options: argparse.Namespace, work: Path) -> list[str]:
    """Return the command line of keras-tuner's search."""
    command = [sys.executable, "-m", "benchmarks.speed_peer", case]
    command += ["--data-dir", str(options.data_dir), "--work", str(work)]
    trials = options.trials
    return command if trials is None else [*command, "--trials", str(trials)]


def recorded(case: str, work: Path) -> dict[str, Any]:
    """Return what the records of our search say."""
    paths = study_paths(case, work / "results", work / "logs")
    trials = read_records(paths.trials, Trial)
    return {
        "trials": sum(trial.state == "COMPLETED" for trial in trials),
        "epochs": sum(trial.epochs for trial in trials),
        "training_seconds": sum(trial.seconds for trial in trials),
        "scores": [trial.score for trial in trials if trial.score is not None],
    }


def prepare(case: str, options: argparse.Namespace, cache: Path) -> None:
    """Prepare a case's data outside what is timed."""
    code = (
        "import sys; from pathlib import Path;"
        "from benchmarks.speed_cases import CASES;"
        "from search.beginning.inputs import prepared_data;"
        "root = Path(sys.argv[2]);"
        "prepared_data(CASES[sys.argv[1]].made(root), root)"
    )
    env = {**os.environ, "VISION_TUNER_CACHE": str(cache)}
    command = [sys.executable, "-c", code, case, str(options.data_dir)]
    subprocess.run(command, env=env, check=True)


def added(record: dict[str, Any], runs: list[Any]) -> dict[str, Any]:
    """Return the record with more runs."""
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, no GPU"
    return {
        **record,
        "command": "python -m benchmarks.speed --data-dir DATA",
        "hardware": machine,
        "environment": environment(),
        "runs": [*record.get("runs", []), *runs],
    }


def middle_of(runs: list[Any], key: str) -> float | None:
    """Return the median of what runs measured, or None where none did."""
    known = [run[key] for run in runs if key in run]
    return statistics.median(known) if known else None


def outside_epochs(runs: list[Any]) -> str:
    """Return a line for each search by one worker: the share outside its epochs."""
    lines = []
    for run in runs:
        if (run["side"], run["workers"]) != ("ours", 1):
            continue
        share = 1 - run["training_seconds"] / run["seconds"]
        mean = run["training_seconds"] / run["trials"]
        lines.append(
            f"{run['case']}, one worker, {run['trials']} trials of {mean:.0f} s:"
            f" {share:.1%} of {run['seconds']:.0f} s outside epochs"
        )
    return "\n".join(lines)


def table(runs: list[Any]) -> str:
    """Return the rows of docs/performance.md: ratios of the runs that went together."""
    head = (
        "| case | trials | wall, s | ratio, median (range), repeats | target"
        " | processor, s | memory, MiB |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    lines = [head]
    for name, case in CASES.items():
        own = [run for run in runs if run["case"] == name]
        kinds = [
            (run["asked_trials"] or case.trials, run["workers"], run.get("commit"))
            for run in own
        ]
        for kind in dict.fromkeys(kinds):  # other code is another line
            alike = [run for run, its in zip(own, kinds, strict=True) if its == kind]
            if {run["side"] for run in alike} == set(SIDES):
                lines.append(row(case, alike))
    return "\n".join(lines)


def row(case: Case, runs: list[Any]) -> str:
    """Return the row of one case, with so many trials."""
    sides = {side: [run for run in runs if run["side"] == side] for side in SIDES}
    pairs = list(zip(*sides.values(), strict=False))
    ratios = [a["seconds"] / b["seconds"] for a, b in pairs]
    seconds, spent, memory = (
        " / ".join(
            "?" if (value := middle_of(sides[side], key)) is None else f"{value:.0f}"
            for side in SIDES
        )
        for key in ("seconds", "cpu_seconds", "peak_mib")
    )
    workers = sides["ours"][0]["workers"]
    about = case.about if workers is None else f"{case.about}; workers: {workers}"
    return (
        f"| {about} | {sides['ours'][0]['trials']} | {seconds}"
        f" | **{statistics.median(ratios):.2f}** ({min(ratios):.2f}–"
        f"{max(ratios):.2f}), {len(ratios)} | ≤ {case.target:.2f}"
        f" | {spent} | {memory} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, help="Fewer than the case has.")
    parser.add_argument("--workers", type=int, help="Of ours; default: its own choice.")
    parser.add_argument("--ours-alone", action="store_true")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--record", type=Path, default=RECORD)
    options = parser.parse_args()
    record = read_json(options.record) if options.record.exists() else {}
    if not options.table:
        for _ in range(options.repeats):
            for case in options.case or CASES:
                with tempfile.TemporaryDirectory() as work:
                    cache = os.environ.get("VISION_TUNER_CACHE") or f"{work}/cache"
                    prepare(case, options, Path(cache))
                    runs = run_pair(case, options, Path(work))
                record = added(record, runs)
                write_json(options.record, record)
    print(table(record.get("runs", [])))
    print(outside_epochs(record.get("runs", [])))


if __name__ == "__main__":
    main()
