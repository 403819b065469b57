"""The working tree as scatter sees it: files, the tracked functions in them, and what changed.

Not here: waiting for files to change (`scatter.watch`), pushing (`scatter.releases`).

Invariants
1. Nothing of the project is ever imported or run: files are read and parsed.
2. What is compared is content, never events: any save that ends in the same text is no change.
3. A file whose size, times and inode stand still is not read again.
4. A save that may be half-written is believed only when it has settled (`scatter.workspace.doubt`).
"""

from scatter.workspace.changes import Changed, Changes, Note, Problem, Vanished
from scatter.workspace.compare import count_lines, diff_lines, same_bundle
from scatter.workspace.explain import Explanation, Piece
from scatter.workspace.head import AtHead, Live, compare_with_head, top_of
from scatter.workspace.patch import Patch, make_patch
from scatter.workspace.strangers import Stranger
from scatter.workspace.workspace import SETTLE_S, Workspace

__all__ = [
    "SETTLE_S",
    "AtHead",
    "Changed",
    "Changes",
    "Explanation",
    "Live",
    "Note",
    "Patch",
    "Piece",
    "Problem",
    "Stranger",
    "Vanished",
    "Workspace",
    "compare_with_head",
    "count_lines",
    "diff_lines",
    "make_patch",
    "same_bundle",
    "top_of",
]
