// The device domain: the fabric, its HCAs and their vfio-user sessions, owned by one thread. Nothing here waits: `sweep`
// does what there is to do, and whoever calls it decides when to sleep.

import type { Clock } from "../base/clock.ts";
import { countersObject, newCounters } from "../base/counters.ts";
import { NotFoundError, type Page } from "../base/inspect.ts";
import { type Log, limitWarnings } from "../base/log.ts";
import { guidText } from "../base/names.ts";
import type { Random } from "../base/random.ts";
import type { CaPort } from "../fabric/ca-port.ts";
import { type FabricView, inspectNodes, type NodeView } from "../fabric/inspect.ts";
import { inspectLinks, type LinkView } from "../fabric/inspect-links.ts";
import { LabFabric } from "../fabric/lab-fabric.ts";
import { type FabricOperation, operateFabric } from "../fabric/operations.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { TopologyFabric } from "../fabric/topology-fabric.ts";
import type { Events } from "../hca/events.ts";
import type { Quota } from "../hca/limits.ts";
import { SystemState } from "../hca/system-state.ts";
import { Poller } from "../host/poller.ts";
import { SharedMemoryRegistry } from "../host/shared-memory.ts";
import { IbsimServer } from "../ibsim/server.ts";
import type { ChosenOptions } from "../sm/options.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { Engine } from "../transport/engine.ts";
import { type DataPath, Network } from "../transport/network.ts";
import { ServerCounter } from "../vfio-user/counters.ts";
import { VfioUserServer } from "../vfio-user/server.ts";
import { CapturedPort, type CaptureOptions, openCaptureRing } from "./capture-buffer.ts";
import { setDataPath } from "./data-path.ts";
import { type EnginePlace, newEngineFabric, newTopologyFabric, ONLY_ENGINE } from "./engine-fabric.ts";
import { EngineLink } from "./engine-link.ts";
import { Faults, type FaultTarget } from "./faults/faults.ts";
import { type FaultOperation, type FaultsView, operateFaults } from "./faults/operations.ts";
import { HcaFunction } from "./hca-function.ts";
import { answerInspect, type InspectQuestion } from "./inspect.ts";
import type { TrunkOptions } from "./protocol.ts";

/** Sockets are looked at this often while the engine is awake: a look is a system call, a sweep is not. */
const SOCKET_LOOK_NS = 50_000;
/**
 * … and this often where guests have been at work lately and no message has come for some time: the look takes as long as several small
 * messages.
 */
const HASTY_SOCKET_LOOK_NS = 1_000_000;
const SOCKET_CALM_NS = 20_000_000;
/** After so long without work of guests the engine has time for thorough sweeps, and for everybody, … */
const HASTE_NS = 10_000;
/** … and after so long for their sockets, too. */
const SOCKET_HASTE_NS = 1_000_000;
/** Sleeps between two looks at what makes no socket ready. */
const SLEEPS_PER_SERVER = 32;
/** After a message the next one is waited for this long, at every sweep: one whose registers are trapped sends one after the other. */
const SOCKET_EAGER_NS = 100_000;
/** Polls without work after which an HCA counts as quiet: some milliseconds. */
const BUSY_POLLS = 10_000;
/** Hasty sweeps to one look at an HCA that has been quiet: all that it touches has left the cache, so the look is dear. */
const SWEEPS_PER_QUIET_HCA = 4;
/** Nodes of the fabric described between two sweeps. */
const NODES_AT_ONCE = 16;
/** Links, which are small. */
const LINKS_AT_ONCE = 128;
/** Management packets carried in one sweep. */
const FABRIC_BUDGET = 64;

export interface HcaOptions {
  name: string;
  /** Where the VMM connects. */
  socketPath: string;
  /** Map registers and doorbells into the guest, or trap every access. */
  doorbells: "mapped" | "trapped";
  nodeGuid?: bigint;
  /** What the HCA may have, where it differs from the default. */
  quota?: Partial<Quota> | undefined;
  /** Storage for the two sets of counters; may be shared with another thread. */
  counters?: { adapter: Float64Array; server: Float64Array };
}

