/** @file Reads the command line by a table of flags. Loads nothing that is slow to load. */
import { TersorError } from "../util/errors.ts";
import { parseJson } from "../util/json.ts";

/** One flag; a switch when it has no `value`. */
export interface Flag {
  /** Without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** What help calls its value, such as FILE. */
  readonly value?: string;
  readonly summary: string;
  /** The option that it sets; its own name in camelCase when absent. */
  readonly option?: string;
  /** What a switch sets its option to; true when absent. */
  readonly sets?: string | boolean;
  readonly type?: keyof typeof readers;
}

export interface FlagGroup {
  readonly title: string;
  readonly flags: readonly Flag[];
}

export interface CommandSpec {
  readonly name: string;
  /** What follows the name in a usage line. */
  readonly usage: string;
  readonly summary: string;
  /** Names of the arguments, for messages; those after `required` may be absent. */
  readonly args: readonly string[];
  readonly required: number;
  readonly groups: readonly FlagGroup[];
  readonly examples: readonly string[];
  load(): Promise<{ readonly run: (input: CommandInput) => Promise<number> }>;
}

export type Options = Readonly<Record<string, unknown>>;

/** What a command is given. */
export interface CommandInput {
  /** Its own row of the table. */
  readonly command: CommandSpec;
  readonly args: readonly string[];
  readonly options: Options;
  readonly io: Io;
}

/** The world as a command sees it. */
export interface Io {
  /** Prints a result: not when quiet. */
  print(text: string): void;
  /** Prints the one object of --json; nothing without --json. */
  json(value: unknown): void;
  readonly isJson: boolean;
  readonly isQuiet: boolean;
  /** Cells of a line of stdout; infinite when it is no terminal. */
  readonly width: number;
  readonly isTty: boolean;
  readonly signal: AbortSignal;
}

const isNumber = (text: string) => /^-?\d+(\.\d+)?$/.test(text);

