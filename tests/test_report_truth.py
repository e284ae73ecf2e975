"""The report says only what the records hold, and says it rightly."""

import random
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_report import FEW, failed, make_study, make_trial, read_page, write_study

from search.comparing.comparisons import (
    AblationPath,
    Candidate,
    Comparison,
    Run,
    Step,
    differences_of,
    verdicts_of,
    write_comparison,
)
from search.files import file_hash, read_json, write_json
from search.listing import study_state
from search.paths import StudyPaths
from search.records import (
    Exported,
    Trial,
    Values,
    read_ensemble,
    read_records,
    write_ensemble,
    write_records,
)
from search.report import report
from search.reporting.answer import answer, comparison_tiles, question
from search.reporting.charts import best_so_far_chart
from search.reporting.comparisons import best_step_text
from search.reporting.costs import knobs_text, seed_noise
from search.reporting.export_figures import exports_picture
from search.reporting.figures import best_so_far_picture
from search.reporting.labels import Box, around, placed, shared
from search.reporting.overview import study_row
from search.reporting.records import StudyRecords, read_study_records
from search.reporting.search_sections import infeasible_text, trials_section
from search.reporting.sections import data_section
from search.reporting.settings import TOLD_ELSEWHERE, budget_text, further_settings
from search.reporting.trainings import trainings_of
from search.reporting.verification import verify
from search.studies import Study
from search.wording import duration

BASE: Values = {"depth": 3, "activation": "relu"}


def page_of(paths: StudyPaths) -> str:
    report([paths])
    return read_page(paths).words()


def only_trials(paths: StudyPaths, trials: list[Trial]) -> StudyRecords:
    write_records(paths.trials, trials)
    return read_study_records(paths)


def trial_of(number: int, epochs: int, **changes: Any) -> Trial:
    trial = make_trial(number, epochs, make_study(), random.Random(number))
    return replace(trial, **changes)


# --- exports of an earlier ensemble


def test_files_of_an_earlier_ensemble_are_not_this_studys(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, exports=True, knobs=FEW)
    exports = read_records(paths.manifest, Exported)
    mark = file_hash(paths.ensemble)
    write_records(paths.manifest, [replace(item, source=mark) for item in exports])
    assert study_state(paths, []) == "exported"
    assert "Exported models" in page_of(paths)
    ensemble = read_ensemble(paths.ensemble)
    assert ensemble is not None
    write_ensemble(paths.ensemble, replace(ensemble, temperature=2.0, look=2))
    assert study_state(paths, []) == "finalized"
    assert "Exported models" not in page_of(paths)
    records = read_study_records(paths)
    assert not any("export/" in text for text in verify(records, paths).left_out)
    write_records(paths.manifest, exports)  # of before there was such a mark
    assert study_state(paths, []) == "exported"


# --- the test set


def test_a_test_set_that_was_opened_is_not_called_unread(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, knobs=FEW)
    paths.ensemble.unlink()
    told = answer(read_study_records(paths))
    assert "the test set was opened, and no score on it is on record yet." in told
    paths.test_ledger.unlink()
    assert "the test set has not been read." in answer(read_study_records(paths))


def test_a_later_look_is_called_optimistic_beside_its_score(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, knobs=FEW)
    assert "score of an earlier look" not in page_of(paths)
    ensemble = read_ensemble(paths.ensemble)
    assert ensemble is not None
    write_ensemble(paths.ensemble, replace(ensemble, look=3))
    told = "This was look 3 at the test set: members were chosen when the score of an"
    assert told in page_of(paths)


# --- rungs


@pytest.mark.parametrize(
    ("tuner", "rungs"),
    [
        ("bohb", [1, 5, 27]),
        ("priorband", [1, 5, 27]),
        ("hyperband", [1, 3, 9, 27]),
        ("random", []),
    ],
)
def test_rungs_are_those_of_the_plan(
    tmp_path: Path, tuner: str, rungs: list[int]
) -> None:
    paths = write_study(tmp_path, trials=0, tuner=tuner)
    # None ended at the rung in the middle, and two were paused where none is.
    ends = (1, 1, 1, 2, 2, 27)
    trials = [trial_of(number, epochs) for number, epochs in enumerate(ends)]
    assert only_trials(paths, trials).rungs == rungs
    reached = [rung for rung in rungs if rung <= 5]
    trials[-1] = trial_of(5, 5)
    assert only_trials(paths, trials).rungs == reached


# --- chance and knobs


def test_what_knobs_do_leaves_out_what_chance_does() -> None:
    assert knobs_text(0.05, 0.03).endswith("The knobs alone: 0.0400")
    assert knobs_text(0.02, 0.03) == "0.0200, which is no more than chance does"


