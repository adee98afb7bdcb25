"""@file Writes test/fixtures/sequence-gradients.json: gradients of an LSTM, a GRU and a transformer, by PyTorch in float64. Needs torch.

usage: python scripts/generate-sequence-gradients.py > test/fixtures/sequence-gradients.json
The networks are those of src/nn/gradients.run.test.ts. Element i of parameter k is scale * sin(i + k), and 1 more for the scales of
norms. The loss is sum_j cos(j) y_j. Of each gradient g the file has its norm and sum_i cos(i) g_i.
"""
import json
import sys

import torch
import torch.nn.functional as F

# ONNX's gates, by their place in PyTorch's i f g o, and r z n.
ORDERS = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}


def sines(dims, k, scale, shift=0.0):
    count = torch.Size(dims).numel()
    return (shift + scale * torch.sin(torch.arange(count, dtype=torch.float64) + k)).reshape(dims)


class Parameters:
    def __init__(self):
        self.all = {}

    def __call__(self, name, *dims, scale=0.4, shift=0.0):
        value = sines(dims, len(self.all), scale, shift).requires_grad_()
        self.all[name] = {"value": value, "scale": scale, "shift": shift}
        return value


def recurrent(parameters, op, name, x, hidden, directions, last=False):
    order = ORDERS[op]
    rows, features = len(order) * hidden, x.shape[-1]
    weight = parameters(f"{name}.weight", directions, rows, features)
    recurrence = parameters(f"{name}.recurrence", directions, rows, hidden)
    bias = parameters(f"{name}.bias", directions, 2 * rows)

    def gates(tensor):
        parts = tensor.chunk(len(order))
        return torch.cat([parts[order.index(i)] for i in range(len(parts))])

    layer = getattr(torch.nn, op)(features, hidden, bidirectional=directions == 2, batch_first=True).double()
    weights = {}
    for d in range(directions):
        suffix = "l0_reverse" if d else "l0"
        given, own = bias[d].chunk(2)
        pairs = {"weight_ih": weight[d], "weight_hh": recurrence[d], "bias_ih": given, "bias_hh": own}
        weights.update({f"{key}_{suffix}": gates(value) for key, value in pairs.items()})
    y, _ = torch.func.functional_call(layer, weights, (x,))
    return y[:, -1] if last else y


def recurrent_net(op):
    def run(parameters, x):
        kind = op.lower()
        y = recurrent(parameters, op, f"{kind}1", x, 6, 2)
        y = recurrent(parameters, op, f"{kind}2", y, 4, 1, last=True)
        return F.linear(y, parameters("linear1.weight", 3, 4), parameters("linear1.bias", 3))

    return run


def transformer(parameters, tokens):
    width, heads = 8, 2
    x = parameters("embedding1.weight", 11, width, scale=1.0)[tokens] + parameters("positions1.weight", 6, width)

    def norm(x, name):
        return F.layer_norm(x, (width,), parameters(f"{name}.weight", width, shift=1.0), parameters(f"{name}.bias", width))

    def linear(x, name, features, out):
        return x @ parameters(f"{name}.weight", features, out) + parameters(f"{name}.bias", out)

    h = norm(x, "encoder1.residual1.layernorm1")
    path = "encoder1.residual1.attention1"
    split = lambda t: t.unflatten(-1, (heads, width // heads)).transpose(1, 2)
    q, k, v = (split(linear(h, f"{path}.{part}", width, width)) for part in ("query", "key", "value"))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + linear(mixed, f"{path}.linear1", width, width)
    h = norm(x, "encoder1.residual2.layernorm1")
    h = F.gelu(linear(h, "encoder1.residual2.linear1", width, 16))
    x = x + linear(h, "encoder1.residual2.linear2", 16, width)
    pooled = norm(x, "layernorm1").mean(1)
    return F.linear(pooled, parameters("linear1.weight", 3, width), parameters("linear1.bias", 3))


def figures(net, x):
    parameters = Parameters()
    y = net(parameters, x).reshape(-1)
    cosines = lambda t: torch.cos(torch.arange(t.numel(), dtype=torch.float64))
    (cosines(y) * y).sum().backward()
    rows = {}
    for name, each in parameters.all.items():
        g = each["value"].grad.reshape(-1)
        rows[name] = {
            "dims": list(each["value"].shape),
            "scale": each["scale"],
            "shift": each["shift"],
            "gradient": [g.norm().item(), (cosines(g) * g).sum().item()],
        }
    return rows


steps = sines([2, 7, 5], 0, 1.0)
tokens = torch.arange(12).reshape(2, 6) * 7 % 11
result = {
    "lstm": figures(recurrent_net("LSTM"), steps),
    "gru": figures(recurrent_net("GRU"), steps),
    "transformer": figures(transformer, tokens),
}
json.dump(result, sys.stdout)
print()
