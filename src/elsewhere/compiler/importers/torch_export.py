"""`torch.export` programs → graphs. torch is imported when a function is called, never before.

What does not depend on an input is calculated by torch itself while importing, in torch's own formats (int64, bool,
complex); everything else becomes primitives by the table in `torch_operators`. int64 becomes i32 and bool i8.
A value of an input outside i32 saturates. Buffers that the program changes become states.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from elsewhere.compiler.importers.errors import UnsupportedError
from elsewhere.compiler.ir import Builder, Graph, SpecError, check
from elsewhere.compiler.ir.operations import TypeRule
from elsewhere.compiler.passes.dead import remove_dead
from elsewhere.compiler.passes.fold import fold_constants

if TYPE_CHECKING:
    import torch

FOLD_ELEMENTS = 2**24
"""A known value of more elements is calculated while importing only if it is no larger than what it is made from."""

DTYPES = {
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
    "int8": "i8",
    "bool": "i8",
    "int32": "i32",
    "int64": "i32",
}
"""torch's formats and ours."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph that is made, with the format that torch gives it."""

    number: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Pair:
    """A complex value: its real and its imaginary part, f32."""

    real: int
    imaginary: int


def from_module(module: torch.nn.Module, inputs: tuple[Any, ...]) -> Graph:
    """Exports `module` for the shapes of `inputs`, and imports the program."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return from_exported(torch.export.export(module, inputs))


def from_exported(program: torch.export.ExportedProgram) -> Graph:
    """A graph with an input per input tensor and an output per output tensor.

    Outputs are called `output`, or `output_0`, `output_1`, …, or by their keys if the module returns a dictionary.
    Raises UnsupportedError.
    """
    return _Import(prepare(program)).graph()


def initial_states(program: torch.export.ExportedProgram) -> dict[str, NDArray[Any]]:
    """What the states of `from_exported(program)` hold before the first run, in the reference's formats."""
    wanted = _Import(prepare(program))
    return {name: array(wanted.stored[target])[0] for name, target in wanted.changed.items()}


