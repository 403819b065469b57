"""Trusted signers: the file's format as ssh-keygen reads it, and each refusal by its code.

Everything that is allowed or refused here is put to `ssh-keygen -Y verify` too.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openssh import PURPOSE, OpenSSH, Token, public

from scatter.errors import Untrusted
from scatter.trust import allowed_signers, certificate, keys, private, rsa_ecdsa, sshsig, wire
from scatter.trust.allowed_signers import AllowedSigners, Signed, parse, parse_time
from scatter.trust.certificate import Certificate
from scatter.trust.keys import PublicKey
from scatter.trust.patterns import fits, fits_list
from scatter.trust.revoked import Revoked

AT = 1_800_000_000
"""2027-01-15T08:00:00Z"""
DATE = "20270115080000Z"
LATER, SOONER = "20270115080001Z", "20270115075959Z"


@pytest.fixture(scope="module")
def token() -> Token:
    return Token()


def found(signers: str, token: Token, purpose: str = PURPOSE, at: float = AT) -> str:
    """Return the principals that are found, or the reason of the refusal."""
    try:
        return " ".join(parse(signers, "signers").find(token.key, purpose, at).principals)
    except Untrusted as error:
        return error.reason


LINES = [
    # the line (KEY stands for the key), what is found, who `ssh-keygen -I` asks for
    ("ann KEY", "ann", "ann"),
    ("  ann KEY a comment, with more", "ann", "ann"),
    ("ann\tKEY", "ann", "ann"),
    ("# only a comment\n\nann KEY\r", "ann", "ann"),
    ("ann,bob KEY", "ann bob", "bob"),
    ('"ann" KEY', "ann", "ann"),
    ('"ann b" KEY', "ann b", "ann b"),
    ('an"n b" KEY', "ann b", "ann b"),
    ("*@example.org,!eve@* KEY", "*@example.org", "ann@example.org"),
    ('ann namespaces="scatter-release-v1:shop" KEY', "ann", "ann"),
    ('ann namespaces="scatter-release-v1:*" KEY', "ann", "ann"),
    ('ann namespaces="*" KEY', "ann", "ann"),
    ('ann namespaces="git,scatter-release-v1:sh?p" KEY', "ann", "ann"),
    ('ann NAMESPACES="*" KEY', "ann", "ann"),
    ('ann namespaces="*,!git" KEY', "ann", "ann"),
    (f'ann valid-after="{DATE}" KEY', "ann", "ann"),
    (f'ann valid-before="{DATE}" KEY', "ann", "ann"),
    (f'ann valid-after="20260101",valid-before="{DATE}",namespaces="*" KEY', "ann", "ann"),
    (f'ann valid-after="{SOONER}",valid-before="{LATER}" KEY x', "ann", "ann"),
    ("? KEY", "?", "é"),
    ("?? KEY", "??", "é"),
    ("é,* KEY", "é *", "é"),
    ('ann namespaces="git" KEY', "wrong-purpose", "ann"),
    ('ann namespaces="" KEY', "wrong-purpose", "ann"),
    ('ann namespaces="*,!scatter-*" KEY', "wrong-purpose", "ann"),
    ('ann namespaces="!scatter-release-v1:shop" KEY', "wrong-purpose", "ann"),
    ('ann namespaces="SCATTER-RELEASE-V1:SHOP" KEY', "wrong-purpose", "ann"),
    ('ann namespaces=" scatter-release-v1:shop" KEY', "wrong-purpose", "ann"),
    (f'ann valid-after="{LATER}" KEY', "key-not-yet-valid", "ann"),
    (f'ann valid-before="{SOONER}" KEY', "expired-key", "ann"),
    ('ann valid-before="19991231" KEY', "expired-key", "ann"),
    ("ann cert-authority KEY", "unknown-key", "ann"),
    ("ann OTHER", "unknown-key", "ann"),
    ("", "unknown-key", "ann"),
    ('ann namespaces="git" KEY\nbob KEY', "bob", "bob"),
    ("ann KEY\nbob KEY", "ann bob", "bob"),
    ('ann namespaces="git" KEY\nbob KEY', "bob", "ann"),
]


@pytest.mark.parametrize(("line", "expected", "who"), LINES, ids=range(len(LINES)))
def test_a_line_allows_what_it_allows_for_ssh_keygen(
    ssh: OpenSSH, token: Token, line: str, expected: str, who: str
) -> None:
    line = line.replace("KEY", token.key.line()).replace("OTHER", Token().key.line())
    theirs = ssh.verifies(
        token.sshsig(b"m"), b"m", f"{line}\n", "-O", f"verify-time={DATE}", who=who
    )

    assert found(line, token) == expected
    try:
        ours = parse(line, "signers").find(token.key, PURPOSE, AT).speaks_for(who)
    except Untrusted:
        ours = False
    assert ours == theirs


FOUND = [(line, who) for line, _, who in LINES if "\n" not in line and '"ann b"' not in line]


@pytest.mark.parametrize(("line", "who"), FOUND, ids=range(len(FOUND)))
def test_a_key_is_found_for_whom_find_principals_finds_it(
    ssh: OpenSSH, token: Token, line: str, who: str
) -> None:
    """Namespaces are left out: `find-principals` looks at none."""
    line = line.replace("KEY", token.key.line()).replace("OTHER", Token().key.line())
    bare = re.sub(r'namespaces="[^"]*",?', "", line, flags=re.I).replace(", ", " ")
    (ssh.folder / "signers").write_text(f"{bare}\n")
    (ssh.folder / "sig").write_text(sshsig.armor(token.sshsig(b"m")))
    printed = ssh.run(
        *("ssh-keygen", "-Y", "find-principals", "-f", "signers", "-s", "sig"),
        *("-O", f"verify-time={DATE}"),
        code=None,
    )
    try:
        signed = parse(bare, "signers").find(token.key, PURPOSE, AT)
    except Untrusted:
        assert "No principal matched." in printed
    else:
        assert signed.line.principals in printed.replace("\n", ",")


WRONG = [
    ("ann", "expected a key"),
    ("ann namespaces=git KEY", "unknown option"),
    ('ann namespaces="git KEY', "has no end"),
    ('"ann KEY', "has no end"),
    (",,, KEY", "expected principals"),
    ('ann namespaces="a",namespaces="b" KEY', "twice"),
    ("ann cert-authority, KEY", "comma"),
    ("ann cert-authority,,cert-authority KEY", "unknown option"),
    ('ann cert-authority="x" KEY', "unknown option"),
    ("ann namespaces KEY", "unknown option"),
    ("ann no-touch-required KEY", "unknown option"),
    ('ann valid-after="tomorrow" KEY', "expected a time"),
    ('ann valid-after="20270230" KEY', "day"),
    ('ann valid-after="20270101Z0" KEY', "expected a time"),
    ('ann valid-after="2027010112" KEY', "expected a time"),
    ('ann valid-after="19690101" KEY', "after 1970"),
    ('ann valid-after="20270101",valid-before="20270101" KEY', "not after"),
    ("ann ssh-ed25519 AAAA", "expected"),
    ("ann ssh-ed25519", "expected"),
    ("ann ssh-foo AAAA", "unknown option"),
    ("ann KEYx", "base64"),
    ("ann\0 KEY", "NUL"),
    ("ann ssh-ed25519\r KEY", "carriage return"),
    ('ann namespaces="*" \rKEY', "carriage return"),
    ("\rann KEY", "carriage return"),
    ("ann\vKEY", "expected a key"),
    ("ann\u00a0KEY", "expected a key"),
]


@pytest.mark.parametrize(("line", "message"), WRONG, ids=range(len(WRONG)))
def test_a_line_that_cannot_be_read_is_an_error_that_names_it(
    ssh: OpenSSH, token: Token, line: str, message: str
) -> None:
    bare = token.key.line().removesuffix(" token")
    line = line.replace("KEY", bare)
    with pytest.raises(Untrusted, match=rf"^/etc/signers:2: .*{message}") as caught:
        parse(f"# trusted\n{line}\nbob {bare}\n", "/etc/signers")

    assert caught.value.reason == "bad-trust-file"
    if "\0" not in line:  # OpenSSH stops reading there
        assert not ssh.verifies(token.sshsig(b"m"), b"m", f"{line}\n", who="ann")


def test_a_certificate_is_no_key_of_a_line(ssh: OpenSSH) -> None:
    signed = ssh.certify(ssh.key("ann"), ssh.key("ca"))
    with pytest.raises(Untrusted, match="found a certificate"):
        parse(f"ann {signed.line()}", "signers")


def test_keys_of_other_kinds_may_be_in_the_file_and_allow_nothing(
    ssh: OpenSSH, token: Token
) -> None:
    lines = "".join(f"x {public(ssh.key(kind, kind)).line()}\n" for kind in ("rsa", "ecdsa"))
    signers = parse(f"{lines}ann {token.key.line()}", "signers")

    assert signers.find(token.key, PURPOSE, AT).line.number == 3
    assert str(signers.lines[2]) == "signers:3"
    assert repr(signers) == "AllowedSigners(3 lines)"


def test_a_refusal_says_what_to_run(token: Token) -> None:
    with pytest.raises(Untrusted) as caught:
        AllowedSigners().find(token.key, PURPOSE, AT)

    assert token.key.fingerprint in caught.value.detail
    assert f"scatter keys trust '{token.key.line()}'" in str(caught.value)


TIMES = [
    ("20270115", datetime(2027, 1, 15)),
    ("202701150830", datetime(2027, 1, 15, 8, 30)),
    ("20270115083015", datetime(2027, 1, 15, 8, 30, 15)),
    ("20270715", datetime(2027, 7, 15)),
]


@pytest.mark.parametrize(("text", "moment"), TIMES, ids=[t for t, _ in TIMES])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("suffix", ["", "Z", "z", "UTC", "utc"])
def test_times_mean_what_they_mean_to_ssh_keygen(
    ssh: OpenSSH,
    token: Token,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    moment: datetime,
    zone: str,
    suffix: str,
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        second = parse_time(text + suffix)
    finally:
        monkeypatch.undo()
        time.tzset()
    if suffix:
        assert second == moment.replace(tzinfo=UTC).timestamp()
    signers = f'ann valid-before="{text}{suffix}" {token.key.line()}\n'

    def theirs(at: int) -> bool:
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%SZ")
        return ssh.verifies(
            *(token.sshsig(b"m"), b"m", signers, "-O", f"verify-time={stamp}"),
            who="ann",
            environment={"TZ": zone},
        )

    assert theirs(second)
    assert not theirs(second + 1)


def test_all_lines_that_allow_a_key_say_whose_it_is(token: Token) -> None:
    line = token.key.line()
    signed: Signed = parse(f"ann,!eve {line}\nbob,ann {line}", "s").find(token.key, PURPOSE, AT)

    assert signed.principals == ("ann", "bob")
    assert [n.number for n in signed.lines] == [1, 2]
    assert (signed.speaks_for("bob"), signed.speaks_for("eve")) == (True, False)


def test_files_are_read_as_if_they_were_one(token: Token) -> None:
    both = allowed_signers.merged(
        [parse("# nobody", "/etc/s"), parse(f"ann {token.key.line()}", "/home/s")]
    )
    assert str(both.find(token.key, PURPOSE, AT).line) == "/home/s:1"


def test_a_revoked_key_is_refused_whatever_else_is_said_of_it(token: Token) -> None:
    signers = parse(f"ann {token.key.line()}", "s")
    revoked = Revoked(fingerprints={token.key.fingerprint: "revoked_keys:3"})
    with pytest.raises(Untrusted, match=r"revoked_keys:3") as caught:
        signers.find(token.key, PURPOSE, AT, revoked)
    assert caught.value.reason == "revoked-key"


# patterns --------------------------------------------------------------------------------

PATTERNS = [
    ("", "", True),
    ("a", "", False),
    ("", "*", True),
    ("abc", "a*c", True),
    ("abc", "a?c", True),
    ("abc", "a*b", False),
    ("aXbXc", "a*X*c", True),
    ("abc", "**", True),
    ("abc", "???", True),
    ("abc", "????", False),
    ("a*c", "a\\*c", False),
    ("abc", "ABC", False),
    ("[a]", "[a]", True),
]


@pytest.mark.parametrize(("text", "pattern", "expected"), PATTERNS)
def test_a_pattern_fits(text: str, pattern: str, expected: bool) -> None:
    assert fits(text, pattern) is expected


def test_a_pattern_takes_no_exponential_time() -> None:
    assert not fits("a" * 3000, "*a" * 400 + "b")


def test_a_question_mark_is_one_byte() -> None:
    assert [fits("é", "?"), fits("é", "??"), fits_list("é", "?"), fits_list("é", "é")] == [
        *(False, True, False, True)
    ]
    assert not fits_list("ann", f"{'é' * 512},ann"), "1024 bytes"


@given(st.text("ab", max_size=8), st.text("ab*?", max_size=6))
def test_a_pattern_fits_as_a_regular_expression_would(text: str, pattern: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert fits(text, pattern) == bool(re.fullmatch(expression, text, re.S))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [("a,b", True), ("!a,b", False), ("*,!a", False), ("!b", False), ("!b,*", True), ("", False)],
)
def test_in_a_list_what_is_left_out_comes_first(patterns: str, expected: bool) -> None:
    assert fits_list("a", patterns) is expected


def test_a_list_with_an_endless_pattern_matches_nothing(ssh: OpenSSH, token: Token) -> None:
    for length, expected in ((1022, True), (1023, False)):
        signers = f"{'*' * length},ann {token.key.line()}\n"
        assert fits_list("ann", f"{'*' * length},ann") is expected
        assert ssh.verifies(token.sshsig(b"m"), b"m", signers, who="ann") is expected


# certificates ----------------------------------------------------------------------------


def cert_signers(ssh: OpenSSH, patterns: str = "*@example.org") -> str:
    return f"{patterns} cert-authority {public(ssh.folder / 'ca').line()}\n"


def signed_with(
    ssh: OpenSSH, *options: object, by: str = "ed25519", names: str = "ann@example.org"
) -> bytes:
    """Return a signature with a certificate that was made with these options."""
    key, authority = ssh.key("ann"), ssh.key("ca", by)
    signed = ssh.certify(key, authority, *options, names=names)
    raw = private.read(key).sign(sshsig.signed_bytes(b"m", PURPOSE))
    return sshsig.write(signed, PURPOSE, raw)


def judged(data: bytes, signers: str, at: float) -> str:
    """Return the principals, or the reason of the refusal, as a verifier would come to it."""
    try:
        signature = sshsig.read(data)
        signed = parse(signers, "signers").find(signature.key, PURPOSE, at)
        signature.verify(b"m", PURPOSE)
    except Untrusted as error:
        return error.reason
    return " ".join(signed.principals)


@pytest.mark.parametrize("by", ["ed25519", "rsa", "ecdsa"])
def test_a_certificate_of_a_trusted_authority_signs(ssh: OpenSSH, by: str) -> None:
    data = signed_with(ssh, "-z", 42, by=by)
    now = time.time()

    assert judged(data, cert_signers(ssh), now) == "ann@example.org"
    assert ssh.verifies(data, b"m", cert_signers(ssh))
    plain = f"ann@example.org {public(ssh.folder / 'ann').line()}\n"
    assert judged(data, plain, now) == "unknown-key"
    assert not ssh.verifies(data, b"m", plain)


CERTIFICATES = [
    ((), "bob@example.org,ann@example.org", "*@example.org", "bob@example.org ann@example.org"),
    ((), "eve@example.org,ann@example.org", "*,!eve@*", "ann@example.org"),
    ((), "ann@other.org", "*@example.org", "bad-certificate"),
    ((), "", "*", "bad-certificate"),
    (("-V", "20200101Z:20200102Z"), "ann@example.org", "*", "expired-key"),
    (("-V", "20900101Z:20910101Z"), "ann@example.org", "*", "key-not-yet-valid"),
    (("-V", "always:forever"), "ann@example.org", "*", "ann@example.org"),
]


@pytest.mark.parametrize(("options", "names", "patterns", "expected"), CERTIFICATES, ids=range(7))
def test_a_certificate_is_taken_for_what_it_says(
    ssh: OpenSSH, options: tuple[str, ...], names: str, patterns: str, expected: str
) -> None:
    data = signed_with(ssh, *options, names=names)
    signers = cert_signers(ssh, patterns)

    assert judged(data, signers, time.time()) == expected
    who = "ann@example.org"
    assert ssh.verifies(data, b"m", signers, who=who) == (who in expected)


def test_a_host_certificate_is_not_even_read(ssh: OpenSSH) -> None:
    with pytest.raises(ValueError, match="expected a user certificate"):
        signed_with(ssh, "-h")
    blob = keys.split_line((ssh.folder / "ann-cert.pub").read_text())[1]
    forged = keys.PublicKey(kind=keys.ED25519, blob=blob)
    raw = private.read(ssh.folder / "ann").sign(sshsig.signed_bytes(b"m", PURPOSE))
    data = sshsig.write(forged, PURPOSE, raw)

    assert judged(data, cert_signers(ssh), time.time()) == "bad-certificate"
    assert not ssh.verifies(data, b"m", cert_signers(ssh))


OPTIONS = [
    (("-O", "force-command=true"), "bad-certificate"),
    (("-O", "source-address=127.0.0.0/8"), "bad-certificate"),
    (("-O", "critical:new@example.org=x"), "bad-certificate"),
    (("-O", "extension:new@example.org=x"), "ann@example.org"),
    (("-O", "clear"), "ann@example.org"),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=range(len(OPTIONS)))
def test_a_critical_option_that_cannot_be_kept_refuses_a_certificate(
    ssh: OpenSSH, options: tuple[str, ...], expected: str
) -> None:
    data = signed_with(ssh, *options)
    assert judged(data, cert_signers(ssh), time.time()) == expected


def test_a_token_with_a_certificate_that_asks_for_a_pin_must_have_asked(ssh: OpenSSH) -> None:
    token, ca = Token(), ssh.key("ca")
    (ssh.folder / "token.pub").write_text(token.key.line() + "\n")
    signed = ssh.certify(ssh.folder / "token", ca, "-O", "verify-required")
    data = sshsig.signed_bytes(b"m", PURPOSE)
    now = time.time()

    assert signed.key == token.key
    for flags, expected in ((1, "bad-signature"), (5, "ann@example.org")):
        whole = sshsig.write(signed, PURPOSE, token.sign(data, flags))
        assert judged(whole, cert_signers(ssh), now) == expected
        assert ssh.verifies(whole, b"m", cert_signers(ssh)) or flags == 1


def test_a_token_may_be_the_authority(ssh: OpenSSH) -> None:
    token, key = Token(), ssh.key("ann")
    forged = certify_with(token, public(key))
    data = sshsig.write(forged, PURPOSE, private.read(key).sign(sshsig.signed_bytes(b"m", PURPOSE)))
    signers = f"ann@example.org cert-authority {token.key.line()}\n"

    assert judged(data, signers, time.time()) == "ann@example.org"
    assert ssh.verifies(data, b"m", signers)


def certify_with(token: Token, key: PublicKey, **changes: bytes) -> Certificate:
    """Return a certificate by a token for a key, with some of its fields replaced."""
    fields = {
        "kind": wire.string("ssh-ed25519-cert-v01@openssh.com"),
        "nonce": wire.string(bytes(32)),
        "point": wire.string(key.point),
        "serial": wire.u64(1),
        "type": wire.u32(1),
        "key_id": wire.string("id"),
        "principals": wire.string(wire.string("ann@example.org")),
        "after": wire.u64(0),
        "before": wire.u64(2**64 - 1),
        "critical": wire.string(b""),
        "extensions": wire.string(b""),
        "reserved": wire.string(b""),
        "authority": wire.string(token.key.blob),
    }
    signed = b"".join((fields | changes).values())
    found = certificate.read(signed + wire.string(token.sign(signed)))
    assert isinstance(found, Certificate)
    return found


FIELDS = {
    "a type of none": {"type": wire.u32(0)},
    "a point too short": {"point": wire.string(bytes(31))},
    "principals cut short": {"principals": wire.string(wire.u32(9) + b"ann")},
    "too many principals": {"principals": wire.string(wire.string("a") * 257)},
    "a principal with a NUL": {"principals": wire.string(wire.string("a\0b"))},
    "an option twice": {"critical": wire.string(wire.string("a") * 4)},
    "an authority of another kind": {
        "authority": wire.string(wire.string("ssh-dss") + wire.string(b"x"))
    },
    "a certificate as authority": {
        "authority": wire.string(wire.string("ssh-ed25519-cert-v01@openssh.com"))
    },
    "no authority": {"authority": wire.string(b"")},
}


@pytest.mark.parametrize("how", FIELDS)
def test_a_malformed_certificate_is_an_error(token: Token, how: str) -> None:
    certify_with(token, keys.read_key(wire.string("ssh-ed25519") + wire.string(b"\x09" * 32)))
    with pytest.raises(ValueError):
        certify_with(
            token,
            keys.read_key(wire.string("ssh-ed25519") + wire.string(b"\x09" * 32)),
            **FIELDS[how],
        )


def test_a_weak_key_within_a_certificate_or_of_its_authority_is_refused(token: Token) -> None:
    key = keys.read_key(wire.string("ssh-ed25519") + wire.string(b"\x09" * 32))
    weak = wire.string("ssh-ed25519") + wire.string((1).to_bytes(32, "little"))
    for change in ({"point": weak[15:]}, {"authority": wire.string(weak)}):
        with pytest.raises(Untrusted, match="could forge") as caught:
            certify_with(token, key, **change)
        assert caught.value.reason == "weak-key"


def test_an_authority_that_did_not_sign_is_found_out(ssh: OpenSSH) -> None:
    data = signed_with(ssh)
    signers = cert_signers(ssh)
    for old, new in ((b"ann@example.org", b"bob@example.org"), (b"id of ann", b"id of bob")):
        assert judged(data.replace(old, new), signers, time.time()) == "bad-certificate"
        assert not ssh.verifies(data.replace(old, new), b"m", signers, who=new.decode())


def test_a_small_rsa_authority_is_refused(ssh: OpenSSH) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca", "rsa", "", "-b", "1024")
    signed = ssh.certify(key, ca)
    with pytest.raises(Untrusted, match="at least 2048 bits") as caught:
        signed.check(time.time())
    assert caught.value.reason == "weak-key"


def test_sha_1_signs_no_certificate(ssh: OpenSSH) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca", "rsa")
    signed = ssh.certify(key, ca, "-t", "rsa-sha2-256")
    signed.check(time.time())
    with pytest.raises(ValueError, match="rsa-sha2-256 or rsa-sha2-512"):
        rsa_ecdsa.verify(
            signed.authority,
            signed.signed,
            signed.signature.replace(b"rsa-sha2-256", b"ssh-rsa-sha1"),
        )
