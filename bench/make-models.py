"""Writes the transformer-shaped models of the benches: t1.onnx (432 MB, one file) and t2.onnx + t2.onnx.data (2.45 GB).

Usage: .venv/bin/python bench/make-models.py [FOLDER] [t1] [t2]
FOLDER defaults to tersor-bench in the system's folder for temporary files; without names both models are written.
A model that is there already is kept. The weights are seeded Gaussian noise with one in a thousand made four times as
large, so that scales meet outliers as in trained models. Inputs: ids int64 [batch, sequence]; output [batch, sequence, d].
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY = 30_000
HEAD = 64
OPSET = 17
IR_VERSION = 8
ALIGNMENT = 4096  # of a tensor in the data file, so that runtimes can map it
MODELS = {"t1": dict(layers=12, d=768, ff=3072, seed=1, external=False), "t2": dict(layers=20, d=1536, ff=6144, seed=2, external=True)}


class Builder:
    """Nodes and initializers of one graph. With a data file, tensors go there at once, so memory holds one at a time."""

    def __init__(self, seed, data_path=None):
        self.random = np.random.default_rng(seed)
        self.data_path = data_path
        self.data = open(data_path, "wb") if data_path else None
        self.nodes = []
        self.initializers = []

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def constant(self, name, values):
        array = np.asarray(values)
        if self.data and array.nbytes > 1024:
            self.initializers.append(self.external(name, array))
        else:
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def external(self, name, array):
        offset = -(-self.data.tell() // ALIGNMENT) * ALIGNMENT
        self.data.seek(offset)
        self.data.write(memoryview(array).cast("B"))
        tensor = TensorProto(name=name, dims=array.shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        place = {"location": os.path.basename(self.data_path), "offset": offset, "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def weight(self, name, *dims):
        values = self.random.standard_normal(dims, dtype=np.float32)
        values *= np.float32(0.02)
        outliers = self.random.integers(0, values.size, values.size // 1000)
        values.reshape(-1)[outliers] *= np.float32(4)
        return self.constant(name, values)

    def linear(self, x, name, fan_in, fan_out):
        y = self.node("MatMul", [x, self.weight(f"{name}.weight", fan_in, fan_out)], f"{name}/MatMul")
        return self.node("Add", [y, self.weight(f"{name}.bias", fan_out)], f"{name}/Add")

    def layer_norm(self, x, name, d):
        scale = self.constant(f"{name}.weight", np.ones(d, np.float32))
        bias = self.constant(f"{name}.bias", np.zeros(d, np.float32))
        return self.node("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=1e-5)

    def attention(self, x, name, d):
        def heads(part, order):
            y = self.linear(x, f"{name}/{part}", d, d)
            y = self.node("Reshape", [y, "split_heads"], f"{name}/{part}/Reshape")
            return self.node("Transpose", [y], f"{name}/{part}/Transpose", perm=order)

        query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        scores = self.node("MatMul", [query, key], f"{name}/scores/MatMul")
        scores = self.node("Div", [scores, "head_scale"], f"{name}/scores/Div")
        weights = self.node("Softmax", [scores], f"{name}/Softmax", axis=-1)
        y = self.node("MatMul", [weights, value], f"{name}/context/MatMul")
        y = self.node("Transpose", [y], f"{name}/context/Transpose", perm=[0, 2, 1, 3])
        y = self.node("Reshape", [y, "join_heads"], f"{name}/context/Reshape")
        return self.linear(y, f"{name}/output", d, d)

    def feed_forward(self, x, name, d, ff):
        h = self.linear(x, f"{name}/up", d, ff)
        y = self.node("Div", [h, "sqrt_two"], f"{name}/gelu/Div")
        y = self.node("Erf", [y], f"{name}/gelu/Erf")
        y = self.node("Add", [y, "one"], f"{name}/gelu/Add")
        y = self.node("Mul", [h, y], f"{name}/gelu/Mul")
        y = self.node("Mul", [y, "half"], f"{name}/gelu/Mul_1")
        return self.linear(y, f"{name}/down", ff, d)


def make_model(path, layers, d, ff, seed, external):
    g = Builder(seed, f"{path}.data" if external else None)
    g.constant("split_heads", np.array([0, 0, d // HEAD, HEAD], np.int64))
    g.constant("join_heads", np.array([0, 0, d], np.int64))
    for name, value in {"head_scale": HEAD**0.5, "sqrt_two": 2**0.5, "one": 1, "half": 0.5}.items():
        g.constant(name, np.float32(value))
    x = g.node("Gather", [g.weight("embedding.weight", VOCABULARY, d), "ids"], "embedding")
    for i in range(layers):
        name = f"layers.{i}"
        y = g.attention(g.layer_norm(x, f"{name}/attention_norm", d), f"{name}/attention", d)
        x = g.node("Add", [x, y], f"{name}/attention_residual")
        y = g.feed_forward(g.layer_norm(x, f"{name}/mlp_norm", d), f"{name}/mlp", d, ff)
        x = g.node("Add", [x, y], f"{name}/mlp_residual")
    x = g.layer_norm(x, "norm", d)
    graph = helper.make_graph(
        g.nodes,
        path.stem,
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "sequence", d])],
        g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    if g.data:
        g.data.close()
    onnx.save(model, path)  # Written last: a model that is there is whole.


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "tersor-bench"
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        path = folder / f"{name}.onnx"
        if not path.exists():
            make_model(path, **MODELS[name])
        size = sum(file.stat().st_size for file in folder.glob(f"{name}.onnx*"))
        print(f"{path}: {size / 1e6:.1f} MB")


main()
