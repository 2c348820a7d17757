// The multicast table as its driver keeps it: hash entries, and chains of overflow entries behind them. Docs "infinihost" 4.6, 7.1.

import { Command } from "../spec/hca/commands.ts";
import { MGM_BYTES, MGM_QP_VALID, MGM_QPN_MASK, MGM_QPS_AT, MGM_QPS_MAX, Mgm } from "../spec/hca/contexts.ts";
import { DriverError } from "./access.ts";
import type { CommandPort } from "./command-port.ts";
import type { IndexPool } from "./index-pool.ts";

/** An entry as read. */
interface Entry {
  readonly index: number;
  readonly view: DataView;
}

export class MulticastTable {
  readonly #commands: CommandPort;
  readonly #overflow: IndexPool;

  /** @param overflow indexes of the entries that are no hash entries */
  constructor(commands: CommandPort, overflow: IndexPool) {
    this.#commands = commands;
    this.#overflow = overflow;
  }

  /**
   * Lets a QP receive what is sent to a group.
   * @param mgid 16 bytes
   * @throws DriverError ENOMEM if the group has 56 QPs already, or the table is full
   */
  attach(mgid: Uint8Array, qpn: number): void {
    const chain = this.#chain(mgid);
    const last = chain[chain.length - 1]!;
    const found = chain.find(({ view }) => isOf(view, mgid)) ?? (isEmpty(chain[0]!.view) ? chain[0]! : undefined);
    const entry = found ?? { index: this.#overflow.allocate(), view: new DataView(new ArrayBuffer(MGM_BYTES)) };
    const qpns = qpnsOf(entry.view);
    if (qpns.includes(qpn)) return;
    if (qpns.length === MGM_QPS_MAX) throw new DriverError("ENOMEM", `multicast group: at most ${MGM_QPS_MAX} QPs of one HCA`);
    Mgm.mgid.set(entry.view, 0, mgid);
    writeQpns(entry.view, [...qpns, qpn]);
    this.#write(entry);
    if (found !== undefined) return;
    Mgm.next.set(last.view, 0, entry.index);
    this.#write(last);
  }

  /**
   * Ends that.
   * @throws DriverError EINVAL if the QP is not attached to the group
   */
  detach(mgid: Uint8Array, qpn: number): void {
    const chain = this.#chain(mgid);
    const place = chain.findIndex(({ view }) => isOf(view, mgid));
    const entry = chain[place];
    const qpns = entry === undefined ? [] : qpnsOf(entry.view);
    if (entry === undefined || !qpns.includes(qpn)) throw new DriverError("EINVAL", `QP ${qpn} is not attached to that group`);
    const left = qpns.filter((other) => other !== qpn);
    writeQpns(entry.view, left);
    if (left.length > 0 || place === 0) {
      if (left.length === 0) Mgm.mgid.set(entry.view, 0, new Uint8Array(16));
      this.#write(entry);
      return;
    }
    const before = chain[place - 1]!;
    Mgm.next.set(before.view, 0, Mgm.next.get(entry.view, 0));
    this.#write(before);
    this.#overflow.free(entry.index);
  }

  /** The entries of a group's hash, in order. */
  #chain(mgid: Uint8Array): Entry[] {
    const { lo } = this.#commands.run(Command.MGID_HASH, {
      input: (view, at) => mgid.forEach((byte, i) => void view.setUint8(at + i, byte)),
    });
    const chain: Entry[] = [];
    for (let index = lo & 0xffff; ; ) {
      const { output } = this.#commands.run(Command.READ_MGM, { modifier: index, outputBytes: MGM_BYTES });
      chain.push({ index, view: output });
      index = Mgm.next.get(output, 0);
      if (index === 0) return chain;
    }
  }

  #write({ index, view }: Entry): void {
    this.#commands.run(Command.WRITE_MGM, {
      modifier: index,
      input: (mailbox, at) => {
        for (let i = 0; i < MGM_BYTES; i += 4) mailbox.setUint32(at + i, view.getUint32(i));
      },
    });
  }
}

const isOf = (view: DataView, mgid: Uint8Array): boolean => mgid.every((byte, i) => Mgm.mgid.get(view, 0)[i] === byte);
const isEmpty = (view: DataView): boolean => Mgm.mgid.get(view, 0).every((byte) => byte === 0);

function qpnsOf(view: DataView): number[] {
  const qpns: number[] = [];
  for (let i = 0; i < MGM_QPS_MAX; i++) {
    const word = view.getUint32(MGM_QPS_AT + 4 * i);
    if ((word & MGM_QP_VALID) === 0) break;
    qpns.push(word & MGM_QPN_MASK);
  }
  return qpns;
}

function writeQpns(view: DataView, qpns: readonly number[]): void {
  for (let i = 0; i < MGM_QPS_MAX; i++) {
    const qpn = qpns[i];
    view.setUint32(MGM_QPS_AT + 4 * i, qpn === undefined ? 0 : (MGM_QP_VALID | qpn) >>> 0);
  }
}
