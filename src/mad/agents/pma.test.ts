import assert from "node:assert/strict";
import { test } from "node:test";
import { Fabric } from "../../fabric/fabric.ts";
import { portCountersObject } from "../../fabric/inspect.ts";
import { PortCounter, PortDetail, RCV_DATA_SL } from "../../spec/ib/port-counters.ts";
import { MadHeader, PM_DATA_AT } from "../../spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass, PmAttribute } from "../../spec/mad/numbers.ts";
import { ClassPortInfo, PortCounters, PortCountersExtended, PortSamplesControl } from "../../spec/mad/pm-attributes.ts";
import type { ManagedNode } from "../attributes.ts";
import { newRequest, Verdict } from "../mad.ts";
import { processPerf } from "./pma.ts";

const AT = PM_DATA_AT;

function perf(node: ManagedNode, method: number, attribute: number, portSelect: number, counterSelect = 0xffff, select2 = 0) {
  const mad = newRequest(MgmtClass.PERF, method, attribute);
  mad.setUint8(AT + 1, portSelect);
  mad.setUint16(AT + 2, counterSelect);
  if (attribute === PmAttribute.PORT_COUNTERS) PortCounters.counterSelect2.set(mad, AT, select2);
  const verdict = processPerf(node, mad);
  return { mad, verdict, status: MadHeader.status.get(mad, 0) };
}

function host() {
  const node = new Fabric().addCa({ nodeGuid: 0x10n, description: "h" });
  return { node, counters: node.ports[1]!.counters };
}

test("ClassPortInfo says that the 64-bit counters are there", () => {
  const { mad } = perf(host().node, Method.GET, PmAttribute.CLASS_PORT_INFO, 0);
  assert.equal(MadHeader.method.get(mad, 0), Method.GET_RESP);
  assert.equal(ClassPortInfo.capabilityMask.get(mad, AT) & 0x0200, 0x0200);
});

test("PortCounters are the array, and stick at their width", () => {
  const { node, counters } = host();
  counters[PortCounter.xmitData] = 5e9;
  counters[PortCounter.rcvPackets] = 12345;
  counters[PortCounter.symbolErrors] = 0x12345;
  counters[PortCounter.linkDowned] = 300;
  counters[PortCounter.excessiveBufferOverrunErrors] = 7;
  counters[PortCounter.xmitWait] = 9;
  const { mad } = perf(node, Method.GET, PmAttribute.PORT_COUNTERS, 1);
  assert.equal(PortCounters.xmitData.get(mad, AT), 0xffffffff);
  assert.equal(PortCounters.rcvPackets.get(mad, AT), 12345);
  assert.equal(PortCounters.symbolErrors.get(mad, AT), 0xffff);
  assert.equal(PortCounters.linkDowned.get(mad, AT), 0xff);
  assert.equal(PortCounters.excessiveBufferOverrunErrors.get(mad, AT), 7);
  assert.equal(PortCounters.xmitWait.get(mad, AT), 9);
  const wide = perf(node, Method.GET, PmAttribute.PORT_COUNTERS_EXTENDED, 1).mad;
  assert.equal(PortCountersExtended.xmitData.getBig(wide, AT), 5_000_000_000n);
});

test("a Set clears what is selected and nothing else", () => {
  const { node, counters } = host();
  counters.fill(3);
  const { mad } = perf(node, Method.SET, PmAttribute.PORT_COUNTERS, 1, 1 << 12);
  assert.equal(PortCounters.xmitData.get(mad, AT), 0);
  assert.equal(counters[PortCounter.xmitData], 0);
  assert.equal(counters[PortCounter.rcvData], 3);
  perf(node, Method.SET, PmAttribute.PORT_COUNTERS, 1, 0, 1);
  assert.equal(counters[PortCounter.xmitWait], 0);
  perf(node, Method.SET, PmAttribute.PORT_COUNTERS_EXTENDED, 1, 1 << 7);
  assert.equal(counters[PortCounter.multicastRcvPackets], 0);
  assert.equal(counters[PortCounter.rcvPackets], 3);
});

