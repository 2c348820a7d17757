// More than one subnet manager, and one that dies and comes back. IBA vol 1, 14.4.1.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf, copyMad, makeResponse, newDirectedSmp } from "../../src/mad/mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, type MadPacket } from "../../src/mad/packet.ts";
import { type SubnetManager, subnetManager } from "../../src/sm/subnet-manager.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../../src/spec/mad/headers.ts";
import { MadStatus, Method, PortCapability, SaAttribute, SmAttribute, SmControl, SmState } from "../../src/spec/mad/numbers.ts";
import { PortInfo, SmInfo } from "../../src/spec/mad/sm-attributes.ts";
import { request, running, S } from "./administrator-kit.ts";

const MS = 1e6;

/** Another manager, on host 0: it answers what it is asked, and says what it has been told. */
class OtherManager {
  readonly subnet: SimulatedSubnet;
  readonly priority: number;
  state: number = SmState.MASTER;
  isAlive = true;
  /** OpenSM does not. */
  acknowledges = true;
  /** The host is there, the manager on it is gone. */
  refuses = false;
  readonly controls: number[] = [];
  asked = 0;

  constructor(subnet: SimulatedSubnet, priority: number) {
    this.subnet = subnet;
    this.priority = priority;
    const { port } = subnet.host(0);
    port.setCapabilityMask(PortInfo.capabilityMask.get(port.info, 0) | PortCapability.IS_SM);
  }

  #info(mad: DataView): void {
    bytesOf(mad).fill(0, SMP_DATA_AT, SMP_DATA_AT + 64);
    SmInfo.guid.setBig(mad, SMP_DATA_AT, this.subnet.port(0).guid);
    SmInfo.priority.set(mad, SMP_DATA_AT, this.priority);
    SmInfo.state.set(mad, SMP_DATA_AT, this.state);
  }

  /** Lets time pass; answers at once. */
  run(ns: number): void {
    for (let i = 0; i < 200; i++) {
      this.subnet.runFor(ns / 200);
      for (const packet of this.subnet.host(0).received.splice(0)) if (this.isAlive) this.#answer(packet);
    }
  }

  #answer(packet: MadPacket): void {
    const mad = copyMad(packet.bytes, packet.madAt);
    if (MadHeader.attributeId.get(mad, 0) !== SmAttribute.SM_INFO || MadHeader.method.get(mad, 0) === Method.GET_RESP) return;
    if (MadHeader.method.get(mad, 0) === Method.SET) this.controls.push(MadHeader.attributeModifier.get(mad, 0));
    else this.asked++;
    const control = MadHeader.attributeModifier.get(mad, 0);
    this.#info(mad);
    makeResponse(mad, this.refuses ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : MadStatus.OK);
    Smp.direction.set(mad, 0, 1);
    Smp.hopPointer.set(mad, 0, Smp.hopPointer.get(mad, 0) - 1);
    this.subnet.port(0).transmit(buildMadPacket(DIRECTED_ROUTE, mad));
    if (control === SmControl.HANDOVER && this.acknowledges) this.control(SmControl.ACKNOWLEDGE);
  }

  /** Set(SMInfo) to ours; returns the status of its answer. */
  control(modifier: number): number | undefined {
    const mad = newDirectedSmp([1], Method.SET, SmAttribute.SM_INFO, modifier);
    this.#info(mad);
    Smp.hopPointer.set(mad, 0, 1);
    this.subnet.host(0).send(DIRECTED_ROUTE, mad);
    this.subnet.runFor(0);
    const at = this.subnet.host(0).received.findIndex(({ view, madAt }) => MadHeader.method.get(view, madAt) === Method.GET_RESP);
    const [answer] = at < 0 ? [] : this.subnet.host(0).received.splice(at, 1);
    return answer === undefined ? undefined : Smp.status.get(answer.view, answer.madAt);
  }
}

function twoManagers(priority: number, yields = true) {
  const { subnet, manager } = running({ hosts: 4, switches: 2 }, { yields, priority: 5 });
  const other = new OtherManager(subnet, priority);
  // its capability is read when something changes
  subnet.port(3).disable();
  subnet.runFor(MS);
  manager.discovery.refresh(manager.subnet.findPort(subnet.port(0).guid)!, subnet.clock.nowNs());
  subnet.port(3).enable();
  other.run(100 * MS);
  return { subnet, manager, other };
}

const asksSa = (subnet: SimulatedSubnet): boolean => {
  subnet.host(1).sendGmp(subnet.port(1).smLid, request(Method.GET, SaAttribute.CLASS_PORT_INFO, 0n));
  subnet.runFor(0);
  return subnet.host(1).received.splice(0).length > 0;
};

