"""Any image-classification set of tensorflow-datasets, as `tfds:NAME`.

TensorFlow reads it once, in a process of its own (`tfds_reader`): the search itself
then neither waits for TensorFlow to load nor holds a device. A split that the set
lacks is cut from its `train`: 15 % for test, 10 % for validation. Where a test split is
cut, copies of an image stay on one side.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.copies import first_of_copies
from search.datasets.sources import Contents, Request, Source
from search.datasets.splits import cut_with_copies
from search.errors import InputError
from search.files import read_json
from search.machine.processes import module_command, module_environment

PREFIX = "tfds:"
NAME = re.compile(r"(\w+)(/[\w.-]+)?(:\d+\.\d+\.\d+)?")
CUT_FRACTIONS = {"validation": 0.1, "test": 0.15}
DEFAULT_EDGE = 64


def find_tfds(request: Request) -> Source:
    """Return a set by its tfds name: `NAME`, `NAME/CONFIG`, `NAME:VERSION`.

    Images are stored at --image-size; without it at their own size where all have the
    same, else at 64 pixels.

    Raises:
        InputError: there is no such set, it has no images and labels, or it cannot be
            fetched.
    """
    name = request.dataset.removeprefix(PREFIX)
    if not NAME.fullmatch(name):
        raise InputError(
            "a tensorflow-datasets name: NAME, NAME/CONFIG or NAME:VERSION",
            repr(name),
            "https://www.tensorflow.org/datasets/catalog lists them",
        )
    edge = request.edge(DEFAULT_EDGE, 8, 1024) if request.image_size else None
    return tfds_source(name, edge, request)


def tfds_source(name: str, edge: int | None, request: Request) -> Source:
    """Return the set `name`; `edge` None = as stored where all sizes are equal."""
    root = tfds_root(request.data_dir)
    folder = find_version(root, name) or fetch(root, name, request)

    def load(scratch: Path) -> Contents:
        request.say(f"Reading {folder.parent.name} {folder.name} with TensorFlow")
        index = run_reader(
            {
                "name": f"{folder.parent.relative_to(root)}:{folder.name}",
                "root": str(root),
                "folder": str(scratch),
                "edge": edge,
                "default_edge": DEFAULT_EDGE,
            }
        )
        return contents_of(index, scratch, request.seed)

    return Source(
        label=name,
        tasks=["classification"],
        identity={"source": identity_of(folder), "edge": edge, "seed": request.seed}
        | cut_rules(folder),
        load=load,
    )


def tfds_root(data_dir: Path | None) -> Path:
    """Return where tfds keeps its sets: TFDS_DATA_DIR wins, as in tfds itself."""
    chosen = os.environ.get("TFDS_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return (data_dir or Path("~")).expanduser() / "tensorflow_datasets"


def find_version(root: Path, name: str) -> Path | None:
    """Return the folder of the set, of its highest version, or None."""
    path, _, version = name.partition(":")
    found = [
        info.parent
        for info in (root / path).glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
        and version in ("", info.parent.name)
    ]
    return max(found, key=lambda folder: version_key(folder.name), default=None)


def version_key(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def identity_of(folder: Path) -> dict[str, Any]:
    """Return what tells this set from others: name, version, sizes of its files."""
    info = read_json(folder / "dataset_info.json")
    return {key: info.get(key) for key in ("name", "configName", "version", "splits")}


def cut_rules(folder: Path) -> dict[str, int]:
    """Return what tells a cut that keeps copies together from the one before it."""
    splits = read_json(folder / "dataset_info.json").get("splits") or []
    has_test = any(split.get("name") == "test" for split in splits)
    return {} if has_test else {"cut": 2}


def fetch(root: Path, name: str, request: Request) -> Path:
    """Have tfds download and convert the set; return its folder."""
    request.say(f"Fetching {name} into {root} with tensorflow-datasets")
    return Path(run_reader({"name": name, "root": str(root)})["source"])


def run_reader(order: dict[str, Any]) -> dict[str, Any]:
    """Run `tfds_reader` on the CPU in a process of its own; return what it says.

    Raises:
        InputError: as the reader says.
        RuntimeError: the reader died, with its last lines.
    """
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # Progress bars go to the terminal; elsewhere they are noise. Never to stdout,
    # which may be JSON.
    is_terminal = sys.stderr.isatty()
    with tempfile.TemporaryDirectory() as temporary:
        answer = Path(temporary) / "answer.json"
        process = subprocess.run(
            [*module_command("datasets.tfds_reader"), str(answer)],
            input=json.dumps(order),
            stdout=sys.stderr if is_terminal else subprocess.PIPE,
            stderr=None if is_terminal else subprocess.STDOUT,
            env=module_environment(environment),
            text=True,
            check=False,
        )
        if not answer.exists():
            raise RuntimeError(
                f"tfds_reader ended with {process.returncode}: {process.stdout}"
            )
        says: dict[str, Any] = read_json(answer)
    if "error" in says:
        raise InputError(**says["error"])
    return says


def contents_of(index: dict[str, Any], scratch: Path, seed: int) -> Contents:
    """Cut what the reader left in `scratch` into splits."""
    images, labels = (
        np.load(scratch / f"{kind}.npy", mmap_mode="r") for kind in ("images", "labels")
    )
    targets = {"labels": labels}
    if index["coarse_names"]:
        targets["coarse"] = np.load(scratch / "coarse.npy", mmap_mode="r")
    return Contents(
        images=images,
        targets=targets,
        names=index["names"],
        class_names=index["class_names"],
        coarse_names=index["coarse_names"],
        splits=splits_of(index["official"], images, labels, seed, index["class_names"]),
    )


def splits_of(
    official: dict[str, list[int]],
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    seed: int,
    class_names: Sequence[str] = (),
) -> dict[str, NDArray[np.intp]]:
    """Return split -> rows: the official ones, the missing ones cut from `train`.

    Args:
        official: split -> first row and row after the last.
    """
    rows = {
        name: np.arange(*bounds)
        for name, bounds in official.items()
        if (labels[slice(*bounds)] >= 0).all()  # some test sets have no labels
    }
    missing = {
        name: fraction for name, fraction in CUT_FRACTIONS.items() if name not in rows
    }
    if "train" not in rows:
        raise InputError(
            "a set whose training images are labelled",
            "some without a label",
            "Choose another set",
        )
    train = rows["train"]
    # Not where only validation is cut: CIFAR-100's own training split holds copies, and
    # studies on record have their validation images from a cut that ignores them.
    keeps_copies = "test" in missing
    first = first_of_copies(images, train) if keeps_copies else np.arange(len(train))
    parts = cut_with_copies(
        np.asarray(labels[train]), first, missing, seed, class_names
    )
    return rows | {name: train[part] for name, part in parts.items()}
