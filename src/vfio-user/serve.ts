// For programs that are a device and little else: serve it, and let Node's event loop go on.

import { Poller } from "../host/poller.ts";
import type { VfioUserDevice } from "./device.ts";
import { type ServerOptions, VfioUserServer } from "./server.ts";

/** Turns that find work follow each other at once, this many, before the event loop has its turn. */
const TURNS_PER_TICK = 64;
/** Longest sleep between two turns of the event loop; a message ends it at once. */
const MAX_SLEEP_NS = 1_000_000;
/** Shortest sleep, for devices that look at shared memory. */
const MIN_SLEEP_NS = 20_000;

export interface ServeOptions extends ServerOptions {
  /** Stops serving when it is aborted. */
  readonly signal?: AbortSignal;
  /**
   * Work the device does by itself, such as looking at mapped doorbells; called all the time. Returns how much it did, so
   * that an idle device lets the CPU rest (for up to 1 ms at a time).
   */
  readonly sweep?: () => number;
}

/** A device being served. */
export interface Serving {
  readonly server: VfioUserServer;
  /** Stops: the client is sent away and the socket file removed. */
  close(): void;
  /** Settles when serving has stopped; rejects if the device threw. */
  readonly closed: Promise<void>;
}

/**
 * Serves a device on a UNIX socket from this thread until `close`.
 * @throws SystemError if it cannot listen there.
 */
export function serve(device: VfioUserDevice, options: ServeOptions): Serving {
  const server = new VfioUserServer(device, options);
  const poller = new Poller(1);
  let resolve = (): void => {};
  let reject: (error: unknown) => void = () => {};
  const closed = new Promise<void>((onClosed, onFailed) => {
    resolve = onClosed;
    reject = onFailed;
  });
  let isClosed = false;
  let sleepNs = MIN_SLEEP_NS;

  const close = (): void => {
    if (isClosed) return;
    isClosed = true;
    server.close();
    resolve();
  };
  const fail = (error: unknown): void => {
    reject(error);
    close();
  };
  const tick = (): void => {
    if (isClosed) return;
    try {
      if (turn()) sleepNs = MIN_SLEEP_NS;
      else sleep();
    } catch (error) {
      fail(error);
      return;
    }
    setImmediate(tick);
  };
  const turn = (): boolean => {
    let done = 0;
    for (let i = 0; i < TURNS_PER_TICK; i++) {
      const now = server.poll() + (options.sweep?.() ?? 0);
      if (now === 0) break;
      done += now;
    }
    return done > 0;
  };
  const sleep = (): void => {
    poller.clear();
    server.watch(poller);
    poller.wait(options.sweep === undefined ? MAX_SLEEP_NS : sleepNs);
    sleepNs = Math.min(sleepNs * 2, MAX_SLEEP_NS);
  };

  if (options.signal?.aborted) close();
  options.signal?.addEventListener("abort", close, { once: true });
  setImmediate(tick);
  return { server, close, closed };
}
