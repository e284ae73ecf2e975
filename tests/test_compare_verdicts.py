"""Comparisons say what their seeds can tell, and what went wrong on the way."""

import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from search.comparing.comparisons import (
    AblationPath,
    Comparison,
    Run,
    differences_of,
    ended_run,
    read_comparison,
    verdicts_of,
    write_comparison,
)
from search.comparing.files import file_of, path_file_of
from search.comparing.tables import print_comparison
from search.comparing.variants import seeds_for
from search.orders import Outcome
from search.paths import study_paths
from search.records import Finalist, Trial, Values
from search.reporting.verification import Verification, check_comparison
from search.scoring.paired import EACH_FOR_ITSELF, difference, resolution_of, verdict
from search.studies import ready_made
from search.training.accumulation import IN_HALVES

HALVED = f"out of device memory in epoch 2: each batch of 64 {IN_HALVES}"


def scored(value: str, scores: Sequence[float | None]) -> list[Run]:
    """Return a run a seed, as workers end them; None = it failed."""
    return [
        ended_run(
            Run(f"{value}-seed{seed}", value, seed, {}),
            Outcome(
                "id",
                "FAILED" if score is None else "COMPLETED",
                history={} if score is None else {"val_accuracy": [score]},
            ),
            "val_accuracy",
            "max",
        )
        for seed, score in enumerate(scores)
    ]


def compared(runs: list[Run], images: int | None = 1000) -> Comparison:
    """Return the record of such runs."""
    labels = list(dict.fromkeys(run.value for run in runs))
    found = differences_of(runs, labels, "val_accuracy", images)
    return Comparison(
        knob="activation",
        base="default",
        objective="val_accuracy",
        direction="max",
        values=dict(zip(labels, labels, strict=True)),
        seeds=sorted({run.seed for run in runs}),
        runs=runs,
        differences=found,
        verdicts=verdicts_of(runs, found, "val_accuracy", "max", images),
        about={},
        images=images,
    )


def printed(record: Comparison | AblationPath) -> str:
    """Return what the command line prints of a record, on one line."""
    out = io.StringIO()
    print_comparison(record, Console(file=out, width=200))
    return out.getvalue()


def test_seeds_that_agree_by_accident_make_no_certain_verdict() -> None:
    """One image of twenty, with both seeds: the interval had no width at all."""
    record = compared([*scored("a", [0.5, 0.6]), *scored("b", [0.55, 0.65])], 20)
    (found,), (text,) = record.differences, record.verdicts
    assert found.low is not None and found.low < 0
    assert "no difference can be told" in text
    finer = compared([*scored("a", [0.5, 0.6]), *scored("b", [0.6, 0.7])], 1000)
    assert "b is better than a" in finer.verdicts[0]
    same = compared([*scored("a", [0.5, 0.6]), *scored("b", [0.5, 0.6])], 20)
    assert "no difference can be told" in same.verdicts[0]


def test_scores_that_are_no_share_of_images_are_as_fine_as_float32() -> None:
    assert resolution_of("val_accuracy", 20) == 0.05
    assert resolution_of("val_dice", 20) == resolution_of("val_loss", 20) == 0
    equal = difference("b", "a", [(0.75, 0.7), (0.65, 0.6 + 6e-8)], 0.0)
    assert equal.low is not None and equal.high is not None
    assert 1e-7 < equal.high - equal.low < 1e-5
    assert "b is better" in verdict(equal, 1, "val_dice")


def test_verdicts_name_the_images_all_seeds_share() -> None:
    runs = [*scored("a", [0.5, 0.6, 0.55]), *scored("b", [0.6, 0.71, 0.64])]
    record = compared(runs, 1000)
    (text,) = record.verdicts
    assert "b is better than a" in text
    assert "n = 3 seeds on the same 1,000 validation images" in text
    said = printed(record)
    assert "which validation images were drawn is not in them" in said
    assert EACH_FOR_ITSELF not in said
    third = compared([*runs, *scored("c", [0.5, 0.61, 0.54])], 1000)
    assert EACH_FOR_ITSELF in printed(third)


def test_a_value_that_diverged_is_not_called_better_without_saying_so() -> None:
    runs = [*scored("a", [0.5, 0.6, 0.1]), *scored("b", [0.6, 0.71, None])]
    record = compared(runs)
    assert record.verdicts[0].endswith(" b failed with 1 of 3 seeds.")
    said = printed(record)
    (row,) = [line for line in said.splitlines() if line.startswith("a ")]
    assert row.split()[1] == "0.5500"  # of the seeds both have, not 0.4000
    assert "Means are over the 2 of 3 seeds" in said
    lost = compared([*scored("a", [None, 0.6]), *scored("b", [0.6, 0.7])])
    assert "a failed with 1 of 2 seeds." in lost.verdicts[0]
    none = compared([*scored("a", [0.5, 0.6]), *scored("b", [None, None])])
    assert "0.5500" in printed(none)


