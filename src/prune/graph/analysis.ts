/**
 * @file What hangs together in a model: union-find over single indices of single axes. Each set is an atom, which goes as a whole
 * or not at all, so that residuals, joined, split, cut and reshaped values need no treatment of their own.
 */
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { type Inference, infer } from "../../ops/infer.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { largestOf } from "../../util/append.ts";
import { invariant } from "../../util/errors.ts";
import { channelRule } from "./channel-rules.ts";
import { type Channels, type Link, type Port, portOf, RuleContext, shapeOf } from "./port.ts";
import { UnionFind } from "./union-find.ts";

/** Why something can't be cut. */
export interface Obstacle {
  /** Operator, or "input" and "output" for those of the model. */
  readonly opType: string;
  readonly reason: string;
}

export interface AnalyzeOptions {
  /** Whether inputs and outputs of the model may be cut, or outputs alone. Default false. */
  readonly interface?: boolean | "outputs";
  /** Gather nodes whose tables may lose rows: the caller sees to it that nothing looks these up. */
  readonly lookups?: ReadonlySet<Node>;
  /** By position among the nodes that may be cut in several ways: which answer to take, in place of the first that leaves a choice. */
  readonly answers?: ReadonlyMap<number, number>;
}

/** A node that may be cut in several ways. */
export interface Choice {
  /** The answer that was taken, and how many there are. */
  readonly taken: number;
  readonly count: number;
  /** Axes that the answers differ in. */
  readonly ports: readonly PortRow[];
}

/** An axis in the table: its indices are the elements base, base + 1, …. */
export interface PortRow extends Port {
  readonly base: number;
}

export interface Analysis {
  readonly model: Model;
  readonly inference: Inference;
  /** Every axis that a node or the model's interface touches. */
  readonly ports: readonly PortRow[];
  /** The axis of a value in the table. */
  port(value: Value, axis: number): PortRow | undefined;
  /** Number of the set that an element belongs to. */
  atomOf(element: number): number;
  /** Why an atom has to stay; undefined where it need not. */
  obstacle(atom: number): Obstacle | undefined;
  /** Axes of weights along which nodes make channels, with the node, in graph order. */
  readonly made: readonly { readonly node: Node; readonly port: PortRow }[];
  /** Axes of operands that nodes sum over. */
  readonly summed: readonly { readonly node: Node; readonly port: PortRow }[];
  readonly choices: readonly Choice[];
}

/** A node whose axes may be cut in several ways. */
interface Open {
  readonly node: Node;
  readonly answers: readonly Channels[];
}

/** Looks at every node once. The model's values are those of the result: it must not change afterwards. */
export function analyze(model: Model, options: AnalyzeOptions = {}): Analysis {
  const inference = infer(model);
  const table = new PortTable(inference.types);
  const nodes = nestedGraphs(model.graph).flatMap((graph) => graph.nodes);
  for (const node of nodes) for (const value of touched(node)) table.add(value);
  for (const value of [...model.graph.inputs, ...model.graph.outputs]) table.add(value);
  const sets = new Sets(table);
  if (options.interface !== true) pinInterface(model, sets, options.interface !== "outputs");
  const open: Open[] = [];
  for (const node of nodes) {
    const answers = answersOf(node, model, inference).map((answer) =>
      options.lookups?.has(node) ? withFreeRows(node, answer, inference) : answer,
    );
    if (answers.length > 1) open.push({ node, answers });
    else sets.take(node, answers[0] ?? { links: [] });
  }
  const choices = open.map(({ node, answers }, i): Choice => {
    const own = differences(answers);
    const taken = options.answers?.get(i) ?? best(sets, own);
    sets.take(node, answers[taken] as Channels);
    const ports = own.flat().flatMap(({ from, to }) => [table.rowOf(from), table.rowOf(to)]);
    return { taken, count: answers.length, ports: [...new Set(ports)] };
  });
  return sets.finish(model, inference, choices);
}

