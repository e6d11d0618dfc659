"""Writes the files that the contenders of `runtimes.py` read: inputs, exact outputs, ONNX, OpenVINO, int8 of both.

    python benchmarks/peer_files.py FOLDER NETWORK…

Calibration and checking use different inputs; for the project's own networks both come from real films of different
worlds. What cannot be made is said in FOLDER/NETWORK.json, and the rest goes on.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import ROOT, Arrays, relative_errors, save_arrays
from torch import Tensor, nn

sys.path.insert(0, str(ROOT / "tests" / "compiler"))
import zoo
from zoo import onnx_file, own

CHECKED, CALIBRATED = 4, 32
TRANSFORMERS = ("world-step", "dit-d384", "bert-base", "vit-b-16", "gpt-2", "minilm-l6", "llama-block", "dit-block")
CALIBRATION_PROMPTS = (
    "a red sailboat sailing next to a lighthouse on the open sea at sunset",
    "a yellow rubber duck drifting in a bathtub",
    "a castle and two cactuses in the desert at noon",
    "a whale next to an iceberg on the open sea",
)


def numpy_of(samples: Iterable[tuple[Tensor, ...]]) -> list[Arrays]:
    return [[tensor.numpy() for tensor in sample] for sample in samples]


def samples_of(network: str) -> tuple[list[Arrays], list[Arrays]]:
    """Inputs to check on, and others to calibrate on."""
    if network not in ("world-step", "tokenizer-decoder", "tokenizer-encoder"):
        every = numpy_of(zoo.samples(network, CHECKED + CALIBRATED))
        return every[:CHECKED], every[CHECKED:]
    check = numpy_of(own.recorded(CHECKED)[network])
    share = CALIBRATED // len(CALIBRATION_PROMPTS)
    calibration = [s for prompt in CALIBRATION_PROMPTS for s in own.recorded(share, prompt, 1)[network]]
    return check, numpy_of(calibration)


def exact(module: nn.Module, samples: list[Arrays]) -> tuple[list[Arrays], str]:
    """Outputs in double precision, or in single where the network's own constants do not allow it."""
    for kind in (torch.float64, torch.float32):
        try:
            wide = copy.deepcopy(module).to(kind)
            made = []
            with torch.no_grad():
                for arrays in samples:
                    tensors = [torch.from_numpy(a) for a in arrays]
                    out = wide(*(t.to(kind) if t.is_floating_point() else t for t in tensors))
                    made.append([o.double().numpy() for o in (out if isinstance(out, tuple) else (out,))])
            return made, str(kind).removeprefix("torch.")
        except RuntimeError:
            continue
    raise ValueError("the network runs neither in double nor in single precision")


