// What is asked of a native process, and what it answers: a line of JSON each.

export interface NativeTest {
  readonly kind: "latency" | "bandwidth" | "events" | "registration" | "commands" | "messages";
  /** Of latency, bandwidth and events. */
  readonly operation: "send" | "write";
  readonly sizes: readonly number[];
  readonly iterations: number;
}

/** For each size: µs one way (latency, events, commands, messages), MB/s (bandwidth), or µs of registering and of deregistering. */
export type NativeResult = readonly { readonly x: number; readonly y: number; readonly second?: number }[];
