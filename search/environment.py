"""What a record was made with: command, versions, machine and commit."""

import os
import platform
import subprocess
from collections import Counter
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Set by the command line; quoted as a shell needs it.
COMMAND: ContextVar[str] = ContextVar("COMMAND", default="a call from Python")


def is_command() -> bool:
    """Return whether this process runs the command line, not a user's program."""
    return COMMAND.get(None) is not None


def environment() -> dict[str, Any]:
    """Return versions, machine, device and commit; imports none of the packages."""
    packages = ("vision-tuner", "keras", "tensorflow", "jax", "keras-tuner", "numpy")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device(),
        "packages": {name: version(name) for name in packages if version(name)},
        "commit": commit(),
    }


def device() -> str:
    """Return the GPUs' names, or that there is none, and the CPU cores."""
    cores = f"{os.cpu_count()} CPU cores"
    try:
        result = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"no GPU, {cores}"
    names = Counter(line.strip() for line in result.stdout.splitlines() if line.strip())
    words = [f"{count} x {name}" for name, count in names.items()]
    return ", ".join([*words, cores])


def version(package: str) -> str | None:
    """Return the installed version of `package`, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the git commit of this source tree, or None outside a checkout.

    An installed package may lie in a repository that is not its own.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
