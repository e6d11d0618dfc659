"""One runtime with one network in a process of its own, asked by `runtimes.py` over a pipe.

A contender that is not torch sees only files (ONNX, OpenVINO's own, inputs as arrays), so that its memory is what it
would be where it is deployed. Lines of JSON come in; lines of JSON go out.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
Arrays = list[NDArray[Any]]


class NotAvailable(Exception):
    """This contender does not exist here: not installed, not built yet, or not for this processor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A runtime, a precision and the settings to try it with."""

    runtime: str
    precision: str
    threads: int
    settings: str = ""

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.runtime, self.precision, self.settings, f"{self.threads} threads")))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Runner:
    """Inputs are put in place first, then `run` does nothing but the network."""

    run: Callable[[], object]

    def put(self, inputs: Arrays) -> None:
        raise NotImplementedError

    def outputs(self) -> Arrays:
        """What the last run made, as float32."""
        raise NotImplementedError

    def rest(self) -> None:
        """Lets other contenders have all cores. Runtimes' own threads stop waiting by themselves."""


def module_in_bf16(module: Any, *, matrices_alone: bool = False) -> Any:
    """The module in bf16, or only the weights of its linear layers and convolutions."""
    import torch

    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    for part in [m for m in module.modules() if isinstance(m, kinds)] if matrices_alone else [module]:
        part.to(torch.bfloat16)
    return module


class TorchRunner(Runner):
    """Eager, or compiled by inductor with frozen weights.

    `settings` are words out of `wide` (channels last), `tuned` (autotuned), `real` (without complex numbers).
    """

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        import torch

        self.torch = torch
        torch.set_num_threads(contender.threads)
        module, self.example = self.network(network)
        self.half = contender.precision == "bf16"
        self.wide = "wide" in contender.settings
        self.mixed = self.half and not self.runs_in_bf16(module)
        if self.half:
            module = module_in_bf16(module, matrices_alone=self.mixed)
        if self.wide:
            module = module.to(memory_format=torch.channels_last)
        if contender.runtime == "torch.compile":
            from torch._inductor import config

            config.freezing = True
            config.cpp_wrapper = "wrapped" in contender.settings
            if "tuned" in contender.settings:
                config.max_autotune = True
                config.max_autotune_gemm_backends = "CPP,ATEN"
            module = torch.compile(module, dynamic=False, fullgraph=False)
        self.module = module
        self.inputs: tuple[Any, ...] = ()
        self.made: Any = None
        self.run = self.step
        if "real" in contender.settings:
            from zoo import own

            # For good: this process does nothing else.
            own.real_rotations().__enter__()

    def runs_in_bf16(self, module: Any) -> bool:
        """Whether all of it may be bf16; a network that makes its own f32 numbers needs autocast."""
        torch = self.torch
        try:
            with torch.no_grad():
                copied = module_in_bf16(copy.deepcopy(module))
                copied(*(t.to(torch.bfloat16) if t.is_floating_point() else t for t in self.example))
        except RuntimeError:
            return False
        return True

    @staticmethod
    def network(name: str) -> tuple[Any, tuple[Any, ...]]:
        sys.path.insert(0, str(ROOT / "tests" / "compiler"))
        import zoo

        return zoo.build(name)

    def put(self, inputs: Arrays) -> None:
        torch = self.torch
        tensors = [torch.from_numpy(array.copy()) for array in inputs]
        if self.half and not self.mixed:
            tensors = [t.to(torch.bfloat16) if t.is_floating_point() else t for t in tensors]
        if self.wide:
            tensors = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
        self.inputs = tuple(tensors)

    def step(self) -> None:
        with self.torch.inference_mode(), self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.mixed):
            self.made = self.module(*self.inputs)

    def outputs(self) -> Arrays:
        made = self.made if isinstance(self.made, tuple) else (self.made,)
        return [output.float().contiguous().numpy() for output in made]


