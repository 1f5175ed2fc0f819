"""Running notebooks: order, skipping, failing, provenance and the report, on small notebooks made here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.figure
import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile
from filelock import FileLock
from small import NOTEBOOKS, write_corpus, write_notebook

from ser_utils import ROOT, SerError, pipeline, replacing
from ser_utils.pipeline import SCORE_COLUMNS, Workspace, execution, report, running

matplotlib.use("Agg")

PARAMETERS = 'corpus = "demo"  # name or CSV\nout = None  # folder\n'
OPEN = "import pandas as pd\nfrom ser_utils.pipeline import Workspace\nwork = Workspace(corpus, out)"
SCORES = """rows = [dict(system="majority", level="clip", metric=m, value=0.25, low=0.2, high=0.3, seeds=1, speakers=3,
             clips=len(numbers)) for m in ("uar", "wa", "macro_f1")]
work.save_scores(pd.DataFrame(rows))
work.save_scores(pd.DataFrame(rows).assign(system="segment-cnn", value=0.625), encoder="nano", segment_seconds=1.0)"""
HUNGRY_CHILD = """import os, subprocess, sys
code = "import time; x = b'x' * (300 << 20); time.sleep(1.5)"
subprocess.run([sys.executable, "-c", code], check=True)
print("here:", os.getcwd(), "python:", sys.executable, "seed:", os.environ["PYTHONHASHSEED"], "count:", count)"""


def write_first(folder, *, text="# First: what is *there*?\n\nOn to [the second](02_second.ipynb).", size=3, draw=True):
    draws = (
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(2, 2))\n"
        "ax.set_title('What is there?\\nthree − numbers')\nwork.save_figure(fig, '01_empty', clips=numbers)"
    )
    table = f"numbers = pd.DataFrame({{'clip': list('abc')[:{size}], 'speaker': list('xxy')[:{size}]}})\n"
    table += "work.save_table(numbers, 'numbers')\nwork.show(numbers, 'Numbers')"
    write_notebook(folder, "01_first", text, PARAMETERS, OPEN, table, *([draws] if draw else []), writes=["numbers"])


def write_second(folder, *extra):
    read = "numbers = work.table('numbers')\nwork.save_table(pd.concat([numbers, numbers]), 'doubled')"
    write_notebook(
        folder, "02_second", "# Second", PARAMETERS, OPEN, read, *extra, SCORES, reads=["numbers"], writes=["doubled"]
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus):
    """Three notebooks, run once, in an environment whose installed kernels are unusable."""
    place = tmp_path_factory.mktemp("finished")
    notebooks = place / "notebooks"
    write_first(notebooks)
    write_second(notebooks)
    write_notebook(notebooks, "03_third", "# Third", "count = 2  # how many", HUNGRY_CHILD)
    kernel = place / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "broken", "language": "python"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(place / "jupyter"))
        pipeline.run(corpus, out=place / "out", notebooks=notebooks)
    return place


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def rerun(place, corpus, capsys):
    """Run again; returns the names of the notebooks that ran and of those that were skipped."""

    def run(**options):
        capsys.readouterr()
        pipeline.run(corpus, out=place / "out", notebooks=place / "notebooks", **options)
        lines = [line.split() for line in capsys.readouterr().out.splitlines() if line[:1] == "0"]
        skipped = [line[0] for line in lines if line[1:] == ["unchanged,", "skipped"]]
        return sorted(line[0] for line in lines if line[0] not in skipped and line[-1] == "MB"), sorted(skipped)

    return run


def tables(place: Path) -> Path:
    """The only folder of tables of a finished run."""
    (folder,) = (place / "out/data/processed").iterdir()
    return folder


def reports(place: Path) -> Path:
    (folder,) = (place / "out/reports").iterdir()
    return folder


def printed(notebook: Path) -> str:
    cells = nbformat.read(notebook, 4).cells
    return "".join(o.get("text", "") for c in cells if c.cell_type == "code" for o in c.outputs)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


# --- a run and what it leaves ------------------------------------------------------------------------------------


def test_a_run_leaves_tables_scores_figures_executed_copies_and_pages(finished):
    out = finished / "out"
    assert list(pd.read_parquet(tables(finished) / "doubled.parquet")["clip"]) == list("abcabc")
    assert (reports(finished) / "figures/01_empty.png").stat().st_size > 500
    for name in ("01_first", "02_second", "03_third"):
        assert nbformat.read(reports(finished) / f"{name}.ipynb", 4).cells[-1].execution_count
        assert (reports(finished) / f"{name}.html").exists()
    scores = pd.read_csv(reports(finished) / "scores.csv")
    assert list(scores.columns) == SCORE_COLUMNS
    assert len(scores) == 6 and set(scores.corpus) == {"mine"} and set(scores.segment_seconds.dropna()) == {1.0}
    assert not [p for p in out.rglob("*") if ".tmp" in p.name or "failed" in p.name], "nothing half-written is left"


def test_a_kernel_is_this_interpreter_in_the_root_of_the_checkout_with_a_fixed_hash_seed(finished):
    text = printed(reports(finished) / "03_third.ipynb")
    assert f"here: {ROOT} python: {sys.executable} seed: 0" in text


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux knows proportional set sizes")
def test_memory_that_two_processes_share_counts_once():
    code = (
        "import os, sys; x = b'x' * (200 << 20); child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        both = [psutil.Process(parent.pid), psutil.Process(int(parent.stdout.readline()))]
        counted = sum(map(execution._memory, both)) / 2**20
        resident = sum(process.memory_info().rss for process in both) / 2**20
        parent.stdin.close()
    assert resident > 400 and 200 < counted < 300


def test_a_process_that_has_not_started_its_own_program_does_not_count_with_its_parents_memory():
    held = np.ones(300 << 17)  # 300 MB, which a new process shares until it starts its own program

    def work(started_kernel):
        for _ in range(8):
            with subprocess.Popen(["true"], preexec_fn=lambda: time.sleep(0.15)) as process:
                started_kernel(process.pid)

    assert max(execution._watch(work)) < held.nbytes / 3


def test_provenance_names_versions_commit_corpus_parameters_time_and_memory(finished):
    record = json.loads((tables(finished) / "run.json").read_text())
    assert list(record["notebooks"]) == ["01_first", "02_second", "03_third"] and not record["unfinished"]
    assert len(record["fingerprint"]) == 32
    assert all(entry["versions"]["numpy"] == np.__version__ for entry in record["notebooks"].values())
    assert record["clips"] == 6 and record["emotions"] == {"anger": 3, "sadness": 3}
    third = record["notebooks"]["03_third"]
    assert third["parameters"] == {"count": 2} and third["seconds"] > 1.5
    assert third["peak_process_mb"] >= 300, "the child's memory counts"
    assert third["peak_memory_mb"] >= third["peak_process_mb"] + 20, "the kernel's own memory counts beside it"
    assert record["notebooks"]["01_first"]["peak_memory_mb"] < 300


def test_the_front_page_shows_scores_and_figures_and_needs_nothing_beside_it(finished):
    page = (reports(finished) / "index.html").read_text(encoding="utf-8")
    for name in ("01_first.html", "02_second.html", "03_third.html"):
        assert f'href="{name}"' in page
    assert "segment-cnn" in page and "62.5" in page and "20.0 to 30.0" in page
    assert page.count("data:image/png;base64,") == 1 and "01_empty · <a" in page
    assert datetime.now(UTC).strftime("%Y-%m-") in page, "it says when it was run"
    assert "<script" not in page and 'src="http' not in page and "@import" not in page
    assert "This corpus is synthetic" not in page


def test_a_figures_titles_are_read_in_its_place_and_beside_it(finished):
    front = (reports(finished) / "index.html").read_text(encoding="utf-8")
    assert "<b>What is there?</b>" in front and "<p>three − numbers</p>" in front
    page = (reports(finished) / "01_first.html").read_text(encoding="utf-8")
    for text in (front, page):
        assert 'alt="What is there? three − numbers"' in text


def test_a_picture_without_titles_is_described_by_the_heading_above_it(workspace):
    picture = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    cells = [nbformat.v4.new_markdown_cell("# What *is*?"), nbformat.v4.new_code_cell("1", outputs=[picture])]
    workspace.reports.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), workspace.reports / "01_a.ipynb")
    report.write_page("01_a", workspace, [("01_a", "A")])
    page = (workspace.reports / "01_a.html").read_text(encoding="utf-8")
    assert 'alt="Figure under the heading What is?"' in page


def test_panels_titles_follow_the_figures_own_one_line_each(workspace):
    figure = matplotlib.figure.Figure()
    axes = figure.subplots(1, 2)
    figure.suptitle("Which?")
    axes[0].set_title("left\nbest: a", loc="left")
    axes[1].set_title("right")
    workspace.save_figure(figure, "01_two", clips=pd.DataFrame({"clip": ["a"], "speaker": ["x"]}))
    assert report._said(workspace.figures / "01_two.png") == ["Which?", "left: best: a", "right"]


def test_scores_are_sorted_by_uar_split_by_condition_and_list_a_system_once(workspace):
    def row(system, value, encoder="nano", seconds=1.0):
        return dict(system=system, level="clip", metric="uar", value=value, low=0, high=1, seeds=1, speakers=3, clips=9,
                    encoder=encoder, segment_seconds=seconds)  # fmt: skip

    rows = [row("egemaps-lda", 0.3, "–", None), row("encoder-cnn", 0.4), row("encoder-cnn/speaker", 0.6),
            row("encoder-cnn 1 s", 0.4), row("encoder-cnn 2 s", 0.2, seconds=2.0), row("encoder-start-lda", 0.5)]  # fmt: skip
    workspace.save_scores(pd.DataFrame(rows))
    tables = report._score_tables(workspace.scores)
    listed = {condition: {part: [row["words"] for row in rows] for part, rows in parts.items()}
              for condition, parts in tables.items()}  # fmt: skip
    together, own = report.CONDITIONS
    assert listed[together] == {"shown": ["segment CNN, encoder", "LDA, eGeMAPS"],
                                "folded": ["LDA, encoder before pre-training", "segment CNN, encoder"]}  # fmt: skip
    assert listed[own] == {"shown": ["segment CNN, encoder"], "folded": []}


def test_figures_that_tell_the_story_come_first_with_their_questions(place, rerun):
    notebooks = place / "notebooks"
    source = (notebooks / "01_first.ipynb").read_text().replace("01_empty", "04_scores")
    (notebooks / "01_first.ipynb").write_text(source)
    rerun(only=["01"])
    page = (reports(place) / "index.html").read_text(encoding="utf-8")
    assert "The story in figures</h2>" in page and page.count("data:image/png;base64,") == 1
    assert pipeline.STORY["04_scores"] in page


def test_a_page_leads_to_its_neighbours_and_to_the_front_page(finished):
    page = (reports(finished) / "02_second.html").read_text(encoding="utf-8")
    ends = page[page.index('class="ends"') :]
    assert 'href="01_first.html"' in ends and 'href="03_third.html"' in ends and 'href="index.html"' in page
    first = (reports(finished) / "01_first.html").read_text(encoding="utf-8")
    assert 'href="02_second.html">the second</a>' in first, "a link to a notebook becomes one to its page"
    assert "<title>First: what is there? · mine</title>" in first and "Numbers · mine" in first
    assert "<script" not in first


# --- what is skipped and what is run again -----------------------------------------------------------------------


def test_an_unchanged_run_skips_everything_and_touches_no_file(rerun, place):
    rerun()  # the copy's own place goes into its record
    before = contents(place / "out")
    assert rerun() == ([], ["01_first", "02_second", "03_third"])
    assert contents(place / "out") == before


def test_an_unchanged_run_loads_neither_papermill_nor_torch(place, corpus):
    code = (
        f"import sys; from ser_utils import pipeline; pipeline.run({str(corpus)!r}, out={str(place / 'out')!r}, "
        f"notebooks={str(place / 'notebooks')!r}); "
        "print(sorted({'papermill', 'torch', 'nbconvert', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.count("unchanged, skipped") == 3 and said.splitlines()[-1] == "[]"


def test_a_changed_table_runs_its_readers_again_and_a_vanished_figure_is_removed(rerun, place):
    write_first(place / "notebooks", size=2, draw=False)
    assert rerun() == (["01_first", "02_second"], ["03_third"])
    assert len(pd.read_parquet(tables(place) / "doubled.parquet")) == 4
    assert not (reports(place) / "figures/01_empty.png").exists(), "no figure stays that no notebook makes"


def test_a_changed_text_runs_the_notebook_but_not_the_readers_of_its_equal_table(rerun, place):
    write_first(place / "notebooks", text="# First, in other words")
    assert rerun() == (["01_first"], ["02_second", "03_third"])
    assert "First, in other words" in (reports(place) / "index.html").read_text(encoding="utf-8")


def test_a_lost_product_is_made_again_and_a_lost_page_without_running(rerun, place):
    (reports(place) / "03_third.html").unlink()
    assert rerun() == ([], ["01_first", "02_second", "03_third"])
    assert (reports(place) / "03_third.html").exists()
    (reports(place) / "figures/01_empty.png").unlink()
    assert rerun() == (["01_first"], ["02_second", "03_third"])
    assert (reports(place) / "figures/01_empty.png").exists()


def test_a_parameter_reaches_the_notebooks_that_declare_it_and_no_other(rerun, place):
    assert rerun(parameters={"count": 7}) == (["03_third"], ["01_first", "02_second"])
    assert "count: 7" in printed(reports(place) / "03_third.ipynb")


def test_a_folder_given_as_encoder_is_found_from_where_notebooks_work(rerun, place, monkeypatch):
    write_notebook(place / "notebooks", "03_third", "# Third", "count = 1\nencoder = 'nano'", "print('encoder:', encoder)")
    (place / "mine").mkdir()
    monkeypatch.chdir(place)
    rerun(only=["03"], parameters={"encoder": "mine"})
    (report,) = (place / "out/reports").glob("*+mine-*")
    assert f"encoder: {place / 'mine'}" in printed(report / "03_third.ipynb")


def test_fresh_runs_what_is_up_to_date_and_only_leaves_the_others_alone(rerun, place):
    before = contents(reports(place))["%s" % (reports(place) / "01_first.ipynb")]
    assert rerun(only=["2"], fresh=True) == (["02_second"], [])
    assert contents(reports(place))[str(reports(place) / "01_first.ipynb")] == before
    record = json.loads((tables(place) / "run.json").read_text())
    assert list(record["notebooks"]) == ["01_first", "02_second", "03_third"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small package in whose place the sources behind a notebook are looked up."""
    package = tmp_path / "ser_utils"
    (package / "encoders" / "weights").mkdir(parents=True)
    (package / "encoders" / "weights" / "model.bin").write_bytes(b"1234")
    (package / "__init__.py").write_text("EMOTIONS = ()")
    (package / "encoders" / "loading.py").write_text("")
    monkeypatch.setattr("ser_utils.pipeline.keys.ROOT", tmp_path)
    return package


