"""Large values are stored in bf16 only where every reader can take them so."""

from __future__ import annotations

import numpy as np

from elsewhere.compiler.importers import forms
from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets import reference
from elsewhere.compiler.targets.cpu.build import build
from elsewhere.compiler.targets.cpu.machine import describe
from elsewhere.compiler.targets.cpu.runtime import Network


def test_segments_of_attention_keep_one_type() -> None:
    """Values that were just made, large enough to be stored narrow, beside others that came as an input."""
    b, rng = Builder(), np.random.default_rng(0)
    heads, tokens, words, width = 8, 320, 24, 128
    x = b.input("x", "f32", (heads * tokens, 32))
    weight = b.constant(rng.standard_normal((32, width)).astype(np.float32), "f32")
    made = b.reshape(forms.linear(b, x, weight, None), (heads, tokens, width))
    further = b.input("further", "f32", (heads, words, width))
    both = b.concatenate([made, further], 1)
    b.output("seen", forms.attention(b, made, both, both, scale=0.01))
    graph = b.graph()
    given = {n: rng.standard_normal(graph.nodes[i].type.shape).astype(np.float32) for n, i in graph.inputs.items()}
    wanted = reference.run(graph, given)[0]["seen"]
    seen = Network(build(graph, describe(), (1,), precision="bf16"), describe())(given)["seen"]
    assert np.square(seen - wanted).mean() < 1e-3 * np.square(wanted).mean()
