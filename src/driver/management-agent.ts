// What a guest's kernel does for its port: opens QP0 and QP1, answers SMPs and performance queries through the firmware's
// agents (MAD_IFC), so that a subnet manager can bring the port up, and carries general MADs for whoever asks. For guests without
// a kernel. Docs "infinihost" 6.1-6.4, 8.2.

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
import { type Completion, DriverCompletionQueue } from "./completion-queue.ts";
import type { Device } from "./device.ts";
import { Region } from "./memory-region.ts";
import { DriverQueuePair } from "./queue-pair.ts";

const PORT = 1;
const RECEIVES = 64;
const SENDS = 16;
const GRH_BYTES = 40;
const SLOT_BYTES = 512;
const CA = { isSwitch: false, portCount: 1 };

/** Where a MAD came from. */
export interface MadSource {
  readonly slid: number;
  readonly sl: number;
  readonly srcQp: number;
}

/** One of the two special QPs, and its share of the buffers. */
interface SpecialQp {
  readonly qp: DriverQueuePair;
  /** 0 or 1, as on the wire. */
  readonly wireQpn: number;
  /** WQE address → buffer slot, of receives and of sends under way. */
  readonly receives: Map<number, number>;
  readonly sends: Map<number, number>;
  readonly freeSends: number[];
}

/** Answers management datagrams of one port. */
export class ManagementAgent {
  /** Called with each general MAD that no agent of the port executes: connection management, answers of the subnet administration. */
  onGeneralMad: (mad: DataView, from: MadSource) => void = () => {};
  /** MADs that could not be sent because too many were under way; whoever sent them tries again, as after a loss. */
  droppedSends = 0;
  readonly #device: Device;
  readonly #cq: DriverCompletionQueue;
  readonly #buffer: Region;
  readonly #smi: SpecialQp;
  readonly #gsi: SpecialQp;
  #hasEvent = false;
  #isRunning = false;