def notebook_of(tmp_path, *cells, **given):
    write_notebook(tmp_path, "01_a", *cells, reads=["numbers"])
    book = pipeline.Notebook.read(tmp_path / "01_a.ipynb")
    return pipeline.fingerprints(book, given, tmp_path, "corpus-1")


def changed(before, after):
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.mark.parametrize("source", ["__init__.py", "encoders/loading.py", "encoders/new.py"])
def test_editing_any_source_of_the_package_makes_a_notebook_stale(tree, tmp_path, source):
    before = notebook_of(tmp_path, "from ser_utils import features")
    (tree / source).write_text("x = 1")
    assert changed(before, notebook_of(tmp_path, "from ser_utils import features")) == {"module"}


def test_weights_parameters_and_tables_make_a_notebook_stale_but_not_the_number_of_jobs(tree, tmp_path):
    cells = ["from ser_utils import features", "count = 1\njobs = 2\nout = None"]
    before = notebook_of(tmp_path, *cells)
    assert changed(before, notebook_of(tmp_path, *cells, count=1, jobs=8, out="/elsewhere")) == set()
    assert changed(before, notebook_of(tmp_path, *cells, count=2)) == {"parameters"}
    (tmp_path / "numbers.parquet").write_bytes(b"table")
    assert changed(before, notebook_of(tmp_path, *cells)) == {"tables it reads"}
    (tmp_path / "numbers.parquet").unlink()
    (tree / "encoders" / "weights" / "model.bin").write_bytes(b"1235")
    assert changed(before, notebook_of(tmp_path, *cells)) == {"encoder weights"}


