"""How image models are searched: one verb a module of the same name.

`from search import search, finalize` gives the verbs as functions.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.beginning.inputs import own_study as own_study
    from search.compare import compare as compare
    from search.export import export as export
    from search.finalize import finalize as finalize
    from search.paths import study_paths as study_paths
    from search.predict import predict as predict
    from search.report import report as report
    from search.search import dry_run as dry_run
    from search.search import search as search
    from search.studies import Study as Study
    from search.studies import ready_made as ready_made
    from search.trials import trials as trials

PUBLIC = {
    "Study": "studies",
    "ready_made": "studies",
    "own_study": "beginning.inputs",
    "study_paths": "paths",
    "dry_run": "search",
    "search": "search",
    "trials": "trials",
    "compare": "compare",
    "finalize": "finalize",
    "export": "export",
    "predict": "predict",
    "report": "report",
}


class Package(ModuleType):
    """A package whose public names are functions, also where a module has that name.

    Python would replace the function `search.search` by the module of that name as
    soon as anything imports it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in PUBLIC:
            raise AttributeError(f"module 'search' has no attribute {name!r}")
        value = getattr(import_module(f"search.{PUBLIC[name]}"), name)
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = Package
