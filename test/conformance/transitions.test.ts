// Queue pair states and the attributes of every transition, as the Modify Queue Pair verb has them (IBA vol 1, 10.3.1, 11.2.4.2), written
// down here once more and tried one by one: legal ones lead where they should, all others are refused and change nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverError } from "../../src/driver/access.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, ALTERNATE_PATH_AT, QpOptional as O, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { newQp, TestBed } from "../in-process/pair.ts";
import { stateOf } from "./kit.ts";

const ACCESS = O.REMOTE_READ | O.REMOTE_WRITE | O.REMOTE_ATOMIC;
const ALL_BITS = 17;

interface Legal {
  from: string;
  to: string;
  /** Attributes that must, and that may, be given: [RC, UC, UD]. */
  required: readonly [number, number, number];
  optional: readonly [number, number, number];
}

const MIGRATION = O.ALTERNATE_PATH | O.PATH_MIGRATION;
const RUNNING = [ACCESS | O.RNR_TIMER | MIGRATION, ACCESS | MIGRATION, O.QKEY] as const;
const NONE = [0, 0, 0] as const;
const SCHEDULE = O.SCHEDULE_QUEUE;

const table: ReadonlyMap<number, readonly Legal[]> = new Map([
  [
    Command.INIT2INIT_QP,
    [
      {
        from: "INIT",
        to: "INIT",
        required: NONE,
        optional: [O.PKEY_INDEX | O.PORT | ACCESS, O.PKEY_INDEX | O.PORT | ACCESS, O.PKEY_INDEX | O.PORT | O.QKEY],
      },
    ],
  ],
  [
    Command.INIT2RTR_QP,
    [
      {
        from: "INIT",
        to: "RTR",
        required: [O.PRIMARY_PATH | O.RESPONDER_READS | O.RNR_TIMER, O.PRIMARY_PATH, 0],
        optional: [
          O.ALTERNATE_PATH | ACCESS | O.PKEY_INDEX | SCHEDULE,
          O.ALTERNATE_PATH | ACCESS | O.PKEY_INDEX | SCHEDULE,
          O.PKEY_INDEX | O.QKEY | SCHEDULE,
        ],
      },
    ],
  ],
  [
    Command.RTR2RTS_QP,
    [
      {
        from: "RTR",
        to: "RTS",
        required: [O.ACK_TIMEOUT | O.RETRY_COUNT | O.RNR_RETRY | O.REQUESTER_READS, 0, 0],
        optional: [RUNNING[0] | O.ALTERNATE_RNR_RETRY, RUNNING[1], RUNNING[2]],
      },
    ],
  ],
  [Command.RTS2RTS_QP, [{ from: "RTS", to: "RTS", required: NONE, optional: RUNNING }]],
  [Command.SQERR2RTS_QP, [{ from: "SQE", to: "RTS", required: NONE, optional: [0, ACCESS, O.QKEY] }]],
  [
    Command.SQD2SQD_QP,
    [
      {
        from: "SQD",
        to: "SQD",
        required: NONE,
        optional: [
          RUNNING[0] |
            O.PORT |
            O.PRIMARY_PATH |
            O.ACK_TIMEOUT |
            O.RETRY_COUNT |
            O.RNR_RETRY |
            O.ALTERNATE_RNR_RETRY |
            O.REQUESTER_READS |
            O.RESPONDER_READS |
            O.PKEY_INDEX,
          RUNNING[1] | O.PRIMARY_PATH | O.PKEY_INDEX,
          O.PKEY_INDEX | O.QKEY,
        ],
      },
    ],
  ],
  [Command.SQD2RTS_QP, [{ from: "SQD", to: "RTS", required: NONE, optional: RUNNING }]],
]);
const services = [Service.RC, Service.UC, Service.UD] as const;
const serviceNames = ["RC", "UC", "UD"] as const;
const states = ["INIT", "RTR", "RTS", "SQD", "SQE", "ERR"] as const;

/** Brings a fresh QP to a state; undefined where that service has no such state. */
function bring(bed: TestBed, service: number, state: string): DriverQueuePair | undefined {
  const qp = newQp(bed[0], service);
  const connection = { remoteQpn: qp.number, dlid: bed[0].wire.lid };
  qp.init();
  if (state === "ERR") qp.toError();
  if (state === "ERR" || state === "INIT") return qp;
  qp.readyToReceive(connection);
  if (state === "RTR") return qp;
  qp.readyToSend(connection);
  if (state === "SQD") bed[0].device.commands.run(Command.RTS2SQD_QP, { modifier: qp.number });
  if (state === "SQE") {
    if (service === Service.RC) return undefined;
    qp.postSend({ opcode: SendOpcode.RDMA_READ, inline: Uint8Array.of(1), remoteAddress: 0n, rkey: 1, address: { dlid: 1 } });
  }
  bed.domain.settle();
  return qp;
}

/** Tries a transition with valid values behind every bit; the status if it is refused. */
function attempt(qp: DriverQueuePair, opcode: number, mask: number): string {
  try {
    qp.transition(opcode, QpState.RTS, mask >>> 0, (view, at) => {
      QpContext.mtu.set(view, at, 4);
      QpContext.remoteQpn.set(view, at, qp.number);
      for (const path of [PRIMARY_PATH_AT, ALTERNATE_PATH_AT]) {
        AddressPath.port.set(view, at + path, 1);
        AddressPath.rlid.set(view, at + path, 1);
      }
    });
    return "OK";
  } catch (error) {
    if (error instanceof DriverError) return error.code;
    throw error;
  }
}

