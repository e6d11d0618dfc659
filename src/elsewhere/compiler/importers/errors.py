"""What can be wrong with a network that is to be imported."""

from __future__ import annotations


class UnsupportedError(ValueError):
    """The network is sound, but asks for something that the graph language cannot say.

    The message names the operator, its place in the model, and what is missing.
    """


class ImportFileError(ValueError):
    """The file is damaged, hostile or not of the format; the message says where."""
