// Progress of long work on standard error: one moving line on a terminal, one line per step elsewhere.

import ora, { type Ora } from "ora";
import type { ProgressEvent } from "../lab/progress.ts";

export class ProgressLine {
  #spinner: Ora | undefined;
  #lastStep = "";
  readonly #isQuiet: boolean;

  /** @param isQuiet say nothing at all (for --json) */
  constructor(isQuiet = false) {
    this.#isQuiet = isQuiet;
  }

  /** Shows what is being done now. */
  readonly show = (event: ProgressEvent): void => {
    if (this.#isQuiet) return;
    const percent = event.fraction === undefined ? "" : ` ${Math.floor(event.fraction * 100)} %`;
    const detail = event.detail === undefined ? "" : `: ${event.detail}`;
    if (process.stderr.isTTY) {
      this.#spinner ??= ora({ stream: process.stderr, discardStdin: false }).start();
      this.#spinner.text = `${event.step}${detail}${percent}`.slice(0, (process.stderr.columns ?? 80) - 4);
    } else if (event.step !== this.#lastStep) {
      process.stderr.write(`vhca: ${event.step}${detail}\n`);
    }
    this.#lastStep = event.step;
  };

  /** Takes the line away. */
  done(): void {
    this.#spinner?.stop();
    this.#spinner = undefined;
    this.#lastStep = "";
  }
}
