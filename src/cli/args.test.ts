import { describe, expect, it } from "vitest";
import { compareOptions } from "../recipe/steps/compare.ts";
import { dynamicStepOptions } from "../recipe/steps/dynamic.ts";
import { equalizeStepOptions } from "../recipe/steps/equalize.ts";
import { float16StepOptions } from "../recipe/steps/float16.ts";
import { pruneStepOptions } from "../recipe/steps/prune-options.ts";
import { quantizeStepOptions } from "../recipe/steps/quantize.ts";
import { staticStepOptions } from "../recipe/steps/static.ts";
import { camelCase, parseArgs } from "./args.ts";
import { commands } from "./commands.ts";
import { commandHelp, mainHelp } from "./help.ts";

const parse = async (line: string) => {
  const { command, args, options } = await parseArgs(line.split(" ").filter(Boolean), commands);
  return { command: command?.name, args, options };
};

describe("arguments", () => {
  it("are a command, arguments and options in any order", async () => {
    const expected = { command: "quantize", args: ["m.onnx"], options: { output: "o.onnx", bits: 4, json: true } };
    expect(await parse("quantize m.onnx -o o.onnx --bits 4 --json")).toEqual(expected);
    expect(await parse("--json quantize --bits=4 --output=o.onnx m.onnx")).toEqual(expected);
  });

  it("know switches that set an option to something", async () => {
    const { options } = await parse("quantize m --asymmetric --no-simplify --external-data --no-measure");
    expect(options).toEqual({ symmetric: false, simplify: false, externalData: "always", measure: false });
    expect((await parse("quantize m --asymmetric --symmetric")).options).toEqual({ symmetric: true });
  });

  it("take shapes, several or repeated", async () => {
    const { options } = await parse("inspect m --shapes x=1,3,48,320;y= --shapes N=8");
    expect(options.shapes).toEqual({ x: [1, 3, 48, 320], y: [], N: [8] });
  });

  it("take data as a path or JSON", async () => {
    expect((await parse("compare a b --data images")).options.data).toBe("images");
    expect((await parse('compare a b --data {"path":"x"}')).options.data).toEqual({ path: "x" });
  });

  it("end with --; a value may begin with a dash", async () => {
    expect(await parse("inspect -- --odd.onnx")).toEqual({ command: "inspect", args: ["--odd.onnx"], options: {} });
    expect((await parse("quantize m --seed -1")).options.seed).toBe(-1);
  });

  it.each([
    ["quantise m", '"quantise": no such command: did you mean quantize? `tersor --help` lists them.'],
    ["frobnicate", '"frobnicate": no such command. `tersor --help` lists them.'],
    ["quantize", "quantize: MODEL is missing. Usage: tersor quantize MODEL [-o FILE] [options]."],
    ["compare a", "compare: B is missing. Usage: tersor compare A B [options]."],
    ["inspect a b", 'inspect: unexpected argument "b". Usage: tersor inspect MODEL [options].'],
    [
      "quantize m --granularty x",
      "--granularty: unknown option: did you mean --granularity? `tersor quantize --help` lists the options.",
    ],
    ["inspect m -z", "-z: unknown option. `tersor inspect --help` lists the options."],
    ["quantize m --dtype", "--dtype: expected a value (TYPE). Usage: tersor quantize MODEL [-o FILE] [options]."],
    [
      "quantize m --dtype --bits 4",
      "--dtype: expected a value (TYPE). Usage: tersor quantize MODEL [-o FILE] [options].",
    ],
    ["quantize m --json=1", "--json: takes no value. Usage: tersor quantize MODEL [-o FILE] [options]."],
    ["quantize m --bits four", '--bits: expected a number, got "four".'],
    ["inspect m --shapes x:1", '--shapes: expected INPUT=SIZES such as x=1,3,224,224, got "x:1".'],
  ])("%s is refused", async (line, message) => {
    await expect(parse(line)).rejects.toMatchObject({ code: "bad-recipe", message });
  });
});

