// The Ethernet between the guests of a lab: a learning switch on a UNIX socket. QEMU's `-netdev stream` sends each frame after
// its length as four bytes, big-endian (QEMU, net/stream.c). No privileges, and no other lab can be met by accident.

import { createServer, type Server, type Socket } from "node:net";

const LENGTH_BYTES = 4;
const ADDRESS_BYTES = 6;
/** QEMU's own limit for a frame on a stream (NET_BUFSIZE). */
const MAX_FRAME = 4096 + 65536;
/** Frames for a guest that does not read are dropped beyond this many bytes, as a real switch does. */
export const QUEUE_LIMIT_BYTES = 4 << 20;
/** Addresses remembered; a guest that invents more makes us forget the oldest. */
export const TABLE_LIMIT = 1024;

interface Port {
  readonly socket: Socket;
  /** The start of a frame whose rest has not come yet. */
  rest: Buffer;
}

export interface SwitchCounters {
  frames: number;
  flooded: number;
  dropped: number;
}

export class EthernetSwitch {
  readonly counters: SwitchCounters = { frames: 0, flooded: 0, dropped: 0 };
  readonly #server: Server;
  readonly #ports = new Set<Port>();
  readonly #table = new Map<number, Port>();

  private constructor() {
    this.#server = createServer((socket) => this.#attach(socket));
  }

  /** Listens on a UNIX socket. */
  static async listen(path: string): Promise<EthernetSwitch> {
    const self = new EthernetSwitch();
    await new Promise<void>((resolve, reject) => {
      self.#server.once("error", reject);
      self.#server.listen(path, resolve);
    });
    return self;
  }

  get portCount(): number {
    return this.#ports.size;
  }

  /** Addresses remembered now. */
  get addressCount(): number {
    return this.#table.size;
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.#ports) socket.destroy();
  }

  #attach(socket: Socket): void {
    const port: Port = { socket, rest: Buffer.alloc(0) };
    this.#ports.add(port);
    const detach = (): void => {
      this.#ports.delete(port);
      for (const [address, owner] of this.#table) if (owner === port) this.#table.delete(address);
    };
    socket.on("error", () => {});
    socket.on("close", detach);
    socket.on("data", (chunk: Buffer) => this.#receive(port, chunk));
  }

  #receive(port: Port, chunk: Buffer): void {
    const bytes = port.rest.length === 0 ? chunk : Buffer.concat([port.rest, chunk]);
    let at = 0;
    // Frames that follow each other to one place are passed on in one piece.
    let runStart = 0;
    let runTarget: Port | undefined;
    while (bytes.length - at >= LENGTH_BYTES) {
      const length = bytes.readUInt32BE(at);
      if (length > MAX_FRAME) {
        port.socket.destroy();
        return;
      }
      const next = at + LENGTH_BYTES + length;
      if (next > bytes.length) break;
      const target = length < 2 * ADDRESS_BYTES ? undefined : this.#route(port, bytes, at + LENGTH_BYTES);
      if (target !== runTarget || target === undefined) {
        this.#forward(port, runTarget, bytes.subarray(runStart, at));
        runStart = at;
        runTarget = target;
        if (target === undefined) {
          this.#flood(port, bytes.subarray(at, next));
          runStart = next;
        }
      }
      at = next;
    }
    this.#forward(port, runTarget, bytes.subarray(runStart, at));
    port.rest = Buffer.from(bytes.subarray(at));
  }

  /** Learns the source; the port of the destination, undefined for "all". */
  #route(from: Port, bytes: Buffer, frame: number): Port | undefined {
    this.counters.frames++;
    const source = bytes.readUIntBE(frame + ADDRESS_BYTES, ADDRESS_BYTES);
    if (this.#table.get(source) !== from) this.#learn(source, from);
    const isGroup = ((bytes[frame] ?? 0) & 1) === 1;
    return isGroup ? undefined : this.#table.get(bytes.readUIntBE(frame, ADDRESS_BYTES));
  }

  #learn(address: number, port: Port): void {
    this.#table.delete(address);
    if (this.#table.size >= TABLE_LIMIT) {
      const oldest = this.#table.keys().next().value;
      if (oldest !== undefined) this.#table.delete(oldest);
    }
    this.#table.set(address, port);
  }

  #flood(from: Port, frame: Buffer): void {
    if (frame.length < LENGTH_BYTES + 2 * ADDRESS_BYTES) return;
    this.counters.flooded++;
    for (const port of this.#ports) if (port !== from) this.#forward(from, port, frame);
  }

  #forward(from: Port, to: Port | undefined, frames: Buffer): void {
    if (to === undefined || to === from || frames.length === 0) return;
    if (to.socket.writableLength > QUEUE_LIMIT_BYTES) this.counters.dropped++;
    else to.socket.write(frames);
  }
}
