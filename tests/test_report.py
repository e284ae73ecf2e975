"""The report: all that is recorded is in it, and nothing untrusted runs."""

import math
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from search.errors import InputError
from search.files import read_json, write_json
from search.paths import StudyPaths, study_paths
from search.records import (
    BestSingle,
    Ensemble,
    Exported,
    Finalist,
    Trial,
    Values,
    ranked,
    read_ensemble,
    read_records,
    write_ensemble,
    write_records,
)
from search.report import print_report, report, verify_reports
from search.reporting.costs import seed_noise
from search.reporting.drawing import plain_log, widen
from search.reporting.page import LIBRARY
from search.reporting.records import read_study_records
from search.reporting.statistics import (
    Importance,
    best_so_far,
    knob_importance,
    rank_agreements,
    wilson_interval,
)
from search.reporting.verification import verify
from search.studies import Study

RUNGS = (3, 9, 27)
FEW = ("residual", "sgd_learning_rate", "learning_rate")
EVIL = "ValueError: <script>alert('x')</script> at http://evil.example/a.js | b"


def make_study(task: str = "classification", **changes: Any) -> Study:
    """Return a study as a search records it."""
    plain = Study(
        f"synthetic-{task}",
        task,  # type: ignore[arg-type]
        "shapes",
        "convnet" if task == "classification" else "unet",
        tuner="kt-hyperband",  # of which rungs are where trials ended
        objective="val_accuracy" if task == "classification" else "val_dice",
        epochs=RUNGS[-1],
        fixed={"base_filters": 32},
    )
    return replace(plain, **changes)


