// What a guest's kernel does for its port: opens QP0 and QP1, answers SMPs and performance queries through the firmware's
// agents (MAD_IFC), so that a subnet manager can bring the port up. For guests without a kernel. Docs "infinihost" 6.2-6.4, 8.2.

import { DriverCompletionQueue } from "../driver/completion-queue.ts";
import type { Device } from "../driver/device.ts";
import { Region } from "../driver/memory-region.ts";
import { DriverQueuePair } from "../driver/queue-pair.ts";
import { isForPma } from "../mad/agents/pma.ts";
import { isForSma } from "../mad/agents/sma.ts";
import { buildMadPacket, type MadAddress, parseMadPacket, replyAddress } from "../mad/packet.ts";
import { routeSmp, SmiRoute } from "../mad/smi.ts";
import { Command, CommandStatus, InitIb, MAD_BYTES, MadIfc, MadIfcModifier } from "../spec/hca/commands.ts";
import { Access } from "../spec/hca/contexts.ts";
import { SendOpcode } from "../spec/hca/queues.ts";
import { DEFAULT_PKEY, GSI_QKEY, Lid, Qpn, Service } from "../spec/ib/numbers.ts";
import { MadHeader, Smp } from "../spec/mad/headers.ts";
import { MgmtClass } from "../spec/mad/numbers.ts";

const PORT = 1;
const RECEIVES = 64;
const GRH_BYTES = 40;
const SLOT_BYTES = 512;
const CA = { isSwitch: false, portCount: 1 };

interface SpecialQp {
  qp: DriverQueuePair;
  /** 0 or 1, as on the wire. */
  wireQpn: number;
}

/** Answers management datagrams of one port. */
export class GuestAgent {
  /** MADs that no agent of the port executes, as they came. */
  readonly unhandled: Uint8Array[] = [];
  readonly #device: Device;
  readonly #cq: DriverCompletionQueue;
  readonly #buffer: Region;
  readonly #qps: SpecialQp[];
  readonly #slots = new Map<string, number>();
  #hasEvent = false;
  #isRunning = false;

