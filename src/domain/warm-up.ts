// Lets the JavaScript engine compile the data path before the first guest uses it. Cold, the first thousands of messages take
// several times as long (docs "engine", Runtime), and with VMs booting there is no core left to compile on.

import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { InProcessPair, PAIR_MESSAGE_BYTES, type PairOperation } from "./in-process-pair.ts";

const OPERATIONS: readonly PairOperation[] = ["send", "write", "read", "atomic"];
const SMALL = 8;
/** Per operation and size, whichever comes first. */
const ROUNDS = 2_000;
const LIMIT_NS = 30e6;

/** Moves messages of every kind between two guests of its own. Takes at most a few hundred milliseconds. */
export function warmUp(clock: Clock, random: Random): void {
  const pair = new InProcessPair({ clock, random });
  for (const length of [SMALL, PAIR_MESSAGE_BYTES]) {
    for (const kind of OPERATIONS) {
      const once = pair.operation(kind, kind === "atomic" ? SMALL : length);
      const end = clock.nowNs() + LIMIT_NS;
      for (let i = 0; i < ROUNDS && clock.nowNs() < end; i++) once();
    }
  }
}
