"""What looks like a credential in source and in captured values, and what must not.

No credential here is real, and those of a known form are put together at run time, so that scanners
of repositories have nothing to find.
"""

from __future__ import annotations

import base64
import random
import string
import sysconfig
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import ROOT

from scatter.bundle.secrets import looks_secret, secrets_in, without_secrets

FORMS = {
    "AKIA|Y34FZKBOKMUTVV7A": "an AWS access key id",
    "ASIA|IOSFODNN7EXAMPLE": "an AWS access key id",
    "ghp|_16C7e42F292c6912E7710c838347Ae178B4a": "a GitHub token",
    "gho|_16C7e42F292c6912E7710c838347Ae178B4a": "a GitHub token",
    "github|_pat_11AY34FZK0bokmutvv7a_q8Wm2x": "a GitHub token",
    "glpat|-x8Kq2Wm9Zr4Tn6Vb1Ls3": "a GitLab token",
    "xoxb|-2048193745-kQ8wZr4Tn6Vb": "a Slack token",
    "https://hooks.slack|.com/services/T02AB/B03CD/kQ8wZr4Tn6Vb1Ls3": "a Slack webhook",
    "sk_live|_4eC39HqLyjWDarjtT1zdp7dc": "a Stripe key",
    "sk-|4eC39HqLyjWDarjtT1zdp7dc": "an API key",
    "sk-|ant-api03-4eC39-HqLyjWDarjtT1_zdp7dc": "an API key",
    "sk-|abcdefghijklmnopqrstuvwx": "an API key",
    "AIza|SyD9tSrke72PouQMnMXa7eZSW0jkFMBWY1q": "a Google API key",
    "eyJ|hbGciOiJIUzI1NiJ9.eyJ|zdWIiOiIxMjM0In0.c2lnbmF0dXJl": "a JSON web token",
    "redis://:|s3cret@db/0": "a password in a URL",
    "postgres://app:|tigerlily@db.internal/app": "a password in a URL",
    "https://ann:|p%40ss%2Fword9@example.org/x?y=1": "a password in a URL",
    "-----BEGIN RSA |PRIVATE KEY-----\\nMIIEowIBAAKCAQEAx0f4ks": "a private key",
    "-----BEGIN OPENSSH |PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG": "a private key",
    "-----BEGIN EC |PRIVATE KEY-----\\nMIIEowxxxIBAAKCAQEAx0f4ks": "a private key",
    "-----BEGIN |PRIVATE KEY-----\\nMIIEowIBAAKCAQEAx0f4ks": "a private key",
}


def whole(parts: str) -> str:
    return parts.replace("|", "")


def names(source: str) -> list[str]:
    return [what for what, _ in secrets_in(source)]


# known forms -------------------------------------------------------------------------------------

PLACES = {
    "a text": 'x = "{}"',
    "bytes": 'x = b"{}"',
    "an argument": 'connect("{}", 1)',
    "a part of an f-string": 'x = f"{}{{y}}"',
    "a longer text": 'x = "it is {} , really"',
    "documentation": 'def f():\n    """It is {} ."""',
    "a comment": "x = 1  # {}",
    "a dict": 'x = {{1: ["{}"]}}',
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.partition("|")[0])
def test_a_known_form_is_told_wherever_it_stands(form: str, place: str) -> None:
    source = PLACES[place].format(whole(form))
    assert secrets_in(source) == ((FORMS[form], source.count("\n") + 1),)


@pytest.mark.parametrize("form", [form for form in FORMS if "URL" not in FORMS[form]])
def test_a_known_form_is_told_though_no_line_shows_it_whole(form: str) -> None:
    text = whole(form)
    written = f'x = 1\ny = ("{text[:-8]}"\n    "{text[-8:]}")'
    assert secrets_in(written) == ((FORMS[form], 2),)
    assert secrets_in(f'x = "{text[:-1]}\\x{ord(text[-1]):x}"') == ((FORMS[form], 1),)


