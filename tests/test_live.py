"""What is live by import, and what a notebook shows of a function."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from shells import Shell

import scatter
from scatter import client, live


@pytest.fixture
def pushed(shell: Shell, redis_url: str, namespace: str) -> Iterator[Shell]:
    """A namespace with functions, which this process asks."""
    assert shell("push", "--wait", "0").code == 0
    before = client.current_settings()
    scatter.init(redis_url, namespace=namespace)
    yield shell
    scatter.cleanup()
    client.init(redis_url=before.redis_url, namespace=before.namespace)


def test_a_function_is_imported_by_its_short_name(pushed: Shell) -> None:
    from scatter.live import rank, score

    assert (score(2), rank([3, 1])) == (4, [1, 3])
    assert live.score is score
    assert live.pricing.score is score


def test_names_are_there_for_completion(pushed: Shell) -> None:
    (pushed.folder / "other.py").write_text("import scatter\n\n@scatter.track\ndef rank(): ...\n")
    pushed("push", "--wait", "0")

    assert {"score", "pricing", "other"} <= {*dir(live)}
    assert "rank" not in dir(live)  # two have that name
    assert {"rank", "score"} <= {*dir(live.pricing)}


def test_what_there_is_not_is_an_import_error_that_says_so(pushed: Shell) -> None:
    with pytest.raises(ImportError, match="cannot import name 'scor'"):
        from scatter.live import scor  # noqa: F401
    with pytest.raises(AttributeError, match=r"no function below `pricing:nothing`"):
        live.pricing.nothing  # noqa: B018
    assert not hasattr(live, "_repr_html_")


def test_importing_it_connects_to_nothing() -> None:
    code = "import scatter.live as live, sys; assert 'redis' not in sys.modules; live.__wrapped__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "AttributeError" in done.stderr


def test_with_the_store_away_nothing_is_completed_and_the_error_is_ours() -> None:
    before = client.current_settings()
    scatter.init("redis://127.0.0.1:1", namespace="away")
    try:
        assert "score" not in dir(live)
        with pytest.raises(scatter.StoreUnavailable):
            live.score  # noqa: B018
    finally:
        client.init(redis_url=before.redis_url, namespace=before.namespace)


def test_history_and_changes_are_shown_in_a_notebook(pushed: Shell) -> None:
    pushed.edit("RATE = 2", "RATE = 3  # <b>")
    pushed("push", "-m", "dearer <script>", "--wait", "0")
    score = scatter.get("score")

    shown = score.history()._repr_html_()
    assert "<td>●</td><td>v2</td><td>ann@example.org</td>" in shown
    assert "dearer &lt;script&gt;" in shown
    assert str(score.diff()).splitlines()[:5] == [
        "--- pricing:score v1",
        "+++ pricing:score v2",
        "@@ -1,4 +1,4 @@",
        "-RATE = 2",
        "+RATE = 3  # <b>",
    ]
    assert (
        '<span style="color: #1a7f37">+RATE = 3  # &lt;b&gt;</span>' in score.diff()._repr_html_()
    )
    assert not score.diff(2, 2)
    assert str(score.diff(1, 1)) == "No difference."
    assert score.diff(1, 1)._repr_html_().endswith("No difference.</pre>")
