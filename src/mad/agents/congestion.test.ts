import assert from "node:assert/strict";
import { test } from "node:test";
import { Fabric } from "../../fabric/fabric.ts";
import { CONGESTION_DATA_AT, CONGESTION_LOG_AT, CongestionKeyInfo, CongestionMad } from "../../spec/mad/congestion.ts";
import { MadHeader } from "../../spec/mad/headers.ts";
import { CongestionAttribute, MadStatus, Method, MgmtClass } from "../../spec/mad/numbers.ts";
import type { ManagedNode } from "../attributes.ts";
import { newRequest, Verdict } from "../mad.ts";
import { processCongestion } from "./congestion.ts";

const AT = CONGESTION_DATA_AT;
const c = CongestionAttribute;

interface Options {
  readonly key?: bigint;
  readonly block?: number;
  readonly fill?: (mad: DataView) => void;
}

function ask(node: ManagedNode, method: number, attribute: number, { key = 0n, block = 0, fill = () => {} }: Options = {}) {
  const mad = newRequest(MgmtClass.CONGESTION_CONTROL, method, attribute, block);
  MadHeader.classVersion.set(mad, 0, 2);
  CongestionMad.key.setBig(mad, 0, key);
  fill(mad);
  const verdict = processCongestion(node, mad, 5_000_000_000);
  return { mad, verdict, status: MadHeader.status.get(mad, 0) };
}

const host = (): ManagedNode => new Fabric().addCa({ nodeGuid: 0x10n, description: "h" });
const switchOf = (portCount: number): ManagedNode => new Fabric().addSwitch({ guid: 1n, description: "s", portCount });

test("settings are kept block by block; a CA has those of a CA, a switch those of a switch", () => {
  const ca = host();
  const write = ask(ca, Method.SET, c.CONGESTION_CONTROL_TABLE, { block: 1, fill: (mad) => mad.setUint32(AT, 0xdeadbeef) });
  assert.equal(MadHeader.method.get(write.mad, 0), Method.GET_RESP);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_CONTROL_TABLE, { block: 1 }).mad.getUint32(AT), 0xdeadbeef);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_CONTROL_TABLE).mad.getUint32(AT), 0);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_CONTROL_TABLE, { block: 2 }).status, MadStatus.INVALID_FIELD);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_INFO).mad.getUint8(AT + 2), 2);
  assert.equal(ask(ca, Method.GET, c.SWITCH_CONGESTION_SETTING).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  const sw = switchOf(40);
  assert.equal(ask(sw, Method.SET, c.SWITCH_PORT_CONGESTION_SETTING, { block: 1 }).status, MadStatus.OK);
  assert.equal(ask(sw, Method.SET, c.SWITCH_PORT_CONGESTION_SETTING, { block: 2 }).status, MadStatus.INVALID_FIELD);
  assert.equal(ask(sw, Method.GET, c.CA_CONGESTION_SETTING).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  assert.equal(ask(sw, Method.GET, 0x99).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
});

test("the log is empty and says when; there is a time", () => {
  const now = Math.floor(5_000_000_000 / 1024);
  const ofSwitch = ask(switchOf(3), Method.GET, c.CONGESTION_LOG).mad;
  assert.deepEqual([ofSwitch.getUint8(CONGESTION_LOG_AT), ofSwitch.getUint32(CONGESTION_LOG_AT + 4)], [1, now]);
  const ofCa = ask(host(), Method.GET, c.CONGESTION_LOG).mad;
  assert.deepEqual([ofCa.getUint8(CONGESTION_LOG_AT), ofCa.getUint32(CONGESTION_LOG_AT + 8)], [2, now]);
  assert.equal(ask(host(), Method.GET, c.TIMESTAMP).mad.getUint32(AT), now);
});

test("CC_Key: a Set needs it, a Get too if it is protected, and nobody else sees it", () => {
  const ca = host();
  const setKey = (key: bigint, isProtected: number, old: bigint) =>
    ask(ca, Method.SET, c.CONGESTION_KEY_INFO, {
      key: old,
      fill: (mad) => {
        CongestionKeyInfo.key.setBig(mad, AT, key);
        CongestionKeyInfo.isProtected.set(mad, AT, isProtected);
      },
    });
  assert.equal(setKey(7n, 0, 0n).verdict, Verdict.REPLY);
  assert.equal(ask(ca, Method.SET, c.CA_CONGESTION_SETTING).verdict, Verdict.DROP);
  assert.equal(ask(ca, Method.SET, c.CA_CONGESTION_SETTING, { key: 7n }).verdict, Verdict.REPLY);
  const seen = ask(ca, Method.GET, c.CONGESTION_KEY_INFO).mad;
  assert.deepEqual([CongestionKeyInfo.key.getBig(seen, AT), CongestionKeyInfo.violations.get(seen, AT)], [0n, 1]);
  assert.equal(CongestionKeyInfo.key.getBig(ask(ca, Method.GET, c.CONGESTION_KEY_INFO, { key: 7n }).mad, AT), 7n);
  assert.equal(setKey(7n, 1, 7n).verdict, Verdict.REPLY);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_INFO).verdict, Verdict.DROP);
  assert.equal(ask(ca, Method.GET, c.CONGESTION_INFO, { key: 7n }).verdict, Verdict.REPLY);
});
