"""Plain English in docstrings and comments, and a glossary with one line per term."""

import ast
import io
import json
import re
import tokenize

import pytest
from conftest import REPOSITORY
from small import NOTEBOOKS

#: Rooms whose docstrings and comments are checked; add a room once it is clean.
ROOMS = (
    "corpora", "encoders", "features", "models", "evaluation", "analysis", "plots", "pretraining", "recognizer", "pipeline",
)  # fmt: skip

#: "a row a clip" means "one row per clip". Words that start another kind of phrase ("one or a few") are no nouns.
NO_NOUN = "and|as|at|by|for|from|has|if|in|into|is|nor|of|on|or|so|than|that|to|was|when|where|which|with|without"
DISTRIBUTIVE = rf"\b(?:an?|one|each) (?!(?:{NO_NOUN})\b)[\w-]+ an? (?!(?:few|lot|little|second|third)\b)[a-z]+"

#: Words that this project once used in place of the usual term, and the usual term.
HOUSE_TERMS = {
    r"(?<!standard )\bdeviations?\b": "standard deviation",
    r"\bpasses over\b|\b\d+ passes\b": "epochs",
    r"\bheld[- ]out\b": "validation or test",
    r"\bhonest(ly)?\b": "calibrated, correct",
    r"\bopinions?\b(?! pool)": "prediction",
    r"\bshrugs?\b": "has low confidence",
    r"\bgood deal\b": "much",
    r"\btaken for\b": "confused with",
    r"\btold apart\b": "significantly different",
    r"\bthe more, the (less|more)\b": "more strongly for ...",
    r"\bby heart\b": "memorised",
    r"\bwitness(es)?\b": "(leave the metaphor out)",
    r"\blearned values\b": "parameters",
    r"\bfool oneself\b": "mistake",
    r"\bflattering\b": "optimistic",
    r"\bfigures? (that )?tells?\b": "shows",
    r"\bgoes with\b": "is associated with",
    r"\bclearness\b": "HNR",
    r"\broughness\b": "jitter",
    r"\bverdicts?\b": "prediction",
    r"\bbuys?\b": "inflates the score by, gains",
    r"\bdealt\b": "assigned",
    r"\bstrangers?\b": "unseen speaker",
    r"\bmade up its mind\b": "predicted",
    r"\bwatched\b": "validation",
    r"\bpieces?\b": "segment",
    r"\brivals?\b": "baseline",
    r"\bjudge[sd]?\b": "predicted, tested",
    r"\bfavourites?\b": "most probable, predicted too often",
    r"\btravels?\b": "transfers",
    r"\bsurvives?\b": "leaves the predictions as they are",
    r"\baway from home\b": "on another corpus",
    r"\b(networks?|encoders?|systems?) (that )?(have |has |never |had )*(hears?|heard|understands?|knows?)\b": "was trained on",
}
#: Terms that are right in the package's own texts, such as a piece of an array, and not in lessons.
ONLY_IN_LESSONS = {r"\bverdicts?\b", r"\bbuys?\b", r"\bdealt\b", r"\bstrangers?\b", r"\bwatched\b", r"\bpieces?\b",
                   r"\brivals?\b", r"\bjudge[sd]?\b", r"\bmade up its mind\b", r"\btravels?\b"}  # fmt: skip
SOURCES = sorted(path for room in ROOMS for path in (REPOSITORY / "ser_utils" / room).rglob("*.py"))
TERM = re.compile(r"- \*\*[^*]+\*\*: \S.*\.")


def prose(source: str) -> str:
    """Docstrings and comments of a file, white space collapsed so that phrases are found across line ends."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, nodes)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("#: ") for token in tokens if token.type == tokenize.COMMENT]
    return re.sub(r"\s+", " ", " ".join([*texts, "|", *comments]))


def lesson(path) -> str:
    """What a reader of a notebook reads: text cells without code, and the strings and comments of code cells."""
    texts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            texts.append(re.sub(r"```.*?```|`[^`]*`|<[^>]+>", " ", source, flags=re.S))
            continue
        strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
        texts += [value for value in strings if isinstance(value, str) and " " in value.strip()]
        texts.append(prose(source))
    return re.sub(r"\s+", " ", " | ".join(texts))


def found(text: str, but: set[str] = ONLY_IN_LESSONS) -> list[str]:
    """Phrases in a text that should be written in another way, each with what is wrong; patterns `but` are left out."""
    phrases = [f"'{match[0]}': write 'per'" for match in re.finditer(DISTRIBUTIVE, text, re.I)]
    for pattern, better in HOUSE_TERMS.items():
        if pattern in but:
            continue
        phrases += [f"'{match[0]}': write '{better}'" for match in re.finditer(pattern, text, re.I)]
    return phrases


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_docstrings_and_comments_use_the_usual_terms(path):
    assert not found(prose(path.read_text(encoding="utf-8")))


SOLUTIONS = sorted((NOTEBOOKS[0].parent / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_lessons_use_the_usual_terms(path):
    assert not found(lesson(path), but=set())


@pytest.mark.parametrize(
    "phrase", ["A row a clip", "one clip an emotion", "a network a\n    seed", "its deviation", "what was held out"]
)
def test_a_phrase_of_the_old_kind_is_found(phrase):
    assert len(found(prose(f'"""Text.\n\n{phrase}."""\n'))) == 1
    assert len(found(prose(f"x = 1  # {' '.join(phrase.split())}\n"))) == 1


@pytest.mark.parametrize("phrase", ["one or a few", "one row per clip", "the standard deviation", "a mistake or an attack"])
def test_plain_phrases_pass(phrase):
    assert not found(phrase)


def test_the_glossary_has_one_line_per_term_in_alphabetical_order():
    lines = (REPOSITORY / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines[3:] if line]
    assert len(entries) > 60 and not [line for line in entries if not TERM.fullmatch(line)]
    terms = [line.split("**")[1].casefold() for line in entries]
    assert terms == sorted(terms) and len(set(terms)) == len(terms)