def test_chance_is_not_told_from_two_trainings(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=9, seeds=2, knobs=FEW)
    whole = [trial_of(n, 27, trial_id=f"{n:04d}") for n in range(90, 94)]
    write_records(paths.trials, [*read_records(paths.trials, Trial), *whole])
    assert "Chance: the same configuration" in page_of(paths)
    assert "promoted for their early scores" in page_of(paths)
    finalists = read_json(paths.finalists)
    write_json(paths.finalists, finalists[:2])
    noise = seed_noise(read_study_records(paths))
    assert noise is not None and noise.freedom == 1
    assert "Chance: the same configuration" not in page_of(paths)


# --- epochs in all


def test_the_budget_names_the_limit_of_all_epochs() -> None:
    study = make_study(trials=1, total_epochs=50, epochs=1)
    assert budget_text(study) == (
        "1 epoch a trial, 1 trial, no more than 50 epochs in all"
    )


# --- shared trainings


def make_run(values: Values, seed: int, value: str, **changes: Any) -> Run:
    score = 0.5 + 0.01 * seed
    made = Run(f"{value}-{seed}", value, seed, values, "COMPLETED", score, 1, 9, 60.0)
    return replace(made, **changes)


def comparison_of(knob: str, runs: list[Run], direction: Any = "max") -> Comparison:
    values = {run.value: run.values[knob] for run in runs}
    differences = differences_of(runs, list(values), "val_accuracy", None)
    return Comparison(
        knob, "default", "val_accuracy", direction, values, [0, 1], runs, differences,
        verdicts_of(runs, differences, "val_accuracy", direction, None), {},
    )  # fmt: skip


def runs_of(knob: str, *values: Any) -> list[Run]:
    return [
        make_run({**BASE, knob: value}, seed, str(value))
        for value in values
        for seed in (0, 1)
    ]


def write_comparisons(paths: StudyPaths, *comparisons: Comparison) -> None:
    for comparison in comparisons:
        file = paths.comparisons / f"{comparison.knob}-from-default.json"
        write_comparison(file, comparison)


def path_of(**changes: Any) -> AblationPath:
    steps = [
        Step(None, None, None, 0.5, None, None, None, BASE, []),
        Step(
            "depth", 3, 4, 0.56, 0.06, 0.01, 0.11, {**BASE, "depth": 4},
            [Candidate("depth", 0.56, 9), Candidate("activation", None, 9)],
        ),
        Step(
            "activation", "relu", "silu", 0.55, -0.01, -0.03, 0.01,
            {"depth": 4, "activation": "silu"}, [Candidate("activation", 0.55, 9)],
        ),
    ]  # fmt: skip
    plain = AblationPath(
        "default", "0007", "val_accuracy", "max", [0, 1], steps, {"study": "s"}
    )
    return replace(plain, **changes)


def tiles_of(paths: StudyPaths) -> dict[str, tuple[str, str]]:
    tiles = comparison_tiles(read_study_records(paths))
    return {tile.label: (tile.value, tile.note) for tile in tiles}


