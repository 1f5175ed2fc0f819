"""`run.json`: what was run, from what, and whether that still holds."""

import json
from pathlib import Path

import pandas as pd

from ser_utils import SerError, replacing
from ser_utils.pipeline import report
from ser_utils.pipeline.keys import Notebook, corpus_fingerprint, fingerprints
from ser_utils.pipeline.workspace import Workspace

# Parameters that decide what a table is about. Where they differ, one notebook's table is no input for another.
_SUBJECT = ("labels", "classes", "clips_per_speaker", "segment_seconds", "encoder", "layer", "precision")


class Record:
    """The `run.json` of a workspace: for each notebook, what it was made with when it last ran.

    `books` are all notebooks in order, `clips` the clips table of the corpus, and `asked` has `source`, `profile` and
    `parameters` of the run.
    """

    def __init__(self, workspace: Workspace, books: list[Notebook], clips: pd.DataFrame, asked: dict):
        self.workspace, self.books, self.wanted = workspace, books, asked["parameters"]
        self.pages = [(book.name, book.title) for book in books]
        self.path = workspace.tables / "run.json"
        try:
            self.record = json.loads(self.path.read_text(encoding="utf-8"))
            self.record["notebooks"].items(), self.record["unfinished"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or not ours: all is run
            self.record = {"notebooks": {}, "unfinished": {}}
        self.before = json.dumps(self.record, sort_keys=True)
        self.last_seconds = {name: entry.get("seconds", 0) for name, entry in self.record["notebooks"].items()}
        self.record |= asked | {
            "corpus": workspace.slug,
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "hours": round(float(clips["duration"].sum()) / 3600, 4),
            "emotions": {name: int(count) for name, count in clips["emotion"].value_counts().items()},
            "skipped": [f"{Path(path).name} ({clips.attrs['remarks'][path]})" for path in clips.attrs["skipped"]],
            "fingerprint": corpus_fingerprint(clips, workspace.cache),
            "notebooks_folder": str(books[0].path.parent),
        }

    def given(self, book: Notebook) -> dict:
        """Parameters that a notebook is passed."""
        return {name: value for name, value in self.wanted.items() if name in book.defaults}

    def key(self, book: Notebook) -> dict[str, str]:
        """Content hashes of all that a notebook's results depend on now, by kind."""
        return fingerprints(book, self.given(book), self.workspace.tables, self.record["fingerprint"])

    def check_inputs(self, chosen: list[Notebook]) -> None:
        """Check the notebooks that are left out and whose tables a chosen one reads, directly or through others.

        Raises SerError if a table is missing, half written, or about another corpus, encoder, label set or segment
        length.
        """
        for book in chosen:
            for maker in (other for other in self._upstream(book) if other not in chosen):
                numbers = f"{maker.name[:2]},{book.name[:2]}"
                for table in set(maker.writes) & set(book.reads):
                    if not (self.workspace.tables / f"{table}.parquet").exists():
                        lacking = f"which {maker.name} makes and which is not in {self.workspace.tables}"
                        advice = f"run {maker.name[:2]} first"
                        raise SerError(f"{book.name} reads the table `{table}`, {lacking}: {advice}")
                entry, made = self.record["notebooks"].get(maker.name), ""
                if entry:
                    now, then, key = maker.defaults | self.given(maker), entry["parameters"], self.key(maker)
                    other = [f"{name} ({then.get(name)})" for name in _SUBJECT if now.get(name) != then.get(name)]
                    other += [kind for kind in ("corpus", "encoder weights") if entry["key"].get(kind) != key[kind]]
                    made = other and f"made with other {' and '.join(other)} than asked for now"
                elif maker.name in self.record["unfinished"]:  # without any record, a table was made by hand
                    made = "did not finish"
                if made:
                    raise SerError(f"{book.name} needs tables that {maker.name} {made}: run both, with --only {numbers}")

    def _upstream(self, book: Notebook) -> list[Notebook]:
        near = [other for other in self.books[: self.books.index(book)] if set(other.writes) & set(book.reads)]
        return list(dict.fromkeys(near + [far for other in near for far in self._upstream(other)]))

    def outlook(self, left: list[Notebook]) -> str:
        """How many notebooks are left, and how long they took last time."""
        times = [self.last_seconds[book.name] for book in left if book.name in self.last_seconds]
        about = f", about {sum(times) / 60:.0f} min" if len(times) == len(left) else ""
        return f" ({len(left)} left{about})"

    def reason(self, book: Notebook, key: dict[str, str]) -> str:
        """Why a notebook must run, in words; empty when it is up to date."""
        entry = self.record["notebooks"].get(book.name)
        if not entry:
            return "did not finish last time" if book.name in self.record["unfinished"] else "not run yet"
        changed = [kind for kind, value in key.items() if entry["key"].get(kind) != value]
        if changed:
            return f"changed: {', '.join(changed)}"
        missing = [name for name in entry["outputs"] if not (self.workspace.root / name).exists()]
        return f"missing: {', '.join(missing)}" if missing else ""

    def start(self, book: Notebook) -> None:
        """Forget a notebook: its tables are about to change, and a killed run must not count as complete."""
        earlier = self.record["notebooks"].pop(book.name, {}).get("outputs", [])
        self.record["unfinished"][book.name] = sorted({*earlier, *self.record["unfinished"].get(book.name, [])})
        self._write()

    def done(self, book: Notebook, entry: dict) -> None:
        """Record a notebook that ran, and remove what its earlier run made and this one did not."""
        self.record["notebooks"][book.name] = entry
        kept = {name for other in self.record["notebooks"].values() for name in other["outputs"]}
        for name in set(self.record["unfinished"].pop(book.name, [])) - kept:
            (self.workspace.root / name).unlink(missing_ok=True)
        self._write()

    def page(self, book: Notebook) -> None:
        """Write a notebook's page, where it is missing or older than its executed copy or the report's templates."""
        entry = self.record["notebooks"][book.name]
        version = report.version(book.name, self.workspace, self.pages)
        if entry.get("page") != version or not (self.workspace.reports / f"{book.name}.html").exists():
            report.write_page(book.name, self.workspace, self.pages)
            entry["page"] = version
            self._write()
            report.write_index(self.workspace, self.record, self.books)

    def finish(self) -> Path:
        """Write what changed, join the scores, and return the front page."""
        entries = self.record["notebooks"]
        self.record["notebooks"] = {book.name: entries[book.name] for book in self.books if book.name in entries}
        self.workspace.merge_scores()
        index = self.workspace.reports / "index.html"
        if json.dumps(self.record, sort_keys=True) != self.before or not index.exists():
            self._write()
            report.write_index(self.workspace, self.record, self.books)
        return index

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.record, indent=1, default=str) + "\n", encoding="utf-8")
