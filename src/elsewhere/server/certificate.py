"""A certificate for this machine, made by itself, so that a headset may enter: WebXR wants https or localhost.

It needs the package `cryptography`. The private key is readable by its owner only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

DAYS = 90
RENEW_DAYS = 7


class CertificateError(ValueError):
    """No certificate can be made; the message says what to do."""


def own_certificate(directory: Path, hosts: tuple[str, ...], now: datetime.datetime) -> tuple[Path, Path]:
    """(certificate, key) in `directory` for `hosts`, made anew when they are missing, old, or for other hosts."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, key = directory / "server.crt", directory / "server.key"
    if not (key.is_file() and _good(certificate, hosts, now)):
        _make(certificate, key, hosts, now)
    return certificate, key


def own_names(host: str) -> tuple[str, ...]:
    """What this machine is called and where it listens, when it listens at `host`."""
    names = ["localhost", "127.0.0.1", "::1"]
    if host in ("0.0.0.0", "::"):
        names += [socket.gethostname(), *network_addresses()]
    elif host not in names:
        names.append(host)
    return tuple(dict.fromkeys(names))


def network_addresses() -> list[str]:
    """This machine's address on its network, when it has one: what a headset beside it can reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing by this
            return [str(probe.getsockname()[0])]
        except OSError:
            return []


def _good(path: Path, hosts: tuple[str, ...], now: datetime.datetime) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    have = {str(name.value) for name in named}
    return set(hosts) <= have and now + datetime.timedelta(days=RENEW_DAYS) < found.not_valid_after_utc


def _make(path: Path, key_path: Path, hosts: tuple[str, ...], now: datetime.datetime) -> None:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        raise CertificateError("--tls needs the package cryptography: pip install 'elsewhere[tls]'") from None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Elsewhere on this machine")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_private(key_path, secret)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, secret: bytes) -> None:
    hidden = path.with_suffix(".part")
    hidden.unlink(missing_ok=True)
    # The mode is given when the file is made: there is no moment at which others could read it.
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secret)
    os.replace(hidden, path)
