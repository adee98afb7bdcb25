"""One conversion by ONNX Runtime's Python tools, and nothing else: what the benches compare with.

Usage: python bench/peers/ort_quantize.py JOB IN.onnx OUT.onnx
"""

import sys


def dynamic(source, target, **options):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, weight_type=QuantType.QInt8, **options)


def int4(source, target):
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, bits=4)
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(target, False)


def float16(source, target):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def load_save(source, target):
    import onnx

    onnx.save(onnx.load(source), target)


JOBS = {
    "int8": dynamic,
    "int8-channel": lambda source, target: dynamic(source, target, per_channel=True),
    "int4": int4,
    "float16": float16,
    "load-save": load_save,
}

if len(sys.argv) != 4 or sys.argv[1] not in JOBS:
    sys.exit(f"usage: ort_quantize.py {'|'.join(JOBS)} IN.onnx OUT.onnx")
JOBS[sys.argv[1]](sys.argv[2], sys.argv[3])
