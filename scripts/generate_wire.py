"""Writes web/src/protocol.ts, the page's side of the wire, from elsewhere.server.schema.

python scripts/generate_wire.py            writes it
python scripts/generate_wire.py --check    says whether it is up to date (exit 1 when not)
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from elsewhere.server import schema

TARGET = Path(__file__).parents[1] / "web" / "src" / "protocol.ts"
PARTS = (schema.Unknown, schema.Person, schema.Head)
READERS = {"B": "Uint8", "H": "Uint16", "I": "Uint32", "Q": "BigUint64", "f": "Float32", "d": "Float64"}
SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8, "f": 4, "d": 8}
AS_TEXT = {"world_id", "seed"}
"""64 bits that mean something: they do not fit a JavaScript number."""
CONSTANTS = ("VERSION", "PROTOCOL", "TOKEN_PROTOCOL", "MAGIC", "HEADER_BYTES", "FLAG_KEY", "FLAG_DEPTH", "FLAG_BARS")


def typescript() -> str:
    """The whole file."""
    lines = ["// Made by scripts/generate_wire.py from server/schema.py; a change here is lost.", ""]
    lines += [f"export const {name} = {_literal(getattr(schema, name))};" for name in CONSTANTS]
    codecs = ", ".join(f"{name}: {number}" for name, number in schema.CODECS.items())
    lines += [f"export const CODECS = {{ {codecs} }} as const;"]
    lines += [f"export const TIMINGS = [{', '.join(_literal(name) for name in schema.TIMINGS)}] as const;", ""]
    lines += _header()
    for part in PARTS:
        lines += _interface(part, None)
    for union, kinds in (("Message", schema.MESSAGES), ("Words", schema.WORDS)):
        for kind in kinds:
            lines += _interface(kind, kind.kind, optional=union == "Message")
        lines += [f"export type {union} =", *(f"  | {kind.__name__}" for kind in kinds)]
        lines[-1] += ";"
        lines += [""]
    return "\n".join(lines)


def _header() -> list[str]:
    shape, body, offset = [], [], 0
    for item in schema.HEADER:
        name = _camel(item.name)
        at = f"view.get{READERS[item.kind]}({offset}{', true' if SIZES[item.kind] > 1 else ''})"
        if item.count > 1:
            kind = "Float32Array"
            at = f"Float32Array.from({{ length: {item.count} }}, (_, i) => view.getFloat32({offset} + 4 * i, true))"
        elif item.name in AS_TEXT:
            kind, at = (
                "string",
                f'{at}.toString(16).padStart(16, "0")' if item.name == "world_id" else f"{at}.toString()",
            )
        else:
            kind = "number"
            at = f"Number({at})" if item.kind == "Q" else at
        shape += [f"  /** {item.about} */", f"  {name}: {kind};"]
        body += [f"    {name}: {at},"]
        offset += item.count * SIZES[item.kind]
    return [
        "export interface Header {",
        *shape,
        "}",
        "",
        "/** The fixed fields at the beginning of a frame; the caller has checked that there are enough bytes. */",
        "export function readHeader(view: DataView): Header {",
        "  return {",
        *body,
        "  };",
        "}",
        "",
    ]


def _interface(shape: type[Any], kind: str | None, *, optional: bool = False) -> list[str]:
    assert is_dataclass(shape)
    hints = get_type_hints(shape)
    lines = [f"/** {' '.join((shape.__doc__ or '').split())} */", f"export interface {shape.__name__} {{"]
    if kind is not None:
        lines += [f"  type: {_literal(kind)};"]
    for item in fields(shape):
        mark = "?" if optional and item.default is not MISSING else ""
        lines += [f"  {item.name}{mark}: {_type(hints[item.name])};"]
    return [*lines, "}", ""]


def _type(hint: Any) -> str:
    if hint in (int, float):
        return "number"
    simple = {str: "string", bool: "boolean", NoneType: "null"}.get(hint)
    if simple is not None:
        return simple
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return f"{_type(arguments[0])}[]"
        return f"[{', '.join(map(_type, arguments))}]"
    if get_origin(hint) is dict:
        return f"Record<{', '.join(map(_type, arguments))}>"
    if isinstance(hint, UnionType):
        return " | ".join(map(_type, arguments))
    assert is_dataclass(hint), hint
    return hint.__name__


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def main() -> None:
    made = typescript()
    if "--check" in sys.argv[1:]:
        same = TARGET.read_text(encoding="utf-8") == made
        print("up to date" if same else f"{TARGET.name} is stale; run python scripts/generate_wire.py")
        sys.exit(not same)
    TARGET.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
