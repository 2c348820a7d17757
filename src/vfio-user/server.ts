// A vfio-user server: one listening socket, one device, one client at a time.
//
// It never waits: whoever owns it calls `poll` again and again, between other work, and may sleep in a Poller on `watch`. A
// client that comes while another is being served waits in the socket's queue until that one has gone.

import { newCounters } from "../base/counters.ts";
import { type Log, limitWarnings, silentLog } from "../base/log.ts";
import { systemClock } from "../host/clock.ts";
import { PollEvent, type Poller, waitFor } from "../host/poller.ts";
import { SharedMemoryRegistry } from "../host/shared-memory.ts";
import { UnixListener } from "../host/unix-socket.ts";
import { REGION_COUNT } from "../spec/vfio-user/numbers.ts";
import { allocateBuffers, Connection, type MessageBuffers, releaseBuffers } from "./connection.ts";
import { ServerCounter } from "./counters.ts";
import type { VfioUserDevice } from "./device.ts";
import { IrqTable } from "./irq-table.ts";
import { Session, type SessionContext } from "./session.ts";

const PAGE_BYTES = 4096;
/** How many calls of `poll` go by between looks for a second client. */
const POLLS_PER_LOOK = 4096;

export interface ServerOptions {
  /** Where to listen, at most 107 bytes. A socket file that nobody listens on is replaced. */
  readonly path: string;
  readonly log?: Log;
  /** Storage for the counters, in slots of `ServerCounter`; may be shared with another thread. */
  readonly counters?: Float64Array;
  /** Share one among the servers of a process, so that a VM with several devices is mapped once. */
  readonly registry?: SharedMemoryRegistry;
}

/** Shared by all servers of this thread that are not given their own. */
const defaultRegistry = new SharedMemoryRegistry();

export class VfioUserServer {
  readonly path: string;
  /** Slots of `ServerCounter`. */
  readonly counters: Float64Array;
  readonly #listener: UnixListener;
  readonly #buffers: MessageBuffers;
  readonly #context: SessionContext;
  #session: Session | undefined;
  #pollsUntilLook = POLLS_PER_LOOK;
  #clientPid = 0;
  #isClosed = false;

  /**
   * Starts listening.
   * @throws SystemError if it cannot, Error if the device describes itself wrongly.
   */
  constructor(device: VfioUserDevice, options: ServerOptions) {
    assertRegions(device);
    this.path = options.path;
    this.counters = options.counters ?? newCounters(ServerCounter);
    const log = limitLog(prefixLog(options.log ?? silentLog, `vfio-user ${options.path}: `));
    this.#context = {
      device,
      irqs: new IrqTable(device.irqCounts, this.counters),
      registry: options.registry ?? defaultRegistry,
      counters: this.counters,
      log,
    };
    this.#listener = new UnixListener(options.path);
    this.#buffers = allocateBuffers();
  }

  /** True while a client is being served. */
  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  /** The process of the present client; 0 if there is none, or if it cannot be told. */
  get clientPid(): number {
    return this.#session === undefined ? 0 : this.#clientPid;
  }

  /**
   * Serves whoever is there, bounded and without waiting; an idle call costs about 300 ns with a client (recvmsg)
   * and 400 ns without (ppoll), and allocates nothing.
   * @returns how many messages were handled, plus 1 if a client came or went.
   */
  poll(): number {
    const session = this.#session;
    if (session === undefined) return this.#accept();
    const done = session.poll();
    if (session.isOver) {
      this.disconnect();
      return done + 1;
    }
    if (--this.#pollsUntilLook === 0) this.#lookForOthers();
    return done;
  }

  /** Adds what this server waits for to a poller: when it fires, `poll` has something to do. */
  watch(poller: Poller): void {
    const connection = this.#session?.connection;
    if (connection === undefined) poller.add(this.#listener.descriptor, PollEvent.IN);
    else poller.add(connection.socket.descriptor, connection.isSending ? PollEvent.OUT : PollEvent.IN);
  }

  /** Ends the present session; the client finds its socket closed. */
  disconnect(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#session = undefined;
    session.close();
    this.#context.log.info("client gone");
  }

  /** Ends the session, stops listening and removes the socket file. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.disconnect();
    this.#listener.close();
    releaseBuffers(this.#buffers);
  }

  #accept(): number {
    // accept makes a socket before it looks whether anybody is there, so asking first is four times cheaper
    if (this.#isClosed || !waitFor(this.#listener.descriptor, PollEvent.IN, 0)) return 0;
    const socket = this.#listener.accept();
    if (socket === undefined) return 0;
    this.#pollsUntilLook = POLLS_PER_LOOK;
    this.#clientPid = socket.peerPid();
    this.#session = new Session(new Connection(socket, this.#buffers), this.#context);
    this.#context.log.info("client connected");
    return 1;
  }

  #lookForOthers(): void {
    this.#pollsUntilLook = POLLS_PER_LOOK;
    if (!waitFor(this.#listener.descriptor, PollEvent.IN, 0)) return;
    this.#context.log.warn("another client waits; it is served when the present one has gone");
    // once is enough
    this.#pollsUntilLook = -1;
  }
}

/** @throws Error if a region could not be served or mapped. */
function assertRegions(device: VfioUserDevice): void {
  if (device.regions.length > REGION_COUNT) throw new Error(`device: expected at most ${REGION_COUNT} regions`);
  device.regions.forEach((region, index) => {
    if (region === undefined) return;
    const whole = { offset: 0, sizeBytes: region.sizeBytes };
    const areas = region.mapping === undefined ? [] : (region.mapping.areas ?? [whole]);
    for (const { offset, sizeBytes } of areas) {
      const isAligned = [offset, sizeBytes, region.mapping?.offset ?? 0].every((value) => value >= 0 && value % PAGE_BYTES === 0);
      if (isAligned && sizeBytes > 0 && offset + sizeBytes <= region.sizeBytes) continue;
      throw new Error(`device: region ${index}: expected mappable areas of whole pages inside its ${region.sizeBytes} bytes`);
    }
  });
}

/** A client that comes and goes all the time must not flood the log either. */
function limitLog(log: Log): Log {
  const { warn } = limitWarnings(log, systemClock.nowNs);
  const { warn: info } = limitWarnings({ ...log, warn: log.info }, systemClock.nowNs);
  return { debug: log.debug, info, warn };
}

function prefixLog(log: Log, prefix: string): Log {
  return {
    debug: (message) => log.debug(prefix + message),
    info: (message) => log.info(prefix + message),
    warn: (message) => log.warn(prefix + message),
  };
}
