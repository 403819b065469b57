"""Settings and where they came from; names of functions, and what people type for them."""

from __future__ import annotations

import os
import string
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scatter import names
from scatter.config import DEFAULT_URL, SETTINGS, Settings, checked_labels, redact, resolve
from scatter.errors import Ambiguous, NotFound, StoreUnavailable, UsageError
from scatter.store import open_store

# settings -----------------------------------------------------------------------------------


def project(folder: Path, text: str) -> Path:
    """Write a `pyproject.toml`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pyproject.toml"
    file.write_text(textwrap.dedent(text))
    return file


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCATTER_AUTHOR", raising=False)


def test_without_any_settings_the_defaults_are_in_force(tmp_path: Path) -> None:
    found = resolve(start=tmp_path)
    assert found == Settings(origins=dict.fromkeys(SETTINGS, "default"))
    assert found.redis_url == DEFAULT_URL == "redis://localhost:6379"
    assert (found.namespace, found.author, found.paths) == ("default", "", (".",))


def test_each_layer_goes_over_the_one_below_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project(tmp_path, '[tool.scatter]\nnamespace = "file"\nauthor = "file"\npaths = ["a"]')
    monkeypatch.setenv("SCATTER_NAMESPACE", "env")
    monkeypatch.setenv("SCATTER_AUTHOR", "env")
    found = resolve(start=tmp_path, namespace="argument")
    assert list(found.shown()) == [
        ("redis_url", DEFAULT_URL, "default"),
        ("namespace", "argument", "argument"),
        ("author", "env", "environment SCATTER_AUTHOR"),
        ("paths", "a", str(file)),
        ("track", "", "default"),
        ("checks", "", "default"),
        ("labels", "", "default"),
        ("application", "", "default"),
        ("cache", "", "default"),
        ("trust", "on", "default"),
        ("redis_username", "", "default"),
        ("redis_password_file", "", "default"),
        ("redis_ca_file", "", "default"),
        ("redis_cert_file", "", "default"),
        ("redis_key_file", "", "default"),
    ]


def test_patterns_of_modules_are_a_list_or_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, '[tool.scatter]\ntrack = ["pricing.*", "rates"]')
    assert resolve(start=tmp_path).track == ("pricing.*", "rates")
    monkeypatch.setenv("SCATTER_TRACK", "shop.*, tools jobs")
    assert resolve(start=tmp_path).track == ("shop.*", "tools", "jobs")


def test_labels_are_a_table_a_list_or_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, '[tool.scatter]\nlabels = {region = "eu", tier = "web"}')
    assert resolve(start=tmp_path).labels == ("region=eu", "tier=web")
    project(tmp_path, '[tool.scatter]\nlabels = ["region=eu"]')
    assert resolve(start=tmp_path).labels == ("region=eu",)
    monkeypatch.setenv("SCATTER_LABELS", "region=us,zone=b=2")
    found = resolve(start=tmp_path).labels
    assert checked_labels(found) == {"region": "us", "zone": "b=2"}
    monkeypatch.setenv("SCATTER_LABELS", " region=us, zone=b ")
    assert resolve(start=tmp_path).labels == ("region=us", "zone=b")
    for wrong in ("region", "=eu", ["a=1", 2]):
        with pytest.raises(UsageError, match=r"labels .argument.: expected a list of `key=value`"):
            resolve(start=tmp_path, labels=wrong)


def test_settings_with_others_for_some_keep_the_rest(tmp_path: Path) -> None:
    project(tmp_path, '[tool.scatter]\ntrack = "pricing.*"\nnamespace = "shop"')
    found = resolve(start=tmp_path)
    other = found.but(namespace="bar", redis_url=None)
    assert (other.namespace, other.track) == ("bar", ("pricing.*",))
    assert other.redis_url == found.redis_url
    assert other.origins["namespace"] == "argument"
    assert other.but(namespace="shop").same_as(found)
    assert not other.same_as(found)
    with pytest.raises(UsageError, match=r"namespace .argument.: expected 1 to 100 letters"):
        found.but(namespace="no such name")


def test_the_own_variable_goes_before_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://common")
    found = resolve(start=tmp_path)
    assert (found.redis_url, found.origins["redis_url"]) == (
        "redis://common",
        "environment REDIS_URL",
    )
    monkeypatch.setenv("SCATTER_REDIS_URL", "redis://own")
    found = resolve(start=tmp_path)
    assert (found.redis_url, found.origins["redis_url"]) == (
        "redis://own",
        "environment SCATTER_REDIS_URL",
    )


def test_an_empty_variable_counts_as_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_REDIS_URL", "")
    monkeypatch.setenv("SCATTER_NAMESPACE", "")
    assert resolve(start=tmp_path).origins == dict.fromkeys(SETTINGS, "default")


def test_none_counts_as_not_given(tmp_path: Path) -> None:
    assert resolve(start=tmp_path, namespace=None, redis_url=None).namespace == "default"


def test_the_nearest_file_with_our_table_is_read_upward(tmp_path: Path) -> None:
    outer = project(tmp_path, '[tool.scatter]\nnamespace = "outer"')
    project(tmp_path / "a", "[tool.other]\nx = 1")
    inner = project(tmp_path / "a" / "b", '[tool.scatter]\nnamespace = "inner"')
    below = tmp_path / "a" / "b" / "c"
    below.mkdir()
    assert resolve(start=below).origins["namespace"] == str(inner)
    found = resolve(start=tmp_path / "a")
    assert (found.namespace, found.origins["namespace"]) == ("outer", str(outer))


def test_the_current_directory_is_where_the_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, '[tool.scatter]\nnamespace = "here"')
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert resolve().namespace == "here"


def test_old_and_short_words_are_understood(tmp_path: Path) -> None:
    project(tmp_path, '[tool.scatter]\nprefix = "shop"\nurl = "redis://there"')
    found = resolve(start=tmp_path)
    assert (found.namespace, found.redis_url) == ("shop", "redis://there")
    assert resolve(start=tmp_path, prefix="given").namespace == "given"


def test_paths_from_the_environment_are_separated_as_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_PATHS", os.pathsep.join(["src", "lib"]))
    assert resolve(start=tmp_path).paths == ("src", "lib")


def test_an_unknown_setting_in_the_file_is_named_with_the_known_ones(tmp_path: Path) -> None:
    file = project(tmp_path, '[tool.scatter]\nnamespac = "shop"')
    with pytest.raises(UsageError) as caught:
        resolve(start=tmp_path)
    assert str(caught.value) == (
        f"{file}: [tool.scatter] has the unknown setting 'namespac'. "
        f"Known are: {', '.join(name for name in SETTINGS if name != 'trust')}."
    )


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = project(tmp_path, "[tool.scatter\n")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        resolve(start=tmp_path)
    assert str(caught.value).startswith(f"{file} cannot be read: ")


@pytest.mark.parametrize(
    "text", ["tool = 1", 'tool = "scatter"', "[tool]\nscatter = 1", "[[tool.scatter]]"]
)
def test_a_file_whose_tool_scatter_is_no_table_is_refused_by_name(
    tmp_path: Path, text: str
) -> None:
    file = project(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        resolve(start=tmp_path)
    assert str(file) in str(caught.value)
    assert "table" in str(caught.value)


def test_a_bad_argument_says_that_it_was_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(start=tmp_path, namespace="my shop")
    assert str(caught.value) == (
        "namespace (argument): expected 1 to 100 letters, digits, dots, dashes or underscores, "
        "found 'my shop'."
    )


def test_a_bad_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCATTER_NAMESPACE", "a{b}")
    with pytest.raises(UsageError, match=r"namespace \(environment SCATTER_NAMESPACE\).*'a\{b\}'"):
        resolve(start=tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("namespace = 7", "expected 1 to 100 letters, digits, dots, dashes or underscores"),
        ("redis_url = true", "expected text, found True."),
        ("paths = [1]", "expected a list of paths, found [1]."),
        ("author = []", "expected text, found []."),
    ],
)
def test_a_bad_value_in_the_file_says_which_file(tmp_path: Path, line: str, message: str) -> None:
    file = project(tmp_path, f"[tool.scatter]\n{line}")
    with pytest.raises(UsageError) as caught:
        resolve(start=tmp_path)
    setting = line.split(" ", 1)[0]
    assert str(caught.value).startswith(f"{setting} ({file}): ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a{b", "a}", "a:b", "a/b", "é", "x" * 101, "a\n"])
def test_a_namespace_that_would_break_keys_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="namespace"):
        resolve(start=tmp_path, namespace=name)


@pytest.mark.parametrize("name", ["a", "x" * 100, "shop.eu-1_b"])
def test_a_namespace_of_harmless_characters_is_taken(tmp_path: Path, name: str) -> None:
    assert resolve(start=tmp_path, namespace=name).namespace == name


# passwords ----------------------------------------------------------------------------------

_SECRET_TEXT = st.text(string.ascii_letters + string.digits + "!$&'()*+,;=:%._~-", min_size=6)
_PASSWORDS = _SECRET_TEXT.map(lambda text: f"Qx{text}xQ")
_HOSTS = st.sampled_from(["localhost", "10.0.0.1:6380", "[::1]:6379", "redis.internal"])
_USERS = st.sampled_from(["", "ann", "an%40n", "default"])
_TAILS = st.sampled_from(["", "/", "/0", "/3?ssl_cert_reqs=none", "?db=1"])


@given(
    scheme=st.sampled_from(["redis", "rediss"]),
    user=_USERS,
    password=_PASSWORDS,
    host=_HOSTS,
    tail=_TAILS,
)
@settings(deadline=None, max_examples=200)
def test_no_password_of_a_url_is_ever_shown(
    scheme: str, user: str, password: str, host: str, tail: str
) -> None:
    url = f"{scheme}://{user}:{password}@{host}{tail}"
    assert redact(url) == f"{scheme}://{user}:***@{host}{tail}"
    shown = Settings(redis_url=url, origins={})
    assert password not in repr(shown)
    assert password not in str(list(shown.shown()))


@given(
    password=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#?\\[]"),
        min_size=6,
    ).map(lambda text: f"Qx{text}xQ")
)
@settings(deadline=None, max_examples=200)
def test_not_even_a_password_that_should_have_been_escaped_is_shown(password: str) -> None:
    """`/` and `@` belong escaped into a URL, and people paste them as they are."""
    shown = redact(f"redis://ann:{password}@localhost:6379/0")
    assert password not in shown
    for piece in (password[:5], password[-5:]):
        assert piece not in shown


@given(password=_PASSWORDS, key=st.sampled_from(["password", "PASSWORD", "ssl_password", "token"]))
@settings(deadline=None, max_examples=100)
def test_no_secret_of_a_query_is_ever_shown(password: str, key: str) -> None:
    value = password.replace("&", "")
    for url in (
        f"unix:///run/redis.sock?{key}={value}",
        f"unix:///run/redis.sock?db=1&{key}={value}",
        f"redis://localhost?{key}={value}&db=1",
    ):
        assert value not in redact(url)
        assert "***" in redact(url)


@given(
    host=_HOSTS,
    tail=st.sampled_from(["", "/", "/0", "?db=1", "/2"]),
    user=st.sampled_from(["", "ann@"]),
)
@settings(deadline=None, max_examples=50)
def test_a_url_without_password_is_shown_as_it_is(host: str, tail: str, user: str) -> None:
    url = f"redis://{user}{host}{tail}"
    assert redact(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:Qhunter2Q@127.0.0.1:1/0",
        "redis://:Qhunter2Q@127.0.0.1:1",
        "rediss://:Qhunter2Q@127.0.0.1:1",
        "redis://:Qhunter2Q@127.0.0.1:1?socket_timeout=1",
        "unix:///nowhere/r.sock?password=Qhunter2Q",
        "unix://ann:Qhunter2Q@/nowhere/r.sock",
        "redis+sentinel://ann:Qhunter2Q@127.0.0.1:1,127.0.0.1:2/m",
        "rediss+sentinel://127.0.0.1:1/m?sentinel_password=Qhunter2Q",
        "redis+cluster://ann:Qhunter2Q@127.0.0.1:1,localhost:2",
    ],
)
def test_no_error_of_a_store_shows_a_password(url: str) -> None:
    store = open_store(url, "n")
    with pytest.raises(StoreUnavailable) as caught:
        store.read(0)
    error: BaseException | None = caught.value
    assert "scatter server" in str(error)
    assert "local://" in str(error)
    assert "***" in caught.value.url
    shown = [repr(store), store.address]
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert "hunter2" not in " ".join(shown)
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:Qhunter2Q@host:port",
        "redis://:Qhunter2Q@[::1",
        "redis://:Qhunter2Q@host:99999999",
        "redis://ann:Qhunter2Q@host:6379x/0",
        "redis://ann:Qhunter2Q#@host:6379/0",
        "http://ann:Qhunter2Q@host/",
        "ann:Qhunter2Q@host",
        "Qhunter2Q@host:6379",
        "redis:ann:Qhunter2Q@host",
        "redis://:Qhunter2Q@host:0",
        "redis://:Qhunter2Q@:6379",
        "redis://ann:Qhunter2Q?@host:6379/0",
        "redis://ann:1/Qhunter2Q@host:6379/0",
        "redis://:Qhunter2Q@host/first",
        "redis://:Qhunter2Q@host?db=first",
        "redis://:Qhunter2Q@host/-1",
        "unix://ann:Qhunter2Q@",
        "unix://",
        "unix:///run/redis.sock?db=first&password=Qhunter2Q",
    ],
)
def test_a_malformed_url_is_refused_at_once_without_showing_its_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^redis_url \(argument\): expected ") as caught:
        resolve(start=tmp_path, redis_url=url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error} {error!r}"
        error = error.__cause__  # a traceback prints no context that was left out with `from None`


_HOSTS = "hosts with ports from 1 to 65535, separated by commas"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "foo",
            "expected an address that begins with redis://, rediss://, unix://, local://, "
            "memory://, redis+sentinel://, rediss+sentinel://, redis+cluster://, "
            "rediss+cluster://, dir:; found text without `://`.",
        ),
        (
            "http://host/",
            "expected an address that begins with redis://, rediss://, unix://, local://, "
            "memory://, redis+sentinel://, rediss+sentinel://, redis+cluster://, "
            "rediss+cluster://, dir:; found http://.",
        ),
        ("redis://host:x", "expected a host, and a port from 1 to 65535, found redis://host:x."),
        ("redis://host/x", "expected a database that is a whole number, found redis://host/x."),
        ("unix://?db=1", "expected the path of a socket, found unix://?db=1."),
        (
            "redis+sentinel://a,b:26379",
            "expected the master's name, as the sentinels know it, as the path, "
            "found redis+sentinel://a,b:26379. It looks like "
            "redis+sentinel://user:password@host1:26379,host2:26379/mymaster/0;",
        ),
        ("redis+sentinel://a/m/x", "expected a database that is a whole number, found "),
        ("redis+sentinel://a/m?db=1", "expected the database as the path's second part, found "),
        ("redis+sentinel://a:1,/m", f"expected {_HOSTS}, found redis+sentinel://a:1,/m."),
        ("rediss+cluster://a:0", f"expected {_HOSTS}, found rediss+cluster://a:0. It looks like "),
        ("redis+cluster://a:65536", f"expected {_HOSTS}, found "),
        ("redis+cluster://", f"expected {_HOSTS}, found "),
        ("redis+cluster:///run/redis.sock", f"expected {_HOSTS}, found "),
        ("redis+cluster://a/1", "expected no database: a cluster has only number 0, found "),
        ("redis+cluster://a?db=1", "expected no database: a cluster has only number 0, found "),
        (
            "redis+cluster://a?sentinel_password=Qx",
            "expected no log-in for sentinels in the address of a cluster, found "
            "redis+cluster://a?sentinel_password=***. ",
        ),
    ],
)
def test_a_malformed_url_is_answered_with_what_was_expected(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_REDIS_URL", url)
    with pytest.raises(UsageError) as caught:
        resolve(start=tmp_path)
    assert str(caught.value).startswith(f"redis_url (environment SCATTER_REDIS_URL): {message}")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        "redis:///1",
        "redis://[::1]:6379/15?ssl_cert_reqs=none",
        "rediss://ann:p%40ss%2F@host:65535?db=2",
        "unix:///run/redis.sock?db=3&password=x",
        "unix://ann:secret@/run/redis.sock",
        "local://",
        "memory://one",
    ],
)
def test_a_well_formed_url_is_taken_as_it_is(url: str, tmp_path: Path) -> None:
    assert resolve(start=tmp_path, redis_url=url).redis_url == url


# names --------------------------------------------------------------------------------------

_PART = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_DOTTED = st.lists(_PART, min_size=1, max_size=4).map(".".join)


@given(module=st.one_of(st.just(""), _DOTTED), qualname=_DOTTED)
@settings(deadline=None, max_examples=100)
def test_a_name_splits_into_what_it_was_made_of(module: str, qualname: str) -> None:
    full = names.function_name(module, qualname)
    assert names.split(full) == (module, qualname)
    assert names.check(full) == full


@pytest.mark.parametrize("name", ["score", "Model.predict", "shop.pricing:score", "m:A.B.c", "é:ü"])
def test_a_name_of_identifiers_is_taken(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ":", "a:", ":a", "a b", "a-b", "1a", "a..b", ".a", "a.", "a:b:c", "a{b}", "a\n", "<a>"],
)
def test_a_name_that_is_none_is_refused_with_how_one_looks(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        names.check(name)
    assert str(caught.value) == (
        f"A function's name looks like `module:qualname` or `qualname`; found {name!r}. "
        "Use identifiers joined by dots, at most 500 characters."
    )


def test_a_name_of_more_than_500_characters_is_refused() -> None:
    assert names.check("a" * 500)
    with pytest.raises(UsageError, match="at most 500 characters"):
        names.check("a" * 501)


KNOWN = ["shop.pricing:score", "shop.pricing:Model.predict", "shop.rank:score", "lone"]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("shop.pricing:score", "shop.pricing:score"),
        ("pricing:score", "shop.pricing:score"),
        ("rank:score", "shop.rank:score"),
        ("predict", "shop.pricing:Model.predict"),
        ("Model.predict", "shop.pricing:Model.predict"),
        ("lone", "lone"),
    ],
)
def test_a_short_form_is_enough_where_it_is_unique(asked: str, meant: str) -> None:
    assert names.resolve(asked, KNOWN) == meant


def test_a_name_without_module_is_not_hidden_by_longer_ones() -> None:
    assert names.resolve("score", ["score", "a:score", "b:score"]) == "score"


def test_an_ambiguous_short_form_lists_what_it_could_mean() -> None:
    with pytest.raises(Ambiguous) as caught:
        names.resolve("score", KNOWN)
    assert str(caught.value) == (
        "`score` could be any of: shop.pricing:score, shop.rank:score. Use the full name."
    )
    assert caught.value.candidates == ("shop.pricing:score", "shop.rank:score")
    assert caught.value.name == "score"


@pytest.mark.parametrize("asked", ["cing:score", "core", "edict", "shop", "shop.pricing", "", ":"])
def test_a_piece_of_a_word_is_no_short_form(asked: str) -> None:
    with pytest.raises(NotFound) as caught:
        names.resolve(asked, KNOWN)
    assert str(caught.value) == f"Function `{asked}` doesn't exist"


def test_a_mistyped_name_is_answered_with_the_closest_ones() -> None:
    with pytest.raises(KeyError) as caught:
        names.resolve("shop.pricing:scor", KNOWN)
    assert isinstance(caught.value, NotFound)
    assert caught.value.candidates[0] == "shop.pricing:score"
    (note,) = caught.value.__notes__
    assert note.startswith("Did you mean `shop.pricing:score`")


def test_every_function_whose_short_form_comes_close_is_suggested() -> None:
    with pytest.raises(NotFound) as caught:
        names.resolve("scor", KNOWN)
    assert set(caught.value.candidates) == {"shop.pricing:score", "shop.rank:score"}


def test_a_name_unlike_any_other_suggests_nothing() -> None:
    with pytest.raises(NotFound) as caught:
        names.resolve("zzzzzzzz", KNOWN)
    assert caught.value.candidates == ()
    assert not hasattr(caught.value, "__notes__")


@given(known=st.sets(st.builds(names.function_name, _DOTTED, _DOTTED), max_size=6), asked=_DOTTED)
@settings(deadline=None, max_examples=100)
def test_resolving_gives_the_one_name_that_fits_or_an_error_that_lists_known_ones(
    known: set[str], asked: str
) -> None:
    for name in known:
        assert names.resolve(name, known) == name
    meant = [n for n in known if n == asked or n.endswith((f":{asked}", f".{asked}"))]
    if len(meant) == 1 or asked in known:
        assert names.resolve(asked, known) in meant
        return
    with pytest.raises(NotFound) as caught:
        names.resolve(asked, known)
    assert set(caught.value.candidates) <= known
    assert isinstance(caught.value, Ambiguous) == bool(meant)


# names of files and scripts -------------------------------------------------------------------


def write(folder: Path, *files: str) -> None:
    for file in files:
        folder.joinpath(file).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(file).touch()


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("src/pricing.py", "pricing"),
        ("src/shop/__init__.py", "shop"),
        ("src/shop/rates.py", "shop.rates"),
        ("src/shop/deep/__init__.py", "shop.deep"),
        ("src/shop/deep/tax.py", "shop.deep.tax"),
        ("src/plain/tool.py", "tool"),
    ],
)
def test_a_file_has_the_name_that_importing_it_gives(
    tmp_path: Path, file: str, module: str
) -> None:
    write(
        tmp_path,
        "src/pricing.py",
        "src/shop/__init__.py",
        "src/shop/rates.py",
        "src/shop/deep/__init__.py",
        "src/shop/deep/tax.py",
        "src/plain/tool.py",
    )
    assert names.module_of_file(tmp_path / file) == module
    assert names.module_of_file(str(tmp_path / file)) == module


def test_a_relative_path_has_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "shop/__init__.py", "shop/rates.py")
    monkeypatch.chdir(tmp_path / "shop")
    assert names.module_of_file("rates.py") == "shop.rates"


SCRIPT = """
import scatter


