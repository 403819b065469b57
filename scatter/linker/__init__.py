"""The linker: binds a version to this process's live modules. Code travels, state stays.

`home` is where a version is bound, `decide` says name by name what travels and what is used live,
`assemble` turns that into code, `link` does the whole. This package and the bundle's capture are
the only places that may compile, execute or unpickle, and they do so only after the caller has
checked where the bytes came from.

Invariants
1. Nothing in the process differs after a link that failed, and after one that succeeded only by
   state that was missing and was created empty.
2. Every version is bound to the deployed source, never to the version before, so that any order
   of versions gives the same result.
"""

from scatter.linker.home import Functions, Home
from scatter.linker.link import link, shell

__all__ = ["Functions", "Home", "link", "shell"]