def test_a_local_encoder_is_known_by_its_content(tree, tmp_path):
    local = tmp_path / "mine"
    local.mkdir()
    (local / "model.safetensors").write_bytes(b"1")
    before = notebook_of(tmp_path, "from ser_utils import features", "count = 1\nencoder = 'nano'", encoder=str(local))
    (local / "model.safetensors").write_bytes(b"2")
    after = notebook_of(tmp_path, "from ser_utils import features", "count = 1\nencoder = 'nano'", encoder=str(local))
    assert changed(before, after) == {"encoder weights"}


@pytest.mark.parametrize("given", [None, "elsewhere"])
def test_new_answers_of_listeners_make_their_notebook_stale(tree, tmp_path, given):
    folder = tmp_path / (given or "answers")
    folder.mkdir()
    cells, named = ["count = 1\nanswers = None"], {"answers": given and str(folder)}
    before = notebook_of(tmp_path, *cells, **named)
    (folder / "anna.csv").write_text("clip,listener,guess\n1,Anna,anger\n")
    assert changed(before, notebook_of(tmp_path, *cells, **named)) == {"answers of listeners"}


def test_the_corpus_fingerprint_follows_the_recordings_bytes_and_labels_but_not_their_place(tmp_path, corpus):
    copy = tmp_path / "moved"
    shutil.copytree(corpus.parent, copy)
    from ser_utils import corpora

    def fingerprint():
        return pipeline.corpus_fingerprint(corpora.load(copy / "mine.csv"), tmp_path / "cache")

    original = pipeline.corpus_fingerprint(corpora.load(corpus), tmp_path / "cache")
    assert fingerprint() == original
    wave, rate = soundfile.read(copy / "x_anger.wav")
    soundfile.write(copy / "x_anger.wav", -wave, rate)
    assert fingerprint() != original
    shutil.copy(corpus.parent / "x_anger.wav", copy / "x_anger.wav")
    (copy / "mine.csv").write_text((copy / "mine.csv").read_text().replace("x_anger.wav,anger", "x_anger.wav,sadness"))
    assert fingerprint() != original


