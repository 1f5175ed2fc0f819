"""The notebooks' workspace, and `ser run`: which notebooks to run, how, and the report of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "execution": ["NotebookFailed"],
        "keys": ["Notebook", "corpus_fingerprint", "fingerprints", "versions"],
        "others": ["further_corpora"],
        "report": ["STORY"],
        "running": ["PROFILES", "parse_parameter", "run"],
        "workspace": ["SCORE_COLUMNS", "Workspace"],
    },
)
