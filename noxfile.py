"""Sessions for other Pythons, the built wheel, and other versions of redis-py: `nox -l`."""

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    session.install("-e", ".[dev]")
    session.run("pytest", *(session.posargs or ["-n", "auto", "-q"]))


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Run the tests against the built wheel, not the working tree."""
    session.install("build")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--wheel", "--outdir", folder, ".", silent=True)
    session.install("scatter[dev] @ file://" + _only_wheel(folder))
    session.run("pytest", "-n", "auto", "-q", "-p", "no:cacheprovider")


@nox.session(python="3.11")
@nox.parametrize("version", ["5.3.0", "8.1.0"])
def redis_ends(session: nox.Session, version: str) -> None:
    """Run the tests with both ends of the supported range of redis-py, without hiredis."""
    session.install("-e", ".[dev]", f"redis=={version}")
    session.run("pip", "uninstall", "-y", "hiredis", silent=True)
    session.run("pytest", "-n", "auto", "-q")


@nox.session(python="3.11")
def vectors(session: nox.Session) -> None:
    """Put Wycheproof's signatures to the trust of keys."""
    session.install("-e", ".[dev,vectors]")
    session.run("pytest", "-m", "slow", "-q", "tests/trust/test_vectors.py")


@nox.session(python="3.11")
def manifests(session: nox.Session) -> None:
    """Put the examples' manifests to the schemas of Kubernetes, 100 MB of them."""
    session.install("-e", ".[dev]", "kubernetes-validate>=1.30")
    session.run("pytest", "-m", "slow", "-q", "tests/test_examples_of_tools.py", "-k", "manifests")


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    session.install("-e", ".[dev]")
    for command in ("ruff check .", "ruff format --check .", "mypy", "pyright", "lint-imports"):
        session.run(*command.split())


def _only_wheel(folder: str) -> str:
    from pathlib import Path

    (found,) = Path(folder).glob("*.whl")
    return str(found.absolute())
