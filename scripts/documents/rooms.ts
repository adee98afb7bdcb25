/**
 * @file The folders of src/ in their order: what each is, and what it may import. The linter's rules (biome.rooms.json) and the table in
 * docs/architecture.md are made of this list.
 */
import { table } from "./markdown.ts";

export interface Room {
  readonly name: string;
  readonly what: string;
  /** The rooms that it may import, in place of all before it. */
  readonly only?: readonly string[];
  /** Rooms before it that it may not import. */
  readonly not?: readonly string[];
  /** Files that may use Node's own modules: patterns inside the room. Everything else runs in a browser too. */
  readonly node?: readonly string[];
}

/** From the ground floor up: a room may import the rooms before it. */
export const rooms: readonly Room[] = [
  {
    name: "util",
    what: "errors, options at the door, byte sources and sinks, counter-based random numbers, hashes, nearest names",
    node: ["regular-file.ts"],
  },
  {
    name: "tensor",
    what: "dtypes, `Tensor` (dtype, dims and a byte source), half floats, packing; `HostTensor`, what runtimes take and give",
  },
  { name: "kernels", what: "the hot loops: AssemblyScript compiled to wasm SIMD, and a plain twin" },
  { name: "proto", what: "the protobuf of ONNX: decoder, encoder, the table of messages, limits" },
  {
    name: "ir",
    what: "`Model`, `Graph`, `Node`, `Value`, attributes; `serde/` to and from protobuf; `text/`, the textual format",
  },
  { name: "ops", what: "schemas of all operators, shape rules, contents of small tensors, MACs" },
  { name: "passes", what: "one file per rewrite that keeps what the model computes; opset conversion" },
  {
    name: "runtime",
    what: "the interface `Runtime`; onnxruntime-node, onnxruntime-web, the worker around either",
    only: ["util", "tensor"],
    node: ["**"],
  },
  {
    name: "data",
    what: "datasets: images, NumPy, raw, JSON lines, text, modules, made-up inputs",
    only: ["util", "tensor"],
    node: ["**"],
  },
  {
    name: "targets",
    what: "what each runtime and machine computes in integers, exactly, fast: a row each",
    only: ["util", "tensor"],
  },
  { name: "autodiff", what: "gradients of a model as a model: the driver, a rule per operator" },
  { name: "nn", what: "layers that build ONNX: a network from a list, its parameters seeded" },
  { name: "calibrate", what: "statistics of activations, over data" },
  {
    name: "evaluate",
    what: "metrics, fidelity, latency; `diagnose/`, why a changed model is worse; `probe/`, what the machine at hand computes exactly and fast",
  },
  { name: "train", what: "losses, optimizers and the step as one graph; `fit`" },
  { name: "prune", what: "channel rules and groups, criteria, cuts, masks, recovery", not: ["evaluate"] },
  {
    name: "quantize",
    what: "the weights: options, layers, scales, methods, written formats",
    not: ["evaluate", "prune"],
  },
  { name: "recipe", what: "the steps, recipes, the manifest", node: ["node/**"] },
  { name: "library", what: "the steps as functions, on any platform" },
  {
    name: "node",
    what: "load, save and weigh files; `index.ts`: the library in Node, with everything but `cli`",
    only: ["util", "tensor", "kernels", "proto", "ir"],
    node: ["**"],
  },
  { name: "cli", what: "commands over recipes; text for people", node: ["**"] },
];

/** The doors: entry points that gather what other rooms have. */
const doors: Readonly<Record<string, readonly string[]>> = {
  recipe: ["recipe/node/**"],
  node: ["node/index.ts", "node/platform.ts", "node/namespaces/**"],
};

/** Names of the rooms that a room may import. */
export function importsOf({ name, only, not = [] }: Room): readonly string[] {
  const before = rooms.slice(
    0,
    rooms.findIndex((room) => room.name === name),
  );
  return only ?? before.map((room) => room.name).filter((each) => !not.includes(each));
}

/** Of docs/architecture.md. */
export function roomsTable(): string {
  const said = (room: Room, at: number): string => {
    const names = importsOf(room);
    if (names.length === 0) return "nothing";
    if (names.length < 4 || (room.only && at > names.length)) return names.map((name) => `\`${name}\``).join(", ");
    return `the above${room.not ? ` but ${room.not.map((name) => `\`${name}\``).join(", ")}` : ""}`;
  };
  return table(
    ["folder", "what it is", "may import"],
    rooms.map((room, at) => [`\`${room.name}\``, room.what, said(room, at)]),
  );
}

/** biome.rooms.json: the same for the linter. */
export function roomsRules(): string {
  const names = rooms.map(({ name }) => name);
  const overrides = rooms.flatMap((room) => {
    const allowed = importsOf(room);
    const refused = names.filter((name) => name !== room.name && !allowed.includes(name));
    const own = doors[room.name] ?? [];
    const message = `src/${room.name} may import only: ${[room.name, ...allowed].join(", ")} (docs/architecture.md).`;
    const isPure = (room.node ?? []).every((pattern) => pattern !== "**");
    const excluded = [...own, ...(isPure ? (room.node ?? []) : []).map((pattern) => `${room.name}/${pattern}`)];
    const files = [
      `src/${room.name}/**/*.ts`,
      "!**/*.test.ts",
      ...[...new Set(excluded)].map((pattern) => `!src/${pattern}`),
    ];
    const atDoor = own.map((pattern) => `src/${pattern}`);
    return [
      refusing(files, [
        ...(refused.length > 0 ? [{ group: refused.map((name) => `**/${name}/**`), message }] : []),
        ...(isPure ? [nodeRule] : []),
      ]),
      ...(atDoor.length > 0 ? [refusing([...atDoor, "!**/*.test.ts"], [doorRule])] : []),
    ].filter(({ linter }) => linter.rules.style.noRestrictedImports.options.patterns.length > 0);
  });
  return `${JSON.stringify({ $schema: "./node_modules/@biomejs/biome/configuration_schema.json", overrides })}\n`;
}

const nodeRule = {
  group: ["node:*"],
  message: "The core runs in a browser too: Node's modules belong where scripts/documents/rooms.ts says.",
};

const doorRule = { group: ["**/cli/**"], message: "The command line is imported by nothing (docs/architecture.md)." };

interface Refused {
  readonly group: readonly string[];
  readonly message: string;
}

function refusing(includes: readonly string[], patterns: readonly Refused[]) {
  const noRestrictedImports = { level: "error", options: { patterns } };
  return { includes, linter: { rules: { style: { noRestrictedImports } } } };
}