MEET = """import time
from pathlib import Path
Path({own!r}).touch()
started = time.monotonic()
while not Path({other!r}).exists():
    assert time.monotonic() < started + 60, "the other notebook does not run at the same time"
    time.sleep(0.05)
print("jobs:", jobs)"""


def test_two_notebooks_that_share_no_table_run_side_by_side_and_share_the_cores(rerun, place):
    marks = str(place / "second"), str(place / "third")
    meet = MEET.format(own=marks[0], other=marks[1])
    write_notebook(place / "notebooks", "02_second", "# Second", PARAMETERS + "jobs = 2", OPEN, meet,
                   "work.save_table(pd.DataFrame({'a': [1]}), 'early')", writes=["early"])  # fmt: skip
    write_notebook(place / "notebooks", "04_fourth", "# Fourth", PARAMETERS + "jobs = 2", OPEN, "print('jobs:', jobs)",
                   "work.table('late')", reads=["early", "late"])  # fmt: skip
    write_notebook(place / "notebooks", "03_third", "# Third", PARAMETERS + "jobs = 2", OPEN,
                   MEET.format(own=marks[1], other=marks[0]), "work.save_table(pd.DataFrame({'a': [1]}), 'late')",
                   writes=["late"])  # fmt: skip
    ran, skipped = rerun()
    assert ran == ["02_second", "03_third", "04_fourth"] and skipped == ["01_first"]
    said = {name: printed(reports(place) / f"{name}.ipynb") for name in ran}
    assert "jobs: 1" in said["02_second"] and "jobs: 1" in said["03_third"] and "jobs: 2" in said["04_fourth"]
    assert rerun() == ([], ["01_first", "02_second", "03_third", "04_fourth"]), "the number of jobs makes nothing stale"


def test_a_notebook_waits_for_a_table_that_a_later_one_writes(rerun, place):
    read = "print(len(work.table('doubled')))"
    write_notebook(place / "notebooks", "00_early", "# Early", PARAMETERS, OPEN, read, reads=["doubled"])
    assert rerun() == (["00_early"], ["01_first", "02_second", "03_third"])
    (tables(place) / "doubled.parquet").unlink()
    assert rerun() == (["02_second"], ["00_early", "01_first", "03_third"]), "looked at before its table was there again"


def test_notebooks_that_wait_for_each_other_are_named_instead_of_left_out(rerun, place):
    for name, reads, writes in (("00_hen", "egg", "hen"), ("04_egg", "hen", "egg")):
        write_notebook(place / "notebooks", name, "# Which first?", PARAMETERS, OPEN, reads=[reads], writes=[writes])
    with pytest.raises(SerError, match="00_hen, 04_egg wait for tables of each other"):
        rerun()


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_failing_notebook_stops_the_run_names_the_cell_and_keeps_what_was_executed(rerun, place):
    write_second(place / "notebooks", "print('so far so good')", "{}['missing']")
    before = contents(reports(place))
    with pytest.raises(pipeline.NotebookFailed) as failure:
        rerun()
    message = str(failure.value)
    kept = reports(place) / "02_second.failed.ipynb"
    assert "02_second, cell 6 (In [" in message and "KeyError: 'missing'" in message and str(kept) in message
    assert "so far so good" in printed(kept)
    after = contents(reports(place))
    assert {name: after.get(name) for name in before} == before, "earlier pages stay as they were"
    record = json.loads((tables(place) / "run.json").read_text())
    assert "02_second" in record["unfinished"] and "03_third" in record["notebooks"]
    write_second(place / "notebooks")
    assert rerun()[0] == ["02_second"], "its tables may be half new: it runs although its source is as before"
    assert not kept.exists()


