"""A network cut into stages, one node each, in timing: a stage's programs are scheduled, as is what goes between.

Stages are cut where few bytes cross, near equal shares of the work. Nothing is executed beyond a node: a stage's chips
run for the cycles of their programs, and the next stage begins when the last packet is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph
from elsewhere.compiler.passes.rewrite import copy
from elsewhere.compiler.targets.tsp.chips.collective import Timing, message
from elsewhere.compiler.targets.tsp.chips.cost import Cost, vectors_of
from elsewhere.compiler.targets.tsp.chips.lockstep import schedule_parts
from elsewhere.compiler.targets.tsp.chips.partition import PartitionError, partition
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.network import System

FEW = 4096
"""Elements of what each stage would rather calculate again than be sent."""
REACH = 0.35
"""How far from equal shares a cut may lie, in shares, to find where fewer bytes cross."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """Cycles of each stage on its node, and of handing over to the next."""

    stages: tuple[int, ...]
    handing: tuple[int, ...]
    vectors: tuple[int, ...]
    """What crosses each border, in rows of 320 bytes."""

    @property
    def latency(self) -> int:
        """From the first input to the last output."""
        return sum(self.stages) + sum(self.handing)

    @property
    def interval(self) -> int:
        """Between outputs, once all stages are busy; a stage hands over while it works on the next."""
        return max(max(self.stages), max(self.handing, default=0))


def _again(graph: Graph) -> list[bool]:
    """Whether a stage may make a value for itself: it is moved, or a few numbers calculated, from inputs alone."""
    found: list[bool] = []
    for node in graph.nodes:
        moves = node.op in ("reshape", "broadcast", "transpose", "slice", "concatenate")
        small = node.op in ("unary", "binary", "select", "cast") and node.type.size <= FEW
        known = all(found[i] or graph.nodes[i].op == "input" for i in node.inputs)
        found.append(node.op == "constant" or ((moves or small) and known))
    return found


def cut(graph: Graph, count: int, machine: TspMachine = GROQCHIP1) -> list[Graph]:
    """Stages in order. What crosses a border is an output `cut:v` and an input of that name.

    Raises PartitionError for more stages than there are places to cut.
    """
    borders = _borders(graph, count, machine)
    free = _again(graph)
    found = []
    for start, stop in zip([0, *borders], [*borders, len(graph.nodes)], strict=True):
        found.append(_stage(graph, free, start, stop))
    return found


def _borders(graph: Graph, count: int, machine: TspMachine) -> list[int]:
    if not 1 <= count <= len(graph.nodes):
        raise PartitionError(f"stages must be from 1 to the {len(graph.nodes)} values of the graph, got {count}")
    cost, free = Cost(graph, machine, 1), _again(graph)
    work, before = [0.0], 0.0
    for number, node in enumerate(graph.nodes):
        before += 0.0 if free[number] else cost.operation(node, (None,) * len(node.inputs), None)
        work.append(before)
    crossing = [_crossing(graph, free, n) for n in range(len(graph.nodes) + 1)]
    lanes = machine.lanes
    size = [sum(vectors_of(graph.nodes[v].type.shape, graph.nodes[v].type.dtype, lanes) for v in c) for c in crossing]
    borders: list[int] = []
    for stage in range(1, count):
        ideal, each = before * stage / count, before / count
        last = borders[-1] if borders else 0
        near = [n for n in range(last + 1, len(graph.nodes)) if abs(work[n] - ideal) <= REACH * each and crossing[n]]
        if not near:
            raise PartitionError(f"the graph cannot be cut in {count} stages of about equal work")
        borders.append(min(near, key=lambda n: (size[n], abs(work[n] - ideal), n)))
    return borders


def _crossing(graph: Graph, free: Sequence[bool], border: int) -> list[int]:
    """Values made before a border and read behind it. Inputs are given to the stages that read them."""
    found = {i for node in graph.nodes[border:] for i in node.inputs if i < border and not free[i]}
    return sorted(i for i in found if graph.nodes[i].op != "input")


def _stage(graph: Graph, free: Sequence[bool], start: int, stop: int) -> Graph:
    builder = Builder()
    made: dict[int, int] = {}

    def want(value: int) -> int:
        if value not in made:
            node = graph.nodes[value]
            builder.place = node.place
            if node.op == "constant":
                made[value] = builder.keep(graph, node)
            elif free[value]:
                made[value] = copy(builder, node, [want(i) for i in node.inputs])
            elif node.op == "input":
                made[value] = builder.input(node.attributes["name"], node.type.dtype, node.type.shape)
            else:
                made[value] = builder.input(f"cut:{value}", node.type.dtype, node.type.shape)
        return made[value]

    for number in range(start, stop):
        node = graph.nodes[number]
        if free[number] or node.op == "input":
            continue
        operands = [want(i) for i in node.inputs]
        builder.place = node.place
        made[number] = copy(builder, node, operands)
    later = _crossing(graph, free, stop)
    for value in later:
        builder.output(f"cut:{value}", want(value))
    for name, value in graph.outputs:
        if start <= value < stop:
            builder.output(name, want(value))
    for name, value in graph.states:
        if start <= value < stop:
            builder.state(name, want(value))
    return builder.graph()


def schedule_pipeline(graph: Graph, nodes: int, machine: TspMachine = GROQCHIP1, planned: bool = True) -> Pipeline:
    """Times `graph` on so many whole nodes. Raises PartitionError, NetworkError, ScheduleError."""
    system = System(machine, nodes * machine.chips_per_node)
    timing = Timing.planned(machine) if planned else Timing.measured(machine)
    parts = cut(graph, nodes, machine)
    cycles = [schedule_parts(partition(g, machine.chips_per_node, machine), machine).cycles for g in parts]
    sizes, handing = [], []
    for number, part in enumerate(parts[:-1]):
        crossing = [part.nodes[v].type for name, v in part.outputs if name.startswith("cut:")]
        count = sum(vectors_of(t.shape, t.dtype, machine.lanes) for t in crossing)
        sizes.append(count)
        handing.append(message(system, number, number + 1, count, timing).cycles)
    return Pipeline(stages=tuple(cycles), handing=tuple(handing), vectors=tuple(sizes))
