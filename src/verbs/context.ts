// An open HCA: from here everything else is made. It is also the guest's kernel of this HCA: it answers management datagrams and
// passes events on, whenever somebody waits, polls with `service`, or lets it serve by itself. IBA vol 1, 11.2.1.

import type { Clock } from "../base/clock.ts";
import { Random } from "../base/random.ts";
import type { DeviceAccess } from "../driver/access.ts";
import { Device, type DeviceOptions } from "../driver/device.ts";
import { ManagementAgent } from "../driver/management-agent.ts";
import { type AsyncEvent, asyncEventOf } from "./async-event.ts";
import { ConnectionManager } from "./cm/manager.ts";
import { CompletionChannel } from "./completion-channel.ts";
import { CompletionQueue, type CqOptions } from "./completion-queue.ts";
import { DmaMemory } from "./dma-memory.ts";
import { asVerb, VerbsError } from "./error.ts";
import { GeneralMads } from "./general-mads.ts";
import { type JoinOptions, MulticastMember, type MulticastMembership } from "./multicast.ts";
import { VerbsObject } from "./object.ts";
import { findPath, type Path, type PathOptions, type PathTarget } from "./path.ts";
import {
  type DeviceAttributes,
  type PortAttributes,
  type PortStateName,
  queryDevice,
  queryGid,
  queryPkey,
  queryPort,
} from "./port.ts";
import { ProtectionDomain } from "./protection-domain.ts";
import type { QueuePair } from "./queue-pair.ts";
import { SaClient } from "./sa.ts";
import type { SharedReceiveQueue } from "./shared-receive-queue.ts";
import { machineClock, Timers } from "./timers.ts";

/** How long a wait may last before everything is looked at again: an interrupt that was missed costs no more. */
const WAIT_MS = 50;
const EVENTS_KEPT = 1024;
const PORT_TIMEOUT_MS = 10_000;

export interface ContextOptions extends DeviceOptions {
  /** Of timers: when a request is sent again, when it is given up. The machine's own by default. */
  readonly clock?: Clock;
  /** Of transaction and communication ids and packet sequence numbers; unpredictable by default. */
  readonly random?: Random;
}

export interface UntilOptions {
  /** For errors: what is waited for. */
  readonly what: string;
  readonly timeoutMs?: number;
  /** Called before each wait: asks the device for an interrupt. */
  readonly arm?: () => void;
}

export class Context extends VerbsObject {
  /** @internal the driver below */
  readonly device: Device;
  /** @internal */
  readonly agent: ManagementAgent;
  /** @internal general MADs: who handles which */
  readonly mads: GeneralMads;
  /** @internal */
  readonly timers: Timers;
  /** @internal */
  readonly random: Random;
  /** @internal */
  readonly sa: SaClient;
  /** The connection manager; what it has counted. */
  readonly cm: ConnectionManager;
  /** @internal for the buffers of CQs */
  readonly internalPd: number;
  /** Live objects by their numbers. */
  readonly qps = new Map<number, QueuePair>();
  readonly cqs = new Map<number, CompletionQueue>();
  readonly srqs = new Map<number, SharedReceiveQueue>();
  /** Asynchronous events that were thrown away because nobody took them. */
  lostEvents = 0;
  readonly #access: DeviceAccess;
  readonly #events: AsyncEvent[] = [];
  readonly #multicast: MulticastMember;
  readonly #background = new Set<() => number>();

  /**
   * Resets the HCA behind `access` and starts it. The subnet manager brings its port up while somebody waits: `portActive`.
   * @throws VerbsError ENODEV if the device is no MT25204
   */
  constructor(access: DeviceAccess, options: ContextOptions = {}) {
    super([]);
    this.#access = access;
    this.device = asVerb(() => new Device(access, options));
    this.internalPd = asVerb(() => this.device.allocatePd());
    this.agent = asVerb(() => new ManagementAgent(this.device));
    const { clock = machineClock, random = new Random(unpredictable()) } = options;
    this.random = random;
    this.timers = new Timers(clock);
    this.mads = new GeneralMads(this.agent);
    this.sa = new SaClient({
      ...{ mads: this.mads, timers: this.timers, random },
      manager: () => this.#manager(),
      until: (test, options) => this.until(test, options),
    });
    this.cm = new ConnectionManager(this);
    this.#multicast = new MulticastMember(this.sa);
    this.addBackground(() => (this.device.commands.isBusy ? 0 : this.timers.serve()));
    access.background = () => this.agent.run() + this.#takeEvents() + this.#workInBackground();
  }

