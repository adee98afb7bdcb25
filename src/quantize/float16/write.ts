/**
 * @file Rewrites a graph to float16 by a plan. Every float32 value has one native type, that of what computes it; the other is
 * made by one Cast where something needs it. Values never change meaning between a graph and its subgraphs, because inputs
 * and outputs of subgraphs are float16 unless the node that owns them stays float32.
 */
import { attr } from "../../ir/attribute.ts";
import type { Graph, Position } from "../../ir/graph.ts";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Use, Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { opKey } from "../layers/sites.ts";
import { hasTypeAttribute, indifferent, setTypeAttribute } from "./arguments.ts";
import { halfConstant } from "./constants.ts";
import type { Float16Settings } from "./options.ts";
import type { Float16Plan } from "./plan.ts";

type FloatType = "float32" | "float16";

/** A constant that was converted. */
export interface WrittenConstant {
  readonly bytes: number;
  sqnr(): number | undefined;
}

/** Rewrites the model in place; gives back what became of its constants, by their old names. */
export function writeFloat16(model: Model, plan: Float16Plan, settings: Float16Settings): Map<string, WrittenConstant> {
  const writer = new Float16Writer(model, plan, settings);
  writer.write();
  return writer.constants;
}

class Float16Writer {
  readonly constants = new Map<string, WrittenConstant>();
  readonly #model: Model;
  readonly #plan: Float16Plan;
  readonly #settings: Float16Settings;
  /** Graphs whose inputs and outputs are float32. */
  readonly #floatGraphs = new Set<Graph>();
  /** Values that are float16 now. */
  readonly #halves = new Set<Value>();

  constructor(model: Model, plan: Float16Plan, settings: Float16Settings) {
    this.#model = model;
    this.#plan = plan;
    this.#settings = settings;
    if (settings.keepIo) this.#floatGraphs.add(model.graph);
    for (const node of plan.kept.keys()) for (const graph of node.subgraphs()) this.#floatGraphs.add(graph);
  }

