"""The notebook runs from top to bottom, and goes on with what an earlier run left."""

import os
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from small import ONE_GRAPH

from search import ready_made, search, study_paths
from search.files import read_json

NOTEBOOK = Path(__file__).parents[1] / "docs" / "vision_tuner_colab.ipynb"
STUDY = "shapes-convnet"
TINY = {
    "epochs": 3,
    "trials": 2,
    "limit_train": 128,
    "tuner": "hyperband",
    "fixed": ONE_GRAPH,
    "max_flops": 1e9,
}
CHANGES = {STUDY: TINY | {"total_epochs": None}}
PARAMETERS = (
    f"STUDIES, CHANGES = [{STUDY!r}], {CHANGES!r}\nSOURCE, HOURS, WORKERS = '', 1.0, 0"
)


def test_the_notebook_has_no_output_and_one_cell_of_parameters() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1


def test_the_notebook_runs_and_goes_on_where_a_runtime_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = study_paths(STUDY)
    lost = replace(ready_made(STUDY), **TINY, total_epochs=1)
    (before,) = search(lost, paths, workers=0)
    assert before.epochs == 1
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("tags") == ["parameters"]:
            cell.source = PARAMETERS
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=os.environ | {"IPYTHONDIR": str(tmp_path / "ipython")})
    after = read_json(paths.trials)
    assert sorted(trial["epochs"] for trial in after) == [1, 3]
    assert after[0]["history"]["loss"][:1] == before.history["loss"]
    assert read_json(paths.manifest)[0]["agreement"] == 1.0
    assert (paths.folder / "report.html").exists()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