class OnnxRunner(Runner):
    """ONNX Runtime with every graph optimisation, inputs and outputs bound to memory once."""

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise NotAvailable("onnxruntime is not installed") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = contender.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.log_severity_level = 3
        path = folder / f"{network}{'-int8' if contender.precision == 'int8' else ''}.onnx"
        if not path.exists():
            raise NotAvailable(f"{path.name} could not be made")
        self.onnxruntime = onnxruntime
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.kept: list[Any] = []
        self.run = self.step

    def put(self, inputs: Arrays) -> None:
        self.kept = [self.onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for a in inputs]
        for node, value in zip(self.session.get_inputs(), self.kept, strict=True):
            self.binding.bind_ortvalue_input(node.name, value)
        for node in self.session.get_outputs():
            made = self.onnxruntime.OrtValue.ortvalue_from_shape_and_type(node.shape, np.float32, "cpu")
            self.kept.append(made)
            self.binding.bind_ortvalue_output(node.name, made)

    def step(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> Arrays:
        return [output.numpy().copy() for output in self.binding.get_outputs()]


class OpenVinoRunner(Runner):
    """OpenVINO for latency, tensors shared with it; `settings`: where its model came from, `onnx` or `torch`."""

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        try:
            import openvino
        except ImportError as error:
            raise NotAvailable("openvino is not installed") from error
        words = contender.settings.split()
        path = folder / f"{network}-{words[0]}{'-int8' if contender.precision == 'int8' else ''}.xml"
        if not path.exists():
            raise NotAvailable(f"{path.name} could not be made")
        # What is not quantised in an int8 model is computed in the best type that the processor has.
        half = contender.precision == "bf16" or "rest-bf16" in words
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": contender.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "ENABLE_CPU_PINNING": "unpinned" not in words,
        }
        self.openvino = openvino
        self.request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
        self.kept: list[Any] = []
        self.run = self.request.infer

    def put(self, inputs: Arrays) -> None:
        self.kept = [np.ascontiguousarray(array) for array in inputs]
        for index, array in enumerate(self.kept):
            self.request.set_input_tensor(index, self.openvino.Tensor(array, shared_memory=True))

    def outputs(self) -> Arrays:
        count = len(self.request.model_outputs)
        return [self.request.get_output_tensor(i).data.astype(np.float32) for i in range(count)]


def frozen(network: str, precision: str, folder: Path) -> Path:
    """The network in `precision` as a file of the project's own, made once in a process that ends.

    Compiling and calibrating are done by whoever ships a network, as with the other runtimes' files.
    """
    path = folder / f"{network}-{precision}.ew"
    source = folder / f"{network}.onnx"
    if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
        code = f"import contenders; contenders.freeze_ours({network!r}, {precision!r}, {str(folder)!r})"
        here = str(Path(__file__).resolve().parent)
        subprocess.run([sys.executable, "-c", code], check=True, cwd=here, stdout=subprocess.DEVNULL)
    return path


def freeze_ours(network: str, precision: str, folder: str) -> None:
    """Calibrates on the same inputs as the peers, saves the file, and leaves its program in the cache."""
    from elsewhere.compiler import load
    from elsewhere.compiler.compiled import named_inputs
    from elsewhere.compiler.freeze import freeze, save
    from elsewhere.compiler.sources import from_file

    source = from_file(Path(folder) / f"{network}.onnx")
    samples = []
    if precision == "int8":
        given = load_arrays(Path(folder) / f"{network}-calibration.npz")
        samples = [dict(source.states) | named_inputs(source.graph, arrays) for arrays in given]
    path = Path(folder) / f"{network}-{precision}.ew"
    save(path, freeze(source, precision, samples).source)
    load(path)


def ours(network: str, contender: Contender, folder: Path) -> Any:
    """The project's own compiler: `settings` say whether its source is the torch module or the ONNX file.

    From a file nothing but the base install is loaded, as where it is deployed. Raises NotAvailable while there is
    no compiler.
    """
    try:
        from elsewhere.compiler import compile_module, load
    except ImportError as error:
        raise NotAvailable("not built yet") from error
    if contender.settings == "onnx":
        return load(frozen(network, contender.precision, folder), threads=contender.threads)
    calibration = load_arrays(folder / f"{network}-calibration.npz") if contender.precision == "int8" else None
    module, inputs = TorchRunner.network(network)
    return compile_module(
        module, inputs, precision=contender.precision, threads=contender.threads, calibration=calibration
    )


class OurRunner(Runner):
    """Elsewhere's compiler, its inputs written in place."""

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        self.compiled = ours(network, contender, folder)
        self.run = self.compiled.run

    def put(self, inputs: Arrays) -> None:
        self.compiled.reset()
        self.compiled.write(*inputs)

    def outputs(self) -> Arrays:
        made = self.compiled.read()
        every = made.values() if isinstance(made, dict) else made if isinstance(made, tuple) else (made,)
        return [np.array(output, dtype=np.float32) for output in every]


