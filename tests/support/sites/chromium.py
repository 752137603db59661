"""A headless Chromium, driven by selenium: what it writes is below one directory, and none of its processes is left.

It can show a page as a telephone does, or in dark colours, and notes what scripts of a page do that should not run.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

WIDTH, HEIGHT = 1200, 900
PHONE = 390  # pixels of a telephone's width
_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    # Nothing but this host's own address is to be reached.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    f"--window-size={WIDTH},{HEIGHT}",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)
# Runs in each page before its own scripts.
_NOTES = """
window.notes = {violations: [], errors: [], dialogs: [], shift: 0, shifted: []};
document.addEventListener('securitypolicyviolation',
    event => notes.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
addEventListener('error', event => notes.errors.push(event.message || `cannot load ${event.target.outerHTML}`), true);
addEventListener('unhandledrejection', event => notes.errors.push(String(event.reason)));
for (const name of ['alert', 'confirm', 'prompt', 'print'])
    window[name] = text => { notes.dialogs.push(`${name} ${text}`); };
new PerformanceObserver(list => {
    for (const entry of list.getEntries())
        if (!entry.hadRecentInput) {
            notes.shift += entry.value;
            notes.shifted.push(...entry.sources.map(source => source.node && source.node.parentNode
                ? (source.node.outerHTML || source.node.textContent).slice(0, 80) : 'gone'));
        }
}).observe({type: 'layout-shift', buffered: true});
"""
# Loaded, and no request of htmx is under way.
_IDLE = "return document.readyState === 'complete' && !document.querySelector('.htmx-request, .htmx-settling')"


class Browser:
    """A browser with one tab. `driver` is that of selenium."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.origin = ""
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=_NOTES)

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Send one command of Chromium's DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script in the page returns; as if typed into the console, so that no policy of the page holds."""
        return self.driver.execute_script(script, *arguments)

    def enter(self, address: str) -> None:
        """Open the address that `underlay web` has printed; other pages are opened by their paths afterwards."""
        self.driver.get(address)
        self.origin = str(self.run("return location.origin"))

    def open(self, path: str) -> None:
        """Open a page, and wait until it is complete. What was in the log before is forgotten."""
        self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        self.driver.get(f"{self.origin}{path}")
        self.wait(_IDLE)

    def wait(self, condition: str, *arguments: object, seconds: float = 30) -> None:
        """Wait until a script in the page returns something that is true; fails the test otherwise."""
        deadline = time.monotonic() + seconds
        while not self.run(condition, *arguments):
            if time.monotonic() > deadline:
                pytest.fail(f"{self.driver.current_url}: never came true: {condition}\n{self.text()[-2000:]}")
            time.sleep(0.02)

    def text(self, selector: str = "body") -> str:
        """Return the text of an element as it is shown."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def complaints(self, status: int = 200) -> list[str]:
        """Return what the browser complains of since the page was opened: errors, violations of the policy, dialogs that
        scripts have opened. That a page has another status than 200 is none if it is `status`."""
        notes = self.run("return notes")
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        lines = [line["message"] for line in log if line["level"] in ("SEVERE", "WARNING")]
        if status != 200:
            lines = [line for line in lines if f"responded with a status of {status} " not in line]
        return [*lines, *notes["violations"], *notes["errors"], *notes["dialogs"]]

    def dark(self, is_dark: bool) -> None:
        """Have the browser wish for dark or for light colours."""
        value = "dark" if is_dark else "light"
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def size(self, width: int, height: int, mobile: bool = False) -> None:
        """Show pages on a screen of this size, in pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def usual(self) -> None:
        """Return to the usual size and to light colours."""
        self.devtools("Emulation.clearDeviceMetricsOverride")
        self.dark(False)


def _program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    if "/snap/" in found or Path(found).resolve().name == "snap":
        pytest.skip(f"{name} is a snap, which cannot write below the directories of tests")
    return found


@contextmanager
def browser(place: Path) -> Iterator[Browser]:
    """Run a browser that keeps all its files below `place`; skips the test where there is none."""
    pytest.importorskip("selenium")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium")
    arguments = [*_ARGUMENTS, f"--user-data-dir={place / 'profile'}"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's sandbox is not for root
    for word in arguments:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    own = {name: str(place) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")}
    service = Service(_program("chromedriver"), env={**os.environ, **own})
    place.mkdir(parents=True, exist_ok=True)
    try:
        driver = webdriver.Chrome(options=options, service=service)
        try:
            driver.set_page_load_timeout(60)
            yield Browser(driver)
        finally:
            driver.quit()
    finally:
        _end(place)


def _end(place: Path) -> None:
    """Wait until all processes of a browser have ended; fails the test, and kills them, if they do not."""
    deadline = time.monotonic() + 20
    while left := _processes(place):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"processes of the browser did not end: {left}")
        time.sleep(0.05)


def _processes(place: Path) -> list[int]:
    """Return the processes that have `place` among their arguments or in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                facts = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(place).encode() in facts:
                found.append(int(entry.name))
    return found
