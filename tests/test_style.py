"""Style, as the pre-commit hooks check it: what `make test` says and what a commit is refused for is the same."""

import subprocess
import sys

import yaml
from conftest import REPOSITORY

CONFIG = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))


def test_ruff_finds_nothing():
    command = [sys.executable, "-m", "ruff", "check", "ser_utils", "tests", "tools", "notebooks"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_hooks_use_the_environment_of_make_and_fetch_nothing():
    (local,) = CONFIG["repos"]
    assert local["repo"] == "local" and len(local["hooks"]) == 3
    for hook in local["hooks"]:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/")
        tests = [word for word in hook["entry"].split() if word.startswith("tests/")]
        assert all((REPOSITORY / name).is_file() for name in tests)
