"""Mutants of signatures, trusted files and messages: what is accepted here, OpenSSH accepts too.

OpenSSH is asked about every mutant that is accepted here, and about a sample of the others, so that
the test would notice if hardly anything were accepted.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from openssh import PURPOSE, OpenSSH, Token, public

from scatter.errors import Untrusted
from scatter.trust import private, sshsig, wire
from scatter.trust.allowed_signers import parse

AT = 1_800_000_000
STAMP = datetime.fromtimestamp(AT, UTC).strftime("%Y%m%d%H%M%SZ")
WHO = "ann@example.org"


@dataclass(frozen=True)
class Case:
    """What a verifier is given."""

    signature: bytes
    signers: str
    message: bytes = b"one release"
    who: str = WHO
    purpose: str = PURPOSE

    def ours(self) -> bool:
        """Return whether it is accepted here."""
        try:
            signature = sshsig.read(self.signature)
            signed = parse(self.signers, "signers").find(signature.key, self.purpose, AT)
            signature.verify(self.message, self.purpose)
        except Untrusted:
            return False
        return signed.speaks_for(self.who)

    def theirs(self, ssh: OpenSSH) -> bool:
        """Return whether `ssh-keygen -Y verify` accepts it."""
        return ssh.verifies(
            *(self.signature, self.message, self.signers, "-O", f"verify-time={STAMP}"),
            who=self.who,
            purpose=self.purpose,
        )


def seeds(ssh: OpenSSH) -> list[Case]:
    """Return cases that are accepted: a key, a token, a certificate; options of each kind."""
    key, ca, token = ssh.key("ann"), ssh.key("ca"), Token()
    certificate = ssh.certify(key, ca, "-V", "20200101Z:20400101Z", names=f"bob,{WHO}")
    data = sshsig.signed_bytes(b"one release", PURPOSE)
    raw = private.read(key).sign(data)
    sha256 = private.read(key).sign(sshsig.signed_bytes(b"one release", PURPOSE, "sha256"))
    lines = [public(key).line(), token.key.line(), public(ca).line()]
    plain, touched, certified = (
        sshsig.write(public(key), PURPOSE, raw),
        sshsig.write(token.key, PURPOSE, token.sign(data, flags=5)),
        sshsig.write(certificate, PURPOSE, raw),
    )
    other = f"bob,eve {Token().key.line()}\n"
    return [
        Case(plain, f"{WHO} {lines[0]}\n"),
        Case(sshsig.write(public(key), PURPOSE, sha256, "sha256"), f"{other}{WHO} {lines[0]}\n"),
        Case(plain, f'*@example.org,!eve@* namespaces="scatter-release-v1:*" {lines[0]}\n'),
        Case(
            plain,
            f'{WHO} valid-after="2020",valid-before="20400101" {lines[0]}\n{other}'.replace(
                '"2020"', '"20200101Z"'
            ),
        ),
        Case(touched, f'# keys\n\n{other}"{WHO}" namespaces="git,{PURPOSE}" {lines[1]}\n'),
        Case(certified, f'*@example.org cert-authority,namespaces="*" {lines[2]}\n'),
        Case(certified, f'{other}*,!bob cert-authority,valid-before="20400101Z" {lines[2]} ca\n'),
    ]


# mutations -------------------------------------------------------------------------------

Mutation = Callable[[random.Random, Case, list[Case]], Case]
PIECES = [
    *('"', ",", " ", "\t", "\r", "\n", "!", "*", "?", "#", "=", "\\", '\\"', "a", "0", "Z", "é"),
    *("cert-authority", "cert-authority,", 'namespaces="*"', 'namespaces="git"', "namespaces=*"),
    *('valid-after="20200101Z"', 'valid-before="20400101"', 'valid-before="20200101"', ' ""'),
    *('"a b"', "ann@example.org", "ann@example.org,", "\n#", "no-touch-required", "ssh-ed25519"),
]


def bit(rng: random.Random, case: Case, _: list[Case]) -> Case:
    data = bytearray(case.signature)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return replace(case, signature=bytes(data))


def splice(rng: random.Random, case: Case, cases: list[Case]) -> Case:
    """Put a piece of one signature into another."""
    data, other = case.signature, rng.choice(cases).signature
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    size = rng.choice([0, end - at, rng.randrange(40)])
    begin = rng.randrange(len(other))
    return replace(case, signature=data[:at] + other[begin : begin + size] + data[end:])


def fields(rng: random.Random, case: Case, cases: list[Case]) -> Case:
    """Swap whole fields of two signatures, change the reserved one, or repeat one."""
    both = []
    for one in (case, rng.choice(cases)):
        reader = wire.Reader(one.signature)
        reader.take(10)
        both.append([reader.string() for _ in range(5)])
    mine, other = both
    at = rng.randrange(5)
    mine[at] = rng.choice([other[at], mine[at], mine[rng.randrange(5)], b"", mine[at] + b"\0"])
    mine[2] = rng.choice([b"", b"x", mine[4]])
    version = rng.choice([1, 1, 1, 1, 0, 2])
    data = b"SSHSIG" + wire.u32(version) + b"".join(map(wire.string, mine))
    return replace(case, signature=data)


def inner(rng: random.Random, case: Case, _: list[Case]) -> Case:
    """Change the signature's own fields: another number, or bytes more."""
    signature = sshsig.read(case.signature)
    raw = bytearray(signature.raw)
    at = rng.randrange(len(raw))
    raw[at] = rng.randrange(256)
    raw += bytes(rng.choice([0, 0, 1]))
    return replace(
        case,
        signature=sshsig.write(signature.key, case.purpose, bytes(raw), signature.hash),
    )


