"""The report and TensorBoard in a real browser: drawn, sortable, nothing complained of.

Screenshots stay in `VISION_TUNER_ARTEFACTS`, to be looked at.
"""

import io
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, opened_browser
from PIL import Image
from test_report import FEW, make_study, make_trials, write_study

from search.board import free_port
from search.orders import Order, Progress
from search.paths import study_paths
from search.pictures.sheets import sheet
from search.records import Trial
from search.report import report
from search.watching.event_hparams import (
    metric_names,
    write_hparams,
    write_hparams_domain,
)
from search.watching.event_layout import first_screen
from search.watching.event_search import SearchEvents
from search.watching.events import EventWriter, resources_of

SIZES = [(1440, 900, False), (1440, 900, True), (360, 740, False)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report with all there can be in one."""
    folder = tmp_path_factory.mktemp("report")
    paths = write_study(folder, trials=40, seeds=2, exports=True)
    report([paths])
    return (paths.folder / "report.html").as_uri()


def marks_in_charts(browser: Browser) -> list[int]:
    """Return how many paths each chart of the page holds."""
    counts: list[int] = browser.run(
        "return [...document.querySelectorAll('.chart')].map("
        "(chart) => chart.querySelectorAll('svg path').length)"
    )
    return counts


@pytest.mark.parametrize(("width", "height", "is_dark"), SIZES)
def test_the_report_is_drawn_and_fits(
    browser: Browser, page: str, width: int, height: int, is_dark: bool
) -> None:
    browser.open(page, width, height, dark=is_dark)
    # ECharts draws in an animation frame, some time after the page has loaded.
    browser.wait(lambda: min(marks_in_charts(browser), default=0) > 8)
    assert len(marks_in_charts(browser)) == 5
    hidden = browser.run(
        "return [...document.querySelectorAll('.on-paper')].every("
        "(drawn) => drawn.offsetHeight === 0)"
    )
    assert hidden, "a figure is shown twice"
    wide = browser.run("return document.documentElement.scrollWidth")
    assert wide <= width, "the page must not scroll sideways"
    browser.shot(f"report-{width}{'-dark' if is_dark else ''}", whole=True)
    assert browser.errors() == []


def test_tables_sort_by_numbers_and_back(browser: Browser, page: str) -> None:
    browser.open(page, 1440, 900)
    column = """
        const table = document.querySelector('#trials table');
        const place = [...table.tHead.rows[0].cells].findIndex(
            (head) => head.textContent.startsWith('epochs'));
        table.tHead.rows[0].cells[place].querySelector('button').click();
        return [...table.tBodies[0].rows].map((row) => +row.cells[place].dataset.order);
    """
    upwards, downwards = browser.run(column), browser.run(column)
    assert upwards == sorted(upwards) and downwards == sorted(upwards, reverse=True)
    assert len(set(upwards)) > 2


@pytest.mark.parametrize("name", ["Best so far", "Learning curves"])
def test_pointing_at_a_trial_tells_its_values(
    browser: Browser, page: str, name: str
) -> None:
    browser.open(page, 1440, 900)
    told = browser.run(
        """
        const figure = [...document.querySelectorAll('figure')].find(
            (one) => one.querySelector('h3').textContent.startsWith(arguments[0]));
        const chart = echarts.getInstanceByDom(figure.querySelector('.chart'));
        chart.dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 0});
        return chart.getZr().storage.getDisplayList(true)
            .map((mark) => mark.style.text).filter(Boolean).join(' ');
        """,
        name,
    )
    assert "trial 00" in told and "· val_accuracy 0." in told and "parameters" in told


def test_costs_are_labelled_short(browser: Browser, page: str) -> None:
    browser.open(page, 1440, 900)
    words = browser.run(
        """
        const figure = [...document.querySelectorAll('figure')].find(
            (one) => one.innerText.startsWith('Score against parameters'));
        const chart = echarts.getInstanceByDom(figure.querySelector('.chart'));
        return chart.getZr().storage.getDisplayList(true)
            .map((mark) => mark.style.text).filter(Boolean);
        """
    )
    assert "1 M" in words and not any("000" in word for word in words)


def test_on_paper_and_without_scripts_the_drawn_figures_stand(
    browser: Browser, page: str
) -> None:
    browser.open(page, 1440, 900)
    browser.tell("Emulation.setEmulatedMedia", media="print")
    shown = browser.run(
        "return [...document.querySelectorAll('.on-paper')].map((e) => e.offsetHeight)"
    )
    charts = browser.run("return document.querySelector('.chart').offsetHeight")
    browser.tell("Emulation.setEmulatedMedia", media="")
    assert min(shown) > 0 and charts == 0
    browser.tell("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, 1440, 900)
        browser.shot("report-without-scripts")
    finally:
        browser.tell("Emulation.setScriptExecutionDisabled", value=False)
    drawn = browser.run("return document.querySelectorAll('.panel svg').length")
    assert drawn > 10


@pytest.mark.parametrize(("edge", "shown"), [(60, 60), (2400, 1088)])
def test_a_gallery_is_never_larger_than_it_is_and_dim_in_the_dark(
    browser: Browser, tmp_path: Path, edge: int, shown: int
) -> None:
    paths = write_study(tmp_path, trials=6, seeds=1, knobs=FEW)
    Image.new("RGB", (edge, 20), "white").save(paths.gallery)
    report([paths])
    address = (paths.folder / "report.html").as_uri()
    look = "const image = document.querySelector('figure img');"
    for dark in (False, True):
        browser.open(address, 1280, 900, dark=dark)
        width, dimmed = browser.run(
            f"{look} return [image.offsetWidth, getComputedStyle(image).filter]"
        )
        assert width <= edge and abs(width - shown) < 100
        assert dimmed.startswith("brightness(0.") == dark
    browser.shot(f"gallery-{edge}-dark")


def test_a_study_that_just_began_has_a_page(browser: Browser, tmp_path: Path) -> None:
    paths = write_study(tmp_path, trials=0)
    report([paths])
    browser.open((paths.folder / "report.html").as_uri(), 360, 740)
    assert "No search yet" in browser.run("return document.body.innerText")
    assert browser.errors() == []


def write_logs(folder: Path) -> list[Trial]:
    """Write the logs of a small search, as driver and workers do."""
    study = make_study()
    paths = study_paths("logged", folder, folder)
    write_hparams_domain(
        paths.logs,
        {"stages": [2, 3, 4], "learning_rate": (1e-4, 1e-1), "optimizer": None},
        metric_names("classification", 3),
    )
    trials = [
        replace(t, values={k: v for k, v in t.values.items() if k in (*FEW, "stages")})
        for t in make_trials(study, 20)[:8]
    ]
    events = SearchEvents(paths, study.objective, "max", lambda: 60.0)
    events.changed(trials[:1])
    for number, trial in enumerate(trials):
        logs = str(paths.logs / trial.trial_id)
        order = Order(trial.trial_id, "train", {}, "", "", logs, {}, 0, 4, 4)
        with EventWriter.opened(order, 0) as writer:
            for epoch in range(1, trial.epochs + 1):
                values = {k: v[epoch - 1] for k, v in trial.history.items()}
                writer.write_epoch(epoch, values, resources_of(1000, 2.0))
                events.progress(Progress(trial.trial_id, epoch, 1.0, values))
            pixels = np.full((32, 32, 3), 20 * number)
            picture = sheet([pixels] * 8, [["circle 0.99", "is ring"]] * 8, 4)
            writer.write_image("validation", 1, "most confident mistakes", picture)
        write_hparams(paths.logs, trial, 0)
        events.changed(trials[: number + 1])
    events.close()
    return trials


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, list[Trial]]]:
    """Serve the logs of a small search; return TensorBoard's address and the trials."""
    folder, port = tmp_path_factory.mktemp("logs"), free_port()
    trials = write_logs(folder)
    # Importing TensorFlow, which reading needs as little as writing, takes ten seconds.
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from tensorboard.main import run_main; sys.argv[0] = 'tensorboard'; run_main()"
    )
    command = [sys.executable, "-c", code, "--logdir", str(folder / "logged")]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(address, server)
        yield address, trials
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str, server: Any) -> None:
    """Wait until a server answers; fail where it has ended."""
    import time

    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/data/runs", timeout=5).read()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("TensorBoard has ended")


