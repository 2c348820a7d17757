// Where the fields of commands, contexts and queue entries lie, once more and in another notation: "field byte.high-low" of the
// dword at that offset, "byte:high-low" of the byte, from docs "infinihost" 2.8 and 4. A slip in a layout moves device and driver alike, so nothing else
// in this process would notice it.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { LayoutInfo } from "../../base/layout.ts";
import { InitHca, MadIfc, QueryDevLim, QueryFw, ResizeCq } from "./commands.ts";
import { AddressPath, CqContext, EqContext, Mpt, QpContext, QpOptional, SrqContext } from "./contexts.ts";
import { AddressVector, Cqe, CqeError, Eqe, EqeCommand, SendOpcode, Syndrome, UdSegment, WqeMlx, WqeNext } from "./queues.ts";
import { CqArmDbRecord, CqDoorbell, Hcr, SendDoorbell, WqDbRecord } from "./registers.ts";

/** The bits of each field as distances from the first bit of the record: "name first-last". */
function positions(of: { readonly info: LayoutInfo }): string[] {
  return [...of.info.fields].map(([name, field]) => {
    if (field.kind === "bytes") return `${name} ${field.offset * 8}-${(field.offset + field.length) * 8 - 1}`;
    if (field.kind === "half64") return `${name} ${field.offset * 8}-${field.offset * 8 + 63}`;
    const first = field.offset * 8 + field.unitBytes * 8 - field.low - field.width;
    return `${name} ${first}-${first + field.width - 1}`;
  });
}

/** "0x70.18-16" → the same distances; "0x06+2" is a number of 2 bytes. */
function parse(text: string): string[] {
  return text
    .trim()
    .split(/\s*[\n;]\s*/)
    .map((entry) => {
      const [name = "", place = ""] = entry.split(" ");
      const bytes = /^0x(\w+)\+(\d+)$/.exec(place);
      if (bytes) {
        const start = Number.parseInt(bytes[1]!, 16) * 8;
        return `${name} ${start}-${start + Number(bytes[2]) * 8 - 1}`;
      }
      const [, offset = "0", unit, high = "0", low = high] = /^0x(\w+)([.:])(\d+)(?:-(\d+))?$/.exec(place) ?? [];
      const first = Number.parseInt(offset, 16) * 8 + (unit === ":" ? 7 : 31) - Number(high);
      return `${name} ${first}-${first + Number(high) - Number(low)}`;
    });
}

