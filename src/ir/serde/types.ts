/** @file Value types between the IR and the file. */
import type { Message, TensorTypeProto, TypeProto } from "../../proto/messages.ts";
import { dtypeInfo, dtypeOfCode } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";
import type { Dim, TensorType, ValueType } from "../types.ts";
import { extraOf, withExtra } from "./extras.ts";

interface TypeExtra {
  /** The message as the file has it, where it holds more than the IR. */
  original: TypeProto;
}

/** `subject` opens error messages. A type without an element type, or of a kind that is not known (opaque), is undefined. */
export function decodeType(proto: TypeProto | undefined, subject: string): ValueType | undefined {
  const type = proto && decodeKnown(proto, subject);
  return type && saysMore(proto as Message) ? withExtra(type, { original: proto }) : type;
}

/** Whether a denotation or an unknown field stands somewhere in a type. */
function saysMore(proto: Message): boolean {
  if (proto.unknown || proto.denotation) return true;
  return Object.values(proto).some((field) => {
    if (Array.isArray(field)) return field.some(saysMore);
    return typeof field === "object" && field !== null && saysMore(field as Message);
  });
}

function decodeKnown(proto: TypeProto, subject: string): ValueType | undefined {
  const { tensorType, sparseTensorType, sequenceType, optionalType, mapType } = proto;
  if (tensorType) return decodeTensorType("tensor", tensorType, subject);
  if (sparseTensorType) return decodeTensorType("sparse-tensor", sparseTensorType, subject);
  if (mapType) {
    const value = decodeType(mapType.valueType, subject);
    return value && { kind: "map", key: dtypeOfCode(mapType.keyType ?? 0, subject), value };
  }
  const element = decodeType((sequenceType ?? optionalType)?.elemType, subject);
  return element && { kind: sequenceType ? "sequence" : "optional", element };
}

function decodeTensorType(kind: TensorType["kind"], proto: TensorTypeProto, subject: string): TensorType | undefined {
  if (!proto.elemType) return undefined;
  const dtype = dtypeOfCode(proto.elemType, subject);
  if (!proto.shape) return { kind, dtype };
  const shape = (proto.shape.dim ?? []).map(({ dimValue, dimParam }): Dim => {
    if (dimValue === undefined) return dimParam || null;
    if (dimValue > BigInt(Number.MAX_SAFE_INTEGER))
      throw new TersorError("limit-exceeded", `${subject}: dim ${dimValue} is beyond 2^53.`);
    // Some exporters write −1 for "any".
    return dimValue < 0n ? null : Number(dimValue);
  });
  return { kind, dtype, shape };
}

export function encodeType(type: ValueType): TypeProto {
  return extraOf<TypeExtra>(type).original ?? encodeKnown(type);
}

function encodeKnown(type: ValueType): TypeProto {
  if (type.kind === "map") return { mapType: { keyType: dtypeInfo(type.key).code, valueType: encodeType(type.value) } };
  if ("element" in type) {
    const inner = { elemType: encodeType(type.element) };
    return type.kind === "sequence" ? { sequenceType: inner } : { optionalType: inner };
  }
  const proto: TensorTypeProto = { elemType: dtypeInfo(type.dtype).code };
  if (type.shape)
    proto.shape = {
      dim: type.shape.map((dim) =>
        typeof dim === "number" ? { dimValue: BigInt(dim) } : dim === null ? {} : { dimParam: dim },
      ),
    };
  return type.kind === "tensor" ? { tensorType: proto } : { sparseTensorType: proto };
}
