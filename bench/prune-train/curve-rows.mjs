/** @file Rows of curves: a metric against the share that was cut, before and after recovery and a short distillation. */
import { cut, openLab, timesFewer } from "./lab.mjs";

/** A curve: the metric against the ratio, cut, recovered, and after a distillation without labels. `how`: options of the cut. */
const curve =
  (task, network, { ratios, epochs, how }) =>
  async (settings) => {
    const lab = await openLab(task, settings);
    const { structure = "channels", by } = how;
    const name = `${network}: ${lab.metric}`;
    const dense = await lab.judge(lab.model);
    const rows = [{ network: name, what: "dense", "l1 per layer": dense }];
    for (const ratio of ratios) {
      const plain = await lab.make("plain", [cut(ratio, { structure, by })]);
      const solved = await lab.make("solved", [cut(ratio, { ...lab.calibration, ...how })]);
      const learnt = await lab.make("learnt", [lab.distill(epochs, { teacher: lab.model })], solved.file);
      rows.push({
        network: name,
        what: `${(100 * ratio).toFixed(0)} % of ${structure === "heads" ? "heads" : by} cut`,
        "MACs, times fewer": timesFewer(solved.reports[0]),
        "l1 per layer": await lab.judge(plain.file),
        "on data, least squares": await lab.judge(solved.file),
        [`… distilled, ${lab.epochs(epochs)} epochs`]: await lab.judge(learnt.file),
      });
    }
    return rows;
  };

/** Where one group carries all layers, as a transformer's residual stream does, each group's share is set by what it costs. */
const bySensitivity = { by: "params", ranking: "sensitivity" };

export const curveRows = {
  keywords: curve("keywords", "DS-CNN", { ratios: [0.2, 0.4, 0.6, 0.8], epochs: 20, how: { by: "macs" } }),
  stories: curve("stories", "stories260K", { ratios: [0.1, 0.2, 0.3, 0.5], epochs: 30, how: bySensitivity }),
  heads: curve("stories", "stories260K, heads", {
    ratios: [0.2, 0.4, 0.6],
    epochs: 30,
    how: { structure: "heads", by: "channels" },
  }),
};