  constructor(device: Device) {
    this.#device = device;
    const pd = device.allocatePd();
    this.#cq = new DriverCompletionQueue(device, 4 * RECEIVES, pd);
    this.#cq.onEvent = () => {
      this.#hasEvent = true;
    };
    const block = device.heap.allocate(2 * (RECEIVES + 1) * SLOT_BYTES);
    this.#buffer = new Region(device, block, { pd, access: Access.LOCAL_READ | Access.LOCAL_WRITE });
    this.#qps = [this.#open(pd, Qpn.SMI), this.#open(pd, Qpn.GSI)];
    this.#cq.arm();
  }

  /** Does what completions ask for; returns how many there were. Not to be called from an interrupt handler. */
  readonly run = (): number => {
    if (this.#isRunning || !this.#hasEvent) return 0;
    this.#isRunning = true;
    this.#hasEvent = false;
    this.#cq.arm();
    let count = 0;
    for (let done = this.#cq.poll(1); done.length > 0; done = this.#cq.poll(1)) {
      const [completion] = done;
      count++;
      if (completion === undefined || completion.isSend || completion.syndrome !== 0) continue;
      const special = this.#qps.find(({ qp }) => qp.number === completion.qpn);
      const slot = this.#slots.get(`${completion.qpn}:${completion.wqe}`);
      if (special === undefined || slot === undefined) continue;
      this.#answer(special, slot, { slid: completion.rlid, sl: completion.sl, srcQp: completion.remoteQpn });
      this.#post(special, slot);
    }
    this.#isRunning = false;
    return count;
  };

  #open(pd: number, wireQpn: number): SpecialQp {
    const number = this.#device.specialQpBase + (wireQpn === Qpn.SMI ? 0 : 2);
    const qp = new DriverQueuePair(this.#device, {
      service: Service.MLX,
      pd,
      number,
      sendCq: this.#cq,
      receiveCq: this.#cq,
      receiveWqes: RECEIVES,
      sendWqes: RECEIVES,
      sges: 3,
      signalAll: true,
    });
    qp.init({ qkey: wireQpn === Qpn.SMI ? 0 : GSI_QKEY });
    qp.readyToReceive();
    if (wireQpn === Qpn.SMI) this.#enablePort();
    qp.readyToSend();
    const special = { qp, wireQpn };
    const first = wireQpn * (RECEIVES + 1);
    for (let i = 0; i < RECEIVES; i++) this.#post(special, first + i);
    return special;
  }

  #enablePort(): void {
    this.#device.commands.run(Command.INIT_IB, {
      modifier: PORT,
      input: (view, at) => {
        InitIb.mtuCap.set(view, at, 4);
        InitIb.portWidth.set(view, at, 3);
        InitIb.vlCount.set(view, at, 4);
        InitIb.maxGids.set(view, at, 32);
        InitIb.maxPkeys.set(view, at, 64);
      },
    });
  }

  #post(special: SpecialQp, slot: number): void {
    const address = this.#buffer.virtualAddress + BigInt(slot * SLOT_BYTES);
    const wqe = special.qp.postReceive([{ address, length: GRH_BYTES + MAD_BYTES, lkey: this.#buffer.lkey }]);
    this.#slots.set(`${special.qp.number}:${wqe}`, slot);
  }

  #bytesOf(slot: number, offset: number, length: number): Uint8Array {
    const at = this.#buffer.block.at + slot * SLOT_BYTES + offset;
    return this.#device.access.memory.bytes.subarray(at, at + length);
  }

  #answer(special: SpecialQp, slot: number, from: { slid: number; sl: number; srcQp: number }): void {
    const mad = new Uint8Array(this.#bytesOf(slot, GRH_BYTES, MAD_BYTES));
    const view = new DataView(mad.buffer);
    const isDirected = MadHeader.mgmtClass.get(view, 0) === MgmtClass.SUBN_DIRECTED_ROUTE;
    if (isDirected && routeSmp(CA, view, 0, PORT) !== SmiRoute.AGENT) return;
    const isOurs = special.wireQpn === Qpn.SMI ? isForSma(view, 0) : isForPma(view, 0);
    const response = isOurs ? this.#execute(mad, from.slid) : undefined;
    if (response === undefined) {
      this.unhandled.push(mad);
      return;
    }
    if (isDirected) {
      Smp.direction.set(response, 0, 1);
      if (routeSmp(CA, response, 0, 0) !== PORT) return;
    }
    const isSmi = special.wireQpn === Qpn.SMI;
    const request: MadAddress = {
      slid: from.slid,
      dlid: isDirected ? Lid.PERMISSIVE : 0,
      sl: from.sl,
      pkey: DEFAULT_PKEY,
      destQp: special.wireQpn,
      srcQp: from.srcQp,
      qkey: isSmi ? 0 : GSI_QKEY,
    };
    this.#send(special, buildMadPacket(replyAddress(request, 0), response), from.slid === Lid.PERMISSIVE);
  }

  /** MAD_IFC: the firmware's agents answer, or none of them does. */
  #execute(mad: Uint8Array, slid: number): DataView | undefined {
    const { status, output } = this.#device.commands.run(Command.MAD_IFC, {
      modifier: PORT | (slid << 16),
      opcodeModifier: MadIfcModifier.EXTENDED,
      accepts: [CommandStatus.BAD_PACKET],
      outputBytes: MAD_BYTES,
      input: (view, at) => {
        this.#device.access.memory.bytes.set(mad, at);
        MadIfc.slid.set(view, at, slid);
      },
    });
    if (status !== CommandStatus.OK) return undefined;
    const isEcho = MadHeader.method.get(output, 0) === MadHeader.method.get(new DataView(mad.buffer), 0);
    return isEcho ? undefined : output;
  }

  #send(special: SpecialQp, packet: Uint8Array, isPermissive: boolean): void {
    const slot = special.wireQpn * (RECEIVES + 1) + RECEIVES;
    this.#bytesOf(slot, 0, packet.length).set(packet);
    const parsed = parseMadPacket(packet);
    if (parsed === undefined) throw new Error("invariant: our own packet parses");
    const address = this.#buffer.virtualAddress + BigInt(slot * SLOT_BYTES);
    const { lkey } = this.#buffer;
    const headers = packet.length - MAD_BYTES;
    special.qp.postSend({
      opcode: SendOpcode.SEND,
      sges: [
        { address, length: headers, lkey },
        { address: address + BigInt(headers), length: MAD_BYTES, lkey },
      ],
      management: { vl15: special.wireQpn === Qpn.SMI, isPermissive, sl: parsed.sl, dlid: parsed.dlid },
    });
    // One buffer for all answers: this one must have left before the next is written.
    this.#device.access.settle();
  }
}