const tables: readonly (readonly [name: string, of: { readonly info: LayoutInfo }, text: string])[] = [
  [
    "QP context (4.1)",
    QpContext,
    `state 0x00.31-28; service 0x00.18-16; pathMigration 0x00.12-11; descriptorEvent 0x00.8; mtu 0x08:7-5; logMaxMessage 0x08:4-0
     logRqSize 0x09:6-3; logRqStride 0x09:2-0; logSqSize 0x0a:6-3; logSqStride 0x0a:2-0; scheduleQueue 0x0b:3-0; usrPage 0x0c.23-0
     localQpn 0x10.23-0; remoteQpn 0x14.23-0; rdd 0x60.23-0; pd 0x64.23-0; wqeBaseHi 0x68+4; wqeLkey 0x6c+4
     ackRequestFrequency 0x70.31-28; flightLimit 0x70.27-24; logRequesterReads 0x70.23-21; retryCount 0x70.18-16; sendReads 0x70.15
     sendWrites 0x70.14; sendAtomics 0x70.13; rnrRetriesLeft 0x70.10-8; retriesLeft 0x70.7-5; signalAll 0x70.3; nextSendPsn 0x78.23-0
     sendCqn 0x7c.23-0; sqBase 0x80+4; sqRecord 0x84+4; lastAckedPsn 0x88.23-0; ssn 0x8c.23-0; logResponderReads 0x90.23-21
     remoteRead 0x90.15; remoteWrite 0x90.14; remoteAtomic 0x90.13; invalidCredits 0x90.4; receiveSignalAll 0x90.3
     minRnrTimer 0x94.28-24; nextReceivePsn 0x94.23-0; rdbAddress 0x98+4; receiveCqn 0x9c.23-0; rqBase 0xa0+4; rqRecord 0xa4+4
     qkey 0xa8+4; srqAttached 0xac.24; srqn 0xac.23-0; responderMsn 0xb0.23-0; rqWqeCounter 0xb4+2; sqWqeCounter 0xb6+2`,
  ],
  [
    "address path (4.1.1)",
    AddressPath,
    `port 0x00.25-24; pkeyIndex 0x00.6-0; rnrRetry 0x04:7-5; grh 0x05:7; pathBits 0x05:6-0; rlid 0x06+2; ackTimeout 0x08:7-3
     sgidIndex 0x09+1; staticRate 0x0a:2-0; hopLimit 0x0b+1; sl 0x0c.31-28; trafficClass 0x0c.27-20; flowLabel 0x0c.19-0; rgid 0x10+16`,
  ],
  [
    "CQ context (4.2)",
    CqContext,
    `status 0x00.31-28; translation 0x00.18; overrunIgnore 0x00.17; state 0x00.11-8; startAddress 0x04+8; logSize 0x0c.28-24
     usrPage 0x0c.23-0; errorEqn 0x10.7-0; completionEqn 0x14.7-0; pd 0x18.23-0; lkey 0x1c+4; lastNotifiedIndex 0x20+4
     solicitedProducerIndex 0x24+4; consumerCounter 0x28+4; producerCounter 0x2c+4; cqn 0x30.23-0; ciRecord 0x34+4; armRecord 0x38+4`,
  ],
  [
    "SRQ context (4.3)",
    SrqContext,
    `state 0x00.31-28; logSize 0x00.27-24; srqn 0x00.23-0; lkey 0x04+4; record 0x08+4; logStride 0x0c.31-29; usrPage 0x0c.23-0
     wqeAddress 0x10+8; pd 0x18.23-0; limitWatermark 0x1c+2; wqeCount 0x1e+2; wqeCounter 0x22+2`,
  ],
  [
    "EQ context (4.4)",
    EqContext,
    `status 0x00.31-28; owner 0x00.27-24; translation 0x00.18; overrunIgnore 0x00.17; state 0x00.11-8; startAddress 0x04+8
     logSize 0x0c.28-24; intr 0x17+1; pd 0x18.23-0; lkey 0x1c+4; consumerIndex 0x28+4; producerIndex 0x2c+4`,
  ],
  [
    "MPT (4.5)",
    Mpt,
    `status 0x00.31-28; memoryIo 0x00.17; bindEnable 0x00.15; remoteAtomic 0x00.14; remoteWrite 0x00.13; remoteRead 0x00.12
     localWrite 0x00.11; localRead 0x00.10; physical 0x00.9; region 0x00.8; accessBits 0x00.7-0; logPageSize 0x04.4-0; key 0x08+4
     pd 0x0c.23-0; start 0x10+8; length 0x18+8; parentLkey 0x20+4; windowCount 0x24+4; windowLimit 0x28+4; mttAddress 0x2c+8
     mttCount 0x34+4`,
  ],
  [
    "HCR (2.1)",
    Hcr,
    `inParam 0x00+8; inputModifier 0x08+4; outParam 0x0c+8; token 0x14.31-16; status 0x18.31-24; go 0x18.23; eventRequest 0x18.22
     opcodeModifier 0x18.15-12; opcode 0x18.11-0`,
  ],
  [
    "QUERY_FW (2.8.1)",
    QueryFw,
    `fwPages 0x00+2; major 0x02+2; subMinor 0x04+2; minor 0x06+2; commandInterfaceRevision 0x08+4; logMaxCommands 0x0f+1
     commandDoorbells 0x10.0; clrIntAddress 0x20+8; catasAddress 0x30+8; catasDwords 0x38+4; eqArmAddress 0x40+8; eqSetCiAddress 0x48+8`,
  ],
  ["RESIZE_CQ (2.8.12)", ResizeCq, "startAddress 0x04+8; logSize 0x0c+1; lkey 0x1c+4"],
  [
    "MAD_IFC (6.3)",
    MadIfc,
    `localQpn 0x100+4; remoteQpn 0x108+4; sl 0x10c:7-4; grhPresent 0x10d:7; pathBits 0x10d:6-0; slid 0x10e+2; pkeyIndex 0x112+2
     grh 0x140+40`,
  ],
  [
    "WQE next and control (5.2.1)",
    WqeNext,
    "nextAddress 0x00.31-6; nextOpcode 0x00.4-0; doorbellDone 0x04.7; nextFence 0x04.6; nextSize 0x04.5-0; signaled 0x08.3; solicited 0x08.1; immediate 0x0c+4",
  ],
  [
    "MLX control (6.1)",
    WqeMlx,
    "vl15 0x08.17; slr 0x08.16; staticRate 0x08.15-12; sl 0x08.11-8; signaled 0x08.3; rlid 0x0c+2; vcrc 0x0e+2",
  ],
  [
    "address vector (7.2)",
    AddressVector,
    `port 0x00.25-24; pd 0x00.23-0; grh 0x05:7; pathBits 0x05:6-0; dlid 0x06+2; gidIndex 0x09+1; maxMessage 0x0a:5-4
     staticRate 0x0a:2-0; hopLimit 0x0b+1; sl 0x0c.31-28; trafficClass 0x0c.27-20; flowLabel 0x0c.19-0; dgid 0x10+16`,
  ],
  ["UD segment (5.2.3)", UdSegment, "destQpn 0x20.23-0; qkey 0x24+4"],
  [
    "CQE (5.6)",
    Cqe,
    `qpn 0x00+4; checksumHi 0x04+1; checksumLo 0x08.31-24; remoteQpn 0x08.23-0; sl 0x0c:7-4; ipOk 0x0c:0; grh 0x0d:7; pathBits 0x0d:6-0
     rlid 0x0e+2; immediate 0x10+4; byteCount 0x14+4; wqe 0x18+4; opcode 0x1c+1; isSend 0x1d:7; owner 0x1f:7`,
  ],
  [
    "error CQE (5.6)",
    CqeError,
    "qpn 0x00+4; syndrome 0x10+1; vendorError 0x11+1; doorbellCount 0x12+2; wqe 0x18+4; opcode 0x1c+1; owner 0x1f:7",
  ],
  ["EQE (5.8)", Eqe, "type 0x01+1; subType 0x03+1; number 0x04.23-0; portNumber 0x0c.29-28; owner 0x1f:7"],
  ["command EQE (5.8)", EqeCommand, "type 0x01+1; token 0x06+2; status 0x0f+1; outParam 0x10+8; owner 0x1f:7"],
  [
    "send doorbell (5.1)",
    SendDoorbell,
    "wqeCount 0x00.31-24; sqCounter 0x00.23-8; fence 0x00.5; opcode 0x00.4-0; qpn 0x04.31-8; size 0x04.5-0",
  ],
  ["CQ doorbell (5.1)", CqDoorbell, "sequence 0x00.29-28; command 0x00.26-24; cqn 0x00.23-0; consumerIndex 0x04+4"],
  ["work queue record (3.5)", WqDbRecord, "counter 0x02+2; number 0x04.31-8; type 0x04.7-5"],
  [
    "arm record (3.5)",
    CqArmDbRecord,
    "consumerIndex 0x00+4; number 0x04.31-8; type 0x04.7-5; sequence 0x04.4-3; command 0x04.2-0",
  ],
];