/** All values whose axes a node's rule has to speak of. */
function touched(node: Node): Value[] {
  const inner = node.subgraphs().flatMap((graph) => [...graph.inputs, ...graph.outputs]);
  return [...node.inputs, ...node.outputs, ...inner].filter((value) => value !== undefined);
}

function answersOf(node: Node, model: Model, inference: Inference): readonly Channels[] {
  const isKnown = touched(node).every((value) => shapeOf(value, inference.types) !== undefined);
  const opset = model.opsetImports.get("") ?? 1;
  const answer = isKnown ? channelRule(node)?.link(new RuleContext(node, opset, inference)) : undefined;
  return answer === undefined ? [] : "links" in answer ? [answer] : answer;
}

function withFreeRows(node: Node, answer: Channels, { types }: Inference): Channels {
  const rows = portOf(node.inputs[0], node.int("axis", 0), types);
  return { ...answer, free: [...(answer.free ?? []), ...(rows ? [rows] : [])] };
}

/** The links of each answer that not all have. */
function differences(answers: readonly Channels[]): Link[][] {
  return answers.map(({ links }) => links.filter((link) => !answers.every((other) => other.links.includes(link))));
}

/** The first answer that leaves something to choose from, else the one that leaves most. */
function best(sets: Sets, answers: readonly (readonly Link[])[]): number {
  const freedom = answers.map((links) => sets.freedom(links));
  const first = freedom.findIndex((count) => count > 1);
  return first >= 0 ? first : freedom.indexOf(largestOf(freedom));
}

function pinInterface(model: Model, sets: Sets, outputsToo: boolean): void {
  const pinAll = (value: Value, opType: string) => {
    sets.pinAll(value, { opType, reason: `the model's ${opType} "${value.name}"` });
  };
  for (const value of model.graph.inputs) pinAll(value, "input");
  if (outputsToo) for (const value of model.graph.outputs) pinAll(value, "output");
}

/** Numbers every index of every axis of a fixed size. */
class PortTable {
  readonly rows: PortRow[] = [];
  readonly #byValue = new Map<Value, (PortRow | undefined)[]>();
  readonly #types: ReadonlyMap<Value, ValueType>;
  size = 0;

  constructor(types: ReadonlyMap<Value, ValueType>) {
    this.#types = types;
  }

