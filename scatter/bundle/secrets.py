"""Finds what looks like a credential in what is about to be shipped.

`looks_secret` judges captured values and is strict: whoever means to ship one says so.
`secrets_in` judges source, where most texts are harmless: it tells of a text that has the form of a
known kind of credential, or that stands under a credential's name and does not read as words.

Not here: what to do about it, and whether a finding is meant (the caller asks).

Invariants
1. No text that may be a credential is returned, logged, or part of an error: only what it is, by
   its form or its name, and its line.
2. Both are guesses, made from the text alone: no file, clock or network.
3. A false alarm costs trust. Texts that say themselves that they are nothing (`changeme`,
   `<token>`) are left out.

Cannot be told from harmless, and so not found: hex digests, UUIDs and numbers under a name that
says nothing; passwords that are one plain word or a sentence; what is put together at run time.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from scatter.analysis.reading import parse

_LEAST, _LEAST_BINARY = 6, 8
"""Shorter texts, and shorter bytes that are no text, are no credentials: too many are harmless."""

# Names -------------------------------------------------------------------------------------------

_ANY_NAME = re.compile(r"pass(word|wd)?|secret|token|api_?key|credential|private_?key", re.I)
"""Of captured values: the word may stand anywhere."""

_KEYS = (
    *("access", "account", "api", "auth", "encryption", "master", "private", "secret", "shared"),
    "signing",
)
_NAME = re.compile(
    rf"""
    (?:^|_)
    (?: (?P<password> [a-z]*pass(?:word|wd|phrase|code) | pass | [a-z]*pwd | pw )
      | [a-z]*(?:secret|token|credential) | (?:{"|".join(_KEYS)})_?key | auth(?:orization)? | jwt )
    s? \d* (?:_(?:base|default|dev|new|old|prod|production|staging|value|v?\d+))* $
    """,
    re.X,
)
"""Of texts in source, its words in small letters: it ends with the word, unlike `token_type`."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,59}")
_BETWEEN_WORDS = re.compile(r"(?<=[a-z\d])(?=[A-Z])|[_.-]+")
_SETTING = re.compile(r"\b(password|passwd|pwd)=([^\s;&,'\"]+)", re.I)
"""In a connection string: `host=db user=app password=…`."""
_WRAPPERS = frozenset(
    ("SecretBytes", "SecretStr", "b64decode", "bytes", "fromhex", "str", "unhexlify")
)
"""Calls that make a credential of the text that they are given."""

_HINTS = ("passw", "passph", "passc", "_pass", "pwd", "secret", "token", "credential", "authoriz")
"""Source in small letters without any of these, and without the next, has no such name."""
_OTHER_HINTS = (
    re.compile(f"key(?:{'|'.join(rf'(?<={word}key)|(?<={word}[._-]key)' for word in _KEYS)})"),
    re.compile(r"""(?:auth|jwt|pass|pw)(?:s?\d*|_\w+)["']?\]?\s*[:=,]"""),
)

# Forms -------------------------------------------------------------------------------------------

_FORMS = {
    what: re.compile(form)
    for what, form in {
        "an AWS access key id": r"A[KS]IA[A-Z\d]{16}(?![A-Za-z\d])",
        "a GitHub token": r"gh[opsur]_[A-Za-z\d]{16,}|github_pat_\w{16,}",
        "a GitLab token": r"glpat-[\w-]{20,}",
        "a Slack token": r"xox[abeoprs]-[A-Za-z\d-]{10,}",
        "a Slack webhook": r"hooks\.slack\.com/services/T\w+/B\w+/\w{16,}",
        "a Stripe key": r"[rs]k_live_[A-Za-z\d]{10,}",
        "a Google API key": r"AIza[\w-]{35}(?![\w-])",
        "a JSON web token": r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.",
        # Not the words of a CSS class (`sk-folding-cube-wrapper`), nor OpenSSH's kinds of keys.
        "an API key": r"sk-(?<![\w-]sk-)(?!ecdsa-|ssh-|(?:[a-z]{1,14}[-_])*[a-z]{1,14}(?![\w-]))"
        r"[\w-]{20,}",
        # With what it holds, perhaps on lines that are each quoted: parsers name the header alone.
        "a private key": r"-----BEGIN (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\"'\\brn()+,#]|(?:Proc-Type|DEK-Info):[^\n]*)*[A-Za-z\d+/=]{16,}",
        "a password in a URL": r"://(?P<user>[^\s\"'/:@?#]*):(?P<password>[^\s\"'/@]+)@",
    }.items()
}
_URL = _FORMS["a password in a URL"]
_MARKS = (
    *("AKIA", "ASIA", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "xox"),
    *("hooks.slack.com", "k_live_", "AIza", "eyJ", "sk-", "PRIVATE KEY"),
)
"""Text without any of these, and without a password in a URL, has none of the forms."""

