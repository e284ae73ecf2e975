"""The process that reads a tensorflow-datasets set into plain arrays, with TensorFlow.

`python -m search.datasets.tfds_reader ANSWER` takes an order as JSON on standard input
and writes its answer, or the InputError, to the file ANSWER.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.images import eight_bits, resize_image
from search.datasets.network import why_no_host_answers
from search.datasets.sources import SPLITS
from search.datasets.store import new_array
from search.errors import InputError
from search.files import write_json

KEPT = ("image", "label", "coarse_label", "id")
CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
BATCH = 256
Answer = dict[str, Any]


def fetch(name: str, root: str) -> Answer:
    """Download and convert the set with tfds; return where it lies.

    Raises:
        InputError: tfds knows no such set, it has no images and labels, or it cannot
            be fetched.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=root)
        check_features(builder.info.features, name)
        downloads = Path(root) / "downloads"
        if not any(path.is_file() for path in downloads.rglob("*")):
            cause = why_no_host_answers(builder.url_infos)
            if cause is not None:
                raise not_fetched(name, root, cause)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=downloads / "manual"
            )
        )
    except (InputError, ImportError):
        raise
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(
            "a set that tensorflow-datasets knows",
            repr(name),
            "https://www.tensorflow.org/datasets/catalog lists them",
        ) from error
    except Exception as error:  # no network, no room, wrong checksum, manual download
        raise not_fetched(name, root, str(error) or repr(error)) from error
    return {"source": str(builder.data_path)}


def not_fetched(name: str, root: str, cause: str) -> InputError:
    remedy = (
        f"On a machine with network run `tfds build {name} --data_dir DIR` and copy"
        f" DIR/{name} to {root}/{name}, or pass --data-dir"
    )
    if name == "cifar100":
        remedy = (
            f"Download {CIFAR100_URL} and put it into {root}/downloads/manual/, or pass"
            " --data-dir, the folder that holds tensorflow_datasets/cifar100"
        )
    return InputError(
        f"the data set {name} in {root}",
        f"none, and it could not be fetched ({cause.strip().splitlines()[0][:200]})",
        remedy,
    )


def check_features(features: Any, name: str) -> None:
    """Raise InputError where there is not one image and one label."""
    is_labelled = {"image", "label"} <= set(features)
    if not is_labelled or not hasattr(features["label"], "num_classes"):
        raise InputError(
            "an image-classification set, with 'image' and 'label'",
            f"{name} with {', '.join(features)}",
            "Choose another one",
        )


def read(
    name: str, root: str, folder: str, edge: int | None, default_edge: int
) -> Answer:
    """Read all splits, one after the other, into `images.npy` and so on in `folder`.

    Args:
        name: `NAME:VERSION`, which lies in `root`.
        edge: of the stored images; None = their own where all have the same size, else
            `default_edge`.
    """
    import tensorflow_datasets as tfds

    info = tfds.builder(name, data_dir=root).info
    check_features(info.features, name)
    edges = (edge, edge) if edge else info.features["image"].shape[:2]
    shape = edges if None not in edges else (default_edge, default_edge)
    official = official_splits(info.splits, name)
    names = write_examples(name, root, Path(folder), shape, official, info.features)
    has_coarse = "coarse_label" in info.features
    return {
        "official": official,
        "names": names,
        "class_names": list(info.features["label"].names),
        "coarse_names": list(info.features["coarse_label"].names) if has_coarse else [],
    }


def official_splits(splits: Any, name: str) -> dict[str, list[int]]:
    """Return split -> first row and row after the last."""
    if "train" not in splits:
        raise InputError(
            "a set with a split 'train'",
            f"{name} with {', '.join(splits)}",
            "Choose another one",
        )
    official, stop = {}, 0
    for split in SPLITS:
        if split in splits:
            count = int(splits[split].num_examples)
            official[split] = [stop, stop + count]
            stop += count
    return official


def write_examples(
    name: str,
    root: str,
    folder: Path,
    shape: tuple[int, int],
    official: dict[str, list[int]],
    features: Any,
) -> list[str]:
    """Write the arrays of all splits; return the id of each example."""
    import tensorflow_datasets as tfds

    count = max(stop for _, stop in official.values())
    images = new_array(folder / "images.npy", (count, *shape, 3), np.uint8)
    labels = new_array(folder / "labels.npy", (count,), np.int32)
    coarse = new_array(folder / "coarse.npy", (count,), np.int32)
    is_fixed = None not in features["image"].shape
    kept = {key: True for key in KEPT if key in features}
    names: list[str] = []
    for split in official:
        batches = tfds.load(
            name,
            data_dir=root,
            split=split,
            download=False,
            batch_size=BATCH if is_fixed else 1,
            # One shard after the other, so that the order is always the same.
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
            decoders=tfds.decode.PartialDecoding(kept),
        )
        for batch in tfds.as_numpy(batches):
            start, size = len(names), len(batch["label"])
            for row, image in enumerate(batch["image"], start):
                images[row] = resize_image(three_channels(image), *shape)
            labels[start : start + size] = batch["label"]
            coarse[start : start + size] = batch.get("coarse_label", 0)
            numbers = range(start - official[split][0], start + size)
            names += ids_of(batch, [f"{split}-{number}" for number in numbers])
    for array in (images, labels, coarse):
        array.flush()
    return names


def ids_of(batch: dict[str, Any], default: list[str]) -> list[str]:
    """Return the ids of a batch, or numbers where the set has none."""
    ids = batch.get("id", default)[: len(batch["label"])]
    return [id_.decode() if isinstance(id_, bytes) else str(id_) for id_ in ids]


def three_channels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return RGB of a grey, RGB or RGBA image of 8 or 16 bits."""
    image = eight_bits(image)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        image = (image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def main() -> None:
    """Carry out one order."""
    answer_path, order = Path(sys.argv[1]), json.load(sys.stdin)
    try:
        import tensorflow_datasets as tfds

        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        answer = read(**order) if "folder" in order else fetch(**order)
    except ImportError as error:
        missing = InputError(
            "TensorFlow and tensorflow-datasets, to read the data once",
            str(error),
            f"pip install {error.name or 'tensorflow tensorflow-datasets'}",
        )
        answer = {"error": vars(missing)}
    except InputError as error:
        answer = {"error": {**vars(error), "received": str(error.received)}}
    write_json(answer_path, answer)


if __name__ == "__main__":
    main()
