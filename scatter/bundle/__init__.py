"""Bundles: everything that one version of one function needs, as immutable bytes.

`model` is the value, `codec` its bytes, `build` makes one from source (never running anything),
`capture` from a live function of a notebook. Binding one in a process is the linker's work.
"""

from scatter.bundle.codec import MAX_BUNDLE_BYTES, decode, digest_of, encode
from scatter.bundle.model import ALLOWABLE, Bundle, Item, Part

__all__ = [
    "ALLOWABLE",
    "MAX_BUNDLE_BYTES",
    "Bundle",
    "Item",
    "Part",
    "decode",
    "digest_of",
    "encode",
]