def recipes(network: str) -> dict[str, dict[str, Any]]:
    """Ways to quantise that NNCF offers: none is the most exact for every network."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    widest = {"activations_range_estimator_params": RangeEstimatorParametersSet.MINMAX}
    unsmoothed = {"smooth_quant_alphas": AdvancedSmoothQuantParameters(matmul=-1, convolution=-1)}
    kind = {"model_type": nncf.ModelType.TRANSFORMER} if network in TRANSFORMERS else {}
    found = {
        "default": kind,
        "widest ranges": kind | {"advanced_parameters": AdvancedQuantizationParameters(**widest)},
    }
    if kind:
        exact_ranges = AdvancedQuantizationParameters(**widest, **unsmoothed)
        found["widest ranges, not smoothed"] = kind | {"advanced_parameters": exact_ranges}
    return found


def quantised(model: Any, names: list[str] | None, calibration: list[Arrays], recipe: dict[str, Any]) -> Any:
    """Post-training int8 by NNCF: activations per tensor, weights per channel."""
    import nncf

    def feed(arrays: Arrays) -> Any:
        return dict(zip(names, arrays, strict=True)) if names else dict(enumerate(arrays))

    return nncf.quantize(model, nncf.Dataset(calibration, feed), subset_size=len(calibration), **recipe)


def most_exact(
    path: Path, calibration: list[Arrays], wanted: list[Arrays], network: str
) -> tuple[str, dict[str, float]]:
    """The recipe with the smallest error of the worst output on inputs that it was not calibrated on; all errors.

    `wanted` are the exact outputs of the last calibration inputs, which are therefore left out.
    """
    import openvino

    core, found = openvino.Core(), {}
    for name, recipe in recipes(network).items():
        model = quantised(core.read_model(path), None, calibration[: -len(wanted)], recipe)
        request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        made = [list(request(arrays).values()) for arrays in calibration[-len(wanted) :]]
        found[name] = max(relative_errors(made, wanted))
    return min(found, key=lambda name: found[name]), found


def write_openvino(model: Any, path: Path) -> None:
    import openvino

    openvino.save_model(model, str(path), compress_to_fp16=False)


def make(network: str, folder: Path) -> None:
    """All files of one network."""
    said: dict[str, Any] = {"failed": {}, "seconds": {}}
    module, inputs = zoo.build(network)

    def attempt(name: str, work: Callable[[], None]) -> None:
        began = time.perf_counter()
        try:
            work()
            said["seconds"][name] = round(time.perf_counter() - began, 1)
        except Exception as error:  # what a peer cannot do is a result
            traceback.print_exc()
            said["failed"][name] = f"{type(error).__name__}: {error}"[:400]

    check, calibration = samples_of(network)
    save_arrays(folder / f"{network}-check.npz", check)
    save_arrays(folder / f"{network}-calibration.npz", calibration)
    reference, said["reference"] = exact(module, check)
    save_arrays(folder / f"{network}-exact.npz", reference)

    import openvino

    onnx_path = folder / f"{network}.onnx"
    shapes = {index: list(tensor.shape) for index, tensor in enumerate(inputs)}

    def from_torch() -> None:
        converted = openvino.convert_model(torch.export.export(module, inputs))
        converted.reshape(shapes)
        write_openvino(converted, folder / f"{network}-torch.xml")

    def choose_recipe() -> None:
        wanted, _ = exact(module, calibration[-CHECKED:])
        sources = [p for s in ("torch", "onnx") if (p := folder / f"{network}-{s}.xml").exists()]
        said["recipe"], said["recipes"] = most_exact(sources[0], calibration, wanted, network)

    def recipe() -> dict[str, Any]:
        return recipes(network)[said.get("recipe", "default")]

    def int8_of(source: str) -> None:
        model = openvino.Core().read_model(folder / f"{network}-{source}.xml")
        write_openvino(quantised(model, None, calibration, recipe()), folder / f"{network}-{source}-int8.xml")

    def int8_onnx() -> None:
        import onnx

        model = onnx.load(onnx_path)
        names = [value.name for value in model.graph.input]
        onnx.save(quantised(model, names, calibration, recipe()), folder / f"{network}-int8.onnx")

    # None of the peers' converters does complex numbers well, or at all: they get the same network without.
    def in_real_numbers(work: Callable[[], None]) -> Callable[[], None]:
        def wrapped() -> None:
            with own.real_rotations():
                work()

        return wrapped

    attempt("onnx", in_real_numbers(lambda: onnx_file.write(module, inputs, onnx_path)))
    attempt("openvino from onnx", lambda: write_openvino(
        openvino.convert_model(onnx_path), folder / f"{network}-onnx.xml"
    ))  # fmt: skip
    attempt("openvino from torch", in_real_numbers(from_torch))
    attempt("int8 recipe", choose_recipe)
    for source in ("onnx", "torch"):
        if (folder / f"{network}-{source}.xml").exists():
            attempt(f"int8 openvino from {source}", lambda source=source: int8_of(source))  # type: ignore[misc]
    attempt("int8 onnx", int8_onnx)
    said["operations"] = operations(module, inputs)
    (folder / f"{network}.json").write_text(json.dumps(said, indent=2), encoding="utf-8")


def operations(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Multiplies and adds of the matrix products and convolutions of one run."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Fused attention on a processor is not counted; the same as two matrix products is.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(2)
    np.random.seed(0)
    for name in sys.argv[2:]:
        make(name, Path(sys.argv[1]))
