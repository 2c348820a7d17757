// The device domain: the fabric, its HCAs and their vfio-user sessions, owned by one thread. Nothing here waits: `sweep`
// does what there is to do, and whoever calls it decides when to sleep.

import type { Clock } from "../base/clock.ts";
import { NotFoundError, type Page } from "../base/inspect.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { type FabricView, inspectNodes, type NodeView } from "../fabric/inspect.ts";
import { inspectLinks, type LinkView } from "../fabric/inspect-links.ts";
import { LabFabric } from "../fabric/lab-fabric.ts";
import { type FabricOperation, operateFabric } from "../fabric/operations.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { TopologyFabric } from "../fabric/topology-fabric.ts";
import type { Events } from "../hca/events.ts";
import { SystemState } from "../hca/system-state.ts";
import type { Poller } from "../host/poller.ts";
import { SharedMemoryRegistry } from "../host/shared-memory.ts";
import { threadWindow } from "../host/window.ts";
import { IbsimServer } from "../ibsim/server.ts";
import type { ChosenOptions } from "../sm/options.ts";
import { Engine } from "../transport/engine.ts";
import { type DataPath, Network } from "../transport/network.ts";
import { CompiledRequests } from "../transport/plain/compiled-requests.ts";
import { CapturedPort, type CaptureOptions, openCaptureRing } from "./capture-buffer.ts";
import { setDataPath } from "./data-path.ts";
import { type EnginePlace, newEngineFabric, newTopologyFabric, ONLY_ENGINE } from "./engine-fabric.ts";
import { EngineLink } from "./engine-link.ts";
import { Faults, type FaultTarget } from "./faults/faults.ts";
import { type FaultOperation, type FaultsView, operateFaults } from "./faults/operations.ts";
import { HcaPolls } from "./hca-polls.ts";
import { answerInspect, type InspectQuestion } from "./inspect.ts";
import { loadPlainProgram, optimizeAtOnce } from "./plain-program.ts";
import { type HcaOptions, type HcaView, PluggedHca } from "./plugged-hca.ts";
import type { TrunkOptions } from "./protocol.ts";
import { Ready, SocketLooks } from "./socket-looks.ts";

/** Nodes of the fabric described between two sweeps. */
const NODES_AT_ONCE = 16;
/** Links, which are small. */
const LINKS_AT_ONCE = 128;
/** Management packets carried in one sweep. */
const FABRIC_BUDGET = 64;

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

/** For guests whose memory is in the window; undefined if there is no window or no program. */
function compiledRequests(log: Log): CompiledRequests | undefined {
  const window = threadWindow();
  const program = window === undefined ? undefined : loadPlainProgram(log);
  if (window === undefined || program === undefined) return undefined;
  return optimizeAtOnce(() => new CompiledRequests(window, program));
}

