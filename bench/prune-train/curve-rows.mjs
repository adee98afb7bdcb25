/** @file Rows of curves: a metric against the share that was cut, before and after recovery and a short distillation. */
import { cut, onData, openLab } from "./lab.mjs";

/** A curve: the metric against the ratio, cut, recovered, and after a short distillation without labels. */
const curve =
  (task, network, { by, ratios, epochs }) =>
  async (settings) => {
    const lab = await openLab(task, settings);
    const name = `${network}: ${lab.metric}`;
    const dense = await lab.judge(lab.model);
    const rows = [{ network: name, what: "dense", "l1 per layer": dense }];
    for (const ratio of ratios) {
      const plain = await lab.make("plain", [cut(ratio, { by })]);
      const solved = await lab.make("solved", [cut(ratio, { ...onData(lab), by })]);
      const learnt = await lab.make("learnt", [cut(ratio, { ...onData(lab), by }), lab.distill(epochs)]);
      rows.push({
        network: name,
        what: `${100 * ratio} % of ${by} cut`,
        "l1 per layer": await lab.judge(plain.file),
        "on data, least squares": await lab.judge(solved.file),
        [`… distilled, ${lab.epochs(epochs)} epochs`]: await lab.judge(learnt.file),
      });
    }
    return rows;
  };

export const curveRows = {
  keywords: curve("keywords", "DS-CNN", { by: "macs", ratios: [0.2, 0.4, 0.6, 0.8], epochs: 20 }),
  stories: curve("stories", "stories260K", { by: "params", ratios: [0.1, 0.2, 0.3, 0.5], epochs: 6 }),
};
