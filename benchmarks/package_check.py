"""Builds wheel and sdist, looks into them, installs them into clean environments.

    python -m benchmarks.package_check FOLDER [--python python3.13]... [--demo]

Without --python: every python3.11, 3.12 and 3.13 on the path. For each, the wheel is
installed into a new environment and its commands are run in an empty folder; --demo
also runs `vision-tuner demo`. The sdist is built into a wheel with the same files.
Needs a package registry.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "package_check.json"
PYTHONS = ("python3.11", "python3.12", "python3.13")
COMMANDS = (
    ("--version",),
    ("studies",),
    ("search", "shapes-convnet", "--dry-run"),
)
UNWANTED = ("tests/", "benchmarks/", "docs/", "results/")


def call(*words: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; its error ends the check."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build sdist and, from it, wheel, from a copy of what git tracks."""
    tools = environment(folder / "tools", sys.executable)
    call(tools, "-m", "pip", "install", "--quiet", "build")
    source, made = folder / "source", folder / "dist"
    call("git", "clone", "--quiet", ROOT, source)
    call(tools, "-m", "build", "--outdir", made, source)
    (sdist,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    return sdist, wheel


def runs(python: str) -> bool:
    """Return whether an interpreter is there; some names on a path are only shims."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "--version"], capture_output=True).returncode == 0


def environment(folder: Path, python: str) -> Path:
    """Make an empty virtual environment and return its interpreter."""
    call(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def check_contents(sdist: Path, wheel: Path) -> dict[str, Any]:
    """Check that nothing is missing and nothing is there that users do not need."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    needed = call("git", "ls-files", "search", "hypermodels", cwd=ROOT).split()
    missing = [name for name in needed if name not in names]
    unwanted = [name for name in names if name.startswith(UNWANTED)]
    if missing or unwanted:
        raise SystemExit(f"missing {missing}, unwanted {unwanted} in {wheel}")
    with tarfile.open(sdist) as archive:
        sources = archive.getnames()
    return {"wheel_files": len(names), "sdist_files": len(sources)}


def try_out(python: str, wheel: Path, folder: Path, demo: bool) -> dict[str, Any]:
    """Install the wheel into an empty environment and run its commands."""
    place = folder / Path(python).name
    inner = environment(place / "env", python)
    call(inner, "-m", "pip", "install", "--quiet", wheel)
    work = place / "work"
    work.mkdir()
    program = inner.parent / "vision-tuner"
    for words in COMMANDS:
        print(python, *words, flush=True)
        call(program, *words, cwd=work)
    found: dict[str, Any] = {"python": call(inner, "--version").split()[1]}
    listed = json.loads(call(inner, "-m", "pip", "list", "--format", "json"))
    kept = ("tensorflow", "keras", "keras-tuner", "numpy", "vision-tuner")
    found |= {item["name"]: item["version"] for item in listed if item["name"] in kept}
    if demo:
        started = time.monotonic()
        call(program, "demo", cwd=work)
        found["demo_seconds"] = round(time.monotonic() - started)
        found["models"] = len(list(work.glob("results/*/export/*.keras")))
    shutil.rmtree(place)
    return found


def main() -> None:
    """Check everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", action="append")
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    pythons = options.python or [name for name in PYTHONS if runs(name)]
    sdist, wheel = build(options.folder)
    record: dict[str, Any] = {
        "commit": call("git", "rev-parse", "--short", "HEAD", cwd=ROOT).strip(),
        **check_contents(sdist, wheel),
        "environments": [],
    }
    for python in pythons:
        tried = try_out(python, wheel, options.folder, options.demo)
        record["environments"].append(tried)
        print(tried, flush=True)
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
