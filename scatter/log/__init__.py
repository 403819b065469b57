"""The log of releases: statements and their bytes, the hash chain, the state it adds up to.

`statement` and `envelope` are the bytes of one release, `ledger` is the pure fold over them, with
`states` and `snapshot`; `leases` says when temporary versions are over here, and
`journal` is the one that reads (`reading`) and appends through a store; `opening` makes one of the
settings.
"""

from scatter.log.journal import Draft, Journal
from scatter.log.leases import Leases
from scatter.log.ledger import Ledger
from scatter.log.opening import LazySigner, open_journal

__all__ = ["Draft", "Journal", "LazySigner", "Leases", "Ledger", "open_journal"]
