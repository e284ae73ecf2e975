"""Writes results/README.md from the records beside it: `make docs`."""

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from search.studies import Study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"

HEAD = """
# Results

One folder a study, written by `vision-tuner`; where a name or a path in a record was
edited since, [LOG.md](LOG.md) says so. Records as JSON, `report.md` with figures;
`vision-tuner report NAME` makes its page. Weights are not here; the commands below make
them again where the data is present. Choices are made on validation, then the test set
is read; `test_ledger.json` lists every look at it. [LOG.md](LOG.md) keeps what was
found on the way, failures included. This page is written by `make docs`.
"""
SEARCHED = """
Intervals are 95 %, from resampled test images; *hours* are of training and validation,
all trials and finalists together, on two shared CPU cores; `cifar100-h100`: two at a
time on an NVIDIA H100.
"""
COMPARED = """
Scores on validation, mean ± standard deviation over the seeds; the differences are
paired.
"""


def read(path: Path) -> Any:
    """Return a record, or None where there is none."""
    return json.loads(path.read_text()) if path.exists() else None


def searched(folder: Path) -> list[str] | None:
    """Return the cells of one study that was finalized."""
    record, ensemble = read(folder / "study.json"), read(folder / "ensemble.json")
    if record is None or ensemble is None:
        return None
    study, data = record["study"], record["data"]
    metric = study["objective"].removeprefix("val_")
    trained = min(data["sizes"]["train"], study["limit_train"] or 10**9)
    sizes = data["sizes"]
    used = f"{trained:,} / {sizes['validation']:,} / {sizes['test']:,}"
    if ensemble.get("refit"):
        used += ", then train + validation"
    intervals = ensemble.get("intervals", {})
    single, difference = ensemble["best_single"]["test"], intervals.get("difference")
    gain = difference and difference[metric]
    return [
        f"[{folder.name}]({folder.name}/report.md)"
        if (folder / "report.md").exists()
        else folder.name,
        f"{used}, {data['image_shape'][0]} px",
        f"{metric} {scored(single, intervals, 'best_single', metric)}",
        scored(ensemble["test"], intervals, "ensemble", metric),
        f"{gain['value']:+.3f} {bounds(gain['interval'], '+')}" if gain else "",
        f"{hours(folder):.1f}",
        f"`{record['environment']['commit']}`",
    ]


def scored(test: Any, intervals: Any, which: str, metric: str) -> str:
    """Return a score with its interval, where there is one."""
    interval = intervals.get(which, {}).get(metric)
    return f"{test[metric]:.4f}" + (f" {bounds(interval)}" if interval else "")


def bounds(interval: list[float], sign: str = "") -> str:
    return f"[{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


def hours(folder: Path) -> float:
    """Return the time of all trainings; a finalist's includes that of its trial."""
    trials = {t["trial_id"]: t["seconds"] for t in read(folder / "trials.json") or []}
    more = 0.0
    for finalist in read(folder / "finalists.json") or []:
        is_continued = not finalist.get("training", "").startswith("from the begin")
        more += finalist["seconds"]
        more -= trials.get(finalist["trial_id"], 0.0) if is_continued else 0.0
    return (sum(trials.values()) + max(0.0, more)) / 3600


def commands(folder: Path) -> list[str]:
    """Return what makes a study again."""
    record, ensemble = read(folder / "study.json"), read(folder / "ensemble.json")
    finalists = read(folder / "finalists.json") or []
    lines = [as_of_now(record), *record.get("later_commands", [])]
    if ensemble is None or not record["command"].startswith("vision-tuner search"):
        return lines
    trials = {finalist["trial_id"] for finalist in finalists}
    words = [f"vision-tuner finalize {folder.name}", f"--top {len(trials)}"]
    if len(finalists) > len(trials):
        words.append(f"--seeds {len(finalists) // len(trials)}")
    if ensemble.get("tta"):
        words.append(f"--tta {','.join(ensemble['tta']['kinds'])}")
    words += ["--use-validation"] if ensemble.get("refit") else []
    words += ["--distill"] if ensemble.get("student") else []
    return [*lines, " ".join(words)]


def as_of_now(record: dict[str, Any]) -> str:
    """Return the command of a search, with a tuner that was the default then."""
    command, tuner = str(record["command"]), record["study"]["tuner"]
    is_usual = tuner == Study("", "classification", "", "").tuner
    if (
        is_usual
        or "--tuner" in command
        or not command.startswith("vision-tuner search")
    ):
        return command
    return f"{command} --tuner {tuner}"


def comparison(path: Path) -> list[str]:
    """Return what the page says of one comparison or ablation path."""
    record = read(path)
    name = f"{path.parents[1].name}, "
    about = record["about"]
    foot = [
        "",
        f"Commit `{about['environment']['commit']}`:",
        "",
        f"    {about['command']}",
        "",
    ]
    if "steps" in record:
        lines = [
            f"### {name}path to {record['target']}, {len(record['seeds'])} seeds",
            "",
        ]
        lines += [f"Start: {record['base']}.", ""]
        lines += ["| knob set | value | score | gain |", "| --- | --- | --- | --- |"]
        for step in record["steps"]:
            gain = "" if step["gain"] is None else f"{step['gain']:+.4f}"
            if gain and step["low"] is not None:
                gain += f" {bounds([step['low'], step['high']], '+')}"
            score = "" if step["score"] is None else f"{step['score']:.4f}"
            knob = f"`{step['knob']}`" if step["knob"] else "start"
            after = "" if step["after"] is None else step["after"]
            lines.append(f"| {knob} | {after} | {score} | {gain} |")
        return [*lines, *foot]
    count = len(record["seeds"])
    lines = [f"### {name}`{record['knob']}`, {count} seeds", ""]
    lines += [f"| `{record['knob']}` | {record['objective']} |", "| --- | --- |"]
    for label in record["values"]:
        scores = [
            run["score"]
            for run in record["runs"]
            if run["value"] == label and run["score"] is not None
        ]
        spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
        lines.append(f"| {label} | {fmean(scores):.4f}{spread} |" if scores else "")
    return [*lines, "", *[f"- {words}" for words in record["verdicts"]], *foot]


def page(results: Path = RESULTS) -> str:
    """Return the whole page."""
    folders = sorted(path.parent for path in results.glob("*/study.json"))
    # What `vision-tuner demo` leaves is anyone's own, and not in the repository.
    folders = [folder for folder in folders if not folder.name.startswith("demo-")]
    rows = {folder: searched(folder) for folder in folders}
    rows = {folder: row for folder, row in rows.items() if row}
    lines = [HEAD.strip(), "", "## Searches", "", SEARCHED.strip(), ""]
    lines += [
        "| study | train / validation / test | best single, test | ensemble, test"
        " | ensemble − single | hours | commit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows.values() if row),
        "",
    ]
    for folder in rows:
        lines += [*(f"    {command}" for command in commands(folder)), ""]
    compared = [
        path for folder in folders for path in sorted(folder.glob("comparisons/*.json"))
    ]
    if compared:
        lines += ["## Comparisons", "", COMPARED.strip(), ""]
    for path in compared:
        lines += comparison(path)
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    (RESULTS / "README.md").write_text(page())
