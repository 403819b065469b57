"""Bundles: built from source without running it, the same bytes everywhere, safe to open."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT

from scatter.analysis import ModuleSource, same_code
from scatter.bundle import MAX_BUNDLE_BYTES, Bundle, Item, Part, codec, decode, digest_of, encode
from scatter.bundle.build import Built, build
from scatter.bundle.model import ITEM_KINDS
from scatter.errors import Refused, Untrusted
from scatter.workspace import same_bundle

quick = settings(deadline=None, max_examples=150)

SHOP = '''\
"""Prices."""

from __future__ import annotations

import json
import logging as log
from decimal import ROUND_UP, Decimal

import scatter

RATE = Decimal("1.20")
LIMITS = {"low": 1, "high": 100}
cache = {}
connection = connect("redis://:s3cret@db/0")


def clamp(value):
    return max(LIMITS["low"], min(LIMITS["high"], value))


# what everybody calls
@scatter.track
def score(item, bonus=0):
    """Return the price of an item."""
    if item in cache:
        return cache[item]
    found = connection.get(item)
    price = clamp(json.loads(found)["price"]) * RATE
    log.info("priced %s", item)
    cache[item] = price.quantize(Decimal("0.01"), ROUND_UP) + bonus
    return rank(cache[item])


@scatter.track
def rank(value):
    return {n: v for n, v in sorted({"a": value}.items())}


class Unrelated:
    pass
'''

SMALL = '''\
import scatter

RATE = 1.2


def discount(customer, total):
    """Return what a customer pays less."""
    if customer.years > 5:
        return total * 0.05
    return 0


@scatter.track
def invoice(customer, items):
    """Return the total that a customer pays, and the lines of the invoice."""
    lines = []
    total = 0
    for item in items:
        price = item.price * item.count
        if item.on_sale:
            price = price * 0.8
        lines.append((item.name, price))
        total += price
    total -= discount(customer, total)
    count = len(lines)
    if total < 0:
        raise ValueError("a negative total")
    if not count:
        return 0, []
    taxed = total * RATE
    for name, price in lines:
        if price > 1000:
            print("large:", name)
    return taxed, lines
'''


def built(text: str, qualname: str = "score", module: str = "shop") -> Built:
    """Build one function of a text."""
    return build(ModuleSource(text, name=module, file="shop.py"), qualname)


def bundle_of(text: str, qualname: str = "score", module: str = "shop") -> Bundle:
    """Build the bundle of one function of a text."""
    return built(text, qualname, module).bundle


# what is in one ----------------------------------------------------------------------------------


def test_a_bundle_has_what_the_function_reaches_and_nothing_else() -> None:
    made = built(SHOP)
    kinds = {item.name: item.kind for item in made.bundle.items}
    assert kinds == {
        "json": "import",
        "log": "import",
        "Decimal": "import",
        "ROUND_UP": "import",
        "RATE": kinds["RATE"],
        "LIMITS": "constant",
        "cache": "state",
        "connection": "state",
        "clamp": "function",
        "rank": "tracked",
    }
    assert made.bundle.function == "shop:score"
    assert (made.bundle.qualname, made.bundle.module, made.bundle.skip) == ("score", "shop", 1)
    assert made.bundle.parts[0].future == ("annotations",)
    assert (made.lines[0], made.file) == (22, "shop.py")
    assert len(made.lines) == 1 + len(made.bundle.items)


def test_the_text_of_state_stays_and_so_does_a_tracked_function() -> None:
    data = zlib.decompress(encode(bundle_of(SHOP))[4:])
    items = {item.name: item for item in bundle_of(SHOP).items}
    assert b"s3cret" not in data
    assert items["connection"].source == ""
    assert items["rank"].source == "shop:rank"
    assert b"sorted(" not in data
    assert b"Unrelated" not in data


def test_a_function_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        bundle_of(SHOP, "scor")
    assert caught.value.reason == "no-source"
    assert str(caught.value).startswith("`scor` is not defined in shop.py.")
    assert caught.value.function == "shop:scor"


def test_a_function_that_is_tracked_twice_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        bundle_of("import scatter\n" + "@scatter.track\ndef f(): return 1\n" * 2, "f")
    assert caught.value.reason == "defined-twice"
    assert "`f` is defined more than once in shop.py" in str(caught.value)
    assert "Track one of them, or give them different names." in caught.value.hint


def test_of_two_definitions_the_tracked_one_is_meant() -> None:
    text = "import scatter\n@scatter.track\ndef f(): return 1\ndef f(): return 2\n"
    assert bundle_of(text, "f").source == "@scatter.track\ndef f(): return 1"


def test_a_name_that_nobody_knows_is_in_the_bundle() -> None:
    made = built("def f(): return later + len([]) + __name__\n", "f")
    assert made.bundle.unknown == ("later",)
    assert made.bundle.items == ()


def test_building_runs_nothing() -> None:
    text = "raise SystemExit\nimport no_such_module\n@no_such_module.boom\ndef f(): return g()\n"
    assert bundle_of(text, "f").source.endswith("def f(): return g()")


# identity ----------------------------------------------------------------------------------------


def digest(text: str, qualname: str = "score") -> str:
    """Return the address of one function of a text."""
    return digest_of(encode(bundle_of(text, qualname)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Prices."""', '"""Prices.\n\nAnd more of them.\n"""\n\n\n'),
        ("# what everybody calls", "# what nobody calls\n# any more"),
        ("class Unrelated:", "class Renamed:\n    field = 1\n\n\nclass Unrelated:"),
        ("import json\n", "import json\nimport os\nimport sys\n"),
        ("from decimal import ROUND_UP, Decimal", "from decimal import Decimal, ROUND_UP, Context"),
        (
            "from decimal import ROUND_UP, Decimal",
            "from decimal import (\n ROUND_UP,\n Decimal,\n)",
        ),
        ('connect("redis://:s3cret@db/0")', 'connect("redis://:other@db/1")'),
        ("    return {n: v for", "    value += 1\n    return {n: v for"),
        ("\n\nclass Unrelated:\n    pass\n", "\n"),
        (SHOP, SHOP + "\n\ndef new():\n    return score(1)\n"),
    ],
)
def test_an_edit_elsewhere_is_the_same_bundle(old: str, new: str) -> None:
    assert old in SHOP
    assert digest(SHOP.replace(old, new)) == digest(SHOP)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bonus=0", "bonus=1"),
        ('"low": 1', '"low": 2'),
        ("def clamp(value):\n    return max", "def clamp(value):\n    return min"),
        ("import logging as log", "import syslog as log"),
        ('"""Return the price of an item."""', '"""Return a price."""'),
        ("@scatter.track\ndef score", "@scatter.track\n@cached\ndef score"),
        ("cache = {}", "cache = []"),
        ("from __future__ import annotations\n", ""),
        ("    log.info", "    # inside\n    log.info"),
    ],
)
def test_an_edit_of_what_the_function_needs_is_another_bundle(old: str, new: str) -> None:
    assert old in SHOP
    assert digest(SHOP.replace(old, new)) != digest(SHOP)


