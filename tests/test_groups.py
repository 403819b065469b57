"""Addresses of groups of servers: what is read from them, and that no password is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scatter.config import check_url, redact
from scatter.errors import UsageError
from scatter.groups import Group, parse_group


def test_an_address_of_sentinels_says_all_that_is_needed() -> None:
    url = "redis+sentinel://ann:p%40%2Fw@a,b:26380,[::1]:7/my%20master/3"
    assert parse_group(url + "?sentinel_username=s&sentinel_password=t%26u&health_check=1") == (
        Group(
            is_cluster=False,
            nodes=(("a", 26379), ("b", 26380), ("::1", 7)),
            master="my master",
            url="redis://localhost/3?health_check=1",
            login={"username": "ann", "password": "p@/w"},
            sentinel_login={"username": "s", "password": "t&u"},
        )
    )


def test_an_address_of_a_cluster_says_all_that_is_needed() -> None:
    found = parse_group("rediss+cluster://:pw@a,b:7000,a:6379/0?ssl_ca_certs=/c")
    assert found == Group(
        is_cluster=True,
        nodes=(("a", 6379), ("b", 7000)),
        url="rediss://localhost/0?ssl_ca_certs=%2Fc",
        login={"password": "pw"},
    )


def test_a_group_shows_no_password() -> None:
    group = parse_group("redis+sentinel://ann:Qx1@a/m?sentinel_password=Qx2")
    assert "Qx" not in repr(group)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_whatever_is_no_address_is_malformed_and_nothing_else(rest: str) -> None:
    for scheme in ("redis+sentinel", "rediss+cluster"):
        try:
            group = parse_group(f"{scheme}://{rest}")
        except UsageError:
            continue
        assert group.nodes
        assert check_url(f"{scheme}://{rest}")


@pytest.mark.parametrize("key", ["sentinel_password", "password"])
def test_a_password_in_the_query_with_signs_as_they_are_is_not_shown(key: str) -> None:
    for url in (
        f"redis+sentinel://a:1,b:2/m?{key}=Qhun@ter2Q&x=1",
        f"redis://a:1?{key}=Qhun@ter2Q",
        f"redis+sentinel://ann:Qhun@a:1,b:2/m?x=1&{key}=hun@ter2Q",
    ):
        assert "hun" not in redact(url)
        assert "ter2Q" not in redact(url)
