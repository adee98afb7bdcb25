"""Static quantization by ONNX Runtime's Python tools, and nothing else: what bench/static.mjs compares with.

Usage: python bench/peers/ort_static.py VARIANT METHOD IN.onnx SAMPLES_FOLDER OUT.onnx

SAMPLES_FOLDER holds samples.json, {"input": name, "dims": [[...], ...]}, and samples.f32, the samples one after another.
"""

import json
import pathlib
import sys

import numpy
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

VARIANTS = {
    "tensor": {},
    "channel": {"per_channel": True},
    "channel-reduced": {"per_channel": True, "reduce_range": True},
    "channel-u8u8": {"per_channel": True, "weight_type": QuantType.QUInt8},
}
METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Samples(CalibrationDataReader):
    def __init__(self, folder):
        about = json.loads((folder / "samples.json").read_text())
        self.name = about["input"]
        self.dims = iter(about["dims"])
        self.data = numpy.memmap(folder / "samples.f32", dtype="<f4", mode="r")
        self.at = 0

    def get_next(self):
        dims = next(self.dims, None)
        if dims is None:
            return None
        count = int(numpy.prod(dims))
        sample = self.data[self.at : self.at + count].reshape(dims)
        self.at += count
        return {self.name: numpy.ascontiguousarray(sample)}


if len(sys.argv) != 6 or sys.argv[1] not in VARIANTS or sys.argv[2] not in METHODS:
    sys.exit(f"usage: ort_static.py {'|'.join(VARIANTS)} {'|'.join(METHODS)} IN.onnx SAMPLES_FOLDER OUT.onnx")
variant, method, source, folder, target = sys.argv[1:]
options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, **VARIANTS[variant]}
quantize_static(
    source,
    target,
    Samples(pathlib.Path(folder)),
    quant_format=QuantFormat.QDQ,
    calibrate_method=METHODS[method],
    **options,
)
