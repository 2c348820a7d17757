// A headless Chromium of this machine, for tests that look at a page. Nothing is installed here: CI does that (.ci/run).

import { type Browser, chromium } from "playwright-core";
import { findProgram } from "../../src/lab/run-command.ts";

const NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/** The browser's program, or undefined where there is none. */
export const findChromium = (): string | undefined => NAMES.map((name) => findProgram(name)).find((file) => file !== undefined);

/** What a test says that was skipped for want of a browser; false where there is one. */
export const withoutChromium = (): string | false =>
  findChromium() === undefined ? `none of ${NAMES.join(", ")} on this machine: apt-get install chromium-headless-shell` : false;

/** Starts the browser; it has nothing to look for outside this machine. */
export function startChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error("no Chromium");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
}
