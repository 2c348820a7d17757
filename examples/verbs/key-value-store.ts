// A key-value store read with one-sided RDMA: the server's program fills a table and then does nothing; a client looks keys up in the
// server's memory, one RDMA read for each, and sees by a version before and after the value whether it met a change half done.
// How to run it: see rc-pingpong.ts.

import { AccessFlag, type Context, connectQp } from "../../src/verbs/index.ts";
import { openTwo } from "./devices.ts";

const SLOTS = 1024;
/** Version, key, value, version again. */
const SLOT_BYTES = 128;
const KEY_AT = 4;
const VALUE_AT = 36;
const VERSION_AT = SLOT_BYTES - 4;

/** FNV-1a. */
const slotOf = (key: string): number =>
  [...Buffer.from(key)].reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193) >>> 0, 0x811c9dc5) % SLOTS;
const textOf = (slot: Buffer, from: number, to: number): string => slot.toString("utf8", from, to).replace(/\0+$/, "");

/** The server's side: plain stores into its own memory. An odd version means "being changed". */
function put(table: Buffer, key: string, value: string): void {
  for (let i = slotOf(key); ; i = (i + 1) % SLOTS) {
    const slot = table.subarray(i * SLOT_BYTES, (i + 1) * SLOT_BYTES);
    const found = textOf(slot, KEY_AT, VALUE_AT);
    if (found !== "" && found !== key) continue;
    const version = slot.readUInt32LE(0);
    slot.writeUInt32LE(version + 1, 0);
    slot.fill(0, KEY_AT, VERSION_AT);
    slot.write(key, KEY_AT, VALUE_AT - KEY_AT);
    slot.write(value, VALUE_AT, VERSION_AT - VALUE_AT);
    slot.writeUInt32LE(version + 2, VERSION_AT);
    slot.writeUInt32LE(version + 2, 0);
    return;
  }
}

function newSide(context: Context, bytes: number, access: number) {
  const pd = context.allocPd();
  const cq = context.createCq(16);
  const mr = pd.regMr(context.allocMemory(bytes), access);
  return { mr, qp: pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq }), lid: context.queryPort().lid };
}

const [first, second] = await openTwo();
const server = newSide(first, SLOTS * SLOT_BYTES, AccessFlag.REMOTE_READ);
const client = newSide(second, SLOT_BYTES, AccessFlag.LOCAL_WRITE);
connectQp(server.qp, { lid: client.lid, qpNum: client.qp.qpNum, qpAccessFlags: AccessFlag.REMOTE_READ });
connectQp(client.qp, { lid: server.lid, qpNum: server.qp.qpNum, qpAccessFlags: 0 });

let reads = 0;

/** The client's side: reads of the server's memory. */
async function get(key: string): Promise<string | undefined> {
  const { bytes, addr, lkey } = client.mr;
  for (let i = slotOf(key); ; i = (i + 1) % SLOTS) {
    do {
      const remote = { remoteAddr: server.mr.addr + i * SLOT_BYTES, rkey: server.mr.rkey };
      await client.qp.send({ opcode: "RDMA_READ", sgList: [{ addr, length: SLOT_BYTES, lkey }], ...remote });
      reads++;
    } while (bytes.readUInt32LE(0) !== bytes.readUInt32LE(VERSION_AT) || bytes.readUInt32LE(0) % 2 === 1);
    const found = textOf(bytes, KEY_AT, VALUE_AT);
    if (found === key) return textOf(bytes, VALUE_AT, VERSION_AT);
    if (found === "") return undefined;
  }
}

for (let i = 0; i < 500; i++) put(server.mr.bytes, `user:${i}`, `number ${i}, the ${i % 2 === 0 ? "even" : "odd"} one`);
put(server.mr.bytes, "user:42", "the answer");
const start = performance.now();
for (let i = 0; i < 500; i++) {
  const value = await get(`user:${i}`);
  if (i === 41 || i === 42) console.log(`user:${i} = ${value}`);
}
console.log(`user:501 = ${await get("user:501")}`);
const us = ((performance.now() - start) * 1000) / reads;
console.log(`${reads} RDMA reads for 501 keys, ${us.toFixed(1)} µs each; the server's program took part in none of them`);
process.exit();