def test_halved_batches_are_disclosed(tmp_path: Path) -> None:
    ended = Outcome("id", "COMPLETED", history={"val_accuracy": [0.7]}, notes=[HALVED])
    run = ended_run(Run("b-seed0", "b", 0, {}), ended, "val_accuracy", "max")
    assert run.notes == [HALVED]
    others = [*scored("a", [0.5, 0.6]), scored("b", [0.6, 0.7])[1]]
    record = compared([run, *others])
    (text,) = compared([*others, run]).verdicts
    assert "b ran out of memory with 1 of 2 seeds and went on in half batches." in text
    write_comparison(tmp_path / "x.json", record)
    assert read_comparison(tmp_path / "x.json") == record


def test_records_of_earlier_versions_are_read_and_verified_by_their_own_rule(
    tmp_path: Path,
) -> None:
    """Their verdicts stand in committed reports."""
    runs = [*scored("a", [0.5, 0.6, None]), *scored("b", [0.55, 0.65, 0.7])]
    for images in (None, 20):
        record = compared(runs, images)
        item = asdict(record)
        if images is None:
            del item["images"]
            item["runs"] = [{k: v for k, v in r.items() if k != "notes"}
                            for r in item["runs"]]  # fmt: skip
        write_comparison(tmp_path / "x.json", record)
        found = Verification()
        check_comparison(found, "x", read_comparison(tmp_path / "x.json"))
        assert not found.findings
    old = compared(runs, None)
    assert "is better than a" in old.verdicts[0] and "failed" not in old.verdicts[0]


def test_the_training_that_won_is_no_replicate_of_its_trial() -> None:
    study = replace(ready_made("cifar100-convnet"), seed=5)
    trials = [Trial("0000", "COMPLETED", 0.3, seed=5), Trial("0001", seed=5)]
    assert seeds_for("default", 3, trials, [], study) == [5, 6, 7]
    assert seeds_for("0000", 3, trials, [], study) == [6, 7, 8]
    ended = [
        Finalist("", "0000", seed, {}, 9, 9, {}, {}, 1, 1.0, {}, "") for seed in (5, 6)
    ]
    assert seeds_for("0000", 2, trials, ended, study) == [7, 8]
    assert seeds_for("0001", 2, trials, ended, study) == [6, 7]


def test_another_comparison_of_the_same_knob_does_not_replace_the_first(
    tmp_path: Path,
) -> None:
    paths = study_paths("toy", tmp_path, tmp_path)
    labels: Values = {"relu": "relu", "silu": "silu"}
    first = file_of(paths, "activation", "default", labels, [0, 1])
    assert first.name == "activation-from-default.json"
    record = replace(compared(scored("relu", [0.5, 0.6])), values=labels)
    write_comparison(first, record)
    assert file_of(paths, "activation", "default", labels, [0, 1]) == first
    other = file_of(paths, "activation", "default", {**labels, "gelu": "gelu"}, [0, 1])
    fewer = file_of(paths, "activation", "default", labels, [0])
    turned: Values = {"silu": "silu", "relu": "relu"}  # with another reference
    order = file_of(paths, "activation", "default", turned, [0])
    assert len({first, other, fewer, order}) == 4
    write_comparison(fewer, replace(compared(scored("relu", [0.5])), values=labels))
    later = file_of(paths, "activation", "default", labels, [1])
    assert later not in (first, other, fewer)
    assert file_of(paths, "activation", "default", labels, [0]) == fewer
    assert other.match("activation-from-*.json") and fewer.match("*-from-*.json")


def test_a_path_of_other_seeds_does_not_replace_the_first(tmp_path: Path) -> None:
    paths = study_paths("toy", tmp_path, tmp_path)
    record = AblationPath("default", "0000", "val_accuracy", "max", [1, 2], [], {})
    files: set[Path] = set()
    for seeds in ([1, 2], [1, 2, 3], [2, 3], [3, 4], [1, 2]):
        file = path_file_of(paths, "default", {}, "0000", seeds)
        write_comparison(file, replace(record, seeds=seeds))
        files.add(file)
    assert len(files) == 4
    assert all(file.match("path-to-0000*.json") for file in files)
    start = path_file_of(paths, "default with depth=1", {"depth": 1}, "0000", [1, 2])
    assert start.match("path-to-0000-starting-*.json") and start not in files
