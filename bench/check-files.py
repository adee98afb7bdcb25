"""Whether ONNX Runtime (Python) loads the given files, and onnx.checker accepts them. Prints a table; exit 1 if one fails.

Usage: .venv/bin/python bench/check-files.py [--run N] FILE.onnx…
Files of standard operators only are checked with shape inference (full_check), the others without. --run N also runs each
model once, on zeros, with N for every symbolic dimension.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

STANDARD = {"", "ai.onnx", "ai.onnx.ml"}
INPUT_TYPES = {"float": "float32", "double": "float64", "int64": "int64", "int32": "int32", "float16": "float16", "bool": "bool", "uint8": "uint8", "int8": "int8"}


def size_of(path, model):
    names = set()
    for tensor in model.graph.initializer:
        names.update(entry.value for entry in tensor.external_data if entry.key == "location")
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in names)


def domains_of(model):
    return {imported.domain for imported in model.opset_import}


def first_line(error):
    text = str(error).strip().splitlines()
    return text[0].replace("|", "\\|") if text else type(error).__name__


def check(path, model):
    full = domains_of(model) <= STANDARD and not model.functions
    try:
        onnx.checker.check_model(str(path), full_check=full)
        return True, "full" if full else "ok"
    except Exception as error:  # The checker raises many classes; each is a finding to print.
        return False, f"FAILS: {first_line(error)}"


def zeros(argument, size):
    dims = [dim if isinstance(dim, int) and dim > 0 else size for dim in argument.shape]
    return np.zeros(dims, INPUT_TYPES[argument.type.removeprefix("tensor(").removesuffix(")")])


def load(path, run_size):
    """Creates a session; with `run_size`, also runs it with that size for symbolic dimensions."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    start = time.perf_counter()
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        elapsed = f"{(time.perf_counter() - start) * 1000:.0f} ms"
        if run_size:
            session.run(None, {argument.name: zeros(argument, run_size) for argument in session.get_inputs()})
        return True, elapsed
    except Exception as error:  # As above.
        return False, f"FAILS: {first_line(error)}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--run", type=int, metavar="N")
    args = parser.parse_args()
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}\n")
    print(f"| file | MB | IR | opsets | checker | session{' and run' if args.run else ''} |\n|---|---:|---:|---|---|---|")
    failed = 0
    for path in args.files:
        try:
            model = onnx.load(path, load_external_data=False)
            size = size_of(path, model) / 1e6
        except Exception as error:  # Not a protobuf, or not there.
            print(f"| {path.name} | | | | FAILS: {first_line(error)} | |")
            failed += 1
            continue
        opsets = " ".join(f"{imported.domain or 'ai.onnx'}:{imported.version}" for imported in model.opset_import)
        accepted, verdict = check(path, model)
        loaded, elapsed = load(path, args.run)
        failed += not (accepted and loaded)
        print(f"| {path.name} | {size:.2f} | {model.ir_version} | {opsets} | {verdict} | {elapsed} |", flush=True)
    print(f"\n{len(args.files) - failed} of {len(args.files)} files are good.")
    sys.exit(1 if failed else 0)


main()
