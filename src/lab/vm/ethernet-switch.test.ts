import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { EthernetSwitch, QUEUE_LIMIT_BYTES, TABLE_LIMIT } from "./ethernet-switch.ts";

const BROADCAST = 0xffffffffffff;

/** A frame as QEMU sends it: length, destination, source, the rest. */
function frame(to: number, from: number, text = "", length = 60): Buffer {
  const bytes = Buffer.alloc(4 + length);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUIntBE(to, 4, 6);
  bytes.writeUIntBE(from, 10, 6);
  bytes.write(text, 16);
  return bytes;
}

/** One guest's end of the cable. */
class Guest {
  readonly frames: string[] = [];
  readonly socket: Socket;
  #rest = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      while (this.#rest.length >= 4 && this.#rest.length >= 4 + this.#rest.readUInt32BE(0)) {
        const length = this.#rest.readUInt32BE(0);
        this.frames.push(this.#rest.toString("latin1", 16, 4 + length).replace(/\0+$/, ""));
        this.#rest = this.#rest.subarray(4 + length);
      }
    });
  }

  async expect(...frames: string[]): Promise<void> {
    for (let tries = 0; this.frames.length < frames.length && tries < 200; tries++) await tick();
    assert.deepEqual(this.frames.splice(0), frames);
  }
}

const tick = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

let folder: string;
let ethernet: EthernetSwitch;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vhca-eth-"));
  ethernet = await EthernetSwitch.listen(join(folder, "eth"));
});
afterEach(() => {
  ethernet.close();
  rmSync(folder, { recursive: true });
});

async function guests(count: number): Promise<Guest[]> {
  const all: Guest[] = [];
  for (let index = 0; index < count; index++) {
    const socket = connect(join(folder, "eth"));
    socket.on("error", () => {});
    await once(socket, "connect");
    all.push(new Guest(socket));
  }
  while (ethernet.portCount < count) await tick();
  return all;
}

test("switch: unknown and group addresses go to all others, learned ones to their owner only", async () => {
  const [a, b, c] = (await guests(3)) as [Guest, Guest, Guest];
  a.socket.write(frame(BROADCAST, 0x2a, "who is b"));
  await b.expect("who is b");
  await c.expect("who is b");
  b.socket.write(frame(0x2a, 0x2b, "I am"));
  await a.expect("I am");
  a.socket.write(
    Buffer.concat([
      frame(0x2b, 0x2a, "one"),
      frame(0x2b, 0x2a, "two"),
      frame(BROADCAST, 0x2a, "all"),
      frame(0x2b, 0x2a, "three"),
    ]),
  );
  await b.expect("one", "two", "all", "three");
  await c.expect("all");
  assert.deepEqual(a.frames, []);
});

test("switch: frames cut anywhere arrive whole and in order", async () => {
  const [a, b] = (await guests(2)) as [Guest, Guest];
  const names = Array.from({ length: 20 }, (_, index) => `frame ${index}`);
  const bytes = Buffer.concat(names.map((name, index) => frame(0x2b, 0x2a, name, 60 + index)));
  for (let at = 0; at < bytes.length; at += 37) {
    a.socket.write(bytes.subarray(at, at + 37));
    if (at % 5 === 0) await tick(1);
  }
  await b.expect(...names);
});

test("switch: an address moves with its guest, and is forgotten when the guest goes", async () => {
  const [a, b, c] = (await guests(3)) as [Guest, Guest, Guest];
  b.socket.write(frame(BROADCAST, 0x2b, "here"));
  await a.expect("here");
  await c.expect("here");
  c.socket.write(frame(BROADCAST, 0x2b, "moved"));
  await a.expect("moved");
  await b.expect("moved");
  a.socket.write(frame(0x2b, 0x2a, "to c"));
  await c.expect("to c");
  assert.deepEqual(b.frames, []);
  c.socket.destroy();
  while (ethernet.portCount > 2) await tick();
  a.socket.write(frame(0x2b, 0x2a, "anyone"));
  await b.expect("anyone");
});

test("switch: a guest that does not read loses frames instead of filling our memory; nonsense ends its own cable only", async () => {
  const [a, b, c] = (await guests(3)) as [Guest, Guest, Guest];
  b.socket.write(frame(BROADCAST, 0x2b, "b"));
  await a.expect("b");
  b.socket.pause();
  const burst = Buffer.concat(Array.from({ length: 40 }, () => frame(0x2b, 0x2a, "x", 60_000)));
  for (let sent = 0; sent < 4 * QUEUE_LIMIT_BYTES; sent += burst.length)
    if (!a.socket.write(burst)) await once(a.socket, "drain");
  for (let tries = 0; ethernet.counters.dropped === 0 && tries < 200; tries++) await tick();
  assert.ok(ethernet.counters.dropped > 0);
  const nonsense = Buffer.alloc(64, 0xff);
  a.socket.write(nonsense);
  await once(a.socket, "close");
  b.socket.destroy();
  while (ethernet.portCount > 1) await tick();
  assert.equal(c.socket.destroyed, false);
});

test("switch: invented addresses do not grow the table for ever, short frames are ignored", async () => {
  const [a, b] = (await guests(2)) as [Guest, Guest];
  b.socket.write(frame(BROADCAST, 0x2b, "b"));
  await a.expect("b");
  a.socket.write(Buffer.concat(Array.from({ length: TABLE_LIMIT + 5 }, (_, index) => frame(0x2a0000, 0x100000 + 2 * index))));
  a.socket.write(Buffer.from([0, 0, 0, 3, 1, 2, 3]));
  a.socket.write(frame(0x2b, 0x2a, "end"));
  for (let tries = 0; !b.frames.includes("end") && tries < 200; tries++) await tick();
  assert.ok(ethernet.addressCount <= TABLE_LIMIT);
});
