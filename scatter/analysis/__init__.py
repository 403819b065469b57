"""Static reading of Python source: what a module defines, and what each definition needs.

Not here: files, imports, running anything. Text goes in, frozen values come out.

Invariants
1. Nothing is imported, executed or unpickled: a watcher may analyse any text it is given.
2. Two texts are compared by syntax tree, and only on the Python that is running: trees differ
   between Pythons, so nothing derived from them is stored or hashed.
"""

from scatter.analysis.classes import same_class
from scatter.analysis.module import ModuleSource
from scatter.analysis.records import Definition, FunctionSource, SourceError, Target
from scatter.analysis.same import same_code, tree_text

__all__ = [
    "Definition",
    "FunctionSource",
    "ModuleSource",
    "SourceError",
    "Target",
    "same_class",
    "same_code",
    "tree_text",
]
