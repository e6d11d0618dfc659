"""Other people's networks → graphs: `torch.export` programs and ONNX files.

Both importers know only how a format names its operators; what an operator becomes is said once, in `forms`.
"""

from elsewhere.compiler.importers.errors import ImportFileError, UnsupportedError

__all__ = ["ImportFileError", "UnsupportedError"]
