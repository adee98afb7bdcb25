/** @file Row of real speed: ResNet-56 at half the MACs, one thread, the models in turns. */
import { measureLatency } from "../../dist/evaluate/latency.js";
import { hostTensor } from "../../dist/tensor/host-tensor.js";
import { openSession } from "../zoo.mjs";
import { cut, openLab, timesFewer } from "./lab.mjs";

const BATCHES = [1, 8];

async function resnet56Speed(settings) {
  const lab = await openLab("resnet56", settings);
  const rows = [];
  const made = { dense: (await lab.make("dense", [{ simplify: {} }])).file };
  const fewer = {};
  for (const ranking of ["layer", "global"])
    for (const roundTo of [1, 8, 16]) {
      const name = `${ranking}, round to ${roundTo}`;
      const { file, reports } = await lab.make(`cut-${ranking}-${roundTo}`, [
        cut(0.5, { roundTo, ranking }),
        { simplify: {} },
      ]);
      made[name] = file;
      fewer[name] = timesFewer(reports[0]);
    }
  const depth = { prune: { structure: "blocks", criterion: "influence", ratio: 0.5, by: "macs", ...lab.calibration } };
  const { file, reports } = await lab.make("cut-blocks", [depth, { simplify: {} }]);
  made["whole blocks"] = file;
  fewer["whole blocks"] = timesFewer(reports[0]);
  for (const runtime of ["ort-node", "ort-web"])
    for (const batch of BATCHES) {
      const image = hostTensor("float32", [batch, 3, 32, 32], new Float32Array(batch * 3072).fill(0.5));
      const lanes = {};
      const sessions = [];
      for (const [name, file] of Object.entries(made)) {
        const session = await openSession(file, { runtime });
        sessions.push(session);
        lanes[name] = (runs) => session.time({ [session.inputs[0].name]: image }, runs);
      }
      const { models, ratios } = await measureLatency(lanes, { rounds: settings.samples ? 3 : 41, runs: 5 });
      for (const session of sessions) await session.release();
      for (const [name, { p50 }] of Object.entries(models))
        rows.push({
          network: `ResNet-56, ${runtime}, batch ${batch}`,
          what: name,
          "MACs, times fewer": fewer[name] ?? 1,
          "ms, p50": p50,
          "times faster": 1 / (ratios[name]?.ratio ?? 1),
        });
    }
  return rows;
}

export const speedRows = { "resnet56-speed": resnet56Speed };
