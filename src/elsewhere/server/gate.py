"""Who may come in: tokens that soon expire, the page's own origin, and how fast one may talk.

Time is an argument everywhere, so that a test need not wait.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

TOKEN_SECONDS = 60.0
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Tokens:
    """Signed slips "expiry.nonce.signature" that let a page open a WebSocket; each works once."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._used: dict[str, float] = {}

    def issue(self, now: float) -> str:
        """A token that is good until `now` + `TOKEN_SECONDS`, in seconds of any clock."""
        body = f"{now + TOKEN_SECONDS:.3f}".replace(".", "_") + "." + secrets.token_urlsafe(9)
        return f"{body}.{self._sign(body)}"

    def redeem(self, token: str, now: float) -> bool:
        """Whether `token` is ours, still good and not used before; it is used up by this."""
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return False
        expiry = float(body.split(".")[0].replace("_", "."))
        self._used = {used: until for used, until in self._used.items() if until > now}
        if now > expiry or body in self._used:
            return False
        self._used[body] = expiry
        return True

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


class Bucket:
    """A rate limit: `rate` tokens a second flow in, at most `burst` are kept."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._then = burst, float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now`, in seconds."""
        if self._then > float("-inf"):
            self._level = min(self._burst, self._level + (now - self._then) * self._rate)
        self._then = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


def host_name(value: str | None) -> str:
    """The name in a Host header or an Origin, without port; "" when there is none or it is nonsense."""
    if not value:
        return ""
    try:
        return (urlsplit(value if "//" in value else f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def may_enter(origin: str | None, host: str | None, *, local_only: bool) -> bool:
    """Whether a page from `origin` may talk to us, who were addressed as `host`.

    A browser always names the origin, and it must be ours; other programs name none, and need the token alone.
    With `local_only` the host must be this machine, which a hostile name that points here is not.
    """
    if local_only and host_name(host) not in LOCAL_HOSTS:
        return False
    if origin is None:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == (host or "").lower()
    except ValueError:
        return False