# Texts -------------------------------------------------------------------------------------------

_SCHEME = re.compile(r"(?:Basic|Bearer|Token) ", re.I)
_FILLED_IN = re.compile(
    r"""
    <[^<>]*> | \{[\w.:!\ -]*\} | \[[\w.\ -]*\] | %\(\w+\) | \$\{ | ^\$\w+$
    | (?:^|[\w/:.-])%[drs](?:$|[/:.@-]) | ([xX*.])\1\1
    """,
    re.X,
)
_HARMLESS = re.compile(
    r"""
      ://                                       # a URL
    | ^(?:~|\.{1,2}|[A-Za-z]:)[/\\][\w./\\-]*$  # a path
    | ^/(?:[a-z._-]+|Library|Users)/[\w./-]*$   # of a file system, and no base64
    | ^(?:arn|env|file|kms|op|ssm|urn|vault):   # where it is kept
    | ^[\w.+-]+@[\w-]+\.[\w.]+$                 # an address
    | ^[A-Z][A-Z\d]*(?:_[A-Z\d]+)+$             # a variable of the environment
    | ^\d+(?:[.,:;+/-]\d*)+$                    # a version, date, OID, network
    | ^\d+/[a-z]+/                              # a rate: `5/m/user`
    | ^\d{4}_                                   # a step of a migration
    | [^\x21-\x7e]                              # a sentence, another language
    | (.)\1{4}
    """,
    re.X,
)
_EXPRESSION = re.compile(r"\\|\(\?|\.[*+]|\[.*\]|[*+?)]\||\|\(")
"""Regular expressions: what scanners call tokens."""
_SAYS_SO = re.compile(
    r"change.?me|dummy|fake|fixme|invalid|mock|placeholder|redacted|replace|sample|todo|your"
    r"|(?<![a-z])(?:bar|baz|example|foo|none|null|test(?:ing)?|tiger)(?![a-z])",
    re.I,
)
"""Texts that say that they are none, and those of everybody's examples."""
_OWN_NAME = re.compile(
    r"access|api|auth|credential|csrf|jwt|key|pass(?:code|phrase|wd|word)?|private|pwd|secret|token"
    r"|xsrf",
    re.I,
)
_LEAST_LEFT = 4
"""Letters and digits beside these: `password1` names what it stands for."""
_NUMBERED = re.compile(
    r"(?<![A-Za-z])(?:aes|argon|base|cp|ec|ed|es|hs|http|ip|iso|k|md|oauth|p|pbkdf|pkcs|ps|rs|rsa|s|"
    r"sha|ssl|tls|utf|v|x)[-_.]?\d{1,5}(?![A-Za-z\d])",
    re.I,
)
"""Words of the trade that have a number: `sha256`, `AES-256`, `oauth2`."""

_PIECE = re.compile(r"[A-Za-z\d]+")
_HUMP = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NUMBER_ENDS = re.compile(r"(?:[A-Za-z]{2,})?\d{0,4}")
_MIXED_IN = re.compile(r"[A-Za-z\d][!@#$%^&*?~]+[A-Za-z\d]")
_COMMON = frozenset(
    cased
    for pair in (
        "ab ac ad ag ai al am an ap ar as at ba be bl bo ca ce ch ck cl co cr ct cu da de di do ds "
        "ea ec ed ee ef el em en ep er es et ev ex fe ff fi fo fr ge gr ha he hi ho ia ic id ie if "
        "ig il im in io ip ir is it iv iz je ke la ld le li ll lo ls lt ly ma mb me mi mm mo mp na "
        "nc nd ne nf ng ni no ns nt nu ob oc od ol om on oo op or os ot ou ow pa pe ph pi pl po pp "
        "pr ps pt qu ra rc rd re ri rm rn ro rr rs rt ru ry sa sc se sh si so sp ss st su ta tc te "
        "th ti tl to tr ts tt tu ty ub ue ui ul um un up ur us ut va ve vi wa xt yp ze"
    ).split()
    for cased in (pair, pair.title(), pair.upper())
)
"""Neighbours in four fifths of English words and identifiers, and in a fifth of noise."""
_WORDS_SHARE = 0.5
_LONG, _LONG_SHARE = 12, 0.45
_SHORT, _SHORT_SHARE = 8, 0.15
"""Letters of one case are rarely a key, and abbreviations are no words either: less is enough."""

