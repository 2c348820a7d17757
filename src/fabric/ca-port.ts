// A CA's port: what the HCA sees of the fabric. The class has the shape of the transport's `Wire`; the two rooms do not
// import each other (ca-port.test.ts holds them together).

import { isForGeneralAgent, processGeneral } from "../mad/agents/general.ts";
import { isForSma, processSmp } from "../mad/agents/sma.ts";
import type { PortOptions } from "../mad/attributes.ts";
import { bytesOf, isSmpClass, newMad, Verdict } from "../mad/mad.ts";
import { hasSoundLrh, SMP_VL, viewOf } from "../mad/packet.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { isMulticastLid, Lid, PhysState } from "../spec/ib/numbers.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { MAD_BYTES, Method } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import { MAX_PACKET_BYTES } from "./limits.ts";
import type { FabricNode } from "./node.ts";
import { UsablePkeys } from "./partition-enforcement.ts";
import { PathTraffic } from "./path-traffic.ts";
import { Port } from "./port.ts";
import { ResolveCache } from "./resolve-cache.ts";
import { NOWHERE, passFaults } from "./trace.ts";

/** The MAD that an agent works on: what its caller gave is left alone if there is no answer. */
const scratch = newMad();
const scratchBytes = bytesOf(scratch);

/** The HCA behind a port. */
export interface CaClient {
  /** @param view of the packet */
  receive(packet: Uint8Array, view: DataView): void;
  portStateChanged(active: boolean): void;
}

export class CaPort extends Port {
  #client: CaClient | undefined = undefined;
  /** Made when there is traffic: most hosts are phantoms. */
  #cache: ResolveCache | undefined = undefined;
  #usablePkeys: UsablePkeys | undefined = undefined;
  #counters: Float64Array | undefined = undefined;
  #traffic: PathTraffic | undefined = undefined;

  constructor(node: FabricNode, options: PortOptions, index: number) {
    super(node, options, false, index);
  }

  /** The same view each time: data count into it. */
  override get counters(): Float64Array {
    this.#counters ??= super.counters;
    return this.#counters;
  }

  get usablePkeys(): Uint16Array {
    this.#usablePkeys ??= new UsablePkeys(this);
    return this.#usablePkeys.get();
  }

  /** Connects the HCA; undefined takes it away. */
  attach(client: CaClient | undefined): void {
    this.#client = client;
  }

  get epoch(): number {
    return this.node.fabric.epoch;
  }

  resolve(dlid: number): number {
    return this.#resolver.resolve(dlid);
  }

  resolveMulticast(dlid: number, out: Int32Array): number {
    return this.node.fabric.multicastTracer.trace(this, dlid, out);
  }

  get hasFaultyFabric(): boolean {
    return this.node.fabric.hasFaults;
  }

  crossesFaults(dlid: number): boolean {
    return this.#resolver.crossesFaults(dlid);
  }