/** How the text of a value is read. @throws bad-recipe; `flag` opens the message */
const readers = {
  text: (text: string) => text,
  /** A number, or a word that stands for one. */
  choice: (text: string) => (isNumber(text) ? Number(text) : text),
  number: (text: string, flag: string) => {
    if (isNumber(text)) return Number(text);
    throw new TersorError("bad-recipe", `${flag}: expected a number, got "${text}".`);
  },
  /** A JSON object or array, or a plain text as it is. */
  json: (text: string, flag: string) => {
    if (!/^\s*[{[]/.test(text)) return text;
    try {
      return parseJson(text);
    } catch (cause) {
      throw new TersorError("bad-recipe", `${flag}: not readable as JSON: ${(cause as Error).message}.`, { cause });
    }
  },
  /** `x=1,3,48,320`, several separated by a semicolon or given by repeating the flag. */
  shapes: (text: string, flag: string) =>
    Object.fromEntries(
      text.split(";").map((part) => {
        const [, name, dims] = /^(.+)=(\d+(?:,\d+)*|)$/.exec(part.trim()) ?? [];
        if (name === undefined || dims === undefined)
          throw new TersorError("bad-recipe", `${flag}: expected INPUT=SIZES such as x=1,3,224,224, got "${part}".`);
        return [name, dims === "" ? [] : dims.split(",").map(Number)];
      }),
    ),
} as const;

/** Flags of every command. */
export const globalFlags: readonly Flag[] = [
  { name: "json", summary: "print one JSON object on stdout and nothing else" },
  { name: "quiet", short: "q", summary: "print errors only" },
  { name: "verbose", summary: "show where an error comes from (or set TERSOR_DEBUG=1)" },
  { name: "help", short: "h", summary: "show this help" },
  { name: "version", short: "v", summary: "show the version" },
];

export interface ParsedArgs {
  readonly command: CommandSpec | undefined;
  readonly args: readonly string[];
  /** By option name; options that were not given are absent. */
  readonly options: Options;
}

/** @throws bad-recipe for an unknown command or flag, naming the nearest; a missing or superfluous value or argument */
export async function parseArgs(argv: readonly string[], commands: readonly CommandSpec[]): Promise<ParsedArgs> {
  const name = commandName(argv, commands);
  const command = commands.find((each) => each.name === name);
  if (name !== undefined && !command) {
    const near = await nearest(
      name,
      commands.map((each) => each.name),
    );
    throw new TersorError("bad-recipe", `"${name}": no such command${near} \`tersor --help\` lists them.`);
  }
  const flags = [...(command?.groups.flatMap((group) => group.flags) ?? []), ...globalFlags];
  const args: string[] = [];
  const options: Record<string, unknown> = {};
  let rest = false;
  for (let at = 0; at < argv.length; at++) {
    const token = argv[at] as string;
    if (rest || token === "-" || !token.startsWith("-")) {
      args.push(token);
      continue;
    }
    if (token === "--") {
      rest = true;
      continue;
    }
    const equals = token.startsWith("--") ? token.indexOf("=") : -1;
    const spelled = equals < 0 ? token : token.slice(0, equals);
    const flag = flags.find((each) => `--${each.name}` === spelled || `-${each.short}` === spelled);
    if (!flag) throw await unknownFlag(spelled, flags, command);
    const key = flag.option ?? camelCase(flag.name);
    if (flag.value === undefined) {
      if (equals >= 0) throw usage(`${spelled}: takes no value`, command);
      options[key] = flag.sets ?? true;
      continue;
    }
    const text = equals >= 0 ? token.slice(equals + 1) : argv[++at];
    const isFlag = equals < 0 && flags.some((each) => `--${each.name}` === text || `-${each.short}` === text);
    if (text === undefined || isFlag) throw usage(`${spelled}: expected a value (${flag.value})`, command);
    const value = readers[flag.type ?? "text"](text, spelled);
    const merges = flag.type === "shapes";
    options[key] = merges ? { ...(options[key] as object | undefined), ...(value as object) } : value;
  }
  args.shift();
  if (command && !options.help) checkArgs(args, command);
  return { command, args, options };
}

/** The first token that is neither a flag nor the value of one. */
function commandName(argv: readonly string[], commands: readonly CommandSpec[]): string | undefined {
  const valued = commands.flatMap((each) => each.groups.flatMap((group) => group.flags)).filter((flag) => flag.value);
  const takesNext = new Set(valued.flatMap((flag) => [`--${flag.name}`, ...(flag.short ? [`-${flag.short}`] : [])]));
  const at = argv.findIndex((token, i) => !token.startsWith("-") && !takesNext.has(argv[i - 1] ?? ""));
  return argv[at];
}

function checkArgs(args: readonly string[], command: CommandSpec): void {
  const { args: names, required } = command;
  if (args.length < required) throw usage(`${command.name}: ${names[args.length]} is missing`, command);
  if (args.length > names.length) throw usage(`${command.name}: unexpected argument "${args[names.length]}"`, command);
}

function usage(what: string, command: CommandSpec | undefined): TersorError {
  const advice = command ? `Usage: tersor ${command.name} ${command.usage}` : "`tersor --help` lists the options";
  return new TersorError("bad-recipe", `${what}. ${advice}.`);
}

async function unknownFlag(spelled: string, flags: readonly Flag[], command?: CommandSpec): Promise<TersorError> {
  const near = await nearest(
    spelled,
    flags.map((flag) => `--${flag.name}`),
  );
  const help = command ? `\`tersor ${command.name} --help\` lists the options` : "`tersor --help` lists the options";
  return new TersorError("bad-recipe", `${spelled}: unknown option${near} ${help}.`);
}

/** Loaded in the error case only. */
async function nearest(name: string, known: readonly string[]): Promise<string> {
  const { nearestNames } = await import("../util/nearest.ts");
  const names = nearestNames(name, known, 2);
  return names.length > 0 ? `: did you mean ${names.join(" or ")}?` : ".";
}

export function camelCase(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** How messages of schemas name an option: by the flag that sets it. */
export function flagNaming(command: CommandSpec): (path: readonly PropertyKey[]) => string {
  const flags = command.groups.flatMap((group) => group.flags);
  return (path) => {
    const flag = flags.find((each) => (each.option ?? camelCase(each.name)) === path[0]);
    // What lies inside of an option may have a flag of its own: --finetune-epochs.
    const inner = flag && path.length > 1 ? `${flag.name}-${String(path[1])}` : undefined;
    const own = flags.find(({ name }) => name === inner) ?? flag;
    return own ? `--${own.name}` : path.map(String).join(".");
  };
}
