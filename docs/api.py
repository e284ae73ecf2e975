"""Writes docs/api.md from the docstrings and signatures: `make docs`.

The sources are read, not imported, so that the page is the same on every machine.
"""

from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

HEAD = """
# Python API

What the command line does, from Python: the verbs are functions of `search`, with the
same records on disk, so both can be mixed. Importing `search` loads no TensorFlow.
Errors that a user can mend are `search.errors.InputError`, one line long.

```python
from search import export, finalize, ready_made, search, study_paths

study = ready_made("shapes-convnet")
paths = study_paths(study.name)
trials = search(study, paths, workers=2)
ensemble = finalize(paths, top=3)
models = export(paths, formats=["keras"])
```

A folder of your own, the best values, and what the exported model says of images:

```python
from pathlib import Path

from search import export, finalize, own_study, predict, search, study_paths
from search.records import ranked

study = own_study("cells", "unet")  # cells/images/ and cells/masks/
paths = study_paths(study.name)
trials = search(study, paths)
best = ranked(trials, study.direction)[0]
print(best.score, best.values)
finalize(paths, top=3)
export(paths)
model = paths.export / "ensemble.keras"
rows = predict(model, [Path("cells/images")], output_dir=Path("masks"))
```

`dataclasses.replace(study, epochs=3, fixed={"stages": 2})` changes a study;
[own-hypermodel.md](own-hypermodel.md) adds a network, [own-tuner.md](own-tuner.md) a
tuner. This page is written by `make docs`.
"""

# Page section -> what it lists, as module:name.
SECTIONS = {
    "Studies": [
        "search.studies:Study",
        "search.studies:ready_made",
        "search.beginning.inputs:own_study",
        "search.paths:study_paths",
        "search.paths:StudyPaths",
    ],
    "Verbs": [
        "search.search:search",
        "search.search:dry_run",
        "search.trials:trials",
        "search.finalize:finalize",
        "search.compare:compare",
        "search.export:export",
        "search.predict:predict",
        "search.report:report",
    ],
    "Records": [
        "search.records:Trial",
        "search.records:Finalist",
        "search.records:Ensemble",
        "search.records:BestSingle",
        "search.records:Exported",
        "search.comparing.comparisons:Comparison",
        "search.comparing.comparisons:AblationPath",
        "search.cluster.connection:RayOptions",
        "search.errors:InputError",
    ],
    "Hypermodels": [
        "hypermodels:known",
        "hypermodels:load",
        "hypermodels.image_hypermodel:ImageHyperModel",
        "hypermodels.image_hypermodel:Network",
        "hypermodels.optimizers:draw_optimizer",
        "hypermodels.blocks:convolve",
        "hypermodels.blocks:convolution_unit",
        "hypermodels.blocks:upsample",
        "hypermodels.blocks:class_probabilities",
        "hypermodels.blocks:foreground_probability",
    ],
    "Data": ["search.datasets:prepare", "search.datasets.prepared:PreparedDataset"],
}
METHODS = {
    "ImageHyperModel": ["draw", "network", "draw_batch_size", "declare", "build"],
    "PreparedDataset": ["open", "open_train"],
}


def find(path: str) -> griffe.Object:
    """Return what `module:name` names, read from the source."""
    module, _, name = path.partition(":")
    package, *inner = module.split(".")
    found = loaded(package)[".".join([*inner, name])]
    assert isinstance(found, griffe.Object)
    return found


@cache
def loaded(package: str) -> griffe.Object | griffe.Alias:
    """Read a whole package, once."""
    return griffe.load(package, search_paths=[ROOT])


def entry(path: str) -> list[str]:
    """Return the lines on one class or function."""
    found, module = find(path), path.partition(":")[0]
    lines = [f"### {found.name}", "", f"`{module}.{found.name}`", ""]
    lines += [*code(signature(found)), *described(found)]
    for name in METHODS.get(found.name, []):
        method = found.members[name]
        assert isinstance(method, griffe.Function)
        lines += [f"#### {found.name}.{name}", "", *code(signature(method))]
        lines += described(method)
    return lines


def code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def signature(found: griffe.Object) -> str:
    """Return how it is called: a parameter a line where there are many."""
    if isinstance(found, griffe.Class):
        return f"class {found.name}{fields(found)}"
    assert isinstance(found, griffe.Function)
    words, seen_star = [], False
    for parameter in found.parameters:
        if parameter.name == "self":
            continue
        is_named_only = parameter.kind is griffe.ParameterKind.keyword_only
        if is_named_only and not seen_star:
            words.append("*")
            seen_star = True
        is_rest = parameter.kind is griffe.ParameterKind.var_positional
        name = f"*{parameter.name}" if is_rest else parameter.name
        default = None if is_rest else parameter.default
        words.append(typed(name, parameter.annotation, default))
    result = f" -> {found.returns}" if found.returns is not None else ""
    one_line = f"{found.name}({', '.join(words)}){result}"
    if len(one_line) <= 88:
        return one_line
    return "\n".join([f"{found.name}(", *(f"    {w}," for w in words), f"){result}"])


def fields(found: griffe.Class) -> str:
    """Return what a class is made of: its fields, or the arguments of its start."""
    start = found.members.get("__init__")
    if isinstance(start, griffe.Function):
        return signature(start).removeprefix("__init__").removesuffix(" -> None")
    names = [
        typed(member.name, member.annotation, member.value)
        for member in found.members.values()
        if isinstance(member, griffe.Attribute) and "property" not in member.labels
    ]
    return "\n".join(["(", *(f"    {name}," for name in names), ")"])


def typed(name: str, annotation: object, value: object) -> str:
    text = name if annotation is None else f"{name}: {annotation}"
    return text if value is None else f"{text} = {value}"


def described(found: griffe.Object) -> list[str]:
    """Return the docstring as Markdown, its sections as lists."""
    assert found.docstring is not None, f"{found.path} has no docstring"
    lines: list[str] = []
    for part in found.docstring.parse("google", warnings=False):
        title = str(part.kind.value)
        if title == "text":
            lines += [str(part.value), ""]
        elif title == "returns":
            texts = [" ".join(item.description.split()) for item in part.value]
            lines += [f"**Returns:** {' '.join(texts)}", ""]
        elif title in ("parameters", "attributes", "raises"):
            lines += [f"**{title.capitalize()}:**", ""]
            lines += [f"- {item_line(item)}" for item in part.value] + [""]
    return lines


def item_line(item: object) -> str:
    """Return one argument, attribute or exception and what is said of it."""
    name = getattr(item, "name", None) or str(getattr(item, "annotation", ""))
    text = " ".join(str(getattr(item, "description", "")).split())
    return f"`{name}`: {text}"


def page() -> str:
    """Return the whole page."""
    lines = [HEAD.strip(), ""]
    for title, paths in SECTIONS.items():
        lines += [f"## {title}", ""]
        for path in paths:
            lines += entry(path)
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