/** What can be said of one HCA. */
export interface HcaView {
  name: string;
  socketPath: string;
  doorbells: "mapped" | "trapped";
  nodeGuid: string;
  portState: number;
  lid: number;
  isConnected: boolean;
  memoryBytes: number;
  objects: { qps: number; cqs: number; srqs: number; regions: number; icmPages: number };
  counters: Record<string, number>;
  messages: Record<string, number>;
}

interface Entry {
  options: HcaOptions;
  fn: HcaFunction;
  server: VfioUserServer;
  port: CaPort;
  serverCounters: Float64Array;
  /** Polls until it counts as quiet; 0 if it does. */
  busyPolls: number;
}

export interface DeviceDomainOptions {
  clock: Clock;
  log: Log;
  random: Random;
  /** "builtin", or "none" to leave the fabric to a subnet manager in a guest. */
  sm: "builtin" | "none";
  manager?: ChosenOptions | undefined;
  /** One engine of several; then there is no topology. */
  place?: EnginePlace;
  /** Without it, one switch that every HCA is plugged into. */
  topology?: Topology | undefined;
  /** How messages between its HCAs go; "auto" if left out. */
  dataPath?: DataPath | undefined;
}

export class DeviceDomain {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fabric: LabFabric | TopologyFabric;
  readonly #network = new Network();
  readonly #engine = new Engine();
  readonly #registry = new SharedMemoryRegistry();
  readonly #entries: Entry[] = [];
  readonly #place: EnginePlace;
  /** Ways to the other engines. */
  readonly #trunks: EngineLink[] = [];
  readonly #faults: Faults;
  readonly #poller = new Poller();
  /** Serves programs of the host as ibsim would. */
  #ibsim: IbsimServer | undefined;
  #nextIbsimLookNs = 0;
  #lastIbsimNs = Number.NEGATIVE_INFINITY;
  #hasGuestWork = false;
  #hasMoved = false;
  #hasInterrupted = false;
  #nextSocketLookNs = 0;
  #nextHastySocketLookNs = 0;
  #lastMessageNs = Number.NEGATIVE_INFINITY;
  #serverCursor = 0;
  #sleepsToServer = SLEEPS_PER_SERVER;
  /** HCAs that have had something to do lately, in any order. */
  readonly #busy: Entry[] = [];
  /** Those whose events have not been signalled yet. */
  readonly #due: Events[] = [];
  /** Whose turn it is among the HCAs that have been quiet. */
  #quietCursor = 0;
  #sweepsToQuietHca = 0;

