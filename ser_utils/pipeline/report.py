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

#: The two conditions: without and with statistics of the speaker who is tested.
CONDITIONS = ("Statistics of the training speakers", "Statistics per speaker")

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
            saved = re.findall(r"save_figure\(.+?[\"'](\d\d_\w+)[\"']", cell.source, re.S)
            said = [" ".join(_said(workspace.figures / f"{figure}.png")) for figure in saved]
            plain = re.sub(r"[*_`]", "", heading)
            cell.metadata["alt"] = " ".join(filter(None, said)) or f"Figure under the heading {plain}"
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
        page = {"name": book.name, "number": book.name[:2], "title": re.sub(r"^\d\d · ", "", book.title), "entry": entry}
        story += [{"question": STORY[path.stem], "page": page, **_figure(path)} for path in told]
        figures = [path for path in figures if path not in told]
        chosen = [path for path in figures if not book.main_figures or path.stem in book.main_figures]
        page["figures"] = [{"page": page, **_figure(path)} for path in chosen if path.exists()]
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
        scores=_score_tables(workspace.scores),
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


def _score_tables(path: Path) -> dict[str, dict[str, list[dict]]]:
    """Clip-level scores for the front page: by condition, `shown` and `folded` rows, one per system, the best first.

    A row has `system`, `words` (its display name), `encoder`, `segment_seconds`, `seeds`, `clips` (texts) and `metrics`:
    `{metric: (value, low, high)}`. Folded are the controls: other segment lengths, encoders that were not trained.
    """
    from ser_utils import plots

    if not path.exists():
        return {}
    scores = pd.read_csv(path, dtype=str, keep_default_na=False)
    scores = scores[(scores["level"] == "clip") & scores["metric"].isin(METRICS)]
    numbers = ["value", "low", "high"]
    scores[numbers] = scores[numbers].apply(pd.to_numeric, errors="coerce")
    # Notebook 05 names the length, which has a column of its own: its usual length is notebook 04's system once more.
    base = scores["system"].str.replace(r" ([\d.]+ s|whole clip)$", "", regex=True)
    scores["folded"] = (base != scores["system"]) | base.str.contains("encoder-(?:start|random)")
    names = ["system", "encoder", "segment_seconds"]
    scores = scores.assign(system=base).drop_duplicates([*names, "metric"])
    tables: dict[str, dict[str, list[dict]]] = {}
    for key, rows in scores.groupby(names, sort=False):
        first, own = rows.iloc[0], key[0].endswith("/speaker")
        row = {**first[[*names, "seeds", "clips"]], "words": plots.display_name(key[0].removesuffix("/speaker"))}
        row["metrics"] = {one.metric: (one.value, one.low, one.high) for one in rows.itertuples()}
        parts = tables.setdefault(CONDITIONS[own], {"shown": [], "folded": []})
        parts["folded" if first["folded"] else "shown"].append(row)
    for part in (part for parts in tables.values() for part in parts.values()):
        part.sort(key=lambda row: row["metrics"].get("uar", (-1,))[0], reverse=True)
    return tables


def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    # Of pygments' styles, those whose colours stand out at 4.5 : 1 from the background that code has here.
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("xcode", "zenburn"))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _figure(path: Path) -> dict:
    picture = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem, "picture": picture, "said": _said(path)}


def _said(path: Path) -> list[str]:
    """The titles that `Workspace.save_figure` wrote into a figure's file; none in another file."""
    from PIL import Image

    if not path.exists():
        return []
    with Image.open(path) as image:
        return image.info.get("Description", "").splitlines()