_RANDOM_LENGTH, _RANDOM_BITS = 20, 4.3
"""From this length on, text without spaces and with so many bits a character is no language."""
_PARTS = re.compile(r"[/.:?&=#@,;]")
_MOST_VALUES = 10_000
_WORD = re.compile(r"[^\s'\"`,;()\[\]{}]{6,}")


def looks_secret(name: str, value: object) -> bool:
    """Return whether a value, or one inside it, looks like a credential.

    That is every text of six letters or more under a credential's name, one that has the form of a
    known kind, and a long one that looks random. Not random are alphabets, words and identifiers,
    and paths and URLs of these; hex digests cannot be told from harmless ones and are not found.
    """
    todo: list[tuple[str, object]] = [(name, value)]
    looked_at = 0
    while todo and looked_at < _MOST_VALUES:
        looked_at += 1
        called, inner = todo.pop()
        if _is_secret(called, inner):
            return True
        if isinstance(inner, dict):
            todo += [(key if isinstance(key, str) else called, v) for key, v in inner.items()]
        elif isinstance(inner, (list, tuple, set, frozenset)):
            todo += [(called, v) for v in inner]
    return False


def without_secrets(text: str) -> str:
    """Return a text for people, such as that of an exception, without what looks like a credential.

    Found is what has a known form, and what consists of no words: it has no name that could tell.
    """

    def shown(word: re.Match[str]) -> str:
        return "…" if looks_secret("", word[0]) or _is_token(word[0]) else word[0]

    return _WORD.sub(shown, text)


def secrets_in(source: str) -> tuple[tuple[str, int], ...]:
    """Return the credentials that are written in a piece of source, as (what, line in the piece).

    What has a known form is found everywhere, in comments too: they travel with the source. What
    only a name gives away is found where a text is assigned, passed or compared to that name, is
    its default, or stands under it in a dict or a pair. In text that is no Python, only the first.
    """
    has_form = _may_have_form(source)
    if not has_form and not _may_have_name(source.lower()):
        return ()
    found = {(what, source.count("\n", 0, at) + 1) for what, at in _forms_in(source)}
    tree = _parsed(source)
    if has_form:
        found |= set(_in_joined_texts(tree, found))
    found |= set(_under_names(tree, found))
    return tuple(sorted(found, key=lambda one: (one[1], one[0])))


# In source ---------------------------------------------------------------------------------------


def _parsed(source: str) -> ast.Module:
    """Return the tree of a piece; an empty one if it is no Python, whose error would show it."""
    indented = source[:1] in (" ", "\t")  # a definition as it stands in a class or block
    try:
        tree = parse(f"if 1:\n{source}" if indented else source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])
    if indented:
        ast.increment_lineno(tree, -1)
    return tree


def _may_have_form(text: str) -> bool:
    """Return whether a text is worth a closer look: much faster than that, and mostly false."""
    return any(mark in text for mark in _MARKS) or bool(_URL.search(text))


def _may_have_name(lowered: str) -> bool:
    """Return the same for a credential's name."""
    words = any(hint in lowered for hint in _HINTS)
    return words or any(hint.search(lowered) for hint in _OTHER_HINTS)


