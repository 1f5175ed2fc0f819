"""The form of the notebooks, without running them: quick enough for a pre-commit hook."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec

import nbformat
import pytest
from small import NOTEBOOKS, solutions, with_solutions

from ser_utils import SerError, pipeline, plots

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[p.stem for p in NOTEBOOKS])


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_lesson_0_and_the_six_notebooks_of_the_paper_are_there():
    assert [p.stem[:2] for p in NOTEBOOKS][:7] == ["00", "01", "02", "03", "04", "05", "06"]


@every_notebook
def test_a_committed_notebook_carries_no_outputs(path):
    for cell in code_cells(with_solutions(path)):
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
    for cell in code_cells(with_solutions(path)):
        lines = [line for line in cell.source.splitlines() if not line.startswith(("import ", "from "))]
        assert len(lines) <= 18, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 12, f"{node.name} belongs into ser_utils"


def lesson(notebook):
    """The cells before the take-aways."""
    end = next(number for number, cell in enumerate(notebook.cells) if "## Take-aways" in cell.source)
    return notebook.cells[:end]


@every_notebook
def test_a_line_of_code_fits_a_page(path):
    lines = [line for cell in lesson(nbformat.read(path, 4)) if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > 100]


@every_notebook
def test_a_lesson_has_at_most_45_cells(path):
    assert len(lesson(nbformat.read(path, 4))) <= 45


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
def test_every_saved_figure_says_which_clips_it_shows(path):
    source = "\n".join(cell.source for cell in code_cells(nbformat.read(path, 4)))
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    calls = [call for call in calls if call.func.attr == "save_figure"]
    assert calls and not [ast.unparse(call) for call in calls if "clips" not in {k.arg for k in call.keywords}]


@every_notebook
def test_every_figure_is_asked_for_as_its_function_takes_it(path):
    source = "\n".join(cell.source for cell in code_cells(with_solutions(path)))
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    calls = [call for call in calls if ast.unparse(call.func.value) == "plots"]
    assert calls
    for call in calls:
        named = dict.fromkeys(keyword.arg for keyword in call.keywords)
        inspect.signature(getattr(plots, call.func.attr)).bind(*call.args, **named)


@every_notebook
def test_a_notebook_ends_with_take_aways_questions_and_exercises(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    text = "\n".join(cells)
    assert text.index("## Take-away") < text.index("## Questions") < text.index("## Exercises")
    assert cells[-1].startswith("**Next")


QUESTION = re.compile(
    r"\*\*(\d)\.\*\* ([^\n]+)\n\n((?:- \*\*[A-D]\*\* [^\n]+\n)+)\n<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", re.S
)


@every_notebook
def test_five_questions_have_one_right_answer_each_and_say_why_the_others_are_wrong(path):
    (text,) = (cell.source for cell in nbformat.read(path, 4).cells if cell.source.startswith("## Questions"))
    questions = QUESTION.findall(text)
    assert [number for number, *_ in questions] == list("12345") and text.count("<details>") == 5
    for _, question, listed, why in questions:
        letters = re.findall(r"^- \*\*([A-D])\*\* ", listed, re.M)
        assert len(letters) >= 3 and letters == list("ABCD")[: len(letters)], question
        (right,) = re.findall(r"\*\*([A-D]) is right\.\*\*", why)
        assert right in letters and why.startswith(f"**{right} is right.**"), question
        assert set(re.findall(r"\*\*([A-D])\*\*", why)) == set(letters) - {right}, f"explain the other answers: {question}"
    assert len({re.search(r"\*\*([A-D]) is", why)[1] for *_, why in questions}) > 1, "always the same letter is right"


def exercises(path):
    """Name, stars and text of each exercise, and the cell below it to write in."""
    cells = nbformat.read(path, 4).cells
    found = [(re.search(r"^\*\*(\d\d-\d)\*\* (★+) (.+)", c.source, re.M | re.S), below) for c, below in zip(cells, cells[1:])]
    return [(*match.groups(), below) for match, below in found if match]


@every_notebook
def test_three_to_five_exercises_go_from_one_star_to_three_and_have_a_cell_to_write_in(path):
    found = exercises(path)
    stars = [len(stars) for _, stars, *_ in found]
    assert 3 <= len(found) <= 5 and stars == sorted(stars) and set(stars) == {1, 2, 3}
    assert [name for name, *_ in found] == [f"{path.stem[:2]}-{number}" for number in range(1, len(found) + 1)]
    for name, stars, _, cell in found:
        assert "exercise" in cell.metadata.get("tags", []), name
        if cell.cell_type == "code":
            assert "# Write your code here." in cell.source and re.search(r" = \.\.\.( |\n)", cell.source)
            assert cell.source.splitlines()[-1].startswith(f'check("{name}", ')
        else:
            assert len(stars) == 3, f"{name} has no check"


@every_notebook
def test_every_exercise_has_a_solution_in_words_and_its_check_meets_a_right_and_a_wrong_answer(path):
    cells = solutions(path).cells
    prose = {c.source[3:7]: c.source for c in cells if re.match(r"## \d\d-\d\n", c.source)}
    right, wrong = (
        "\n".join(c.source for c in code_cells(solutions(path)) if c.metadata.tags == [tag]) for tag in ("solution", "wrong")
    )
    assert list(prose) == [name for name, *_ in exercises(path)]
    for name, _, _, cell in exercises(path):
        assert len(prose[name]) > 120, f"{name}: what does the result mean?"
        if cell.cell_type == "code":
            assert right.count(f'check("{name}", ') == 1 and wrong.count(f'check("{name}", ') >= 1, name


def test_the_solutions_are_no_notebooks_of_a_run():
    with pytest.raises(SerError) as caught:
        pipeline.run("demo", only=["98"])
    assert str(caught.value).endswith(f"there are {', '.join(path.stem for path in NOTEBOOKS)}")


@every_notebook
def test_links_between_notebooks_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    for target in re.findall(r"\]\((\w+\.ipynb)\)", text):
        assert (path.parent / target).exists(), target


def problems(path) -> str:
    """What ruff says of names in a notebook, cell after cell from top to bottom."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--output-format", "concise"]
    rules = ["--select", "E9,F", "--ignore", "F401,F541"]  # an unused import or an f too many breaks no run
    return subprocess.run([*ruff, *rules, str(path)], capture_output=True, text=True).stdout


