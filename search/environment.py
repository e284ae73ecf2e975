"""What a record was made with: versions, machine and commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Return versions, machine and commit, without importing any of the packages."""
    packages = ("vision-tuner", "keras", "tensorflow", "jax", "keras-tuner", "numpy")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in packages if version(name)},
        "commit": commit(),
    }


def version(package: str) -> str | None:
    """Return the installed version of `package`, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the git commit of this source tree, or None outside a checkout."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