def test_code_that_moved_is_the_same_bundle_at_other_lines() -> None:
    down = "\n\n\n" + SHOP
    assert digest(down) == digest(SHOP)
    assert built(down).lines == tuple(line + 3 for line in built(SHOP).lines)


def test_code_that_is_nested_deep_is_compared_as_well() -> None:
    """A sum of many parts is a tree as deep: more than Python would recurse into."""
    one = "def f(x):\n    return " + " + ".join(["x"] * 600)
    assert same_code(one, f"{one}  # the same")
    assert not same_code(one, f"{one} + y")
    assert not same_code(one, f"{one} + 0.0")
    assert not same_code(f"{one} + 0.0", f"{one} + 0")


def test_a_helper_that_moved_past_others_is_the_same_code() -> None:
    """Not the same bytes: items stand in the order of their file, in which they are evaluated."""
    clamp = SHOP[SHOP.index("def clamp") : SHOP.index("# what everybody")]
    moved = SHOP.replace(clamp, "").replace("class Unrelated:", clamp + "class Unrelated:")
    assert same_bundle(bundle_of(moved), bundle_of(SHOP))


def test_a_reverted_edit_is_the_old_bundle_again() -> None:
    edited = SHOP.replace("bonus=0", "bonus=1")
    assert digest(edited.replace("bonus=1", "bonus=0")) == digest(SHOP)


def test_the_module_and_the_name_are_part_of_the_bundle() -> None:
    assert encode(bundle_of(SHOP, module="store")) != encode(bundle_of(SHOP))
    assert bundle_of(SHOP, module="").function == "score"
    assert bundle_of(SHOP, module="").module == ""


# size --------------------------------------------------------------------------------------------