def test_every_cell_compiles_and_uses_only_what_cells_above_define(tmp_path):
    for path in NOTEBOOKS:
        nbformat.write(with_solutions(path), tmp_path / path.name)
    assert "All checks passed" in problems(tmp_path), problems(tmp_path)


def test_cells_in_a_wrong_order_are_noticed(tmp_path):
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    code = [number for number, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"]
    imports, first = code[1], code[2]
    notebook["cells"][imports], notebook["cells"][first] = notebook["cells"][first], notebook["cells"][imports]
    (tmp_path / "wrong.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    assert "F821" in problems(tmp_path / "wrong.ipynb")



@every_notebook
def test_a_notebook_imports_at_most_eight_packages(path):
    source = "\n".join(cell.source for cell in code_cells(nbformat.read(path, 4)))
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom) and n.module == "ser_utils"]
    names = {alias.name for node in imports for alias in node.names}
    packages = [name for name in names if find_spec(f"ser_utils.{name}")]
    assert len(packages) <= 8, sorted(packages)


@every_notebook
def test_a_notebook_uses_every_parameter_that_it_declares(path):
    notebook = nbformat.read(path, 4)
    declared = {n.id for n in ast.walk(ast.parse(notebook.cells[1].source)) if isinstance(n, ast.Name)}
    rest = ast.parse("\n".join(cell.source for cell in code_cells(notebook)[1:]))
    assert declared <= {n.id for n in ast.walk(rest) if isinstance(n, ast.Name)}