  get #resolver(): ResolveCache {
    this.#cache ??= new ResolveCache(this);
    return this.#cache;
  }

  countsHops(dlid: number): boolean {
    const { fabric } = this.node;
    // Cables here spare the unicast data that leave for another engine.
    return fabric.lanes !== undefined || (fabric.hasFaults && (isMulticastLid(dlid) || this.resolve(dlid) >= NOWHERE));
  }

  countPath(dlid: number, sl: number, words: number, packets: number): void {
    this.#traffic ??= new PathTraffic(this);
    this.#traffic.add(dlid, sl, words, packets);
  }

  passFaults(dlid: number, sl: number, words: number): number {
    return passFaults(this, dlid, this.node.fabric.random, sl, words);
  }

  passFaultsToGroup(dlid: number, sl: number, words: number, out: Int32Array, delaysNs: Float64Array): number {
    const { multicastTracer, random } = this.node.fabric;
    return multicastTracer.pass(this, dlid, random, sl, words, out, delaysNs);
  }

  transmit(packet: Uint8Array): void {
    this.transmitOwn(new Uint8Array(packet));
  }

  /** The same for a packet that is the fabric's from now on. */
  transmitOwn(packet: Uint8Array, view: DataView = viewOf(packet)): void {
    const { fabric } = this.node;
    if (this.isFrozen) return;
    if (!this.isEnabled || packet.length > MAX_PACKET_BYTES || !hasSoundLrh(view, packet.length)) {
      fabric.counts.malformed++;
      return;
    }
    const isVl15 = Lrh.vl.get(view, 0) === SMP_VL;
    if (this.ownsLid(Lrh.dlid.get(view, 0))) {
      if (isVl15 || this.isActive) fabric.enqueueLocal(this, packet, isVl15, view);
      return;
    }
    fabric.transmitFrom(this, packet, 0, undefined, view);
  }

  /** Stops all that goes in and out, or lets it go on. */
  setFrozen(isFrozen: boolean): void {
    this.isFrozen = isFrozen;
    this.node.fabric.bumpEpoch();
    if (!isFrozen) this.node.fabric.lanes?.thawed(this);
  }

  enable(): void {
    if (this.isEnabled) return;
    this.isEnabled = true;
    this.physState = PhysState.POLLING;
    this.link?.train();
  }

  disable(): void {
    if (!this.isEnabled) return;
    this.isEnabled = false;
    this.link?.goDown();
    this.resetAttributes();
    this.node.fabric.bumpEpoch();
  }

  setCapabilityMask(mask: number): void {
    PortInfo.capabilityMask.set(this.info, 0, mask);
  }

  resetQkeyViolations(): void {
    PortInfo.qkeyViolations.set(this.info, 0, 0);
  }

  countQkeyViolation(): void {
    this.countViolation("qkeyViolations");
  }

  countPkeyViolation(): void {
    this.countViolation("pkeyViolations");
  }

  processMad(
    request: Uint8Array,
    response: Uint8Array,
    context: { readonly slid: number; readonly ignoreMkey: boolean },
  ): boolean {
    if (request.length < MAD_BYTES || response.length < MAD_BYTES) return false;
    scratchBytes.set(request.length === MAD_BYTES ? request : request.subarray(0, MAD_BYTES));
    const verdict = this.#execute(scratch, context.ignoreMkey);
    if (verdict === Verdict.DROP) return false;
    response.set(scratchBytes);
    return true;
  }

  #execute(mad: DataView, ignoreMkey: boolean): number {
    const mgmtClass = MadHeader.mgmtClass.get(mad, 0);
    // A host's port issues no traps. The one that is repressed is that of a manager in its guest, whose kernel waits for it: ib_mthca would
    // keep it if this port had taken it.
    if (MadHeader.method.get(mad, 0) === Method.TRAP_REPRESS) return Verdict.DROP;
    if (isSmpClass(mgmtClass) && isForSma(mad)) {
      return processSmp(this.node, mad, { port: this.number, ignoreMkey, nowNs: this.node.fabric.nowNs });
    }
    this.node.fabric.lanes?.countWaits(this.node.ports);
    return isForGeneralAgent(mad) ? processGeneral(this.node, mad, this.node.fabric.nowNs) : Verdict.DROP;
  }

  /** A packet has arrived over the link, or from this port itself. */
  receive(packet: Uint8Array, view: DataView = viewOf(packet)): void {
    const dlid = Lrh.dlid.get(view, 0);
    const isMine = dlid === Lid.PERMISSIVE ? Lrh.vl.get(view, 0) === SMP_VL : isMulticastLid(dlid) || this.ownsLid(dlid);
    if (isMine && this.#client !== undefined && !this.isFrozen) this.#client.receive(packet, view);
    else this.node.fabric.counts.unclaimed++;
  }

  /** Tells the HCA, after what is in the queue now, that the port became ACTIVE or the link went down. */
  announce(isActive: boolean): void {
    if (this.#client !== undefined) this.node.fabric.enqueueEvent(this, isActive);
  }

  /** Delivers an announcement. */
  deliverEvent(isActive: boolean): void {
    this.#client?.portStateChanged(isActive);
  }
}
