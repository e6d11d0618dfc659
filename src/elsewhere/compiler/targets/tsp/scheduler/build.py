"""From a prepared graph to a program: one walk over the values, each handed to the part that knows how."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, TspMachine
from elsewhere.compiler.targets.tsp.program import (
    CONSTANT,
    GIVEN,
    INSTRUCTION,
    KEPT,
    STRIP,
    TYPES,
    Port,
    Program,
    operations,
    to_bytes,
)
from elsewhere.compiler.targets.tsp.rewrite import of_lines
from elsewhere.compiler.targets.tsp.scheduler import pieces
from elsewhere.compiler.targets.tsp.scheduler.context import Context, Tile
from elsewhere.compiler.targets.tsp.scheduler.flow import MemoryFullError, ScheduleError, SelfConflict, Wire
from elsewhere.compiler.targets.tsp.scheduler.indexed import copy_to_table, gather_rows, table
from elsewhere.compiler.targets.tsp.scheduler.moves import BOTH, SCATTERED, materialise
from elsewhere.compiler.targets.tsp.scheduler.pieces import Moved
from elsewhere.compiler.targets.tsp.scheduler.product import (
    Copies,
    Planes,
    Product,
    Segment,
    Weights,
    segments_of,
    weights_from,
)
from elsewhere.compiler.targets.tsp.scheduler.reduction import reduce_lanes
from elsewhere.compiler.targets.tsp.scheduler.regions import ELEMENTWISE, Region, find_regions
from elsewhere.compiler.targets.tsp.scheduler.storage import Clear, Stored
from elsewhere.compiler.targets.tsp.scheduler.vector import EARLY, Chain, emit_all, read_operands, schedule_region

Array = NDArray[Any]
MOVEMENT = ("reshape", "transpose", "broadcast", "concatenate", "slice")
MATRIX = (64, 256)
"""Rows of a matrix that makes one strip."""
STREAMS = 20
"""Bytes of operands that one region may take in."""


class UnsupportedNode(ValueError):
    """A primitive that the chip cannot do; the message names it and its place in the model."""


class Build:
    """One compilation of one graph."""

    def __init__(self, graph: Graph, machine: TspMachine) -> None:
        self.graph = graph
        self.context = Context(machine)
        per = machine.planes
        self.planes = Planes([0] * per, [0] * per)
        self.users = graph.users()
        self.regions = find_regions(graph, machine.alus, STREAMS)
        self.inside = {m for r in self.regions.values() for m in r.members if m != r.root}
        self.products = {r.product: r for r in self.regions.values() if r.product >= 0}
        self.absorbed = {r.product_leaf for r in self.regions.values() if r.product >= 0}
        self.widened = self.casts()
        """For a sum of what is only cast for it, the value that is cast."""
        self.values: dict[int, Moved] = {}
        self.ports: list[Port] = []
        self.inputs: dict[str, Stored] = {}
        self.orders: dict[str, tuple[int, ...]] = {}
        """Inputs that the host turns before they are written, and the order of their axes."""
        self.tables: dict[int, Stored] = {}
        self.cuts: dict[int, list[tuple[int, int]]] = {}
        self.work: dict[str, float] = {}
        self.last = self._last_uses()
        self.owners: dict[int, int] = {}
        """Which value of the graph a stored value, by its number among all, was made for."""
        held = sum(a.nbytes if a.dtype != np.float32 else a.nbytes // 2 for a in graph.constants.values())
        self.context.storage.zoned = held < ROOM_FOR_WEIGHTS * machine.memory_bytes
        room = ROOM_FOR_WEIGHTS * machine.memory_bytes
        self.copies = Copies.ALL if 2 * held < room else Copies.ODD if held + self.odd_tiles() < room else Copies.NONE

    def odd_tiles(self) -> int:
        """Bytes of weights in the last of an odd number of tiles of columns."""
        lanes, found = self.context.machine.lanes, 0
        for node in self.graph.nodes:
            if node.op == "matmul" and self.graph.nodes[node.inputs[1]].op == "constant":
                inner, columns = self.graph.nodes[node.inputs[1]].type.shape[-2:]
                rest = columns - (columns - 1) // lanes * lanes
                wide = 1 if self.graph.nodes[node.inputs[0]].type.dtype == "i8" else 2
                found += inner * rest * wide * (-(-columns // lanes) % 2)
        return found

    def casts(self) -> dict[int, int]:
        found = {}
        for number, node in enumerate(self.graph.nodes):
            region = self.regions.get(node.inputs[0]) if node.op == "reduce" else None
            if region is None or region.members != [region.root] or region.product >= 0:
                continue
            cast = self.graph.nodes[region.root]
            if cast.op == "cast" and self.users[region.root] == [number] and region.root not in self.graph.kept():
                found[number] = cast.inputs[0]
                self.inside.add(region.root)
        return found

    def _last_uses(self) -> list[int]:
        """For each value the node at which it is read last; movement reads nothing, but its users do."""
        at = {m: r.root for r in self.regions.values() for m in (*r.members, r.product)}
        last = [0] * len(self.graph.nodes)
        for number in range(len(last) - 1, -1, -1):
            for user in self.users[number]:
                moves = self.graph.nodes[user].op in (*MOVEMENT, "pad")
                last[number] = max(last[number], last[user] if moves else at.get(user, user))
        for value in self.graph.kept():
            for source in self._sources(value):
                last[source] = len(last)
        return last

    def _sources(self, value: int) -> list[int]:
        found, waiting = [], [value]
        while waiting:
            number = waiting.pop()
            found.append(number)
            if self.graph.nodes[number].op in (*MOVEMENT, "pad"):
                waiting += self.graph.nodes[number].inputs
        return found

    def release(self, number: int, before: int) -> None:
        """Counts banks as free again: of what `number` made on its way (`before` values were there), and read last."""
        values = self.context.storage.values
        for index in range(before, len(values)):
            if index not in self.owners:
                self.context.storage.release(values[index])
        for index in [i for i, owner in self.owners.items() if self.last[owner] <= number]:
            self.context.storage.release(values[index])
            del self.owners[index]

    # -- values -------------------------------------------------------------------------------------------------

    def value(self, number: int) -> Moved:
        if number not in self.values:
            node = self.graph.nodes[number]
            assert node.op == "constant", node.op
            data = self.graph.constants[node.attributes["key"]]
            stored = self.context.constant(node.type.dtype, data, node.place)
            self.values[number] = self.context.moved(stored, node.type.shape)
        return self.values[number]

    def settle(self, number: int) -> Moved:
        """The value with its lanes where they belong."""
        lead = self.graph.nodes[number].type.shape[:-1]
        # Rows that are brought together are written line by line.
        made = materialise(self.context, self.value(number), segment=lead[-1] if lead and 32 <= lead[-1] <= 256 else 0)
        self.owners[made.number] = number
        self.values[number] = self.context.moved(made, self.graph.nodes[number].type.shape)
        return self.values[number]

    def tiles(self, number: int) -> list[Tile]:
        found = self.context.tiles(self.value(number))
        if found is None:
            found = self.context.tiles(self.settle(number))
        assert found is not None
        return found

    def keep(self, number: int, stored: Stored) -> None:
        self.owners[stored.number] = number
        self.values[number] = self.context.moved(stored, self.graph.nodes[number].type.shape)

    def new(
        self, number: int, segment: int = 0, prefer: int | None = None, *, now: bool = False, clear: Clear | None = None
    ) -> Stored:
        """Room for a value; a product writes `segment` rows at a time, into a bank that is not read meanwhile."""
        type_ = self.graph.nodes[number].type
        columns = type_.shape[-1] if type_.shape else 1
        # Both planes of a hemisphere read i8 at once, each from a copy of its own.
        sides = (0, 0, 1, 1) if type_.dtype == "i8" else BOTH
        rows = math.prod(type_.shape[:-1])
        # Matrices side by side (heads) are worked on one after the other: each in strips of its own.
        apart = type_.shape[-2] if len(type_.shape) == 3 and type_.shape[0] > 1 else 0
        segment = apart if MATRIX[0] <= apart <= MATRIX[1] else segment
        return self.context.storage.store(
            type_.dtype, rows, columns, sides, segment=segment, prefer=prefer, now=now, clear=clear
        )

    # -- the walk -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        for _ in self.walk():
            pass

    def walk(self) -> Iterator[int]:
        """Every node in order; each is told before it is scheduled, so that several chips can keep step."""
        for number, node in enumerate(self.graph.nodes):
            yield number
            self.context.at(node.place)
            if node.op == "constant" or number in self.inside or number in self.products:
                continue
            if number in self.absorbed:
                continue
            if node.op == "reshape" and node.inputs[0] in self.products:
                continue  # part of the way from a product to its region
            if node.type.size == 0:
                raise self.unsupported(node, "values without elements")
            before = len(self.context.storage.values)
            self.node(number, node)
            self.release(number, before)

    def node(self, number: int, node: Node) -> None:
        if node.op == "input":
            stored = self.input(number, node)
            self.owners[stored.number] = number
            lying = self.context.moved(stored, (stored.rows, stored.columns))
            order = self.orders.get(node.attributes["name"])
            if order is not None:
                turned = pieces.reshape(lying, tuple(node.type.shape[a] for a in order))
                self.values[number] = pieces.transpose(turned, np.argsort(order).tolist())
            else:
                self.values[number] = pieces.reshape(lying, node.type.shape)
        elif node.op in ELEMENTWISE:
            self.region(number, self.regions[number])
        elif node.op in MOVEMENT:
            fills = {stored.base for stored in self.context.fills.values()}
            self.values[number] = pieces.move(node.op, node.attributes, [self.value(i) for i in node.inputs], fills)
            many = len(self.users[number]) >= MANY_USERS and len(self.values[number].pieces) > SCATTERED
            windows = (
                node.op == "concatenate" and len(node.inputs) >= MANY_USERS and len(self.values[number].pieces) > 1
            )
            crosses = node.op == "concatenate" and self.turned(number)
            if many or crosses or (windows and node.attributes["axis"] < len(node.type.shape) - 1):
                self.settle(number)
        elif node.op == "pad":
            fill = self.context.fill(node.type.dtype, float(node.attributes["value"]))
            low, high = node.attributes["low"], node.attributes["high"]
            self.values[number] = pieces.pad(self.value(node.inputs[0]), low, high, fill)
        elif node.op == "matmul":
            self.matmul(number, None)
        elif node.op == "reduce":
            value = self.widened.get(number, node.inputs[0])
            source = self.graph.nodes[value].type
            made = reduce_lanes(
                self.context,
                self.tiles(value),
                source.dtype,
                node.type.dtype,
                source.shape[-1],
                node.attributes["function"],
            )
            self.keep(number, made)
        elif node.op == "gather":
            self.keep(number, gather_rows(self.context, *self.gathered(node), node.type.shape))
        else:
            raise self.unsupported(node, "this primitive")

    def turned(self, number: int) -> bool:
        """Whether rows and lanes of a value that lies in several places change places: it is brought together first."""
        waiting = list(self.users[number])
        while waiting:
            user = waiting.pop()
            node = self.graph.nodes[user]
            if node.op == "transpose" and node.attributes["permutation"][-1] != len(node.type.shape) - 1:
                return self.context.tiles(self.values[number]) is None
            if node.op == "reshape":
                waiting += self.users[user]
        return False

    def unsupported(self, node: Node, what: str) -> UnsupportedNode:
        return UnsupportedNode(f"{node.op} at {node.place or 'the top of the model'}: the tsp target has no {what}")

    def turned_by_host(self, number: int) -> tuple[tuple[int, ...], int] | None:
        """The order of axes and the columns in which all users want an input's rows, if it is not its own order."""
        found = set()
        for user in self.users[number]:
            turn = self.graph.nodes[user]
            if turn.op != "transpose" or turn.attributes["permutation"][-1] != len(turn.type.shape) - 1:
                return None
            for after in self.users[user]:
                node = self.graph.nodes[after]
                columns = node.type.shape[-1] if node.op == "reshape" else turn.type.shape[-1]
                found.add((tuple(turn.attributes["permutation"]), columns))
        return found.pop() if len(found) == 1 else None

    def input(self, number: int, node: Node) -> Stored:
        type_ = node.type
        columns = type_.shape[-1] if type_.shape else 1
        if of_lines(type_.shape):
            columns *= type_.shape[-2]
        turned = self.turned_by_host(number)
        if turned is not None:
            self.orders[node.attributes["name"]], columns = turned
        stays = any(n == node.attributes["name"] for n, _ in self.graph.states)
        storage, rows = self.context.storage, type_.size // columns
        far = storage.beside_planes() if storage.zoned else []
        stored = storage.store(type_.dtype, rows, columns, BOTH, fixed=stays, avoid=far)
        for copy in stored.copies:
            copy.ready[:] = 0
        for strip in stored.strips():
            strip.touch(0, 0)
        self.inputs[node.attributes["name"]] = stored
        return stored

    def region(self, number: int, region: Region) -> None:
        if region.product >= 0:
            self.matmul(region.product, region)
            return
        operands = self.operand_tiles(region)
        results = self.results(region)
        schedule_region(self.context, self.graph, region, operands, results)

    def results(self, region: Region, segment: int = 0, prefer: int | None = None) -> dict[int, Stored]:
        """Room for all that a region gives."""
        made: dict[int, Stored] = {}
        for value in (*region.extra, region.root):
            # All are written at once.
            clear = self.context.clear((), list(made.values())) if made else None
            made[value] = self.new(value, segment, prefer, clear=clear)
            self.keep(value, made[value])
        return made

    def operand_tiles(self, region: Region) -> dict[int, list[Tile]]:
        from elsewhere.compiler.targets.tsp.scheduler.regions import number_of

        return {
            v: self.tiles(v) for v in region.operands if v != region.product_leaf and number_of(self.graph, v) is None
        }

    def gathered(self, node: Node) -> tuple[Stored, Tile]:
        data = self.table(node.inputs[0])
        indices = self.value(node.inputs[1])
        count = math.prod(indices.shape)
        column = pieces.reshape(indices, (count, 1))
        tiles = self.context.tiles(column)
        if tiles is None:
            tiles = self.context.tiles(self.context.moved(materialise(self.context, column), (count, 1)))
        assert tiles is not None
        return data, tiles[0]

    def table(self, number: int) -> Stored:
        """The value with all its rows in one bank, in one hemisphere."""
        if number in self.tables:
            return self.tables[number]
        node = self.graph.nodes[number]
        side = len(self.tables) % 2
        if node.op == "constant":
            data = self.graph.constants[node.attributes["key"]]
            parts = to_bytes(data.reshape(-1, data.shape[-1]), node.type.dtype, self.context.machine.lanes)
            made = table(self.context, node.type.dtype, parts.shape[2], data.shape[-1], parts, side)
        else:
            made = copy_to_table(self.context, self.value(number), side)
        self.tables[number] = made
        return made

    def stored(self, number: int) -> Stored:
        """The value as one stored value of its own shape."""
        moved = self.value(number)
        found = self.whole(moved)
        if found is None:
            found = self.whole(self.settle(number))
        assert found is not None
        return found

    def whole(self, moved: Moved) -> Stored | None:
        if len(moved.pieces) != 1 or not moved.rows:
            return None
        piece = moved.pieces[0]
        value, row, column = self.context.decode(piece.where.ravel())
        stored = self.context.storage.values[int(value[0])]
        fits = stored.columns == moved.columns and stored.rows == moved.rows and (value == value[0]).all()
        return stored if fits and (row == np.arange(moved.rows)).all() and not column.any() else None

    # -- products -----------------------------------------------------------------------------------------------

    def matmul(self, number: int, region: Region | None) -> None:
        node = self.graph.nodes[number]
        a, b = node.inputs
        shape = node.type.shape
        batches, rows, columns = math.prod(shape[:-2]), shape[-2], shape[-1]
        inner = self.graph.nodes[a].type.shape[-1]
        product = Product(self.context, self.planes, self.graph.nodes[a].type.dtype, columns)
        segments = self.segments(a, product, rows, columns, batches)
        self.cuts[number] = [(s.start, s.width) for s in segments[0]]
        self.work[node.place] = self.work.get(node.place, 0.0) + float(batches) * rows * columns * inner
        if self.graph.nodes[b].op == "constant" and batches == 1:
            data = self.graph.constants[self.graph.nodes[b].attributes["key"]].reshape(inner, columns)
            weights = [product.store_weights(data, segments[0], rows, self.copies, len(self.cuts))]
        operands = {} if region is None else self.operand_tiles(region)
        beside = self.beside(b, batches, inner, columns) if batches > 1 and self.all_splat(operands) else None
        if beside is not None:
            weights = [Weights(tiles=[tile]) for tile, _ in beside]
            places = [at for _, at in beside]
            made = (number,) if region is None else (*region.extra, region.root)
            results = {value: self.joined(value, places, rows, columns) for value in made}
            product.run(segments, weights, batches, rows, Finish(self, region, operands, results, places, columns))
            return
        if self.graph.nodes[b].op != "constant" or batches != 1:
            weights = weights_from(self.context, self.tiles(b), batches, inner)
        chunk = product.chunk(segments[0], batches, rows)
        if region is None:
            results = {number: self.new(number, chunk, self.unread(segments[0], operands))}
            self.keep(number, results[number])
        else:
            results = self.results(region, chunk, self.unread(segments[0], operands))
        product.run(segments, weights, batches, rows, Finish(self, region, operands, results))

    def all_splat(self, operands: dict[int, list[Tile]]) -> bool:
        """Whether operands are the same in all lanes, so that results may lie in any."""
        values = self.context.storage.values
        return all(values[v].splat for tiles in operands.values() for t in tiles for v in np.unique(t.value).tolist())

    def beside(self, b: int, batches: int, inner: int, columns: int) -> list[tuple[Tile, int]] | None:
        """For matrices that lie side by side in the lanes of one value: each one's rows, and its first column there.

        Their products may then be written side by side too, and no lane is moved before or after.
        """
        flat = pieces.reshape(self.value(b), (batches * inner, columns))
        lanes = self.context.machine.lanes
        if len(flat.pieces) != 1 or flat.pieces[0].step != 1 or columns < 2:
            return None
        value, row, column = self.context.decode(flat.pieces[0].where.ravel())
        column = column.reshape(batches, inner)
        tile, lane = np.divmod(column, lanes)
        if (value != value[0]).any() or (column != column[:, :1]).any() or (lane + columns > lanes).any():
            return None
        if self.context.storage.values[int(value[0])].splat or not lane.any():
            return None
        if sorted(column[:, 0].tolist()) != [columns * i for i in range(batches)]:
            return None  # lanes between them would never be written
        whole = Tile(value, tile.ravel(), row)
        return [(whole.part(i * inner, (i + 1) * inner), int(column[i, 0])) for i in range(batches)]

    def joined(self, value: int, places: list[int], rows: int, columns: int) -> Stored:
        """Room for matrices side by side; `value` (batches, rows, columns) is a view of it."""
        type_ = self.graph.nodes[value].type
        sides = (0, 0, 1, 1) if type_.dtype == "i8" else BOTH
        stored = self.context.storage.store(type_.dtype, rows, columns * len(places), sides)
        where = stored.base + (stored.columns + 1) * np.arange(rows)[None] + np.array(places)[:, None]
        piece = pieces.Piece(columns, 1, where.reshape(type_.shape[:-1]))
        self.values[value] = Moved(type_.dtype, type_.shape, (piece,))
        return stored

    def unread(self, segments: list[Segment], operands: dict[int, list[Tile]]) -> int:
        """The bank from which fewest rows of a product's operands are to be read."""
        machine, values = self.context.machine, self.context.storage.values
        taken = np.zeros(machine.banks_per_slice)
        for tile in (*(s.tile for s in segments), *(t for tiles in operands.values() for t in tiles)):
            for number, rows in zip(*np.unique(tile.value, return_counts=True), strict=True):
                strips = [s for s in values[int(number)].strips() if s.data is None]
                for strip in strips:
                    taken[max(strip.bank, 0) if strip.slice >= 0 else strip.prefer] += rows / len(strips)
        return int(np.argmin(taken))

    def segments(self, a: int, product: Product, rows: int, columns: int, batches: int) -> list[list[Segment]]:
        """Pieces of K, for all batches or for each of them."""
        moved = self.value(a)
        inner = moved.columns
        flat = pieces.reshape(moved, (batches * rows, inner))
        found = segments_of(self.context, flat, product.largest)
        fewest = -(-inner // product.largest)
        if found is not None and len(found) > fewest:
            passes = (len(found) - fewest) * -(-columns // self.context.machine.lanes) / len(product.engines)
            if passes > len(flat.pieces) / MOVES_AT_ONCE:
                found = None
        if found is None and batches > 1:
            each = self.segments_by_batch(flat, product, rows, batches, fewest)
            if each is not None:
                return each
        if found is None:
            flat = pieces.reshape(self.settle(a), (batches * rows, inner))
            found = segments_of(self.context, flat, product.largest)
        assert found is not None
        return [found]

    def segments_by_batch(
        self, flat: Moved, product: Product, rows: int, batches: int, most: int
    ) -> list[list[Segment]] | None:
        """Segments whose lanes differ from batch to batch but not inside one, such as heads side by side."""
        found: list[list[Segment]] = []
        for batch in range(batches):
            first, last = batch * rows, (batch + 1) * rows
            mine = tuple(p.with_rows(p.where[first:last]) for p in flat.pieces)
            cut = segments_of(self.context, Moved(flat.dtype, (rows, flat.columns), mine), product.largest)
            if cut is None or len(cut) > most or (found and [s.start for s in cut] != [s.start for s in found[0]]):
                return None
            before = np.zeros(first, np.int64)  # rows are numbered through all batches
            tiles = [Tile(*(np.r_[before, x] for x in (s.tile.value, s.tile.tile, s.tile.row))) for s in cut]
            found.append([dataclasses.replace(s, tile=t) for s, t in zip(cut, tiles, strict=True)])
        return found

    # -- the end ------------------------------------------------------------------------------------------------

    def result(self, value: int) -> tuple[Stored, tuple[int, ...]]:
        """An output as a stored value, and the order of its axes there: it is turned by the host where it can be."""
        node = self.graph.nodes[value]
        if node.op == "constant":
            return self.stored(value), ()
        if node.op == "transpose":
            order = tuple(np.argsort(node.attributes["permutation"]).tolist())
            turned = pieces.transpose(self.value(value), order)
            source = self.graph.nodes[node.inputs[0]]
            columns = self.graph.nodes[source.inputs[0]].type.shape[-1:] if source.op == "reshape" else ()
            for width in (*columns, turned.columns):
                if turned.rows * turned.columns % width == 0:
                    stored = self.whole(pieces.reshape(turned, (turned.rows * turned.columns // width, width)))
                    if stored is not None:
                        return stored, order
        shape = node.type.shape
        if of_lines(shape):
            lines = pieces.reshape(self.value(value), (math.prod(shape[:-2]), shape[-2] * shape[-1]))
            return self.whole(lines) or materialise(self.context, lines), ()
        return self.stored(value), ()

    def port(self, name: str, stored: Stored, shape: tuple[int, ...], order: tuple[int, ...] = ()) -> Port:
        found = []
        for c, copy in enumerate(stored.copies):
            for t, tile in enumerate(copy.strips):
                for b, byte in enumerate(tile):
                    for part, strip in enumerate(byte):
                        found.append((c, t, b, part * stored.segment, strip.rows, strip.slice, strip.number))
        pieces_ = np.array(found, np.int64).reshape(-1, 7)
        return Port(name=name, dtype=stored.dtype, shape=shape, pieces=pieces_, columns=stored.columns, order=order)

    def program(self) -> Program:
        context, machine = self.context, self.context.machine
        outputs = []
        for name, value in (*self.graph.outputs, *((f"state:{n}", v) for n, v in self.graph.states)):
            outputs.append((name, self.graph.nodes[value].type.shape, *self.result(value)))
        code = np.array(context.machinery.rows, INSTRUCTION)
        code = code[np.lexsort((code["queue"], code["issue"]))]
        end = int((code["issue"] + code["count"]).max(initial=0)) + 64
        for _, _, stored, _ in outputs:
            for strip in stored.strips():
                strip.touch(end, end)
        memory = context.storage.assign(end)
        address = np.array([s.bank * machine.bank_rows + s.address for s in context.storage.strips], np.int64)
        mine = code["strip"] >= 0
        code["a"][mine, 1] = address[code["strip"][mine]] + code["row"][mine]
        image = [
            (s.slice, int(address[s.number]), np.ascontiguousarray(s.data))
            for s in context.storage.strips
            if s.data is not None
        ]
        ports = [
            self.port(n, s, self.graph.nodes[self.graph.inputs[n]].type.shape, self.orders.get(n, ()))
            for n, s in self.inputs.items()
        ]
        made = [self.port(n, s, shape, order) for n, shape, s, order in outputs]
        for port in (*ports, *made):
            port.pieces[:, 6] = address[port.pieces[:, 6]]
        maps = np.array(context.map_rows, np.int16).reshape(-1, machine.lanes)
        strips = self.strips(address, [s for _, _, s, _ in outputs])
        facts = {
            "cuts": {str(k): v for k, v in self.cuts.items()},
            "memory": memory,
            "multiplications": sum(self.work.values()),
            "work": self.work,
            "flows": context.count_flows,
            "operations": operations(code, maps, len(context.symbols)),
        }
        return Program(
            machine=machine,
            code=code,
            symbols=tuple(context.symbols),
            maps=maps,
            image=image,
            inputs=tuple(ports),
            outputs=tuple(made),
            states=tuple((n, f"state:{n}") for n, _ in self.graph.states),
            strips=strips,
            facts=facts,
        )

    def strips(self, address: Array, outputs: list[Stored]) -> Array:
        """Where every strip lies, for the checker."""
        strips = self.context.storage.strips
        flags = np.array([0 if s.data is None else GIVEN | CONSTANT for s in strips], np.int64)
        flags[[s.number for stored in self.inputs.values() for s in stored.strips()]] |= GIVEN
        flags[[s.number for stored in outputs for s in stored.strips()]] |= KEPT
        rows = [
            (s.slice, int(address[s.number]), s.rows, s.lanes, s.byte, TYPES.index(s.dtype), int(flags[s.number]))
            for s in strips
        ]
        return np.array(rows, STRIP)


ROOM_FOR_WEIGHTS = 0.5
"""Share of memory that weights may fill twice over."""
MANY_USERS = 4
"""From so many users on, lanes that come from many places are brought together once for all."""
MOVES_AT_ONCE = 4.0
"""Vectors that the switch units and memory ports move in a cycle, roughly: what joining pieces of K costs."""


class Finish:
    """Takes a product's results through its region, or straight to memory."""

    def __init__(
        self,
        build: Build,
        region: Region | None,
        operands: dict[int, list[Tile]],
        results: dict[int, Stored],
        places: list[int] | None = None,
        columns: int = 0,
    ) -> None:
        """`places` are the first columns of batches whose results lie side by side."""
        self.build, self.region, self.operands, self.results = build, region, operands, results
        self.places, self.columns = places, columns

    def __call__(
        self, flow: Any, wire: Wire, turn: int, plane: int, batch: int, tile: int, start: int, stop: int
    ) -> None:
        context = self.build.context
        rows, lanes, target = np.arange(start, stop), None, tile
        if self.places is not None:
            target, first = divmod(self.places[batch], context.machine.lanes)
            lanes = (first, first + self.columns)
            (stored, *_) = self.results.values()
            rows = rows - batch * stored.rows
        if self.region is None:
            (stored,) = self.results.values()
            for side in BOTH:
                context.write(flow, wire, stored, target, rows, side, lanes)
            return
        offset = wire.arrival(0)
        chain = Chain(context, flow, self.build.graph, self.region, stop - start)
        chain.stream(self.region.product_leaf, wire, offset)
        parts = {v: t[tile if len(t) > 1 else 0].part(start, stop) for v, t in self.operands.items()}
        read_operands(context, flow, chain, self.build.graph, parts, offset, turn + plane, early=turn >= EARLY)
        chain.build()
        emit_all(context, flow, chain, self.results, target, rows, lanes)


def schedule(graph: Graph, machine: TspMachine = GROQCHIP1) -> Program:
    """The program of a prepared graph. Raises UnsupportedNode and ScheduleError.

    Where banks of one use are full while others are empty, rows are spread evenly; then weights lie in one hemisphere.
    """
    full: MemoryFullError | None = None
    for zoned, copies in ((True, Copies.ALL), (True, Copies.NONE), (False, Copies.ALL), (False, Copies.NONE)):
        build = Build(graph, machine)
        if zoned and copies == Copies.NONE and build.copies != Copies.ODD:
            continue  # only the few that lie twice are worth giving up before slices dealt out by use
        build.context.storage.zoned &= zoned
        build.copies = min(build.copies, copies)
        try:
            build.run()
            return build.program()
        except SelfConflict as error:
            raise ScheduleError(f"a flow meets itself: {error}") from error
        except MemoryFullError as error:
            full = error
    assert full is not None
    raise full
