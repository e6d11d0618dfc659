"""Every operator that the ONNX importer knows, on its own, against ONNX's own reference evaluator.

Cases are nodes with their inputs; an input of `weights` is an initializer, so known while importing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from elsewhere.compiler.importers import ImportFileError, UnsupportedError
from elsewhere.compiler.importers.onnx import from_onnx
from elsewhere.compiler.targets import reference

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One node, or several in a row."""

    nodes: tuple[Any, ...]
    inputs: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    opset: int = 20


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(case: Case) -> ModelProto:
    given = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in case.inputs.items()
    ]
    made = [helper.make_tensor_value_info(k, TensorProto.UNDEFINED, None) for k in case.outputs]
    tensors = [numpy_helper.from_array(v, k) for k, v in case.weights.items()]
    graph = helper.make_graph(list(case.nodes), "g", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)])


def compare(case: Case, tolerance: float = 3e-6) -> None:
    built = model(case)
    wanted = ReferenceEvaluator(built).run(None, case.inputs)
    graph = from_onnx(built.SerializeToString())
    outputs, _ = reference.run(graph, case.inputs)
    for got, expected in zip(outputs.values(), wanted, strict=True):
        assert got.shape == np.shape(expected)
        np.testing.assert_allclose(got, np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance)


node = helper.make_node
X, Y = normal(2, 3, 4), normal(2, 3, 4, seed=1)
POSITIVE = np.abs(X) + 0.1
WHOLE = np.arange(-6, 18).reshape(2, 3, 4)
PICTURE = normal(2, 4, 9, 8)


def one(kind: str, *inputs: Array, opset: int = 20, outputs: int = 1, **attributes: Any) -> Case:
    """A node of which all inputs are inputs."""
    names = [f"x{i}" for i in range(len(inputs))]
    made = tuple("yzuvw"[:outputs])
    return Case(
        nodes=(node(kind, names, list(made), **attributes),),
        inputs=dict(zip(names, inputs, strict=True)), outputs=made, opset=opset,
    )  # fmt: skip


def on(kind: str, x: Array, *weights: Array | None, opset: int = 20, outputs: int = 1, **attributes: Any) -> Case:
    """A node of which the first input is an input and the others are known; None leaves one out."""
    names = [f"w{i}" if w is not None else "" for i, w in enumerate(weights)]
    made = tuple("yzuvw"[:outputs])
    return Case(
        nodes=(node(kind, ["x", *names], list(made), **attributes),),
        inputs={"x": x},
        weights={n: w for n, w in zip(names, weights, strict=True) if w is not None},
        outputs=made,
        opset=opset,
    )


def integers(*values: int) -> Array:
    return np.array(values, np.int64)


