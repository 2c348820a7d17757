// For tests of the administrator: a subnet that runs, and questions from its hosts.

import assert from "node:assert/strict";
import { Random } from "../../src/base/random.ts";
import { SimulatedSubnet, type SimulatedSubnetOptions } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf, newMad, newRequest } from "../../src/mad/mad.ts";
import type { MadPacket } from "../../src/mad/packet.ts";
import type { SubnetManagerOptions } from "../../src/sm/options.ts";
import { type SubnetManager, subnetManager } from "../../src/sm/subnet-manager.ts";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES, SaHeader } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, RmppFlag, RmppType, SaAttribute } from "../../src/spec/mad/numbers.ts";

export const S = 1e9;
export const AT = SA_DATA_AT;

export function running(options: Partial<SimulatedSubnetOptions> = {}, sm: Partial<SubnetManagerOptions> = {}) {
  const subnet = new SimulatedSubnet({ hosts: 3, ...options, endpoint: subnetManager({ random: new Random(2), ...sm }) });
  subnet.enableAll();
  assert.ok(subnet.run(() => subnet.hosts.every(({ port }) => port.isActive), S));
  return { subnet, manager: subnet.endpoint as SubnetManager };
}

export const bit = (...bits: number[]): bigint => bits.reduce((mask, n) => mask | (1n << BigInt(n)), 0n);
export const statusOf = (packet: MadPacket): number => MadHeader.status.get(packet.view, packet.madAt);

/** Sends a request from a host and returns the one answer. */
export function ask(subnet: SimulatedSubnet, host: number, mad: DataView): MadPacket {
  subnet.host(host).sendGmp(subnet.port(host).smLid, mad);
  subnet.runFor(0);
  const answers = subnet.host(host).received.splice(0);
  assert.equal(answers.length, 1);
  const answer = answers[0]!;
  assert.equal(MadHeader.tid.getBig(answer.view, answer.madAt), MadHeader.tid.getBig(mad, 0));
  assert.equal(answer.destQp, 1);
  return answer;
}

export function request(
  method: number,
  attribute: number,
  mask: bigint,
  fill: (mad: DataView) => void = () => {},
  smKey = 0n,
): DataView {
  const mad = newRequest(MgmtClass.SUBN_ADM, method, attribute);
  MadHeader.tid.setBig(mad, 0, 0x5500000077n);
  SaHeader.componentMask.setBig(mad, 0, mask);
  SaHeader.smKey.setBig(mad, 0, smKey);
  fill(mad);
  return mad;
}

/** GID of a host's port, as the guest has it in its table. */
export const gidOf = (subnet: SimulatedSubnet, host: number): Uint8Array => subnet.port(host).gids.slice(0, 16);

/** The bytes of a MAD written as text, padded with zeros. */
export function madOf(text: string): DataView {
  const mad = newMad();
  bytesOf(mad).set(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
  return mad;
}
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Receives a table as the kernel does: acknowledges segments, returns records of `stride` bytes. */
export function askTable(subnet: SimulatedSubnet, host: number, mad: DataView): { records: DataView[]; segments: number } {
  const driver = subnet.host(host);
  driver.sendGmp(subnet.port(host).smLid, mad);
  const parts: Uint8Array[] = [];
  let stride = 0;
  for (let window = 1, isLast = false; !isLast; ) {
    subnet.runFor(0);
    const segments = driver.received.splice(0);
    const [first] = segments;
    assert.ok(first !== undefined);
    for (const { view, madAt, bytes } of segments) {
      assert.equal(MadHeader.method.get(view, madAt), Method.GET_TABLE_RESP);
      assert.equal(MadHeader.status.get(view, madAt), 0);
      assert.equal(Rmpp.type.get(view, madAt), RmppType.DATA);
      assert.equal(Rmpp.segment.get(view, madAt), parts.length + 1, "in order");
      isLast = (Rmpp.flags.get(view, madAt) & RmppFlag.LAST) !== 0;
      stride = SaHeader.attributeOffset.get(view, madAt) * 8;
      const length = isLast ? Rmpp.payloadOrWindow.get(view, madAt) - 20 : SA_DATA_BYTES;
      parts.push(bytes.slice(madAt + AT, madAt + AT + length));
    }
    assert.ok(parts.length <= window);
    window += 64;
    const ack = newMad();
    bytesOf(ack).set(first.bytes.subarray(first.madAt, first.madAt + 56));
    MadHeader.method.set(ack, 0, Method.GET_TABLE);
    Rmpp.type.set(ack, 0, RmppType.ACK);
    Rmpp.flags.set(ack, 0, RmppFlag.ACTIVE);
    Rmpp.segment.set(ack, 0, parts.length);
    Rmpp.payloadOrWindow.set(ack, 0, window);
    driver.sendGmp(subnet.port(host).smLid, ack);
  }
  subnet.runFor(0);
  const all = Buffer.concat(parts);
  const records: DataView[] = [];
  for (let at = 0; stride > 0 && at < all.length; at += stride)
    records.push(new DataView(all.buffer, all.byteOffset + at, stride));
  return { records, segments: parts.length };
}

export function path(mask: bigint, fill: (mad: DataView) => void, method: number = Method.GET): DataView {
  return request(method, SaAttribute.PATH_RECORD, mask, fill);
}
