"""Which exported files belong to the ensemble on record: the one place that decides."""

from search.files import file_hash
from search.paths import StudyPaths
from search.records import Exported, read_records


def ensemble_hash(paths: StudyPaths) -> str:
    """Return the hash of ensemble.json, by which an export knows where it is from."""
    return file_hash(paths.ensemble)


def current_exports(paths: StudyPaths) -> list[Exported]:
    """Return what was exported of the ensemble on record.

    After `finalize --again` the files of the ensemble before it still lie in export/,
    and its manifest lists them; they are not this ensemble's. Manifests that do not
    say what they were made from are believed.
    """
    listed = read_records(paths.manifest, Exported)
    if not any(item.source for item in listed):
        return listed
    mark = ensemble_hash(paths) if paths.ensemble.exists() else None
    return [item for item in listed if item.source in ("", mark)]
