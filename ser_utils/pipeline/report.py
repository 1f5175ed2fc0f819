"""The report of a run: a page for each executed notebook and a front page with scores, figures and provenance.

Every page is one file that needs nothing beside it: styles and pictures are inside, no script and no network.
"""

import base64
import json
import re
from pathlib import Path

import pandas as pd

from ser_utils import corpora, digest, replacing
from ser_utils.pipeline.workspace import Workspace

TEMPLATES = Path(__file__).resolve().parent / "templates"

#: Metrics of the front page's score table, with their headings.
METRICS = {"uar": "UAR", "wa": "accuracy (WA)", "macro_f1": "macro F1"}

#: Packages whose versions the front page names; `run.json` has all.
PACKAGES = {"python", "numpy", "pandas", "scikit-learn", "torch", "torchaudio", "transformers", "opensmile", "soxr"}

#: The figures at the top of the front page, each with the question that it answers.
STORY = {
    "04_scores": "Which system recognises emotion best?",
    "05_length": "How short may a segment be?",
    "06_speakers": "Whose emotions are recognised?",
    "07_factorial": "Which features, and which classifier?",
    "07_gains": "Does unlabelled speech help?",
    "08_mistakes": "How do scores become too good?",
}


def version(name: str, workspace: Workspace, pages: list[tuple[str, str]]) -> str:
    """Hash of all that a page depends on: executed copy, templates, this module, the list of notebooks."""
    sources = [*sorted(path for path in TEMPLATES.iterdir() if path.is_file()), Path(__file__)]
    return digest(json.dumps(pages), workspace.reports / f"{name}.ipynb", *sources)


def write_page(name: str, workspace: Workspace, pages: list[tuple[str, str]]) -> None:
    """Write `reports/<workspace>/<name>.html` from the executed notebook beside it, with nbconvert's basic template.

    `pages` are name and title of every notebook, in order, for the links to the previous and the next page.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(workspace.reports / f"{name}.ipynb", 4)
    position, heading = [page for page, _ in pages].index(name), dict(pages)[name]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+\s+(.+?)\s*$", cell.source, re.M))[-1]
            # links between notebooks lead to their pages
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb(#[^)]*)?\)", r"](\1.html\2)", cell.source)
        else:
            cell.metadata["alt"] = "Figure under the heading " + re.sub(r"[*_`]", "", heading)
    about = {
        **_common(workspace),
        "name": name,
        "title": dict(pages)[name],
        "pages": pages,
        "previous": pages[position - 1] if position else None,
        "following": pages[position + 1] if position + 1 < len(pages) else None,
        "highlighting": _highlighting(),
    }
    exporter = HTMLExporter(template_file=str(TEMPLATES / "page.html.j2"), exclude_input_prompt=True)
    exporter.exclude_output_prompt = True
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True)  # bars' last state
    body, _ = exporter.from_notebook_node(notebook, {"ser": about})
    with replacing(workspace.reports / f"{name}.html") as temporary:
        temporary.write_text(body, encoding="utf-8")


def write_index(workspace: Workspace, record: dict, books: list) -> None:
    """Write the front page, `reports/<workspace>/index.html`, from `run.json` and all notebooks, in order."""
    import jinja2

    entries = record["notebooks"]
    pages, story = [], []
    for book in books:
        entry = entries.get(book.name)
        figures = [workspace.root / name for name in (entry or {"outputs": []})["outputs"] if name.endswith(".png")]
        told = [path for path in figures if path.stem in STORY and path.exists()]
        story += [(STORY[path.stem], path.stem, _embedded(path), book.name) for path in told]
        figures = [path for path in figures if path not in told]
        chosen = [path for path in figures if not book.main_figures or path.stem in book.main_figures]
        page = {"name": book.name, "number": book.name[:2], "title": re.sub(r"^\d\d · ", "", book.title), "entry": entry}
        page["figures"] = [(path.stem, _embedded(path)) for path in chosen if path.exists()]
        pages.append(page | {"more": len(figures) - len(chosen)})
    made_by = list(entries.values())
    days = sorted(entry["finished"][:10] for entry in made_by if "finished" in entry)
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.get_template("index.html.j2").render(
        _common(workspace),
        record=record,
        commits=[json.loads(text) for text in dict.fromkeys(json.dumps(entry.get("git")) for entry in made_by)],
        shown=PACKAGES,
        versions=made_by[-1].get("versions", {}) if made_by else {},
        mixed=[name for name, entry in entries.items() if entry.get("versions") != made_by[-1].get("versions")],
        platforms=list(dict.fromkeys(entry.get("platform", "") for entry in made_by)),
        card=corpora.card(record["source"]),
        pages=pages,
        story=story,
        dates=list(dict.fromkeys([days[0], days[-1]])) if days else [],
        metrics=METRICS,
        scores=_score_rows(workspace.scores),
        chance=1 / max(len(record["emotions"]), 1),
        seconds=sum(entry["seconds"] for entry in made_by),
        peak=max((entry["peak_memory_mb"] for entry in made_by), default=0),
    )
    with replacing(workspace.reports / "index.html") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _common(workspace: Workspace) -> dict:
    """What every page shows."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return {"label": workspace.label, "synthetic": "synthetic" in workspace.label, "style": style}


def _score_rows(path: Path) -> list[dict]:
    """One row per system of the front page's score table, in the order of `scores.csv`.

    A row has `system`, `encoder`, `segment_seconds`, `seeds` (texts) and clip-level `metrics`: `{metric: (value, low,
    high)}`.
    """
    if not path.exists():
        return []
    scores = pd.read_csv(path, dtype=str, keep_default_na=False)
    scores = scores[(scores["level"] == "clip") & scores["metric"].isin(METRICS)]
    numbers = ["value", "low", "high"]
    scores[numbers] = scores[numbers].apply(pd.to_numeric, errors="coerce")
    names = ["system", "encoder", "segment_seconds", "seeds"]
    return [
        {**dict(zip(names, key, strict=True)), "metrics": {row.metric: (row.value, row.low, row.high) for row in rows.itertuples()}}
        for key, rows in scores.groupby(names, sort=False)
    ]


def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    # Of pygments' styles, those whose colours stand out at 4.5 : 1 from the background that code has here.
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("xcode", "zenburn"))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
