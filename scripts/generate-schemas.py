"""Writes src/ops/schemas.generated.ts: what ONNX and ONNX Runtime declare about every operator. Facts only, no prose.

Usage: .venv/bin/python scripts/generate-schemas.py [--check]     (bench/setup-python.sh makes .venv)
--check writes nothing and fails when the file is not what the installed packages say.

Sources: ai.onnx and ai.onnx.ml from the onnx package; com.microsoft from ONNX Runtime, and the operators that its CPU
kernels run in ai.onnx without being in the standard (SimplifiedLayerNormalization and the old experimental ones).
The format is read by src/ops/schema.ts, which explains it.
"""

import json
import struct
import sys
from pathlib import Path

import onnx
import onnxruntime
from onnx import AttributeProto, defs
from onnxruntime.capi import onnxruntime_pybind11_state as ort

MAX_OPSET = 25
OUT = Path(__file__).resolve().parent.parent / "src" / "ops" / "schemas.generated.ts"

ATTRIBUTE_CODES = {
    "FLOAT": "f",
    "INT": "i",
    "STRING": "s",
    "TENSOR": "t",
    "GRAPH": "g",
    "SPARSE_TENSOR": "c",
    "TYPE_PROTO": "y",
    "FLOATS": "F",
    "INTS": "I",
    "STRINGS": "S",
}


def to_float32(number):
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:  # Rounded up beyond the largest float32.
        return float("inf")


def shortest_float32(value):
    """The decimal with the fewest digits that is this float32."""
    for digits in range(1, 10):
        number = float(f"{value:.{digits}g}")
        if to_float32(number) == value:
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
    raise ValueError(f"not a float32: {value}")


def default_of(attribute):
    """The default as a JSON value, or None. Both packages keep it as an AttributeProto, ONNX Runtime in bytes."""
    proto = AttributeProto()
    proto.ParseFromString(
        attribute._default_value if hasattr(attribute, "_default_value") else attribute.default_value.SerializeToString()
    )
    kind = AttributeProto.AttributeType.Name(proto.type)
    if kind == "UNDEFINED":
        return None
    if kind == "TENSOR":
        return None  # Only "an empty tensor", by which ai.onnx.ml says that there is none.
    read = {
        "FLOAT": lambda: shortest_float32(proto.f),
        "INT": lambda: proto.i,
        "STRING": lambda: proto.s.decode("ascii"),
        "FLOATS": lambda: [shortest_float32(value) for value in proto.floats],
        "INTS": lambda: list(proto.ints),
        "STRINGS": lambda: [text.decode("ascii") for text in proto.strings],
    }
    value = read[kind]()
    if kind == "INT" and abs(value) > 2**53:
        raise ValueError(f"{attribute.name}: {value} is no safe integer")
    return value


def compact(value):
    return json.dumps(value, separators=(",", ":")).replace(" ", "\\u0020")


def attribute_text(name, attribute):
    kind = getattr(attribute.type, "name")
    default = default_of(attribute)
    text = f"{name}{'!' if attribute.required else ''}:{ATTRIBUTE_CODES[kind]}"
    return text if default is None else f"{text}={compact(default)}"


def formal_text(formal, min_arity):
    option = int(getattr(formal.option, "value", formal.option))
    homogeneous = formal.isHomogeneous if hasattr(formal, "isHomogeneous") else formal.is_homogeneous
    kind = formal.typeStr if hasattr(formal, "typeStr") else formal.type_str
    mark = ["", "?", f"*{min_arity}{'' if homogeneous else '~'}"][option]
    return f"{formal.name.replace(' ', '_')}{mark}:{kind.replace(' ', '')}"


def formals_text(formals, low):
    """All formals; `low` is the least number of arguments, which fixes how many a variadic one needs."""
    return " ".join(formal_text(formal, low - len(formals) + 1) for formal in formals)


class TypeSets:
    """The distinct sets of allowed types, numbered in order of appearance."""

    def __init__(self):
        self.numbers = {}

    def number(self, types):
        names = sorted(name.replace(" ", "") for name in types)
        key = " ".join(name[7:-1] if name.startswith("tensor(") else name for name in names)
        return self.numbers.setdefault(key, len(self.numbers))


def fields_of(schema, sets):
    return [
        formals_text(schema.inputs, schema.min_input),
        formals_text(schema.outputs, schema.min_output),
        " ".join(attribute_text(name, schema.attributes[name]) for name in sorted(schema.attributes)),
        " ".join(f"{c.type_param_str}={sets.number(c.allowed_type_strs)}" for c in schema.type_constraints),
    ]


def collect():
    """Every schema to write, as {domain: {op: {since version: schema}}}."""
    table = {"ai.onnx": {}, "ai.onnx.ml": {}, "com.microsoft": {}}

    def add(schema):
        versions = table[schema.domain or "ai.onnx"].setdefault(schema.name, {})
        versions.setdefault(schema.since_version, schema)

    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "ai.onnx.ml" or (schema.domain == "" and schema.since_version <= MAX_OPSET):
            add(schema)
    on_cpu = {(k.domain, k.op_name) for k in ort.get_all_opkernel_def() if k.provider == "CPUExecutionProvider"}
    for schema in ort.get_all_operator_schema():
        extra = schema.domain == "" and schema.since_version <= MAX_OPSET and ("", schema.name) in on_cpu
        if schema.domain == "com.microsoft" or extra:
            add(schema)
    return table


def generate():
    sets = TypeSets()
    lines = []
    for domain, ops in collect().items():
        lines.append(f"@{domain}")
        for name in sorted(ops):
            before = None
            for since, schema in sorted(ops[name].items()):
                fields = fields_of(schema, sets)
                shown = [
                    "=" if before is not None and field and field == old else field
                    for field, old in zip(fields, before or fields)
                ]
                lines.append("\t".join([name, f"{since}{'!' if schema.deprecated else ''}", *shown]).rstrip("\t"))
                before = fields
    table = "\n".join(lines)
    type_sets = "\n".join(sets.numbers)
    for text in (table, type_sets):
        if "`" in text or "${" in text or not text.isascii():
            raise ValueError("the table does not fit into a raw template literal")
    return (
        "/** @file Operator schemas. Generated by scripts/generate-schemas.py from "
        f"onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}; do not edit. */\n\n"
        "/** Line n: the types of set n. */\n"
        f"export const typeSets = String.raw`{type_sets}`;\n\n"
        "/** One line a version of an operator, under its domain. */\n"
        f"export const schemaTable = String.raw`{table}`;\n"
    )


def main():
    text = generate()
    if "--check" in sys.argv[1:]:
        if OUT.read_text(encoding="utf-8") != text:
            sys.exit(f"{OUT.name} is out of date: run scripts/generate-schemas.py and commit the result.")
        print(f"{OUT.name} is up to date.")
        return
    OUT.write_text(text, encoding="utf-8")
    print(f"{OUT.name}: {len(text)} bytes, {text.count(chr(10))} lines")


main()
