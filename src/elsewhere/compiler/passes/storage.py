"""Stores large values between kernels in bf16, for programs whose products are narrow already.

Memory is then the limit, not arithmetic: half the bytes, and an error below that of the products.
"""

from __future__ import annotations

from collections.abc import Collection

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.passes.rewrite import copy, rebuild

LARGE = 1 << 20
"""Bytes in f32 from which a value is stored narrow: smaller ones stay in the second-level cache anyway."""

VIEWS = ("reshape", "transpose", "slice", "broadcast")


def store_narrow(graph: Graph) -> Graph:
    """Rounds to bf16 what regions hand to regions, where it is large and no product reads it as f32."""
    narrow = {v for v in range(len(graph.nodes)) if _can(graph, v)}
    if not narrow:
        return graph
    seen: dict[int, bool] = {}

    def from_narrow(value: int) -> bool:
        if value not in seen:
            node = graph.nodes[value]
            seen[value] = value in narrow or (node.op in VIEWS and from_narrow(node.inputs[0]))
        return seen[value]

    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    users = graph.users()

    def change(builder: Builder, node: Node, operands: tuple[int, ...]) -> int | None:
        number = numbers[id(node)]
        if node.op == "project":
            region = builder.nodes[operands[0]].attributes["body"]
            index = node.attributes["index"]
            type_ = region.nodes[region.outputs[index][1]].type
            return builder.add("project", operands, index=index, dtype=type_.dtype, shape=type_.shape)
        if node.op != "fused":
            return None
        body: Graph = node.attributes["body"]
        inputs = {k for k, v in enumerate(node.inputs) if from_narrow(v)}
        outputs = {0} if number in narrow else set()
        outputs |= {
            graph.nodes[u].attributes["index"] for u in users[number] if u in narrow and graph.nodes[u].op == "project"
        }
        attributes = {**node.attributes, "body": retype(body, inputs, outputs)}
        return builder.add("fused", operands, node.place, **attributes)

    return rebuild(graph, change)


def _can(graph: Graph, value: int) -> bool:
    node = graph.nodes[value]
    if node.op not in ("fused", "project") or node.type.dtype != "f32" or node.type.bytes < LARGE:
        return False
    kind = (node if node.op == "fused" else graph.nodes[node.inputs[0]]).attributes["kind"]
    return kind != "attention" and value not in graph.kept() and _only_regions(graph, value, graph.users())


def _only_regions(graph: Graph, value: int, users: list[list[int]]) -> bool:
    """Whether `value` is read by regions alone, through views, and by none as the operand of an f32 product."""
    for user in users[value]:
        node = graph.nodes[user]
        if node.op in VIEWS:
            if user in graph.kept() or not _only_regions(graph, user, users):
                return False
        elif node.op == "fused":
            body: Graph = node.attributes["body"]
            inputs = list(body.inputs.values())
            mine = {inputs[k] for k, v in enumerate(node.inputs) if v == value}
            roots = [n for n in body.nodes if n.op in ("matmul", "convolution")]
            if node.attributes["kind"] == "contract" and any(i in mine for r in roots for i in r.inputs):
                return False
            if node.attributes["kind"] == "attention" and node.attributes["segments"] > 1 and value in node.inputs[1:]:
                return False  # the segments of keys, and those of values, are of one type
        elif node.op != "project" or node.inputs[0] != value:
            return False
    return True


def retype(body: Graph, inputs: Collection[int], outputs: Collection[int]) -> Graph:
    """The body with some inputs and outputs in bf16; inside it stays f32."""
    builder = Builder()
    new: list[int] = []
    position = 0
    for node in body.nodes:
        builder.place = node.place
        if node.op == "input":
            dtype = "bf16" if position in inputs else node.type.dtype
            value = builder.input(node.attributes["name"], dtype, node.type.shape)
            new.append(builder.cast(value, node.type.dtype))
            position += 1
        elif node.op == "constant":
            new.append(builder.keep(body, node))
        else:
            new.append(copy(builder, node, [new[i] for i in node.inputs]))
    for index, (name, value) in enumerate(body.outputs):
        builder.output(name, builder.cast(new[value], "bf16") if index in outputs else new[value])
    return builder.graph()
