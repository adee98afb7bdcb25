"""@file Writes test/fixtures/gradients.json: gradients of models in ../shared/data/models, by PyTorch in float64. Needs torch and onnx.

usage: python scripts/generate-gradient-fixtures.py > test/fixtures/gradients.json
The loss is sum_j cos(j) y_j over the flat first output, for the input x_i = sin(i / 7). A gradient g is told by its norm and sum_i cos(i) g_i.
"""
import json
import os
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

SHAPES = {
    "resnet20_cifar10.onnx": [2, 3, 32, 32],
    "mlperf_kws_dscnn.onnx": [2, 1, 49, 10],
    "mlperf_vww_mobilenet_v1_025.onnx": [1, 3, 96, 96],
    "squeezenet1_0_dc.onnx": [1, 3, 227, 227],
}

# Once more with operators that have no kinks: what is left is rounding, not Relus that see the other side of zero.
SMOOTH = {"squeezenet1_0_dc.onnx": {"Relu": "Softplus", "MaxPool": "AveragePool"}}


def padded(x, attrs, kernel, value=0.0):
    rank = len(kernel)
    pads = attrs.get("pads", [0] * 2 * rank)
    strides = attrs.get("strides", [1] * rank)
    if attrs.get("auto_pad", b"NOTSET") == b"SAME_UPPER":
        totals = [max((-(-d // s) - 1) * s + k - d, 0) for d, s, k in zip(x.shape[2:], strides, kernel)]
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    order = [p for i in reversed(range(rank)) for p in (pads[i], pads[i + rank])]
    return F.pad(x, order, value=value)


def conv(a, x, w, b=None):
    return F.conv2d(padded(x, a, w.shape[2:]), w, b, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def max_pool(a, x):
    kernel, ceil = a["kernel_shape"], bool(a.get("ceil_mode", 0))
    return F.max_pool2d(padded(x, a, kernel, -np.inf), kernel, a.get("strides", 1), ceil_mode=ceil)


def average_pool(a, x):
    assert not any(a.get("pads", [0])), "pads"
    ceil = bool(a.get("ceil_mode", 0))
    return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), ceil_mode=ceil, count_include_pad=False)


def gemm(a, x, w, b=None):
    y = a.get("alpha", 1.0) * (x.T if a.get("transA") else x) @ (w.T if a.get("transB") else w)
    return y if b is None else y + a.get("beta", 1.0) * b


def cut(a, x, starts, ends, axes=None, steps=None):
    index = [slice(None)] * x.dim()
    for i, start in enumerate(starts.tolist()):
        axis = axes.tolist()[i] if axes is not None else i
        index[axis] = slice(start, ends.tolist()[i], steps.tolist()[i] if steps is not None else 1)
    return x[tuple(index)]


def pad(a, x, pads, value=None):
    assert a.get("mode", b"constant") == b"constant", "mode"
    order = [p for i in reversed(range(x.dim())) for p in (pads.tolist()[i], pads.tolist()[i + x.dim()])]
    return F.pad(x, order, value=0.0 if value is None else value.item())


RULES = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": average_pool,
    "BatchNormalization": lambda a, x, s, b, m, v: F.batch_norm(x, m.detach(), v.detach(), s, b, False, 0.0, a.get("epsilon", 1e-5)),
    "Clip": lambda a, x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": conv,
    "Dropout": lambda a, x, *rest: x,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, x: x,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": max_pool,
    "ReduceMean": lambda a, x: x.mean(a["axes"], keepdim=bool(a.get("keepdims", 1))),
    "Pad": pad,
    "Relu": lambda a, x: torch.relu(x),
    "Reshape": lambda a, x, s: x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(s.tolist())]),
    "Slice": cut,
    "Softplus": lambda a, x: F.softplus(x, threshold=1000),
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Squeeze": lambda a, x, axes=None: x.squeeze(tuple(axes.tolist())) if axes is not None else x.squeeze(),
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


def told(gradient):
    flat = gradient.flatten()
    return [flat.norm().item(), (flat * torch.cos(torch.arange(flat.numel(), dtype=torch.float64))).sum().item()]


def gradients(path, shape, replaced={}):
    model = onnx.load(path)
    values = {}
    for tensor in model.graph.initializer:
        array = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        values[tensor.name] = array.double().requires_grad_() if array.is_floating_point() else array
    size = int(np.prod(shape))
    # Rounded to float32 as the model's input will be.
    x = np.sin(np.arange(size) / 7).astype(np.float32).astype(np.float64).reshape(shape)
    parameters = dict(values)
    inputs = [value.name for value in model.graph.input if value.name not in values]
    values[inputs[0]] = torch.from_numpy(x)
    for node in model.graph.node:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            values[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attrs["value"]).copy())
            continue
        rule = RULES[replaced.get(node.op_type, node.op_type)]
        values[node.output[0]] = rule(attrs, *[values[name] if name else None for name in node.input])
    y = values[model.graph.output[0].name].flatten()
    (y * torch.cos(torch.arange(y.numel(), dtype=torch.float64))).sum().backward()
    graded = {name: value for name, value in parameters.items() if getattr(value, "grad", None) is not None}
    return {name: told(value.grad) for name, value in graded.items()}


folder = os.path.join(os.path.dirname(__file__), "../../shared/data/models")
kinds = [(name, {}) for name in SHAPES] + list(SMOOTH.items())
found = [
    {"file": name, "replaced": replaced, "shape": SHAPES[name], "gradients": gradients(os.path.join(folder, name), SHAPES[name], replaced)}
    for name, replaced in kinds
]
json.dump(found, sys.stdout, separators=(",", ":"))
