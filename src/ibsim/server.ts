// Serves programs that the preload library of ibsim has attached (LD_PRELOAD=libumad2sim.so): OpenSM, infiniband-diags, whatever uses libibumad.
// They find here what they would find in ibsim, on the same sockets; nothing in the fabric knows the difference to a program on a host.
//
//   program ── "sim:ctl<pid>" ──► "sim:ctl"        attach, ask about the port, become subnet manager     80 bytes
//   program ── "sim:in<pid>" ◄──► "sim:out<slot>"  MADs                                                  288 bytes
//
// Nothing waits; `poll` does what there is to do. Anybody in the network namespace can reach an abstract socket, so whoever attaches must
// belong to the user that runs this process, or be root.

import type { Log } from "../base/log.ts";
import { CaNode } from "../fabric/ca-node.ts";
import type { Fabric } from "../fabric/fabric.ts";
import { labelOf } from "../fabric/inspect.ts";
import type { FabricNode } from "../fabric/node.ts";
import type { Port } from "../fabric/port.ts";
import { SwitchNode } from "../fabric/switch-node.ts";
import { AbstractDatagramSocket } from "../host/abstract-datagram.ts";
import { DatagramBatch } from "../host/datagram-batch.ts";
import { allocateNative } from "../host/mapping.ts";
import { PollEvent, type Poller } from "../host/poller.ts";
import { SystemError } from "../host/system-error.ts";
import {
  CONTROL_DATA_AT,
  Connect,
  Control,
  ControlType,
  IBSIM_MAGIC,
  MadDatagram,
  SetIsSm,
  SocketName,
} from "../spec/ibsim/messages.ts";
import { IbsimClient } from "./client.ts";
import { answerControl, readNodeName, shortName, writeConnected } from "./control.ts";
import { type IbsimCounts, newIbsimCounts } from "./counts.ts";
import { CHECK_NS, DATAGRAMS_AT_ONCE, MADS_AT_ONCE, MAX_CLIENTS, PACKETS_AT_ONCE } from "./limits.ts";
import { SharedPort } from "./shared-port.ts";
import { HostUmadPort, SwitchUmadPort } from "./umad-port.ts";

export interface IbsimServerOptions {
  readonly fabric: Fabric;
  /** What the sockets are named after; ibsim's is "sim". */
  readonly baseName: string;
  /** Whose programs may attach, besides root's. */
  readonly uid: number;
  readonly log: Log;
}

const ROOT = 0;
/** Where nothing says that it is ready, the control socket is looked at this often: a look is a system call. */
const POLLS_PER_CONTROL = 16;
/** Scratch memory: a control message, then what clients use. */
const CONTROL = 1024;
const SCRATCH_BYTES = 4096;
const CONTROL_BYTES = Control.byteLength;

/** Why a CONNECT is refused. */
class Refusal extends Error {}

export class IbsimServer {
  readonly counts: IbsimCounts = newIbsimCounts();
  readonly #options: IbsimServerOptions;
  readonly #control: AbstractDatagramSocket;
  readonly #memory = allocateNative(SCRATCH_BYTES);
  readonly #inbox = new DatagramBatch(MADS_AT_ONCE, MadDatagram.byteLength);
  /** By slot. */
  readonly #slots: (IbsimClient | undefined)[] = [];
  readonly #clients: IbsimClient[] = [];
  readonly #ports = new Map<Port, SharedPort>();
  #pollsToControl = 0;
  #nowNs = 0;
  /** What may still be carried in this look. */
  #packetsLeft = 0;
  #nextCheckNs = Number.POSITIVE_INFINITY;

  /** @throws SystemError EADDRINUSE if ibsim or another domain serves under that name */
  constructor(options: IbsimServerOptions) {
    this.#options = options;
    this.#control = new AbstractDatagramSocket(SocketName.control(options.baseName), true);
  }

