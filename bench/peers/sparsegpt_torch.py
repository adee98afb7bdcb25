"""SparseGPT in PyTorch, straight from the paper's algorithm 1 (Frantar and Alistarh 2023, https://arxiv.org/abs/2301.00774), on one thread.

Usage: sparsegpt_torch.py FOLDER INPUTS OUTPUTS, with h.f64 [inputs, inputs] and w.f32 [outputs, inputs] in FOLDER. Commands come from stdin,
one a line, and each is answered with one line of JSON:  prune | error
"""

import json
import sys
import time

import numpy as np
import torch

torch.set_num_threads(1)
BLOCK, SPARSITY, DAMP = 128, 0.5, 0.01
folder, inputs, outputs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hessian = torch.from_numpy(np.fromfile(f"{folder}/h.f64").reshape(inputs, inputs)).float()
weight = torch.from_numpy(np.fromfile(f"{folder}/w.f32", dtype=np.float32).reshape(outputs, inputs))
pruned = weight


def prune():
    h = hessian.clone()
    diagonal = torch.arange(inputs)
    h[diagonal, diagonal] += DAMP * torch.diag(h).mean()
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    w = weight.clone()
    for start in range(0, inputs, BLOCK):
        end = min(start + BLOCK, inputs)
        block, u = w[:, start:end].clone(), upper[start:end, start:end]
        saliency = block**2 / torch.diag(u) ** 2
        count = round(SPARSITY * saliency.numel())
        mask = saliency <= saliency.flatten().kthvalue(count).values
        errors = torch.zeros_like(block)
        for i in range(end - start):
            error = torch.where(mask[:, i], block[:, i], torch.zeros(())) / u[i, i]
            block[:, i:] -= error.unsqueeze(1) * u[i, i:].unsqueeze(0)
            errors[:, i] = error
        block[mask] = 0
        w[:, start:end] = block
        w[:, end:] -= errors @ upper[start:end, end:]
    return w


def relative_error():
    h = hessian.double()
    delta = (weight - pruned).double()
    whole = weight.double()
    return float(((delta @ h) * delta).sum() / ((whole @ h) * whole).sum())


for line in sys.stdin:
    command = line.strip()
    if command == "prune":
        start = time.process_time()
        pruned = prune()
        answer = {"cpu": time.process_time() - start}
    else:
        answer = {"error": relative_error()}
    print(json.dumps(answer), flush=True)
