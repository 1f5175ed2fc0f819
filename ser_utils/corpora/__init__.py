"""Clips tables: one row per recording, from a corpus by name or from any table; and the cards of the corpora."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "annotations": ["from_annotations"],
        "cards": [
            "Archive", "CORPORA", "TABLE_ENDINGS", "announcement", "card", "default_folder", "is_table", "label",
            "read_cards", "slug",
        ],  # fmt: skip
        "decoding": ["Contents", "HIGHEST_RATE", "LOWEST_RATE", "check_rate", "examine", "survey"],
        "fetching": ["fetch"],
        "parsers": ["audio_files", "sound_files"],
        "resuming": ["ATTEMPTS"],
        "spelling": ["alike_speakers"],
        "table": ["COLUMNS", "draw_quiz", "even_share", "examples", "label_sets", "load", "scored", "thin"],
    },
)