describe("flags", () => {
  const flagsOf = (name: string) => {
    const groups = commands.find((each) => each.name === name)?.groups ?? [];
    return new Set(groups.flatMap((group) => group.flags).map((flag) => flag.option ?? camelCase(flag.name)));
  };

  it("exist for every option of quantize, prune and compare", () => {
    expect([...Object.keys(quantizeStepOptions.shape)].filter((key) => !flagsOf("quantize").has(key))).toEqual([]);
    const renamed = ["weights", "data", "samples"];
    for (const { shape } of [staticStepOptions, dynamicStepOptions, float16StepOptions, equalizeStepOptions])
      expect(Object.keys(shape).filter((key) => !flagsOf("quantize").has(key) && !renamed.includes(key))).toEqual([]);
    expect([...Object.keys(compareOptions.shape)].filter((key) => !flagsOf("compare").has(key))).toEqual([]);
    expect([...Object.keys(pruneStepOptions.shape)].filter((key) => !flagsOf("prune").has(key))).toEqual([]);
  });

  it("name every choice and default of their options in the help", () => {
    const help = commandHelp(commands[1] as (typeof commands)[number]).replace(/\s+/g, " ");
    const words = ["int8 (default)", "uint2", "bfloat16", "half-up", "stochastic", "channel (default)", "default 256"];
    expect(words.filter((word) => !help.includes(word))).toEqual([]);
  });
});

describe("help", () => {
  it("lists the commands", () => {
    expect(mainHelp(commands)).toMatchInlineSnapshot(`
      "tersor: makes trained ONNX models smaller and faster, and proves that they still work

      Usage: tersor COMMAND [options]

      Commands:
        inspect MODEL [options]                                          show what a model is made of,
                                                                         and what can be compressed
        quantize MODEL [-o FILE] [options]                               make the weights smaller:
                                                                         int8, int4, int2, float16
        prune MODEL --ratio R [-o FILE] [options]                        remove channels, neurons,
                                                                         heads and hidden units, or
                                                                         single weights
        finetune MODEL --data PATH [-o FILE] [options]                   train the weights of a model
                                                                         further, from the file alone
        distill STUDENT --teacher MODEL --data PATH [-o FILE] [options]  train a small model after a
                                                                         large one
        compare A B [options]                                            measure model B against model
                                                                         A: outputs, accuracy, size,
                                                                         latency
        probe [-o FILE.json] [options]                                   measure this machine: which
                                                                         integer kernels are exact and
                                                                         fast; writes a --target file
        run [RECIPE] [options]                                           run a recipe:
                                                                         tersor.config.ts, .js or
                                                                         .json in the current folder,
                                                                         or another file

      Options of every command:
        --json         print one JSON object on stdout and nothing else
        -q, --quiet    print errors only
        --verbose      show where an error comes from (or set TERSOR_DEBUG=1)
        -h, --help     show this help
        -v, --version  show the version

      Exit codes:
        0    done
        1    a bound was missed
        2    usage or recipe error
        3    invalid or unsupported model or data
        130  interrupted; nothing was written

      What runs code:
        .ts, .js, .mjs   recipes, and modules that are named as data or metric, are imported: they may
                         do whatever you may
        everything else  models, JSON and data are only read; see docs/trust.md

      \`tersor COMMAND --help\` shows the options of a command."
    `);
  });

  it.each(commands.map((command) => [command.name, command] as const))("of %s fits 100 columns", (_, command) => {
    const lines = commandHelp(command).split("\n");
    expect(lines.filter((line) => line.length > 100 && !line.startsWith("  tersor"))).toEqual([]);
  });

  it("of inspect", () => {
    expect(commandHelp(commands[0] as (typeof commands)[number])).toMatchInlineSnapshot(`
      "tersor inspect: show what a model is made of, and what can be compressed

      Usage: tersor inspect MODEL [options]

      Options:
        --layers              list every layer: weights, parameters, MACs, bytes, whether it can be
                              compressed
        --text                print the model in ONNX' textual format, large tensors as hashes
        --shapes INPUT=SIZES  sizes that the model leaves open, such as x=1,3,224,224; may be repeated
        --no-simplify         list the layers of the graph as it is (quantize simplifies it first)

      General:
        --json         print one JSON object on stdout and nothing else
        -q, --quiet    print errors only
        --verbose      show where an error comes from (or set TERSOR_DEBUG=1)
        -h, --help     show this help
        -v, --version  show the version

      Examples:
        tersor inspect model.onnx
        tersor inspect model.onnx --layers --shapes x=1,3,224,224"
    `);
  });
});