@scatter.track
def score(x):
    return x


class Model:
    @scatter.track
    def predict(self):
        return 1


if __name__ == "__main__":
    from scatter.registry import REGISTRY

    print(*sorted(REGISTRY.slots()))
"""


def run(folder: Path, *arguments: str) -> list[str]:
    """Run Python; return the words that it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("file", "arguments", "module"),
    [
        ("shop.py", ("shop.py",), "shop"),
        ("tools/shop.py", ("tools/shop.py",), "shop"),
        ("shop.py", ("-m", "shop"), "shop"),
        ("pkg/shop.py", ("-m", "pkg.shop"), "pkg.shop"),
        ("pkg/shop.py", ("pkg/shop.py",), "pkg.shop"),
        ("pkg/__main__.py", ("-m", "pkg"), "pkg.__main__"),
        ("pkg/__main__.py", ("pkg",), "pkg.__main__"),
        ("shop.py", ("-c", "import runpy; runpy.run_path('shop.py')"), "shop"),
        ("shop.py", ("-c", "import runpy; runpy.run_path('shop.py', None, '__main__')"), "shop"),
    ],
)
def test_a_script_names_its_functions_as_importing_its_file_would(
    tmp_path: Path, file: str, arguments: tuple[str, ...], module: str
) -> None:
    if file.startswith("pkg/"):
        write(tmp_path, "pkg/__init__.py")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT.replace('__name__ == "__main__"', "True"))
    expected = [f"{module}:Model.predict", f"{module}:score"]
    assert names.module_of_file(path) == module
    assert run(tmp_path, *arguments) == expected
    assert run(path.parent if "pkg" not in file else tmp_path, "-c", f"import {module}") == expected


