"""Write docs/hypermodels.md, its pictures and the snapshots of the spaces.

    python -m docs.hypermodels      (or `make docs`)

The snapshots in hypermodels/spaces are what `studies` tells of them without importing
Keras. A test compares the spaces with them, so that a change is seen in review.
"""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner

import hypermodels
from hypermodels.cost import forward_flops
from search.space import range_text, shown_value
from search.spaces import declare_space, described

ROOT = Path(__file__).parents[1]
SPACES = ROOT / "hypermodels" / "spaces"
# What the ready-made studies give them: (edge, classes, training images, epochs).
CASES = {
    "convnet": (32, 100, 45_000, 81),
    "vgg16_transfer": (32, 100, 45_000, 27),
    "unet": (128, 2, 1171, 81),
    "mobilenet_unet": (128, 2, 1171, 27),
}
HEAD = """# The networks and their spaces

What each hypermodel can be, as it is for the ready-made studies: CIFAR-100 for
classification, VOC 2012 at 128 pixels for segmentation. `vision-tuner space STUDY`
prints the same for a study of yours, with what the search will cost; `--fix KNOB=VALUE`
takes a knob out of the search. In the pictures a box is as tall as it has pixels and as
wide as it has channels; they show the default point, the first trial of our tuners.

This page and its pictures are written by `make docs`.
"""


def make(name: str) -> Any:
    """Make a hypermodel as its ready-made study does."""
    edge, classes, images, epochs = CASES[name]
    return hypermodels.load(name)(
        (edge, edge, 3), classes, train_size=images, epochs=epochs
    )


def snapshot(name: str) -> dict[str, Any]:
    """Return the space of a hypermodel and its baselines, as JSON has it."""
    hypermodel = make(name)
    value = {
        "knobs": described(declare_space(hypermodel, {}), hypermodel),
        "baselines": hypermodel.baselines,
    }
    copied: dict[str, Any] = json.loads(json.dumps(value))
    return copied


def build(name: str, values: dict[str, Any]) -> Any:
    """Build a configuration, with random weights: none are downloaded."""
    hypermodel = make(name)
    hp = keras_tuner.HyperParameters()
    hypermodel.declare(hp)
    hp = keras_tuner.HyperParameters()
    hp.values = {**defaults(name), **values}
    hypermodel.weights = "none"
    return hypermodel.build(hp)


def defaults(name: str) -> dict[str, Any]:
    """Return the default point, with pretrained weights in mind."""
    space = declare_space(make(name), {})
    values: dict[str, Any] = {knob.name: knob.default for knob in space.space}
    return values


def knob_table(knobs: list[dict[str, Any]]) -> str:
    """Return the knobs as a Markdown table."""
    lines = [
        "| knob | range | default | only when | what it is | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for knob in knobs:
        cells = (
            f"`{knob['name']}`",
            range_text(knob),
            shown_value(knob["default"]),
            knob["condition"].replace(" | ", ", "),
            knob["about"],
            knob["source"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline_table(name: str) -> str:
    """Return the named configurations as a Markdown table, with their size."""
    lines = [
        "| configuration | parameters | MFLOPs an image | its values |",
        "| --- | --- | --- | --- |",
    ]
    for title, values in {"default": {}, **make(name).baselines}.items():
        keras.utils.clear_session()
        model = build(name, values)
        shown = ", ".join(f"{key}={shown_value(v)}" for key, v in values.items())
        lines.append(
            f"| `{title}` | {model.count_params():,} |"
            f" {forward_flops(model) / 1e6:,.0f} | {shown or '–'} |"
        )
    return "\n".join(lines)


def section(name: str) -> str:
    """Return what the page says of one hypermodel."""
    kind = hypermodels.load(name)
    about = inspect.getdoc(sys.modules[kind.__module__]) or ""
    title, _, rest = about.partition("\n")
    source = rest.split("Cost: ")[0].strip()
    return "\n\n".join(
        (
            f"## {name}",
            f"{title}\n{source}",
            f"![{title}](images/{name}.svg)",
            knob_table(snapshot(name)["knobs"]),
            baseline_table(name),
        )
    )


def main() -> None:
    """Write the page, the pictures and the snapshots."""
    from docs.pictures import draw

    pages = [HEAD.strip()]
    SPACES.mkdir(exist_ok=True)
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for name in hypermodels.HYPERMODELS:
        text = json.dumps(snapshot(name), indent=1, ensure_ascii=False)
        (SPACES / f"{name}.json").write_text(text + "\n")
        pages.append(section(name))
        keras.utils.clear_session()
        model = build(name, {})
        backbone = defaults(name).get("backbone")
        is_u = hypermodels.task_of(name) == "segmentation"
        draw(model, images / f"{name}.svg", backbone=backbone, as_u=is_u)
    (ROOT / "docs" / "hypermodels.md").write_text("\n\n".join(pages) + "\n")


if __name__ == "__main__":
    main()
