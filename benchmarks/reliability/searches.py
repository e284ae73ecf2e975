"""What the reliability harnesses share: a small search, its files, where it ran."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from search.files import read_json, read_sealed
from search.machine.memory import machine_memory
from search.training.checkpoints import damage

RESULTS = Path(__file__).parent / "results"

# A network that trains in well under a second an epoch; the knobs of its training vary.
FIXED = (
    "stages=2",
    "blocks_per_stage=1",
    "base_filters=16",
    "mixing=none",
    "augmentation=flip_crop",
    "squeeze_excitation=false",
    "convolution=standard",
)


def command(name: str, *options: str) -> list[str]:
    """Return the command of a search of 20 small trials with Hyperband."""
    fixed = [word for knob in FIXED for word in ("--fix", knob)]
    return [
        *(sys.executable, "-m", "search", "search", "shapes-convnet", "--name", name),
        *("--tuner", "hyperband", "--trials", "20", "--epochs", "9"),
        *("--limit-train", "64", "--workers", "1", *fixed, *options),
    ]


def start(folder: Path, arguments: list[str]) -> "subprocess.Popen[bytes]":
    """Start a search in `folder`; what it says goes to search.log there."""
    environment = {**os.environ, "VISION_TUNER_CACHE": str(folder / "cache")}
    with (folder / "search.log").open("ab") as log:
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def unreadable(folder: Path) -> list[str]:
    """Return what is not as it was written of a study's state and checkpoints."""
    found = []
    for name in ("study.json", "work/study.json", "work/oracle.json", "trials.json"):
        try:
            path = folder / name
            if path.exists():
                (read_json if name == "trials.json" else read_sealed)(path)
        except ValueError as error:
            found.append(str(error))
    for path in folder.glob("work/trials/*/[!.]*.npz"):
        reason = damage(path)
        if reason not in (None, "missing"):  # swept away while we looked
            found.append(f"{path}: {reason}")
    return found


def table(folder: Path) -> list[dict[str, Any]]:
    """Return trials.json, or no trials before the first."""
    path = folder / "trials.json"
    return read_json(path) if path.exists() else []


@cache
def commit() -> str:
    """Return what is checked out, as it was before the first record was written."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def circumstances() -> dict[str, Any]:
    """Return where and with what a harness ran."""
    script, options = Path(sys.argv[0]).name, ["FOLDER", *sys.argv[2:]]
    packages = ("tensorflow", "keras", "keras-tuner", "numpy")
    return {
        "command": " ".join(["python", f"benchmarks/reliability/{script}", *options]),
        "commit": commit(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {machine_memory() / 2**30:.0f} GiB,"
        f" {platform.machine()}, no GPU",
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def write_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write a harness's record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(result, indent=1) + "\n")


def fresh(folder: Path) -> Path:
    """Return an empty folder to search in."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
