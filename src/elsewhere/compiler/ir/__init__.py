"""The compiler's language: a typed graph of about twenty primitives, every shape known."""

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.ir.spec import STAGES, SpecError, check
from elsewhere.compiler.ir.text import TextError, parse, show
from elsewhere.compiler.ir.types import DTYPES, Tensor

__all__ = ["DTYPES", "STAGES", "Builder", "Graph", "Node", "SpecError", "Tensor", "TextError", "check", "parse", "show"]
