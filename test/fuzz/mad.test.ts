// SMPs and performance MADs, right ones and bent ones, to the agents of a CA and of a switch: straight, by MAD_IFC's way, and over
// the wire by directed routes. Responses are well formed; a Get, a refused Set and a wrong M_Key change nothing; ports go from
// state to state only where 7.2.7 allows; tables give back what was written; a route leads to the node the cables lead to.

import assert from "node:assert/strict";
import { readAll, writeAll } from "../../src/base/layout.ts";
import type { Random } from "../../src/base/random.ts";
import { Fabric } from "../../src/fabric/fabric.ts";
import type { FabricNode } from "../../src/fabric/node.ts";
import type { Port } from "../../src/fabric/port.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { processPerf } from "../../src/mad/agents/pma.ts";
import { processSmp } from "../../src/mad/agents/sma.ts";
import { bytesOf, copyMad, newDirectedSmp, newMad, newRequest, Verdict } from "../../src/mad/mad.ts";
import { DIRECTED_ROUTE, type MadPacket } from "../../src/mad/packet.ts";
import { PortState } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { MadHeader, PM_DATA_AT, SMP_DATA_AT, Smp } from "../../src/spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass, NodeType, PmAttribute, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { PortCounters } from "../../src/spec/mad/pm-attributes.ts";
import { NodeInfo, PortInfo, SwitchInfo } from "../../src/spec/mad/sm-attributes.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, number32, number64, randomBytes } from "./values.ts";

const REQUESTS = 60;
const SWITCH_PORTS = 20;
const ATTRIBUTES = Object.values(SmAttribute);
const PM_ATTRIBUTES = Object.values(PmAttribute);
const STATUSES: readonly number[] = Object.values(MadStatus);
/** Attributes whose data are a block of a table: what a Set writes a Get gives back. */
const TABLES: readonly number[] = [
  SmAttribute.LINEAR_FORWARDING,
  SmAttribute.MULTICAST_FORWARDING,
  SmAttribute.P_KEY_TABLE,
  SmAttribute.SL_TO_VL_MAPPING,
  SmAttribute.VL_ARBITRATION,
];
const DATA_BYTES: Readonly<Record<number, number>> = { [SmAttribute.SL_TO_VL_MAPPING]: 8 };
const KEY = 0x1122334455667788n;

/** Everything a node's agents keep, in a form that can be compared. */
function snapshot(node: FabricNode): unknown {
  const ports = node.ports.map((port) => port && portSnapshot(port));
  const tables = node.switch && { info: Buffer.from(bytesOf(node.switch.info)), ...someBlocks(node) };
  return { ports, tables };
}

function portSnapshot(port: Port): unknown {
  const info = readAll(PortInfo, port.info, 0);
  // What a violation of the M_Key counts and how a lease that ends changes the port is not the request's doing.
  const { mkeyViolations: _violations, mkeyProtect: _protect, ...rest } = info;
  const slToVl = port.node.ports.map((_, input) => port.slToVlFrom(input));
  const vlArbitration = [1, 2, 3, 4].map((block) => port.vlArbitrationBlock(block));
  const tables = [...slToVl, ...vlArbitration].map((bytes) => Buffer.from(bytes).toString("hex"));
  return { rest, pkeys: [...port.pkeys], gids: Buffer.from(port.gids).toString("hex"), tables };
}

/** The blocks that requests choose, and one they hardly do. */
function someBlocks(node: FabricNode): object {
  const { linear, multicast } = node.switch!;
  const blocks = [0, 1, 2, 700, linear.blockCount - 1].map((block) => {
    const bytes = new Uint8Array(64);
    linear.readBlock(block, bytes);
    return Buffer.from(bytes).toString("hex");
  });
  const masks = [0, 1, multicast.blockCount - 1].map((block) => {
    const bytes = new DataView(new ArrayBuffer(64));
    multicast.readBlock(block, 1, bytes, 0);
    return Buffer.from(bytesOf(bytes)).toString("hex");
  });
  return { blocks, masks };
}

