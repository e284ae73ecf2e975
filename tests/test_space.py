"""The verb `space`: what is searched, why, and what it costs."""

import json
from typing import Any

import pytest
from rich.console import Console

from search.cli import run
from search.space import cost_text, print_space


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """Return the answer of `space --json` for a small U-Net."""
    import contextlib
    import io

    words = "space shapes-unet --fix base_filters=8 --fix depth=2 --json"
    cost = "--tuner random --trials 5 --epochs 4 --limit-train 64"
    with contextlib.redirect_stdout(io.StringIO()) as answer:
        assert run([*words.split(), *cost.split()]) == 0
    document: dict[str, Any] = json.loads(answer.getvalue())
    return document


def test_every_knob_has_range_default_condition_and_source(
    description: dict[str, Any],
) -> None:
    knobs = {knob["name"]: knob for knob in description["knobs"]}
    kernel = knobs["transpose_kernel"]
    assert kernel["condition"] == "upsampling = transpose"
    assert (kernel["range"], kernel["default"]) == ("2 or 4", 2)
    assert kernel["on_request"] == [3]
    assert knobs["base_filters"]["range"] == "8"
    assert all(knob["source"] and knob["about"] for knob in knobs.values())
    assert "classic_unet" in description["baselines"]


def test_the_cost_is_predicted_from_a_measured_step(
    description: dict[str, Any],
) -> None:
    assert description["predicted_trials"] == 5
    assert description["predicted_epochs"] == 20
    epoch = description["predicted_epoch_seconds"]
    assert epoch > 0
    assert description["predicted_seconds"] == pytest.approx(20 * epoch, rel=0.01)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_all_of_it(description: dict[str, Any], width: int) -> None:
    console = Console(width=width, record=True, quiet=False)
    with console.capture() as capture:
        print_space(description, console)
    text = capture.get()
    assert all(len(line) <= width for line in text.splitlines())
    for knob in description["knobs"]:
        assert knob["name"] in text
    for word in ("only when", "source", "default", "(3 by", "Odena", "5 trials"):
        assert word in text.replace("\n", " ")
    # Nothing is cut off: the longest value of a choice is whole.
    assert "…" not in text.replace(" … ", " ")


def test_one_trial_of_one_epoch_is_no_plural() -> None:
    told = cost_text(
        {
            "tuner": "random", "epochs": 1, "predicted_trials": 1,
            "predicted_epochs": 1, "predicted_epoch_seconds": 0.351,
            "predicted_seconds": 0.4,
        }
    )  # fmt: skip
    assert told.startswith("random: 1 trial, 1 epoch in all, at most 1 a trial;")
    assert "takes about 0.35 s here" in told
