"""What a notebook's results depend on, as content hashes, by which `ser run` skips a notebook or runs it again.

Nothing is compared by time, and no heavy package is imported: finding that nothing changed takes a second.
"""

import ast
import json
import platform
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Self

import pandas as pd

from ser_utils import ROOT, SerError, __version__, digest, features

# What does not change any result. `data` stays in the key: paths stand in the clips table.
_NOT_IN_KEY = {"out", "jobs"}


@dataclass(frozen=True, eq=False)
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
    def read(cls, path: Path) -> Self:
        """Read a notebook file; parameters come from its cell tagged `parameters`.

        Raises SerError if the file is no notebook.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cells = [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
            ser = content["metadata"].get("ser", {})
        except (ValueError, KeyError) as error:
            raise SerError(f"{path.name} is not a readable notebook ({error}); restore it from git") from error
        tagged = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        reads, writes, figures = (tuple(ser.get(name, ())) for name in ("reads", "writes", "figures"))
        return cls(path, cells, reads, writes, figures, _assignments("\n".join(tagged)))


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
    """Content hashes of all that a notebook's results depend on, by kind. No model is loaded.

    `given` are the parameters passed to it (its own defaults stand for the others), `tables` the folder of the tables
    that it reads, and `corpus` the corpus's fingerprint.
    """
    used = {name: value for name, value in (book.defaults | given).items() if name not in _NOT_IN_KEY}
    encoder, package = str(used.get("encoder", "")), ROOT / "ser_utils"
    weights = sorted(package.glob("*/weights/**/*")) + (sorted(Path(encoder).rglob("*")) if encoder else [])
    source = [[cell["cell_type"], cell["source"], cell["metadata"].get("tags")] for cell in book.cells]
    read = [tables / f"{name}.parquet" for name in book.reads]
    found = {
        "notebook": _hash([source, book.reads, book.writes]),
        "parameters": _hash(used),
        "module": _contents(sorted(package.rglob("*.py"))),
        "versions of packages": _hash(versions()),
        "tables it reads": digest(*(path if path.exists() else "missing" for path in read)),
        "corpus": corpus,
        "encoder weights": digest(encoder, _contents(weights)),
    }
    if "answers" in used:
        folder = Path(used["answers"]) if used["answers"] else tables / "answers"
        found["answers of listeners"] = _contents(sorted(folder.glob("*.csv")))
    return found


def _hash(value: object) -> str:
    return digest(json.dumps(value, sort_keys=True, default=str))


def _contents(paths: list[Path]) -> str:
    """Hash of files and their names."""
    return digest(*(part for path in paths if path.is_file() for part in (path.name, path)))


def corpus_fingerprint(clips: pd.DataFrame, cache: Path) -> str:
    """Content hash of recordings and table; `cache`, the folder of features, keeps the hashes of recordings."""
    contents = features.content_hashes(clips["path"].tolist(), cache)
    return digest(clips.drop(columns="path").to_csv(index=False), *contents)


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of this module and of the installed packages that `requirements.lock` pins."""
    found = {"python": platform.python_version(), "ser_utils": __version__}
    lock = ROOT / "requirements.lock"
    for line in lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else ():
        name = line.split("==")[0].strip()
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def provenance() -> dict:
    """What a notebook is run with: commit (None outside a git checkout), versions of packages, platform."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True).returncode != 0
        found = {"commit": commit, "dirty": changed}
    except (OSError, subprocess.CalledProcessError):
        found = None
    return {"git": found, "versions": versions(), "platform": platform.platform()}