  get label(): string {
    return "HCA";
  }

  // ---- what it is -------------------------------------------------------------------------------------------------------

  queryDevice(): DeviceAttributes {
    return queryDevice(this.device);
  }

  /** @param portNum from 1 */
  queryPort(portNum = 1): PortAttributes {
    return queryPort(this.device, portNum);
  }

  /** A GID of the port, 16 bytes: the subnet's prefix and the port's GUID number `index`. */
  queryGid(portNum = 1, index = 0): Uint8Array {
    return queryGid(this.device, portNum, index);
  }

  queryPkey(portNum = 1, index = 0): number {
    return queryPkey(this.device, portNum, index);
  }

  /**
   * Waits until the subnet manager has made the port ACTIVE.
   * @returns its attributes
   * @throws VerbsError ETIMEDOUT after `timeoutMs` (10 s)
   */
  async portActive(portNum = 1, timeoutMs = PORT_TIMEOUT_MS): Promise<PortAttributes> {
    const wanted: PortStateName = "ACTIVE";
    return this.until(
      () => {
        const port = this.queryPort(portNum);
        return port.state === wanted ? port : undefined;
      },
      { timeoutMs, what: `port ${portNum} to become ACTIVE: is a subnet manager running?` },
    );
  }

  // ---- what the subnet administration knows ------------------------------------------------------------------------------

  /**
   * Asks for the path to another port.
   * @throws VerbsError EHOSTUNREACH if there is none, ETIMEDOUT if the subnet administration does not answer (7.75 s)
   */
  queryPath(target: PathTarget, options: PathOptions = {}): Promise<Path> {
    return findPath(this.sa, this.queryGid(), target, options);
  }

  /**
   * Makes the port a full member of a multicast group; with `qkey` the group is created if it does not exist.
   * Then `qp.attachMcast(mgid)` receives, and `pd.createAh(membership.address)` is the way to send.
   * @param mgid 16 bytes, the first 0xff
   * @throws VerbsError EINVAL if the group does not exist or does not fit `options`, ENOMEM if there are too many groups, ETIMEDOUT
   */
  joinMulticast(mgid: Uint8Array, options: JoinOptions = {}): Promise<MulticastMembership> {
    return this.#multicast.join(mgid, this.queryGid(), options);
  }