def test_trainings_that_comparisons_share_are_counted_once(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    depths, kinds = runs_of("depth", 3, 4), runs_of("activation", "relu", "silu")
    depths[-1] = replace(depths[-1], state="FAILED", score=None, epochs=2)
    write_comparisons(
        paths, comparison_of("depth", depths), comparison_of("activation", kinds)
    )
    tiles = tiles_of(paths)
    # Six of eight: depth 3 and relu are the same configuration.
    assert tiles["trainings"] == ("6", "2 seeds")
    assert tiles["epochs"][0] == "47"
    assert tiles["training time"][0] == "6 min"
    assert tiles["failures"] == ("1", "")
    noise = seed_noise(read_study_records(paths))
    assert noise is not None
    assert (noise.trainings, noise.configurations) == (4, 2)


def test_a_path_counts_what_it_shares_once_and_a_failed_seed_as_one(
    tmp_path: Path,
) -> None:
    paths = write_study(tmp_path, trials=0)
    write_comparison(paths.comparisons / "path-to-0007.json", path_of())
    tiles = tiles_of(paths)
    assert tiles["trainings"][0] == "8"  # the start and three candidates, two seeds
    assert tiles["failures"] == (
        "1", "at least: a path records that a seed failed, not how many",
    )  # fmt: skip
    write_comparison(paths.comparisons / "path-to-0008.json", path_of(target="0008"))
    assert tiles_of(paths) == tiles
    write_comparisons(paths, comparison_of("depth", runs_of("depth", 3, 4)))
    assert tiles_of(paths)["trainings"] == tiles["trainings"]
    identities = [one.identity for one in trainings_of(read_study_records(paths))]
    assert len(identities) == len(set(identities))


# --- infeasible trials


def test_the_limit_that_was_exceeded_is_named(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    slow = "InfeasibleError: 12 ms an image, more than --max-latency-ms 5"
    large = "30 MFLOPs an image, more than --max-flops 1e+07"
    ended = [trial_of(0, 3), failed(trial_of(1, 3), "FAILED", "bug", "KeyError")]
    ended += [failed(trial_of(n, 3), "INFEASIBLE", "", slow) for n in (2, 3)]
    records = only_trials(paths, ended)
    (text,) = infeasible_text(records)
    assert "2 networks" in str(text) and "(--max-latency-ms)" in str(text)
    assert "1 trial of 2 failed" in page_of(paths)
    assert study_row(records)[8].text == "2"
    write_records(
        paths.trials, [*ended, failed(trial_of(4, 3), "INFEASIBLE", "", large)]
    )
    assert "allows (--max-flops, --max-latency-ms), so not" in page_of(paths)


# --- settings


def test_images_asked_for_beyond_those_there_are_were_not_trained_on() -> None:
    def told(limit: int | None) -> str:
        about = {"data": {"sizes": {"train": 4000}, "image_shape": [8, 8, 3]}}
        study = make_study(limit_train=limit)
        records = StudyRecords(study, about, [], [], None, [], [])
        return str(data_section(records).blocks[0])

    assert "All images of the training split" in told(None)
    assert "All images of the training split" in told(50_000)
    assert "3,000 images of the training split, drawn evenly, were" in told(3000)


def test_every_setting_unlike_its_default_is_told(tmp_path: Path) -> None:
    others = {
        "max_flops": 25e6, "max_parameters": 3_000_000, "max_latency_ms": 4.5,
        "skip_unreadable": True, "start_from": ["earlier", "baselines"],
        "balance_classes": True, "trial_timeout_seconds": 600.0,
        "augmented_passes": 4, "precision": "auto",
    }  # fmt: skip
    assert {f.name for f in fields(Study)} == {*others, *TOLD_ELSEWHERE}
    assert further_settings(make_study()) == []
    page = page_of(write_study(tmp_path, trials=0, **others))
    assert (
        "Further settings max flops 25,000,000, max parameters 3,000,000, max latency"
        " ms 4.5, skip unreadable, start from earlier and baselines, balance classes,"
        " trial timeout 10 min, augmented passes 4, precision auto" in page
    )


# --- several objectives


def test_further_objectives_are_asked_for_counted_and_readable(tmp_path: Path) -> None:
    paths = write_study(
        tmp_path, trials=0, further_objectives=["latency_ms", "flops"], tuner="bohb"
    )
    measured = [{"latency_ms": 12.345, "flops": 5_123_456.0}]
    measured += [{"latency_ms": 0.5, "flops": 81_000.0}]
    trials = [trial_of(n, 3, measured=own) for n, own in enumerate(measured)]
    trials[1] = replace(trials[1], score=(trials[0].score or 0) - 0.1)
    worse = replace(trials[1], trial_id="0002", score=0.001)
    records = only_trials(paths, [*trials, worse])
    assert "best, by val_accuracy, latency_ms and flops?" in question(records)
    assert "2 trials are on the front: no other is as good" in answer(records)
    section = trials_section(records)
    assert section is not None
    cells = [cell.text for cell in section.blocks[0].rows[0]]  # type: ignore[union-attr]
    assert cells[3:5] == ["12.3", "5,123,456"]


# --- objectives that are better the smaller


def test_failures_stand_at_the_worst_of_an_objective_to_minimise(
    tmp_path: Path,
) -> None:
    paths = write_study(tmp_path, trials=0, direction="min", objective="val_loss")
    losses = [[0.9, 0.7], [0.5, 0.4]]
    trials = [
        Trial(f"{n}", "COMPLETED", min(own), 2, 2, history={"val_loss": [*own]})
        for n, own in enumerate(losses)
    ]
    records = only_trials(paths, [*trials, Trial("2", "FAILED", failure="bug")])
    series = {each["name"]: each for each in best_so_far_chart(records)["series"]}
    assert series["failed"]["data"][0]["value"][1] == 0.7
    axes = Figure().subplots()
    best_so_far_picture(records).panels[0].draw(axes)
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert float(np.asarray(crosses.get_ydata())[0]) > 0.9


def test_a_step_that_lowers_a_loss_most_is_the_one_that_improves_it() -> None:
    assert best_step_text(path_of()) == " depth improves it most: +0.0600."
    by_loss = path_of(direction="min", objective="val_loss")
    assert best_step_text(by_loss) == " activation improves it most: -0.0100."
    steps = [replace(step, gain=step.gain and -0.01) for step in by_loss.steps]
    assert best_step_text(path_of(steps=steps)) == " No step improves it."


# --- durations, order and plurals


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.0002, "0 s"), (0.2, "0.2 s"), (0.351, "0.35 s"), (4.13, "4.1 s"),
        (3, "3 s"), (9.96, "10 s"), (45.4, "45 s"), (720, "12 min"),
    ],
)  # fmt: skip
def test_short_durations_have_two_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_sorts_by_number_has_a_number(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    write_comparisons(paths, comparison_of("depth", runs_of("depth", 3, 4)))
    write_comparison(paths.comparisons / "path-to-0007.json", path_of())
    report([paths])
    text = (paths.folder / "report.html").read_text()
    cells = dict(re.findall(r'<td class="number" data-order="(.*?)">(.*?)</td>', text))
    orders = {shown: order for order, shown in cells.items()}
    assert orders["2 of 2"] == "2"
    assert orders["+0.0600"] == "0.06" and orders["+0.0100 to +0.1100"] == "0.01"


def test_one_of_a_kind_is_no_plural(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0, patience=1, epochs=1)
    runs = [run for run in runs_of("depth", 3, 4) if run.seed == 0]
    comparison = replace(comparison_of("depth", runs), seeds=[0])
    write_comparisons(paths, comparison)
    path = path_of(seeds=[0], steps=path_of().steps[:2])
    write_comparison(paths.comparisons / "path-to-0007.json", path)
    write_records(paths.trials, [trial_of(n, 1) for n in range(3)])
    page = page_of(paths)
    for right in ("after 1 epoch", "n = 1 seed a value", "; 1 seed.", "in 1 step."):
        assert right in page, right
    for wrong in ("1 epochs", "1 seeds", "1 steps"):
        assert f" {wrong}" not in page, wrong


def test_one_copy_is_told_in_the_singular(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, knobs=FEW)
    ensemble = read_ensemble(paths.ensemble)
    assert ensemble is not None
    library = [
        {"member_id": "a", "kind": "trial", "epoch": 1, "score": 0.5, "weight": 1.0}
    ]
    one = replace(
        ensemble, leaks={"copies": 1, "near_copies": 1}, library=library,
        selection={"candidates": 1, "method": "greedy", "bags": 1, "seed": 0},
    )  # fmt: skip
    write_ensemble(paths.ensemble, one)
    page = page_of(paths)
    assert "1 test image has the same pixels" in page
    assert "1 looks like one (copies included)" in page
    assert "Chosen from 1 network by greedy selection (1 bag, seed 0)." in page


# --- the gallery


def test_no_gallery_is_shown_where_there_was_no_mistake(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, knobs=FEW)
    errors = read_json(paths.errors)
    write_json(paths.errors, errors | {"gallery": [{"image": 3}]})
    assert "The most confident mistakes" in page_of(paths)
    write_json(paths.errors, errors | {"gallery": []})
    assert "The most confident mistakes" not in page_of(paths)


# --- the figure of exports


def test_every_exported_file_is_a_dot_at_its_cost_and_score(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, exports=True, knobs=FEW)
    records = read_study_records(paths)
    picture = exports_picture(records)
    assert picture is not None and len(picture.panels) == 2
    assert records.ensemble is not None
    scores = [records.ensemble.test, records.ensemble.best_single.test]
    for panel, cost in zip(picture.panels, (3.38, 1.234567), strict=True):
        axes = Figure(figsize=picture.size).subplots()
        panel.draw(axes)
        drawn = {
            (float(x), float(y))
            for line in axes.lines
            if line.get_marker() == "o"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        }
        assert drawn == {(cost, own["accuracy"]) for own in scores}
        words = {text.get_text() for text in axes.texts}
        assert {"ensemble", "best single", "keras", "onnx"} <= words
    assert "What a score costs where it is used" in page_of(paths)
    assert (paths.figures / "exports.png").exists()


def test_labels_of_crowded_dots_lie_on_no_dot_and_no_label() -> None:
    area = Box(0, 0, 300, 150)
    dots = [(100.0 + 9 * n, 75.0) for n in range(6)]
    boxes = placed([around(dot, 60, 11) for dot in dots], dots, [75.0], area)
    for number, box in enumerate(boxes):
        assert all(shared(box, other) == 0 for other in boxes[:number])
        assert all(shared(box, Box(x - 2, y - 2, x + 2, y + 2)) == 0 for x, y in dots)
        assert shared(box, area) == pytest.approx(60 * 11)