def test_a_function_of_twenty_lines_with_one_helper_is_at_most_450_bytes() -> None:
    bundle = bundle_of(SMALL, "invoice")
    assert len(bundle.source.splitlines()) == 22, "with its decorator and a docstring"
    assert [item.name for item in bundle.items if item.kind == "function"] == ["discount"]
    assert len(encode(bundle)) <= 450


def test_a_bundle_that_is_too_big_is_refused_with_its_size() -> None:
    noise = base64.b85encode(os.urandom(MAX_BUNDLE_BYTES + 1000)).decode()
    with pytest.raises(Refused) as caught:
        encode(Bundle(function="shop:f", qualname="f", source=noise, parts=(Part(module="m"),)))
    assert caught.value.reason == "too-big"
    assert caught.value.function == "shop:f"
    assert "The bundle of `shop:f` has 4," in str(caught.value)
    assert "at most 4,194,304 (16,777,216) are allowed." in str(caught.value)
    assert "Load large data at run time" in caught.value.hint


def test_a_source_that_compresses_well_is_refused_by_its_size_before_compression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "MAX_SOURCE_BYTES", 10_000)
    bundle = Bundle(function="f", qualname="f", source="x" * 10_000, parts=(Part(module="m"),))
    with pytest.raises(Refused) as caught:
        encode(bundle)
    assert caught.value.reason == "too-big"


def test_everything_that_can_be_written_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_SOURCE_BYTES", 300)
    shell = Bundle(function="f", qualname="f", source="x", parts=(Part(module="m"),))
    room = 300 - len(zlib.decompress(encode(shell)[4:])) + 1
    bundle = Bundle(function="f", qualname="f", source="x" * room, parts=(Part(module="m"),))
    assert len(zlib.decompress(encode(bundle)[4:])) == 300
    assert decode(encode(bundle)) == bundle


# the same bytes everywhere --------------------------------------------------------------------

IN_ANOTHER_PYTHON = """
import sys
from scatter.analysis import ModuleSource
from scatter.bundle import encode
from scatter.bundle.build import build
text = sys.stdin.read()
for qualname in sys.argv[1:]:
    built = build(ModuleSource(text, name="shop", file="shop.py"), qualname)
    print(encode(built.bundle).hex(), built.lines)
assert not {"redis", "cloudpickle"} & set(sys.modules)
"""