NO_FORMS = [
    'x = "AKIA"',
    'x = "AKIAXXXXXXXXXXXXXXXX"',
    'x = "AKIAY34FZKBOKMUTVV7AXYZ"',
    'x = "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxx"',
    'x = "gh_pages_branch_of_the_repository"',
    'x = "sk-folding-cube-animation-wrapper"',
    'x = "task-4eC39HqLyjWDarjtT1zdp7dc"',
    'x = "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"',
    'x = "sk-<your key, twenty characters or more>"',
    'x = "eyJhbGciOiJIUzI1NiJ9"',
    'if "-----BEGIN RSA PRIVATE KEY-----" in text: pass',
    'x = "-----BEGIN PRIVATE KEY-----\\n...\\n-----END PRIVATE KEY-----"',
    'x = "https://example.org:8080/a@b"',
    'x = "git+ssh://git@example.org/x"',
    'x = "redis://user:password@host/0"',
    'x = "redis://:pass@host/0"',
    'x = "redis://{user}:{password}@host/0"',
    'x = f"redis://{user}:{password}@host/0"',
    'x = "redis://%s:%s@host/0"',
    'x = "redis://<user>:<password>@host/0"',
    'x = "redis://[[username]:[password]]@host"',
    'x = "redis://user:***@host/0"',
    'x = "redis://$USER:$PASSWORD@host/0"',
    'x = "amqp://guest:guest@localhost//"',
    'x = "postgresql://scott:tiger@localhost/test"',
    'x = "http://u:p@host"',
]


@pytest.mark.parametrize("source", NO_FORMS)
def test_a_text_that_only_resembles_a_form_or_stands_for_one_is_not_told(source: str) -> None:
    assert secrets_in(source) == ()


# names -------------------------------------------------------------------------------------------

NAMED = [
    ('password = "hunter2"', "password"),
    ('DB_PASSWORD = "s3cret"', "DB_PASSWORD"),
    ('dbPassword = "s3cret"', "dbPassword"),
    ('PGPASSWORD = "gx72hh1"', "PGPASSWORD"),
    ('smtp_pass = "gx72hh1"', "smtp_pass"),
    ('passwd = b"zz91kkd0"', "passwd"),
    ('pwd: str = "gx72hh1"', "pwd"),
    ('password_prod = "gx72hh1"', "password_prod"),
    ('passphrase = "gx72hh1q"', "passphrase"),
    ('self.password = "Tr0ub4dor&3"', "password"),
    ('password = "p@ssword"', "password"),
    ('password = "Summer2024!"', "password"),
    ('password = "19841224"', "password"),
    ('password = "xK9#mQ2$vL"', "password"),
    ('password = "a|b9]c(d"', "password"),
    ('API_KEY = "abc-123-def"', "API_KEY"),
    ('apikey = "7f3kd92jf0"', "apikey"),
    ('apiKey = "7f3kd92jf0"', "apiKey"),
    ('api_key2 = "7f3kd92jf0"', "api_key2"),
    ('token = "d41d8cd98f00b204e9800998ecf8427e"', "token"),
    ('auth_token = "550e8400-e29b-41d4-a716-446655440000"', "auth_token"),
    ('access_token = "tok_8f3k2j1l"', "access_token"),
    ('access_token = "internal|bb88df6b4c2244e7"', "access_token"),
    ('token = "qmzxkvhtrwplbncd"', "token"),
    ('token = "x7Kbar9QfooZ2m"', "token"),
    ('SECRET_KEY_BASE = "8f7a6b5c4d3e"', "SECRET_KEY_BASE"),
    ('token = "tHeReAnDiN"', "token"),
    ('token = "dGhpc2lzYXNlY3JldA=="', "token"),
    ('secret = "JBSWY3DPEHPK3PXP"', "secret"),
    ('SECRET_KEY = "jX8^2k!vQ)9w_p=4z@r#m6b$n*5t(1c&h+3y%s7d0f-ega"', "SECRET_KEY"),
    ('SECRET_KEY = b"_5#y2L\\"F4Q8z\\n\\xec]/"', "SECRET_KEY"),
    ('private_key = "5Kb8kLf9zgWQnogidDA76MzPL6TsZZY36hWXMssSzNydYXYB9KF"', "private_key"),
    ('credentials = "kJ8s-kd93-Kd02"', "credentials"),
    ('jwt_secret = "gx72hh1qgx72"', "jwt_secret"),
    ('connect(password="hunter2")', "password"),
    ('def f(user, password="hunter2"): pass', "password"),
    ('def f(password="hunter2", /, x=1): pass', "password"),
    ('def f(*, x, token="8f7a6b5c4d3e"): pass', "token"),
    ('f = lambda api_key="8f7a6b5c4d3e": 1', "api_key"),
    ('config["password"] = "hunter2"', "password"),
    ('x = {"host": "db", "password": "hunter2"}', "password"),
    ('x = {"Authorization": "Bearer 8f7a6b5c4d3e2f1a"}', "Authorization"),
    ('x = {"X-Api-Key": "8f7a6b5c4d3e2f1a"}', "X-Api-Key"),
    ('x = [("X-Auth-Token", "8f7a6b5c4d3e2f1a")]', "X-Auth-Token"),
    ('x = os.getenv("DB_PASSWORD", "hunter2")', "DB_PASSWORD"),
    ('setattr(x, "password", "hunter2")', "password"),
    ('password = os.environ.get("X") or "hunter2"', "password"),
    ('password = x if y else "hunter2"', "password"),
    ('user, password = "ann", "hunter2"', "password"),
    ('auth = ("ann", "s3cr3t")', "auth"),
    ('TOKENS = ["8f7a6b5c4d3e"]', "TOKENS"),
    ('api_key = SecretStr("8f7a6b5c4d3e")', "api_key"),
    ('password = "hunter2".encode()', "password"),
    ('if password == "hunter2": pass', "password"),
    ('if (password := "hunter2"): pass', "password"),
    ('password += "hunter2"', "password"),
    ('connect("host=db user=app password=s3cret")', "password"),
]


