"""The notebooks: their form, and all of them from end to end on the quick profile, exercises included."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from small import NOTEBOOKS, solutions

from ser_utils import pipeline

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[p.stem for p in NOTEBOOKS])


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_six_notebooks_of_the_paper_are_there():
    assert [p.stem[:2] for p in NOTEBOOKS][:6] == ["01", "02", "03", "04", "05", "06"]


@every_notebook
def test_a_committed_notebook_carries_no_outputs(path):
    for cell in code_cells(nbformat.read(path, 4)):
        assert not cell.outputs and cell.execution_count is None


@every_notebook
def test_a_notebook_opens_with_its_question_and_then_its_parameters(path):
    notebook = nbformat.read(path, 4)
    assert notebook.cells[0].cell_type == "markdown" and "?" in notebook.cells[0].source
    assert "parameters" in notebook.cells[1].metadata.get("tags", [])
    for line in notebook.cells[1].source.splitlines():
        assert "#" in line, f"the parameter is not explained: {line}"


@every_notebook
def test_code_cells_are_short_and_functions_live_in_the_module(path):
    for cell in code_cells(nbformat.read(path, 4)):
        assert len(cell.source.splitlines()) <= 18, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 12, f"{node.name} belongs into ser_utils"


def tables_named(notebook, method, position):
    """Names that stand at one position of the calls of a Workspace method."""
    source = "\n".join(cell.source for cell in code_cells(notebook))
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    mine = [c for c in calls if c.func.attr == method and len(c.args) > position]
    return {c.args[position].value for c in mine if isinstance(c.args[position], ast.Constant)}


@every_notebook
def test_a_notebook_says_what_it_reads_and_writes_and_does_so(path):
    notebook = nbformat.read(path, 4)
    declared = notebook.metadata["ser"]
    assert tables_named(notebook, "table", 0) == set(declared["reads"])
    assert tables_named(notebook, "save_table", 1) == set(declared["writes"])


@every_notebook
def test_a_notebook_ends_with_take_aways_and_exercises_with_solutions(path):
    notebook = nbformat.read(path, 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "Take-away" in text and "<details>" in text
    assert len(solutions(notebook)) >= 2


@every_notebook
def test_links_between_notebooks_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    for target in re.findall(r"\]\((\w+\.ipynb)\)", text):
        assert (path.parent / target).exists(), target


def test_all_notebooks_run_in_order_and_leave_their_tables_figures_and_pages(quick_run):
    for path in NOTEBOOKS:
        declared = nbformat.read(path, 4).metadata["ser"]
        for table in declared["writes"]:
            assert (quick_run / "data/processed/demo" / f"{table}.parquet").exists(), (path.stem, table)
        assert (quick_run / "reports/demo" / f"{path.stem}.html").stat().st_size > 100_000
        assert list((quick_run / "figures/demo").glob(f"{path.stem[:2]}_*.png")), f"{path.stem} drew nothing"
    assert "demo (synthetic)" in (quick_run / "reports/demo/index.html").read_text(encoding="utf-8")


def test_the_scores_have_the_agreed_columns_and_sane_values(quick_run):
    scores = pd.read_csv(quick_run / "figures/demo/scores.csv")
    expected = "corpus,system,encoder,segment_seconds,level,metric,value,low,high,seeds,speakers,clips"
    assert list(scores.columns) == expected.split(",")
    assert {"majority", "egemaps-svm", "encoder-svm", "spectrogram-cnn", "segment-cnn"} <= set(scores.system)
    assert scores.value.between(0, 1).all()
    assert not scores.duplicated(["system", "encoder", "segment_seconds", "level", "metric"]).any()
    uar = scores[(scores.metric == "uar") & (scores.level == "clip")].set_index("system").value
    assert uar["majority"] == pytest.approx(1 / 6, abs=0.01)
    assert uar["egemaps-svm"] > 0.25, "a real system beats chance even on the quick profile"


def test_provenance_says_what_ran_with_what(quick_run):
    provenance = json.loads((quick_run / "data/processed/demo/run.json").read_text())
    text = json.dumps(provenance)
    for word in ("torch", "transformers", "parameters", "seconds", "peak"):
        assert word in text, word


def test_a_second_run_skips_every_notebook(quick_run, capsys):
    sources = Path(json.loads((quick_run / "data/processed/demo/run.json").read_text())["notebooks_folder"])
    pipeline.run("demo", profile="quick", out=quick_run, notebooks=sources)
    assert capsys.readouterr().out.count("unchanged") == len(NOTEBOOKS)