def _forms_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield which known forms stand in a text, and where."""
    for what, form in _FORMS.items():
        for match in form.finditer(text):
            if form is _URL:
                is_meant = not _stands_for_one(match["user"], match["password"])
            else:
                is_meant = what == "a private key" or not _FILLED_IN.search(match[0])
            if is_meant:
                yield what, match.start()


def _stands_for_one(user: str, password: str) -> bool:
    """Return whether the password of a URL is none: `user:password@`, `{user}:{password}@`."""
    says_so = _FILLED_IN.search(password) or _SAYS_SO.search(password)
    left = "".join(_PIECE.findall(_OWN_NAME.sub("-", password)))
    return bool(says_so) or password == user or len(left) < _LEAST_LEFT


def _in_joined_texts(tree: ast.AST, found: set[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Yield the forms that no line shows: escaped, or written in several literals."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            shown = {what for what, line in found if line in _lines_of(node)}
            joined = {what for what, _ in _forms_in(_text_of(node))} - shown
            yield from ((what, node.lineno) for what in joined)


def _under_names(tree: ast.AST, found: set[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Yield the other texts that look like credentials, under the nearest of their names."""
    names: dict[ast.Constant, str] = {}
    for name, value in (*_settings(tree), *_named(tree)):  # the outer before the inner
        match = _PLAIN_NAME.fullmatch(name) and _NAME.search(_BETWEEN_WORDS.sub("_", name).lower())
        for node in _texts_in(value) if match else ():
            if _is_secret_under(name, node, is_password=bool(match and match["password"])):
                names[node] = name
    told = {line for _, line in found}
    for node, name in names.items():
        if told.isdisjoint(_lines_of(node)):
            yield f"`{name}`", node.lineno