@pytest.mark.parametrize(("source", "name"), NAMED)
def test_a_text_that_is_no_word_is_told_under_a_credentials_name(source: str, name: str) -> None:
    assert secrets_in(source) == ((f"`{name}`", 1),)


HARMLESS = [
    "password",
    "swordfish",
    "changeme",
    "change-me-please-1",
    "password123",
    "test123",
    "",
    "x9",
    "a9b8c",
    "<token>",
    "{token}",
    "%(token)s",
    "Bearer %s",
    "${TOKEN}",
    "$TOKEN_2",
    "************",
    "xxxxxxxxxxxx9",
    "SECRET_KEY",
    "AWS_KEY_2",
    "X-Auth-Token",
    "token_type",
    "accessToken",
    "AWSAccessKeyId",
    "id_token",
    "csrfmiddlewaretoken",
    "sqlalchemyurl",
    "mysqldump",
    "client_secret_basic",
    "oauth2",
    "sha256",
    "HS256",
    "AES-256-GCM",
    "Token:Type",
    "urn:ietf:params:oauth:token-type:jwt",
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-x9y8z7",
    "vault:secret/data/db#x9y8z7",
    "https://login.example.org/oauth2/v2.0/token",
    "/run/secrets/x",
    "~/.ssh/id_ed25519",
    "./certs/server-key2.pem",
    "C:\\\\keys\\\\x9y8z7.pem",
    "ann@example.org",
    "1.3.6.1.5.5.7.3.1",
    "202.124.224.0/20",
    "5/m/user,20/m/ip",
    "0006_require_contenttypes_0002",
    "Enter your 1st password: ",
    "Contraseña9",
    "YOUR_API_KEY_HERE",
    "your-api-key-1234",
    "example-key-8f7a6b5c",
    "us-east-1",
    "STRING_LITERAL1",
    "DisableS3ExpressSessionAuth",
]