for (const [name, of, text] of tables) {
  test(`${name}: every field lies where its document has it`, () => {
    assert.deepEqual(positions(of), parse(text));
  });
}

test("QUERY_DEV_LIM and INIT_HCA: the fields that the driver relies on (2.8.6, 2.8.8)", () => {
  const places = new Map([...positions(QueryDevLim), ...positions(InitHca)].map((entry) => entry.split(" ") as [string, string]));
  const expected = parse(
    `logMaxQpWqes 0x11+1; logReservedQps 0x12:3-0; logReservedMpts 0x22:3-0; ports 0x37:3-0; logGids 0x3b:3-0; logPkeys 0x3f:3-0
     flags 0x44+4; logUarMegabytes 0x49:5-0; maxSendSges 0x51+1; maxSendDescriptorBytes 0x52+2; maxIcmBytes 0xa0+8
     checkUdAvPort 0x14.0; hostBigEndian 0x14.1; qpcBase 0x30+8; srqcBase 0x48+8; cqcBase 0x50+8; logMulticastEntries 0xdb+1
     multicastHashEntries 0xd6+2; logMpts 0xfb+1; mttBase 0x100+8; logUarcPages 0x129+1; logUars 0x12a+1; uarcBase 0x138+8`,
  );
  for (const entry of expected) {
    const [name = "", place = ""] = entry.split(" ");
    assert.equal(places.get(name), place, name);
  }
});

test("numbers: opcodes, syndromes and mask bits (5.2.2, 5.6, 4.1.4)", () => {
  const { SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA, BIND_MW } = SendOpcode;
  assert.deepEqual(
    [SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA, BIND_MW],
    [0x0a, 0x0b, 0x08, 0x09, 0x10, 0x11, 0x12, 0x18],
  );
  assert.deepEqual(Object.values(Syndrome), [1, 2, 3, 4, 5, 6, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16]);
  assert.deepEqual(
    Object.values(QpOptional),
    Array.from({ length: 17 }, (_, bit) => 1 << bit),
  );
});