def draw_values(chance: random.Random) -> Values:
    """Return knob values with a conditional knob, like those of the convnet."""
    values: Values = {
        "stages": chance.randint(2, 4),
        "base_filters": 32,
        "residual": chance.random() < 0.5,
        "activation": chance.choice(["relu", "gelu", "silu"]),
        "dropout_rate": chance.choice([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        "batch_size": chance.choice([32, 64, 128, 256]),
        "optimizer": chance.choice(["adamw", "sgd"]),
    }
    if values["optimizer"] == "adamw":
        values["learning_rate"] = 10 ** chance.uniform(-4, -1.4)
    else:
        values["sgd_learning_rate"] = 10 ** chance.uniform(-3, 0)
    return values


def quality(values: Values) -> float:
    """Return the accuracy a configuration tends to: the learning rate matters most."""
    rate = values.get("learning_rate") or float(values["sgd_learning_rate"]) / 20
    miss = abs(math.log10(float(rate)) + 2.7)
    return (
        0.88
        - 0.16 * miss
        + 0.04 * bool(values["residual"])
        - 0.06 * float(values.get("dropout_rate", 0))
    )


def history(values: Values, epochs: int, objective: str, chance: random.Random) -> Any:
    """Return learning curves that end near the configuration's quality."""
    metric = objective.removeprefix("val_")
    curves: dict[str, list[float | None]] = {metric: [], "loss": [], objective: []}
    for epoch in range(1, epochs + 1):
        share = 1 - math.exp(-epoch / 6)
        value = 0.1 + (quality(values) - 0.1) * share + chance.gauss(0, 0.012)
        curves[objective].append(min(0.999, max(0.01, value)))
        curves[metric].append(min(0.999, max(0.01, value + 0.05 * share)))
        curves["loss"].append(2.3 * math.exp(-epoch / 8) + 0.2)
    return curves


def make_trial(number: int, epochs: int, study: Study, chance: random.Random) -> Trial:
    """Return a trial that trained `epochs` epochs."""
    values = draw_values(chance)
    curves = history(values, epochs, study.objective, chance)
    scores = curves[study.objective]
    best = int(np.argmax(scores))
    return Trial(
        f"{number:04d}",
        "COMPLETED",
        score=scores[best],
        best_epoch=best + 1,
        epochs=epochs,
        seconds=epochs * chance.uniform(4, 9),
        parameters=int(10 ** chance.uniform(4, 6.5)),
        values=values,
        history=curves,
    )


def make_trials(study: Study, count: int, seed: int = 0) -> list[Trial]:
    """Return trials as Hyperband leaves them: most end at a low rung; some fail."""
    chance = random.Random(seed)
    trials: list[Trial] = []
    for number in range(count):
        epochs = chance.choices(RUNGS, (6, 2, 1))[0]
        trial = make_trial(number, epochs, study, chance)
        if number % 14 == 5:
            trial = failed(
                trial, "FAILED", "out of memory", "ResourceExhaustedError: OOM"
            )
        elif number % 14 == 9:
            trial = failed(
                trial, "INFEASIBLE", "infeasible", "InfeasibleError: too large"
            )
        elif number == 12:
            trial = failed(trial, "FAILED", "bug", EVIL)
        trials.append(trial)
    return trials


def failed(trial: Trial, state: Any, kind: str, message: str) -> Trial:
    """Return the trial as one that failed before its first epoch ended."""
    return replace(
        trial, state=state, failure=kind, message=message, score=None, best_epoch=None,
        epochs=0, seconds=1.5, parameters=None, history={},
    )  # fmt: skip


def metrics(task: str, score: float) -> dict[str, float | None]:
    """Return metrics under the names `evaluate` gives them."""
    if task == "classification":
        return {
            "accuracy": score, "top5_accuracy": min(1.0, score + 0.12),
            "nll": 2 * (1 - score), "brier": 1 - score, "ece": 0.031,
        }  # fmt: skip
    return {
        "dice": score, "foreground_iou": score / (2 - score), "pixel_accuracy": 0.93,
        "dice_per_image": score - 0.02,
    }  # fmt: skip


def make_finalists(study: Study, trials: list[Trial], seeds: int) -> list[Finalist]:
    """Return the best three, retrained from some seeds."""
    chance = random.Random(1)
    found = []
    for rank, trial in enumerate(ranked(trials, "max")[:3], start=1):
        for seed in range(seeds):
            curves = history(trial.values, study.epochs, study.objective, chance)
            scores = curves[study.objective]
            found.append(
                Finalist(
                    f"{trial.trial_id}-seed{seed}", trial.trial_id, seed, trial.values,
                    study.epochs, int(np.argmax(scores)) + 1,
                    metrics(study.task, max(scores)),
                    metrics(study.task, max(scores) - 0.013),
                    trial.parameters or 0, 210.0, curves,
                    f"rank {rank} of {len(trials)} trials: {study.objective}"
                    f" {trial.score:.4f} in epoch {trial.best_epoch}",
                )
            )  # fmt: skip
    return found


def write_study(
    folder: Path,
    task: str = "classification",
    *,
    trials: int = 40,
    seeds: int = 0,
    exports: bool = False,
    knobs: Sequence[str] = (),
    **changes: Any,
) -> StudyPaths:
    """Write the records of a study below `folder`, up to the step asked for.

    Args:
        knobs: what trials have; few are drawn sooner. Default: all.
    """
    study = make_study(task, **changes)
    paths = study_paths(study.name, folder / "results", folder / "logs")
    is_classification = task == "classification"
    names = (
        ["circle", "ring", "star"]
        if is_classification
        else ["background", "foreground"]
    )
    write_json(
        paths.study,
        {
            "study": asdict(study),
            "fingerprint": "f" * 64,
            "data": {
                "fingerprint": "d" * 64, "image_shape": [32, 32, 3],
                "class_names": names,
                "sizes": {"train": 4000, "validation": 1000, "test": 1000},
                "hashes": {"train": "a" * 64, "validation": "b" * 64, "test": "c" * 64},
                "skipped": 0,
            },
            "environment": {
                "python": "3.11.7", "machine": "Linux x86_64", "commit": "dc80fdd",
                "packages": {"vision-tuner": "0.1.0", "keras": "3.15.1"},
            },
            "command": f"vision-tuner search {study.name} --epochs {study.epochs}",
        },
    )  # fmt: skip
    found = make_trials(study, trials)
    if knobs:
        kept = [{k: v for k, v in t.values.items() if k in knobs} for t in found]
        found = [replace(t, values=v) for t, v in zip(found, kept, strict=True)]
    write_records(paths.trials, found)
    if seeds:
        finalists = make_finalists(study, found, seeds)
        write_records(paths.finalists, finalists)
        finish(paths, study, finalists)
    if exports:
        write_records(
            paths.manifest,
            [
                Exported(
                    model, kind, f"export/{model}.{kind}", 1_234_567, "e" * 64, 2.4e-8,
                    0.999, 3.38, 1000,
                )
                for model in ("ensemble", "best_single")
                for kind in ("keras", "onnx")
            ],
        )  # fmt: skip
    return paths


def finish(paths: StudyPaths, study: Study, finalists: list[Finalist]) -> None:
    """Write the ensemble of the first three finalists, and the look at the test set."""
    members = [finalist.finalist_id for finalist in finalists[:3]]
    best = max(finalists, key=lambda f: f.validation[study.objective[4:]] or 0)
    write_ensemble(
        paths.ensemble,
        Ensemble(
            members, [0.5, 0.3, 0.2], 1.31, 0.47,
            metrics(study.task, 0.9123), metrics(study.task, 0.8977),
            BestSingle(best.finalist_id, 1.2, best.validation, best.test, 0.5),
        ),
    )  # fmt: skip
    write_json(paths.errors, make_errors(study))
    picture = Image.new("RGB", (60, 20), "orange")
    picture.save(paths.gallery)
    asked = sorted(finalist.finalist_id for finalist in finalists)
    write_json(paths.test_ledger, [{"when": "2026-11-22T16:25:52Z", "asked": asked}])


def make_errors(study: Study) -> dict[str, Any]:
    """Return what finalize says of errors on the test set."""
    bins = [
        {"confidence": 0.3 + 0.1 * k, "right": 0.25 + 0.1 * k, "share": 1 / 7}
        for k in range(7)
    ]
    errors: dict[str, Any] = {"reliability": {"ensemble": bins, "best_single": bins}}
    if study.task == "classification":
        counts = [[290, 30, 13], [20, 300, 13], [10, 16, 308]]
        names = ["circle", "ring", "<b>star</b>"]
        errors["confusion"] = {"classes": names, "counts": counts}
    return errors


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyPaths, list[Path]]:
    """Return a study with everything recorded, and the files of its report."""
    folder = tmp_path_factory.mktemp("full")
    paths = write_study(folder, trials=40, seeds=2, exports=True)
    return paths, report([paths])


class Reader(HTMLParser):
    """Collects the tags, the visible text and the ids of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def programs(page: Reader) -> int:
    """Return how many scripts a page has, those that are data left out."""
    return [(tag, a.get("type")) for tag, a in page.tags].count(("script", None))


def own_text(paths: StudyPaths) -> str:
    """Return a page without the library in it."""
    return (
        (paths.folder / "report.html")
        .read_text()
        .replace(LIBRARY.read_text().strip(), "")
    )


def read_page(paths: StudyPaths) -> Reader:
    return Reader((paths.folder / "report.html").read_text())


def test_every_trial_and_its_numbers_are_in_both_documents(full: Any) -> None:
    paths, _ = full
    page, markdown = read_page(paths).words(), (paths.folder / "report.md").read_text()
    for trial in read_records(paths.trials, Trial):
        score = "–" if trial.score is None else f"{trial.score:.4f}"
        cells = [trial.trial_id, trial.state, score]
        assert " ".join(cells) in page
        assert f"| {' | '.join(cells)} |" in markdown


def test_metrics_equal_the_records(full: Any) -> None:
    paths, _ = full
    page, ensemble = read_page(paths).words(), read_ensemble(paths.ensemble)
    assert ensemble is not None
    single = ensemble.best_single
    scored = (ensemble.validation, ensemble.test, single.validation, single.test)
    for name in ensemble.test:
        row = " ".join(f"{metrics_of[name]:.4f}" for metrics_of in scored)
        assert row in page
    for finalist in read_records(paths.finalists, Finalist):
        scores = [finalist.validation["accuracy"], finalist.test["accuracy"]]
        assert f"{finalist.finalist_id} {scores[0]:.4f} {scores[1]:.4f}" in page
    trials = read_records(paths.trials, Trial)
    assert f"{sum(trial.epochs for trial in trials):,}" in page


def test_untrusted_text_is_shown_and_never_runs(full: Any) -> None:
    paths, _ = full
    page = read_page(paths)
    assert EVIL in page.words()
    assert programs(page) == 2  # the library and the page's own
    assert "<script>alert" not in (paths.folder / "report.html").read_text()
    assert (
        r"\<script\>alert('x')\</script\>" in (paths.folder / "report.md").read_text()
    )


def test_untrusted_knobs_are_escaped_in_figures_too(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=12, knobs=FEW)
    evil = '</text><script>alert(1)</script>$\\frac{"'
    trials = [
        replace(trial, values={**trial.values, evil: f"{evil}{number % 2}\x00"})
        for number, trial in enumerate(read_records(paths.trials, Trial))
    ]
    write_records(paths.trials, trials)
    report([paths])
    text = (paths.folder / "report.html").read_text()
    assert programs(Reader(text)) == 2
    assert "\x00" not in text


def test_the_page_needs_no_network(full: Any) -> None:
    paths, _ = full
    for tag, attributes in read_page(paths).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            link = attributes.get(name) or "#"
            assert link.startswith(("#", "data:image/png;")), (tag, link)
    text = own_text(paths)
    assert len(text) < (paths.folder / "report.html").stat().st_size
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)|@import|xmlns", text)


def test_ids_are_unique_and_every_link_within_the_page_leads_somewhere(
    full: Any,
) -> None:
    paths, _ = full
    tags = read_page(paths).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a["href"]) for tag, a in tags if a.get("href") and tag != "image"}
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_figures_are_written_and_linked(full: Any) -> None:
    paths, files = full
    markdown = (paths.folder / "report.md").read_text()
    linked = {paths.folder / link for link in re.findall(r"\]\((.*?)\)", markdown)}
    assert paths.gallery in linked
    linked.remove(paths.gallery)
    figures = {file for file in files if file.suffix == ".png"}
    assert linked == figures == set(paths.figures.glob("*.png"))
    assert {file.stem for file in figures} == {
        "best_so_far", "learning_curves", "rank_agreement", "knob_importance",
        "parallel_coordinates", "knobs", "cost_parameters", "finalists", "exports",
        "reliability", "confusion",
    }  # fmt: skip
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in figures)
    panels = [a for tag, a in read_page(paths).tags if tag == "svg"]
    assert all(a["role"] == "img" and a["aria-label"] for a in panels)


def test_tables_in_markdown_have_as_many_cells_as_columns(full: Any) -> None:
    paths, _ = full
    for table in re.findall(
        r"(?:^\|.*\n)+", (paths.folder / "report.md").read_text(), re.M
    ):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table


def test_the_same_records_make_the_same_page(full: Any, tmp_path: Path) -> None:
    paths, _ = full
    write_study(tmp_path, trials=12, knobs=FEW)
    copies = []
    for name in ("a", "b"):
        copy = study_paths(f"copy-{name}", tmp_path / "results", tmp_path)
        shutil.copytree(tmp_path / "results" / paths.name, copy.folder)
        report([copy])
        copies.append((copy.folder / "report.html").read_text())
    assert copies[0].replace("copy-a", "copy-b") == copies[1].replace(
        "copy-a", "copy-b"
    )


def test_a_study_without_any_trial_has_a_sensible_page(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    report([paths])
    page = read_page(paths).words()
    assert "No search yet: no trial was begun." in page
    assert "The test set has not been read." in page
    assert "Pretrained weights none" in page  # of a network from scratch
    assert "How to reproduce" in page
    assert not list(paths.figures.glob("*.png"))


@pytest.mark.parametrize("state", ["RUNNING", "WAITING", "FAILED"])
def test_trials_without_a_score_make_a_page(tmp_path: Path, state: Any) -> None:
    paths = write_study(tmp_path, trials=0)
    write_records(paths.trials, [Trial("0000", state, values={"stages": 2})])
    report([paths])
    page = read_page(paths).words()
    assert "none with a score" in page
    assert f"0000 {state}" in page


def test_one_trial_with_gaps_in_its_history_makes_a_page(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0, direction="min", objective="val_loss")
    gaps = {"val_loss": [None, 0.7, None, 0.4], "loss": [1.0, None, 0.5, 0.4]}
    trial = Trial(
        "0000", "PAUSED", 0.4, 4, 4, 12.0, 10, {"stages": 2}, history=gaps
    )  # fmt: skip
    write_records(paths.trials, [trial])
    report([paths])
    assert "val_loss 0.4000 in epoch 4" in read_page(paths).words()


def test_a_search_that_was_not_finalized_says_that_its_score_is_optimistic(
    tmp_path: Path,
) -> None:
    paths = write_study(tmp_path, "segmentation", trials=9, knobs=FEW)
    report([paths])
    page, best = read_page(paths).words(), read_study_records(paths).best[0]
    assert f"trial {best.trial_id}: val_dice {best.score:.4f}" in page
    assert "optimistic" in page and "Too few scored trials" in page
    assert "Exported models" not in page


def test_segmentation_speaks_of_a_threshold(tmp_path: Path) -> None:
    paths = write_study(tmp_path, "segmentation", trials=8, seeds=1, knobs=FEW)
    report([paths])
    page = read_page(paths).words()
    assert "Threshold, which makes a pixel foreground" in page
    assert "test dice of 0.8977 (n = 1,000 images)" in page
    assert "Temperature, which divides the logits" in page


def test_what_painting_all_pixels_alike_scores_is_told_once(tmp_path: Path) -> None:
    """It is the same for every model: no row of a comparison."""
    paths = write_study(tmp_path, "segmentation", trials=8, seeds=1, knobs=FEW)
    report([paths])
    assert "Without a network" not in read_page(paths).words()
    record = read_json(paths.ensemble)
    alike = {"all_foreground_dice": 0.4567, "all_foreground_iou": 0.2959}
    more = {"all_background_pixel_accuracy": 0.7012, "original_all_foreground_dice": 1}
    record["test"] |= alike | more
    write_json(paths.ensemble, record)
    report([paths])
    page = read_page(paths).words()
    assert (
        "Without a network, on test: all pixels foreground, dice 0.4567 and iou 0.2959;"
        " all pixels background, pixel accuracy 0.7012." in page
    )
    assert "all_foreground" not in page


def test_the_most_frequent_class_is_a_yardstick_where_classes_are_uneven(
    tmp_path: Path,
) -> None:
    paths = write_study(tmp_path, trials=8, seeds=1, knobs=FEW)
    report([paths])
    assert "Without a network" not in read_page(paths).words()
    errors = read_json(paths.errors)
    errors["confusion"]["counts"] = [[10, 0, 0], [4, 26, 0], [0, 0, 10]]
    write_json(paths.errors, errors)
    report([paths])
    told = "Without a network, on test: always ring, accuracy 0.6000."
    assert told in read_page(paths).words()


def test_damaged_choices_differ_from_their_seal(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=8, seeds=1, knobs=FEW)
    looks = read_json(paths.test_ledger)
    write_json(paths.test_ledger, [{**look, "choices": "abc"} for look in looks])
    paths.choices.write_text('{"half')
    found = verify(read_study_records(paths), paths)
    assert "sha256 of choices.json" in [item.what for item in found.findings]


def test_a_figure_that_is_not_made_any_more_is_removed(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=6, knobs=FEW)
    paths.figures.mkdir(parents=True)
    (paths.figures / "finalists.png").write_bytes(b"old")
    (paths.figures / "of_another_verb.png").write_bytes(b"kept")
    report([paths])
    assert not (paths.figures / "finalists.png").exists()
    assert (paths.figures / "of_another_verb.png").exists()


def test_what_was_never_searched_or_is_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a study that has been searched"):
        report([study_paths("absent", tmp_path, tmp_path)])
    with pytest.raises(InputError, match="Received: none"):
        report([])
    paths = write_study(tmp_path, trials=2)
    paths.trials.write_text('[{"trial_id": ')
    with pytest.raises(InputError, match=r"trials\.json is not JSON"):
        report([paths])
    assert not (paths.folder / "report.html").exists()


def test_best_so_far_lays_trials_end_to_end(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    curves = ([0.1, 0.3], [None, 0.2], [0.5, 0.4])
    write_records(
        paths.trials,
        [
            Trial(f"{n}", "COMPLETED", 0.5, 1, 2, history={"val_accuracy": list(curve)})
            for n, curve in enumerate(curves)
        ],
    )
    steps = best_so_far(read_study_records(paths))
    assert steps == [(1, 0.1), (2, 0.3), (5, 0.5), (6, 0.5)]


def test_ranks_agree_with_scipy(tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    records = read_study_records(write_study(tmp_path, trials=80))
    assert records.rungs == list(RUNGS)
    for found in rank_agreements(records):
        if found.correlation is not None:
            before, after = zip(*found.scores, strict=True)
            assert found.correlation == pytest.approx(spearmanr(before, after)[0])


def test_importance_finds_the_planted_knob_and_stays_silent_on_noise(
    tmp_path: Path,
) -> None:
    study = make_study(tuner="random")
    paths = write_study(tmp_path, trials=0, tuner="random")
    chance = random.Random(3)
    trials = [make_trial(number, study.epochs, study, chance) for number in range(30)]
    planted = [
        replace(t, score=0.5 + 0.1 * int(t.values["stages"]) + chance.gauss(0, 0.01))
        for t in trials
    ]
    write_records(paths.trials, planted)
    found = knob_importance(read_study_records(paths))
    assert isinstance(found, Importance)
    assert found.knobs[0].name == "stages" and found.knobs[0].low > 0
    assert all(abs(other.mean) < found.knobs[0].mean / 5 for other in found.knobs[1:])
    write_records(paths.trials, [replace(t, score=chance.random()) for t in trials])
    silent = knob_importance(read_study_records(paths))
    assert isinstance(silent, str) and "do not predict" in silent


def test_the_interval_is_that_of_wilson() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_importing_and_help_load_no_plots() -> None:
    code = (
        "import sys, search.report;"
        "print(sorted({'matplotlib', 'sklearn', 'keras', 'tensorflow'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_it_says_which_files_to_open(full: Any, capsys: Any) -> None:
    paths, files = full
    print_report(files, Console(width=200))
    said = capsys.readouterr().out
    assert str(paths.folder / "report.html") in said
    assert "and 11 figures" in said


def test_several_studies_make_one_page_with_a_table_across_them(
    tmp_path: Path,
) -> None:
    both = [
        write_study(tmp_path, task, trials=6, seeds=1, knobs=FEW)
        for task in ("classification", "segmentation")
    ]
    files = report(both)
    whole = tmp_path / "results" / "report.html"
    assert whole in files and programs(Reader(whole.read_text())) == 2
    page = Reader(whole.read_text())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for paths in both:
        assert f"{paths.name} shapes" in page.words()  # its row
        assert f"{paths.name} · Every trial" in page.words()
    markdown = (tmp_path / "results" / "report.md").read_text()
    assert "figures/studies_dice.png" in markdown
    assert (tmp_path / "results" / "figures" / "studies_accuracy.png").exists()


def test_verify_agrees_with_what_was_written_and_finds_what_was_changed(
    tmp_path: Path,
) -> None:
    paths = write_study(tmp_path, trials=8, knobs=FEW)
    report([paths])
    (found,) = verify_reports([paths]).values()
    assert not found.findings and found.checked["scores of trials"] >= 20
    trials = read_records(paths.trials, Trial)
    better = ranked(trials, "max")[0]
    write_records(
        paths.trials,
        [replace(t, score=0.99) if t == better else t for t in trials],
    )
    (found,) = verify_reports([paths]).values()
    told = {finding.what.split(": ")[0] for finding in found.findings}
    assert f"trial {better.trial_id}" in told and len(told) == 2  # and the report


def test_chance_is_estimated_from_seeds(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=12, seeds=2, knobs=FEW)
    records = read_study_records(paths)
    noise = seed_noise(records)
    assert noise is not None and noise.trainings == len(records.finalists)
    groups: dict[str, list[float]] = {}
    for finalist in records.finalists:
        groups.setdefault(finalist.trial_id, []).append(
            finalist.validation["accuracy"] or 0.0
        )
    pooled = np.mean([np.var(scores, ddof=1) for scores in groups.values()])
    assert noise.deviation == pytest.approx(pooled**0.5)


def test_knobs_come_out_in_the_order_in_which_they_were_planted(tmp_path: Path) -> None:
    study = make_study(tuner="random")
    paths = write_study(tmp_path, trials=0, tuner="random")
    for seed in range(3):
        chance = random.Random(seed)
        planted = []
        for number in range(80):
            trial = make_trial(number, 1, study, chance)
            values: Values = {
                "largest": chance.random(),
                "middle": chance.choice(["a", "b", "c"]),
                "small": 10 ** chance.uniform(-4, -1),
                "nothing": chance.randint(1, 64),
            }
            score = (
                0.6 * float(values["largest"])
                + 0.12 * "abc".index(str(values["middle"]))
                + 0.06 * (math.log10(float(values["small"])) + 4)
                + chance.gauss(0, 0.01)
            )
            planted.append(replace(trial, values=values, score=score))
        write_records(paths.trials, planted)
        found = knob_importance(read_study_records(paths))
        assert isinstance(found, Importance)
        names = [knob.name for knob in found.knobs]
        assert names == ["largest", "middle", "small", "nothing"]


@pytest.mark.parametrize(
    ("costs", "labels"),
    [
        ((5.17e9, 5.18e9, 5.17e9), ["10 G"]),
        ((1.1e6, 3e6, 2.6e7), ["10 M"]),
        ((12.0, 150.0, 900.0), ["100"]),
    ],
)
def test_costs_are_labelled_in_words_that_do_not_overlap(
    costs: tuple[float, ...], labels: list[str]
) -> None:
    axes = Figure(figsize=(4.4, 2.6)).subplots()
    axes.plot(costs, (0.1, 0.2, 0.3), "o")
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    widen(axes)
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = axes.xaxis.get_major_ticks() + axes.xaxis.get_minor_ticks()
    shown = [
        tick.label1.get_text()
        for tick in ticks
        if low <= tick.get_loc() <= high and tick.label1.get_text()
    ]
    assert set(labels) <= set(shown)
    assert len(shown) <= 5


def test_the_page_repeats_all_that_finalize_was_asked_for(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=8, seeds=1, knobs=FEW)
    looks = read_json(paths.test_ledger)
    options = {"use_validation": True, "tta": ["flip", "shift"], "distill": False}
    write_json(paths.test_ledger, [{**look, "options": options} for look in looks])
    report([paths])
    words = read_page(paths).words()
    assert "--seeds 1 --use-validation --tta flip,shift" in words
    assert "--distill" not in words


def test_losses_and_metrics_are_not_mixed_in_what_chance_does(tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=8, seeds=2, knobs=FEW)
    records = read_study_records(paths)
    assert seed_noise(records) is not None
    by_loss = replace(records.study, objective="val_loss", direction="min")
    assert seed_noise(replace(records, study=by_loss, comparisons={})) is None