@pytest.mark.parametrize("text", HARMLESS)
@pytest.mark.parametrize("name", ["password", "token", "client_secret", "api_key"])
def test_words_names_templates_and_paths_are_no_credentials(name: str, text: str) -> None:
    assert secrets_in(f'{name} = "{text}"') == ()
    assert secrets_in(f'connect({name}="{text}", x={{"{name}": "{text}"}})') == ()


@pytest.mark.parametrize(
    "text", [r"[a-z]+\\d?9x8", "(?:x9|y8)z7w6", "[0-9]+(a4|b3)", "hunter2", "x9y8.*z7"]
)
def test_a_scanners_expressions_and_numbered_words_are_tokens_of_another_kind(text: str) -> None:
    assert secrets_in(f'token = "{text}"') == ()


RANDOM = "8f7a6b5c4d3e2f1a"
OTHER_NAMES = [
    f'key = "{RANDOM}"',
    f'cache_key = "{RANDOM}"',
    f'public_key = "{RANDOM}"',
    f'token_type = "{RANDOM}"',
    f'password_field = "{RANDOM}"',
    f'secret_name = "{RANDOM}"',
    f'tokenizer = "{RANDOM}"',
    f'secretary = "{RANDOM}"',
    f'compass = "{RANDOM}"',
    f'author = "{RANDOM}"',
    f'x = {{"AWS::IAM::AccessKey": "{RANDOM}"}}',
    f'x = {{"what: a_token": "{RANDOM}"}}',
    f'x = {{"{"many_" * 12}token": "{RANDOM}"}}',
    f'x = {{"token": {{"id": [["{RANDOM}"]]}}}}',
    f'login("user", "password", "{RANDOM}", 1)',
    f'token = find("{RANDOM}")',
    f'secret = vault.read("{RANDOM}")',
    f'x = {{"{RANDOM}_token": "{RANDOM}"}}',
    f'def f():\n    """Connect with `password={RANDOM}`."""',
    f"# password = {RANDOM}",
    'token = b"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xff"',
    "password = None",
    "token = 8765432198765",
]


@pytest.mark.parametrize("source", OTHER_NAMES)
def test_other_names_and_other_places_do_not_count(source: str) -> None:
    assert secrets_in(source) == ()


# what is told ------------------------------------------------------------------------------------


def test_lines_are_those_of_the_piece_in_their_order() -> None:
    source = (
        "    def f(self):  # ghp" + "_16C7e42F292c6912E7710c838347Ae178B4a\n"
        "        login(\n"
        '            password="hunter2",\n'
        '            text="""one\n'
        "            redis://:s3cret" + "@db/0\n"
        '            """,\n'
        "        )\n"
        '        x = "a"; token = "8f7a6b5c4d3e"\n'
    )
    told = [("a GitHub token", 1), ("`password`", 3), ("a password in a URL", 5), ("`token`", 8)]
    assert list(secrets_in(source)) == told
    assert list(secrets_in("if x:\n" + source)) == [(what, line + 1) for what, line in told]


def test_a_text_is_told_once_by_its_form_or_its_nearest_name() -> None:
    assert names('credentials = {"user": "ann", "password": "hunter2"}') == ["`password`"]
    assert names('API_KEY = "ghp' + '_16C7e42F292c6912E7710c838347Ae178B4a"') == ["a GitHub token"]
    assert names('password = "hunter2"; secret = "s3cret9"') == ["`password`", "`secret`"]


@pytest.mark.parametrize(
    "broken",
    [
        'password = "hunter2',
        "x = (\n",
        "\0",
        "(" * 5000,
        "-" * 100_000 + "1",
        "\tx\n y",
        "'\\N{no}'",
        "'\ud800'",
    ],
    ids=["open text", "open call", "null", "deep", "deeper", "indents", "escape", "surrogate"],
)
def test_what_is_no_python_raises_nothing_and_known_forms_are_told(broken: str) -> None:
    assert secrets_in(f'{broken}\npassword = "hunter2"') in ((), (("`password`", 2),))
    form = "glpat" + "-x8Kq2Wm9Zr4Tn6Vb1Ls3"
    assert secrets_in(f"# {form}\n{broken}\ntoken = 1") == (("a GitLab token", 1),)


