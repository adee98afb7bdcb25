/**
 * @file What pruning costs once the network was trained after it, and what it brings in MACs, milliseconds and bytes.
 *
 * Usage: node bench/prune-train.mjs --only ROW [--seed N] [--threads N] [--samples N] [--epochs N] [--json FILE] [--shared FOLDER]
 *        node bench/prune-train.mjs --table FILE…
 * Needs `npm run build`. A row is a training or several, of minutes. --samples and --epochs make one shorter, to see that it runs.
 * What is judged was never trained or calibrated on, and decides nothing: a tenth of the training images chooses the epoch; without labels the last one counts.
 */
import { markdown } from "./measure.mjs";
import { bytesRows } from "./prune-train/bytes-rows.mjs";
import { curveRows } from "./prune-train/curve-rows.mjs";
import { speedRows } from "./prune-train/speed-rows.mjs";
import { trainRows } from "./prune-train/train-rows.mjs";
import { singleRows } from "./single-rows.mjs";

const rows = { ...trainRows, ...curveRows, ...bytesRows, ...speedRows };

/** A table for each network, with a line for each thing that was done to it: the mean over seeds, and between what they lie. */
function tables(runs) {
  const networks = new Map();
  const inOrder = Object.keys(rows).flatMap((name) => runs.get(name) ?? []);
  for (const { network, what, ...numbers } of inOrder.flatMap(({ results }) => results)) {
    const lines = networks.get(network) ?? new Map();
    networks.set(network, lines.set(what, [...(lines.get(what) ?? []), numbers]));
  }
  return [...networks].map(([network, lines]) => tableOf(network, lines));
}

function tableOf(network, lines) {
  const columns = [...new Set([...lines.values()].flat().flatMap(Object.keys))];
  const body = [...lines].map(([what, seeds]) => [what, ...columns.map((column) => cell(seeds, column))]);
  return markdown([network, ...columns], body);
}

function cell(seeds, column) {
  const values = seeds.flatMap((each) => (each[column] === undefined ? [] : [each[column]]));
  if (values.length === 0) return "";
  const text = (value) => (Number.isInteger(value) ? `${value}` : value.toFixed(2));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return low === high ? text(mean) : `${mean.toFixed(2)} (${text(low)}–${text(high)})`;
}

const named = ([name, row]) => [name, async (settings) => ({ results: await row(settings) })];
await singleRows(Object.fromEntries(Object.entries(rows).map(named)), tables);
