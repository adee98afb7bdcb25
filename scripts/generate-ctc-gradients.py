"""@file Writes test/fixtures/ctc.json: CTC losses and their gradients, by PyTorch in float64. Needs torch.

usage: python scripts/generate-ctc-gradients.py > test/fixtures/ctc.json
Scores are sines: element i of [samples, steps, classes] is scale * sin(i * i). Sample n has lengths[n] labels, label i of it is
1 + (i * i + n) % (classes - 1); the blank is 0. The loss is the mean over samples of each loss by its number of labels. Of the
gradient g the file has its norm and sum_i cos(i) g_i.
"""

import json
import sys

import torch

CASES = [
    {"steps": 12, "classes": 5, "lengths": [5, 0, 1, 3], "scale": 2},
    {"steps": 60, "classes": 40, "lengths": [25, 12], "scale": 5},
    # So sure of something else that no product of probabilities is above 1e-300.
    {"steps": 100, "classes": 20, "lengths": [45, 30], "scale": 60},
]


def solved(case):
    steps, classes, lengths = case["steps"], case["classes"], case["lengths"]
    i = torch.arange(len(lengths) * steps * classes, dtype=torch.float64)
    y = (case["scale"] * torch.sin(i * i)).reshape(len(lengths), steps, classes).requires_grad_()
    labels = [1 + (i * i + n) % (classes - 1) for n, length in enumerate(lengths) for i in range(length)]
    loss = torch.nn.functional.ctc_loss(
        y.log_softmax(2).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor([steps] * len(lengths)),
        torch.tensor(lengths),
    )
    loss.backward()
    g = y.grad.flatten()
    return {**case, "loss": loss.item(), "norm": g.norm().item(), "product": (torch.cos(i) * g).sum().item()}


json.dump([solved(case) for case in CASES], sys.stdout, indent=1)
print()
