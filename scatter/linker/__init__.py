"""The linker: binds a version to this process's live modules. Code travels, state stays.

`home` is where a version is bound, `decide` says name by name what travels and what is used live,
`assemble` turns that into code, `link` does the whole; `callers` judges a changed signature by who
calls the function. This package and the bundle's capture are
the only places that may compile, execute or unpickle, and they do so only after the caller has
checked where the bytes came from.

Invariants
1. Nothing in the process differs after a link that failed, and after one that succeeded only by
   state that was missing and was created empty.
2. Every version is bound to the deployed source, never to the version before, so that any order
   of versions gives the same result.
"""

from scatter.linker.callers import SIGNATURE_NOTE, Subject, Verdict, judge
from scatter.linker.check import check_caller, check_callers, unknown_callers
from scatter.linker.home import Functions, Home
from scatter.linker.link import link, shell
from scatter.linker.world import Deployed, Span, Version, World

__all__ = [
    "SIGNATURE_NOTE",
    "Deployed",
    "Functions",
    "Home",
    "Span",
    "Subject",
    "Verdict",
    "Version",
    "World",
    "check_caller",
    "check_callers",
    "judge",
    "link",
    "shell",
    "unknown_callers",
]
