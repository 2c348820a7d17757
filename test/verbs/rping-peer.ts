// The two sides of rping (rdma-core, librdmacm/examples), as a program on our library. Its messages are 16 bytes: where a buffer is.
// A ping: the client says where its data are, the server reads them and says so; the client says where it wants them, the server
// writes them there and says so.

import assert from "node:assert/strict";
import {
  ALL_ACCESS,
  type CompletionQueue,
  type Connection,
  type ConnectionQpOptions,
  type Context,
  type DmaMemory,
  type MemoryRegion,
  type ProtectionDomain,
  type QueuePair,
} from "../../src/verbs/index.ts";

const MESSAGE_BYTES = 16;
const SOURCE_AT = 4096;
const SINK_AT = 8192;
const MEMORY_BYTES = 12288;
const TIMEOUT = { timeoutMs: 20_000 };

export class RpingPeer {
  readonly pd: ProtectionDomain;
  readonly cq: CompletionQueue;
  readonly #memory: DmaMemory;
  readonly #mr: MemoryRegion;

  constructor(context: Context) {
    this.pd = context.allocPd();
    this.cq = context.createCq(63);
    this.#memory = context.allocMemory(MEMORY_BYTES);
    this.#mr = this.pd.regMr(this.#memory, ALL_ACCESS);
  }

  get qp(): ConnectionQpOptions {
    return { pd: this.pd, sendCq: this.cq, recvCq: this.cq };
  }

  destroy(): void {
    this.#mr.destroy();
    this.#memory.destroy();
    this.cq.destroy();
    this.pd.destroy();
  }

  /** Before connecting or accepting: the other side may send at once. */
  postReceives(qp: QueuePair): void {
    for (let i = 0; i < 2; i++) this.#receive(qp);
  }

  #receive(qp: QueuePair): void {
    qp.postRecv({ wrId: 1, sgList: [this.#piece(0, MESSAGE_BYTES)] });
  }

  #piece(offset: number, length: number): { addr: number; length: number; lkey: number } {
    return { addr: this.#mr.addr + offset, length, lkey: this.#mr.lkey };
  }

  async #message(qp: QueuePair): Promise<{ remoteAddr: bigint; rkey: number; length: number }> {
    const wc = await this.cq.next(TIMEOUT);
    assert.deepEqual([wc.status, wc.opcode, wc.byteLen], ["SUCCESS", "RECV", MESSAGE_BYTES]);
    const { bytes } = this.#mr;
    const found = { remoteAddr: bytes.readBigUInt64BE(0), rkey: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) };
    this.#receive(qp);
    return found;
  }

  async #say(qp: QueuePair, offset: number, length: number): Promise<void> {
    const at = 64;
    this.#mr.bytes.writeBigUInt64BE(BigInt(this.#mr.addr + offset), at);
    this.#mr.bytes.writeUInt32BE(this.#mr.rkey, at + 8);
    this.#mr.bytes.writeUInt32BE(length, at + 12);
    await qp.send({ opcode: "SEND", sgList: [this.#piece(at, MESSAGE_BYTES)] }, TIMEOUT);
  }

  /** The client's part of one ping: `data` must come back. */
  async ping({ qp }: Connection, data: string): Promise<string> {
    const { bytes } = this.#mr;
    const length = Buffer.byteLength(data) + 1;
    bytes.fill(0, SOURCE_AT);
    bytes.write(data, SOURCE_AT);
    await this.#say(qp, SOURCE_AT, length);
    await this.#message(qp);
    await this.#say(qp, SINK_AT, length);
    await this.#message(qp);
    return bytes.toString("latin1", SINK_AT, SINK_AT + length - 1);
  }

  /** The server's part of one ping; what the client sent. */
  async serve({ qp }: Connection): Promise<string> {
    const source = await this.#message(qp);
    const { length, ...from } = source;
    await qp.send({ opcode: "RDMA_READ", sgList: [this.#piece(SOURCE_AT, length)], ...from }, TIMEOUT);
    await this.#say(qp, SOURCE_AT, length);
    const { length: room, ...to } = await this.#message(qp);
    await qp.send({ opcode: "RDMA_WRITE", sgList: [this.#piece(SOURCE_AT, Math.min(room, length))], ...to }, TIMEOUT);
    await this.#say(qp, SOURCE_AT, length);
    return this.#mr.bytes.toString("latin1", SOURCE_AT, SOURCE_AT + length).replace(/\0.*$/s, "");
  }
}
