/**
 * @file Sets of codes of a weight for its integer readers. Those that count channels along one axis share one; MatMul and Gemm with transB of
 * one matrix count along different axes, and a scale per channel of the one is none of the other.
 */
import type { WeightLayer, WeightSite } from "../layers/sites.ts";
import type { Unit } from "./flow.ts";
import { quantizeStaticWeight, type WeightChoice } from "./weights.ts";

/** A place where a unit reads the weight. */
export interface Reader {
  readonly site: WeightSite;
  readonly unit: Unit;
}

/** A set of codes: the layer with the axes of its readers. */
export interface WeightCopy {
  readonly layer: WeightLayer;
  readonly choice: WeightChoice;
  readonly readers: readonly Reader[];
}

/** Decibels that are not worth the bytes of a second set of codes. */
const NEGLIGIBLE = 1;

/** The sets that readers need. @param notes what there is to say is added */
export function copiesOf(
  layer: WeightLayer,
  choice: WeightChoice,
  readers: readonly Reader[],
  notes: string[],
): readonly WeightCopy[] {
  const byAxis = new Map<number, Reader[]>();
  for (const reader of readers) {
    const { channel } = reader.site.axes;
    byAxis.set(channel, [...(byAxis.get(channel) ?? []), reader]);
  }
  const copies = [...byAxis.values()].map((group) => {
    const { axes } = (group[0] as Reader).site;
    return { layer: { ...layer, axes }, choice, readers: group };
  });
  const [first] = copies;
  if (!first || copies.length === 1) return copies;
  const whole = { ...first, choice: { ...choice, perChannel: false }, readers };
  if (!choice.perChannel) return [whole];
  const [alone, apart] = [leastSqnr([whole]), leastSqnr(copies)];
  const readings = `${alone.toFixed(1)} dB instead of ${apart.toFixed(1)} dB`;
  const names = readers.map(({ unit: { node } }) => node.name || node.output().name).join(", ");
  const subject = `weight "${layer.value.name}" is read along both of its axes (${names})`;
  if (apart - alone < NEGLIGIBLE) {
    notes.push(`${subject}: one scale for all of it serves both, ${readings}`);
    return [whole];
  }
  notes.push(`${subject}: its codes are stored once for each; one set with one scale has ${readings}`);
  return copies;
}

function leastSqnr(copies: readonly WeightCopy[]): number {
  const each = copies.map(({ layer, choice }) => {
    const { codes, sqnr } = quantizeStaticWeight(layer, { ...choice, method: "rtn" }, true);
    // It is known once the codes were computed.
    codes.bytes.read(0, codes.byteLength);
    return sqnr() ?? 0;
  });
  return Math.min(...each);
}
