"""The set-up of a fresh machine: pins, the conda file, make's targets."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line) for line in (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines() if line
]


def test_every_requirement_is_pinned_to_one_version_that_the_project_accepts():
    pins = {}
    for requirement in LOCK:
        (pin,) = requirement.specifier
        assert pin.operator == "==" and requirement.url is None
        pins[canonicalize_name(requirement.name)] = pin.version
    wanted = PROJECT["dependencies"] + [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in requirements.lock: run `make lock`"
        assert version in requirement.specifier, f"{requirement} is pinned to {version}: run `make lock`"


def test_the_lock_names_no_index_and_no_host():
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text and not re.search(r"^\s*-", text, re.M), "no options and no addresses"
    assert not (REPOSITORY / "uv.lock").exists()


def test_the_tools_this_environment_has_are_those_of_the_lock():
    from importlib.metadata import version

    pins = {canonicalize_name(r.name): next(iter(r.specifier)).version for r in LOCK}
    for name in ("numpy", "pandas", "torch", "torchaudio", "transformers", "scikit-learn", "papermill"):
        assert version(name).split("+")[0] == pins[name]


def test_conda_users_get_python_pip_and_the_same_lock():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))
    python, pip, through_pip = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}" and pip == "pip"
    assert through_pip == {"pip": ["-r requirements.lock", "-e ."]}


@pytest.fixture
def machine(tmp_path):
    """A checkout's set-up files on a machine whose python, uv and ser only note how they were called."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci" / "run")
    note = f'#!/bin/sh\necho "$(basename "$0") $*" >> "{tmp_path}/calls"\n'
    python = note + (
        f'case "$*" in *"-m venv"*) mkdir -p .venv/bin; for n in python uv ser; do cp "{tmp_path}/tool-$n" .venv/bin/$n; done;; '
        f'*version_info*) exec "{sys.executable}" "$@";; *"-m pytest"*) exit "${{TESTS_EXIT:-0}}";; esac\n'
    )
    for name, text in (("tool-python", python), ("tool-uv", note), ("tool-ser", note), ("python3", python)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def call(*command, **environment):
        (tmp_path / "calls").unlink(missing_ok=True)
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PYTEST"))}
        done = subprocess.run(command, cwd=tmp_path, env={**variables, "PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
                              capture_output=True, text=True)  # fmt: skip
        calls = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
        return done, [line for line in calls if "version_info" not in line]

    call.folder = tmp_path
    return call


def test_the_first_call_installs_the_lock_through_uv_and_later_ones_install_nothing(machine):
    done, calls = machine("make", "reproduce")
    assert done.returncode == 0, done.stderr
    assert [" ".join(c.split()[:3]) for c in calls] == [
        "python3 -m venv", "python -m pip", "uv pip install", "uv pip install", "python -c from", "ser run",
    ]  # fmt: skip
    assert calls[2].endswith("--requirement .venv/requirements.lock") and "--torch-backend" not in calls[2]
    installed = (machine.folder / ".venv" / "requirements.lock").read_text(encoding="utf-8")
    assert installed == (machine.folder / "requirements.lock").read_text(encoding="utf-8")
    assert "--no-deps" in calls[3] and calls[3].endswith("--editable .")
    assert machine("make", "reproduce")[1] == ["ser run"]


def test_changed_pins_are_installed_into_the_same_environment(machine):
    machine("make", "setup")
    lock = machine.folder / "requirements.lock"
    ready = machine.folder / ".venv" / ".ready"
    os.utime(lock, ns=(ready.stat().st_mtime_ns + 10**9,) * 2)
    calls = machine("make", "setup")[1]
    assert any("--requirement .venv/requirements.lock" in call for call in calls)
    assert not any("venv" in call.split()[2:3] for call in calls), "the environment is kept"


def test_torch_without_cuda_is_a_choice_that_later_calls_keep(machine):
    calls = machine("make", "setup", "TORCH=cpu")[1]
    assert any("--torch-backend cpu --requirement .venv/requirements.lock" in call for call in calls)
    assert "python -c import torch; import torchaudio" in calls, "a build that cannot be imported is noticed here"
    installed = (machine.folder / ".venv" / "requirements.lock").read_text(encoding="utf-8").splitlines()
    names = {canonicalize_name(Requirement(line).name) for line in installed}
    left_out = {canonicalize_name(r.name) for r in LOCK} - names
    assert {"torch", "torchaudio"} <= names and {name.split("-")[0] for name in left_out} == {"cuda", "nvidia", "triton"}
    (machine.folder / ".venv" / ".ready").unlink()
    assert any("--torch-backend cpu" in call for call in machine("make", "reproduce")[1])


def test_an_interrupted_installation_is_taken_up_again(machine):
    failing = machine.folder / "tool-uv"
    works = failing.read_text()
    failing.write_text("#!/bin/sh\nexit 1\n")
    assert machine("make", "setup")[0].returncode != 0
    failing.write_text(works)
    shutil.copy(failing, machine.folder / ".venv" / "bin" / "uv")
    done, calls = machine("make", "setup")
    assert done.returncode == 0 and any("--requirement .venv/requirements.lock" in call for call in calls)


def test_an_old_python_is_refused_in_one_line(machine):
    old = machine.folder / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done, calls = machine("make", "test", "PYTHON=python-old")
    assert done.returncode == 2 and "python-old is older than Python 3.11" in done.stderr and calls == []


def test_continuous_integration_runs_the_tests_and_fails_with_them(machine):
    assert os.stat(REPOSITORY / ".ci" / "run").st_mode & stat.S_IXUSR
    done, calls = machine(str(machine.folder / ".ci" / "run"))
    assert done.returncode == 0 and "-m pytest" in calls[-1] and "-m not slow" in calls[-1]
    assert "--max-worker-restart=0" in calls[-1] and "faulthandler_exit_on_timeout" in calls[-1], "a crash or hang ends it"
    assert machine(str(machine.folder / ".ci" / "run"), TESTS_EXIT="1")[0].returncode != 0


def test_make_alone_says_what_there_is(machine):
    done, calls = machine("make")
    assert done.returncode == 0 and calls == []
    for target in ("reproduce", "test", "test-all", "lock", "clean"):
        assert re.search(rf"make {target} ", done.stdout)


def test_products_of_runs_stay_out_of_git():
    ignored = [
        "data/raw/x.wav",
        "data/interim/x",
        "data/processed/demo/clips.parquet",
        "reports/demo/index.html",
        ".venv/x",
    ]
    done = subprocess.run(["git", "check-ignore", *ignored], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == ignored
