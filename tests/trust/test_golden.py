"""The golden corpus of signed releases, which other implementations can be tried with too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from golden import make_releases
from golden.make_releases import FOLDER
from trust.people import Files

from scatter.errors import Untrusted
from scatter.log import Ledger
from scatter.trust.verifier import KeyVerifier

CASES = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_release_of_the_corpus_is_believed_or_refused_as_it_says(
    file: Path, files: Files
) -> None:
    case: dict[str, Any] = json.loads(file.read_text())
    files.trust(case["allowed_signers"])
    files._write("revoked_keys", case["revoked_keys"])
    files.policy(case["policy"])
    ledger = Ledger(case["namespace"], KeyVerifier())
    for data in case["before"]:
        ledger.advance(bytes.fromhex(data))
    before = ledger.sequence, ledger.head, dict(ledger.functions)
    entry = bytes.fromhex(case["entry"]) * case.get("times", 1)
    if "code" in case["expected"]:
        with pytest.raises(Untrusted) as caught:
            ledger.follow(ledger.open(entry), bytes.fromhex(case["snapshot"]))
        assert caught.value.reason == case["expected"]["code"]
        assert (ledger.sequence, ledger.head, dict(ledger.functions)) == before
        return
    opened = ledger.open(entry)
    ledger.follow(opened, bytes.fromhex(case["snapshot"]))
    assert case["expected"] == {
        "head": ledger.head,
        "release": json.loads(json.dumps(make_releases.fields_of(opened.release))),
        "signers": [voucher.fingerprint for voucher in opened.vouchers],
    }


def test_the_corpus_is_what_its_script_makes() -> None:
    made = dict(make_releases.cases())
    kept = {f"{file.parent.name}/{file.name}": file.read_text() for file in CASES}
    assert made == kept
    assert len(CASES) > 50
    readme = (FOLDER.parent / "README.md").read_text()
    codes = {name.partition("--")[0].partition("/")[2] for name in made if name[:4] == "fail"}
    assert {code for code in codes if f"`{code}`" not in readme} == set()