  watch(poller: Poller): void {
    poller.add(this.#control.descriptor, PollEvent.IN);
    for (const client of this.#clients) client.watch(poller);
  }

  /**
   * Does what there is to do; returns how much.
   * @param isWoken a socket has become ready: if it is no client's, it is the control socket
   */
  poll(nowNs: number, isWoken = true): number {
    this.#nowNs = nowNs;
    this.#packetsLeft = PACKETS_AT_ONCE;
    let work = 0;
    for (let i = 0; i < this.#clients.length; i++) work += this.#clients[i]?.poll(nowNs) ?? 0;
    if ((work === 0 && isWoken) || --this.#pollsToControl < 0) work += this.#pollControl(nowNs);
    if (nowNs >= this.#nextCheckNs) this.#check(nowNs);
    return work;
  }

  #carry(): void {
    if (this.#packetsLeft > 0) this.#packetsLeft -= this.#options.fabric.step(this.#nowNs, this.#packetsLeft);
  }

  #pollControl(nowNs: number): number {
    this.#pollsToControl = POLLS_PER_CONTROL;
    for (let taken = 0; taken < DATAGRAMS_AT_ONCE; taken++) {
      const length = this.#control.receive(this.#memory, CONTROL, CONTROL_BYTES);
      if (length < 0) return taken;
      this.#takeControl(length, nowNs);
    }
    return DATAGRAMS_AT_ONCE;
  }

  /** When `poll` has something to do though no socket has. */
  nextDeadlineNs(): number {
    let earliestNs = this.#nextCheckNs;
    for (let i = 0; i < this.#clients.length; i++) {
      earliestNs = Math.min(earliestNs, this.#clients[i]?.nextDeadlineNs() ?? earliestNs);
    }
    return earliestNs;
  }

  close(): void {
    for (const client of [...this.#clients]) this.#detach(client);
    this.#control.close();
  }

  // --- control messages

  #takeControl(length: number, nowNs: number): void {
    const { view } = this.#memory;
    if (length !== CONTROL_BYTES || Control.magic.get(view, CONTROL) !== IBSIM_MAGIC) {
      this.counts.badControl++;
      return;
    }
    const message = new DataView(view.buffer, view.byteOffset + CONTROL, CONTROL_BYTES);
    const sender = this.#control.senderName();
    const type = Control.type.get(message, 0);
    const isAnswered = type === ControlType.CONNECT ? this.#connect(message, sender, nowNs) : this.#ask(type, message, sender);
    if (!isAnswered) Control.type.set(message, 0, ControlType.ERROR);
    if (this.#control.reply(this.#memory, CONTROL, CONTROL_BYTES) < 0) this.counts.lostReplies++;
  }

  #ask(type: number, message: DataView, sender: string): boolean {
    const client = this.#slots[Control.client.get(message, 0)];
    if (client === undefined || client.controlName !== sender) {
      this.counts.badControl++;
      return false;
    }
    if (type === ControlType.DISCONNECT) {
      this.#detach(client);
      return true;
    }
    if (type === ControlType.SET_IS_SM) {
      client.isSm = SetIsSm.isSm.get(message, CONTROL_DATA_AT) !== 0;
      client.port?.updateIsSm();
      return true;
    }
    const port = client.port?.umad.port;
    return port !== undefined && answerControl(type, port, message);
  }

  #connect(message: DataView, sender: string, nowNs: number): boolean {
    try {
      this.#assertMayAttach();
      const client = this.#attach(message, sender);
      if (this.#nextCheckNs === Number.POSITIVE_INFINITY) this.#nextCheckNs = nowNs + CHECK_NS;
      Control.client.set(message, 0, client.slot);
      return true;
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof SystemError)) throw error;
      this.counts.refused++;
      this.#options.log.warn(`ibsim: a client is refused: ${error.message}`);
      return false;
    }
  }

  #assertMayAttach(): void {
    const { uid } = this.#options;
    const sender = this.#control.senderCredentials();
    if (sender?.uid !== uid && sender?.uid !== ROOT) {
      throw new Refusal(`process ${sender?.pid} belongs to user ${sender?.uid}; expected ${uid}, who runs this domain, or root`);
    }
  }

  #attach(message: DataView, sender: string): IbsimClient {
    const id = Connect.id.get(message, CONTROL_DATA_AT);
    const isSm = Connect.isSm.get(message, CONTROL_DATA_AT) !== 0;
    const [name, port] = this.#findPort(readNodeName(message));
    // A process that attaches again, or another one with a dead one's number.
    for (const old of [...this.#clients]) if (old.id === id || !old.checkIsAlive()) this.#detach(old);
    if (isSm && this.#ports.get(port)?.hasSm === true) throw new Refusal(`a subnet manager is on ${name} already`);
    const client = this.#newClient(id, sender);
    client.isSm = isSm;
    this.#sharedPort(port).add(client);
    this.counts.attached++;
    writeConnected(message, client.slot, name);
    this.#options.log.info(`ibsim: client ${client.slot} (${id}) on ${name}${isSm ? ", a subnet manager" : ""}`);
    return client;
  }

  #newClient(id: number, controlName: string): IbsimClient {
    const slot = this.#freeSlot();
    const client = new IbsimClient({
      baseName: this.#options.baseName,
      slot,
      id,
      controlName,
      counts: this.counts,
      inbox: this.#inbox,
      memory: this.#memory,
      carry: () => this.#carry(),
      hasPrograms: (lid) => this.#hasPrograms(lid),
    });
    if (!client.checkIsAlive()) {
      client.close();
      throw new Refusal(`there is no socket ${SocketName.clientData(this.#options.baseName, id)} that would take its MADs`);
    }
    this.#slots[slot] = client;
    this.#clients.push(client);
    this.counts.clients = this.#clients.length;
    return client;
  }

  #hasPrograms(lid: number): boolean {
    for (const { umad } of this.#ports.values()) if (umad.port.ownsLid(lid)) return true;
    return false;
  }

  #freeSlot(): number {
    for (let slot = 0; slot < MAX_CLIENTS; slot++) if (this.#slots[slot] === undefined) return slot;
    throw new Refusal(`${MAX_CLIENTS} clients are attached, and there is room for no more`);
  }

  // --- ports

  /** The node of that name, or else of that description; the first one if nobody cares. */
  #findPort(wanted: string): readonly [name: string, port: Port] {
    let described: FabricNode | undefined;
    for (const node of this.#options.fabric.nodes) {
      const isWanted = wanted === "" ? umadPortOf(node) !== undefined : shortName(labelOf(node)) === wanted;
      if (isWanted) return [labelOf(node), getUmadPort(node)];
      if (described === undefined && shortName(node.name) === wanted) described = node;
    }
    if (described === undefined) throw new Refusal(`there is no node ${wanted}`);
    return [labelOf(described), getUmadPort(described)];
  }

  #sharedPort(port: Port): SharedPort {
    const found = this.#ports.get(port);
    if (found !== undefined) return found;
    const { node } = port;
    const shared = new SharedPort((receiver) => {
      if (node instanceof SwitchNode) return new SwitchUmadPort(node, receiver);
      const caPort = node instanceof CaNode ? node.ports[port.number] : undefined;
      if (caPort === undefined) throw new Error("invariant: an umad port is a switch's or a CA's");
      return new HostUmadPort(caPort, receiver);
    });
    this.#ports.set(port, shared);
    return shared;
  }

  // --- clients that end

  #detach(client: IbsimClient): void {
    const { port } = client;
    this.#slots[client.slot] = undefined;
    this.#clients.splice(this.#clients.indexOf(client), 1);
    this.counts.clients = this.#clients.length;
    client.close();
    port?.remove(client);
    if (port?.isEmpty === true) {
      this.#ports.delete(port.umad.port);
      port.umad.release();
    }
  }

  #check(nowNs: number): void {
    for (const client of [...this.#clients]) {
      if (client.checkIsAlive()) continue;
      this.counts.died++;
      this.#options.log.info(`ibsim: client ${client.slot} (${client.id}) has gone`);
      this.#detach(client);
    }
    this.#nextCheckNs = this.#clients.length === 0 ? Number.POSITIVE_INFINITY : nowNs + CHECK_NS;
  }
}

/** The port that programs on a node have: port 0 of a switch, the first of a host that has a cable. Undefined if a VM has it. */
function umadPortOf(node: FabricNode): Port | undefined {
  if (node instanceof SwitchNode) return node.port0;
  if (!(node instanceof CaNode) || !node.isPhantom) return undefined;
  return node.ports.find((port) => port?.link !== undefined) ?? node.ports[1];
}

function getUmadPort(node: FabricNode): Port {
  const port = umadPortOf(node);
  if (port === undefined) throw new Refusal(`${labelOf(node)} has an HCA of its own; run the program in its VM`);
  return port;
}