def prepare(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Without mutation, and with the operators that have no form here taken apart as torch itself defines them."""
    import torch

    from elsewhere.compiler.importers.torch_operators import FORMS

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = program.run_decompositions({})
        used = {n.target for n in _depending(program) if n.op == "call_function"}
        unknown = {t for t in used if isinstance(t, torch._ops.OpOverload) and operator_name(t) not in FORMS}
        table = torch.export.default_decompositions()
        apart = {t: table[t] for t in unknown if t in table}
        return program.run_decompositions(apart) if apart else program


def _depending(program: torch.export.ExportedProgram) -> set[torch.fx.Node]:
    """Nodes that depend on an input; all others are calculated while importing, whatever they are."""
    given = {s.arg.name for s in program.graph_signature.input_specs if s.kind.name in ("USER_INPUT", "BUFFER")}
    found: set[torch.fx.Node] = set()
    for node in program.graph.nodes:
        if (node.op == "placeholder" and node.name in given) or found.intersection(node.all_input_nodes):
            found.add(node)
    return found


def operator_name(target: Any) -> str:
    """'aten.add.Tensor' → 'add'; operators of other libraries keep their full name."""
    full = str(target)
    return full.split(".")[1] if full.startswith("aten.") else full


def place_of(node: torch.fx.Node) -> str:
    """Path of the module that a node came from."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    return str(path).removeprefix("L['self'].").removeprefix("L['self']")


def array(tensor: torch.Tensor) -> tuple[NDArray[Any], str]:
    """Data in the reference's format, and our name of the format. Raises TypeRule for formats we have not."""
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.detach().cpu()
    if name == "float64" and tensor.numel() == 1:
        return tensor.to(torch.float32).numpy(), "f32"
    if name not in DTYPES:
        raise TypeRule(f"numbers of format {name}; supported are {sorted(DTYPES)}")
    if name == "int64" and tensor.numel() and (int(tensor.min()) < -(2**31) or int(tensor.max()) >= 2**31):
        # The end markers that models write into masks and slices are the one case in practice; they are refused too.
        raise TypeRule(f"an integer outside 32 bits ({int(tensor.min())} … {int(tensor.max())})")
    dtype = DTYPES[name]
    wanted = {"int64": torch.int32, "bool": torch.int8, "bfloat16": torch.float32}.get(name, tensor.dtype)
    return tensor.to(wanted).contiguous().numpy(), dtype


class _Import:
    """One walk over a program. It is also the context that forms of operators are given."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.b = Builder()
        self.values: dict[Any, Any] = {}
        self.node: Any = None
        self.stored: dict[str, torch.Tensor] = {**dict(program.state_dict), **dict(program.constants)}
        self.changed: dict[str, str] = {}
        """Name of a state → name of the buffer."""
        self._constants: dict[Any, int] = {}
        signature = program.graph_signature
        outputs = {str(getattr(s.kind, "name", s.kind)): s.target for s in signature.output_specs}
        if "USER_INPUT_MUTATION" in outputs:
            raise UnsupportedError(
                f"the program writes into its input {outputs['USER_INPUT_MUTATION']!r}; return the new value instead"
            )
        for spec in signature.output_specs:
            if spec.kind.name == "BUFFER_MUTATION":
                self.changed[str(spec.target)] = str(spec.target)

    # What forms of operators ask for

    def refuse(self, missing: str) -> UnsupportedError:
        """The error to raise for the present node."""
        where = place_of(self.node) or "the model's top"
        return UnsupportedError(f"{self.node.target} at {where} (node {self.node.name!r}): {missing}")

    def constant(self, tensor: torch.Tensor) -> int:
        """A known tensor as a value. An axis that is an expansion is stored once and broadcast."""
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if key not in self._constants:
            narrow = tensor
            for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
                if stride == 0 and length > 1:
                    narrow = narrow.narrow(axis, 0, 1)
            data, dtype = array(narrow)
            self._constants[key] = self.b.broadcast(self.b.constant(data, dtype), tuple(tensor.shape))
            self.values.setdefault(("kept", key), tensor)  # its address stays its own while the import lasts
        return self._constants[key]

    def tensor(self, value: Any) -> int:
        """Number of a value that is a tensor, known or not."""
        import torch

        if isinstance(value, Value):
            return value.number
        if isinstance(value, torch.Tensor):
            return self.constant(value)
        if isinstance(value, Pair):
            raise self.refuse("complex numbers beyond rotation (view_as_complex, mul, view_as_real)")
        raise self.refuse(f"a tensor where it has {value!r}")

    def maybe(self, value: Any) -> int | None:
        return None if value is None else self.tensor(value)

    def dtype_of(self, value: Any) -> torch.dtype:
        dtype: torch.dtype = value.dtype
        return dtype

    def as_type(self, value: Any, dtype: torch.dtype, like: int | None = None) -> int:
        """A tensor or number in the format `dtype`; a number takes the shape of `like`."""
        import torch

        if isinstance(value, torch.Tensor) and value.numel() == 1 and like is not None:
            value = value.item()
        if isinstance(value, (bool, int, float)):
            assert like is not None
            shape = self.b.shape(like)
            data, name = array(torch.tensor([value], dtype=dtype).reshape((1,) * len(shape)))
            return self.b.broadcast(self.b.constant(data, name), shape)
        return self.convert(self.tensor(value), self.dtype_of(value), dtype)

    def convert(self, number: int, old: torch.dtype, new: torch.dtype) -> int:
        """torch's conversion: floats are cut towards zero, truth is what is not 0."""
        import torch

        if old == new:
            return number
        target = self.ours(new)
        if new == torch.bool:
            zero = self.b.like(0, number)
            return self.b.unary("not", self.b.binary("equal", number, zero))
        if old.is_floating_point and not new.is_floating_point:
            sign = self.b.unary("sign", number)
            number = self.b.binary("mul", self.b.unary("floor", self.b.unary("abs", number)), sign)
        return self.b.cast(number, target)

    def ours(self, dtype: torch.dtype) -> str:
        name = str(dtype).removeprefix("torch.")
        if name not in DTYPES:
            raise self.refuse(f"numbers of format {name}; supported are {sorted(DTYPES)}")
        return DTYPES[name]

    @property
    def result(self) -> Any:
        """What torch says about the present node's result: shape and format."""
        return self.node.meta["val"]

    def known(self, value: Any) -> NDArray[Any] | None:
        """Data of a value that is known."""
        import torch

        return array(value)[0] if isinstance(value, torch.Tensor) else None

    # The walk

    def graph(self) -> Graph:
        import torch

        with torch.no_grad():
            for node in self.program.graph.nodes:
                self.node = node
                self.b.place = place_of(node)
                try:
                    self.values[node] = getattr(self, f"_{node.op}")(node)
                except (TypeRule, SpecError) as error:
                    raise self.refuse(str(error)) from error
        return check(remove_dead(fold_constants(self.b.graph())), "imported")

    def _placeholder(self, node: torch.fx.Node) -> Any:
        spec = next(s for s in self.program.graph_signature.input_specs if s.arg.name == node.name)
        kind, target = spec.kind.name, spec.target
        if kind in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR") and target not in self.changed:
            assert target is not None
            return self.stored[target]
        fake = node.meta.get("val")
        if not hasattr(fake, "shape") or kind not in ("USER_INPUT", "BUFFER"):
            raise UnsupportedError(f"input {node.name!r} must be a tensor, got {fake!r} ({kind.lower()})")
        moving = [i for i, n in enumerate(fake.shape) if not isinstance(n, int)]
        if moving:
            raise UnsupportedError(
                f"input {node.name!r} has a dynamic length at axis {moving[0]} (shape {tuple(map(str, fake.shape))}); "
                "export with fixed shapes"
            )
        if str(fake.dtype).removeprefix("torch.") not in DTYPES:
            raise UnsupportedError(
                f"input {node.name!r} holds numbers of format {fake.dtype}; supported are {sorted(DTYPES)}"
            )
        name = node.name if kind == "USER_INPUT" else str(target)
        return Value(self.b.input(name, self.ours(fake.dtype), tuple(fake.shape)), fake.dtype)

    def _get_attr(self, node: torch.fx.Node) -> Any:
        held: Any = self.program.graph_module
        for part in str(node.target).split("."):
            held = getattr(held, part)
        return held

    def _call_function(self, node: torch.fx.Node) -> Any:
        import torch

        from elsewhere.compiler.importers.torch_operators import FORMS

        arguments, named = self._look_up((node.args, node.kwargs))
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        name = operator_name(node.target)
        if name in ("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"):
            return None  # what they state about shapes and formats is static and has been stated by the export
        if not isinstance(node.target, torch._ops.OpOverload):
            raise self.refuse("control flow and operators that are not torch's own have no form")
        tensors = list(_tensors((arguments, named)))
        if not any(isinstance(t, (Value, Pair)) for t in tensors):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise self.refuse("random numbers inside a program; make them an input")
            if self._size() <= max(FOLD_ELEMENTS, 2 * sum(t.numel() for t in tensors)):
                if "device" in named:
                    named["device"] = torch.device("cpu")
                return node.target(*arguments, **named)
        if name not in FORMS:
            raise self.refuse("no form for this operator")
        if not all(isinstance(n, int) for fake in _fakes(self.result) for n in fake.shape):
            raise self.refuse("a length that is known only while running")
        result = FORMS[name](self, **_bound(node.target, arguments, named))
        return self._checked(result, node.meta.get("val"))

    def _output(self, node: torch.fx.Node) -> None:
        specs = self.program.graph_signature.output_specs
        names = iter(_output_names(self.program))
        for spec, source in zip(specs, node.args[0], strict=True):
            value = self.values.get(source)
            if spec.kind.name == "BUFFER_MUTATION":
                self.b.state(str(spec.target), self.tensor(value))
                continue
            if spec.kind.name != "USER_OUTPUT":
                raise UnsupportedError(f"an output of kind {spec.kind.name.lower()}")
            name = next(names)
            if source is None:
                continue
            if not hasattr(source, "meta") or isinstance(value, (Pair, list, tuple)) or value is None:
                raise UnsupportedError(f"output {name!r} must be a real tensor, got {source!r}")
            self.node = source
            self.b.output(name, self.tensor(value))

    def _look_up(self, argument: Any) -> Any:
        """Arguments with values in the place of nodes."""
        if isinstance(argument, (list, tuple)):
            return tuple(self._look_up(a) for a in argument)
        if isinstance(argument, Mapping):
            return {k: self._look_up(v) for k, v in argument.items()}
        return self.values[argument] if hasattr(argument, "meta") and argument in self.values else argument

    def _size(self) -> int:
        counts = [f.numel() for f in _fakes(self.result)]
        return sum(n for n in counts if isinstance(n, int))

    def _checked(self, result: Any, fake: Any) -> Any:
        """Wraps what a form returns, and compares it with what torch says the result is."""
        if isinstance(result, (list, tuple)):
            return tuple(self._checked(r, f) for r, f in zip(result, fake, strict=False))
        if not isinstance(result, int):
            return result
        wanted, got = (self.ours(fake.dtype), tuple(fake.shape)), self.b.type(result)
        if wanted != (got.dtype, got.shape):
            raise AssertionError(f"{self.node.target}: made {got}, torch makes {fake.dtype}{tuple(fake.shape)}")
        return Value(result, fake.dtype)


def _fakes(result: Any) -> list[Any]:
    """What torch says about the tensors of a result."""
    return [f for f in (result if isinstance(result, (list, tuple)) else [result]) if hasattr(f, "numel")]


def _tensors(argument: Any) -> Iterable[Any]:
    import torch

    if isinstance(argument, (list, tuple)):
        for a in argument:
            yield from _tensors(a)
    elif isinstance(argument, Mapping):
        yield from _tensors(list(argument.values()))
    elif isinstance(argument, (torch.Tensor, Value, Pair)):
        yield argument


def _bound(target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """All arguments by the names of the operator's schema, defaults filled in; `self` is called `x`."""
    found: dict[str, Any] = {}
    for i, argument in enumerate(target._schema.arguments):
        value = arguments[i] if i < len(arguments) else named.get(argument.name, argument.default_value)
        found["x" if argument.name in ("self", "input") else argument.name] = value
    return found


def _output_names(program: torch.export.ExportedProgram) -> list[str]:
    """Keys for a dictionary, else numbers; the one output is called `output`."""
    spec = program.call_spec.out_spec
    count = sum(s.kind.name == "USER_OUTPUT" for s in program.graph_signature.output_specs)
    if spec is not None and spec.type is dict and len(spec.context) == count:
        return [str(key) for key in spec.context]
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
