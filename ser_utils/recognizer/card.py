"""What a recognizer's scores mean, and its model card."""

from pathlib import Path

import jinja2

_TEMPLATE = Path(__file__).resolve().parent / "templates" / "card.md.j2"

#: Printed with every prediction.
MEANING = (
    "A score says which of the actors' portrayals in the training corpus a voice resembles, not what a person feels. It is "
    "tied to that corpus's language, speakers and recording room. Not for use on people without their consent."
)


def model_card(config: dict) -> str:
    """The README of a recognizer's folder, with front matter for the Hugging Face hub, from its `config.json`."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["percent"] = lambda fraction: "–" if fraction is None else f"{fraction:.0%}"
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(config, meaning=MEANING)
