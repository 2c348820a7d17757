// Each completion error of the specification (IBA vol 1, 11.6.2), provoked through the driver's interface: one completion per work
// request, the right status at the right side, the right states afterwards. The table in docs/errors.md is checked against it.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectOptions, DriverQueuePair, SendRequest } from "../../src/driver/queue-pair.ts";
import { Access } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { PortState, Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { ALL_ACCESS, Buffer64, connect, datagramQp, TestBed } from "../in-process/pair.ts";
import { asLines, documentedRows, type Row, stateOf, statuses, updateDocument } from "./kit.ts";

/** What a case may arrange: two guests, a connected pair, a buffer on each side. */
interface Scene {
  bed: TestBed;
  qpA: DriverQueuePair;
  qpB: DriverQueuePair;
  source: Buffer64;
  target: Buffer64;
}

interface Case {
  status: string;
  how: string;
  section: string;
  /** Attributes of both ends, or of each. */
  connection?: Partial<ConnectOptions>;
  connectionOfB?: Partial<ConnectOptions>;
  service?: number;
  /** Access rights of the buffers. */
  sourceAccess?: number;
  targetAccess?: number;
  /** Prepares the other side and returns the request that fails. */
  request: (scene: Scene) => SendRequest;
  /** Nanoseconds until the failure is final. */
  waitNs?: number;
  requester: string;
  responder: string;
}

const WRITE = SendOpcode.RDMA_WRITE;
const MILLISECOND = 1e6;
const write = ({ source, target }: Scene): SendRequest => ({ opcode: WRITE, sges: [source.sge()], ...target.remote() });
const read = ({ source, target }: Scene): SendRequest => ({
  opcode: SendOpcode.RDMA_READ,
  sges: [source.sge()],
  ...target.remote(),
});
const fetchAdd = ({ source, target }: Scene, offset = 0): SendRequest => ({
  opcode: SendOpcode.ATOMIC_FA,
  sges: [source.sge(0, 8)],
  swapAdd: 1n,
  ...target.remote(offset),
});
const send = ({ source }: Scene): SendRequest => ({ opcode: SendOpcode.SEND, sges: [source.sge()] });
/** A receive is waiting, and one more behind it. */
const receives = ({ qpB, target }: Scene, length = 64): void => {
  qpB.postReceive([target.sge(0, length)]);
  qpB.postReceive([target.sge()]);
};
const quick = { retryCount: 1, ackTimeout: 8, rnrRetry: 1, minRnrTimer: 1 };
const FLUSHED = "WR_FLUSHED";

/** The last WQE's size or opcode, which stand in the slot before it, are overwritten before it is published. */
const corrupted = (scene: Scene, request: SendRequest, change: (view: DataView, at: number) => void): SendRequest => {
  const { qpA, bed } = scene;
  const { view } = bed[0].node.access.memory;
  qpA.writeSend(request);
  change(view, qpA.sendSlotAt(-1));
  return request;
};
const OPCODE_MASK = 0x1f;

const cases: readonly Case[] = [
  {
    status: "LOCAL_LENGTH",
    how: "a message longer than the receive WQE (receiver)",
    section: "9.9.3, 11.6.2",
    request: (scene) => {
      receives(scene, 63);
      return send(scene);
    },
    requester: `REMOTE_INVALID_REQUEST, ${FLUSHED} → ERR`,
    responder: `LOCAL_LENGTH, ${FLUSHED} → ERR`,
  },
  {
    status: "LOCAL_LENGTH",
    how: "a message longer than the QP's largest (sender)",
    section: "11.6.2; infinihost 4.1",
    connection: { logMaxMessage: 5 },
    request: write,
    requester: `LOCAL_LENGTH, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_QP_OPERATION",
    how: "a WQE whose size is nought",
    section: "10.7.3, 11.6.2",
    request: (scene) => corrupted(scene, write(scene), (view, at) => view.setUint32(at + 4, 0x80)),
    requester: `LOCAL_QP_OPERATION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_QP_OPERATION",
    how: "an opcode that does not exist",
    section: "10.7.3, 11.6.2",
    request: (scene) =>
      corrupted(scene, write(scene), (view, at) => view.setUint32(at, (view.getUint32(at) & ~OPCODE_MASK) | 0x1f)),
    requester: `LOCAL_QP_OPERATION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_QP_OPERATION",
    how: "a read with no outstanding reads allowed (max_rd_atomic 0)",
    section: "11.2.4.2",
    connection: { sendsReads: false },
    request: read,
    requester: `LOCAL_QP_OPERATION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_QP_OPERATION",
    how: "an RDMA read on an unreliable connection",
    section: "9.8.2",
    service: Service.UC,
    request: read,
    requester: `LOCAL_QP_OPERATION, ${FLUSHED} → SQE`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_PROTECTION",
    how: "an lkey that names no region",
    section: "10.6.3, 11.6.2",
    request: (scene) => ({ ...write(scene), sges: [{ ...scene.source.sge(), lkey: 0x4242 }] }),
    requester: `LOCAL_PROTECTION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_PROTECTION",
    how: "a data segment that leaves its region by one byte",
    section: "10.6.3",
    request: (scene) => ({ ...write(scene), sges: [{ ...scene.source.sge(), length: 65 }] }),
    requester: `LOCAL_PROTECTION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_PROTECTION",
    how: "a read into memory without local write access",
    section: "10.6.3.1",
    sourceAccess: Access.LOCAL_READ,
    request: read,
    requester: `LOCAL_PROTECTION, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_PROTECTION",
    how: "a receive buffer without local write access (receiver)",
    section: "9.9.3, 11.6.2",
    targetAccess: Access.LOCAL_READ,
    request: (scene) => {
      receives(scene);
      return send(scene);
    },
    requester: `REMOTE_OPERATION, ${FLUSHED} → ERR`,
    responder: `LOCAL_PROTECTION, ${FLUSHED} → ERR`,
  },
  {
    status: "WR_FLUSHED",
    how: "any request on a QP in ERR",
    section: "10.3.1.7",
    request: (scene) => {
      receives(scene);
      scene.qpA.toError();
      scene.qpB.toError();
      return send(scene);
    },
    requester: `${FLUSHED}, ${FLUSHED} → ERR`,
    responder: `${FLUSHED}, ${FLUSHED} → ERR`,
  },
  {
    status: "MW_BIND",
    how: "a bind request: this HCA has no memory windows",
    section: "11.6.2",
    request: (scene) => ({ ...write(scene), opcode: SendOpcode.BIND_MW }),
    requester: `MW_BIND, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "LOCAL_ACCESS",
    how: "a write with immediate to an rkey that names no region (receiver)",
    section: "9.9.3, 11.6.2",
    request: (scene) => {
      receives(scene);
      return { ...write(scene), opcode: SendOpcode.RDMA_WRITE_IMM, rkey: 0x4242 };
    },
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: `LOCAL_ACCESS, ${FLUSHED} → ERR`,
  },
  ...(
    [
      ["a write where the responder's QP allows none", "allowsRemoteWrite", write],
      ["a read where the responder's QP allows none", "allowsRemoteRead", read],
      ["an atomic where the responder's QP allows none", "allowsRemoteAtomic", (scene: Scene) => fetchAdd(scene)],
    ] as const
  ).map(([how, attribute, request]) => ({
    status: "REMOTE_INVALID_REQUEST",
    how,
    section: "9.7.4.1.4, 9.7.5.2.4",
    connection: { [attribute]: false },
    request,
    requester: `REMOTE_INVALID_REQUEST, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  })),
  {
    status: "REMOTE_INVALID_REQUEST",
    how: "an atomic on an address that is no multiple of 8",
    section: "9.4.5, 9.7.5.2.4",
    request: (scene) => fetchAdd(scene, 4),
    requester: `REMOTE_INVALID_REQUEST, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_INVALID_REQUEST",
    how: "packets longer than the responder's path MTU",
    section: "9.7.4.1.6",
    connectionOfB: { mtuCode: 1 },
    request: (scene) => {
      const long = new Buffer64(scene.bed[0], 512);
      return { ...write(scene), sges: [long.sge()], ...new Buffer64(scene.bed[1], 512).remote() };
    },
    requester: `REMOTE_INVALID_REQUEST, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "an rkey that names no region",
    section: "9.7.4.1.5, 9.7.5.2.5",
    request: (scene) => ({ ...write(scene), rkey: 0x4242 }),
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "a region of another protection domain",
    section: "10.6.3, 9.7.5.2.5",
    request: (scene) => {
      const other = new Buffer64(scene.bed[1], 64, { pd: scene.bed[1].device.allocatePd() });
      return { ...write(scene), ...other.remote() };
    },
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "one byte past the end of the region",
    section: "9.7.4.1.5",
    request: (scene) => ({ ...write(scene), ...scene.target.remote(1) }),
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "a write to a region without remote write access",
    section: "10.6.3.1",
    targetAccess: ALL_ACCESS & ~Access.REMOTE_WRITE,
    request: write,
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "a read of a region without remote read access",
    section: "10.6.3.1",
    targetAccess: ALL_ACCESS & ~Access.REMOTE_READ,
    request: read,
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_ACCESS",
    how: "an atomic on a region without remote atomic access",
    section: "10.6.3.1",
    targetAccess: ALL_ACCESS & ~Access.REMOTE_ATOMIC,
    request: (scene) => fetchAdd(scene),
    requester: `REMOTE_ACCESS, ${FLUSHED} → ERR`,
    responder: "→ ERR",
  },
  {
    status: "REMOTE_OPERATION",
    how: "a receive WQE with an lkey that names no region",
    section: "9.7.5.2.6, 9.9.3",
    request: (scene) => {
      scene.qpB.postReceive([{ ...scene.target.sge(), lkey: 0x4242 }]);
      return send(scene);
    },
    requester: `REMOTE_OPERATION, ${FLUSHED} → ERR`,
    responder: "LOCAL_PROTECTION → ERR",
  },
  {
    status: "TRANSPORT_RETRY",
    how: "the responder's QP is gone",
    section: "9.7.6.1.3, 9.9.2.2",
    connection: quick,
    request: (scene) => {
      scene.qpB.reset();
      return write(scene);
    },
    waitNs: 50 * MILLISECOND,
    requester: `TRANSPORT_RETRY, ${FLUSHED} → ERR`,
    responder: "gone",
  },
  {
    status: "TRANSPORT_RETRY",
    how: "the responder's port is down",
    section: "9.7.6.1.3",
    connection: quick,
    request: (scene) => {
      scene.bed.wires[1]!.setState(PortState.DOWN);
      return write(scene);
    },
    waitNs: 50 * MILLISECOND,
    requester: `TRANSPORT_RETRY, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "TRANSPORT_RETRY",
    how: "another P_Key at each end",
    section: "10.9.3, 9.6.1.1.4",
    connection: quick,
    request: (scene) => {
      scene.bed.wires[1]!.pkeys[0] = 0x8001;
      return write(scene);
    },
    waitNs: 50 * MILLISECOND,
    requester: `TRANSPORT_RETRY, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "TRANSPORT_RETRY",
    how: "PSNs that do not meet",
    section: "9.7.4.1.2",
    connection: { ...quick, sendPsn: 5 },
    request: write,
    waitNs: 50 * MILLISECOND,
    requester: `TRANSPORT_RETRY, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "TRANSPORT_RETRY",
    how: "a path MTU that the link does not carry",
    section: "7.9.1, 9.7.6.1.3",
    connection: quick,
    request: (scene) => {
      Object.assign(scene.bed.wires[0]!, { mtuCode: 2 });
      scene.bed.wires[0]!.setState(PortState.ACTIVE);
      return write(scene);
    },
    waitNs: 50 * MILLISECOND,
    requester: `TRANSPORT_RETRY, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
  {
    status: "RNR_RETRY",
    how: "no receive WQE when the RNR retries are used up",
    section: "9.7.5.2.8, 9.9.2.2",
    connection: quick,
    request: send,
    waitNs: 50 * MILLISECOND,
    requester: `RNR_RETRY, ${FLUSHED} → ERR`,
    responder: "→ RTS",
  },
];

/** The counter of a status: LOCAL_LENGTH → localLengthErrors. */
const counterOf = (status: string): keyof typeof AdapterCounter | "flushed" =>
  status === FLUSHED
    ? "flushed"
    : (`${status
        .replace(/^MW_/, "")
        .toLowerCase()
        .replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())}Errors` as keyof typeof AdapterCounter);

function observe(each: Case): { requester: string; responder: string; counted: number } {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], each.service ?? Service.RC, each.connection, {}, {}, each.connectionOfB);
  const source = new Buffer64(bed[0], 64, each.sourceAccess === undefined ? {} : { access: each.sourceAccess });
  const target = new Buffer64(bed[1], 64, each.targetAccess === undefined ? {} : { access: each.targetAccess });
  source.bytes.fill(7);
  const scene = { bed, qpA, qpB, source, target };
  const before = qpA.sendPosted;
  const request = each.request(scene);
  if (qpA.sendPosted === before) qpA.postSend(request);
  else qpA.publishSends();
  // Not signaled: it completes all the same, flushed (11.4.1.1, infinihost 5.5.1).
  qpA.postSend({ opcode: WRITE, inline: Uint8Array.of(1), isSignaled: false, ...target.remote() });
  if (each.waitNs !== undefined) bed.elapse(each.waitNs, 100);
  bed.domain.settle();
  const describe = (index: 0 | 1): string => {
    const list = statuses(bed[index]).join(", ");
    const state = index === 1 && each.responder === "gone" ? "gone" : `→ ${stateOf(index === 0 ? qpA : qpB)}`;
    return list === "" ? state : `${list} ${state}`;
  };
  const unchanged = target.bytes.every((byte) => byte === 0);
  assert.ok(unchanged, `${each.how}: nothing is written`);
  const slot = AdapterCounter[counterOf(each.status)] as number;
  const counted = bed.guests.reduce((sum, { node }) => sum + node.hca.adapter.counters[slot]!, 0);
  return { requester: describe(0), responder: describe(1), counted };
}

const rows: Row[] = [];
for (const each of cases) {
  test(`${each.status}: ${each.how} (${each.section})`, () => {
    const { requester, responder, counted } = observe(each);
    assert.deepEqual([requester, responder], [each.requester, each.responder]);
    assert.ok(counted > 0, `${counterOf(each.status)} counts it`);
    rows.push([each.status, each.how, requester, responder, `\`${counterOf(each.status)}\``, each.section]);
  });
}

test("UD: a message longer than the MTU fails with LOCAL_LENGTH, and the queue waits in SQE (10.3.1.6)", () => {
  const bed = new TestBed(2);
  const qp = datagramQp(bed[0]);
  const source = new Buffer64(bed[0], 4096);
  const request = { opcode: SendOpcode.SEND, address: { dlid: 2 }, remoteQpn: 5, qkey: 1 };
  qp.postSend({ ...request, sges: [source.sge(0, 2049)] });
  qp.postSend({ ...request, sges: [source.sge(0, 2048)], isSignaled: false });
  bed.domain.settle();
  const requester = `${statuses(bed[0]).join(", ")} → ${stateOf(qp)}`;
  assert.equal(requester, "LOCAL_LENGTH, WR_FLUSHED → SQE");
  rows.push(["LOCAL_LENGTH", "a datagram longer than the MTU", requester, "", "`localLengthErrors`", "10.8.2.2, 10.3.1.6"]);
});

test("docs/errors.md says what was observed", () => {
  if (process.env.UPDATE_DOCS === "1") updateDocument("completions", rows);
  assert.deepEqual(documentedRows("completions").slice(2), asLines(rows));
});
