"""Every error has one root, an exit code, evidence in attributes, and survives a process border."""

from __future__ import annotations

import concurrent.futures
import copy
import importlib
import multiprocessing
import pickle
import pkgutil
from collections.abc import Iterator

import pytest
import scatter_agent
from scatter_agent.launch import NotStarted

import scatter
from scatter.analysis import SourceError
from scatter.errors import (
    Ambiguous,
    Conflict,
    NameTaken,
    NotFound,
    NotTrackable,
    PartialRelease,
    Refused,
    RolledBack,
    ScatterError,
    StoreRefused,
    StoreUnavailable,
    Untrusted,
    UsageError,
)
from scatter.server import ServerFailed, ServerNotFound
from scatter.workspace.edit import CannotBring

EVIDENCE = {"function": "m:f", "version": 3, "hint": "Do this."}
EXAMPLES: tuple[ScatterError, ...] = (
    ScatterError("something"),
    UsageError("wrong call"),
    NotTrackable("no function"),
    NameTaken("two of them"),
    StoreUnavailable("not there", url="redis://here"),
    StoreRefused("denied"),
    NotFound("Function `f` doesn't exist", name="f", candidates=["m:f", "n:f"]),
    Ambiguous("`f` could be any of: m:f, n:f.", name="f", candidates=["m:f", "n:f"]),
    Conflict("too late", function="m:f", seen=1, live=2, author="bob", time="2026-01-01T00:00Z"),
    RolledBack("held", function="m:f", seen=2, live=1, author="bob", time="2026-01-01T00:00Z"),
    Refused("missing-name", "No `x` here.", **EVIDENCE),  # type: ignore[arg-type]
    Untrusted("bad-bundle", "Not a bundle.", **EVIDENCE),  # type: ignore[arg-type]
    PartialRelease("not everywhere", refusals={"host-1": "missing-import"}),
    ServerNotFound("install one"),
    ServerFailed("did not start"),
    NotStarted("nothing of that name", exit_code=127),
    SourceError("no Python", ("m.py", 3, 5, "def f(:")),
    CannotBring("there is no file for it here"),
)


def _name(error: ScatterError) -> str:
    return type(error).__name__


def evidence(error: BaseException) -> dict[str, object]:
    """Return what a handler can read: class, message, attributes, notes."""
    return {"class": type(error), "text": str(error), "args": error.args, **vars(error)}


def _subclasses(of: type) -> Iterator[type]:
    for one in of.__subclasses__():
        yield one
        yield from _subclasses(one)


def _raise(number: int) -> None:
    raise EXAMPLES[number]


@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
def test_a_pickled_error_keeps_its_class_message_and_evidence(error: ScatterError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert evidence(again) == evidence(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
def test_a_copied_error_keeps_its_class_message_and_evidence(error: ScatterError) -> None:
    assert evidence(copy.copy(error)) == evidence(error)
    assert evidence(copy.deepcopy(error)) == evidence(error)


def test_an_error_in_a_worker_process_reaches_the_caller_as_itself() -> None:
    """An exception that cannot be unpickled breaks the whole pool, for every later task."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for number, error in enumerate(EXAMPLES):
            with pytest.raises(type(error)) as caught:
                pool.submit(_raise, number).result()
            seen = evidence(caught.value)
            seen.pop("__notes__", None)
            assert seen == evidence(error)


def test_a_note_travels_with_a_pickled_error() -> None:
    error = NotFound("Function `scor` doesn't exist", name="scor", candidates=["m:score"])
    error.add_note("Did you mean `m:score`?")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["Did you mean `m:score`?"]


def test_every_error_of_both_packages_has_the_one_root_and_an_example_here() -> None:
    for package in (scatter, scatter_agent):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    ours = {
        one
        for one in _subclasses(BaseException)
        if one.__module__.partition(".")[0] in ("scatter", "scatter_agent")
    }
    public = {one for one in ours if not one.__name__.startswith("_")}
    assert all(issubclass(one, ScatterError) for one in ours)
    assert {one.__name__ for one in public} == {_name(error) for error in EXAMPLES}


@pytest.mark.parametrize(
    ("error", "standard"),
    [
        (UsageError, ValueError),
        (NotTrackable, TypeError),
        (NotTrackable, ValueError),
        (NameTaken, ValueError),
        (StoreUnavailable, ConnectionError),
        (StoreRefused, PermissionError),
        (NotFound, KeyError),
        (Ambiguous, KeyError),
        (Ambiguous, NotFound),
        (Untrusted, Refused),
        (SourceError, SyntaxError),
    ],
)
def test_an_error_is_also_the_standard_one_that_a_user_would_catch(
    error: type[ScatterError], standard: type[Exception]
) -> None:
    assert issubclass(error, standard)
    assert issubclass(error, ScatterError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ScatterError, 1),
        (UsageError, 2),
        (NotTrackable, 2),
        (NameTaken, 2),
        (StoreUnavailable, 3),
        (StoreRefused, 1),
        (NotFound, 1),
        (Ambiguous, 1),
        (Conflict, 5),
        (Refused, 1),
        (Untrusted, 1),
        (PartialRelease, 4),
    ],
)
def test_exit_codes_are_those_that_the_help_promises(error: type[ScatterError], code: int) -> None:
    assert error.exit_code == code


def test_an_unknown_function_shows_its_message_and_not_a_repr_of_it() -> None:
    error = NotFound("Function `sample_task_1` doesn't exist", name="sample_task_1")
    assert str(error) == "Function `sample_task_1` doesn't exist"
    assert error.args == ("Function `sample_task_1` doesn't exist",)


def test_a_refusal_says_what_and_then_what_to_do() -> None:
    error = Refused("missing-name", "No `x` here.", function="m:f", version=3, hint="Define it.")
    assert str(error) == "No `x` here. Define it."
    assert (error.reason, error.detail, error.hint) == (
        "missing-name",
        "No `x` here.",
        "Define it.",
    )
    assert (error.function, error.version) == ("m:f", 3)


def test_a_refusal_without_advice_is_its_message_alone() -> None:
    error = Refused("internal", "It broke.")
    assert str(error) == "It broke."
    assert (error.function, error.version, error.hint) == ("", None, "")


def test_evidence_cannot_be_changed_from_outside() -> None:
    names, refusals = ["m:f"], {"host": "missing-import"}
    unknown = NotFound("no", name="f", candidates=names)
    partial = PartialRelease("half", refusals=refusals)
    names.append("n:f")
    refusals.clear()
    assert unknown.candidates == ("m:f",)
    assert partial.refusals == {"host": "missing-import"}


def test_public_errors_are_the_ones_that_verbs_raise() -> None:
    assert scatter.NotFound is NotFound
    assert scatter.Ambiguous is Ambiguous
    assert scatter.Conflict is Conflict
    assert scatter.Refused is Refused
    assert scatter.ScatterError is ScatterError
    assert scatter.StoreUnavailable is StoreUnavailable
    assert scatter.UsageError is UsageError