test("a better manager is given the subnet, and it is taken back when that one is silent", () => {
  const { subnet, manager, other } = twoManagers(9);
  assert.deepEqual(other.controls, [SmControl.HANDOVER]);
  assert.equal(manager.negotiation.state, SmState.STANDBY);
  assert.equal(manager.inspect().state, "STANDBY");
  assert.ok(!asksSa(subnet), "the administration is the master's");
  const { sent } = manager.transactions.counts;
  subnet.port(2).disable();
  other.run(5 * S);
  assert.equal(manager.transactions.counts.sent, sent, "nothing is done about what is another's");
  other.run(30 * S);
  assert.ok(other.asked >= 3 && manager.negotiation.state === SmState.STANDBY, "now and then it looks");
  // the other one has changed a table meanwhile
  subnet.switches[0]!.switch.linear.writeBlock(0, new Uint8Array(64).fill(255));
  other.isAlive = false;
  other.run(60 * S);
  assert.equal(manager.negotiation.state, SmState.MASTER);
  assert.ok(asksSa(subnet));
  subnet.port(2).enable();
  other.run(10 * S);
  for (const { port } of subnet.hosts) for (const { port: far } of subnet.hosts) assert.equal(port.resolve(far.lid), far.index);
});

test("a better manager that has come as a standby is found, need not acknowledge, and is replaced at once when its host says that it is gone", () => {
  const { subnet, manager } = running({ hosts: 4, switches: 2 }, { yields: true, priority: 5 });
  const other = new OtherManager(subnet, 6);
  other.state = SmState.DISCOVERING;
  other.acknowledges = false;
  manager.discovery.refresh(manager.subnet.findPort(subnet.port(0).guid)!, subnet.clock.nowNs());
  other.run(5 * S);
  assert.ok(other.asked > 0);
  assert.deepEqual(other.controls, [], "it is not ready yet");
  other.state = SmState.STANDBY;
  other.run(10 * S);
  assert.deepEqual([...new Set(other.controls)], [SmControl.HANDOVER]);
  assert.equal(manager.negotiation.state, SmState.STANDBY);
  other.state = SmState.MASTER;
  other.run(25 * S);
  assert.equal(manager.negotiation.state, SmState.STANDBY);
  other.refuses = true;
  other.run(10 * S);
  assert.equal(manager.negotiation.state, SmState.MASTER);
  assert.deepEqual(manager.negotiation.counts, { handovers: 1, takeovers: 1 });
});

test("a standby takes over when the master says so", () => {
  const { manager, other } = twoManagers(9);
  other.state = SmState.NOT_ACTIVE;
  assert.equal(other.control(SmControl.HANDOVER), 0);
  assert.equal(manager.negotiation.state, SmState.MASTER);
  other.run(100 * MS);
  assert.deepEqual(other.controls, [SmControl.HANDOVER, SmControl.ACKNOWLEDGE]);
});

test("a worse one is not yielded to, and hands over what it has", () => {
  const { manager, other } = twoManagers(3);
  assert.deepEqual(other.controls, []);
  assert.equal(other.control(SmControl.HANDOVER), 0);
  other.run(MS);
  assert.deepEqual(other.controls, [SmControl.ACKNOWLEDGE]);
  assert.ok(manager.negotiation.isMaster);
  assert.notEqual(other.control(SmControl.ACKNOWLEDGE), 0, "nothing was handed over");
  assert.notEqual(other.control(SmControl.DISABLE), 0);
  assert.ok(manager.negotiation.isMaster);
});

test("by default nobody takes the subnet over", () => {
  const { manager, other } = twoManagers(15, false);
  assert.deepEqual([other.controls, other.asked], [[], 0]);
  assert.equal(other.control(SmControl.HANDOVER), 0x0c);
  assert.ok(manager.negotiation.isMaster);
});

test("a manager that dies and comes back: LIDs stay, links stay up, hosts register again", () => {
  const mkeyOf = (guid: bigint): bigint => guid | 1n;
  const { subnet } = running({ hosts: 4, switches: 2 }, { mkeyOf });
  const lids = subnet.hosts.map(({ port }) => port.lid);
  const reregistered: boolean[] = [];
  const port = subnet.port(2);
  const original = port.processMad.bind(port);
  port.processMad = (smp, response, context) => {
    if (smp[3] === Method.SET && smp[17] === SmAttribute.PORT_INFO) reregistered.push((smp[SMP_DATA_AT + 51]! & 0x80) !== 0);
    return original(smp, response, context);
  };
  const manager = subnet.switches[0]!.attachEndpoint(subnetManager({ random: new Random(77), mkeyOf })) as SubnetManager;
  subnet.runFor(S);
  assert.deepEqual(
    subnet.hosts.map((host) => host.port.lid),
    lids,
  );
  assert.ok(reregistered.includes(true), "what the old one knew is gone");
  for (const host of subnet.hosts) assert.deepEqual(host.events, [true], "no host notices anything");
  assert.equal(manager.subnet.nodes.size, 6);
  subnet.port(1).disable();
  subnet.runFor(MS);
  subnet.port(1).enable();
  assert.ok(
    subnet.run(() => subnet.port(1).isActive, S),
    "and it goes on as before",
  );
});
