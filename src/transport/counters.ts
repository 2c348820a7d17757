// What one HCA counts. Every error a guest can cause has a name here.

import { counterSlots } from "../base/counters.ts";

export const AdapterCounter = counterSlots(
  "sends",
  "receives",
  "rdmaWrites",
  "rdmaReads",
  "atomics",
  "bytes",
  "completions",
  "doorbells",
  "doorbellsIgnored",
  "recordSweepHits",
  "commands",
  "commandErrors",
  "events",
  "interrupts",
  "eqOverflows",
  "requesterErrors",
  "responderErrors",
  "rnrWaits",
  "noAnswerWaits",
  "droppedNoReceive",
  "droppedQkey",
  "droppedPkey",
  "droppedNoQp",
  "droppedTooLong",
  "droppedUnreachable",
  "droppedBadPacket",
  "flushed",
  "badIndices",
);
