"""Headless Chromium and JupyterLab, for the tests that look at pages as a reader does."""

import base64
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: What stands between a reader and a notebook on the first visit: news, updates and the tour's question.
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


@contextmanager
def chromium(folder: Path, *arguments: str):
    """A browser that reaches nothing but this machine; its console and its requests are logged."""
    options = Options()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-first-run",
        "--window-size=1440,1100",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to be started by root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The driver is named, so that selenium has no reason to look for one on the network.
    driver = webdriver.Chrome(options, Service(DRIVER, log_output=str(folder / "chromedriver.log")))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    try:
        driver.get("about:blank")  # the page of a new tab asks for much
        yield driver
    finally:
        driver.quit()


@contextmanager
def jupyterlab(folder: Path, **environment: str):
    """JupyterLab of this interpreter on a free port of this machine; gives the address of a file in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, own = secrets.token_hex(16), folder.parent / "jupyter"
    (own / "settings").mkdir(parents=True)
    (own / "settings" / "overrides.json").write_text(json.dumps(SETTINGS))
    places = {f"JUPYTER_{kind}_DIR": str(own / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
               f"--ServerApp.root_dir={folder}", f"--LabApp.app_settings_dir={own / 'settings'}",
               f"--LabApp.workspaces_dir={own / 'workspaces'}"]  # fmt: skip
    with (own / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, **places, **environment}, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5):
                    break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (own / "server.log").read_text()
                time.sleep(0.3)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?reset&token={token}"
    finally:
        server.terminate()  # ends its kernels as well
        server.wait(30)


class NotebookPage:
    """A notebook in JupyterLab, run and read through what is on the screen."""

    def __init__(self, driver, address: str, cells: int):
        self.driver, self.cells = driver, cells
        driver.get(address)
        self.wait(lambda: len(self.find(".jp-Notebook .jp-Cell")) >= cells, 120, "the notebook does not open")
        self.wait(lambda: self.find('.jp-Notebook-ExecutionIndicator[data-status="idle"]'), 120, "no kernel")

    def find(self, selector: str, within=None):
        """Elements by CSS selector."""
        return (within or self.driver).find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition, seconds: float, complaint: str):
        """Wait until a condition holds, and return what it gave."""
        return WebDriverWait(self.driver, seconds, poll_frequency=0.3).until(lambda _: condition(), complaint)

    def choose(self, menu: str, item: str):
        """Click an item of the menu bar."""
        bar = {one.text: one for one in self.find("#jp-MainMenu .lm-MenuBar-item")}
        bar[menu].click()
        entry = self.wait(
            lambda: [e for e in self.find(".lm-Menu-item") if e.text.split("\n")[0].strip() == item], 10, f"no item {item}"
        )
        entry[0].click()

    def run_all(self, seconds: float):
        """Run all cells by Run > Run All Cells, until none is left or one has failed."""
        self.choose("Run", "Run All Cells")
        self.wait(lambda: any(self.prompts()), 30, "nothing starts")
        self.wait(lambda: "*" not in self.prompts(), seconds, f"not finished after {seconds} s")

    def prompts(self) -> list[str]:
        """What stands in the brackets beside each code cell: a number, * for one that is to run, nothing."""
        return self.driver.execute_script(
            """return [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(
            prompt => prompt.textContent.replace(/[\\[\\]:\\s]/g, ''));"""
        )

    def red(self) -> list[str]:
        """Texts in red boxes: errors, warnings and whatever else went to the standard error stream."""
        return [e.get_property("textContent") for e in self.find('[data-mime-type="application/vnd.jupyter.stderr"]')]

    def cell_with(self, selector: str):
        """The one cell in which something is, brought onto the screen."""
        (cell,) = {cell for cell in self.find(".jp-Notebook .jp-Cell") if self.find(selector, cell)}
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", cell)
        return cell

    def picture(self, cell) -> str | None:
        """Content of a cell's first picture."""
        images = self.find("img", cell)
        return images[0].get_attribute("src") if images else None

    def upload(self, cell, path: Path):
        """Choose a file with a cell's upload button (the dialog is the system's, so the file is put in directly)."""
        self.driver.execute_script("HTMLInputElement.prototype.click = function () { document.body.append(this) }")
        self.find(".widget-upload", cell)[0].click()
        self.find("body > input[type=file]")[0].send_keys(str(path))

    def look(self, folder: Path) -> list[dict]:
        """Scroll through all cells, keep a picture of each screen, and return what pictures and players are there."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        seen = []
        for number, cell in enumerate(self.find(".jp-Notebook .jp-Cell")):
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", cell)
            time.sleep(0.15)
            found = self.driver.execute_script(
                """const cell = arguments[0], width = cell.getBoundingClientRect().right;
                return {code: cell.classList.contains('jp-CodeCell'),
                    images: [...cell.querySelectorAll('.jp-OutputArea img')].map(e => ({natural: e.naturalWidth,
                        shown: e.getBoundingClientRect().width, over: e.getBoundingClientRect().right - width})),
                    players: [...cell.querySelectorAll('.jp-OutputArea audio')].map(e => ({seconds: e.duration,
                        shown: e.getBoundingClientRect().width, error: e.error && e.error.message})),
                    bottom: cell.getBoundingClientRect().bottom};""",
                cell,
            )
            seen.append(found)
            if found["images"] or found["players"] or self.find(".jp-OutputArea-output", cell):
                self.driver.save_screenshot(str(folder / f"{number:02d}.png"))
        return seen


class ReportPage:
    """A page of a report, opened as a file, on a screen of a chosen width and colour scheme."""

    def __init__(self, driver, path: Path, *, width: int, scheme: str = "light", media: str = "screen"):
        assert path.exists(), path
        self.driver, self.width = driver, width
        feature = {"name": "prefers-color-scheme", "value": scheme}
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.get("about:blank")  # JupyterLab asks for more while it is left
        for log in ("browser", "performance"):
            driver.get_log(log)  # what other pages left there
        driver.get(path.as_uri())
        # What is folded away is to be read as well.
        driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")

    def keep(self, picture: Path):
        """Photograph the page, from top to bottom."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {**size, "height": min(size["height"], 16_000), "scale": 1}  # more than this Chromium does not paint
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(base64.b64decode(shot["data"]))

    def text(self) -> str:
        """All that can be read on it."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def links(self) -> list[str]:
        """Where it leads."""
        return [link.get_attribute("href") for link in self.driver.find_elements(By.TAG_NAME, "a")]

    def pictures(self, heading: str) -> list[str]:
        """What stands for the pictures under a heading, for those who do not see them."""
        return self.driver.execute_script(
            """const heading = [...document.querySelectorAll('h2')].find(e => e.textContent === arguments[0]);
            return [...heading.nextElementSibling.querySelectorAll('img')].map(e => e.alt);""",
            heading,
        )

    def brightness(self) -> int:
        """Of its background, from 0 to 255."""
        colour = self.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) // 3

    def complaints(self) -> list[str]:
        """What the console says."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, save those that hold their content themselves."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith(("data:", "blob:"))]

    def missing_pictures(self) -> list[str]:
        """Pictures that are empty."""
        return self.driver.execute_async_script(
            """const done = arguments[0], all = [...document.images];
            Promise.allSettled(all.map(e => e.decode())).then(() =>
                done(all.filter(e => !e.naturalWidth).map(e => e.alt)));"""
        )

    def sideways(self) -> int:
        """By how many pixels the page is wider than the screen (a phone's `innerWidth` grows with what is too wide)."""
        return self.driver.execute_script("return document.scrollingElement.scrollWidth") - self.width

    def cut_off(self) -> list[str]:
        """Elements whose content reaches beyond them and can only be seen by scrolling, which paper cannot."""
        return self.driver.execute_script(
            """return [...document.querySelectorAll('body *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
            && getComputedStyle(e).display !== 'inline').map(e => `${e.tagName} ${e.className} +${e.scrollWidth - e.clientWidth}: `
            + e.textContent.trim().slice(0, 60));"""
        )

    def barriers(self, *rules: str) -> list[str]:
        """What axe-core finds against some of its rules."""
        found = Axe().run(self.driver, options={"runOnly": list(rules), "resultTypes": ["violations"]})["violations"]
        return [f"{one['id']}: {node['html'][:120]} {node['failureSummary'][-160:]}" for one in found for node in one["nodes"]]
