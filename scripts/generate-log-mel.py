"""Writes test/fixtures/log-mel.json: log-mel features by NumPy, from the definition, for src/data/log-mel.test.ts.

The transform is a matrix of complex exponentials in place of an FFT, the filter bank is built from slopes as in torchaudio's documentation.
Usage: python3 scripts/generate-log-mel.py (NumPy 2)
"""
import json
import pathlib

import numpy as np


def mel_points(count, fmin, fmax, scale):
    if scale == "htk":
        low, high = (2595 * np.log10(1 + f / 700) for f in (fmin, fmax))
        return 700 * (np.power(10, np.linspace(low, high, count) / 2595) - 1)
    to_mel = lambda f: 3 * f / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4)
    mels = np.linspace(to_mel(fmin), to_mel(fmax), count)
    return np.where(mels < 15, 200 * mels / 3, 1000 * np.power(6.4, (mels - 15) / 27))


def log_mel(x, rate, window, hop, fft, mels, fmin, fmax, scale, area, centre, log, floor):
    if centre:
        x = np.pad(x, window // 2, mode="reflect")
    count = 1 + (len(x) - window) // hop
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = np.stack([x[t * hop : t * hop + window] * hann for t in range(count)])
    basis = np.exp(-2j * np.pi * np.outer(np.arange(window), np.arange(fft // 2 + 1)) / fft)
    power = np.abs(frames @ basis) ** 2
    points = mel_points(mels + 2, fmin, fmax, scale)
    widths = np.diff(points)
    slopes = points[None, :] - np.linspace(0, rate / 2, fft // 2 + 1)[:, None]
    bank = np.maximum(0, np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]))
    if area:
        bank *= 2 / (points[2:] - points[:-2])
    y = np.maximum(floor, power @ bank)
    return {"ln": np.log(y), "log10": np.log10(y), "dB": 10 * np.log10(y)}[log]


def signal(count, rate):
    t = np.arange(count) / rate
    x = 0.5 * np.sin(2 * np.pi * (300 * t + 4000 * t * t)) + 0.1 * np.sin(2 * np.pi * 1750 * t)
    return x.astype(np.float32).astype(np.float64)


common = dict(sampleRate=8000, window=200, hop=80, fft=256, mels=12, fmin=20, fmax=4000, floor=1e-6, log="ln")
cases = [
    dict(common, scale="htk", area=False, centre=True),
    dict(common, scale="slaney", area=True, centre=True, log="dB"),
    dict(common, scale="slaney", area=False, centre=False, log="log10", fft=512, window=180, fmin=100, fmax=3500),
]
rows = []
for options in cases:
    named = {"rate" if key == "sampleRate" else key: value for key, value in options.items()}
    features = log_mel(signal(1000, 8000), **named)
    rows.append({"options": options, "frames": len(features), "features": np.round(features, 6).ravel().tolist()})
path = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "log-mel.json"
path.write_text(json.dumps(rows) + "\n")