class Agents {
  readonly random: Random;
  readonly budget: Budget;
  readonly fabric = new Fabric();
  readonly ca = this.fabric.addCa({ nodeGuid: 0x10n, description: "ca" });
  readonly sw = this.fabric.addSwitch({ guid: 0x100n, description: "switch", portCount: SWITCH_PORTS });
  #nowNs = 0;

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    this.fabric.connect(this.ca.ports[1]!, this.sw.ports[1]!);
    this.ca.ports[1]!.enable();
    this.fabric.step(0);
  }

  act(): void {
    const { random } = this;
    const node: FabricNode = random.chance(0.5) ? this.ca : this.sw;
    this.#nowNs += random.below(3) * 1e9;
    const kind = random.below(10);
    if (kind < 2) this.#perf(node);
    else if (kind < 4) this.#bent(node);
    else this.#smp(node);
    this.fabric.step(this.#nowNs);
  }

  // ---- SMA ------------------------------------------------------------------------------------------------------------

  #keyPort(node: FabricNode): Port {
    return node.ports[node.type === NodeType.SWITCH ? 0 : 1]!;
  }

  /** A modifier that names a block or a port of the attribute, or does not. */
  #modifier(node: FabricNode, attribute: number): number {
    const { random } = this;
    if (random.chance(0.1)) return number32(random);
    const port = random.below(node.ports.length + 1);
    switch (attribute) {
      case SmAttribute.PORT_INFO:
        return random.chance(0.2) ? 0 : port;
      case SmAttribute.LINEAR_FORWARDING:
        return random.pick([0, 1, 2, 700, 767, 768, random.below(768)]);
      case SmAttribute.MULTICAST_FORWARDING:
        return ((random.below(3) << 28) | random.pick([0, 1, 31, 32])) >>> 0;
      case SmAttribute.P_KEY_TABLE:
        return node.type === NodeType.SWITCH ? (random.below(2) << 16) | random.below(2) : random.below(3);
      case SmAttribute.SL_TO_VL_MAPPING:
        return (random.below(SWITCH_PORTS + 2) << 8) | port;
      case SmAttribute.VL_ARBITRATION:
        return (random.below(6) << 16) | port;
      case SmAttribute.GUID_INFO:
        return random.below(5);
      default:
        return 0;
    }
  }

  #ask(node: FabricNode, mad: DataView, ignoreMkey = false): number {
    return processSmp(node, mad, { port: node === this.ca ? 1 : 0, ignoreMkey, nowNs: this.#nowNs });
  }

  #get(node: FabricNode, attribute: number, modifier: number): DataView {
    const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, attribute, modifier);
    this.#ask(node, mad, true);
    return mad;
  }

  #smp(node: FabricNode): void {
    const { random } = this;
    const attribute = random.pick(ATTRIBUTES);
    const modifier = this.#modifier(node, attribute);
    const method = random.chance(0.9) ? random.pick([Method.GET, Method.SET]) : random.below(128);
    const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, method, attribute, modifier);
    MadHeader.tid.setBig(mad, 0, number64(random));
    const keyPort = this.#keyPort(node);
    const key = PortInfo.mkey.getBig(keyPort.info, 0);
    Smp.mkey.setBig(mad, 0, random.chance(0.75) ? key : number64(random));
    if (method === Method.SET) this.#fill(node, mad, attribute, modifier);
    const given = copyMad(bytesOf(mad));
    this.budget.trace(node.name, readAll(MadHeader, mad, 0));
    const isKeyRight = key === 0n || Smp.mkey.getBig(given, 0) === key;
    const protect = PortInfo.mkeyProtect.get(keyPort.info, 0);
    const before = snapshot(node);
    const states = node.ports.map((port) => port?.state ?? 0);
    const verdict = this.#ask(node, mad);
    this.#checkAnswer(given, mad, verdict);
    const isAccepted = verdict === Verdict.REPLY && Smp.status.get(mad, 0) === MadStatus.OK;
    this.budget.note(`${attribute} ${method} ${verdict} ${Smp.status.get(mad, 0)} ${isKeyRight} ${protect}`);
    if (method !== Method.SET || !isAccepted) assert.deepEqual(snapshot(node), before, "only an accepted Set changes anything");
    if (method === Method.SET && !isKeyRight) assert.equal(verdict, Verdict.DROP, "a Set with a wrong M_Key");
    if (method === Method.GET && !isKeyRight && protect < 2 && attribute !== SmAttribute.SM_INFO) {
      assert.equal(verdict, Verdict.REPLY, "protect levels 0 and 1 let everybody read");
    }
    if (isAccepted) this.#checkAccepted(node, given, mad, states, isKeyRight, protect);
  }

  /** What is there now, with some fields changed: often acceptable. */
  #fill(node: FabricNode, mad: DataView, attribute: number, modifier: number): void {
    const { random } = this;
    bytesOf(mad).set(bytesOf(this.#get(node, attribute, modifier)).subarray(SMP_DATA_AT, SMP_DATA_AT + 64), SMP_DATA_AT);
    const layout =
      attribute === SmAttribute.PORT_INFO ? PortInfo : attribute === SmAttribute.SWITCH_INFO ? SwitchInfo : undefined;
    if (layout === undefined) {
      bytesOf(mad).set(randomBytes(random, 64), SMP_DATA_AT);
      return;
    }
    if (attribute === SmAttribute.PORT_INFO && random.chance(0.9)) {
      const lid = random.chance(0.9) ? 8 * (1 + random.below(100)) : number32(random, 16);
      const calm = { portState: random.below(5), physState: 0, lid, smLid: 1, lmc: random.below(3), linkDownDefault: 0 };
      writeAll(PortInfo, mad, SMP_DATA_AT, { ...calm, mkey: random.chance(0.3) ? KEY : 0n, mkeyProtect: random.below(4) });
    }
    for (let n = random.below(3); n > 0; n--) {
      const [name, field] = random.pick([...layout.info.fields]);
      if (field.kind === "number") field.set(mad, SMP_DATA_AT, number32(random, field.width));
      else if (field.kind === "half64") writeAll(layout, mad, SMP_DATA_AT, { [name]: number64(random) });
    }
  }

  /** Bytes at random in a request: the answer is well formed, and a wrong key still opens nothing. */
  #bent(node: FabricNode): void {
    const { random } = this;
    const attribute = random.pick(ATTRIBUTES);
    const mad = newRequest(
      MgmtClass.SUBN_LID_ROUTED,
      random.pick([Method.GET, Method.SET]),
      attribute,
      this.#modifier(node, attribute),
    );
    bend(random, bytesOf(mad), 64);
    const given = copyMad(bytesOf(mad));
    const key = PortInfo.mkey.getBig(this.#keyPort(node).info, 0);
    const before = snapshot(node);
    const states = node.ports.map((port) => port?.state ?? 0);
    if (random.chance(0.5)) this.#checkAnswer(given, mad, this.#ask(node, mad));
    else this.#madIfc(given);
    if (node === this.sw && key !== 0n && Smp.mkey.getBig(given, 0) !== key) assert.deepEqual(snapshot(node), before);
    this.#checkStates(node, states);
  }

  /** MAD_IFC: whatever 256 bytes come, the response is whole, or there is none. */
  #madIfc(given: DataView): void {
    const response = newMad();
    const request = bytesOf(copyMad(bytesOf(given)));
    const isHandled = this.ca.ports[1]!.processMad(request, bytesOf(response), { slid: 0, ignoreMkey: true });
    assert.deepEqual(request, bytesOf(given), "the request is the caller's");
    if (isHandled && MadHeader.method.get(response, 0) !== Method.TRAP_REPRESS) this.#checkAnswer(given, response, Verdict.REPLY);
    if (!isHandled) assert.ok(bytesOf(response).every((byte) => byte === 0));
  }

  #checkAnswer(given: DataView, answer: DataView, verdict: number): void {
    if (verdict !== Verdict.REPLY) return;
    assert.equal(answer.byteLength, 256);
    const [was, is] = [readAll(MadHeader, given, 0), readAll(MadHeader, answer, 0)];
    for (const name of ["baseVersion", "mgmtClass", "classVersion", "tid", "attributeId", "attributeModifier", "classSpecific"]) {
      assert.equal(is[name], was[name], `${name} of a response`);
    }
    const method = MadHeader.method.get(given, 0);
    const expected = method === Method.SET ? Method.GET_RESP : method | 0x80;
    assert.equal(is.method, expected, "method of a response");
    const status = was.mgmtClass === MgmtClass.PERF ? MadHeader.status.get(answer, 0) : Smp.status.get(answer, 0);
    assert.ok(STATUSES.includes(status), `status ${status}`);
  }

  #checkAccepted(
    node: FabricNode,
    given: DataView,
    answer: DataView,
    states: readonly number[],
    isKeyRight: boolean,
    protect: number,
  ) {
    const attribute = MadHeader.attributeId.get(given, 0);
    const modifier = MadHeader.attributeModifier.get(given, 0);
    if (MadHeader.method.get(given, 0) === Method.GET) {
      const isHidden = attribute === SmAttribute.PORT_INFO && !isKeyRight && protect !== 0;
      if (isHidden && node === this.ca)
        assert.equal(PortInfo.mkey.getBig(answer, SMP_DATA_AT), 0n, "the key is not for everybody");
      return;
    }
    this.#checkStates(node, states);
    if (!TABLES.includes(attribute)) return;
    const end = SMP_DATA_AT + (DATA_BYTES[attribute] ?? 64);
    const now = bytesOf(this.#get(node, attribute, modifier)).subarray(SMP_DATA_AT, end);
    assert.deepEqual(now, bytesOf(given).subarray(SMP_DATA_AT, end), `table ${attribute.toString(16)}, block ${modifier}`);
  }

  /** 7.2.7: up one step at a time, down from anywhere, and after a way down the link may train to INIT at once. */
  #checkStates(node: FabricNode, before: readonly number[]): void {
    for (const port of [...this.ca.ports, ...this.sw.ports]) {
      if (port === undefined) continue;
      assert.ok(port.state >= PortState.DOWN && port.state <= PortState.ACTIVE, `port state ${port.state}`);
      assert.ok(port.lid <= 0xbfff && (port.lid & ((1 << port.lmc) - 1)) === 0, "LID and LMC fit");
    }
    node.ports.forEach((port, i) => {
      const [was, is] = [before[i] ?? 0, port?.state ?? 0];
      assert.ok(is <= was + 1 || is === PortState.INIT, `port ${i} went from ${was} to ${is}`);
    });
  }

  // ---- PMA ------------------------------------------------------------------------------------------------------------

  #perf(node: FabricNode): void {
    const { random } = this;
    for (const port of node.ports) if (random.chance(0.3)) port?.counters.fill(random.pick([0, 3, 300, 70_000, 2 ** 33]));
    const method = random.chance(0.9) ? random.pick([Method.GET, Method.SET]) : random.below(128);
    const mad = newRequest(MgmtClass.PERF, method, random.pick(PM_ATTRIBUTES));
    MadHeader.tid.setBig(mad, 0, number64(random));
    const select = random.chance(0.2) ? 0xff : random.below(node.ports.length + 1);
    const counterSelect = number32(random, 16);
    mad.setUint8(PM_DATA_AT + 1, select);
    mad.setUint16(PM_DATA_AT + 2, counterSelect);
    const given = copyMad(bytesOf(mad));
    const before = node.ports.map((port) => port && Float64Array.from(port.counters));
    const verdict = processPerf(node, mad);
    this.#checkAnswer(given, mad, verdict);
    const isCounters = MadHeader.attributeId.get(given, 0) === PmAttribute.PORT_COUNTERS;
    const isClearing = method === Method.SET && MadHeader.status.get(mad, 0) === MadStatus.OK;
    node.ports.forEach((port, i) => {
      const isSelected = isClearing && (select === 0xff || select === i);
      port?.counters.forEach((value, slot) => {
        const was = before[i]?.[slot] ?? 0;
        assert.ok(value === was || (value === 0 && isSelected), `counter ${slot} of port ${i}`);
      });
    });
    if (isCounters && verdict === Verdict.REPLY && MadHeader.status.get(mad, 0) === MadStatus.OK) {
      const ports = node.ports.filter((port, i) => port !== undefined && (select === 0xff || select === i));
      const sum = ports.reduce((total, port) => total + port!.counters[PortCounter.rcvSwitchRelayErrors]!, 0);
      assert.equal(PortCounters.rcvSwitchRelayErrors.get(mad, PM_DATA_AT), Math.min(sum, 0xffff), "relay errors of the ports");
      const isXmitCleared = method === Method.SET && (counterSelect & (1 << 12)) !== 0;
      if (isXmitCleared)
        assert.ok(
          ports.every((port) => port!.counters[PortCounter.xmitData] === 0),
          "the selected counter is 0",
        );
    }
  }
}