def bytes_from(python: str, text: str, *qualnames: str, **environment: str) -> list[str]:
    """Return what another interpreter makes of functions: their bundles in hex, and their lines."""
    done = subprocess.run(
        [python, "-c", IN_ANOTHER_PYTHON, *qualnames],
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def bytes_here(text: str, *qualnames: str) -> list[str]:
    """Return what this interpreter makes of them."""
    found = [built(text, qualname) for qualname in qualnames]
    return [f"{encode(b.bundle).hex()} {b.lines}" for b in found]


EVERY_SORT = SHOP + textwrap.dedent("""

    def wide(*rows, **options):
        table = [[cell for cell in row if cell] for row in rows]
        names = {name: {value for value in values} for name, values in options.items()}
        return f"{table!r:>{LIMITS['high']}} {names} {json.dumps(f'{RATE}')}"


    async def stream(source):
        async for item in source:
            yield [clamp(x) async for x in item], (lambda y, z=RATE: y * z)(item)


    class Model:
        SCALE = 2

        @scatter.track
        def predict(self, x, scale=SCALE):
            return wide(score(x)) * scale + len(super().__repr__())
    """)
EVERY_NAME = ("score", "rank", "wide", "stream", "Model.predict")


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_bundles_are_the_same_bytes_under_any_hash_seed(seed: str) -> None:
    found = bytes_from(sys.executable, EVERY_SORT, *EVERY_NAME, PYTHONHASHSEED=seed)
    assert found == bytes_here(EVERY_SORT, *EVERY_NAME)


def interpreter(name: str) -> str:
    """Return another interpreter that starts, from PATH or beside the one that made this venv."""
    beside = os.path.dirname(os.path.realpath(sys.executable))
    version = name.removeprefix("python")
    siblings = os.path.dirname(os.path.dirname(beside))
    folders = sorted(entry for entry in os.listdir(siblings) if entry.startswith(version + "."))
    paths = [None, *(os.path.join(siblings, folder, "bin") for folder in folders)]
    for path in paths:
        found = shutil.which(name, path=path)
        if (
            found
            and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode
        ):
            return found
    pytest.skip(f"no {name} on PATH or beside this Python")


@pytest.mark.parametrize("name", ["python3.11", "python3.12", "python3.13"])
def test_bundles_are_the_same_bytes_on_every_python(name: str) -> None:
    found = bytes_from(interpreter(name), EVERY_SORT, *EVERY_NAME)
    assert found == bytes_here(EVERY_SORT, *EVERY_NAME)


# encode and decode -------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Return any item."""
    kind = draw(st.sampled_from(ITEM_KINDS))
    captured = kind == "captured"
    return Item(
        kind=kind,
        name=draw(TEXT),
        source="" if captured else draw(TEXT),
        pickle=draw(st.binary(max_size=20)) if captured else b"",
        uses=draw(TEXTS),
    )


ITEMS = st.lists(items(), max_size=3).map(tuple)
BUNDLES = st.builds(
    Bundle,
    function=TEXT.filter(bool),
    qualname=TEXT.filter(bool),
    source=TEXT,
    skip=st.integers(0, 99),
    uses=TEXTS,
    class_names=TEXTS,
    members=TEXTS,
    unknown=TEXTS,
    python=TEXT,
    pickle=st.binary(max_size=20),
    cells=ITEMS,
    parts=st.lists(
        st.builds(Part, module=TEXT, future=TEXTS, items=ITEMS), min_size=1, max_size=3
    ).map(tuple),
)


@quick
@given(BUNDLES)
def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    data = encode(bundle)
    assert decode(data) == bundle
    assert encode(decode(data)) == data
    assert data.startswith(b"SCB1")


def packed(fields: Any, text: bytes | None = None) -> bytes:
    """Return any JSON, or any text, in the form of a bundle."""
    return b"SCB1" + zlib.compress(json.dumps(fields).encode() if text is None else text)


def fields_of(**changed: Any) -> dict[str, Any]:
    """Return the fields of a good bundle, with some set or (`...`) removed."""
    item = [0, "helper", "def helper(): pass", ["RATE"]]
    good: dict[str, Any] = {
        "function": "shop:f",
        "qualname": "f",
        "source": "def f(): pass",
        "parts": [["shop", ["annotations"], [item]]],
    }
    return {name: value for name, value in (good | changed).items() if value is not ...}


def with_item(*item: Any) -> dict[str, Any]:
    """Return the fields of a bundle with this one item."""
    return fields_of(parts=[["shop", [], [list(item)]]])


def test_the_form_that_the_bad_ones_are_made_from_is_good() -> None:
    assert decode(packed(fields_of())).items[0].name == "helper"
    assert decode(packed(with_item(6, "x", "AAAA"))).items[0].pickle == b"\0\0\0"


BAD = {
    "nothing": b"",
    "only the magic": b"SCB1",
    "another magic": b"SCB2" + packed(fields_of())[4:],
    "not compressed": b"SCB1" + json.dumps(fields_of()).encode(),
    "cut short": packed(fields_of())[:-1],
    "followed by more": packed(fields_of()) + b"x",
    "twice": packed(fields_of()) + packed(fields_of())[4:],
    "not JSON": packed(None, b"{"),
    "not UTF-8": packed(None, b'{"a":"\xff"}'),
    "JSON and more": packed(None, json.dumps(fields_of()).encode() + b"{}"),
    "null": packed(None),
    "a number": packed(1),
    "a list": packed([1]),
    "a text": packed("function"),
    "an empty table": packed({}),
    "nested deeply": packed(None, b"[" * 200_000),
    "a number of 5000 digits": packed(None, b"9" * 5000),
    "no function": packed(fields_of(function=...)),
    "no qualname": packed(fields_of(qualname=...)),
    "no parts": packed(fields_of(parts=...)),
    "empty parts": packed(fields_of(parts=[])),
    "parts that are null": packed(fields_of(parts=None)),
    "parts that are a table": packed(fields_of(parts={"a": 1})),
    "a part that is a number": packed(fields_of(parts=[1])),
    "a part too short": packed(fields_of(parts=[["shop", []]])),
    "a part too long": packed(fields_of(parts=[["shop", [], [], []]])),
    "a function that is a number": packed(fields_of(function=1)),
    "a source that is null": packed(fields_of(source=None)),
    "a skip below zero": packed(fields_of(skip=-1)),
    "a skip that is true": packed(fields_of(skip=True)),
    "a skip that is half": packed(fields_of(skip=0.5)),
    "a skip that is no number": packed(fields_of(skip=float("nan"))),
    "uses that are text": packed(fields_of(uses="abc")),
    "uses that are numbers": packed(fields_of(uses=[1])),
    "a pickle that is no base64": packed(fields_of(pickle="!")),
    "a pickle beyond ASCII": packed(fields_of(pickle="é")),
    "cells that are a number": packed(fields_of(cells=1)),
    "an item of an unknown kind": packed(with_item(7, "x", "")),
    "an item of a huge kind": packed(with_item(10**30, "x", "")),
    "an item of a kind below zero": packed(with_item(-1, "x", "")),
    "an item of a kind by name": packed(with_item("function", "x", "")),
    "an item too short": packed(with_item(0, "x")),
    "an item too long": packed(with_item(0, "x", "", [], 1)),
    "an item that is text": packed(fields_of(parts=[["shop", [], ["0xy"]]])),
    "an item with uses of numbers": packed(with_item(0, "x", "", [1])),
    "a captured item without base64": packed(with_item(6, "x", "!")),
    "a cell of an unknown kind": packed(fields_of(cells=[[7, "x", ""]])),
    "an unknown field": packed(fields_of(extra=1)),
    "a field twice": packed(None, json.dumps(fields_of()).encode()[:-1] + b',"skip":1,"skip":2}'),
    "half a character": packed(fields_of(source="\ud800")),
    "UTF-16": packed(None, json.dumps(fields_of()).encode("utf-16")),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_bytes_in_any_other_form_are_untrusted(data: bytes) -> None:
    with pytest.raises(Untrusted) as caught:
        decode(data)
    assert caught.value.reason == "bad-bundle"
    assert str(caught.value).startswith("A bundle is not in the format that this version of scat")
    assert "Push the function again" in caught.value.hint


@quick
@given(st.data())
def test_mutated_bytes_are_a_bundle_or_untrusted_and_nothing_else(data: st.DataObject) -> None:
    good = encode(data.draw(BUNDLES))
    check(data.draw(mutations(good)))
    check(b"SCB1" + zlib.compress(data.draw(mutations(zlib.decompress(good[4:])))))
    check(b"SCB1" + data.draw(st.binary(max_size=40)))


@quick
@given(st.data())
def test_any_value_in_any_place_is_a_bundle_or_untrusted_and_nothing_else(
    data: st.DataObject,
) -> None:
    names = [field.name for field in dataclasses.fields(Bundle)]
    check(packed(fields_of(**{data.draw(st.sampled_from(names)): data.draw(JSON)})))
    check(packed(fields_of(parts=[data.draw(JSON)])))
    check(packed(fields_of(parts=[["shop", [], data.draw(JSON)]])))
    check(packed(with_item(*data.draw(st.lists(JSON, max_size=5)))))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with a few places cut out, written over or written into."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 4)))
        pieces = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"-", b"7", b"1e9", b"null"]
        piece = st.binary(max_size=4) | st.sampled_from(pieces)
        data = data[:start] + draw(piece) + data[end:]
    return data


def check(data: bytes) -> None:
    """Decode: what is read can be written again, and a refusal has its reason."""
    try:
        bundle = decode(data)
    except Untrusted as error:
        reason = error.reason
    else:
        reason = "bad-bundle"
        assert not bundle.qualname or not bundle.function or decode(encode(bundle)) == bundle
    assert reason == "bad-bundle"


def test_decoding_loads_no_pickle() -> None:
    boom = b"cos\nsystem\n(S'exit 1'\ntR."
    item = Item(kind="captured", name="x", pickle=boom)
    bundle = Bundle(
        function="f", qualname="f", source="", pickle=boom, cells=(item,), parts=(Part(module=""),)
    )
    assert decode(encode(bundle)).cells[0].pickle == boom


# bombs -------------------------------------------------------------------------------------------


def zeros(count_mib: int) -> bytes:
    """Return compressed zeros, in the form of a bundle."""
    deflater = zlib.compressobj(9)
    mib = bytes(1 << 20)
    parts = [deflater.compress(mib) for _ in range(count_mib)]
    return b"SCB1" + b"".join(parts) + deflater.flush()


def test_a_bomb_is_not_inflated_beyond_what_a_bundle_may_have() -> None:
    bomb = zeros(512)
    assert len(bomb) < MAX_BUNDLE_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(Untrusted) as caught:
            decode(bomb)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "bad-bundle"
    assert "too long" in str(caught.value)
    assert peak_bytes < 3 * codec.MAX_SOURCE_BYTES


def test_bytes_larger_than_a_bundle_may_be_are_refused_unread() -> None:
    data = packed(fields_of()) + bytes(MAX_BUNDLE_BYTES)
    with pytest.raises(Untrusted, match="larger than allowed"):
        decode(data)
