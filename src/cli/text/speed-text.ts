/** @file The time of a result against its original's, in a line; where it is slower, why, and what to do. */

import type { FitLatencyReport } from "../../recipe/judge/fit-latency.ts";
import type { SpeedReport } from "../../recipe/judge/speed.ts";
import { formatMs, type Palette, plural } from "./render.ts";

/** Empty where nothing was timed. */
export function speedText(speed: SpeedReport | undefined, colors: Palette): string {
  if (!speed) return "";
  const { before, after, ratio, low, high, slower } = speed;
  const times = `${formatMs(before)} → ${formatMs(after)}, ×${ratio.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)}; one thread, this machine)`;
  const title = colors.bold("Time");
  return slower ? `${title} ${colors.yellow("slower")}: ${times}\n  ${slower}.` : `${title}: ${times}`;
}

/** What the clock decided. */
export function fitLatencyText({ ratio, ratioAsAsked, trials, layers }: FitLatencyReport, colors: Palette): string {
  const kept = layers.filter(({ keep }) => keep).length;
  return `${colors.bold("Fitted to the clock")}: ×${ratioAsAsked.toFixed(2)} with all layers, ×${ratio.toFixed(2)} with ${plural(kept, "layer")} of ${layers.length} float (${plural(trials, "trial")}). fitLatency.layers in the manifest, as the step's layers, gives the same bytes again.`;
}
