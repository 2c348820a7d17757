import assert from "node:assert/strict";
import { test } from "node:test";
import { CmDrep, CmDreq, CmMra, CmRej, CmRep, CmReq, CmRtu, cmTimeNs, IpCmHeader } from "./cm.ts";

test("every message fills the MAD, and its private data reach to the end", () => {
  const lengths = [CmReq, CmMra, CmRej, CmRep, CmRtu, CmDreq, CmDrep].map(({ byteLength, privateData }) => {
    assert.equal(byteLength, 256 - 24);
    assert.equal(privateData.offset + privateData.length, byteLength);
    return privateData.length;
  });
  // IBA vol 1, 12.6: bytes of private data of each
  assert.deepEqual(lengths, [92, 222, 148, 196, 224, 220, 224]);
});

test("REQ: fields that share words, as ib_cm has them", () => {
  const words = new DataView(new ArrayBuffer(232));
  words.setUint32(32, 0x00040604);
  words.setUint32(36, 0x00000001);
  words.setUint32(40, 0x000000a5);
  words.setUint32(44, 0xabcdefa7);
  words.setUint32(48, 0xffff47f8);
  words.setUint32(88, 0x12345006);
  words.setUint32(92, 0x20403898);
  const read = (field: { get(view: DataView, at: number): number }): number => field.get(words, 0);
  assert.deepEqual([CmReq.localQpn, CmReq.responderResources, CmReq.initiatorDepth].map(read), [0x406, 4, 1]);
  assert.deepEqual([CmReq.remoteResponseTimeout, CmReq.transportType, CmReq.flowControl].map(read), [20, 2, 1]);
  assert.deepEqual([CmReq.startingPsn, CmReq.localResponseTimeout, CmReq.retryCount].map(read), [0xabcdef, 20, 7]);
  assert.deepEqual([CmReq.pkey, CmReq.pathMtu, CmReq.rdcExists, CmReq.rnrRetryCount].map(read), [0xffff, 4, 0, 7]);
  assert.deepEqual([CmReq.maxCmRetries, CmReq.srq, CmReq.extendedTransportType].map(read), [15, 1, 0]);
  assert.deepEqual([CmReq.flowLabel, CmReq.packetRate].map(read), [0x12345, 6]);
  assert.deepEqual([CmReq.trafficClass, CmReq.hopLimit, CmReq.sl, CmReq.subnetLocal].map(read), [0x20, 0x40, 3, 1]);
  assert.equal(CmReq.ackTimeout.get(words, 0), 19);
  // the alternate path repeats the primary one 44 bytes further on
  const pairs = [
    [CmReq.localLid, CmReq.alternateLocalLid],
    [CmReq.remoteGid, CmReq.alternateRemoteGid],
    [CmReq.flowLabel, CmReq.alternateFlowLabel],
    [CmReq.ackTimeout, CmReq.alternateAckTimeout],
  ] as const;
  for (const [primary, alternate] of pairs) assert.equal(alternate.offset - primary.offset, 44);
});

test("REP and REJ: fields that share bytes", () => {
  const words = new DataView(new ArrayBuffer(232));
  words.setUint32(24, 0x04017df0);
  const read = (field: { get(view: DataView, at: number): number }): number => field.get(words, 0);
  assert.deepEqual([CmRep.responderResources, CmRep.initiatorDepth, CmRep.targetAckDelay].map(read), [4, 1, 15]);
  assert.deepEqual([CmRep.failoverAccepted, CmRep.flowControl, CmRep.rnrRetryCount, CmRep.srq].map(read), [2, 1, 7, 1]);
  words.setUint32(8, 0x40100006);
  assert.deepEqual([CmRej.message, CmRej.infoLength, CmRej.reason].map(read), [1, 8, 6]);
  words.setUint16(8, 0x80a0);
  assert.deepEqual([CmMra.message, CmMra.serviceTimeout].map(read), [2, 20]);
});

test("the IP header of rping to 10.87.0.1", () => {
  const bytes = Buffer.from(`0040 b2c3 ${"00".repeat(12)}0a570002 ${"00".repeat(12)}0a570001`.replaceAll(" ", ""), "hex");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  assert.equal(IpCmHeader.byteLength, 36);
  assert.deepEqual([IpCmHeader.majorVersion.get(view, 0), IpCmHeader.ipVersion.get(view, 0)], [0, 4]);
  assert.equal(IpCmHeader.sourcePort.get(view, 0), 0xb2c3);
  assert.deepEqual([...IpCmHeader.destination.get(view, 0).subarray(12)], [10, 87, 0, 1]);
  assert.equal(Math.round(cmTimeNs(20) / 1e6), 4295);
});
