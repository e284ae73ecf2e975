"""What a model's numbers mean, carried inside the exported file itself.

A JSON document in the place each format has for such things: a member of the .keras
archive, which Keras passes over; `assets.extra/` of a SavedModel; a metadata property
of an ONNX model; a zip archive behind the flat buffer of a LiteRT model, as TensorFlow
Lite's own metadata has it.
"""

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from search.records import Task

NAME = "vision_tuner.json"


@dataclass(frozen=True)
class Description:
    """What a model's numbers mean.

    Attributes:
        image_shape: (height, width, channels) the network sees.
        threshold: a pixel is foreground from this probability on (segmentation).
        study: the study it comes from.
        model: `ensemble`, `best_single` or `student`.
        source: hash of the ensemble record it was made from.
    """

    task: Task
    class_names: list[str]
    image_shape: list[int]
    threshold: float = 0.5
    study: str = ""
    model: str = ""
    source: str = ""


def embed_description(path: Path, description: Description) -> None:
    """Add the description to an exported model that has none yet."""
    text = json.dumps(dataclasses.asdict(description), ensure_ascii=False, indent=1)
    if path.is_dir():
        extra = path / "assets.extra"
        extra.mkdir(exist_ok=True)
        (extra / NAME).write_text(text, encoding="utf-8")
    elif path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(model, {NAME: text})
        onnx.save(model, path)
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(NAME, text)


def read_description(path: Path) -> Description | None:
    """Read the description in a model, or None where there is none.

    Raises:
        ValueError: a .keras file is no archive, or the description no longer JSON.
    """
    text = text_in(path)
    if text is None:
        return None
    fields = json.loads(text)
    known = {field.name for field in dataclasses.fields(Description)}
    return Description(**{key: fields[key] for key in fields if key in known})


def text_in(path: Path) -> str | bytes | None:
    """Return the JSON document in a model, or None."""
    if path.is_dir():
        inside = path / "assets.extra" / NAME
        return inside.read_text(encoding="utf-8") if inside.exists() else None
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        text: str | None = session.get_modelmeta().custom_metadata_map.get(NAME)
        return text
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(NAME) if NAME in archive.namelist() else None
    except zipfile.BadZipFile as error:
        if path.suffix == ".keras":
            raise ValueError(f"{path} is not a .keras archive: {error}") from error
        return None
