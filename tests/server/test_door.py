"""Certificates, logs, metrics and the latency table: what they say, and what they keep to themselves."""

from __future__ import annotations

import datetime
import json
import logging
import ssl
import stat
from pathlib import Path

import pytest

from elsewhere.cli.serve import ways_in
from elsewhere.server.latency import Latency, percentiles
from elsewhere.server.logs import JsonLines
from elsewhere.server.metrics import Metric, write_metrics

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def test_a_certificate_is_kept_until_it_is_old_or_for_other_hosts(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from elsewhere.server.certificate import DAYS, own_certificate

    folder = tmp_path / "state"
    certificate, key = own_certificate(folder, ("localhost", "127.0.0.1"), NOW)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    first = certificate.read_bytes()
    assert own_certificate(folder, ("localhost",), NOW)[0].read_bytes() == first
    assert own_certificate(folder, ("localhost", "10.0.0.7"), NOW)[0].read_bytes() != first
    second = certificate.read_bytes()
    own_certificate(folder, ("localhost",), NOW + datetime.timedelta(days=DAYS - 1))
    assert certificate.read_bytes() != second
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    certificate.write_bytes(b"junk")
    own_certificate(folder, ("localhost",), NOW)
    assert certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def test_the_terminal_says_how_a_headset_gets_in() -> None:
    assert "adb reverse tcp:8000 tcp:8000" in next(ways_in("http://127.0.0.1:8000/", local_only=True, tls=False))
    assert any("--tls" in line for line in ways_in("http://host:8000/", local_only=False, tls=False))


def test_logs_hold_no_more_than_they_should() -> None:
    record = logging.LogRecord("elsewhere.server", logging.INFO, "", 0, "refused", (), None)
    record.reason, record.pose, record.prompt = "full", [1, 2, 3], "a secret"
    line = json.loads(JsonLines().format(record))
    assert line["event"] == "refused" and line["reason"] == "full"
    assert set(line) == {"time", "level", "event", "reason"}


def test_metrics_are_escaped() -> None:
    text = write_metrics([Metric("a", "gauge", "two\nlines", {(("x", 'say "hi"\\'),): 1.5, (): 2})])
    assert text == '# HELP a two\\nlines\n# TYPE a gauge\na{x="say \\"hi\\"\\\\"} 1.5\na 2\n'


def test_percentiles_and_what_is_kept() -> None:
    assert percentiles([float(n) for n in range(100, 0, -1)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    with pytest.raises(ValueError, match="at least one"):
        percentiles([])
    latency = Latency()
    for number in range(5000):
        latency.add({"encode": float(number), "draw": float("nan")})
        latency.made(number, float(number))
    assert latency.table().keys() == {"encode"}
    assert latency.table()["encode"]["p50"] > 2500
    assert len(latency.ready) <= 2048