def text(rng: random.Random, case: Case, _: list[Case]) -> Case:
    """Put something into the trusted file, or take something out of it."""
    signers = case.signers
    words = [at for at, c in enumerate(signers) if c in ' ",\n'] or [0]
    at = rng.choice([rng.choice(words), rng.choice(words) + 1, rng.randrange(len(signers))])
    cut = rng.choice([0, 0, 0, 1, 1, rng.randrange(20)])
    return replace(case, signers=signers[:at] + rng.choice(PIECES) + signers[at + cut :])


def blanks(rng: random.Random, case: Case, _: list[Case]) -> Case:
    """Change blanks and comments, which mostly mean nothing."""
    words = case.signers.split(" ")
    at = rng.randrange(len(words))
    words[at] += rng.choice([" ", "\t", "  ", "\r"])
    return replace(case, signers=" ".join(words) + rng.choice(["", "\n", "# x\n", " more", "\n\n"]))


def lines(rng: random.Random, case: Case, cases: list[Case]) -> Case:
    """Mix the lines of two files."""
    mixed = (case.signers + rng.choice(cases).signers).split("\n")
    rng.shuffle(mixed)
    return replace(case, signers="\n".join(mixed[: rng.randrange(1, 6)]) + "\n")


def asked(rng: random.Random, case: Case, _: list[Case]) -> Case:
    """Ask for somebody else, for another purpose, about another message."""
    message = rng.choice([case.message, case.message + b" ", b"", case.message[1:]])
    who = rng.choice([WHO, WHO, "bob", "eve@example.org", "*", "a", "é", f"{WHO},bob", WHO.upper()])
    purpose = rng.choice([PURPOSE, PURPOSE, "git", f"{PURPOSE}s", PURPOSE.upper(), "*"])
    return replace(case, message=message, who=who, purpose=purpose)


MUTATIONS: list[Mutation] = [bit, splice, fields, inner, text, text, text, blanks, lines, asked]


def run(ssh: OpenSSH, count: int, seed: int) -> None:
    rng, cases = random.Random(seed), seeds(ssh)
    for case in cases:
        assert case.ours()
        assert case.theirs(ssh)
    accepted, asked_about, agreed = 0, 0, 0
    for _ in range(count):
        case = rng.choice(cases)
        for mutation in rng.choices(MUTATIONS, k=rng.choice([1, 1, 1, 2, 3])):
            try:
                case = mutation(rng, case, cases)
            except (Untrusted, ValueError, IndexError):
                continue  # an earlier mutation left nothing to change
        if case.ours():
            accepted += 1
            assert case.theirs(ssh), case
        elif rng.random() < 0.1:
            asked_about += 1
            agreed += not case.theirs(ssh)
    assert accepted > count / 20, "hardly any mutant is accepted: nothing was compared"
    assert agreed > asked_about * 0.7, "much is refused here that OpenSSH accepts"


def test_no_mutant_is_accepted_that_openssh_refuses(ssh: OpenSSH) -> None:
    run(ssh, 500, seed=5)


SEEDS = int(os.environ.get("SCATTER_TEST_SEEDS", "8"))
"""More for a night: `SCATTER_TEST_SEEDS=40 python dev.py test -m slow tests/trust`."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_mutant_of_thousands_is_accepted_that_openssh_refuses(ssh: OpenSSH, seed: int) -> None:
    run(ssh, 1000, seed=100 + seed)
