"""Classes that are named as `module:Class`, of the current folder or installed."""

import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def installed(group: str) -> dict[str, str]:
    """Return name -> `module:Class` of a group of entry points."""
    return {entry.name: entry.value for entry in metadata.entry_points(group=group)}


def named_class(reference: str, base: type, base_name: str) -> Any:
    """Import the class `module:Class`; the module may lie in the current folder.

    Args:
        base_name: where its users import `base` from.

    Raises:
        ValueError: there is no such class, or it is not derived from `base`.
    """
    module, _, name = reference.partition(":")
    see_current_folder(module)
    try:
        loaded = getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"Expected a subclass of {base_name}. Received: {reference!r} ({error})."
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise ValueError(
            f"Expected a subclass of {base_name}."
            f" Received: {reference!r}, which is {loaded!r}."
        )
    return loaded


def see_current_folder(module: str) -> None:
    """Let a module that is not installed be imported from the current folder."""
    if find_spec(module.split(".")[0]) is None and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