CASES: dict[str, Case] = {
    **{k: one(k, X, Y) for k in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Less", "GreaterOrEqual", "Equal")},
    **{k: one(k, X) for k in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Neg", "Round", "Sigmoid", "Sign", "Sin")},
    **{k: one(k, X) for k in ("Tanh", "Relu", "HardSwish", "Softplus", "Mish", "Identity", "Size", "Shape", "IsNaN")},
    **{k: one(k, POSITIVE) for k in ("Log", "Sqrt", "Reciprocal")},
    **{k: one(k, X > 0, Y > 0) for k in ("And", "Or", "Xor")},
    "Not": one("Not", X > 0),
    "Greater by broadcast": on("Greater", X, np.float32(0.3)),
    "Mod of integers": on("Mod", WHOLE, integers(5)),
    "Mod of integers, truncated": on("Mod", WHOLE, integers(-5), fmod=1),
    "Mod of floats": on("Mod", X, np.float32(0.7), fmod=1),
    "Div of integers": on("Div", np.abs(WHOLE), integers(5)),
    **{f"Pow {p}": on("Pow", POSITIVE, np.float32(p)) for p in (2, 3, 0.5, -1, 1.7)},
    "Where": one("Where", X > 0, X, Y),
    "Clip": on("Clip", X, np.float32(-0.5), np.float32(0.5)),
    "Clip from above": on("Clip", X, None, np.float32(0.5)),
    "Gelu": one("Gelu", X),
    "Gelu tanh": one("Gelu", X, approximate="tanh"),
    "HardSigmoid": one("HardSigmoid", X, alpha=0.3, beta=0.4),
    "LeakyRelu": one("LeakyRelu", X, alpha=0.2),
    "Elu": one("Elu", X, alpha=0.7),
    "Selu": one("Selu", X),
    "PRelu": on("PRelu", X, normal(3, 1)),
    "Softmax": one("Softmax", X, axis=1),
    "LogSoftmax": one("LogSoftmax", X),
    "Cast to integers": one("Cast", 3 * X, to=TensorProto.INT64),
    "Cast to truth": one("Cast", np.rint(X), to=TensorProto.BOOL),
    "Cast from truth": one("Cast", X > 0, to=TensorProto.FLOAT),
    "CastLike": one("CastLike", WHOLE, X),
    "Reshape": on("Reshape", X, integers(0, -1, 2)),
    "Flatten": one("Flatten", X, axis=2),
    "Squeeze": on("Squeeze", X[:1], integers(0)),
    "Squeeze all": one("Squeeze", X[:1, :1]),
    "Unsqueeze": on("Unsqueeze", X, integers(0, -1)),
    "Transpose": one("Transpose", X, perm=[2, 0, 1]),
    "Transpose all": one("Transpose", X),
    "Expand": on("Expand", X[:, :1], integers(2, 5, 1)),
    "Concat": one("Concat", X, Y, axis=-1),
    "Split": on("Split", X, integers(1, 3), axis=2, outputs=2),
    "Split unevenly": one("Split", X, axis=2, num_outputs=3, outputs=3),
    "Split by half": one("Split", X, axis=-1, opset=13, outputs=2),
    "Slice": on("Slice", X, integers(1, -1), integers(2**62, -(2**62)), integers(1, 2), integers(1, -2)),
    "Slice of first axes": on("Slice", X, integers(0, 1), integers(1, 9)),
    "Gather": on("Gather", X, integers(2, -1, 0), axis=1),
    "Gather one": on("Gather", X, np.array(-1), axis=2),
    "Gather by input": one("Gather", X, integers(1, -2), axis=1),
    "GatherElements": on("GatherElements", X, WHOLE % 3, axis=1),
    "GatherND": on("GatherND", X, np.array([[0, 1], [1, -1]])),
    "Tile": on("Tile", X, integers(1, 2, 3)),
    "Pad": on("Pad", X, integers(0, 1, 0, 2, 0, 1), np.float32(2.5)),
    "Pad some axes": on("Pad", X, integers(1, 2), None, integers(-1)),
    "Pad by reflection": on("Pad", X, integers(0, 1, 2, 0, 1, 0), mode="reflect"),
    "Pad by the edge": on("Pad", X, integers(0, 1, 2, 1, 1, 0), mode="edge"),
    "Trilu": on("Trilu", X, np.array(1)),
    "Trilu below": one("Trilu", X, upper=0),
    "CumSum": on("CumSum", X, np.array(1)),
    "DepthToSpace": one("DepthToSpace", PICTURE, blocksize=2),
    "DepthToSpace CRD": one("DepthToSpace", PICTURE, blocksize=2, mode="CRD"),
    "SpaceToDepth": one("SpaceToDepth", PICTURE[:, :, :8], blocksize=2),
    **{k: on(k, X, integers(1)) for k in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")},
    "ReduceSum without axes": one("ReduceSum", X, keepdims=0),
    "ReduceSumSquare": on("ReduceSumSquare", X, integers(-1, 0), keepdims=0),
    "ReduceMean of nothing": on("ReduceMean", X, integers(), noop_with_empty_axes=1),
    "ReduceMean of opset 13": one("ReduceMean", X, axes=[0, 2], opset=13),
    "ArgMax": one("ArgMax", X, axis=-1),
    "ArgMin": one("ArgMin", X, axis=1, keepdims=0),
    "MatMul": one("MatMul", X, Y.transpose(0, 2, 1)),
    "MatMul with a weight": on("MatMul", X, normal(4, 5)),
    "MatMul with vectors": on("MatMul", X, normal(4)),
    "MatMul, broadcast": one("MatMul", X, normal(5, 1, 4, 2)),
    "Gemm": on("Gemm", X[0], normal(5, 4), normal(5), transB=1, alpha=0.5, beta=2.0),
    "Gemm, transposed": one("Gemm", X[0], X[0], transA=1),
    "Conv": on("Conv", PICTURE, normal(6, 2, 3, 3), normal(6), group=2, strides=[2, 1], pads=[1, 0, 2, 1]),
    "Conv same": on("Conv", PICTURE, normal(4, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv 1d": on("Conv", X, normal(2, 3, 2), dilations=[2]),
    "ConvTranspose": on("ConvTranspose", PICTURE, normal(4, 3, 3, 3), normal(3), strides=[2, 2], pads=[1, 1, 1, 1],
                        output_padding=[1, 0]),
    "BatchNormalization": on("BatchNormalization", PICTURE, normal(4), normal(4), normal(4), POSITIVE[0, 0]),
    "InstanceNormalization": on("InstanceNormalization", PICTURE, normal(4), normal(4)),
    "LayerNormalization": on("LayerNormalization", X, normal(3, 4), normal(3, 4), axis=1),
    "LayerNormalization without bias": on("LayerNormalization", X, normal(4)),
    "GroupNormalization": on("GroupNormalization", PICTURE, normal(4), normal(4), num_groups=2, opset=21),
    "RMSNormalization": on("RMSNormalization", X, normal(4), opset=23),
    "MaxPool": one("MaxPool", PICTURE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    "MaxPool over the border": one("MaxPool", PICTURE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "AveragePool": one("AveragePool", PICTURE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "AveragePool with padding": one("AveragePool", PICTURE, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    "GlobalAveragePool": one("GlobalAveragePool", PICTURE),
    "GlobalMaxPool": one("GlobalMaxPool", PICTURE),
    **{
        f"Resize {mode} {where}": on(
            "Resize", PICTURE, None, np.array([1, 1, 2, 2.5], np.float32), mode=mode, nearest_mode="floor",
            coordinate_transformation_mode=where,
        )
        for mode in ("nearest", "linear", "cubic")
        for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    },
    "Resize to a size": on("Resize", PICTURE, None, None, integers(2, 4, 5, 12), mode="linear"),
    "Attention": one("Attention", normal(1, 4, 3, 8), normal(1, 2, 5, 8), normal(1, 2, 5, 6), opset=23),
    "Attention flat, causal": one(
        "Attention", normal(1, 3, 8), normal(1, 3, 8, seed=1), normal(1, 3, 8, seed=2),
        q_num_heads=2, kv_num_heads=2, is_causal=1, scale=0.3, opset=23,
    ),
    "Attention with a mask": one(
        "Attention", normal(1, 2, 3, 8), normal(1, 2, 5, 8), normal(1, 2, 5, 8), normal(3, 5) > -1.0, opset=23
    ),
    "Dropout": one("Dropout", X),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    compare(CASES[name])


def test_shapes_are_calculated_while_importing() -> None:
    nodes = (
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "two"], ["length"]),
        node("Sub", ["length", "one"], ["less"]),
        node("Range", ["zero", "length", "one"], ["places"]),
        node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        node("Trilu", ["ones"], ["triangle"], upper=0),
        node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        node("Mul", ["triangle", "numbers"], ["table"]),
        node("Unsqueeze", ["less", "axis"], ["last"]),
        node("Concat", ["minus", "last"], ["to"], axis=0),
        node("Slice", ["table", "axis", "last", "minus"], ["part"]),
        node("Slice", ["x", "axis", "last", "minus"], ["cut"]),
        node("Add", ["cut", "part"], ["sum"]),
        node("Reshape", ["sum", "to"], ["y"]),
    )
    weights = {"two": np.array(2), "one": np.array(1), "zero": np.array(0), "axis": integers(0), "minus": integers(-1)}
    case = Case(nodes=nodes, inputs={"x": X}, weights=weights)
    compare(case)
    graph = from_onnx(model(case).SerializeToString())
    assert [n.op for n in graph.nodes if n.op not in ("input", "constant", "broadcast")] == [
        "slice",
        "binary",
        "reshape",
    ]


def test_a_guarded_softmax_with_a_mask_is_the_canonical_one() -> None:
    hidden = np.where(np.tril(np.ones((3, 4))) > 0, 0.0, -np.inf).astype(np.float32)
    nodes = (
        node("Add", ["x", "mask"], ["scores"]),
        node("Softmax", ["scores"], ["p"]),
        node("IsNaN", ["p"], ["bad"]),
        node("Where", ["bad", "zero", "p"], ["y"]),
    )
    case = Case(nodes=nodes, inputs={"x": X}, weights={"mask": hidden, "zero": np.float32(0)})
    compare(case)
    graph = from_onnx(model(case).SerializeToString())
    assert "select" not in [n.op for n in graph.nodes]
    assert all(np.isfinite(data).all() for data in graph.constants.values())


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.INT32]
)
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_format(kind: int, raw: bool) -> None:
    values = [1.5, -2.0, 3.0, 0.0] if kind in (1, 10, 16) else [1, -2, 3, 0]
    built = model(Case(nodes=(node("Cast", ["w"], ["f"], to=1), node("Add", ["x", "f"], ["y"])), inputs={"x": X}))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    data = np.array(values, dtype).tobytes() if raw else values
    built.graph.initializer.append(helper.make_tensor("w", kind, [4], data, raw=raw))
    if kind == TensorProto.BFLOAT16:
        built.graph.node[0].CopyFrom(node("Add", ["w", "w"], ["f"]))
        built.graph.node[1].CopyFrom(node("Cast", ["f"], ["y"], to=1))
        values = [2 * v for v in values]
    outputs, _ = reference.run(from_onnx(built.SerializeToString()), {"x": 0 * X})
    np.testing.assert_array_equal(outputs["y"].reshape(-1)[:4], values)


def broken(**changes: Any) -> ModelProto:
    """A sound model but for one thing."""
    built = model(Case(nodes=(node("Exp", ["x"], ["y"], name="raise"),), inputs={"x": X}))
    match changes:
        case {"node": new}:
            built.graph.node[0].CopyFrom(new)
        case {"opset": version}:
            built.opset_import[0].version = version
        case {"lengths": lengths}:
            for dim, value in zip(built.graph.input[0].type.tensor_type.shape.dim, lengths, strict=True):
                dim.ClearField("dim_value")
                if isinstance(value, str):
                    dim.dim_param = value
                else:
                    dim.dim_value = value
        case {"format": kind}:
            built.graph.input[0].type.tensor_type.elem_type = kind
        case {"tensor": tensor}:
            built.graph.initializer.append(tensor)
        case {"output": name}:
            built.graph.output[0].name = name
    return built


def cut_tensor() -> TensorProto:
    tensor = numpy_helper.from_array(X, "w")
    tensor.raw_data = tensor.raw_data[:-1]
    return tensor


SUBGRAPH = helper.make_graph([], "g", [], [])
REFUSED: dict[str, tuple[ModelProto, type[ValueError], str]] = {
    "an unknown operator": (
        broken(node=node("NonMaxSuppression", ["x"], ["y"], name="pick")), UnsupportedError,
        r"NonMaxSuppression \(node 'pick'\): no form for this operator",
    ),
    "a place": (
        broken(node=node("Det", ["x"], ["y"], name="/blocks.0/inner/Det")), UnsupportedError,
        r"Det at blocks.0.inner \(node '/blocks.0/inner/Det'\)",
    ),
    "another domain": (
        broken(node=node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft")), UnsupportedError,
        "com.microsoft.FusedMatMul .*outside the standard",
    ),
    "control flow": (
        broken(node=node("If", ["x"], ["y"], then_branch=SUBGRAPH, else_branch=SUBGRAPH)), UnsupportedError,
        "If .*control flow",
    ),
    "an old opset": (broken(opset=9), UnsupportedError, "opset 9; versions 13 to 23"),
    "a dynamic length": (
        broken(lengths=["batch", 3, 4]), UnsupportedError, r"'x' has a dynamic length at axis 0 .*shapes="
    ),
    "a negative length": (broken(lengths=[-2, 3, 4]), ImportFileError, "lengths must be integers ≥ 0"),
    "too large an input": (broken(lengths=[2**20, 2**20, 4]), ImportFileError, "more than 2147483648 elements"),
    "double precision": (broken(format=11), UnsupportedError, "'x' holds numbers of format double"),
    "texts": (broken(format=8), UnsupportedError, "'x' holds numbers of format number 8"),
    "an input that nothing makes": (
        broken(node=node("Exp", ["z"], ["y"])), ImportFileError, "reads 'z', which no node before it makes"
    ),
    "an output that nothing makes": (broken(output="z"), ImportFileError, "output 'z' is made by no node"),
    "a value made twice": (broken(node=node("Exp", ["x"], ["x"])), ImportFileError, "'x' is made twice"),
    "a tensor that is cut": (broken(tensor=cut_tensor()), ImportFileError, "needs 96 bytes, has 95"),
    "a tensor of texts": (
        broken(tensor=helper.make_tensor("w", 8, [1], [b"a"])), UnsupportedError, "'w' holds numbers of format 8"
    ),
    "an axis that is none": (
        broken(node=node("Softmax", ["x"], ["y"], axis=7)), ImportFileError, "Softmax .*axis 7 of 3"
    ),
    "a shape that is not known": (
        broken(node=node("Reshape", ["x", "x"], ["y"])), UnsupportedError, "a shape that is known before the run"
    ),
    "a permutation that is none": (
        broken(node=node("Transpose", ["x"], ["y"], perm=[0, 0, 1])), UnsupportedError, "no permutation"
    ),
    "a padding without end": (
        broken(node=node("MaxPool", ["x"], ["y"], kernel_shape=[2], pads=[2**40, 0])), UnsupportedError,
        "padding must be < window",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_or_not_sound_is_named(name: str) -> None:
    built, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        from_onnx(built.SerializeToString())


def test_open_lengths_can_be_given() -> None:
    data = broken(lengths=["batch", 3, "time"]).SerializeToString()
    graph = from_onnx(data, {"x": (5, 3, 2)})
    assert graph.nodes[0].type.shape == (5, 3, 2)
    with pytest.raises(ValueError, match=r"has shape \('batch', 3, 'time'\), got \(5, 4, 2\)"):
        from_onnx(data, {"x": (5, 4, 2)})
    with pytest.raises(ValueError, match="no input is called 'z'"):
        from_onnx(data, {"z": (1,)})
