// What the preload library says to the server, datagram by datagram, and whatever else somebody may send there.

import assert from "node:assert/strict";
import { AbstractDatagramSocket } from "../../src/host/abstract-datagram.ts";
import { allocateNative } from "../../src/host/mapping.ts";
import { bytesOf } from "../../src/mad/mad.ts";
import {
  CONTROL_DATA_AT,
  Connect,
  Control,
  ControlType,
  DATAGRAM_MAD_AT,
  IBSIM_MAGIC,
  MadDatagram,
  SocketName,
} from "../../src/spec/ibsim/messages.ts";
import { MAD_BYTES } from "../../src/spec/mad/numbers.ts";

export interface Received {
  readonly mad: DataView;
  readonly status: number;
  readonly slid: number;
  readonly srcQp: number;
}

let nextId = 1;

/** A program attached by the library; `turn` lets the other side work. */
export class RawClient {
  readonly id: number;
  slot = -1;
  readonly #base: string;
  readonly #turn: () => void;
  readonly #turns: number;
  readonly #memory = allocateNative(4096);
  readonly #control: AbstractDatagramSocket;
  readonly #data: AbstractDatagramSocket;
  #isClosed = false;

  /** @param turns how often the other side may have its turn before it owes an answer */
  constructor(base: string, turn: () => void, id = nextId++, turns = 1) {
    this.#turns = turns;
    this.id = id;
    this.#base = base;
    this.#turn = turn;
    this.#control = new AbstractDatagramSocket(`${base}:ctl${id}`);
    this.#data = new AbstractDatagramSocket(SocketName.clientData(base, id));
    assert.equal(this.#control.connect(SocketName.control(base)), 0);
  }

  /** Attaches; the name of the node it got, undefined if it was refused. */
  connect(node = "", isSm = false): string | undefined {
    const data = new DataView(new ArrayBuffer(64));
    Connect.id.set(data, 0, this.id);
    Connect.isSm.set(data, 0, isSm ? 1 : 0);
    Connect.nodeName.set(data, 0, Buffer.from(node));
    const reply = this.ask(ControlType.CONNECT, bytesOf(data));
    assert.ok(reply, "CONNECT is answered");
    if (Control.type.get(reply, 0) === ControlType.ERROR) return undefined;
    this.slot = Connect.id.get(reply, CONTROL_DATA_AT);
    assert.equal(this.#data.connect(SocketName.data(this.#base, this.slot)), 0);
    return Buffer.from(Connect.nodeName.get(reply, CONTROL_DATA_AT)).toString().replace(/\0.*/, "");
  }

  /** The reply to a control message, or undefined if there is none. */
  ask(type: number, data: Uint8Array = new Uint8Array(0), slot = this.slot): DataView | undefined {
    const message = new DataView(new ArrayBuffer(Control.byteLength));
    Control.magic.set(message, 0, IBSIM_MAGIC);
    Control.client.set(message, 0, slot);
    Control.type.set(message, 0, type);
    Control.length.set(message, 0, data.length);
    bytesOf(message).set(data, CONTROL_DATA_AT);
    this.sendControl(bytesOf(message));
    for (let i = 0; i < this.#turns; i++) {
      this.#turn();
      const length = this.#control.receive(this.#memory, 0, 1024);
      if (length >= 0) return new DataView(Uint8Array.from(this.#memory.bytes.subarray(0, length)).buffer);
    }
    return undefined;
  }

  sendControl(bytes: Uint8Array): number {
    this.#memory.bytes.set(bytes);
    return this.#control.send(this.#memory, 0, bytes.length);
  }

  sendBytes(bytes: Uint8Array): number {
    this.#memory.bytes.set(bytes);
    return this.#data.send(this.#memory, 0, bytes.length);
  }

  send(dlid: number, destQp: number, mad: DataView): number {
    const message = new DataView(new ArrayBuffer(MadDatagram.byteLength));
    MadDatagram.dlid.set(message, 0, dlid);
    MadDatagram.destQp.set(message, 0, destQp);
    MadDatagram.srcQp.set(message, 0, destQp);
    MadDatagram.length.lo.set(message, 0, MAD_BYTES);
    bytesOf(message).set(bytesOf(mad), DATAGRAM_MAD_AT);
    return this.sendBytes(bytesOf(message));
  }

  receive(): Received | undefined {
    const length = this.#data.receive(this.#memory, 0, 1024);
    if (length < 0) return undefined;
    assert.equal(length, MadDatagram.byteLength);
    const { view, bytes } = this.#memory;
    return {
      mad: new DataView(Uint8Array.from(bytes.subarray(DATAGRAM_MAD_AT, DATAGRAM_MAD_AT + MAD_BYTES)).buffer),
      status: MadDatagram.status.get(view, 0),
      slid: MadDatagram.slid.get(view, 0),
      srcQp: MadDatagram.srcQp.get(view, 0),
    };
  }

  /** Sends a request and takes what comes back after a turn. */
  call(dlid: number, destQp: number, mad: DataView): Received | undefined {
    this.send(dlid, destQp, mad);
    this.#turn();
    return this.receive();
  }

  /** As a killed program leaves. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#control.close();
    this.#data.close();
  }
}