for (const [kind, service] of services.entries()) {
  test(`${serviceNames[kind]}: only the specification's transitions are taken, from every state (10.3.1)`, () => {
    const bed = new TestBed(1, { memoryBytes: 64 << 20 });
    for (const state of states) {
      for (const [opcode, [legal]] of table) {
        const qp = bring(bed, service, state);
        if (qp === undefined || legal === undefined) continue;
        assert.equal(stateOf(qp), state);
        const isLegal = legal.from === state;
        const status = attempt(qp, opcode, legal.required[kind]!);
        assert.equal(status, isLegal ? "OK" : "BAD_QP_STATE", `${state}, opcode ${opcode}`);
        assert.equal(stateOf(qp), isLegal ? legal.to : state);
        qp.reset();
      }
    }
  });

  test(`${serviceNames[kind]}: attributes that are missing or do not belong are refused (11.2.4.2)`, () => {
    const bed = new TestBed(1, { memoryBytes: 64 << 20 });
    for (const [opcode, [legal]] of table) {
      if (legal === undefined) continue;
      const required = legal.required[kind]!;
      const allowed = required | legal.optional[kind]!;
      const qp = bring(bed, service, legal.from);
      if (qp === undefined) continue;
      for (let bit = 1; bit < 1 << ALL_BITS; bit <<= 1) {
        const name = `opcode ${opcode}, bit ${bit.toString(16)}`;
        if ((required & bit) !== 0) assert.equal(attempt(qp, opcode, required & ~bit), "BAD_PARAM", `${name} missing`);
        if ((allowed & bit) === 0) assert.equal(attempt(qp, opcode, required | bit), "BAD_PARAM", `${name} too many`);
        assert.equal(stateOf(qp), legal.from, `${name}: nothing changes`);
      }
      assert.equal(attempt(qp, opcode, required | (1 << 20)), "BAD_PARAM", "a bit without a meaning");
      assert.equal(attempt(qp, opcode, allowed & ~O.PATH_MIGRATION), "OK", `opcode ${opcode}, all that may be given`);
      qp.reset();
    }
  });
}

test("values that name nothing are refused: port, P_Key index, GID index, path MTU (11.2.4.2)", () => {
  const bed = new TestBed(1);
  const { device } = bed[0];
  const qp = newQp(bed[0], Service.RC);
  const code = (run: () => void): string => {
    try {
      run();
      return "OK";
    } catch (error) {
      return error instanceof DriverError ? error.code : String(error);
    }
  };
  assert.equal(
    code(() => qp.init({ port: 2 })),
    "BAD_PARAM",
  );
  assert.equal(
    code(() => qp.init({ pkeyIndex: 64 })),
    "BAD_PARAM",
  );
  qp.init();
  const connection = { remoteQpn: qp.number, dlid: 1 };
  for (const mtuCode of [0, 5]) {
    assert.equal(
      code(() => qp.readyToReceive({ ...connection, mtuCode })),
      "BAD_PARAM",
    );
  }
  assert.equal(
    code(() =>
      qp.transition(Command.INIT2RTR_QP, QpState.RTR, O.PRIMARY_PATH | O.RESPONDER_READS | O.RNR_TIMER, (view, at) => {
        QpContext.mtu.set(view, at, 4);
        AddressPath.grh.set(view, at + PRIMARY_PATH_AT, 1);
        AddressPath.sgidIndex.set(view, at + PRIMARY_PATH_AT, 32);
      }),
    ),
    "BAD_PARAM",
  );
  qp.readyToReceive(connection);
  assert.equal(device.commands.run(Command.QUERY_QP, { modifier: qp.number, outputBytes: 264 }).status, 0);
});

test("any state leads to ERR and to RESET, and RESET forgets (10.3.1)", () => {
  const bed = new TestBed(1, { memoryBytes: 64 << 20 });
  const { device } = bed[0];
  for (const service of services) {
    for (const state of states) {
      const qp = bring(bed, service, state);
      if (qp === undefined) continue;
      qp.toError();
      assert.equal(stateOf(qp), "ERR");
      qp.reset();
      assert.throws(() => device.commands.run(Command.QUERY_QP, { modifier: qp.number }), /BAD_INDEX/);
      qp.init();
      assert.equal(stateOf(qp), "INIT");
      qp.reset();
    }
  }
});

test("what a transition does not name keeps its value, and a query gives everything back (infinihost 4.1.3)", () => {
  const bed = new TestBed(1);
  const qp = newQp(bed[0], Service.RC);
  qp.init({ pkeyIndex: 3 });
  qp.readyToReceive({ remoteQpn: 0x123456, dlid: 7, receivePsn: 0xfffffe, minRnrTimer: 9, mtuCode: 2 });
  qp.readyToSend({ remoteQpn: 0x123456, dlid: 7, sendPsn: 0x000123, retryCount: 5, rnrRetry: 4, ackTimeout: 11 });
  const context = qp.query();
  const path = PRIMARY_PATH_AT;
  assert.deepEqual(
    [
      QpContext.remoteQpn.get(context, 0),
      QpContext.mtu.get(context, 0),
      QpContext.nextSendPsn.get(context, 0),
      QpContext.nextReceivePsn.get(context, 0),
      QpContext.retryCount.get(context, 0),
      QpContext.minRnrTimer.get(context, 0),
      QpContext.sendCqn.get(context, 0),
      AddressPath.rlid.get(context, path),
      AddressPath.pkeyIndex.get(context, path),
      AddressPath.port.get(context, path),
      AddressPath.rnrRetry.get(context, path),
      AddressPath.ackTimeout.get(context, path),
    ],
    [0x123456, 2, 0x123, 0xfffffe, 5, 9, bed[0].cq.number, 7, 3, 1, 4, 11],
  );
});
