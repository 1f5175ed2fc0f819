"""How the module hangs together: who may import whom, and what stays unloaded until it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ser_utils"

#: From left to right as data flows (DESIGN). A module may import from its own row and from rows above it.
ROWS = [
    {"__init__"},
    {"cluster", "precisions"},
    {"parsers"},
    {"cards"},
    {"corpora", "fetching"},
    {"audio"},
    {"unlabelled"},
    {"encoders", "objectives", "pretraining"},
    {"store", "features"},
    {"temperature"},
    {"networks", "training", "splits", "models"},
    {"intervals", "predictions", "crossvalidation", "calibration", "audit", "evaluation"},
    {"attribution", "error_analysis", "exploration", "acoustics", "feature_space", "pitfalls", "probing",
     "familiarity", "recognizer"},
    {"plots", "corpus_plots", "score_plots", "curve_plots", "error_plots", "explanation_plots"},
    {"widgets"},
    {"workspace"},
    {"report", "dependencies", "execution", "pipeline", "readme", "plain", "bench", "exporting", "diagrams"},
    {"cli"},
]
RANK = {module: number for number, row in enumerate(ROWS) for module in row}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def imported(module: str) -> set[str]:
    """Modules of the package that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ser_utils.")}
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "ser_utils"):
            assert not node.level, f"{module}: write `from ser_utils import …`, the tests and `ser run` read that"
            inner = node.module.split(".")[1:2]
            names |= set(inner) if inner else {alias.name for alias in node.names} & set(MODULES)
    return names


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_left(module):
    assert module in RANK, f"{module} has no place in the order: add it to a row here"
    for other in imported(module):
        assert RANK[other] <= RANK[module], f"{module} must not import {other}, which comes after it"


def test_no_modules_import_each_other_in_a_circle():
    waiting = {module: imported(module) - {module} for module in MODULES}
    while free := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in free:
            del waiting[module]
    assert not waiting, f"a circle among {', '.join(waiting)}"


HEAVY = {"torch", "torchaudio", "transformers", "librosa", "opensmile", "sklearn", "scipy", "matplotlib", "seaborn", "pandas",
         "numpy", "papermill", "nbconvert", "nbformat", "soundfile", "pooch", "jinja2", "IPython"}  # fmt: skip


@pytest.mark.parametrize(
    "statement", ["import ser_utils", "import ser_utils.cli", "from ser_utils import cli; cli._parser()"]
)
def test_the_command_line_loads_nothing_heavy_before_it_knows_what_to_do(statement):
    code = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_deciding_what_to_run_loads_no_model_and_no_notebook_machinery():
    code = "import ser_utils.pipeline, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "librosa", "sklearn", "matplotlib", "papermill", "nbconvert"} & set(loaded)
