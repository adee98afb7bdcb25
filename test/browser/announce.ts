/** @file Says, before the browser tier begins, when there is no browser for it. */
import { chromiumPath } from "./browser.ts";

export function setup(): void {
  if (!chromiumPath) process.stderr.write("No Chromium: all is skipped. Install chromium, or set CHROMIUM_PATH.\n");
}
