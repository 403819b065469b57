"""What gets one into a server beside its URL: user, password and certificates, from files.

A URL is shown, logged and passed on; what is here stays in files that only their owners read.

Invariants
1. What the URL says itself counts: these are for what it leaves open.
2. The password is read when a connection is made and kept nowhere, so that a new one is found.
3. Certificates are checked, with the host's name, and TLS is 1.2 at least, unless the URL says
   otherwise for itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scatter.errors import UsageError

MAX_PASSWORD_BYTES = 64 << 10
_TLS_FILES = {
    "redis_ca_file": "ssl_ca_certs",
    "redis_cert_file": "ssl_certfile",
    "redis_key_file": "ssl_keyfile",
}
"""Setting → what redis-py calls it, in URLs too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Settings of a log-in and of TLS; empty where nothing is set.

    Attributes:
        redis_username: User, where the URL has none.
        redis_password_file: File whose first line is the password, where the URL has none.
        redis_ca_file: Certificates (PEM) by which the server's is checked; empty: the system's.
        redis_cert_file: This client's certificate (PEM), for servers that ask for one.
        redis_key_file: Its key (PEM); may be in the file of the certificate.

    """

    redis_username: str = ""
    redis_password_file: str = ""
    redis_ca_file: str = ""
    redis_cert_file: str = ""
    redis_key_file: str = ""

    def login(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return user and password for a connection, read now.

        Args:
            given: Options of redis-py that the URL gives.

        Raises:
            UsageError: The password cannot be read, or there is none for the user.

        """
        if given.get("password"):
            return {}
        user = given.get("username") or self.redis_username
        if not self.redis_password_file:
            if self.redis_username:
                raise UsageError(
                    f"redis_username is {user}, and there is no password: expected one in the file "
                    "that redis_password_file (SCATTER_REDIS_PASSWORD_FILE) names, or in the URL."
                )
            return {}
        password = read_password(Path(self.redis_password_file))
        return {"password": password, **({"username": user} if user else {})}

    def tls(self, given: Mapping[str, Any], *, is_tls: bool) -> dict[str, Any]:
        """Return redis-py's options of TLS.

        Args:
            given: Options that the URL gives; they count.
            is_tls: Whether the URL has TLS at all.

        Raises:
            UsageError: A file is not there, or TLS is set up and the URL has none.

        """
        files = {name: getattr(self, name) for name in _TLS_FILES if getattr(self, name)}
        if not is_tls:
            _check_unused(files)
            return {}
        import ssl

        options = {_TLS_FILES[name]: file for name, file in files.items()}
        options = {name: given.get(name) or file for name, file in options.items()}
        for name, option in _TLS_FILES.items():
            file = options.get(option) or given.get(option)
            if file and not os.path.isfile(file):
                raise UsageError(f"{name}: expected a file in PEM form, found none at {file}.")
        unchecked = str(given.get("ssl_cert_reqs", "")).lower() in ("none", "cert_none")
        wished = bool(given.get("ssl_check_hostname", True))  # redis-py 5 would leave it out
        options["ssl_check_hostname"] = wished and not unchecked
        options["ssl_min_version"] = ssl.TLSVersion.TLSv1_2
        return options


NO_ACCESS = Access()


def _check_unused(files: Mapping[str, str]) -> None:
    for name in files:
        raise UsageError(
            f"{name} is set, and the address has no TLS: what is sent could be read on the way. "
            "Write rediss:// in place of redis://, or unset it."
        )


def read_password(file: Path) -> str:
    """Return the first line of a file, without its end.

    Raises:
        UsageError: It cannot be read, or the line is empty; the message has the path alone.

    """
    try:
        with file.open("rb") as stream:
            line = stream.read(MAX_PASSWORD_BYTES).partition(b"\n")[0]
        password = line.removesuffix(b"\r").decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"The password file {file} cannot be read ({error.strerror}). Correct its path "
            "(SCATTER_REDIS_PASSWORD_FILE) or its rights."
        ) from None
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise UsageError(
            f"The password file {file} has no password: expected text in its first line."
        )
    return password