  constructor(device: Device) {
    this.#device = device;
    const pd = device.allocatePd();
    this.#cq = new DriverCompletionQueue(device, 2 * (RECEIVES + SENDS), pd);
    this.#cq.onEvent = () => {
      this.#hasEvent = true;
    };
    const block = device.heap.allocate(2 * (RECEIVES + SENDS) * SLOT_BYTES);
    this.#buffer = new Region(device, block, { pd, access: Access.LOCAL_READ | Access.LOCAL_WRITE });
    this.#smi = this.#open(pd, Qpn.SMI);
    this.#gsi = this.#open(pd, Qpn.GSI);
    this.#cq.arm();
  }

  /**
   * Does what completions ask for; returns how many there were. Not to be called from an interrupt handler. Nothing while a command
   * runs, since the answers need commands too.
   */
  readonly run = (): number => {
    if (this.#isRunning || !this.#hasEvent || this.#device.commands.isBusy) return 0;
    this.#isRunning = true;
    let count = 0;
    try {
      this.#hasEvent = false;
      this.#cq.arm();
      for (let done = this.#cq.poll(1); done.length > 0; done = this.#cq.poll(1)) {
        count++;
        if (done[0] !== undefined) this.#handle(done[0]);
      }
    } finally {
      this.#isRunning = false;
    }
    return count;
  };

  /**
   * Sends a general MAD from QP1 to QP1 of another port.
   * @param mad 256 bytes
   * @param to LID and service level
   */
  sendGeneral(mad: Uint8Array, to: { dlid: number; sl: number }): void {
    const address: MadAddress = {
      ...{ slid: 0, dlid: to.dlid, sl: to.sl, pkey: DEFAULT_PKEY },
      ...{ destQp: Qpn.GSI, srcQp: Qpn.GSI, qkey: GSI_QKEY },
    };
    this.#send(this.#gsi, buildMadPacket(address, new DataView(mad.buffer, mad.byteOffset, MAD_BYTES)), false);
  }

  #open(pd: number, wireQpn: number): SpecialQp {
    const number = this.#device.specialQpBase + (wireQpn === Qpn.SMI ? 0 : 2);
    const qp = new DriverQueuePair(this.#device, {
      service: Service.MLX,
      pd,
      number,
      sendCq: this.#cq,
      receiveCq: this.#cq,
      receiveWqes: RECEIVES,
      sendWqes: SENDS,
      sges: 3,
      signalAll: true,
    });
    qp.init({ qkey: wireQpn === Qpn.SMI ? 0 : GSI_QKEY });
    qp.readyToReceive();
    if (wireQpn === Qpn.SMI) this.#enablePort();
    qp.readyToSend();
    const first = wireQpn * (RECEIVES + SENDS);
    const freeSends = Array.from({ length: SENDS }, (_, i) => first + RECEIVES + i);
    const special: SpecialQp = { qp, wireQpn, receives: new Map(), sends: new Map(), freeSends };
    for (let i = 0; i < RECEIVES; i++) this.#postReceive(special, first + i);
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

  #postReceive(special: SpecialQp, slot: number): void {
    const address = this.#buffer.virtualAddress + BigInt(slot * SLOT_BYTES);
    const wqe = special.qp.postReceive([{ address, length: GRH_BYTES + MAD_BYTES, lkey: this.#buffer.lkey }]);
    special.receives.set(wqe, slot);
  }

  #handle(completion: Completion): void {
    const special = completion.qpn === this.#smi.qp.number ? this.#smi : this.#gsi;
    const slots = completion.isSend ? special.sends : special.receives;
    const slot = slots.get(completion.wqe);
    if (slot === undefined) return;
    slots.delete(completion.wqe);
    if (completion.isSend) {
      special.freeSends.push(slot);
      return;
    }
    if (completion.syndrome !== 0) return;
    this.#answer(special, slot, { slid: completion.rlid, sl: completion.sl, srcQp: completion.remoteQpn });
    this.#postReceive(special, slot);
  }

  #bytesOf(slot: number, offset: number, length: number): Uint8Array {
    const at = this.#buffer.block.at + slot * SLOT_BYTES + offset;
    return this.#device.access.memory.bytes.subarray(at, at + length);
  }

  #answer(special: SpecialQp, slot: number, from: MadSource): void {
    const mad = new Uint8Array(this.#bytesOf(slot, GRH_BYTES, MAD_BYTES));
    const view = new DataView(mad.buffer);
    const isSmi = special === this.#smi;
    const isDirected = MadHeader.mgmtClass.get(view, 0) === MgmtClass.SUBN_DIRECTED_ROUTE;
    if (isDirected && routeSmp(CA, view, 0, PORT) !== SmiRoute.AGENT) return;
    if (!(isSmi ? isForSma(view, 0) : isForPma(view, 0))) {
      if (!isSmi) this.onGeneralMad(view, from);
      return;
    }
    const response = executeMad(this.#device, mad, from);
    if (response === undefined) return;
    if (isDirected) {
      Smp.direction.set(response, 0, 1);
      if (routeSmp(CA, response, 0, 0) !== PORT) return;
    }
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

  #send(special: SpecialQp, packet: Uint8Array, isPermissive: boolean): void {
    const slot = special.freeSends.pop();
    if (slot === undefined) {
      this.droppedSends++;
      return;
    }
    this.#bytesOf(slot, 0, packet.length).set(packet);
    const parsed = parseMadPacket(packet);
    if (parsed === undefined) throw new Error("invariant: our own packet parses");
    const address = this.#buffer.virtualAddress + BigInt(slot * SLOT_BYTES);
    const { lkey } = this.#buffer;
    const headers = packet.length - MAD_BYTES;
    const wqe = special.qp.postSend({
      opcode: SendOpcode.SEND,
      sges: [
        { address, length: headers, lkey },
        { address: address + BigInt(headers), length: MAD_BYTES, lkey },
      ],
      management: { vl15: special === this.#smi, isPermissive, sl: parsed.sl, dlid: parsed.dlid },
    });
    special.sends.set(wqe, slot);
  }
}

/**
 * MAD_IFC: the firmware's agents answer, or none of them does (6.3).
 * @param from where it came from; left out for a question of our own, which needs no M_Key
 */
export function executeMad(device: Device, mad: Uint8Array, from?: MadSource): DataView | undefined {
  const slid = from?.slid ?? 0;
  const { status, output } = device.commands.run(Command.MAD_IFC, {
    modifier: PORT | (slid << 16),
    opcodeModifier: from === undefined ? MadIfcModifier.IGNORE_MKEY | MadIfcModifier.IGNORE_BKEY : MadIfcModifier.EXTENDED,
    accepts: [CommandStatus.BAD_PACKET],
    outputBytes: MAD_BYTES,
    input: (view, at) => {
      device.access.memory.bytes.set(mad, at);
      MadIfc.slid.set(view, at, slid);
    },
  });
  if (status !== CommandStatus.OK) return undefined;
  const isEcho = MadHeader.method.get(output, 0) === MadHeader.method.get(new DataView(mad.buffer, mad.byteOffset), 0);
  return isEcho ? undefined : output;
}