def test_what_runs_beside_a_failing_notebook_is_finished_and_counts(rerun, place, capsys):
    started = str(place / "third")
    wait = f"import time\nfrom pathlib import Path\nwhile not Path({started!r}).exists():\n    time.sleep(0.05)"
    write_second(place / "notebooks", wait, "{}['missing']")
    failed = str(reports(place) / "02_second.failed.ipynb")
    later = f"import time\nfrom pathlib import Path\nPath({started!r}).touch()\nwhile not Path({failed!r}).exists():\n    time.sleep(0.05)"
    write_notebook(place / "notebooks", "03_third", "# Third", "count = 3", later)
    write_notebook(place / "notebooks", "04_fourth", "# Fourth", "count = 4", reads=["doubled"])
    with pytest.raises(pipeline.NotebookFailed, match="02_second"):
        rerun()
    assert "02_second  failed; 03_third is still running" in capsys.readouterr().out
    assert set(json.loads((tables(place) / "run.json").read_text())["notebooks"]) == {"01_first", "03_third"}


def test_an_error_for_the_person_at_the_keyboard_stays_one_when_a_notebook_meets_it(rerun, place):
    write_second(place / "notebooks", "from ser_utils import SerError\nraise SerError('this corpus has no text')")
    with pytest.raises(SerError, match="02_second, cell 5 .*this corpus has no text"):
        rerun()


def test_a_kernel_that_dies_is_a_failed_notebook(rerun, place):
    write_notebook(place / "notebooks", "03_third", "# Third", "count = 1", "import os\nos._exit(9)")
    with pytest.raises(pipeline.NotebookFailed, match=r"03_third, cell 3.*: the kernel died"):
        rerun()


def test_kernels_on_windows_use_ports_because_jupyter_has_no_local_sockets_there(tmp_path, monkeypatch):
    assert execution._kernel_manager({}, tmp_path, print)().transport == ("tcp" if sys.platform == "win32" else "ipc")
    monkeypatch.setattr(execution.sys, "platform", "win32")
    assert execution._kernel_manager({}, tmp_path, print)().transport == "tcp"


def test_a_declared_table_must_be_written(rerun, place):
    write_notebook(place / "notebooks", "03_third", "# Third", "count = 1", writes=["promised"])
    with pytest.raises(pipeline.NotebookFailed, match="03_third: declares the tables promised"):
        rerun()


def test_an_interrupt_ends_the_kernel_keeps_what_is_there_and_says_that_a_rerun_goes_on(place, corpus):
    mark = place / "kernel.pid"
    write_notebook(
        place / "notebooks", "02_second", "# Second", f"count = 1\nimport os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))",
        "time.sleep(120)", reads=["numbers"], writes=["doubled"],
    )  # fmt: skip
    table = tables(place) / "doubled.parquet"
    before = table.read_bytes()
    code = (
        "import sys; from pathlib import Path; from ser_utils import cli, pipeline; pipeline.run; "
        f"pipeline.running.ROOT = Path({str(place)!r}); sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", "--corpus", str(corpus), "--out", str(place / "out")]
    # A shell's background jobs are born deaf to SIGINT, and so would be what the tests start there.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    waited = time.monotonic()
    while not (mark.exists() and mark.read_text()) and time.monotonic() < waited + 100:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; run the same command again" in said and "Traceback" not in said
    assert table.read_bytes() == before
    for _ in range(50):  # the system takes a moment to bury the kernel
        if not psutil.pid_exists(int(mark.read_text())):
            break
        time.sleep(0.1)
    assert not psutil.pid_exists(int(mark.read_text())), "no kernel stays behind"


def test_two_runs_do_not_share_a_folder(rerun, place):
    with FileLock(tables(place) / ".lock"):
        with pytest.raises(SerError, match="another `ser run`"):
            rerun()
    assert rerun()[0] == []