test("port select: none such, all ports of a switch, port 0", () => {
  assert.equal(perf(host().node, Method.GET, PmAttribute.PORT_COUNTERS, 2).status, MadStatus.INVALID_FIELD);
  const sw = new Fabric().addSwitch({ guid: 1n, description: "s", portCount: 3 });
  sw.ports.forEach((port, i) => {
    port.counters[PortCounter.rcvData] = 10 ** i;
  });
  assert.equal(PortCounters.rcvData.get(perf(sw, Method.GET, PmAttribute.PORT_COUNTERS, 0xff).mad, AT), 1111);
  assert.equal(PortCounters.rcvData.get(perf(sw, Method.GET, PmAttribute.PORT_COUNTERS, 0).mad, AT), 1);
  perf(sw, Method.SET, PmAttribute.PORT_COUNTERS, 0xff);
  assert.ok(sw.ports.every((port) => port.counters[PortCounter.rcvData] === 0));
});

test("PortSamplesControl: no mechanisms; other attributes and methods are refused", () => {
  const { node } = host();
  const { mad } = perf(node, Method.GET, PmAttribute.PORT_SAMPLES_CONTROL, 1);
  assert.equal(PortSamplesControl.sampleMechanisms.get(mad, AT), 0);
  assert.equal(perf(node, Method.GET, 0x40, 1).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  assert.equal(perf(node, Method.GET_TABLE, PmAttribute.PORT_COUNTERS, 1).status, MadStatus.UNSUPPORTED_METHOD);
  assert.equal(perf(node, Method.GET_RESP, PmAttribute.PORT_COUNTERS, 1).verdict, Verdict.DROP);
});

test("optional counters: by service level, details of errors and discards, summed and cleared as selected", () => {
  const sw = new Fabric().addSwitch({ guid: 1n, description: "s", portCount: 3 });
  sw.ports[1]!.slData[3] = 70_000;
  sw.ports[2]!.slData[3] = 5e9;
  sw.ports[1]!.slData[RCV_DATA_SL + 15] = 9;
  sw.ports[1]!.details[PortDetail.dlidMappingErrors] = 0x12345;
  sw.ports[1]!.details[PortDetail.loopingErrors] = 2;
  sw.ports[1]!.details[PortDetail.inactiveDiscards] = 4;
  const read = (attribute: number, port: number, at: number, bytes: 2 | 4): number => {
    const { mad, status } = perf(sw, Method.GET, attribute, port);
    assert.equal(status, MadStatus.OK);
    assert.equal(mad.getUint8(AT + 1), port);
    return bytes === 4 ? mad.getUint32(AT + at) : mad.getUint16(AT + at);
  };
  assert.equal(read(PmAttribute.PORT_XMIT_DATA_SL, 1, 4 + 3 * 4, 4), 70_000);
  assert.equal(read(PmAttribute.PORT_XMIT_DATA_SL, 0xff, 4 + 3 * 4, 4), 0xffffffff, "sticks at its highest value");
  assert.equal(read(PmAttribute.PORT_RCV_DATA_SL, 1, 4 + 15 * 4, 4), 9);
  assert.equal(read(PmAttribute.PORT_RCV_ERROR_DETAILS, 1, 4 + 3 * 2, 2), 0xffff);
  assert.equal(read(PmAttribute.PORT_RCV_ERROR_DETAILS, 1, 4 + 5 * 2, 2), 2);
  assert.equal(read(PmAttribute.PORT_XMIT_DISCARD_DETAILS, 1, 4, 2), 4);
  perf(sw, Method.SET, PmAttribute.PORT_RCV_ERROR_DETAILS, 1, 1 << 5);
  assert.equal(read(PmAttribute.PORT_RCV_ERROR_DETAILS, 1, 4 + 5 * 2, 2), 0);
  assert.equal(read(PmAttribute.PORT_RCV_ERROR_DETAILS, 1, 4 + 3 * 2, 2), 0xffff, "not selected");
  for (const attribute of [0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35])
    read(attribute, 1, 4, 4);
  assert.equal(
    perf(host().node, Method.GET, PmAttribute.SW_PORT_VL_CONGESTION, 1).status,
    MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE,
  );
  assert.equal(perf(sw, Method.GET, PmAttribute.PORT_XMIT_DATA_SL, 9).status, MadStatus.INVALID_FIELD);
});

test("the numbers of the interface are those of the agent", () => {
  const { node, counters } = host();
  const port = node.ports[1]!;
  counters[PortCounter.xmitData] = 77;
  assert.deepEqual(portCountersObject(port), { xmitData: 77 });
  port.slData[RCV_DATA_SL + 2] = 5;
  port.details[PortDetail.loopingErrors] = 3;
  assert.deepEqual(portCountersObject(port), { xmitData: 77, rcvDataSl2: 5, loopingErrors: 3 });
});