  /** @throws TopologyError if the topology cannot be built */
  constructor(options: DeviceDomainOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#place = options.place ?? ONLY_ENGINE;
    const { topology, sm, random, log } = options;
    const manager = { ...options.manager, log };
    this.#fabric =
      topology === undefined
        ? newEngineFabric(this.#place, sm, random, manager)
        : newTopologyFabric(topology, sm, random, manager);
    setDataPath(this.#network, this.#fabric, this.#place, { ...options, isMachineClock: true });
    this.#faults = new Faults(this.#faultTarget());
  }

  /**
   * Plugs an HCA into the fabric and listens for its VM.
   * @throws if the name is taken, there is no place for it or the socket cannot be made
   */
  addHca(options: HcaOptions): HcaView {
    if (this.#entries.some((e) => e.options.name === options.name))
      throw new Error(`there is already an HCA named ${options.name}`);
    const serverCounters = options.counters?.server ?? newCounters(ServerCounter);
    const fn = new HcaFunction({
      name: options.name,
      network: this.#network,
      log: limitWarnings(this.#log, () => this.#clock.nowNs()),
      isMapped: options.doorbells === "mapped",
      counters: options.counters?.adapter ?? newCounters(AdapterCounter),
      quota: options.quota,
    });
    let server: VfioUserServer | undefined;
    try {
      server = new VfioUserServer(fn, {
        path: options.socketPath,
        log: this.#log,
        counters: serverCounters,
        registry: this.#registry,
      });
      const port = this.#fabric.addCa({
        name: options.name,
        description: `${options.name} MT25204 vhca`,
        ...(options.nodeGuid === undefined ? {} : { nodeGuid: options.nodeGuid }),
      });
      port.attach(fn.hca.addPort(port));
      this.#engine.add(fn.hca.adapter);
      const { events } = fn.hca;
      events.onDue = () => this.#due.push(events);
      const entry = { options, fn, server, port, serverCounters, busyPolls: 0 };
      this.#entries.push(entry);
      return this.#view(entry);
    } catch (error) {
      server?.close();
      fn.destroy();
      throw error;
    }
  }

  /** Unplugs an HCA; its VM finds the socket closed. False if there is none of that name. */
  removeHca(name: string): boolean {
    const index = this.#entries.findIndex((e) => e.options.name === name);
    const [entry] = index < 0 ? [] : this.#entries.splice(index, 1);
    if (entry === undefined) return false;
    this.#faults.forgetHca(name);
    const busyIndex = this.#busy.indexOf(entry);
    if (busyIndex >= 0) this.#busy.splice(busyIndex, 1);
    entry.server.close();
    this.#engine.remove(entry.fn.hca.adapter);
    entry.fn.destroy();
    entry.port.attach(undefined);
    this.#fabric.removeCa(entry.port);
    return true;
  }

  /** Joins this engine to another one; `sleepers` says whether that one has to be woken. */
  join(options: TrunkOptions, sleepers: Int32Array): void {
    if (!(this.#fabric instanceof LabFabric)) throw new Error("invariant: a topology has one engine");
    this.#trunks.push(new EngineLink(options, sleepers, this.#place, this.#fabric, this.#network));
  }

  /** True if packets of another engine wait. */
  get hasPackets(): boolean {
    for (let i = 0; i < this.#trunks.length; i++) if (this.#trunks[i]!.hasPackets) return true;
    return false;
  }

  /**
   * Serves programs with ibsim's preload library from now on.
   * @param baseName of the sockets
   * @param uid whose programs may attach
   * @throws SystemError EADDRINUSE if somebody serves under that name
   */
  serveIbsim(baseName: string, uid: number): void {
    if (this.#ibsim !== undefined) throw new Error("ibsim's clients are served already");
    this.#ibsim = new IbsimServer({ fabric: this.#fabric.fabric, baseName, uid, log: this.#log });
  }

  /** Whether programs of the host are served. */
  get servesIbsim(): boolean {
    return this.#ibsim !== undefined;
  }

  /** VMs that are connected. */
  get connectedCount(): number {
    let count = 0;
    for (const entry of this.#entries) if (entry.server.isConnected) count++;
    return count;
  }

  /** Processes that are connected: a VM has one HCA and a process of its own, a program may have several HCAs. */
  get clientCount(): number {
    const pids = new Set<number>();
    let unknown = 0;
    for (const { server } of this.#entries) {
      if (!server.isConnected) continue;
      if (server.clientPid === 0) unknown++;
      else pids.add(server.clientPid);
    }
    return pids.size + unknown;
  }

  /** A sleep on all sockets has just found that none of them has anything. */
  noteQuietSockets(nowNs: number): void {
    this.#nextSocketLookNs = nowNs + SOCKET_LOOK_NS;
    if (--this.#sleepsToServer > 0) return;
    this.#sleepsToServer = SLEEPS_PER_SERVER;
    this.#pollNextServer();
  }

  /**
   * Does what there is to do at this time. Returns how much; 0 means that the caller may sleep.
   * @param pollSockets look at the sockets now, because something has happened there
   * @param idleNs since the last work of guests. Whoever is at work waits for the end of the sweep: what has been quiet is then looked at
   * only now and then
   */
  sweep(nowNs: number, pollSockets: boolean, idleNs = Number.POSITIVE_INFINITY): number {
    let work = 0;
    if (pollSockets || nowNs >= (idleNs < SOCKET_HASTE_NS ? this.#nextHastySocketLookNs : this.#nextSocketLookNs))
      work += this.#lookAtSockets(nowNs, pollSockets);
    work += idleNs < HASTE_NS ? this.#pollHastily(nowNs) : this.#pollAll(nowNs);
    let others = this.#ibsim === undefined ? 0 : this.#lookAtIbsim(this.#ibsim, nowNs, pollSockets);
    others += this.#fabric.step(nowNs, FABRIC_BUDGET) + this.#faults.step(nowNs);
    const moved = this.#network.receive(nowNs) + this.#engine.step(nowNs);
    this.#hasMoved = moved > 0;
    work += moved;
    this.#hasInterrupted = this.#due.length > 0;
    this.#hasGuestWork = work > 0 || this.#hasInterrupted;
    this.#flushEvents();
    for (let i = 0; i < this.#trunks.length; i++) this.#trunks[i]!.wakePeer();
    return work + others;
  }

  /** Whether the last sweep had work of a guest's, or woke one; other work is the fabric's own, or that of programs of the host. */
  get hasGuestWork(): boolean {
    return this.#hasGuestWork;
  }

  /** Whether the last sweep moved messages, or parts of them. */
  get hasMoved(): boolean {
    return this.#hasMoved;
  }

  /** Whether the last sweep interrupted a guest, which then has been asleep and not polling. */
  get hasInterrupted(): boolean {
    return this.#hasInterrupted;
  }

  /** When something is due, in the clock's time; Infinity if nothing is. */
  nextDeadlineNs(): number {
    const ibsimNs = this.#ibsim?.nextDeadlineNs() ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#fabric.nextDeadlineNs(), this.#faults.nextNs, this.#network.nextDeadlineNs(), ibsimNs);
  }

  /** True while a queue pair waits for a timer or flushes: sleeps must stay short. */
  get isWaiting(): boolean {
    return this.#engine.isWaiting;
  }

  /** True while no driver has started its HCA. */
  get isUnused(): boolean {
    for (const entry of this.#entries) if (entry.fn.hca.systemState !== SystemState.RESET) return false;
    return true;
  }

  /** Adds every socket to a poller. */
  watch(poller: Poller): void {
    this.#watchServers(poller);
    this.#ibsim?.watch(poller);
  }

  #watchServers(poller: Poller): void {
    for (let i = 0; i < this.#entries.length; i++) this.#entries[i]!.server.watch(poller);
  }

  describe(): { hcas: HcaView[]; fabric: FabricView } {
    return { hcas: this.#entries.map((entry) => this.#view(entry)), fabric: this.#fabric.inspect() };
  }

  /** Packets that this engine has lost between HCAs, by reason. */
  get lostPackets(): Record<string, number> {
    const { malformed, unroutable } = this.#network.counts;
    const managementWithoutRoom = this.#trunks.reduce((sum, { dropped }) => sum + dropped, 0);
    return { packetsMalformed: malformed, packetsUnroutable: unroutable, managementWithoutRoom };
  }

  /** What the server for ibsim's clients counts, if there is one. */
  get ibsimCounts(): Record<string, number> {
    const counts = Object.entries(this.#ibsim?.counts ?? {});
    return Object.fromEntries(counts.map(([name, value]) => [`ibsim.${name}`, value]));
  }

  /** A part of the fabric's nodes, in a bounded time. */
  inspectNodes(from: number, limit: number): Page<NodeView> {
    return inspectNodes(this.#fabric.fabric, from, Math.min(limit, NODES_AT_ONCE));
  }

  /** A part of the fabric's links, in a bounded time. */
  inspectLinks(from: number, limit: number): Page<LinkView> {
    return inspectLinks(this.#fabric.fabric, from, Math.min(limit, LINKS_AT_ONCE));
  }

  /** Changes the fabric, or follows a path in it. @throws NotFoundError, or what is wrong with it */
  operateFabric(operation: FabricOperation): unknown {
    return operateFabric(this.#fabric, operation);
  }

  /** Injects or ends faults, or says which there are. @throws NotFoundError, or what is wrong with it */
  operateFaults(operation: FaultOperation): FaultsView {
    return operateFaults(this.#faults, operation, this.#clock.nowNs());
  }

  #faultTarget(): FaultTarget {
    const entries = this.#entries;
    return {
      fabric: this.#fabric,
      get hcas() {
        return entries.map(({ options }) => options.name);
      },
      setFrozen: (hca, isFrozen) => this.#setFrozen(hca, isFrozen),
    };
  }

  /** Lets an HCA stand still, or go on: its doorbells, its queue pairs, what arrives at its port. */
  #setFrozen(name: string, isFrozen: boolean): void {
    const entry = this.#entries.find((e) => e.options.name === name);
    if (entry === undefined) return;
    const { hca } = entry.fn;
    hca.isFrozen = isFrozen;
    entry.port.setFrozen(isFrozen);
    if (isFrozen) this.#engine.remove(hca.adapter);
    else this.#engine.add(hca.adapter);
  }

  /**
   * Answers one question about an HCA in a bounded time (hca/inspect.ts).
   * @throws NotFoundError if there is no such HCA, or no such object in it
   */
  inspect(name: string, question: InspectQuestion): unknown {
    const entry = this.#entries.find((e) => e.options.name === name);
    if (entry === undefined) {
      const names = this.#entries.map((e) => e.options.name).join(", ");
      throw new NotFoundError(`there is no HCA named ${name}; ${names === "" ? "there is none at all" : `there are: ${names}`}`);
    }
    const { options, fn, server, port, serverCounters } = entry;
    const { socketPath, doorbells } = options;
    const nodeGuid = guidText(port.node.guid);
    const inspected = { fn, nodeGuid, socketPath, doorbells, isConnected: server.isConnected, serverCounters };
    return answerInspect(inspected, question, {
      nowNs: this.#clock.nowNs(),
      nameOfHca: (adapter) => this.#entries.find((e) => e.fn.hca.adapter === adapter)?.options.name ?? "?",
    });
  }

  /**
   * From now on the ports of these HCAs are looked at, and their messages go as packets.
   * @throws NotFoundError if there is no HCA of that name; an error where no message may go as packets
   */
  startCapture({ interfaces, ring, counts }: CaptureOptions): void {
    if (this.#network.path === "short")
      throw new Error("there are no packets to capture: this domain was started with --data-path short");
    const target = openCaptureRing(ring);
    for (const { name, id } of interfaces) {
      const entry = this.#entries.find((e) => e.options.name === name);
      if (entry === undefined) throw new NotFoundError(`there is no HCA named ${name}`);
      const captured = new CapturedPort(target, counts, id, this.#clock);
      this.#network.tap(entry.fn.hca.adapter.ports[0]!, captured);
      entry.port.observer = captured.observe;
    }
  }

  stopCapture(): void {
    for (const { fn, port } of this.#entries) {
      this.#network.untap(fn.hca.adapter.ports[0]!);
      port.observer = undefined;
    }
  }

  close(): void {
    this.#ibsim?.close();
    this.#ibsim = undefined;
    for (const { options } of [...this.#entries]) this.removeHca(options.name);
  }

  /** Whoever has just sent a MAD sends more, and waits for the answers. */
  #lookAtIbsim(server: IbsimServer, nowNs: number, isSure: boolean): number {
    if (!isSure && nowNs < this.#nextIbsimLookNs) return 0;
    const work = server.poll(nowNs, isSure);
    if (work > 0) this.#lastIbsimNs = nowNs;
    this.#nextIbsimLookNs = nowNs < this.#lastIbsimNs + SOCKET_EAGER_NS ? nowNs : nowNs + SOCKET_LOOK_NS;
    return work;
  }

  /** One system call says whether any socket has something; only then each of them is asked. */
  #lookAtSockets(nowNs: number, isSure: boolean): number {
    this.#nextSocketLookNs = nowNs + SOCKET_LOOK_NS;
    const isCalm = nowNs - this.#lastMessageNs > SOCKET_CALM_NS;
    this.#nextHastySocketLookNs = isCalm ? nowNs + HASTY_SOCKET_LOOK_NS : this.#nextSocketLookNs;
    if (!isSure && nowNs >= this.#lastMessageNs + SOCKET_EAGER_NS && !this.#isSocketReady()) return this.#pollNextServer();
    let work = 0;
    for (let i = 0; i < this.#entries.length; i++) work += this.#entries[i]!.server.poll();
    if (work > 0) this.#lastMessageNs = nowNs;
    if (nowNs < this.#lastMessageNs + SOCKET_EAGER_NS) {
      this.#nextSocketLookNs = nowNs;
      this.#nextHastySocketLookNs = nowNs;
    }
    return work;
  }

  /** Servers also watch for what makes no socket ready, such as a second client that waits. */
  #pollNextServer(): number {
    this.#serverCursor = this.#serverCursor + 1 < this.#entries.length ? this.#serverCursor + 1 : 0;
    return this.#entries[this.#serverCursor]?.server.poll() ?? 0;
  }

  #isSocketReady(): boolean {
    this.#poller.clear();
    this.#watchServers(this.#poller);
    return this.#poller.wait(0) > 0;
  }

  #pollAll(nowNs: number): number {
    const entries = this.#entries;
    let work = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      const done = entry.fn.hca.poll(nowNs);
      if (done > 0) this.#noteBusy(entry);
      work += done;
    }
    return work;
  }

  /** Polls the HCAs that have had something to do lately, and now and then one of the others. */
  #pollHastily(nowNs: number): number {
    const busy = this.#busy;
    let work = 0;
    if (--this.#sweepsToQuietHca < 0) {
      this.#sweepsToQuietHca = SWEEPS_PER_QUIET_HCA - 1;
      work = this.#pollNextQuiet(nowNs);
    }
    for (let i = busy.length - 1; i >= 0; i--) {
      const entry = busy[i]!;
      const done = entry.fn.hca.poll(nowNs, true);
      work += done;
      if (done > 0) entry.busyPolls = BUSY_POLLS;
      else if (--entry.busyPolls === 0) this.#dropBusy(i);
    }
    return work;
  }

  #pollNextQuiet(nowNs: number): number {
    this.#quietCursor = this.#quietCursor + 1 < this.#entries.length ? this.#quietCursor + 1 : 0;
    const entry = this.#entries[this.#quietCursor];
    if (entry === undefined || entry.busyPolls > 0) return 0;
    const done = entry.fn.hca.poll(nowNs, true);
    if (done > 0) this.#noteBusy(entry);
    return done;
  }

  #noteBusy(entry: Entry): void {
    if (entry.busyPolls === 0) this.#busy.push(entry);
    entry.busyPolls = BUSY_POLLS;
  }

  #dropBusy(index: number): void {
    const last = this.#busy.pop()!;
    if (index < this.#busy.length) this.#busy[index] = last;
  }

  #flushEvents(): void {
    for (let events = this.#due.pop(); events !== undefined; events = this.#due.pop()) events.flush();
  }

  #view(entry: Entry): HcaView {
    const { adapter } = entry.fn.hca;
    return {
      name: entry.options.name,
      socketPath: entry.options.socketPath,
      doorbells: entry.options.doorbells,
      nodeGuid: guidText(entry.port.node.guid),
      portState: entry.port.state,
      lid: entry.port.lid,
      isConnected: entry.server.isConnected,
      memoryBytes: entry.fn.dma.mappedBytes,
      objects: {
        qps: adapter.qps.count,
        cqs: adapter.cqs.count,
        srqs: adapter.srqs.count,
        regions: adapter.regions.count,
        icmPages: adapter.icm.mappedPages,
      },
      counters: countersObject(AdapterCounter, adapter.counters, false),
      messages: countersObject(ServerCounter, entry.serverCounters, false),
    };
  }
}
