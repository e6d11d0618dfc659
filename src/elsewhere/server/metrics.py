"""What a monitor asks for at /metrics, in Prometheus's text format. No prompts, names, addresses nor poses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: a counter or a gauge, with a value for each set of labels."""

    name: str
    kind: str
    about: str
    values: Mapping[tuple[tuple[str, str], ...], float]


def write_metrics(metrics: Iterable[Metric]) -> str:
    """The families as text."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escape(metric.about)}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.values.items():
            inside = ",".join(f'{name}="{_escape(text, quotes=True)}"' for name, text in labels)
            lines.append(f"{metric.name}{'{' + inside + '}' if inside else ''} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escape(text: str, *, quotes: bool = False) -> str:
    plain = text.replace("\\", "\\\\").replace("\n", "\\n")
    return plain.replace('"', '\\"') if quotes else plain
