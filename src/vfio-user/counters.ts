// What a server counts. The first slots are messages by command number (spec/vfio-user/numbers.ts, Command), so a message is
// counted with `counters[command]`.

import { counterSlots } from "../base/counters.ts";

export const ServerCounter = counterSlots(
  /** Commands this program does not know. */
  "unknown",
  "version",
  "dmaMap",
  "dmaUnmap",
  "deviceGetInfo",
  "deviceGetRegionInfo",
  "deviceGetRegionIoFds",
  "deviceGetIrqInfo",
  "deviceSetIrqs",
  "regionRead",
  "regionWrite",
  "dmaRead",
  "dmaWrite",
  "deviceReset",
  "dirtyPages",
  "regionWriteMulti",
  "deviceFeature",
  "migDataRead",
  "migDataWrite",
  "messagesIn",
  "messagesOut",
  "bytesIn",
  "bytesOut",
  /** Error replies, and errors of commands that wanted no reply. */
  "errors",
  /** Of these: what the client sent is wrong (EINVAL). */
  "refusedInvalid",
  /** It asked for something that this server does not have (ENOTSUP); clients find out that way. */
  "refusedUnsupported",
  /** Memory, descriptors or ranges could not be had. */
  "refusedOther",
  /** Replies, though this server never asks. */
  "unexpectedReplies",
  /** Sessions ended because the byte stream made no sense. */
  "framingErrors",
  /** Sessions that ended in the middle of a message. */
  "truncatedMessages",
  /** Ranges of DMA addresses without memory that the device could reach. */
  "unreachableRanges",
  /** Clients that completed the version negotiation. */
  "sessions",
  /** Eventfds written. */
  "interrupts",
  /** Interrupts that had to wait for an eventfd or an unmask. */
  "interruptsPending",
  /** Interrupts of vectors that the device does not have. */
  "interruptsUnroutable",
);
/** One past the last slot that is a command number. */
export const COMMAND_SLOTS = ServerCounter.migDataWrite + 1;

/** Adds to a counter; slots are always in range. */
export function countUp(values: Float64Array, slot: number, by = 1): void {
  values[slot] = (values[slot] ?? 0) + by;
}
