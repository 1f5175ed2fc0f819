"""How the module hangs together: who may import whom, and what stays unloaded until it is needed."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "ser_utils"

#: The rooms in the order in which data flows. A room imports from rooms on its left, never from those on its right.
ROOMS = ["corpora", "audio", "encoders", "features", "models", "evaluation", "analysis", "plots", "pretraining",
         "recognizer", "pipeline", "checks", "bench", "cli"]  # fmt: skip
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path) -> list[tuple[str, str]]:
    """What a file imports of the package, at its top or inside a function: pairs of room and name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "ser_utils"):
            assert not node.level, f"{path}: write `from ser_utils.… import …`"
            room, names = node.module.split(".")[1:2], [alias.name for alias in node.names]
            found += [(room[0], name) for name in names] if room else [(name, "") for name in names if name in ROOMS]
    return found


def test_the_package_holds_the_rooms_and_nothing_else():
    entries = {room_of(path) for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert entries == {"__init__", *ROOMS}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_on_its_left_and_only_public_names(path):
    room = room_of(path)
    if room == "__init__":
        assert not imported(path)
        return
    for other, name in imported(path):
        assert ROOMS.index(other) <= ROOMS.index(room), f"{room} must not import {other}, which comes after it"
        assert other == room or not name.startswith("_"), f"{room} imports the private name {other}.{name}"


def test_no_files_of_a_room_import_each_other_in_a_circle():
    for room in ROOMS:
        files = {path.stem: path for path in SOURCES if room_of(path) == room and path.stem != "__init__"}
        waiting = {
            name: set(re.findall(rf"from ser_utils\.{room}\.(\w+) import", path.read_text(encoding="utf-8"))) & set(files)
            for name, path in files.items()
        }
        while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
            for name in free:
                del waiting[name]
        assert not waiting, f"a circle among {', '.join(waiting)} of {room}"


@pytest.mark.parametrize("room", [path.parent.name for path in SOURCES if path.name == "__init__.py" and path.parent != PACKAGE])
def test_every_public_name_of_a_room_is_there_and_none_hides_a_file(room):
    package = __import__(f"ser_utils.{room}", fromlist=["__all__"])
    files = {path.stem for path in (PACKAGE / room).glob("*.py")}
    for name in package.__all__:
        assert getattr(package, name) is not None and name not in files, f"ser_utils.{room}.{name}"


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
    code = "from ser_utils import pipeline; pipeline.run; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "librosa", "sklearn", "matplotlib", "papermill", "nbconvert"} & set(loaded)


def test_the_drawing_shows_the_imports_between_rooms():
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8"), re.M))
    used = {(other, room_of(path)) for path in SOURCES for other, _ in imported(path) if other != room_of(path)}
    assert drawn == used
