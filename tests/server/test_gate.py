"""Who may come in, and how fast one may talk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsewhere.server.gate import TOKEN_SECONDS, Bucket, Tokens, host_name, may_enter


def test_a_token_works_once_and_not_for_long() -> None:
    tokens = Tokens(b"secret")
    token = tokens.issue(100.0)
    assert tokens.redeem(token, 101.0)
    assert not tokens.redeem(token, 101.0)
    late = tokens.issue(100.0)
    assert not tokens.redeem(late, 100.0 + TOKEN_SECONDS + 0.01)


def test_tokens_of_others_are_nothing() -> None:
    assert not Tokens(b"ours").redeem(Tokens(b"theirs").issue(0.0), 1.0)
    expiry, nonce, signature = Tokens(b"ours").issue(0.0).split(".")
    assert not Tokens(b"ours").redeem(f"9{expiry}.{nonce}.{signature}", 1.0)


@given(st.text(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    assert not Tokens(b"secret").redeem(text, 0.0)


def test_a_token_may_stand_in_a_header() -> None:
    token = Tokens().issue(1.75e9)
    assert all(char.isalnum() or char in "-_." for char in token)


def test_a_bucket_fills_again() -> None:
    bucket = Bucket(rate=2.0, burst=3.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("origin", "host", "local", "allowed"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True, True),
        ("http://localhost:8000", "localhost:8000", True, True),
        ("http://[::1]:8000", "[::1]:8000", True, True),
        (None, "127.0.0.1:8000", True, True),
        ("http://evil.example", "127.0.0.1:8000", True, False),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", True, False),
        ("http://evil.example", "evil.example", True, False),
        ("http://localhost.evil.example:8000", "localhost.evil.example:8000", True, False),
        ("null", "127.0.0.1:8000", True, False),
        ("http://[", "127.0.0.1:8000", True, False),
        ("http://127.0.0.1:8000", None, True, False),
        ("http://box.lan:8000", "box.lan:8000", False, True),
        ("http://evil.example", "box.lan:8000", False, False),
    ],
)
def test_only_the_page_that_we_sent_may_enter(origin: str | None, host: str | None, local: bool, allowed: bool) -> None:
    assert may_enter(origin, host, local_only=local) is allowed


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, ""), ("", ""), ("LocalHost:80", "localhost"), ("[::1]:80", "::1"), ("http://a:1", "a"), ("[", "")],
)
def test_host_names(value: str | None, name: str) -> None:
    assert host_name(value) == name