  write(): void {
    const graphs = nestedGraphs(this.#model.graph);
    const values = graphs.flatMap((graph) => [...graph.values].filter(this.#plan.isFloat));
    const outputs = this.#outputTypes(graphs);
    const native = new Map(values.map((value) => [value, this.#nativeType(value)]));
    for (const node of graphs.flatMap((graph) => graph.nodes)) this.#setAttribute(node);
    for (const value of values) {
      const type = native.get(value);
      const uses = [...value.uses];
      const needs = (wanted: FloatType) => uses.filter((use) => (this.#need(use) ?? type) === wanted);
      const half = needs("float16");
      const asHalfOutput = outputs.get(value)?.has("float16") ?? false;
      const asFloatOutput = outputs.get(value)?.has("float32") ?? false;
      if (type === undefined) this.#constant(value, half, asHalfOutput, asFloatOutput || half.length < uses.length);
      else if (type === "float32") this.#addCast(value, "float16", half, asHalfOutput);
      else {
        const declared = this.#plan.typeOf(value);
        this.#retype(value);
        this.#addCast(value, "float32", needs("float32"), asFloatOutput, declared);
      }
    }
    this.#removeCasts();
  }

  /** Which types the graphs want of the values they give out. */
  #outputTypes(graphs: readonly Graph[]): Map<Value, Set<FloatType>> {
    const types = new Map<Value, Set<FloatType>>();
    for (const graph of graphs)
      for (const output of graph.outputs) {
        const wanted = types.get(output) ?? new Set();
        types.set(output, wanted.add(this.#floatGraphs.has(graph) ? "float32" : "float16"));
      }
    return types;
  }

  /** Undefined for constants, which come in both. */
  #nativeType(value: Value): FloatType | undefined {
    const { producer } = value;
    if (producer) {
      const isHalf =
        !this.#plan.kept.has(producer) && this.#plan.typesOf(producer).output(producer.outputs.indexOf(value));
      return isHalf ? "float16" : "float32";
    }
    if (value.sparse) return "float32";
    if (value.isInput) return this.#floatGraphs.has(value.graph) ? "float32" : "float16";
    return value.tensor ? undefined : "float32";
  }

  /** Undefined where the node takes either. */
  #need({ node, index }: Use): FloatType | undefined {
    if (indifferent.has(opKey(node))) return undefined;
    return !this.#plan.kept.has(node) && this.#plan.typesOf(node).input(index) ? "float16" : "float32";
  }

  #constant(value: Value, half: readonly Use[], asHalfOutput: boolean, staysFloat: boolean): void {
    const { tensor, name, graph } = value;
    if (!tensor || (half.length === 0 && !asHalfOutput)) return;
    const clamp = this.#plan.clamped.has(value);
    const converted = halfConstant(name, tensor, { clamp, measure: this.#settings.measure });
    const rest = staysFloat ? tensor.byteLength : 0;
    this.constants.set(name, { bytes: converted.tensor.byteLength + rest, sqnr: converted.sqnr });
    if (!staysFloat) {
      value.tensor = converted.tensor;
      return;
    }
    const twin = graph.addInitializer(`${name}_float16`, converted.tensor);
    for (const use of half) use.node.setInput(use.index, twin);
    this.#replaceOutputs(value, twin, "float16");
  }

  /** One Cast for all `uses`, and for the graphs' outputs that want this type, whose name it takes over. */
  #addCast(value: Value, to: FloatType, uses: readonly Use[], asOutput: boolean, declared = value.type): void {
    if (uses.length === 0 && !asOutput) return;
    const { graph, name } = value;
    const isNamed = asOutput && !value.isInput && graph.outputs.includes(value);
    if (isNamed) graph.rename(value, graph.uniqueName(`${name}_${to === "float16" ? "float32" : "float16"}`));
    const attributes = { to: attr.int(dtypeInfo(to).code) };
    const outputs = [isNamed ? name : `${name}_${to}`];
    const cast = graph.addNode({ opType: "Cast", inputs: [value], outputs, attributes }, behind(value)).output();
    if (to === "float16") this.#halves.add(cast);
    const type = declared && withDType(declared, to);
    if (type) cast.type = type;
    for (const use of uses) use.node.setInput(use.index, cast);
    if (asOutput) this.#replaceOutputs(value, cast, to);
  }

  /** Puts `twin` in the place of `value` among the outputs of graphs that want its type. */
  #replaceOutputs(value: Value, twin: Value, type: FloatType): void {
    for (const graph of nestedGraphs(this.#model.graph))
      graph.outputs.forEach((output, i) => {
        const wanted = this.#floatGraphs.has(graph) ? "float32" : "float16";
        if (output === value && wanted === type) graph.setOutput(i, twin);
      });
  }

  #retype(value: Value): void {
    this.#halves.add(value);
    if (value.type) value.type = withDType(value.type, "float16");
  }

  #setAttribute(node: Node): void {
    if (this.#plan.kept.has(node) || !hasTypeAttribute(node)) return;
    const types = this.#plan.typesOf(node);
    const inputs = node.inputs.flatMap((value, i) => (this.#plan.isFloat(value) && types.input(i) ? [i] : []));
    const free = node.outputs.some(
      (value, i) => this.#plan.isFloat(value) && types.output(i) && !types.isBound(i, inputs),
    );
    if (free) setTypeAttribute(node);
  }

  /** Casts that give what they are given: those to float32 of a model that was part float16, and back. */
  #removeCasts(): void {
    const { code } = dtypeInfo("float16");
    for (const graph of nestedGraphs(this.#model.graph)) {
      const gone = graph.nodes.filter((node) => {
        const [input] = node.inputs;
        if (opKey(node) !== "Cast" || node.int("to") !== code || !input || !node.outputs[0]) return false;
        const type = this.#plan.typeOf(input);
        const isHalf = this.#halves.has(input) || (type?.kind === "tensor" && type.dtype === "float16");
        // An output keeps its name; without the Cast it would need an Identity.
        return isHalf && !node.output().isOutput;
      });
      for (const node of gone) graph.replaceUses(node.output(), node.input(0));
      graph.removeNodes(gone);
    }
  }
}

/** Behind what computes the value; inputs at the beginning. */
function behind({ producer, graph }: Value): Position | undefined {
  if (producer) return { after: producer };
  const [first] = graph.nodes;
  return first && { before: first };
}

function withDType(type: ValueType, dtype: FloatType): ValueType {
  return type.kind === "tensor" || type.kind === "sparse-tensor" ? { ...type, dtype } : type;
}
