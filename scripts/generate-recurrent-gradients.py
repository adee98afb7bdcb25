"""@file Writes test/fixtures/recurrent-gradients.json: gradients of LSTM and GRU, by PyTorch in float64. Needs torch.

usage: python scripts/generate-recurrent-gradients.py > test/fixtures/recurrent-gradients.json
Inputs are sines, in ONNX's layout: element i of the k-th tensor is scale * sin(i + k). The loss is sum_j cos(j) y_j over Y, and the
same over Y_h and Y_c. Of each gradient g the file has its norm and sum_i cos(i) g_i.
"""

import json
import sys

import torch

STEPS, BATCH, INPUTS, HIDDEN = 7, 3, 4, 5
# ONNX's gates, by their place in PyTorch's i f g o, and r z n.
ORDERS = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}


def sines(k, scale, *dims):
    count = torch.Size(dims).numel()
    return (scale * torch.sin(torch.arange(count, dtype=torch.float64) + k)).reshape(dims).requires_grad_()


def gates(tensor, op):
    """ONNX's gates in PyTorch's order."""
    parts = tensor.chunk(len(ORDERS[op]))
    inverse = [ORDERS[op].index(i) for i in range(len(parts))]
    return torch.cat([parts[i] for i in inverse])


def case(op, directions, lengths):
    count = len(ORDERS[op])
    values = {
        "x": sines(0, 1, STEPS, BATCH, INPUTS),
        "w": sines(1, 0.5, directions, count * HIDDEN, INPUTS),
        "r": sines(2, 0.5, directions, count * HIDDEN, HIDDEN),
        "b": sines(3, 0.5, directions, 2 * count * HIDDEN),
        "h0": sines(4, 0.5, directions, BATCH, HIDDEN),
    }
    if op == "LSTM":
        values["c0"] = sines(5, 0.5, directions, BATCH, HIDDEN)
    layer = getattr(torch.nn, op)(INPUTS, HIDDEN, bidirectional=directions == 2).double()
    weights = {}
    for d in range(directions):
        suffix = "l0_reverse" if d else "l0"
        bias = values["b"][d].chunk(2)
        weights[f"weight_ih_{suffix}"] = gates(values["w"][d], op)
        weights[f"weight_hh_{suffix}"] = gates(values["r"][d], op)
        weights[f"bias_ih_{suffix}"] = gates(bias[0], op)
        weights[f"bias_hh_{suffix}"] = gates(bias[1], op)
    x = values["x"]
    if lengths:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    state = (values["h0"], values["c0"]) if op == "LSTM" else values["h0"]
    y, last = torch.func.functional_call(layer, weights, (x, state))
    if lengths:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=STEPS)
    # [t, n, directions * h] to ONNX's [t, directions, n, h]
    y = y.reshape(STEPS, BATCH, directions, HIDDEN).transpose(1, 2)
    outputs = [y, *(last if op == "LSTM" else [last])]
    cosines = lambda t: torch.cos(torch.arange(t.numel(), dtype=torch.float64))
    sum((cosines(out) * out.reshape(-1)).sum() for out in outputs).backward()
    figures = {name: value.grad.reshape(-1) for name, value in values.items()}
    return {
        "op": op,
        "directions": directions,
        "lengths": lengths,
        "dims": {name: list(value.shape) for name, value in values.items()},
        "gradients": {name: [g.norm().item(), (cosines(g) * g).sum().item()] for name, g in figures.items()},
    }


cases = [case(op, d, lengths) for op in ORDERS for d in (1, 2) for lengths in (None, [4, 7, 2])]
json.dump(cases, sys.stdout)
print()
