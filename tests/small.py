"""Small notebooks and a small corpus for the tests of the pipeline and the command line; and where the real ones are."""

from pathlib import Path

import nbformat
import numpy as np
import soundfile

from ser_utils import cli

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def solutions(path: Path):
    """The notebook with the solutions of a notebook's exercises; its code runs at the end of that notebook."""
    return nbformat.read(path.parent / "solutions" / path.name, 4)


def with_solutions(path: Path):
    """A notebook with the code of its solutions at its end."""
    notebook = nbformat.read(path, 4)
    notebook.cells += [cell for cell in solutions(path).cells if cell.cell_type == "code"]
    return notebook


def write_notebook(folder: Path, name: str, *cells: str, reads=(), writes=()):
    """Write a notebook; a cell that starts with # is text, one that assigns `corpus` or `count` first the parameters."""
    notebook = nbformat.v4.new_notebook(metadata={"ser": {"reads": list(reads), "writes": list(writes)}})
    for number, source in enumerate(cells):
        make = nbformat.v4.new_markdown_cell if source.startswith("#") else nbformat.v4.new_code_cell
        cell = make(source, id=f"cell-{number}")
        if source.startswith(("corpus =", "count =")):
            cell.metadata["tags"] = ["parameters"]
        notebook.cells.append(cell)
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def write_corpus(folder: Path) -> Path:
    """Write six short recordings of three speakers and two emotions, and the CSV that lists them; return the CSV."""
    rng, rows = np.random.default_rng(0), []
    for speaker in "xyz":
        for emotion in ("anger", "sadness"):
            name = f"{speaker}_{emotion}.wav"
            soundfile.write(folder / name, rng.normal(0, 0.1, 8000).astype("float32"), 16_000)
            rows.append(f"{name},{emotion},{speaker}")
    table = folder / "mine.csv"
    table.write_text("path,emotion,speaker\n" + "\n".join(rows) + "\n")
    return table


def refused(capsys, *arguments) -> str:
    """Run a command that must be refused with status 2 and one line; return the line."""
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("ser: error: ") and "Traceback" not in said.err
    return lines[0]


def write_silence(path, seconds=0.1, sample_rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * sample_rate)), sample_rate)
    return path


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)
