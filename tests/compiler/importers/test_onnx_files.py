"""ONNX files on disk: weights beside the file, and every way out of its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper, numpy_helper

from elsewhere.compiler.importers import ImportFileError, UnsupportedError
from elsewhere.compiler.importers.onnx import from_onnx
from elsewhere.compiler.targets import reference

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(location: str | None, offset: str = "0", length: str = "24") -> ModelProto:
    """y = x + w, the weight in `location`."""
    weight = numpy_helper.from_array(WEIGHT, "w")
    if location is not None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        told = {"location": location, "offset": offset, "length": length}
        weight.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in told.items())
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def write(path: Path, built: ModelProto) -> Path:
    path.write_bytes(built.SerializeToString())
    return path


def test_weights_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.bin").write_bytes(b"\0" * 8 + WEIGHT.tobytes())
    path = write(tmp_path / "m.onnx", model("data/weights.bin", "8"))
    outputs, _ = reference.run(from_onnx(path), {"x": np.ones((2, 3))})
    np.testing.assert_array_equal(outputs["y"], WEIGHT + 1)
    with pytest.raises(UnsupportedError, match="pass a path instead of bytes"):
        from_onnx(path.read_bytes())


@pytest.mark.parametrize(
    ("location", "offset", "length", "message"),
    [
        ("../secret", "0", "24", "no file inside the model's folder"),
        ("data/../../secret", "0", "24", "no file inside the model's folder"),
        ("/etc/passwd", "0", "24", "no file inside the model's folder"),
        ("", "0", "24", "no file inside the model's folder"),
        (".", "0", "24", "no file inside the model's folder"),
        ("..\\secret", "0", "24", "no file inside the model's folder"),
        ("link", "0", "24", "no file inside the model's folder"),
        ("missing", "0", "24", "no file inside the model's folder"),
        ("weights", "8", "24", "bytes 8 to 32 of 'weights', which has 24"),
        ("weights", "-8", "24", "bytes -8 to 16"),
        ("weights", "0", "23", "its shape needs 24"),
        ("weights", "x", "24", "are no numbers"),
    ],
)
def test_nothing_outside_the_folder_is_read(
    tmp_path: Path, location: str, offset: str, length: str, message: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (folder / "weights").write_bytes(WEIGHT.tobytes())
    os.symlink(tmp_path / "secret", folder / "link")
    path = write(folder / "m.onnx", model(location, offset, length))
    with pytest.raises(ImportFileError, match=message):
        from_onnx(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"cannot read missing.onnx: No such file"):
        from_onnx(tmp_path / "missing.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ImportFileError, match=r"empty.onnx is empty"):
        from_onnx(tmp_path / "empty.onnx")
    with pytest.raises(ImportFileError, match="it holds no graph"):
        from_onnx(b"")
    with pytest.raises(ImportFileError):
        from_onnx(b"PK\x03\x04 this is a zip file")


def test_every_cut_of_a_file_is_noticed() -> None:
    data = model(None).SerializeToString()
    from_onnx(data)
    refused = 0
    for length in range(len(data)):
        try:
            from_onnx(data[:length])
        except (ImportFileError, UnsupportedError):
            refused += 1
    assert refused == len(data)