# Elements of TensorBoard lie in shadow roots.
DEEP = """
    const found = [];
    const look = (root) => root.querySelectorAll('*').forEach((e) => {
        if (e.matches(arguments[0])) found.push(e);
        if (e.shadowRoot) look(e.shadowRoot);
    });
    look(document);
"""


def words(browser: Browser, element: str) -> str:
    """Return the text of all elements of a kind, without white space."""
    text = DEEP + "return found.map((one) => one.textContent).join(' ');"
    return "".join(browser.run(text, element).split())


def has_colours(browser: Browser, element: str) -> bool:
    """Return whether the first element of a kind shows anything that is not grey."""
    place = """
        const {x, y, right, bottom} = found[0].getBoundingClientRect();
        return [x, y, right, bottom];
    """
    box = [int(edge) for edge in browser.run(DEEP + place, element)]
    window = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    pixels = np.asarray(window.convert("RGB").crop(tuple(box)), int)
    return bool((np.ptp(pixels, axis=2) > 60).sum() > 50)


@pytest.mark.parametrize("width", [1440, 360])
def test_tensorboard_opens_with_the_curves_that_matter(
    browser: Browser, board: tuple[str, list[Trial]], width: int
) -> None:
    address = first_screen(board[0], ["val_accuracy"])
    browser.open(address, width, 900)
    browser.wait(lambda: "search/best_val_accuracy" in words(browser, "card-view"))
    browser.wait(lambda: browser.run(DEEP + "return found.length;", "line-chart") >= 2)
    browser.wait(lambda: has_colours(browser, "line-chart"))
    browser.shot(f"tensorboard-first-{width}")
    assert browser.errors() == []


def test_the_hparams_table_has_every_trial_with_its_score(
    browser: Browser, board: tuple[str, list[Trial]]
) -> None:
    address, trials = board
    browser.open(f"{address}/#hparams", 1440, 900)
    wanted = [trial.trial_id for trial in trials]

    def shown() -> bool:
        table = words(browser, "vaadin-grid-cell-content")
        return all(key in table for key in wanted) and "score" in table

    browser.wait(shown)
    browser.shot("tensorboard-hparams")
    assert {t.state for t in trials} >= {"COMPLETED", "FAILED"}
    assert browser.errors() == []


@pytest.mark.parametrize(
    ("place", "element"),
    [("custom_scalars", "vz-line-chart2"), ("images", "tf-image-loader img")],
)
def test_the_other_pages_of_tensorboard_show_something(
    browser: Browser, board: tuple[str, list[Trial]], place: str, element: str
) -> None:
    browser.open(f"{board[0]}/#{place}", 1440, 900)
    last = element.split()[-1]
    browser.wait(lambda: browser.run(DEEP + "return found.length;", last))
    browser.shot(f"tensorboard-{place}")
    assert browser.errors() == []