PRINTABLE = "".join(map(chr, range(33, 127)))


@settings(deadline=None, max_examples=500)
@given(
    st.text(PRINTABLE, min_size=6, max_size=40),
    st.sampled_from(
        [
            "password = {!r}",
            "x = {{'token': {!r}}}",
            "f(secret={!r})",
            "x = {{{0!r}: {0!r}, 'password': {0!r}}}",
            "password = {!r} '",
            "getenv({0!r}, {0!r}); getenv({0!r} '_token', {0!r})",
            "x = 'redis://a:{0}@b'  # {0}",
        ]
    ),
)
@example("hunter2", "password = {!r}")
@example("x9k3_token", "x = {{{0!r}: {0!r}, 'password': {0!r}}}")
@example("x9k3_token", "getenv({0!r}, {0!r}); getenv({0!r} '_token', {0!r})")
def test_the_text_itself_is_never_told(text: str, place: str) -> None:
    for what, line in secrets_in(place.format(text)):
        assert text not in what or what == "`password`"
        assert line == 1


# how well ----------------------------------------------------------------------------------------


def letters(alphabet: str, count: int) -> Callable[[random.Random], str]:
    return lambda seeded: "".join(seeded.choices(alphabet, k=count))


KINDS: dict[str, Callable[[random.Random], str]] = {
    "hex": lambda seeded: seeded.randbytes(16).hex(),
    "uuid": lambda seeded: str(uuid.UUID(bytes=seeded.randbytes(16))),
    "base64": lambda seeded: base64.b64encode(seeded.randbytes(24)).decode(),
    "url": lambda seeded: base64.urlsafe_b64encode(seeded.randbytes(32)).decode().rstrip("="),
    "small": letters(string.ascii_lowercase + string.digits, 20),
    "large": letters(string.ascii_uppercase + "234567", 16),
    "letters": letters(string.ascii_letters, 24),
    "signs": letters("abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)", 50),
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_keys_are_told_but_for_a_few_of_a_thousand(kind: str) -> None:
    seeded = random.Random(1)
    keys = [KINDS[kind](seeded) for _ in range(1000)]
    missed = [key for key in keys if not secrets_in(f"api_key = {key!r}")]
    assert len(missed) <= 7, missed


@pytest.mark.parametrize("kind", ["base64", "url", "signs"])
def test_long_random_values_are_secret_whatever_their_name(kind: str) -> None:
    seeded = random.Random(1)
    keys = [KINDS[kind](seeded) for _ in range(1000)]
    is_dense = [key for key in keys if len(set(key)) >= 24]
    missed = [key for key in is_dense if not looks_secret("x", key)]
    assert len(is_dense) > 500
    assert len(missed) <= 2, missed


def test_nothing_is_told_of_the_standard_library_nor_of_this_project() -> None:
    """A few of its files are tests of their own; thousands of others are looked at by hand."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [*library.glob("*.py"), *library.glob("[a-eh-s]*/*.py"), *ROOT.glob("scatter/**/*.py")]
    told = {}
    for file in files:
        if not {"site-packages", "test", "tests"}.intersection(file.parts):
            told[file] = secrets_in(file.read_bytes().decode("utf-8", "replace"))
    assert len(told) > 300
    assert {file: found for file, found in told.items() if found} == {}


# captured values ---------------------------------------------------------------------------------

SECRET_VALUES = [
    ("password", "swordfish"),
    ("DB_PASSWORD", "abc-123-def"),
    ("token_type", "bearer"),
    ("x", {"host": "db", "password": "abc-123-def"}),
    ("x", [1, ({"api-key"}, {"a": {"b": [{"api_key": b"abcdef"}]}})]),
    ("tokens", ["abcdef"]),
    ("x", "hV7q2LxPz9RtYw3KdBn8MfGs5JcAe1Uo"),
    ("x", b"hV7q2LxPz9RtYw3KdBn8MfGs5JcAe1Uo"),
    ("x", bytes(range(3, 250, 7))),
    ("x", "https://example.org/hook/hV7q2LxPz9RtYw3KdBn8MfGs5JcAe1Uo"),
    (
        "x",
        "https://example.org/an/address/with/some/more/interesting/words/in/it/and/others/after"
        "?signature=hV7q2LxPz9RtYw3KdBn8MfGs5JcAe1Uo&other=parameters",
    ),
    ("x", "redis://:s3cret" + "@db/0"),
    ("x", "connect to redis://:s3cret" + "@db/0 at once"),
    *(("x", whole(form)) for form in FORMS),
]


@pytest.mark.parametrize(("name", "value"), SECRET_VALUES, ids=lambda value: str(value)[:20])
def test_a_captured_value_is_secret_by_name_form_or_randomness(name: str, value: object) -> None:
    assert looks_secret(name, value)
    assert looks_secret("x", {name: [value]})


ORDINARY_VALUES = [
    None,
    12345678901234567890,
    "short",
    "Dear customers, we are closed on Monday and on Tuesday, 12:00",
    "Quiz: Jog, Vyx! FDR's PCB hummt zwölf ß-Wkln qq%",
    string.ascii_letters,
    string.ascii_letters + string.digits,
    string.digits + string.ascii_uppercase,
    string.punctuation,
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "SELECT id, name, price FROM orders WHERE customer = %s AND shipped > %s",
    "https://api.example.org/repos/octocat/hello-world/issues?state=open&per_page=100",
    "https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task",
    "/usr/local/lib/python3.11/site-packages/numpy/core/include/numpy",
    "postgresql+psycopg://localhost:5432/warehouse_production",
    "arn:aws:iam::123456789012:role/service-role/MyLambdaRole",
    "the_quick_brown_fox_jumps_over_the_lazy_dog",
    "SomeVeryLongCamelCaseIdentifierName",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "550e8400-e29b-41d4-a716-446655440000",
    "你好世界这是一个很长的句子没有空格因为中文不用空格分开单词",
    '{"host":"db.internal","port":5432,"name":"app"}',
    "2024-01-31T12:34:56.789012+00:00",
]


@pytest.mark.parametrize("value", ORDINARY_VALUES, ids=lambda value: str(value)[:20])
def test_ordinary_values_are_not_secret(value: object) -> None:
    assert not looks_secret("x", value)
    assert not looks_secret("x", {"y": [value, (value, {value})]})


def test_values_in_cycles_and_huge_ones_come_to_an_end() -> None:
    cycle: list[object] = [1]
    cycle.append(cycle)
    assert not looks_secret("x", cycle)
    assert not looks_secret("x", "word " * 1_000_000)
    assert not looks_secret("x", [list(range(100))] * 1_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("invalid literal for int() with base 10: 'kQ8wZr4Tn6Vb1Ls3'", "kQ8wZr4Tn6Vb1Ls3"),
        ("'Zr4Tn6Vb-kQ8w-1Ls3Xy7P'", "Zr4Tn6Vb-kQ8w-1Ls3Xy7P"),
        ("no redis://:tigerlily@db.internal/0 here", "redis://:tigerlily@db.internal/0"),
    ],
)
def test_a_message_is_shown_without_what_looks_like_a_credential(text: str, shown: str) -> None:
    assert without_secrets(text) == text.replace(shown, "…")


@pytest.mark.parametrize(
    "text",
    [
        "module 'shop.pricing' has no attribute 'DEFAULT_TIMEOUT_S'",
        "unsupported operand type(s) for +: 'NoneType' and 'builtin_function_or_method'",
        "f() missing 2 required positional arguments: 'first_name' and 'last_name'",
        "No module named 'not_installed.inner'",
        "division by zero",
    ],
)
def test_an_ordinary_message_is_shown_as_it_is(text: str) -> None:
    assert without_secrets(text) == text