class BareRunner(Runner):
    """No network: a loop in registers that takes as long; `settings` are its milliseconds."""

    def __init__(self, network: str, contender: Contender, folder: Path) -> None:
        from bare_loop import BareLoop

        self.loop = BareLoop(float(contender.settings.split()[0]), contender.threads)
        self.loop.start()
        self.run = self.loop.run

    def put(self, inputs: Arrays) -> None:
        self.loop.start()

    def rest(self) -> None:
        self.loop.rest()


RUNNERS: dict[str, type] = {
    "bare loop": BareRunner,
    "eager": TorchRunner,
    "torch.compile": TorchRunner,
    "ONNX Runtime": OnnxRunner,
    "OpenVINO": OpenVinoRunner,
    "elsewhere": OurRunner,
}


def peak_memory() -> float:
    """The most resident memory since the last `forget_peak`, in 2²⁰ bytes."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024.0


def forget_peak() -> None:
    """Lets the high-water mark start again from what is resident now."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return


def load_arrays(path: Path) -> list[Arrays]:
    """Samples of a network: one list of inputs for each."""
    with np.load(path) as file:
        samples = 1 + max(int(name.split("_")[0]) for name in file.files)
        width = len(file.files) // samples
        return [[file[f"{sample}_{index}"] for index in range(width)] for sample in range(samples)]


def save_arrays(path: Path, samples: list[Arrays]) -> None:
    named = {f"{s}_{i}": array for s, arrays in enumerate(samples) for i, array in enumerate(arrays)}
    np.savez(path, allow_pickle=False, **named)


def relative_errors(made: list[Arrays], wanted: list[Arrays]) -> list[float]:
    """Relative RMS error of each output over all samples."""
    found = []
    for index in range(len(wanted[0])):
        pairs = [(m[index].astype(np.float64), w[index]) for m, w in zip(made, wanted, strict=True)]
        difference = sum(float(np.square(m - w).sum()) for m, w in pairs)
        found.append((difference / sum(float(np.square(w).sum()) for _, w in pairs)) ** 0.5)
    return found


def times_of(run: Callable[[], object], seconds: float, least: int) -> list[int]:
    """Nanoseconds of each run, for `seconds`, and `least` runs at least; negative where a thread lost its core.

    A core is lost when the kernel puts something else on it while one of the threads is running.
    """
    found: list[int] = []
    clock, usage, own = time.perf_counter_ns, resource.getrusage, resource.RUSAGE_SELF
    until = clock() + int(seconds * 1e9)
    while clock() < until or len(found) < least:
        switches = usage(own).ru_nivcsw
        before = clock()
        run()
        span = clock() - before
        found.append(span if usage(own).ru_nivcsw == switches else -span)
    return found


def serve(network: str, contender: Contender, folder: Path) -> None:
    """Builds the contender, then answers `times`, `outputs` and `stop` until told to stop."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # Libraries print to standard output; the driver must not read that as an answer.
    os.dup2(2, 1)
    began = time.perf_counter()
    try:
        samples = load_arrays(folder / f"{network}-check.npz")
        runner: Runner = RUNNERS[contender.runtime](network, contender, folder)
        runner.put(samples[0])
        runner.run()
        built = time.perf_counter() - began
        for _ in range(3):
            runner.run()
        runner.rest()
    except NotAvailable as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    except Exception as error:  # any failure of a peer is its result, and is shown in the table
        answers.write(json.dumps({"failed": f"{type(error).__name__}: {error}"[:500]}) + "\n")
        return
    gc.collect()
    whole = peak_memory()
    forget_peak()
    gc.disable()
    answers.write(json.dumps({"build_seconds": round(built, 2), "memory": whole}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "times":
            runner.put(samples[0])
            runner.run()
            answer: dict[str, Any] = {"times": times_of(runner.run, asked["seconds"], asked["least"])}
            runner.rest()
            answers.write(json.dumps(answer | {"memory": peak_memory()}) + "\n")
        elif asked["do"] == "outputs":
            made = []
            for arrays in samples:
                runner.put(arrays)
                runner.run()
                made.append(runner.outputs())
            save_arrays(Path(asked["path"]), made)
            answers.write(json.dumps({"saved": asked["path"]}) + "\n")
        else:
            return


if __name__ == "__main__":
    serve(sys.argv[1], Contender(**json.loads(sys.argv[2])), Path(sys.argv[3]))
