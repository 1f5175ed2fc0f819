"""The report of a run: a page for each executed notebook and a front page with scores, figures and provenance.

Every page is one file that needs nothing beside it: styles and pictures are inside, no script and no network.
"""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

from ser_utils import digest, replacing
from ser_utils.pipeline.workspace import Workspace

TEMPLATES = Path(__file__).resolve().parent / "templates"

#: Metrics of the front page's score table, with their headings.
METRICS = {"uar": "UAR", "wa": "accuracy (WA)", "macro_f1": "macro F1"}


#: The figures that tell the story, each with the question that it answers.
STORY = {
    "04_scores": "Which system understands best?",
    "05_length": "How short may a segment be?",
    "06_speakers": "Whom does it understand?",
    "07_help": "Does unlabelled speech help?",
    "08_mistakes": "How do scores become too good?",
}


def version(pages: list[tuple[str, str]]) -> str:
    """Hash of all that the pages' look depends on: templates, this module, and the list of notebooks."""
    sources = [*sorted(TEMPLATES.glob("*")), Path(__file__)]
    return digest(json.dumps(pages), *(path for path in sources if path.is_file()))


def write_page(name: str, workspace: Workspace, pages: list[tuple[str, str]]) -> Path:
    """Write `reports/<corpus>/<name>.html` from the executed notebook beside it.

    Parameters
    ----------
    name : str
        Name of the notebook, such as "03_baselines".
    workspace : Workspace
        Of the corpus.
    pages : list of (str, str)
        Name and title of every notebook, in order, for the links to the previous and the next page.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(workspace.reports / f"{name}.ipynb", 4)
    heading = dict(pages)[name]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+\s+(.+?)\s*$", cell.source, re.M))[-1]
            # links between notebooks lead to their pages
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb(#[^)]*)?\)", r"](\1.html\2)", cell.source)
        else:
            cell.metadata["alt"] = "Figure under the heading " + re.sub(r"[*_`]", "", heading)
            cell.outputs = [output for output in map(_tidy, cell.outputs) if output is not None]
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook)
    position = [page for page, _ in pages].index(name)
    target = workspace.reports / f"{name}.html"
    text = _template("page.html").render(
        title=dict(pages)[name],
        label=workspace.label,
        synthetic="synthetic" in workspace.label,
        body=body,
        pages=pages,
        name=name,
        number=name[:2],
        previous=pages[position - 1] if position else None,
        following=pages[position + 1] if position + 1 < len(pages) else None,
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        highlighting=_highlighting(),
    )
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def write_index(workspace: Workspace, record: dict, books: list) -> Path:
    """Write `reports/<corpus>/index.html`.

    Parameters
    ----------
    workspace : Workspace
        Of the corpus.
    record : dict
        The content of `run.json`.
    books : list of pipeline.Notebook
        All notebooks, in order.
    """
    entries = record["notebooks"]
    pages, story = [], []
    for book in books:
        entry = entries.get(book.name)
        figures = [workspace.root / name for name in (entry or {"outputs": []})["outputs"] if name.endswith(".png")]
        told = [path for path in figures if path.stem in STORY and path.exists()]
        story += [(STORY[path.stem], path.stem, _embedded(path), book.name) for path in told]
        figures = [path for path in figures if path not in told]
        chosen = [path for path in figures if not book.main_figures or path.stem in book.main_figures]
        pages.append(
            {
                "name": book.name,
                "number": book.name[:2],
                "title": re.sub(r"^\d\d · ", "", book.title),
                "entry": entry,
                "figures": [(path.stem, _embedded(path)) for path in chosen if path.exists()],
                "more": len(figures) - len(chosen),
            }
        )
    days = sorted(entry["finished"][:10] for entry in entries.values() if "finished" in entry)
    text = _template("index.html").render(
        record=record,
        label=workspace.label,
        synthetic="synthetic" in workspace.label,
        card=_card(record["source"]),
        pages=pages,
        story=story,
        dates=list(dict.fromkeys([days[0], days[-1]])) if days else [],
        metrics=METRICS,
        scores=score_rows(workspace.figures / "scores.csv"),
        chance=1 / max(len(record["emotions"]), 1),
        seconds=sum(entry["seconds"] for entry in entries.values()),
        peak=max((entry["peak_memory_mb"] for entry in entries.values()), default=0),
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
    )
    target = workspace.reports / "index.html"
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def score_rows(path: Path) -> list[dict]:
    """Rows of the front page's score table: a system each, with its clip-level metrics as numbers.

    Parameters
    ----------
    path : Path
        A `scores.csv`; an empty list comes back when it is not there.

    Returns
    -------
    list of dict
        `system`, `encoder`, `segment_seconds`, `seeds`, and `{metric: (value, low, high)}` under `metrics`, in the
        order of the file; sorted within it by nothing else.
    """
    if not path.exists():
        return []
    rows: dict[tuple, dict] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["level"] != "clip" or line["metric"] not in METRICS:
                continue
            key = (line["system"], line["encoder"], line["segment_seconds"])
            row = rows.setdefault(
                key,
                {
                    "system": key[0],
                    "encoder": key[1],
                    "segment_seconds": key[2],
                    "seeds": line["seeds"],
                    "metrics": {},
                },
            )
            row["metrics"][line["metric"]] = tuple(float(line[column] or "nan") for column in ("value", "low", "high"))
    return list(rows.values())


def _template(name: str):
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(
        f"{name}.j2"
    )


def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    # Of pygments' styles, those whose colours stand out at 4.5 : 1 from the background that code has here.
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("xcode", "zenburn"))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _card(source: str) -> dict[str, str]:
    """The corpus's card as `{field: text}`, from the registry."""
    from ser_utils import corpora

    corpus = corpora.card(source)
    fields = {
        "Corpus": "title",
        "Language": "language",
        "What it is": "description",
        "Licence": "licence",
        "Citation": "citation",
    }
    return {name: str(getattr(corpus, field)) for name, field in fields.items() if getattr(corpus, field, None)}


def _tidy(output: dict) -> dict | None:
    """An output as a page can show it, or None: progress bars end in their last state, widgets need a live kernel."""
    if output["output_type"] == "stream":
        lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in output["text"].split("\n")]
        text = "\n".join(re.sub(r"\x1b\[A", "", line) for line in lines).strip("\n")
        return {**output, "text": text + "\n"} if text.strip() else None
    if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
        return None
    return output
