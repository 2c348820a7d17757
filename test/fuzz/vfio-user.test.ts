// What a vfio-user client may send: bytes at random, and right messages with wrong values. After every session the server keeps
// nothing: no memory, no descriptor; and the next client is served.

import assert from "node:assert/strict";
import { type LayoutInfo, writeAll } from "../../src/base/layout.ts";
import type { Random } from "../../src/base/random.ts";
import {
  DeviceInfo,
  DmaMap,
  DmaUnmap,
  FeatureRequest,
  IrqInfo,
  IrqSet,
  RegionAccess,
  RegionInfo,
  WriteMulti,
} from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { message, openDescriptors, type RawPeer, record, rig } from "../vfio-user/raw-peer.ts";
import { fuzz } from "./kit.ts";

const SESSIONS = 10;

const PAYLOADS = new Map<number, { readonly info: LayoutInfo; readonly byteLength: number }>([
  [Command.DMA_MAP, DmaMap],
  [Command.DMA_UNMAP, DmaUnmap],
  [Command.DEVICE_GET_INFO, DeviceInfo],
  [Command.DEVICE_GET_REGION_INFO, RegionInfo],
  [Command.DEVICE_GET_IRQ_INFO, IrqInfo],
  [Command.DEVICE_SET_IRQS, IrqSet],
  [Command.REGION_READ, RegionAccess],
  [Command.REGION_WRITE, RegionAccess],
  [Command.REGION_WRITE_MULTI, WriteMulti],
  [Command.DEVICE_FEATURE, FeatureRequest],
]);
const COMMANDS = [...PAYLOADS.keys()];

/** A number that is often small, often a boundary, sometimes anything. */
function number(random: Random, bits: 32 | 64): bigint {
  const kind = random.below(8);
  if (kind < 3) return BigInt(random.below(10));
  if (kind < 5) return BigInt(random.below(17)) * 4096n;
  if (kind === 5) return (1n << BigInt(random.below(bits))) - BigInt(random.below(2));
  const low = BigInt(random.u32());
  return bits === 32 ? low : (BigInt(random.u32()) << 32n) | low;
}

/** A command whose fields are drawn one by one, its length perhaps a little off. */
function command(random: Random): Buffer {
  const chosen = COMMANDS[random.below(COMMANDS.length)] ?? Command.DEVICE_GET_INFO;
  const of = PAYLOADS.get(chosen);
  if (of === undefined) return message(chosen);
  const payload = record(of, {}, new Uint8Array(random.chance(0.5) ? 0 : random.below(64)));
  const view = new DataView(payload.buffer, payload.byteOffset);
  for (const [name, field] of of.info.fields) {
    if (name === "argsz" && random.chance(0.9)) writeAll(of, view, 0, { argsz: 64 });
    else if (field.kind === "half64") writeAll(of, view, 0, { [name]: number(random, 64) });
    else if (field.kind === "number") writeAll(of, view, 0, { [name]: Number(number(random, 32)) });
  }
  const cut = random.chance(0.05) ? random.below(payload.length) : payload.length;
  return message(chosen, payload.subarray(0, cut), { noReply: random.chance(0.1) ? 1 : 0 });
}

/** Right messages with some bits turned over, or noise. */
function mangled(random: Random): Buffer {
  const bytes = random.chance(0.8)
    ? command(random)
    : Buffer.from(Array.from({ length: random.below(200) }, () => random.below(256)));
  for (let flips = random.below(4); flips > 0 && bytes.length > 0; flips--) {
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }
  return bytes;
}

function play(random: Random, one: RawPeer, descriptors: readonly number[]): void {
  for (let i = random.below(60); i > 0; i--) {
    const count = random.chance(0.4) ? random.below(3) : random.below(40) === 0 ? 20 : 0;
    const given = Array.from({ length: count }, () => descriptors[random.below(descriptors.length)] ?? 0);
    const bytes = random.chance(0.85) ? command(random) : mangled(random);
    if (bytes.length === 0) continue;
    const split = random.chance(0.1) ? random.below(bytes.length) : 0;
    if (split > 0) one.put(bytes.subarray(0, split), []);
    if (one.put(bytes.subarray(split), given) < 0) return;
    one.turn();
    while (one.receive() !== undefined);
  }
}

fuzz("vfio-user", (random) => {
  const ends: (() => void)[] = [];
  const { server, device, peer, ready, registry, eventfds, memory } = rig({ after: (end) => ends.push(end as () => void) });
  const ram = memory(65536);
  const descriptors = [...eventfds(2), ram.descriptor, device.shared.descriptor, 0];
  const before = openDescriptors();
  for (let i = 0; i < SESSIONS; i++) {
    const one = random.chance(0.95) ? ready() : peer();
    play(random, one, descriptors);
    for (let vector = 0; vector < 8; vector++) device.interrupts?.signal(2, vector);
    device.interrupts?.setIntx(random.chance(0.5));
    one.close();
    assert.equal(server.isConnected, false);
    assert.equal(registry.size, 0);
    assert.equal(device.dma.mappedBytes, 0);
    assert.equal(openDescriptors(), before);
  }
  ready().expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
  for (const end of ends) end();
});