fuzz(
  "mad/agents",
  (random, budget) => {
    const agents = new Agents(random, budget);
    for (let i = 0; i < REQUESTS; i++) agents.act();
  },
  { share: 0.6 },
);

// ---- over the wire ----------------------------------------------------------------------------------------------------

/** The node a directed route leads to from a host's switch, by the cables alone. */
function walk(start: Port, path: readonly number[]): FabricNode | undefined {
  let arrival = start.peer;
  for (const number of path) {
    if (arrival === undefined || arrival.node.type !== NodeType.SWITCH) return undefined;
    arrival = number === 0 ? undefined : arrival.node.ports[number]?.peer;
  }
  return arrival?.node;
}

fuzz(
  "mad/wire",
  (random, budget) => {
    const subnet = new SimulatedSubnet({ hosts: 4, switches: 3, shape: "loop", portsPerSwitch: 8 });
    subnet.enableAll();
    subnet.runFor(0);
    const [host] = subnet.hosts;
    assert.ok(host);
    for (let i = 0; i < REQUESTS; i++) {
      const path = Array.from({ length: random.below(8) }, () => random.pick([0, 1, 2, 7, 8, 7, 8, random.below(256)]));
      const mad = newDirectedSmp([1, ...path], Method.GET, SmAttribute.NODE_INFO);
      Smp.hopPointer.set(mad, 0, 1);
      MadHeader.tid.setBig(mad, 0, BigInt(i + 1));
      const isRight = random.chance(0.6);
      if (!isRight) bend(random, bytesOf(mad), 8);
      const before = subnet.fabric.counts.delivered;
      host.send(DIRECTED_ROUTE, mad);
      subnet.runFor(0);
      const hops = subnet.fabric.counts.delivered - before;
      assert.ok(hops <= 2 * 65, `one SMP took ${hops} hops`);
      const answers: MadPacket[] = host.received.splice(0);
      assert.ok(answers.length <= 1, "one answer at most");
      for (const other of subnet.hosts) if (other !== host) other.received.splice(0);
      const end = walk(host.port, path);
      budget.note(`${path.length} ${end?.type} ${answers.length} ${isRight}`);
      if (!isRight) continue;
      assert.equal(answers.length, end === undefined ? 0 : 1, `a route by ${path.join(", ")}`);
      const [answer] = answers;
      if (answer === undefined) continue;
      assert.equal(MadHeader.tid.getBig(answer.view, answer.madAt), BigInt(i + 1));
      assert.equal(MadHeader.method.get(answer.view, answer.madAt), Method.GET_RESP);
      assert.equal(NodeInfo.nodeGuid.getBig(answer.view, answer.madAt + SMP_DATA_AT), end?.guid);
    }
  },
  { share: 0.4 },
);
