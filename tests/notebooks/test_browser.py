"""What a reader sees: every notebook run by clicking in JupyterLab, and the report, in headless Chromium."""

import shutil
import time
from datetime import date
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from selenium.webdriver.common.keys import Keys
from small import NOTEBOOKS

from ser_utils import corpora, pipeline
from ser_utils.pipeline import Notebook

browsing = pytest.importorskip("browsing", reason="selenium is not installed: pip install -e '.[browser]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        not (browsing.CHROMIUM and browsing.DRIVER),
        reason="no Chromium with its driver on this machine: apt-get install chromium chromium-driver",
    ),
]

REPOSITORY = Path(__file__).resolve().parents[2]
SHOTS = REPOSITORY / "build" / "browser"
CLIPS_PER_SPEAKER = 6


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder with some clips of every speaker of the demo corpus."""
    folder, source = tmp_path_factory.mktemp("demo"), corpora.default_folder("demo")
    for path in map(Path, corpora.thin(corpora.load("demo"), CLIPS_PER_SPEAKER)["path"]):
        target = folder / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(source / "transcripts.json", folder / "transcripts.json")
    return folder


@pytest.fixture(scope="module")
def lab(few, tmp_path_factory):
    """JupyterLab on a copy of the notebooks, set to the quick profile and these clips; its address, where they write."""
    place = tmp_path_factory.mktemp("lab")
    (place / "notebooks").mkdir()
    wanted = {**pipeline.PROFILES["quick"], "data": str(few), "out": str(place / "out")}
    for path in NOTEBOOKS:
        declared = Notebook.read(path).defaults
        given = {name: value for name, value in wanted.items() if name in declared}
        nbformat.write(parameterize_notebook(load_notebook_node(str(path)), given), place / "notebooks" / path.name)
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    with browsing.jupyterlab(place / "notebooks", **environment) as address:
        yield address, place / "out"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # it beeps
    with browsing.chromium(tmp_path_factory.mktemp("browser"), *microphone) as driver:
        yield driver


def made(path: Path, call: str) -> int:
    """How often a notebook's code calls something."""
    return sum(cell.source.count(call) for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")


def choose_another_clip(page, out):
    """06: a clip from the list is shown in the place of the one before."""
    cell = page.cell_with(".widget-dropdown")
    before = page.picture(cell)
    page.find("option", cell)[1].click()
    page.wait(lambda: page.picture(cell) not in (None, before), 60, "the clip's figure does not change")
    assert len(page.find("img", cell)) == 1


def speak_for_oneself(page, out):
    """09: the cursor moves, an uploaded file and a recording are answered."""
    cell = page.cell_with(".widget-slider")
    before, read = page.picture(cell), page.find(".widget-readout", cell)[0].text
    page.find(".noUi-handle", cell)[0].send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.picture(cell) not in (None, before), 60, "the figure does not follow the cursor")
    assert page.find(".widget-readout", cell)[0].text != read
    cell = page.cell_with(".widget-upload")
    kept = set(out.rglob("*")) | set((REPOSITORY / "data" / "interim").rglob("*"))
    page.upload(cell, next((REPOSITORY / "data/demo/female").glob("*.ogg")))
    page.wait(lambda: "judged" in cell.text and len(page.find("img", cell)) >= 2, 120, "the file is not answered")
    page.driver.save_screenshot(str(SHOTS / "09_uploaded.png"))
    assert page.find("audio", cell)
    (button,) = page.find("button.microphone", cell)
    button.click()
    page.wait(lambda: "Stop" in button.text, 20, f"no recording: {button.text}")
    time.sleep(2)
    before = page.picture(cell)
    button.click()
    page.wait(lambda: page.picture(cell) not in (None, before), 120, f"the recording is not answered: {button.text}")
    assert "judged" in cell.text and "again" in button.text
    now = set(out.rglob("*")) | set((REPOSITORY / "data" / "interim").rglob("*"))
    assert now == kept, "of a reader's voice nothing is kept"
    page.driver.save_screenshot(str(SHOTS / "09_recorded.png"))


def guess(page, out):
    """00: answers are saved by clicking."""
    cell = page.cell_with(".widget-toggle-buttons")
    rows = page.find(".widget-toggle-buttons", cell)
    assert len(rows) == len(page.find("audio", cell)) == 20
    for row in rows[:3]:
        page.find("button", row)[0].click()
    page.find("input[type=text]", cell)[0].send_keys("Anna")
    next(button for button in page.find("button", cell) if button.text == "Save").click()
    page.wait(lambda: "3 of 20 answers are saved" in cell.text, 20, "the answers are not saved")
    assert len((out / "data/processed/demo/answers/Anna.csv").read_text().splitlines()) == 4


