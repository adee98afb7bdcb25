"""Training steps in eager PyTorch for bench/train-step.mjs. Reads jobs from stdin, one a line, and answers each with one line of JSON.

Jobs:  load CASE FOLDER   reads FOLDER/case.json and the raw weights and batch that it names
       steps THREADS N    {"losses": […], "ms": […], "cpu": ms} of N steps: wall time of each, processor time of a step, each with zero_grad, forward, backward and the optimizer's step
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

state = {}


def bn(p, name, x):
    running = (p[f"{name}.mean"], p[f"{name}.variance"])
    return F.batch_norm(x, *running, p[f"{name}.weight"], p[f"{name}.bias"], training=True, momentum=0.1)


def conv(p, name, x, **options):
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **options)


def dense(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def cnn(p, x):
    x = F.max_pool2d(F.relu(conv(p, "conv1", x, padding=1)), 2)
    x = F.max_pool2d(F.relu(conv(p, "conv2", x, padding=1)), 2)
    return dense(p, "linear1", x.flatten(1))


def conv_block(p, x):
    x = F.relu(bn(p, "batchnorm1", conv(p, "conv1", x, padding=1)))
    y = F.relu(bn(p, "residual1.batchnorm1", conv(p, "residual1.conv1", x, padding=1)))
    x = F.relu(x + bn(p, "residual1.batchnorm2", conv(p, "residual1.conv2", y, padding=1)))
    x = F.relu(bn(p, "batchnorm2", conv(p, "conv2", x, padding=1, stride=2)))
    x = F.relu(bn(p, "batchnorm3", conv(p, "depthwise1", x, padding=1, groups=128)))
    x = F.relu(bn(p, "batchnorm4", conv(p, "conv3", x)))
    return dense(p, "linear1", x.mean((2, 3)))


def transformer(p, ids):
    x = p["embedding1.weight"][ids]
    n, t, d = x.shape
    e = "encoder1.residual1"
    y = F.layer_norm(x, (d,), p[f"{e}.layernorm1.weight"], p[f"{e}.layernorm1.bias"])

    def head(name):
        weight, bias = (p[f"{e}.attention1.{name}.{part}"] for part in ("weight", "bias"))
        return (y @ weight + bias).view(n, t, 6, d // 6).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(head("query"), head("key"), head("value"))
    mixed = mixed.transpose(1, 2).reshape(n, t, d)
    x = x + mixed @ p[f"{e}.attention1.linear1.weight"] + p[f"{e}.attention1.linear1.bias"]
    e = "encoder1.residual2"
    y = F.layer_norm(x, (d,), p[f"{e}.layernorm1.weight"], p[f"{e}.layernorm1.bias"])
    y = F.gelu(y @ p[f"{e}.linear1.weight"] + p[f"{e}.linear1.bias"])
    x = x + y @ p[f"{e}.linear2.weight"] + p[f"{e}.linear2.bias"]
    return dense(p, "linear1", x.mean(1))


def lstm(p, x):
    zeros = x.new_zeros(1, x.shape[0], 128)
    weights = [p["lstm1.ih"], p["lstm1.hh"], p["lstm1.bih"], p["lstm1.bhh"]]
    _, h, _ = torch._VF.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, True)
    return dense(p, "linear1", h[0])


def mobilenet(p, x):
    for i, (stride, skip) in enumerate([(1, True), (2, False), (1, True), (2, False)]):
        b = f"residual{1 + i // 2}." if skip else f"block{1 + i // 2}."
        y = F.relu6(bn(p, f"{b}batchnorm1", conv(p, f"{b}conv1", x)))
        y = F.relu6(bn(p, f"{b}batchnorm2", conv(p, f"{b}depthwise1", y, padding=1, stride=stride, groups=y.shape[1])))
        y = bn(p, f"{b}batchnorm3", conv(p, f"{b}conv2", y))
        x = x + y if skip else y
    return dense(p, "linear1", x.mean((2, 3)))


def mlp(p, x):
    for i in range(6):
        x = F.relu(dense(p, f"linear{i + 1}", x))
    return dense(p, "linear7", x)


cases = {f.__name__: f for f in (cnn, conv_block, transformer, lstm, mobilenet, mlp)}


def by_torch(p):
    """The LSTM's tensors as PyTorch keeps them: one a direction, gates i, f, g, o where ONNX has i, o, f, g."""
    if "lstm1.weight" not in p:
        return p

    def reorder(x):
        i, o, f, g = x.chunk(4)
        return torch.cat([i, f, g, o]).contiguous()

    bih, bhh = p.pop("lstm1.bias")[0].chunk(2)
    parts = {"ih": p.pop("lstm1.weight")[0], "hh": p.pop("lstm1.recurrence")[0], "bih": bih, "bhh": bhh}
    return p | {f"lstm1.{name}": reorder(value) for name, value in parts.items()}


def load(name, folder):
    with open(f"{folder}/case.json") as file:
        case = json.load(file)

    def read(entry):
        dtype = np.float32 if entry["dtype"] == "float32" else np.int64
        return torch.from_numpy(np.fromfile(f"{folder}/{entry['file']}", dtype=dtype).reshape(entry["dims"]).copy())

    p = by_torch({key: read(entry) for key, entry in case["weights"].items()})
    trained = [value.requires_grad_() for key, value in p.items() if not key.endswith((".mean", ".variance"))]
    rate = case["rate"]
    optimizer = torch.optim.Adam(trained, lr=rate) if case["optimizer"] == "adam" else torch.optim.SGD(trained, lr=rate, momentum=0.9)
    state.update(forward=cases[name], p=p, x=read(case["x"]), labels=read(case["labels"]), optimizer=optimizer)
    return {}


def steps(threads, count):
    torch.set_num_threads(int(threads))
    losses, ms, used = [], [], time.process_time()
    for _ in range(int(count)):
        start = time.perf_counter()
        state["optimizer"].zero_grad(set_to_none=True)
        loss = F.cross_entropy(state["forward"](state["p"], state["x"]), state["labels"])
        loss.backward()
        state["optimizer"].step()
        losses.append(loss.item())
        ms.append(1000 * (time.perf_counter() - start))
    return {"losses": losses, "ms": ms, "cpu": 1000 * (time.process_time() - used) / int(count)}


for line in sys.stdin:
    job, *arguments = line.split()
    print(json.dumps({"load": load, "steps": steps}[job](*arguments)), flush=True)