def test_only_says_which_notebook_makes_what_is_missing(rerun, place):
    (tables(place) / "numbers.parquet").unlink()
    with pytest.raises(SerError, match="02_second reads the table `numbers`, which 01_first makes .* run 01 first"):
        rerun(only=["02"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["09"]}, "--only 09: no such notebook; there are 01_first, 02_second, 03_third"),
        ({"profile": "fast"}, "no profile is called 'fast'; there are quick, demo, paper"),
        ({"parameters": {"cuont": 3}}, "no notebook has a parameter 'cuont'; there are count"),
        ({"parameters": {"count": "many"}}, "-p count=many: count is a int such as 2"),
        ({"parameters": {"count": 2.5}}, "-p count=2.5: count is a int such as 2"),
        ({"parameters": {"count": True}}, "-p count=True: count is a int such as 2"),
        ({"parameters": {"count": 0}}, "-p count=0: count is a int such as 2, and above 0"),
        ({"parameters": {"corpus": "x"}}, "-p corpus=…: use the option --corpus instead"),
    ],
)
def test_unusable_arguments_are_one_line_and_nothing_is_lost(rerun, place, options, message):
    before = contents(place / "out")
    with pytest.raises(SerError) as error:
        rerun(**options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert contents(place / "out") == before


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3), ("a=0.5", 0.5), ("a=1e-3", 1e-3), ("a=[0, 1]", [0, 1]), ("a=null", None), ("a=None", None),
        ("a=true", True), ("a=facebook/wav2vec2-base", "facebook/wav2vec2-base"), ("a=", None), ("a=b=c", "b=c"),
        ("a=10_000", 10_000),
    ],
)  # fmt: skip
def test_a_parameter_on_the_command_line_is_read_as_yaml(text, value):
    assert pipeline.parse_parameter(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=3", "a-b=3", "a=[0, 1"])
def test_a_parameter_that_cannot_be_read_is_named(text):
    with pytest.raises(SerError, match=r"^-p "):
        pipeline.parse_parameter(text)


@pytest.mark.parametrize(
    ("shown", "foot"),
    [(["demo (synthetic)", "nEMO"], "demo (synthetic), nEMO"), (["women", "men"], "demo (synthetic)"), (None, "demo (synthetic)")],
)
def test_the_foot_of_a_figure_names_all_corpora_that_it_shows(shown, foot, tmp_path):
    clips = pd.DataFrame({"clip": ["a", "b"], "speaker": ["x", "y"]})
    figure = matplotlib.figure.Figure()
    pipeline.Workspace("demo", tmp_path).save_figure(figure, "one", clips=clips if shown is None else clips.assign(corpus=shown))
    assert figure.texts[-1].get_text() == f"{foot} · 2 clips · 2 speakers"


def test_further_corpora_are_read_by_label_and_thinned(corpus):
    found = pipeline.further_corpora([str(corpus)], beside="demo (synthetic)", per_speaker=1)
    assert list(found) == ["mine"] and len(found["mine"]) == 3 and found["mine"]["speaker"].is_unique


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mine.csv"], "others: mine is not in .*mine.csv: check the path"),
        (["ravdess"], "others: RAVDESS is not in .*data/raw/ravdess: put it .* or run `ser fetch ravdess`"),
        (["ravdes"], "Unknown corpus 'ravdes'"),
    ],
)
def test_a_further_corpus_that_is_not_on_disk_is_one_line_before_anything_runs(rerun, names, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ser_utils.corpora.cards.ROOT", tmp_path)
    monkeypatch.setattr(pipeline.running, "_parameters", lambda *_: {"others": names})
    with pytest.raises(SerError, match=message) as error:
        rerun()
    assert "\n" not in str(error.value)
    with pytest.raises(SerError, match=message):
        pipeline.further_corpora(names, beside="demo (synthetic)")


def test_the_same_corpus_twice_is_refused(corpus):
    for names, beside in (([str(corpus)] * 2, "x"), ([str(corpus)], "mine")):
        with pytest.raises(SerError, match="others: mine is named twice"):
            pipeline.further_corpora(names, beside=beside)


@pytest.mark.parametrize(("text", "value"), [("a=nemo", ["nemo"]), ("a=nemo, ravdess", ["nemo", "ravdess"]), ("a=[nemo]", ["nemo"])])
def test_a_list_of_names_may_be_written_with_commas(text, value):
    _, given = pipeline.parse_parameter(text)
    assert pipeline.running._typed("a", given, []) == value


def test_a_broken_record_of_the_last_run_runs_everything_again(rerun, place):
    (tables(place) / "run.json").write_text('{"notebooks": [1')
    assert rerun(only=["03"]) == (["03_third"], [])


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("segment_seconds=2", True), ("segment_seconds=0", False), ("segment_seconds=-1", False), ("segment_seconds=.inf", False),
        ("lengths=[0.5, 2]", True), ("lengths=[0.5, -2]", False), ("lengths=0.5", False), ("lengths=[]", False),
        ("lengths=[half]", False), ("seeds=[0, 5]", True), ("seeds=[-1]", False), ("seeds=[0.5]", False), ("epochs=many", False),
        ("epochs=1e1", True), ("encoder=3", False), ("strict=1", False), ("layer=null", True),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_refused_before_a_kernel_starts(text, fits):
    books = [pipeline.Notebook.read(path) for path in NOTEBOOKS]
    given = dict([pipeline.parse_parameter(text)])
    if fits:
        assert running._parameters(books, "demo", given) == given
    else:
        with pytest.raises(SerError, match=f"^-p {text.partition('=')[0]}="):
            running._parameters(books, "demo", given)


# --- the workspace -----------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path, corpus, monkeypatch):
    monkeypatch.delenv("SER_RUN", raising=False)
    return Workspace(corpus, tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half of the n")
        1 / 0  # noqa: B018
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["table.csv"]


def test_tables_come_back_as_they_were_saved_series_too(workspace):
    folds = pd.Series([0, 1], index=pd.Index(["a", "b"], name="clip"), name="fold")
    workspace.save_table(folds, "folds")
    pd.testing.assert_series_equal(workspace.table("folds")["fold"], folds)


def test_a_missing_table_is_one_line(workspace):
    with pytest.raises(SerError, match="the table `nothing` of mine is not there"):
        workspace.table("nothing")


def test_a_table_that_another_encoder_lacks_is_made_by_a_run_and_not_by_opening_notebook_01(tmp_path, workspace):
    with pytest.raises(SerError, match="table `clips` of mine is not there: run 01_data_exploration first$"):
        workspace.table("clips")
    with pytest.raises(SerError, match="run 01_data_exploration first, by `ser run` with this encoder"):
        Workspace(workspace.corpus, tmp_path, encoder="facebook/wav2vec2-base").table("clips")


def test_a_notebook_in_a_run_reads_and_writes_what_it_declares_only(tmp_path, corpus, monkeypatch):
    run = {"notebook": "05_x", "reads": ["clips"], "writes": ["lengths"], "record": str(tmp_path / "record")}
    monkeypatch.setenv("SER_RUN", json.dumps(run))
    work = Workspace(corpus, tmp_path)
    with pytest.raises(SerError, match=r"05_x reads the table `segments`.*ser\.reads \(clips\)"):
        work.table("segments")
    with pytest.raises(SerError, match=r"05_x writes the table `clips`.*ser\.writes \(lengths\)"):
        work.save_table(pd.DataFrame({"a": [1]}), "clips")
    work.save_table(pd.DataFrame({"a": [1]}), "lengths")
    assert (tmp_path / "record").read_text() == f"data/processed/{Workspace(corpus).slug}/lengths.parquet\n"


def test_a_figure_says_what_it_was_made_from_once(workspace):
    from matplotlib.figure import Figure

    clips = pd.DataFrame({"clip": ["a", "a", "b"], "speaker": ["x", "x", "y"]})
    figure = Figure()
    axes = figure.add_subplot()
    workspace.save_figure(axes, "one", clips=clips)
    first = (workspace.figures / "one.png").read_bytes()
    workspace.save_figure(figure, "one", clips=clips)
    assert [text.get_text() for text in figure.texts] == ["mine · 2 clips · 2 speakers"]
    assert (workspace.figures / "one.png").read_bytes() == first
    with pytest.raises(TypeError, match="clips"):  # the whole corpus would be a guess, and wrong where one clip is drawn
        workspace.save_figure(figure, "one")


def test_a_shown_table_is_captioned_with_the_corpus_and_its_row_numbers_are_hidden(workspace, capsys):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    table = pd.DataFrame({"emotion": ["anger", "fear"], "recall": [0.25, np.nan]})
    with capture_output() as shown:
        workspace.show(table, "Recalls", precision=2)
        workspace.show(table.set_index("emotion"), "Recalls", precision=2)
    first, second = (output.data["text/html"] for output in shown.outputs)
    assert "<caption>Recalls · mine</caption>" in first and "0.25" in first and "–" in first
    assert "row_heading" not in first and "row_heading" not in second and ">emotion</th>" in second


def test_the_demo_corpus_is_called_synthetic(tmp_path):
    assert Workspace("demo", tmp_path).label == "demo (synthetic)"


ROW = dict(level="clip", metric="uar", value=1 / 3, low=0.2, high=0.5, seeds=1, speakers=3, clips=6)


def save_scores(corpus, tmp_path, monkeypatch, notebook, **values):
    """Save one row per system, as `ser run` does for a notebook, or from a notebook opened by hand (None)."""
    if notebook:
        run = dict(notebook=notebook, workspace=None, reads=[], writes=[], record=str(tmp_path / "record"))
        monkeypatch.setenv("SER_RUN", json.dumps(run))
    else:
        monkeypatch.delenv("SER_RUN", raising=False)
    work = Workspace(corpus, tmp_path)
    for system, value in values.items():
        work.save_scores(pd.DataFrame([{**ROW, "system": system, "value": value}]))
    scores = pd.read_csv(work.scores)
    return dict(zip(scores["system"], scores["value"], strict=True))


def test_scores_of_several_notebooks_are_joined_and_a_rerun_replaces_its_own(corpus, tmp_path, monkeypatch):
    save_scores(corpus, tmp_path, monkeypatch, "03_a", b=1 / 3, a=1 / 3)
    assert not list(tmp_path.rglob("scores_by_hand.csv"))
    joined = save_scores(corpus, tmp_path, monkeypatch, "04_b", c=0.9, a=0.9)
    assert list(joined.items()) == [("b", 1 / 3), ("a", 1 / 3), ("c", 0.9)]
    assert save_scores(corpus, tmp_path, monkeypatch, "03_a", b=0.1) == {"b": 0.1, "c": 0.9, "a": 0.9}
    with pytest.raises(SerError, match="scores lack the columns value"):
        Workspace(corpus, tmp_path).save_scores(pd.DataFrame([ROW | {"system": "x"}]).drop(columns="value"))


def test_scores_saved_by_hand_hold_until_the_notebook_is_run_again(corpus, tmp_path, monkeypatch):
    save_scores(corpus, tmp_path, monkeypatch, "04_b", a=0.42, b=0.5)
    assert save_scores(corpus, tmp_path, monkeypatch, None, a=0.55) == {"a": 0.55, "b": 0.5}
    assert save_scores(corpus, tmp_path, monkeypatch, None, mine=0.6) == {"a": 0.55, "b": 0.5, "mine": 0.6}
    assert save_scores(corpus, tmp_path, monkeypatch, "04_b", a=0.43, b=0.5) == {"a": 0.43, "b": 0.5, "mine": 0.6}


# --- whose products are whose ------------------------------------------------------------------------------------


def test_two_tables_of_one_name_another_encoder_and_other_labels_never_share_a_folder(tmp_path, corpus):
    copy = tmp_path / "copy"
    shutil.copytree(corpus.parent, copy)
    (tmp_path / "demo.csv").write_bytes(corpus.read_bytes())
    spaces = [
        Workspace("demo", tmp_path), Workspace("demo", tmp_path, encoder="facebook/wav2vec2-base"),
        Workspace("shemo", tmp_path), Workspace("shemo", tmp_path, labels="modified"),
        Workspace(corpus, tmp_path), Workspace(copy / "mine.csv", tmp_path), Workspace(tmp_path / "demo.csv", tmp_path),
    ]  # fmt: skip
    assert len({space.tables for space in spaces}) == len({space.reports for space in spaces}) == len(spaces)
    usual = Workspace("demo", tmp_path, encoder="wav2vec2-nano", labels="filename")
    assert usual.slug == "demo" and usual.label == "demo (synthetic)"
    assert spaces[-1].label == "demo.csv" and spaces[-1].slug != "demo"
    before = spaces[4].slug
    table = corpus.read_text()
    try:
        corpus.write_text(table.replace("x_anger.wav,anger", "x_anger.wav,fear"))
        assert Workspace(corpus, tmp_path).slug != before
    finally:
        corpus.write_text(table)


def test_an_upgraded_package_runs_everything_again_and_the_record_of_what_was_skipped_stays(rerun, place, monkeypatch):
    record = tables(place) / "run.json"
    before = json.loads(record.read_text())["notebooks"]
    real = execution_versions()
    monkeypatch.setattr("ser_utils.pipeline.keys.versions", lambda: real | {"torch": "99.0"})
    assert rerun(only=["03"])[0] == ["03_third"]
    after = json.loads(record.read_text())["notebooks"]
    assert after["03_third"]["versions"]["torch"] == "99.0" != before["03_third"]["versions"]["torch"]
    assert after["01_first"] == before["01_first"]
    assert rerun()[0] == ["01_first", "02_second"]


def execution_versions():
    found = pipeline.versions()
    assert {"torch", "soxr", "opensmile", "pandas"} <= set(found)
    return found


def test_a_step_whose_tables_are_about_other_segments_is_refused(rerun, place):
    parameters = PARAMETERS + "segment_seconds = 1.0\nseeds = [0]"
    table = "work.save_table(pd.DataFrame({'clip': list('abc'), 'speaker': list('xxy')}), 'numbers')"
    write_notebook(place / "notebooks", "01_first", "# First", parameters, OPEN, table, writes=["numbers"])
    write_notebook(place / "notebooks", "03_third", "# Third", PARAMETERS, OPEN, "work.table('doubled')", reads=["doubled"])
    rerun()
    for late in ("02_second", "03_third"):  # the third reads what the second made of the first's table
        with pytest.raises(SerError) as refusal:
            rerun(only=[late], parameters={"segment_seconds": 0.5})
        assert str(refusal.value) == (
            f"{late} needs tables that 01_first made with other segment_seconds (1.0) than asked for now: "
            f"run both, with --only 01,{late[:2]}"
        )
    assert rerun(only=["02"], parameters={"seeds": [1]}) == ([], ["02_second"]), "one notebook with other seeds is fine"
    assert rerun(only=["01", "02"], parameters={"segment_seconds": 0.5})[0] == ["01_first"]
    with pytest.raises(SerError, match=r"made with other segment_seconds \(0.5\)"):
        rerun(only=["02"])


def test_a_step_whose_tables_are_of_a_notebook_that_did_not_finish_is_refused(rerun, place):
    half = "work.save_table(pd.DataFrame({'clip': ['a']}), 'numbers')\n1 / 0"
    write_notebook(place / "notebooks", "01_first", "# First", PARAMETERS, OPEN, half, writes=["numbers"])
    with pytest.raises(pipeline.NotebookFailed):
        rerun()
    with pytest.raises(SerError, match="02_second needs tables that 01_first did not finish: run both, with --only 01,02"):
        rerun(only=["02"])


def test_a_run_writes_below_data_and_reports_only(finished):
    assert sorted(path.name for path in (finished / "out").iterdir()) == ["data", "reports"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {"/data/interim/", "/data/processed/", "/reports/"} <= set(ignored), "a run leaves the clone clean"


def test_nothing_that_notebooks_use_needs_fcntl_which_windows_lacks():
    code = (
        "import sys\nsys.modules['fcntl'] = None\n"
        "import ser_utils\n"
        "from ser_utils import analysis, audio, corpora, encoders, evaluation, features, models, pipeline, plots\n"
        "from ser_utils import pretraining, recognizer\n"
        "for room in (analysis, corpora, encoders, evaluation, features, models, pipeline, plots, pretraining, recognizer):\n"
        "    for name in room.__all__: getattr(room, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --- the report --------------------------------------------------------------------------------------------------


def test_progress_bars_end_in_their_last_state_and_widgets_are_left_out(workspace):
    new = nbformat.v4.new_output
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "a live widget"}
    outputs = [
        new("stream", name="stderr", text="\r  0%|   | 0/2\r100%|###| 2/2\nwarning: x\n"),
        new("stream", name="stdout", text="\r\n"), new("display_data", data=widget),
        new("display_data", data={"text/plain": "3 < 4"}),
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])
    workspace.reports.mkdir(parents=True)
    nbformat.write(notebook, workspace.reports / "01_a.ipynb")
    report.write_page("01_a", workspace, [("01_a", "A & <b>B</b>")])
    page = (workspace.reports / "01_a.html").read_text(encoding="utf-8")
    assert "<pre>100%|###| 2/2\nwarning: x\n</pre>" in page and "0/2" not in page
    assert "live widget" not in page and page.count('class="output_area"') == 2 and "3 &lt; 4" in page
    assert "<title>A &amp; &lt;b&gt;B&lt;/b&gt; · mine</title>" in page
