"""What a notebook depends on, as content hashes: the ground on which `ser run` skips it or runs it again.

Nothing is compared by time, and nothing heavy is imported: finding that nothing changed takes a second.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pandas as pd

from ser_utils import ROOT, SerError, __version__, digest

# What does not change any result. `data` stays in the key: paths stand in the clips table.
_NOT_IN_KEY = {"out", "jobs"}
_PACKAGES = [
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "torch",
    "torchaudio",
    "transformers",
    "librosa",
    "opensmile",
    "soundfile",
    "matplotlib",
    "seaborn",
    "joblib",
    "papermill",
    "nbconvert",
]


@dataclass(frozen=True)
class Notebook:
    """A notebook's source, as far as running it needs."""

    path: Path
    cells: list[dict] = field(repr=False)
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    main_figures: tuple[str, ...]
    defaults: dict

    @property
    def name(self) -> str:
        """File name without its ending, such as "03_baselines"."""
        return self.path.stem

    @property
    def title(self) -> str:
        """First heading without markup, or the name."""
        text = "\n".join(cell["source"] for cell in self.cells if cell["cell_type"] == "markdown")
        heading = re.search(r"^#+\s+(.+?)\s*$", text, re.M)
        return re.sub(r"\[([^\]]*)\]\([^)]*\)|[*_`]", r"\1", heading[1]) if heading else self.name

    @classmethod
    def read(cls, path: Path) -> Notebook:
        """Read a notebook file; parameters come from its cell tagged `parameters`.

        Raises
        ------
        SerError
            If the file is no notebook.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cells = [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
            ser = content["metadata"].get("ser", {})
        except (ValueError, KeyError) as error:
            raise SerError(f"{path.name} is not a readable notebook ({error}); restore it from git") from error
        defaults = {}
        for cell in cells:
            if "parameters" in cell["metadata"].get("tags", []):
                defaults |= _assignments(cell["source"])
        return cls(
            path,
            cells,
            tuple(ser.get("reads", [])),
            tuple(ser.get("writes", [])),
            tuple(ser.get("figures", [])),
            defaults,
        )


def _assignments(source: str) -> dict:
    """Names assigned in a parameters cell, with their values (source text where a value is no literal)."""
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and getattr(node, "value", None) is not None:
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except ValueError:
                    found[target.id] = ast.unparse(node.value)
    return found


def fingerprints(book: Notebook, given: dict, tables: Path, corpus: str) -> dict[str, str]:
    """Content hashes of all that a notebook's results depend on, by kind.

    Parameters
    ----------
    book : Notebook
    given : dict
        Parameters passed to it; its own defaults stand for the others.
    tables : Path
        Folder of the tables that it reads.
    corpus : str
        The corpus's fingerprint.
    """
    effective = book.defaults | given
    used = {name: value for name, value in effective.items() if name not in _NOT_IN_KEY}
    read = [tables / f"{name}.parquet" for name in book.reads]
    return {
        "notebook": digest(
            json.dumps([[c["cell_type"], c["source"], c["metadata"].get("tags")] for c in book.cells]),
            json.dumps([book.reads, book.writes]),
        ),
        "parameters": digest(json.dumps(used, sort_keys=True, default=str)),
        "module": digest(*(part for path in _sources() for part in (path.name, path))),
        "tables it reads": digest(*(digest(path) if path.exists() else "missing" for path in read)),
        "corpus": corpus,
        "encoder weights": _weights(str(effective.get("encoder", ""))),
    }


def _sources() -> list[Path]:
    """All sources of the package: simple, and nothing can be forgotten."""
    return sorted((ROOT / "ser_utils").rglob("*.py"))


def _weights(encoder: str) -> str:
    """Content hash of the weights that a notebook can use: those of the package, and a local folder's."""
    folders = sorted((ROOT / "ser_utils").glob("*/weights"))
    if encoder and Path(encoder).is_dir():
        folders.append(Path(encoder))
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return digest(encoder, *(part for path in files for part in (path.name, path)))


def corpus_fingerprint(clips: pd.DataFrame) -> str:
    """Content hash of a corpus: every recording's bytes and every column but its place on disk."""
    with ThreadPoolExecutor(4) as pool:  # hashing and reading release the interpreter's lock
        contents = list(pool.map(lambda path: digest(Path(path)), clips["path"]))
    return digest(clips.drop(columns="path").to_csv(index=False), *contents)


def provenance() -> dict:
    """What a run is made with: commit, versions of Python and of the packages, platform."""
    return {
        "git": _git(),
        "versions": {"ser_utils": __version__, "python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict | None:
    def ask(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        # Figures are products of runs: that they differ says nothing about the sources.
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", ".", ":!figures")
        return {"commit": ask("rev-parse", "HEAD").strip(), "dirty": bool(changed.strip())}
    except (OSError, subprocess.CalledProcessError):
        return None