export class DeviceDomain {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fabric: LabFabric | TopologyFabric;
  readonly #network = new Network();
  readonly #engine = new Engine(this.#network);
  readonly #registry = new SharedMemoryRegistry(threadWindow());
  readonly #hcas: PluggedHca[] = [];
  readonly #polls = new HcaPolls(this.#hcas);
  readonly #sockets = new SocketLooks(this.#hcas);
  readonly #place: EnginePlace;
  /** Ways to the other engines. */
  readonly #trunks: EngineLink[] = [];
  readonly #faults: Faults;
  /** Serves programs of the host as ibsim would. */
  #ibsim: IbsimServer | undefined;
  #hasGuestWork = false;
  #hasMoved = false;
  #hasInterrupted = false;
  /** Those whose events have not been signalled yet. */
  readonly #due: Events[] = [];

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
    this.#network.compiled = compiledRequests(log);
  }

  /**
   * Plugs an HCA into the fabric and listens for its VM.
   * @throws if the name is taken, there is no place for it or the socket cannot be made
   */
  addHca(options: HcaOptions): HcaView {
    if (this.#find(options.name) !== undefined) throw new Error(`there is already an HCA named ${options.name}`);
    const place = { network: this.#network, fabric: this.#fabric, registry: this.#registry, log: this.#log, clock: this.#clock };
    const hca = new PluggedHca(options, place);
    this.#engine.add(hca.fn.hca.adapter);
    const { events } = hca.fn.hca;
    events.onDue = () => this.#due.push(events);
    this.#hcas.push(hca);
    return hca.view();
  }

  /** Unplugs an HCA; its VM finds the socket closed. False if there is none of that name. */
  removeHca(name: string): boolean {
    const hca = this.#find(name);
    if (hca === undefined) return false;
    this.#hcas.splice(this.#hcas.indexOf(hca), 1);
    this.#faults.forgetHca(name);
    this.#polls.forget(hca);
    hca.close();
    this.#engine.remove(hca.fn.hca.adapter);
    hca.unplug();
    return true;
  }

  #find(name: string): PluggedHca | undefined {
    return this.#hcas.find((hca) => hca.name === name);
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

  /** Whether a guest needs the core that the engine has, to answer. */
  set sharesCore(sharesCore: boolean) {
    this.#engine.sharesCore = sharesCore;
  }

  /** VMs that are connected. */
  get connectedCount(): number {
    let count = 0;
    const hcas = this.#hcas;
    for (let i = 0; i < hcas.length; i++) if (hcas[i]!.server.isConnected) count++;
    return count;
  }

  /** Processes that are connected: a VM has one HCA and a process of its own, a program may have several HCAs. */
  get clientCount(): number {
    const pids = new Set<number>();
    let unknown = 0;
    for (const { server } of this.#hcas) {
      if (!server.isConnected) continue;
      if (server.clientPid === 0) unknown++;
      else pids.add(server.clientPid);
    }
    return pids.size + unknown;
  }

  /** Whose sockets have something, as `Ready` bits, after a wait on a set to which `watch` was the last to add. */
  readyIn(poller: Poller): number {
    return this.#sockets.readyIn(poller);
  }

  /** A sleep on all sockets has just found that those of the HCAs have nothing. */
  noteQuietSockets(nowNs: number): void {
    this.#sockets.noteQuiet(nowNs);
  }

  /**
   * Does what there is to do at this time. Returns how much; 0 means that the caller may sleep.
   * @param ready whose sockets to look at now, because something has happened there (`Ready` bits)
   * @param idleNs since the last work of guests. Whoever is at work waits for the end of the sweep: what has been quiet is then looked at
   * only now and then
   */
  sweep(nowNs: number, ready: number = Ready.ALL, idleNs = Number.POSITIVE_INFINITY): number {
    let work = this.#sockets.look(nowNs, (ready & Ready.HCAS) !== 0, idleNs);
    let others = this.#ibsim === undefined ? 0 : this.#sockets.lookAtIbsim(this.#ibsim, nowNs, (ready & Ready.PROGRAMS) !== 0);
    work += this.#polls.poll(nowNs, idleNs, this.#sockets.isServing(nowNs));
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

  /** Whether programs of the host have been served a moment ago. */
  isServing(nowNs: number): boolean {
    return this.#sockets.isServing(nowNs);
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
    const hcas = this.#hcas;
    for (let i = 0; i < hcas.length; i++) if (hcas[i]!.fn.hca.systemState !== SystemState.RESET) return false;
    return true;
  }

  /** Adds every socket to a poller. */
  watch(poller: Poller): void {
    this.#sockets.watch(poller);
    this.#ibsim?.watch(poller);
  }

  describe(): { hcas: HcaView[]; fabric: FabricView } {
    return { hcas: this.#hcas.map((hca) => hca.view()), fabric: this.#fabric.inspect() };
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
    const hcas = this.#hcas;
    return {
      fabric: this.#fabric,
      get hcas() {
        return hcas.map(({ name }) => name);
      },
      setFrozen: (hca, isFrozen) => this.#setFrozen(hca, isFrozen),
    };
  }

  /** Lets an HCA stand still, or go on: its doorbells, its queue pairs, what arrives at its port. */
  #setFrozen(name: string, isFrozen: boolean): void {
    const hca = this.#find(name);
    if (hca === undefined) return;
    hca.setFrozen(isFrozen);
    if (isFrozen) this.#engine.remove(hca.fn.hca.adapter);
    else this.#engine.add(hca.fn.hca.adapter);
  }

  /**
   * Answers one question about an HCA in a bounded time (hca/inspect.ts).
   * @throws NotFoundError if there is no such HCA, or no such object in it
   */
  inspect(name: string, question: InspectQuestion): unknown {
    const hca = this.#find(name);
    if (hca === undefined) {
      const names = this.#hcas.map((each) => each.name).join(", ");
      throw new NotFoundError(`there is no HCA named ${name}; ${names === "" ? "there is none at all" : `there are: ${names}`}`);
    }
    return answerInspect(hca.inspected(), question, {
      nowNs: this.#clock.nowNs(),
      nameOfHca: (adapter) => this.#hcas.find(({ fn }) => fn.hca.adapter === adapter)?.name ?? "?",
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
      const hca = this.#find(name);
      if (hca === undefined) throw new NotFoundError(`there is no HCA named ${name}`);
      const captured = new CapturedPort(target, counts, id, this.#clock);
      this.#network.tap(hca.fn.hca.adapter.ports[0]!, captured);
      hca.port.observer = captured.observe;
    }
  }

  stopCapture(): void {
    for (const { fn, port } of this.#hcas) {
      this.#network.untap(fn.hca.adapter.ports[0]!);
      port.observer = undefined;
    }
  }

  close(): void {
    this.#ibsim?.close();
    this.#ibsim = undefined;
    for (const { name } of [...this.#hcas]) this.removeHca(name);
    this.#network.compiled?.close();
    this.#network.compiled = undefined;
  }

  #flushEvents(): void {
    for (let events = this.#due.pop(); events !== undefined; events = this.#due.pop()) events.flush();
  }
}