def test_code_without_a_file_has_names_without_module(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", SCRIPT) == ["Model.predict", "score"]


def test_a_script_whose_file_name_is_no_identifier_is_told_to_name_its_functions(
    tmp_path: Path,
) -> None:
    (tmp_path / "nightly-job.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "nightly-job.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "'nightly-job:score'" in message
    assert "@scatter.track(name=" in message


def test_a_script_that_is_also_imported_is_told_that_its_file_is_loaded_twice(
    tmp_path: Path,
) -> None:
    """`python shop.py`, where another module imports shop: two copies, of which a push could
    only reach one. To name one copy otherwise is no way out: both stand on the same line.
    """
    text = SCRIPT.replace("    print(", "    import other\n    print(")
    (tmp_path / "shop.py").write_text(text)
    (tmp_path / "other.py").write_text("import shop\n")
    done = subprocess.run(
        [sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "`shop:score`" in message
    assert "__main__" in message
    assert "twice" in message


def test_trust_is_on_unless_a_process_says_for_itself_that_it_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve(start=tmp_path).trust == "on"
    monkeypatch.setenv("SCATTER_TRUST", "off")
    assert resolve(start=tmp_path).trust == "off"
    monkeypatch.setenv("SCATTER_TRUST", "no")
    with pytest.raises(UsageError, match=r"trust .environment SCATTER_TRUST.: expected 'on' or"):
        resolve(start=tmp_path)
    monkeypatch.delenv("SCATTER_TRUST")
    file = project(tmp_path, '[tool.scatter]\ntrust = "off"')
    with pytest.raises(UsageError, match=r"cannot set 'trust': each process says it for itself"):
        resolve(start=tmp_path)
    assert file.exists()


def test_a_store_that_is_named_comes_before_the_address_of_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_REDIS_URL", "redis://elsewhere:6379")
    monkeypatch.setenv("SCATTER_STORE", "dir:/var/lib/scatter?owner=scatter")
    settings = resolve(start=tmp_path)
    assert settings.redis_url == "dir:/var/lib/scatter?owner=scatter"
    assert settings.origins["redis_url"] == "environment SCATTER_STORE"


@pytest.mark.parametrize("url", ["dir:", "dir:?owner=root"])
def test_a_directory_without_a_path_is_an_error(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_STORE", url)
    with pytest.raises(UsageError, match=r"\(environment SCATTER_STORE\): expected dir:PATH"):
        resolve(start=tmp_path)
