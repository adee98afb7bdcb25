/** @file What a row of the table of dynamic rules is, and the nodes and weights that it is for. */

import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import type { OwnSpec, QuantSpec } from "../grid/spec.ts";
import type { WeightLayer } from "../layers/sites.ts";
import type { WeightForm } from "./codes.ts";
import type { DynamicSettings } from "./options.ts";

/** A weight and what becomes of it. */
export interface PlannedLayer {
  readonly layer: WeightLayer;
  readonly spec: QuantSpec;
  /** Nodes that read its codes. */
  readonly units: readonly DynamicUnit[];
  /** Nodes that read it as codes that become floats: lookups, and those whose activations stay float. */
  readonly floatUses: readonly Node[];
  /** Why it is kept, or why part of its uses are, or what was asked for against the target. */
  readonly reason?: string | undefined;
  /** Options of its own, over those of all. */
  readonly own: OwnSpec;
  /** Its activations stay float by decision. */
  readonly weightsOnly: boolean;
}

/** A node that becomes an integer one. */
export interface DynamicUnit {
  readonly node: Node;
  readonly rule: DynamicRule;
  /** The weights among its inputs. */
  readonly weights: ReadonlyMap<number, PlannedLayer>;
}

export interface DynamicRule {
  /** Inputs that are quantized at run time, where they are not weights. */
  readonly activations: readonly number[];
  /** Why a node of this operator stays float; undefined where it does not. `weights` lists the inputs with codes. */
  obstacle?(node: Node, weights: ReadonlySet<number>, settings: DynamicSettings): string | undefined;
  write(unit: DynamicUnit, writer: UnitWriter): void;
}

/** An operand of an integer operator, as values of the graph. */
export interface Operand {
  readonly codes: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** What writes the integer form of nodes. */
export interface UnitWriter {
  /** The operand at `input` of a unit's node: its weight, or the activation quantized as it comes. */
  operand(unit: DynamicUnit, input: number, form: WeightForm): Operand;
  /** The scaled sums of an integer product in place of the node. */
  scaledSums(node: Node, integer: { opType: string; a: Operand; b: Operand }, bias?: Value): void;
  /** A vector of channels with so many axes of size 1 behind them. */
  channelVector(vector: Value, spatial: number, before: Node): Value;
  /** An operator of com.microsoft in place of the node. */
  replace(node: Node, opType: string, inputs: readonly (Value | undefined)[]): void;
}