WIDGETS = {"00_listen": guess, "06_error_analysis": choose_another_clip,
           "09_your_own_recordings": speak_for_oneself}  # fmt: skip


# In this order: a notebook reads the tables of those before it.
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_by_clicking_and_shows_its_figures_and_players(path, lab, browser):
    address, out = lab
    cells = len(nbformat.read(path, 4).cells) + 1  # the profile's parameters have a cell of their own
    page = browsing.NotebookPage(browser, address(path.name), cells)
    page.run_all(600)
    seen = page.look(SHOTS / path.stem)
    assert page.red() == []
    assert all(number.isdigit() for number in page.prompts())
    images = [image for cell in seen for image in cell["images"]]
    players = [player for cell in seen for player in cell["players"]]
    assert len(images) >= made(path, "save_figure("), "a figure that is saved is also seen"
    assert all(image["natural"] > 0 and image["shown"] > 100 and image["over"] <= 0 for image in images)
    assert len(players) >= made(path, "display(Audio("), "no player, or fewer than the notebook makes"
    assert all(player["seconds"] > 0 and player["shown"] > 100 and not player["error"] for player in players)
    WIDGETS.get(path.stem, lambda page, out: None)(page, out)
    assert page.red() == []


# --- the report ----------------------------------------------------------------------------------------------------

PAGES = ["index", *(path.stem for path in NOTEBOOKS)]
#: axe-core's rules that these pages are held to; contrast is 4.5 : 1, for large text 3 : 1.
RULES = ["color-contrast", "image-alt", "svg-img-alt", "link-name", "document-title", "html-has-lang", "heading-order",
         "tabindex", "list", "meta-viewport"]  # fmt: skip

every_page = pytest.mark.parametrize("name", PAGES)


@pytest.fixture(scope="module")
def opened(quick_run, browser):
    """Open a page of the report on a screen of some width, in a colour scheme; pictures of some are kept."""

    def open_it(name, width, scheme="light", media="screen"):
        page = browsing.ReportPage(
            browser, quick_run / "reports/demo" / f"{name}.html", width=width, scheme=scheme, media=media
        )
        if name == "index" or width == 360:
            page.keep(SHOTS / "report" / f"{name}-{width}-{scheme}-{media}.png")
        return page

    return open_it


@every_page
def test_a_page_is_whole_and_asks_for_nothing_but_itself(name, opened, quick_run):
    page = opened(name, 1440)
    assert page.missing_pictures() == []
    assert page.complaints() == []
    assert page.requests() == [(quick_run / "reports/demo" / f"{name}.html").as_uri()]


@every_page
@pytest.mark.parametrize("width", [360, 1440])
def test_a_page_fits_a_phone_and_a_desk(name, width, opened):
    assert opened(name, width).sideways() <= 0


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_can_be_read_in_both_colour_schemes_and_heard_by_a_screen_reader(name, scheme, opened):
    assert opened(name, 1440, scheme).barriers(*RULES) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_follows_the_colour_scheme(scheme, opened):
    brightness = opened("index", 1440, scheme).brightness()
    assert brightness > 200 if scheme == "light" else brightness < 60


@every_page
def test_nothing_of_a_page_is_cut_off_on_paper(name, opened):
    page = opened(name, 680, media="print")  # A4 less margins of 15 mm, at 96 pixels an inch
    assert page.sideways() <= 0 and page.cut_off() == []


def test_the_listening_test_of_a_page_computes_a_score(opened):
    page = opened("00_listen", 1440)
    selects = page.driver.find_elements("css selector", "#quiz select")
    assert len(selects) == 20
    page.driver.execute_script("for (const one of document.querySelectorAll('#quiz select')) one.selectedIndex = 1")
    page.driver.execute_script("document.querySelector('#quiz button.show').click()")
    said = page.driver.find_element("css selector", "#quiz .score").text
    assert "20 of 20 clips answered." in said and "UAR, the mean of these recalls: 17 %." in said


def test_paper_is_white_in_the_dark_too(opened):
    assert opened("index", 680, "dark", "print").brightness() > 200


def test_the_front_page_says_what_was_run_on_what_when_and_for_how_long(opened):
    page = opened("index", 1440)
    text = page.text()
    for word in ("ser run --corpus demo --profile quick", "670 clips", "synthetic", date.today().strftime("%Y-"), "min", "commit"):
        assert word in text, word
    assert len(page.pictures("The story in figures")) == len(pipeline.STORY)
    assert {path.stem for path in NOTEBOOKS} <= {Path(link).stem for link in page.links()}
    assert "UAR" in text and " to " in text
