"""Start a module of this package in a process of its own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def module_command(module: str) -> list[str]:
    """Return the command that runs `search.<module>`.

    `-P`: a folder named search in the user's working directory is not this package.
    """
    return [sys.executable, "-P", "-m", f"search.{module}"]


def module_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `module_command` finds this package."""
    package = str(Path(__file__).parents[1])
    inherited = environment.get("PYTHONPATH")
    path = package if not inherited else os.pathsep.join([package, inherited])
    return {**environment, "PYTHONPATH": path}
