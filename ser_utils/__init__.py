"""Speech emotion recognition from self-supervised features: the module behind the notebooks.

Data flows one way through four tables: **clips** (a row is a recording), **segments** (a piece of a recording),
**features** (the same piece as an array on disk) and **predictions** (a judged piece). See `README.md`.

Nothing heavy is imported here, so that `import ser_utils` and `ser --help` stay quick.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__version__ = "0.1.0"

#: Canonical emotion names, in the order of tables; figures list them by arousal.
EMOTIONS = ("anger", "boredom", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
#: What other columns of tables are called. A corpus may bring emotions of its own, but none of these names.
COLUMN_NAMES = frozenset(
    "clip path speaker emotion gender text duration sample_rate start end padding active system seed fold level metric value "
    "low high seeds speakers clips predicted judged confidence right chosen vote third share hours length order group "
    "property question corpus encoder segment_seconds seconds x y comparison difference deleted margin other p".split()
)


class SerError(ValueError):
    """An error for the person at the keyboard: what was given, what is wrong, what to do, in one line.

    The command line prints it without a traceback and ends with exit status 2.
    """


#: The checkout. Found by the package and not by the working directory: `ser run` works in the checkout's root,
#: JupyterLab in `notebooks/`.
ROOT = Path(__file__).resolve().parents[1]


def emotions_among(names: Iterable[str]) -> list[str]:
    """The emotions among names, such as the columns of a table: canonical ones in order, then others by alphabet.

    >>> emotions_among(["clip", "start", "envy", "fear", "anger", "votes_fear"])
    ['anger', 'fear', 'envy']
    """
    present = {name for name in names if not str(name).startswith("votes_")}
    return [name for name in EMOTIONS if name in present] + sorted(present - set(EMOTIONS) - COLUMN_NAMES)


def listed(values: Iterable[object], shown: int = 5) -> str:
    """Join values for a message: the first few, and how many more there are.

    >>> listed("abc"), listed("abcde", shown=2)
    ('a, b, c', 'a, b and 3 more')
    """
    texts = [str(value) for value in values]
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends without an error.

    Readers see the old file or the whole new one; an interrupted writer leaves the old one as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")  # keeps the suffix: savefig reads it
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_pointer(path: Path) -> None:
    """Raise SerError if a file is what Git LFS leaves in its place until it is downloaded."""
    with path.open("rb") as file:
        if file.read(24) == b"version https://git-lfs.":
            raise SerError(f"{path} is a Git LFS pointer instead of the file itself: run `git lfs pull`.")


def digest(*parts: str | bytes | Path) -> str:
    """Short content hash of texts, bytes and files, in order."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                part = hashlib.file_digest(file, "blake2b").digest()
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()