  #manager(): { dlid: number; sl: number } {
    const { smLid, smSl, state } = this.queryPort();
    if (smLid !== 0) return { dlid: smLid, sl: smSl };
    throw new VerbsError("EHOSTUNREACH", `no subnet manager has been here: the port is ${state}; wait for portActive()`);
  }

  // ---- what it makes ----------------------------------------------------------------------------------------------------

  /**
   * Memory that the device can reach, zeroed.
   * @throws VerbsError ENOMEM if the memory of this context (`memoryBytes` at opening) is used up
   */
  allocMemory(bytes: number): DmaMemory {
    if (!(Number.isInteger(bytes) && bytes > 0)) throw new VerbsError("EINVAL", `allocMemory: ${bytes} bytes`);
    return new DmaMemory(this, bytes);
  }

  allocPd(): ProtectionDomain {
    return new ProtectionDomain(this);
  }

  createCompChannel(): CompletionChannel {
    return new CompletionChannel(this);
  }

  /** @param cqe completions it must hold; more than that and it overruns, with a CQ_ERR event */
  createCq(cqe: number, options: CqOptions = {}): CompletionQueue {
    return new CompletionQueue(this, cqe, options);
  }

  // ---- events -----------------------------------------------------------------------------------------------------------

  /** Waits for an asynchronous event. */
  getAsyncEvent(options: { timeoutMs?: number } = {}): Promise<AsyncEvent> {
    return this.until(() => this.#events.shift(), { ...options, what: "an asynchronous event" });
  }

  /** Asynchronous events for as long as the loop goes on. */
  async *asyncEvents(): AsyncIterableIterator<AsyncEvent> {
    for (;;) yield await this.getAsyncEvent();
  }

  #takeEvents(): number {
    const { asyncEvents } = this.device;
    if (asyncEvents.length === 0) return 0;
    const taken = asyncEvents.splice(0);
    for (const event of taken) {
      const known = asyncEventOf(this, event);
      if (known === undefined) continue;
      this.#events.push(known);
      if (this.#events.length <= EVENTS_KEPT) continue;
      this.#events.shift();
      this.lostEvents++;
    }
    return taken.length;
  }

  // ---- time to work -----------------------------------------------------------------------------------------------------

  /**
   * Does what a kernel would do in the background: interrupts, management datagrams, timers. Programs that spin on a CQ for long
   * call it now and then; all that wait do it by themselves.
   * @returns how much there was to do
   */
  service(): number {
    this.assertAlive("to serve it");
    return this.#access.poll();
  }

  /** @internal adds work to `service`, until what it returns is called */
  addBackground(work: () => number): () => void {
    this.#background.add(work);
    return () => {
      this.#background.delete(work);
    };
  }

  #workInBackground(): number {
    let done = 0;
    for (const work of this.#background) done += work();
    return done;
  }

  /** Serves from now on whenever the event loop is free, until `close`. What goes wrong there goes to `onError`. */
  startServing(onError: (error: unknown) => void = rethrow): void {
    const serve = async (): Promise<void> => {
      while (!this.isDestroyed && !this.isGone) {
        while (this.#access.poll() > 0);
        await this.#access.wait(WAIT_MS);
      }
    };
    serve().catch(onError);
  }

  /**
   * @internal Serves until `test` returns something.
   * @throws VerbsError ETIMEDOUT, ECANCELED if the context is closed meanwhile
   */
  async until<T>(test: () => T | undefined, { what, timeoutMs = Number.POSITIVE_INFINITY, arm }: UntilOptions): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      if (this.isDestroyed) throw new VerbsError("ECANCELED", `the HCA was closed while waiting for ${what}`);
      const work = this.#access.poll();
      let found = test();
      if (found !== undefined) return found;
      if (this.isGone) throw deviceGone(what);
      if (work > 0) continue;
      arm?.();
      found = test();
      if (found !== undefined) return found;
      if (Date.now() >= deadline) throw timedOut(what, timeoutMs);
      await this.#access.wait(Math.min(WAIT_MS, Math.max(1, deadline - Date.now())));
    }
  }

  /** @internal the same without letting anybody else run */
  untilSync<T>(test: () => T | undefined, timeoutMs: number, what: string): T {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = test();
      if (found !== undefined) return found;
      if (this.isGone) throw deviceGone(what);
      if (Date.now() >= deadline) throw timedOut(what, timeoutMs);
      this.#access.settle();
      this.service();
    }
  }

  /**
   * Shuts the HCA down.
   * @throws VerbsError EBUSY naming what is left of it
   */
  close(): void {
    this.destroy();
  }

  /** The device domain has ended or has taken the HCA away: all that is left to do is to close. */
  get isGone(): boolean {
    return this.#access.isGone;
  }

  protected release(): void {
    this.#access.background = () => 0;
    try {
      asVerb(() => this.device.close());
    } finally {
      this.#access.close();
    }
  }
}

const deviceGone = (what: string): VerbsError => new VerbsError("ENODEV", `the device has gone away while waiting for ${what}`);
const timedOut = (what: string, timeoutMs: number): VerbsError =>
  new VerbsError("ETIMEDOUT", `waited ${timeoutMs} ms in vain for ${what}`);

/** A seed that nobody guesses. */
const unpredictable = (): number => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

function rethrow(error: unknown): void {
  throw error;
}
