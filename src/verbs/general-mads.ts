// General management datagrams of a context: QP1 has many users, each with its class and methods. IBA vol 1, 13.4, 13.5.1.

import type { MadSource, ManagementAgent } from "../driver/management-agent.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MAD_BYTES } from "../spec/mad/numbers.ts";

export type { MadSource };

/** Where a MAD goes. */
export interface MadDestination {
  readonly dlid: number;
  readonly sl: number;
}

/** Called with a MAD of one's own (256 bytes, to be kept if one likes) and its sender. */
export type MadHandler = (mad: DataView, from: MadSource) => void;

export interface GeneralMadCounts {
  sent: number;
  received: number;
  /** Of a class and method that nobody here handles. */
  unhandled: number;
}

export class GeneralMads {
  readonly counts: GeneralMadCounts = { sent: 0, received: 0, unhandled: 0 };
  /** For tests: loses what it returns true for, on its way out or in. */
  filter: (mad: DataView, isSent: boolean) => boolean = () => false;
  readonly #agent: ManagementAgent;
  readonly #handlers = new Map<number, MadHandler>();

  constructor(agent: ManagementAgent) {
    this.#agent = agent;
    agent.onGeneralMad = (mad, from) => this.#receive(mad, from);
  }

  /** From now on `handler` gets the MADs of a class that carry one of `methods`. */
  handle(mgmtClass: number, methods: readonly number[], handler: MadHandler): void {
    for (const method of methods) this.#handlers.set(keyOf(mgmtClass, method), handler);
  }

  /** Sends a MAD to QP1 of another port. It may be lost. */
  send(mad: DataView, to: MadDestination): void {
    if (this.filter(mad, true)) return;
    this.counts.sent++;
    this.#agent.sendGeneral(new Uint8Array(mad.buffer, mad.byteOffset, MAD_BYTES), to);
  }

  #receive(mad: DataView, from: MadSource): void {
    if (this.filter(mad, false)) return;
    this.counts.received++;
    const isSound = MadHeader.baseVersion.get(mad, 0) === MAD_BASE_VERSION;
    const key = keyOf(MadHeader.mgmtClass.get(mad, 0), MadHeader.method.get(mad, 0));
    const handler = isSound ? this.#handlers.get(key) : undefined;
    if (handler === undefined) this.counts.unhandled++;
    else handler(mad, from);
  }
}

const keyOf = (mgmtClass: number, method: number): number => (mgmtClass << 8) | method;
