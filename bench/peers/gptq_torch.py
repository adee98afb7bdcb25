"""GPTQ as its authors wrote it (https://github.com/IST-DASLab/gptq, gptq.py), HQQ as ONNX Runtime does it, and the linear
algebra below both, on one thread. Reads jobs from stdin, one a line, and answers each with one line of JSON.

Jobs:  load FOLDER K N   reads x.f32 [2048, K] and w.f32 [K, N]
       syrk | factor | gptq | hqq
"""

import json
import sys
import time

import numpy as np
import torch

torch.set_num_threads(1)
BLOCK, GROUP, BITS, DAMPING = 128, 128, 4, 0.01
state = {}


def load(folder, k, n):
    k, n = int(k), int(n)
    state["x"] = torch.from_numpy(np.fromfile(f"{folder}/x.f32", dtype=np.float32).reshape(-1, k))
    state["w"] = torch.from_numpy(np.fromfile(f"{folder}/w.f32", dtype=np.float32).reshape(k, n)).t().contiguous()
    state["h"] = state["x"].t() @ state["x"]
    return {}


def syrk():
    state["x"].t() @ state["x"]
    return {}


def factor(h=None):
    h = (state["h"] if h is None else h).clone()
    diagonal = torch.arange(h.shape[0])
    h[diagonal, diagonal] += DAMPING * torch.mean(torch.diag(h))
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def find_params(w):
    low = torch.minimum(w.amin(1), torch.zeros(()))
    high = torch.maximum(w.amax(1), torch.zeros(()))
    scale = (high - low) / (2**BITS - 1)
    return scale, torch.round(-low / scale)


def gptq():
    w = state["w"].clone()
    columns = w.shape[1]
    quantized = torch.zeros_like(w)
    hinv = factor()
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        w1, h1 = w[:, start:end].clone(), hinv[start:end, start:end]
        err = torch.zeros_like(w1)
        for i in range(end - start):
            column, d = w1[:, i], h1[i, i]
            if (start + i) % GROUP == 0:
                scale, zero = find_params(w[:, start + i : start + i + GROUP])
            q = scale * (torch.clamp(torch.round(column / scale) + zero, 0, 2**BITS - 1) - zero)
            quantized[:, start + i] = q
            e = (column - q) / d
            w1[:, i:] -= e.unsqueeze(1).matmul(h1[i, i:].unsqueeze(0))
            err[:, i] = e
        w[:, end:] -= err.matmul(hinv[start:end, end:])
    state["quantized"] = quantized
    return {}


def relative_error():
    if "quantized" not in state:
        return None
    delta = state["w"] - state["quantized"]
    return float(((delta @ state["h"]) * delta).sum() / ((state["w"] @ state["h"]) * state["w"]).sum())


def hqq():
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig, HQQWeightOnlyQuantizer

    config = HQQWeightOnlyQuantConfig(block_size=GROUP, bits=BITS)
    quantizer = HQQWeightOnlyQuantizer(config)
    w = state["w"]
    codes, scale, zero = quantizer.quantize_internal(w, bits=BITS, group_size=GROUP)
    values = (codes.float().reshape(-1, GROUP) - zero.reshape(-1, 1)) * scale.reshape(-1, 1)
    return {"error": float((w.reshape(-1, GROUP) - values).abs().mean() / w.abs().mean())}


jobs = {"load": load, "syrk": syrk, "factor": lambda: factor() is None, "gptq": gptq, "hqq": hqq}
for line in sys.stdin:
    name, *args = line.split()
    wall, cpu = time.perf_counter(), time.process_time()
    extra = jobs[name](*args)
    answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if name == "gptq":
        answer["error"] = relative_error()
    print(json.dumps({**answer, **(extra or {})}), flush=True)
