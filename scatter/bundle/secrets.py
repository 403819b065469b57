"""Finds what looks like a credential in that which is about to be shipped.

`looks_secret` judges captured values and is strict: whoever means to ship one says so.
`secrets_in` judges source, where most texts are harmless: it tells of a text that has the form of a
known kind of credential, or that stands under a credential's name and does not read as words.

Not here: what to do about it, and whether a finding is meant (the caller asks).

Invariants
1. No text that may be a credential is returned, logged, or part of an error: only what it is, by
   its form or its name, and its line.
2. Both are guesses, made from the text alone: no file, clock or network.
3. A harmless text that is told of costs trust, so texts that say themselves that they are none
   (`changeme`, `<token>`, `AKIA…EXAMPLE`) are left out, whatever their form.

Cannot be told from harmless, and therefore not found: hex digests, UUIDs and numbers under a name
that says nothing; passwords that are one plain word, or words with spaces; anything put together at
run time.
"""

from __future__ import annotations

import re

_LEAST = 6

# Names -----------------------------------------------------------------------------------------

_ANY_NAME = re.compile(r"pass(word|wd)?|secret|token|api_?key|credential|private_?key", re.I)
"""For captured values: the word may stand anywhere."""

_PASSWORD = r"[a-z]*pass(?:word|wd|phrase|code)|(?:[a-z]+_)?(?:pass|pwd|pw)|[a-z]+pwd"
_KEY = r"(?:api|private|secret|access|auth|account|encryption|signing|master|shared|license)_?key"
_TOKEN = rf"[a-z]*(?:secret|token|credential)|{_KEY}|auth|authorization|jwt|bearer"
_QUALIFIER = r"(?:_(?:prod|production|staging|dev|default|value|old|new|base|\d+))"
_NAMED = re.compile(rf"(?:^|_)(?:(?P<password>{_PASSWORD})|{_TOKEN})s?\d*{_QUALIFIER}*$")
"""For source: the word ends the name, as in `db_password`, and not in `token_type`."""

_WORD_STARTS = re.compile(r"(?<=[a-z\d])(?=[A-Z])|[^A-Za-z\d]+")
_SHOWN = re.compile(r"[A-Za-z_][\w.-]{0,39}")

# Forms -----------------------------------------------------------------------------------------

_FORMS = {
    "an AWS access key id": r"A[KS]IA[A-Z\d]{16}(?![A-Za-z\d])",
    "a GitHub token": r"(?:gh[opsur]_[A-Za-z\d]{16,}|github_pat_\w{16,})",
    "a GitLab token": r"glpat-[\w-]{20,}",
    "a Slack token": r"xox[abeoprs]-[A-Za-z\d-]{10,}",
    "a Stripe key": r"[rs]k_live_[A-Za-z\d]{10,}",
    "an API key": r"sk-[\w-]{20,}",
    "a Google API key": r"AIza[\w-]{35}(?![\w-])",
    "a JSON web token": r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    "a private key": (
        r"-----BEGIN (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\"'\\brn()+,#]|Proc-Type:[^\n]*|DEK-Info:[^\n]*)*[A-Za-z\d+/=]{16,}"
    ),
    "a password in a URL": r"[a-z][a-z\d+.-]*://[^\s\"'/:@?#]*:(?P<password>[^\s\"'/@]+)@",
}