def _named(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield every name that is given a value, and the value."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _assigned(target, value)
            case ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr():
                yield from _assigned(node.target, node.value)
            case ast.Compare(left=target, ops=[ast.Eq() | ast.NotEq()], comparators=[value]):
                yield from _assigned(target, value)
            case ast.Call(args=args, keywords=keywords):
                yield from ((word.arg, word.value) for word in keywords if word.arg)
                yield from _by_text(pairwise(args) if len(args) <= 3 else ())
            case ast.Tuple(elts=[key, value]) | ast.List(elts=[key, value]):
                yield from _by_text([(key, value)])
            case ast.Dict(keys=keys, values=values):
                yield from _by_text(zip(keys, values, strict=True))
            case ast.arguments():
                yield from _defaults(node)


def _assigned(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    match target, value:
        case _, None:
            pass
        case ((ast.Name(id=name) | ast.Attribute(attr=name)), ast.expr()):
            yield name, value
        case ast.Subscript(slice=key), ast.expr():
            yield from _by_text([(key, value)])
        case ast.Tuple(elts=targets), ast.Tuple(elts=values):
            for one, its in zip(targets, values, strict=False):
                yield from _assigned(one, its)


def _by_text(
    pairs: Iterable[tuple[ast.expr | None, ast.expr]],
) -> Iterator[tuple[str, ast.expr]]:
    """Yield the pairs whose name is a text: of a dict, `getenv("TOKEN", "…")`, a header."""
    for key, value in pairs:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _defaults(node: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*node.posonlyargs, *node.args]
    named = (*positional[len(positional) - len(node.defaults) :], *node.kwonlyargs)
    for one, value in zip(named, (*node.defaults, *node.kw_defaults), strict=True):
        if value:
            yield one.arg, value


def _settings(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the passwords of connection strings; documentation shows how they are written."""
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in documentation:
            text = node.value if isinstance(node.value, str) else ""
            for name, value in _SETTING.findall(text):
                yield name, ast.copy_location(ast.Constant(value), node)


def _texts_in(value: ast.expr) -> Iterator[ast.Constant]:
    """Yield the texts that a value can be, or that stand in it one level down."""
    todo: list[tuple[ast.expr, bool]] = [(value, False)]
    while todo:
        node, is_inner = todo.pop()
        inside: list[ast.expr] = []
        match node:
            case ast.Constant(value=str() | bytes()):
                yield node
            case ast.IfExp(body=body, orelse=orelse):
                inside = [body, orelse]
            case ast.BoolOp(values=values):
                inside = values
            case ast.Call(func=ast.Attribute(value=ast.Constant() as text, attr="encode")):
                inside = [text]
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[text, *_]):
                inside = [text] if name in _WRAPPERS else []
            case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                todo += [(one, True) for one in values if not is_inner]
            case ast.Dict(values=values):
                todo += [(one, True) for one in values if not is_inner]
        todo += [(one, is_inner) for one in inside]


def _text_of(node: ast.Constant) -> str:
    value = node.value
    assert isinstance(value, (str, bytes))
    return value if isinstance(value, str) else value.decode("latin-1")


def _lines_of(node: ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


# Under a credential's name -----------------------------------------------------------------------


def _is_secret_under(name: str, node: ast.Constant, *, is_password: bool) -> bool:
    """Return whether a text under a credential's name is none of the harmless that stand there."""
    if _is_binary(node):
        return True
    text = _SCHEME.sub("", _text_of(node), count=1)
    if len(text) < _LEAST or text in name:
        return False
    if any(pattern.search(text) for pattern in (_HARMLESS, _FILLED_IN, _SAYS_SO)):
        return False
    return _is_password(text) if is_password else _is_token(text)


def _is_binary(node: ast.Constant) -> bool:
    """Return whether bytes are no text."""
    if not isinstance(node.value, bytes) or len(set(node.value)) < _LEAST_BINARY:
        return False
    try:
        node.value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_password(text: str) -> bool:
    """Return whether a text is none of the words that stand for a password.

    It may be one word and a number (`hunter2`), or a word with signs (`p@ssword`).
    """
    rest, pieces = _without_own_name(text)
    if not pieces:
        return False
    ends_in_number = len(pieces) == 1 and pieces[0][-1].isdigit()
    return ends_in_number or bool(_MIXED_IN.search(rest)) or not _are_words(pieces)


def _is_token(text: str) -> bool:
    """Return whether a text is neither words, nor a name such as `es256`, nor an expression."""
    _, pieces = _without_own_name(text)
    return bool(pieces) and not _are_words(pieces) and not _EXPRESSION.search(text)


def _without_own_name(text: str) -> tuple[str, list[str]]:
    """Return a text without `token` and the like, and its letters and digits; none if few."""
    rest = _NUMBERED.sub("-", _OWN_NAME.sub("-", text))
    pieces = _PIECE.findall(rest)
    return rest, pieces if len("".join(pieces)) >= _LEAST_LEFT else []


def _are_words(pieces: list[str]) -> bool:
    """Return whether pieces of a text are words; the last may have a number, as in `us-east-1`."""
    *before, last = pieces
    if _NUMBER_ENDS.fullmatch(last):
        pieces = [*before, last.rstrip("0123456789")]
    letters = "".join(pieces)
    if not letters.isalpha():
        digits = sum(map(str.isdigit, letters))
        return digits * 7 < len(letters) and _share(pieces) > _WORDS_SHARE
    humps = sum(len(_HUMP.findall(piece)) for piece in pieces)
    if _SHORT <= len(letters) < 2.5 * humps:
        return False  # capitals anywhere
    least = _LONG_SHARE if letters.islower() or letters.isupper() else _WORDS_SHARE
    least = least if len(letters) >= _LONG else _SHORT_SHARE
    return len(letters) < _SHORT or _share(pieces) >= least


def _share(pieces: list[str]) -> float:
    """Return which part of the neighbours in these pieces are neighbours in words."""
    pairs = [a + b for piece in pieces for a, b in pairwise(piece)]
    return sum(pair in _COMMON for pair in pairs) / len(pairs) if pairs else 1


# Captured values ---------------------------------------------------------------------------------


def _is_secret(name: str, value: object) -> bool:
    if not isinstance(value, (str, bytes)) or len(value) < _LEAST:
        return False
    if _ANY_NAME.search(name):
        return True
    text = value if isinstance(value, str) else value.decode("latin-1")
    if _may_have_form(text) and next(_forms_in(text), None):
        return True
    is_language = isinstance(value, str) or value.isascii()
    return _is_random(text) and not (is_language and _is_alphabet_or_words(text))


def _is_random(text: str) -> bool:
    return len(text) >= _RANDOM_LENGTH and " " not in text and _bits(text) > _RANDOM_BITS


def _is_alphabet_or_words(text: str) -> bool:
    """Return whether a text is an alphabet, or words, or a URL of words no part of which is random.

    An alphabet goes from letter to letter; keys do not.
    """
    steps = sum(abs(ord(a) - ord(b)) == 1 for a, b in pairwise(text))
    if steps * 2 > len(text):
        return True
    noise = (part for part in _PARTS.split(text) if _share(_PIECE.findall(part)) < _WORDS_SHARE)
    return _share(_PIECE.findall(text)) >= _WORDS_SHARE and not any(map(_is_random, noise))


def _bits(text: str) -> float:
    """Return the bits of a character, by how often each occurs."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