  add(value: Value): void {
    if (this.#byValue.has(value)) return;
    const shape = shapeOf(value, this.#types) ?? [];
    const rows = shape.map((_, axis) => {
      const port = portOf(value, axis, this.#types);
      if (!port) return undefined;
      const row = { ...port, base: this.size };
      this.size += port.size;
      this.rows.push(row);
      return row;
    });
    this.#byValue.set(value, rows);
  }

  row(value: Value, axis: number): PortRow | undefined {
    return this.#byValue.get(value)?.[axis];
  }

  rowOf({ value, axis }: Port): PortRow {
    const row = this.row(value, axis);
    invariant(row, `axis ${axis} of "${value.name}" is not in the table`);
    return row;
  }

  rowsOf(value: Value): readonly (PortRow | undefined)[] {
    return this.#byValue.get(value) ?? [];
  }
}

class Sets {
  readonly #table: PortTable;
  readonly #sets: UnionFind;
  readonly #obstacles: Obstacle[] = [];
  /** By root: 1 + index of its obstacle, 0 for none. */
  readonly #pinned: Int32Array;
  readonly #made: Analysis["made"][number][] = [];
  readonly #summed: Analysis["summed"][number][] = [];

  constructor(table: PortTable) {
    this.#table = table;
    this.#sets = new UnionFind(table.size);
    this.#pinned = new Int32Array(table.size);
    for (const { value, axis } of table.rows)
      if (!isCuttable(value)) this.pin(value, axis, { opType: "constant", reason: `how "${value.name}" is stored` });
  }

  pin(value: Value, axis: number, obstacle: Obstacle): void {
    const row = this.#table.row(value, axis);
    if (!row) return;
    const number = this.#obstacles.push(obstacle);
    for (let i = 0; i < row.size; i++) this.#pinned[this.#sets.find(row.base + i)] ||= number;
  }

  pinAll(value: Value, obstacle: Obstacle): void {
    for (const row of this.#table.rowsOf(value)) if (row) this.pin(value, row.axis, obstacle);
  }

  /** Ties what a node ties, and pins every axis that it does not mention. */
  take(node: Node, { links, made = [], summed = [], free = [] }: Channels): void {
    const mentioned = new Set<PortRow>();
    const mention = (port: Port) => mentioned.add(this.#table.rowOf(port));
    for (const link of links) {
      mention(link.from);
      mention(link.to);
      this.#each(link, (a, b) => {
        const gone = this.#sets.join(a, b);
        const root = gone < 0 ? -1 : this.#sets.find(a);
        if (gone >= 0) this.#pinned[root] ||= this.#pinned[gone] as number;
      });
    }
    for (const port of free) mention(port);
    for (const port of made) this.#made.push({ node, port: this.#table.rowOf(port) });
    for (const port of summed) {
      mention(port);
      this.#summed.push({ node, port: this.#table.rowOf(port) });
    }
    for (const value of touched(node))
      for (const row of this.#table.rowsOf(value))
        if (row && row.size > 1 && !mentioned.has(row)) this.pin(value, row.axis, obstacleOf(node, row));
  }

  /** How many sets of what is not pinned there would be on the axes of these links. */
  freedom(links: readonly Link[]): number {
    const local = new Map<number, number>();
    const parents: number[] = [];
    const pinned: boolean[] = [];
    const rootOf = (element: number) => {
      const root = this.#sets.find(element);
      let at = local.get(root);
      if (at === undefined) {
        at = parents.push(parents.length) - 1;
        pinned.push(this.#pinned[root] !== 0);
        local.set(root, at);
      }
      while (parents[at] !== at) at = parents[at] as number;
      return at;
    };
    for (const link of links)
      this.#each(link, (a, b) => {
        const [x, y] = [rootOf(a), rootOf(b)];
        if (x === y) return;
        parents[y] = x;
        pinned[x] = (pinned[x] as boolean) || (pinned[y] as boolean);
      });
    return parents.filter((parent, at) => parent === at && !pinned[at]).length;
  }

  #each({ from, to, map }: Link, visit: (a: number, b: number) => void): void {
    const [a, b] = [this.#table.rowOf(from).base, this.#table.rowOf(to)];
    for (let i = 0; i < from.size; i++) {
      const j = map ? map(i) : i;
      if (j >= 0 && j < b.size) visit(a + i, b.base + j);
    }
  }

  finish(model: Model, inference: Inference, choices: readonly Choice[]): Analysis {
    const roots: number[] = [];
    const numbers = new Int32Array(this.#table.size);
    for (let element = 0; element < numbers.length; element++) {
      // Roots are the smallest of their set: they have their number already.
      const root = this.#sets.find(element);
      numbers[element] = root === element ? roots.push(root) - 1 : (numbers[root] as number);
    }
    return {
      model,
      inference,
      ports: this.#table.rows,
      port: (value, axis) => this.#table.row(value, axis),
      atomOf: (element) => numbers[element] as number,
      obstacle: (atom) => this.#obstacles[(this.#pinned[roots[atom] as number] as number) - 1],
      made: this.#made,
      summed: this.#summed,
      choices,
    };
  }
}

/** Whether parts of a value can be taken out of where it is stored. */
function isCuttable(value: Value): boolean {
  if (value.sparse) return false;
  if (!value.tensor) return true;
  return (
    !value.isInput && !value.isOutput && value.tensor.dtype !== "string" && dtypeInfo(value.tensor.dtype).bits >= 8
  );
}

function obstacleOf(node: Node, { value, axis }: Port): Obstacle {
  return { opType: node.opType, reason: `${node} needs all of axis ${axis} of "${value.name}"` };
}
