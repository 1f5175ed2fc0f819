"""Examples in docstrings run, and what a public function takes and raises is said."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ser_utils"


def source(module: str) -> str:
    return (PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("[a-z]*.py")
)
WITH_EXAMPLES = [name for name in MODULES if ">>>" in source(name)]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings_give_what_they_show(module):
    outcome = doctest.testmod(importlib.import_module(f"ser_utils.{module}"))
    assert not outcome.failed


def test_there_are_examples_that_run():
    found = [doctest.DocTestFinder().find(importlib.import_module(f"ser_utils.{name}")) for name in WITH_EXAMPLES]
    examples = [example for tests in found for test in tests for example in test.examples]
    assert sum(not example.options.get(doctest.SKIP) for example in examples) >= 10


def public_functions():
    """Functions and methods without an underscore, as `module.name` and their syntax tree."""
    for name in MODULES:
        body = ast.parse(source(name)).body
        classes = [node for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        for owner in [None, *classes]:
            for node in owner.body if owner else body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield f"{name}.{owner.name + '.' if owner else ''}{node.name}", node


@pytest.mark.parametrize("name, function", list(public_functions()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_public_function_says_what_it_raises(name, function):
    raised = {
        node.exc.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    documented = ast.get_docstring(function) or ""
    for error in raised & {"SerError", "ValueError"}:
        assert error in documented, f"{name} raises {error} and its docstring does not say when"
