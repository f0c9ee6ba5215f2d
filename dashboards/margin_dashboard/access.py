"""Who may read the margin dashboard: a password, or a proxy that has already asked for one.

Every route is behind it, scripts and styles included. The password is kept as a keyed hash that dies with
the process; comparisons take the same time whatever is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import flask
from flask_httpauth import HTTPBasicAuth

PASSWORD_VARIABLE = "TIDEGAUGE_DASHBOARD_PASSWORD"
PROXY_HEADER_VARIABLE = "TIDEGAUGE_DASHBOARD_PROXY_HEADER"
PROXY_SECRET_VARIABLE = "TIDEGAUGE_DASHBOARD_PROXY_SECRET"
PROXY_SECRET_HEADER = "X-Tidegauge-Proxy-Secret"
"""What the proxy sends with every request, so that nobody else can claim to be it."""
LEAST_PASSWORD_LENGTH = 8
LEAST_SECRET_LENGTH = 16


class AccessRefused(ValueError):
    """The server would be open to readers who may not see money; the message says what to set."""


@dataclass(frozen=True)
class Access:
    """How readers prove who they are. ``generated_password`` is set when nobody chose one."""

    password_hash: bytes
    key: bytes
    generated_password: str | None
    proxy_header: str | None
    proxy_secret_hash: bytes | None

    @classmethod
    def from_environment(cls, host: str, environment: Mapping[str, str] = os.environ) -> Access:
        """The access that the environment asks for; AccessRefused where it would be none, or a guess."""
        password = environment.get(PASSWORD_VARIABLE)
        header, secret = environment.get(PROXY_HEADER_VARIABLE), environment.get(PROXY_SECRET_VARIABLE)
        if password is not None and len(password) < LEAST_PASSWORD_LENGTH:
            raise AccessRefused(f"{PASSWORD_VARIABLE} is shorter than {LEAST_PASSWORD_LENGTH} characters")
        if header and (secret is None or len(secret) < LEAST_SECRET_LENGTH):
            raise AccessRefused(
                f"{PROXY_HEADER_VARIABLE} is set, so {PROXY_SECRET_VARIABLE} must hold at least {LEAST_SECRET_LENGTH} characters "
                f"that only the proxy knows; it sends them as {PROXY_SECRET_HEADER}"
            )
        if not is_loopback(host) and password is None and not header:
            raise AccessRefused(
                f"{host} can be reached from other machines: set {PASSWORD_VARIABLE}, or {PROXY_HEADER_VARIABLE} and "
                f"{PROXY_SECRET_VARIABLE}, before money is served there"
            )
        key = secrets.token_bytes(32)
        generated = None if password is not None or header else secrets.token_urlsafe(15)
        return cls(
            _hash(key, password or generated or secrets.token_urlsafe(32)), key, generated, header or None,
            _hash(key, secret) if header and secret else None,
        )

    def knows(self, password: str) -> bool:
        """Whether this is the password."""
        return hmac.compare_digest(_hash(self.key, password), self.password_hash)

    def comes_from_the_proxy(self, headers: Mapping[str, str]) -> bool:
        """Whether the proxy vouches for a reader: it names one, and proves that it is the proxy."""
        if self.proxy_header is None or self.proxy_secret_hash is None:
            return False
        proven = hmac.compare_digest(_hash(self.key, headers.get(PROXY_SECRET_HEADER, "")), self.proxy_secret_hash)
        return proven and bool(headers.get(self.proxy_header, "").strip())


def _hash(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def guard(server: flask.Flask, access: Access) -> None:
    """Puts every route of the server behind the access."""
    basic = HTTPBasicAuth(realm="Tidegauge margin")

    @basic.verify_password
    def verified(_name: str, password: str) -> str | None:
        return "reader" if access.knows(password or "") else None

    @basic.login_required
    def asked() -> None:
        return None

    @server.before_request
    def reader_is_known() -> flask.Response | None:
        return None if access.comes_from_the_proxy(flask.request.headers) else asked()
