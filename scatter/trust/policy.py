"""What signers may do: the policy file.

    admins = ["ann@*"]          # who may sign a reset; default: whoever keeps all rules at once
    threshold = 1               # how many different signers a release needs
    revoked_code = "keep"       # or "drop": code that runs, of a key that was revoked since
    replaced_log = "refuse"     # or "follow": a log that lost releases is followed all the same
    stale_after = "30d"         # a log without a release for so long is reported

    [[rule]]
    functions = ["payments:*"]
    signers = ["ann@example.org", "bob@example.org"]
    threshold = 2

Every rule that names a function must be kept by each release that changes it. Not here: whose keys
are trusted at all (`allowed_signers`), reading the file safely (`files`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scatter.errors import Untrusted
from scatter.trust.patterns import fits

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_KEYS = ("admins", "threshold", "revoked_code", "replaced_log", "stale_after", "rule")
_RULE_KEYS = ("functions", "signers", "threshold")
_COSIGN = (
    "Make a proposal of it with `--propose FILE` (as in `scatter push --propose FILE`); the others "
    "look at it and sign with `scatter sign FILE`; then `scatter publish FILE` releases it."
)
_AT_ONCE = (
    "A reset is signed by all at once: name their keys in SCATTER_SIGNING_KEY_FILE, with `:`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """Somebody who signed a release, and may sign for its namespace.

    Attributes:
        principals: Names, as the trusted files have them.
        fingerprint: Of the key.

    """

    principals: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a release of certain functions needs.

    Attributes:
        functions: Patterns of full names.
        signers: Patterns of principals that count.
        threshold: How many different ones of them must have signed.

    """

    functions: tuple[str, ...] = ("*",)
    signers: tuple[str, ...] = ("*",)
    threshold: int = 1

    def concerns(self, function: str) -> bool:
        """Return whether the rule is about a function."""
        return any(fits(function, pattern) for pattern in self.functions)

    def refusal(self, what: str, signatories: Sequence[Signatory], hint: str) -> Untrusted | None:
        """Return why these signatures are not enough; None if they are.

        Args:
            what: What is released, to begin a sentence with.
            signatories: Who signed it.
            hint: How more people sign it.

        """
        counting = [s for s in signatories if _is_one_of(s, self.signers)]
        missing = self.threshold - _different(counting)
        if missing <= 0:
            return None
        signed = ", ".join(sorted({n for s in signatories for n in s.principals})) or "nobody"
        wanted = ", ".join(self.signers)
        if self.threshold == 1:
            return Untrusted(
                "not-permitted",
                f"{what} may be released by {wanted}; it was signed by {signed}.",
                hint="Have one of them release it, or change the policy file of those who run it.",
            )
        others = [p for p in self.signers if not any(_is_one_of(s, (p,)) for s in counting)]
        return Untrusted(
            "too-few-signatures",
            f"{what} needs signatures of {self.threshold} different signers of {wanted}; it was "
            f"signed by {signed}. {missing} more {'is' if missing == 1 else 'are'} missing"
            f"{', of ' * bool(others)}{', '.join(others)}.",
            hint=hint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a policy file says.

    Attributes:
        admins: Patterns of principals who may sign a reset, whatever the rules say; None: whoever
            keeps all rules at once.
        threshold: How many different signers each release needs.
        revoked_code: What becomes of code whose key was revoked since.
        replaced_log: Whether a log that was replaced is followed.
        stale_after_s: Seconds without a release after which a log is stale; 0: never.
        rules: What certain functions need.

    """

    admins: tuple[str, ...] | None = None
    threshold: int = 1
    revoked_code: Literal["keep", "drop"] = "keep"
    replaced_log: Literal["refuse", "follow"] = "refuse"
    stale_after_s: float = 0
    rules: tuple[Rule, ...] = ()

    def check(
        self, functions: Collection[str], signatories: Sequence[Signatory], *, is_reset: bool
    ) -> None:
        """Return if a release may change these functions.

        Args:
            functions: Those that it changes.
            signatories: Who signed it.
            is_reset: It begins the log anew.

        Raises:
            Untrusted: `not-permitted` or `too-few-signatures`.

        """
        for refusal in self.refusals(functions, signatories, is_reset=is_reset):
            raise refusal

    def refusals(
        self, functions: Collection[str], signatories: Sequence[Signatory], *, is_reset: bool
    ) -> Iterator[Untrusted]:
        """Yield all that speaks against a release; arguments as for `check`."""
        if is_reset:
            what = "A reset of the log"
            who = Rule(signers=self.admins or ("*",), threshold=self.threshold)
            rules = (who, *self.rules) if self.admins is None else (who,)
            found = [rule.refusal(what, signatories, _AT_ONCE) for rule in rules]
        else:
            every = Rule(threshold=self.threshold).refusal("Every release", signatories, _COSIGN)
            found = [every if self.threshold > 1 else None]
            found += [
                rule.refusal(f"`{function}`", signatories, _COSIGN)
                for rule in self.rules
                for function in functions
                if rule.concerns(function)
            ]
        yield from (refusal for refusal in found if refusal is not None)


EVERYBODY = Policy()


def parse(text: str, file: str) -> Policy:
    """Return the policy in a file.

    Raises:
        Untrusted: `bad-trust-file`: it says something else than a policy may say.

    """
    try:
        table = tomllib.loads(text)
        _check_keys(table, _KEYS, "a policy")
        return Policy(
            admins=_patterns(table, "admins") if "admins" in table else None,
            threshold=_threshold(table),
            revoked_code=_one_of(table, "revoked_code", ("keep", "drop")),
            replaced_log=_one_of(table, "replaced_log", ("refuse", "follow")),
            stale_after_s=_seconds(table.get("stale_after", "0s")),
            rules=tuple(_rule(rule) for rule in _tables(table, "rule")),
        )
    except ValueError as error:
        raise Untrusted(
            "bad-trust-file",
            f"{file} is no policy: {error}.",
            hint="Correct it: docs/how-to/trust.md.",
        ) from error


def _rule(table: dict[str, Any]) -> Rule:
    _check_keys(table, _RULE_KEYS, "a rule")
    return Rule(
        functions=_patterns(table, "functions"),
        signers=_patterns(table, "signers"),
        threshold=_threshold(table),
    )


def _check_keys(table: dict[str, Any], known: Iterable[str], what: str) -> None:
    unknown = sorted(table.keys() - set(known))
    if unknown:
        raise ValueError(f"{what} has no {unknown[0]!r}; it may have {', '.join(known)}")


def _patterns(table: dict[str, Any], name: str) -> tuple[str, ...]:
    found = table.get(name, ["*"])
    if not isinstance(found, list) or not found or not all(isinstance(p, str) for p in found):
        raise ValueError(f"{name}: expected a list of patterns, found {found!r}")
    return tuple(found)


def _threshold(table: dict[str, Any]) -> int:
    found = table.get("threshold", 1)
    if type(found) is not int or found < 1:
        raise ValueError(f"threshold: expected a number from 1, found {found!r}")
    return found


def _one_of(table: dict[str, Any], name: str, values: tuple[str, str]) -> Any:
    found = table.get(name, values[0])
    if found not in values:
        raise ValueError(f"{name}: expected {values[0]!r} or {values[1]!r}, found {found!r}")
    return found


def _tables(table: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name}: expected [[{name}]] tables, found {found!r}")
    return found


def _seconds(text: object) -> float:
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"stale_after: expected a time such as '12h' or '30d', found {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def _different(signatories: Iterable[Signatory]) -> int:
    """Return how many different people signed: neither two keys of one nor two names of a key."""
    found = list(signatories)
    people = {signatory.principals for signatory in found}
    return min(len({signatory.fingerprint for signatory in found}), len(people))


def _is_one_of(signatory: Signatory, patterns: Sequence[str]) -> bool:
    return any(fits(name, pattern) for name in signatory.principals for pattern in patterns)
