// A host joins the multicast group that every subnet has, IPoIB's broadcast group: so there are multicast tables.

import assert from "node:assert/strict";
import { newRequest } from "../../src/mad/mad.ts";
import { CONTROL_DATA_AT, ControlType } from "../../src/spec/ibsim/messages.ts";
import { MadHeader, SA_DATA_AT, SaHeader } from "../../src/spec/mad/headers.ts";
import { DEFAULT_GID_PREFIX, JoinState, Method, MgmtClass, SaAttribute } from "../../src/spec/mad/numbers.ts";
import { McMemberRecord } from "../../src/spec/mad/sa-records.ts";
import { NodeInfo, PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { RawClient } from "./raw-client.ts";

const IPOIB_BROADCAST = Buffer.from("ff12401bffff000000000000ffffffff", "hex");
/** MGID, PortGID, JoinState. */
const COMPONENTS = 1n | (1n << 1n) | (1n << 16n);
const PORT_INFO_BYTES = 64;
/** Of 20 ms, until somebody owes an answer. */
const RESTS = 500;
let ids = 1_000_000 + process.pid;

const sleeper = new Int32Array(new SharedArrayBuffer(4));
const rest = (): void => {
  Atomics.wait(sleeper, 0, 0, 20);
};

/** Joins as a full member; the server is another process or thread. */
export function joinGroup(base: string, host: string): void {
  const client = new RawClient(base, rest, ids++, RESTS);
  try {
    assert.equal(client.connect(host), host);
    const ask = (type: number): DataView => new DataView(client.ask(type)!.buffer, CONTROL_DATA_AT, PORT_INFO_BYTES);
    const guid = NodeInfo.nodeGuid.getBig(ask(ControlType.GET_NODE_INFO), 0) + 1n;
    const mad = newRequest(MgmtClass.SUBN_ADM, Method.SET, SaAttribute.MC_MEMBER_RECORD);
    MadHeader.tid.setBig(mad, 0, 1n);
    SaHeader.componentMask.setBig(mad, 0, COMPONENTS);
    McMemberRecord.mgid.set(mad, SA_DATA_AT, IPOIB_BROADCAST);
    const gid = Buffer.alloc(16);
    gid.writeBigUInt64BE(DEFAULT_GID_PREFIX, 0);
    gid.writeBigUInt64BE(guid, 8);
    McMemberRecord.portGid.set(mad, SA_DATA_AT, gid);
    McMemberRecord.joinState.set(mad, SA_DATA_AT, JoinState.FULL);
    client.send(PortInfo.smLid.get(ask(ControlType.GET_PORT_INFO), 0), 1, mad);
    let answer = client.receive();
    for (let i = 0; i < RESTS && answer === undefined; i++) {
      rest();
      answer = client.receive();
    }
    assert.ok(answer, `${host} has an answer from the subnet administration`);
    assert.equal(answer.status, 0);
    assert.equal(MadHeader.status.get(answer.mad, 0), 0);
  } finally {
    client.ask(ControlType.DISCONNECT);
    client.close();
  }
}
