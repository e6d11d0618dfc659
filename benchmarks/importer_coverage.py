"""Which networks the compiler carries: each of the zoo through both importers, interpreted by the oracle.

    python benchmarks/importer_coverage.py --json benchmarks/results/coverage.json --table docs/compiler-coverage.md

For every network: the operators of its torch.export program and of its ONNX file, the nodes of the graph that each
importer makes, and the relative RMS error against PyTorch in f32 (the worst output counts). Exit status 1 if a network
is not carried or errs by more than 1e-5. Needs `pip install '.[test]'`; a few minutes.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "compiler"))

TOLERANCE = 1e-5

HELPERS = ("along_last", "causal_mask", "constant_of", "number_of", "scalar", "wide", "window_counts")
"""Functions beside the forms that are none."""

HEAD = """# What the compiler carries

Every network of `tests/compiler/zoo`, unmodified, through the importers of `elsewhere.compiler.importers`. The error is
the relative root mean square against PyTorch in f32, of the worst output, when the graph is interpreted by the
oracle (`targets/reference`). Made by `benchmarks/importer_coverage.py`; not edited by hand.

"""


def error(graph: Any, inputs: tuple[Any, ...], wanted: list[Any]) -> float:
    from elsewhere.compiler.targets import reference

    outputs, _ = reference.run(graph, dict(zip(graph.inputs, (t.numpy() for t in inputs), strict=True)))
    pairs = zip(outputs.values(), (t.numpy() for t in wanted), strict=True)
    return max(float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in pairs)


def primitives(graph: Any) -> dict[str, int]:
    return dict(sorted(Counter(n.op for n in graph.nodes).items()))


def by_torch(name: str) -> dict[str, Any]:
    import torch
    import zoo

    from elsewhere.compiler.importers.torch_export import from_exported, operator_name

    module, inputs = zoo.build(name)
    with torch.no_grad():
        made = module(*inputs)
    program = torch.export.export(module, inputs)
    used = sorted({operator_name(n.target) for n in program.graph.nodes if str(n.target).startswith("aten.")})
    start = time.perf_counter()
    graph = from_exported(program)
    seconds = time.perf_counter() - start
    return {
        "operators": used,
        "nodes": len(graph.nodes),
        "primitives": primitives(graph),
        "error": error(graph, inputs, list(made) if isinstance(made, tuple) else [made]),
        "import_seconds": round(seconds, 2),
    }


def by_onnx(name: str) -> dict[str, Any]:
    import torch
    import zoo
    from zoo import onnx_file

    from elsewhere.compiler.importers import onnx_format
    from elsewhere.compiler.importers.onnx import from_onnx

    module, inputs = zoo.build(name)
    with torch.no_grad():
        made = module(*inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        onnx_file.write(module, inputs, path)
        model = onnx_format.load(path)
        start = time.perf_counter()
        graph = from_onnx(path)
        seconds = time.perf_counter() - start
        return {
            "operators": sorted({n.kind for n in model.nodes}),
            "opset": model.opset,
            "nodes": len(graph.nodes),
            "primitives": primitives(graph),
            "error": error(graph, inputs, list(made) if isinstance(made, tuple) else [made]),
            "import_seconds": round(seconds, 2),
        }


def attempt(way: Any, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = way(name)
    except (ValueError, RuntimeError) as problem:
        return {"refused": f"{type(problem).__name__}: {str(problem).splitlines()[0]}"}
    return found


def table(report: dict[str, Any]) -> str:
    def cells(found: dict[str, Any]) -> list[str]:
        if "refused" in found:
            return [found["refused"], "–", "–"]
        return [str(len(found["operators"])), str(found["nodes"]), f"{found['error']:.1e}"]

    lines = [
        "| network | weights (M) | ATen operators | nodes | error | ONNX operators | nodes | error |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in report["networks"].items():
        columns = [f"`{name}`", f"{row['parameters'] / 1e6:.1f}", *cells(row["torch"]), *cells(row["onnx"])]
        lines.append("| " + " | ".join(columns) + " |")
    lines += [
        "",
        "ATen operators in use: " + ", ".join(f"`{n}`" for n in report["torch_operators"]) + ".",
        "",
        "ONNX operators in use: " + ", ".join(f"`{n}`" for n in report["onnx_operators"]) + ".",
        "",
        f"The importers know {report['torch_forms']} ATen operators (what PyTorch itself can take apart into those "
        f"is taken apart) and {report['onnx_forms']} ONNX operators of opsets 13 to 23. What depends on no input is "
        "calculated while importing. Refused, with the operator, its place in the model and what is missing: dynamic "
        "shapes, f64, complex numbers beyond rotary embeddings, control flow, random numbers, and choosing by truth "
        "values.",
        "",
        "## Canonical forms",
        "",
        "What composite operators become, whichever importer they come through (`importers/forms.py`). In an "
        "elementwise form a constant is the second operand; a division by a known number is a multiplication, one by a "
        "square root a multiplication by `rsqrt`.",
        "",
        *(f"- `{name}`: {text}" for name, text in canonical_forms()),
    ]
    return "\n".join(lines) + "\n"


def canonical_forms() -> list[tuple[str, str]]:
    """Name and description of every form, as the source says it."""
    from elsewhere.compiler.importers import forms

    functions = [f for f in vars(forms).values() if inspect.isfunction(f) and f.__module__ == forms.__name__]
    return [
        (f.__name__, " ".join((inspect.getdoc(f) or "").split("\n\n")[0].split()))
        for f in functions
        if not f.__name__.startswith("_") and f.__name__ not in HELPERS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", help="some networks of the zoo; all by default")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--table", type=Path, help="write the table to this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch
    import zoo

    from elsewhere.compiler.importers.onnx_operators import FORMS as ONNX_FORMS
    from elsewhere.compiler.importers.onnx_operators import KNOWN
    from elsewhere.compiler.importers.torch_operators import FORMS

    networks: dict[str, Any] = {}
    for name in options.models or zoo.ENTRIES:
        parameters = sum(p.numel() for p in zoo.build(name)[0].parameters())
        networks[name] = {"parameters": parameters, "torch": attempt(by_torch, name), "onnx": attempt(by_onnx, name)}
        print(name, {k: v for way in ("torch", "onnx") for k, v in networks[name][way].items() if k != "operators"},
              file=sys.stderr, flush=True)  # fmt: skip
    used = {way: {op for row in networks.values() for op in row[way].get("operators", ())} for way in ("torch", "onnx")}
    report = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
        "tolerance": TOLERANCE,
        "torch_forms": len(FORMS),
        "onnx_forms": len(set(ONNX_FORMS) | set(KNOWN)),
        "torch_operators": sorted(used["torch"]),
        "onnx_operators": sorted(used["onnx"]),
        "networks": networks,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.table:
        options.table.write_text(HEAD + table(report), encoding="utf-8")
    print(table(report))
    errors = [row[way].get("error", 1.0) for row in networks.values() for way in ("torch", "onnx")]
    sys.exit(max(errors) > TOLERANCE)


if __name__ == "__main__":
    main()
