// How far a run has come: what `vhca run` says while its VMs boot, and what is left to say if they never become ready.

import type { ProgressEvent } from "../lab/progress.ts";
import type { BootEvent } from "../lab/vm/vm.ts";
import { plural } from "./output.ts";
import type { ProgressLine } from "./progress.ts";

export class BootNews {
  readonly #progress: ProgressLine;
  readonly #events: ReadonlyMap<string, BootEvent[]>;
  #step: string | undefined;

  /** @param progress shows the news as they come */
  constructor(nodes: number, progress: ProgressLine) {
    this.#progress = progress;
    this.#events = new Map(Array.from({ length: nodes }, (_, i) => [`n${i + 1}`, []]));
  }

  /** What is being done, or was last. */
  get step(): string | undefined {
    return this.#step;
  }

  /** Of each VM what it has said, as in the JSON of a run whose VMs are ready; `seconds` counts from the start of this program. */
  get view(): { seconds: number; step: string | undefined; nodes: { node: string; events: readonly BootEvent[] }[] } {
    const seconds = Math.round(performance.now()) / 1000;
    return { seconds, step: this.#step, nodes: [...this.#events].map(([node, events]) => ({ node, events })) };
  }

  readonly onProgress = (event: ProgressEvent): void => {
    this.#step = event.step;
    this.#progress.show(event);
  };

  readonly onBootEvent = (node: string, event: BootEvent): void => {
    this.#events.get(node)?.push(event);
    this.onProgress({ step: `booting ${plural(this.#events.size, "VM")}`, detail: `${node} ${event.event}` });
  };
}
