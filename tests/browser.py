"""A headless Chromium for tests; skips with a message where there is none.

Screenshots stay as artefacts in `VISION_TUNER_ARTEFACTS`, by default a folder of the
system's temporary directory.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ARTEFACTS = Path(
    os.environ.get("VISION_TUNER_ARTEFACTS")
    or Path(tempfile.gettempdir()) / "vision-tuner-screenshots"
)
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--hide-scrollbars",
    # TensorBoard draws its curves with WebGL.
    "--enable-unsafe-swiftshader",
)  # fmt: skip
SECONDS_TO_WAIT = 45.0
LARGEST_PAGE = 20_000  # pixels


class Browser:
    """One window, with what its console said."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self, address: str, width: int, height: int, *, dark: bool = False
    ) -> None:
        """Open a page at a size in CSS pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.resize(width, height)
        self.driver.get("about:blank")
        self.console()
        self.driver.get(address)

    def resize(self, width: int, height: int) -> None:
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def tell(self, command: str, **values: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, values)

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def errors(self) -> list[str]:
        """Return what the console complained of since the last call."""
        return [e["message"] for e in self.console() if e["level"] == "SEVERE"]

    def console(self) -> list[dict[str, Any]]:
        return list(self.driver.get_log("browser"))

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Return what a condition gives as soon as it holds; else fail."""
        end = time.monotonic() + SECONDS_TO_WAIT
        while not (found := condition()):
            assert time.monotonic() < end, "the page never came to that"
            time.sleep(0.1)
        return found

    def shot(self, name: str, *, whole: bool = False) -> Path:
        """Keep a screenshot, of the whole page where asked."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        if whole:
            width = self.run("return innerWidth")
            high = self.run("return document.documentElement.scrollHeight")
            self.resize(width, min(high, LARGEST_PAGE))
        file = ARTEFACTS / f"{name}.png"
        assert self.driver.save_screenshot(str(file))
        return file


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Start a Chromium, or skip."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver (.ci/run installs them)")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
