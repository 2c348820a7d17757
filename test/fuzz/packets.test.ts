// Packets through the fabric and into an HCA. `packets/fabric`: forwarding tables at random, with loops; every packet ends where the
// tables lead or is counted where it was dropped, within its hops. `packets/port`: headers at random to a port with queue pairs
// behind it; a packet is delivered, byte for byte, exactly if QP, Q_Key and P_Key are right, and else counted by name.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { Completion } from "../../src/driver/completion-queue.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import type { CaPort } from "../../src/fabric/ca-port.ts";
import { activateLinks, setLid, setMulticastRoute, setRoute } from "../../src/fabric/hand-made-subnet.ts";
import { MAX_HOPS } from "../../src/fabric/limits.ts";
import type { Port } from "../../src/fabric/port.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../../src/spec/ib/bth-opcode.ts";
import { Bth, Deth, Grh, ImmDt, Lrh, LrhNextHeader } from "../../src/spec/ib/headers.ts";
import { GSI_QKEY, Lid, Qpn, Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { receivePacket } from "../../src/transport/special.ts";
import { Buffer64, datagramQp, type Guest, newQp, TestBed } from "../in-process/pair.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, number32, randomBytes } from "./values.ts";

const PACKETS = 80;
const QKEY = 0x1234;
const MLID = 0xc000;
const VL15 = 15;

interface PacketFields {
  vl?: number;
  lnh?: number;
  dlid: number;
  slid?: number;
  opcode?: number;
  pkey?: number;
  destQp: number;
  qkey?: number;
  /** With a GRH. */
  dgid?: Uint8Array;
  payload: Uint8Array;
}

/** LRH [GRH] BTH DETH [ImmDt] payload, as between the HCA and the fabric: without CRCs. */
function buildPacket(fields: PacketFields): Uint8Array {
  const opcode = fields.opcode ?? UD_SEND_ONLY;
  const grhBytes = fields.lnh === LrhNextHeader.GRH ? Grh.byteLength : 0;
  const immediateBytes = opcode === UD_SEND_ONLY_IMM ? ImmDt.byteLength : 0;
  const bthAt = Lrh.byteLength + grhBytes;
  const dethAt = bthAt + Bth.byteLength;
  const payloadAt = dethAt + Deth.byteLength + immediateBytes;
  const packet = new Uint8Array(payloadAt + fields.payload.length);
  const view = new DataView(packet.buffer);
  Lrh.vl.set(view, 0, fields.vl ?? 0);
  Lrh.nextHeader.set(view, 0, fields.lnh ?? LrhNextHeader.BTH);
  Lrh.dlid.set(view, 0, fields.dlid);
  Lrh.slid.set(view, 0, fields.slid ?? 1);
  Lrh.packetLength.set(view, 0, (packet.length + 4) >> 2);
  if (grhBytes > 0) {
    Grh.version.set(view, Lrh.byteLength, 6);
    Grh.nextHeader.set(view, Lrh.byteLength, 0x1b);
    if (fields.dgid !== undefined) Grh.dgid.set(view, Lrh.byteLength, fields.dgid);
  }
  Bth.opcode.set(view, bthAt, opcode);
  Bth.pkey.set(view, bthAt, fields.pkey ?? 0xffff);
  Bth.destQp.set(view, bthAt, fields.destQp);
  Deth.qkey.set(view, dethAt, fields.qkey ?? QKEY);
  Deth.srcQp.set(view, dethAt, 0x77);
  packet.set(fields.payload, payloadAt);
  return packet;
}

// ---- the fabric -----------------------------------------------------------------------------------------------------------

const SWITCHES = 4;
const HOSTS = 8;
const SWITCH_PORTS = 8;

class FabricWorld {
  readonly random: Random;
  readonly budget: Budget;
  readonly subnet = new SimulatedSubnet({ hosts: 0, switches: SWITCHES, shape: "loop", portsPerSwitch: SWITCH_PORTS });
  readonly hosts: CaPort[] = [];
  readonly received: Uint8Array[][] = [];
  /** The tables a second time: port by switch and LID. */
  readonly #routes = new Map<Port["node"], Map<number, number>>();
  readonly #groups = new Map<Port["node"], number[]>();

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    const { subnet } = this;
    for (let i = 0; i < HOSTS; i++) {
      const { port } = subnet.addHost(i % SWITCHES);
      const received: Uint8Array[] = [];
      port.attach({ receive: (packet) => void received.push(packet.slice()), portStateChanged: () => {} });
      this.hosts.push(port);
      this.received.push(received);
    }
    subnet.enableAll();
    subnet.runFor(0);
    activateLinks(subnet.fabric);
    for (const [i, port] of this.hosts.entries()) setLid(port, i + 1);
    this.#writeTables();
  }

  /** Any port for any LID, so that there are loops, dead ends, and sometimes the way. */
  #writeTables(): void {
    const { random } = this;
    for (const node of this.subnet.switches) {
      const routes = new Map<number, number>();
      for (let lid = 1; lid <= HOSTS + 1; lid++) {
        const own = this.hosts.find((port) => port.lid === lid && port.peer?.node === node)?.peer?.number;
        const port = own !== undefined && random.chance(0.8) ? own : random.below(SWITCH_PORTS + 2);
        routes.set(lid, port);
        setRoute(node, lid, port);
      }
      this.#routes.set(node, routes);
      const group = Array.from({ length: SWITCH_PORTS + 1 }, (_, i) => i).filter((port) => port > 0 && random.chance(0.6));
      this.#groups.set(node, group);
      setMulticastRoute(node, MLID, group);
    }
  }

  /** The host a LID leads to from a host, by the tables written, or undefined. */
  #follow(from: CaPort, dlid: number): CaPort | undefined {
    if (dlid === 0) return undefined;
    if (from.lid === dlid) return from;
    let arrival = from.peer;
    for (let hops = 0; hops <= MAX_HOPS; hops++) {
      if (arrival === undefined) return undefined;
      const host = this.hosts.find((port) => port === arrival);
      if (host !== undefined) return host.lid === dlid ? host : undefined;
      const out = this.#routes.get(arrival.node)?.get(dlid) ?? 0xff;
      if (out === arrival.number || out === 0) return undefined;
      arrival = arrival.node.ports[out]?.peer;
    }
    return undefined;
  }

  /** The hosts that the masks reach from a host. */
  #spread(from: CaPort): Set<Port> {
    const reached = new Set<Port>();
    const seen = new Set<unknown>();
    const pending = [from.peer];
    for (let arrival = pending.pop(); arrival !== undefined; arrival = pending.pop()) {
      if (seen.has(arrival.node)) continue;
      seen.add(arrival.node);
      for (const number of this.#groups.get(arrival.node) ?? []) {
        const peer = arrival.node.ports[number]?.peer;
        if (peer === undefined || peer === from) continue;
        if (this.hosts.includes(peer as CaPort)) reached.add(peer);
        else pending.push(peer);
      }
    }
    return reached;
  }

  /** Packets that ended somewhere else than at a host, by every counter there is. */
  #dropped(): number {
    const { counts, nodes } = this.subnet.fabric;
    let sum = counts.malformed + counts.overflowed + counts.unclaimed + counts.refused + counts.badDirectedRoutes;
    for (const node of nodes) {
      for (const port of node.ports) {
        if (port === undefined) continue;
        for (const slot of [PortCounter.xmitDiscards, PortCounter.rcvSwitchRelayErrors, PortCounter.rcvErrors]) {
          sum += port.counters[slot] ?? 0;
        }
      }
    }
    return sum;
  }

  act(): void {
    const { random, subnet } = this;
    const from = random.pick(this.hosts);
    const isMulticast = random.chance(0.3);
    const dlid = isMulticast ? MLID : random.chance(0.95) ? 1 + random.below(HOSTS + 2) : number32(random, 16);
    const payload = randomBytes(random, 4 * random.below(40));
    const packet = buildPacket({ dlid, destQp: 2 + random.below(5), payload, slid: from.lid });
    const isRight = random.chance(0.8);
    if (!isRight) bend(random, packet, 8);
    const sentDlid = new DataView(packet.buffer).getUint16(2);
    if (random.chance(0.05)) setLid(from, 0);
    const before = { dropped: this.#dropped(), delivered: subnet.fabric.counts.delivered };
    from.transmit(packet);
    subnet.runFor(0);
    const received = this.received.map((packets) => packets.splice(0));
    const total = received.reduce((sum, { length }) => sum + length, 0);
    const hops = subnet.fabric.counts.delivered - before.delivered;
    assert.ok(hops <= (isMulticast ? SWITCHES * SWITCH_PORTS : MAX_HOPS + 2), `${hops} hops`);
    for (const [i, copies] of received.entries()) {
      assert.ok(copies.length <= 1, "one copy for each host");
      for (const copy of copies) assert.ok(Buffer.from(copy).equals(packet), `host ${i} has other bytes than were sent`);
    }
    const dropped = this.#dropped() - before.dropped;
    this.budget.note(`${isMulticast} ${isRight} ${total} ${Math.min(dropped, 3)} ${hops}`);
    if (!isMulticast && sentDlid < MLID) assert.equal(total + dropped, 1, "a unicast packet is delivered or counted, once");
    if (isRight) this.#checkRight(from, sentDlid, received);
    for (const [i, port] of this.hosts.entries()) if (port.lid === 0) setLid(port, i + 1);
  }

  #checkRight(from: CaPort, dlid: number, received: readonly Uint8Array[][]): void {
    const found = this.hosts.filter((_, i) => received[i]?.length === 1);
    if (dlid === MLID) {
      assert.deepEqual(new Set(found.map(({ lid }) => lid)), new Set([...this.#spread(from)].map(({ lid }) => lid)), "members");
      return;
    }
    const expected = dlid < MLID ? this.#follow(from, dlid) : undefined;
    assert.deepEqual(
      found.map(({ lid }) => lid),
      expected === undefined ? [] : [expected.lid],
      `from ${from.lid} to ${dlid}`,
    );
    // The short path's answer is the same as the packet's way.
    if (dlid < MLID && dlid > 0) assert.equal(from.resolve(dlid), expected === undefined ? -1 : expected.index, "resolve");
  }
}

fuzz(
  "packets/fabric",
  (random, budget) => {
    const world = new FabricWorld(random, budget);
    for (let i = 0; i < PACKETS; i++) world.act();
  },
  { share: 0.5 },
);

// ---- the port -------------------------------------------------------------------------------------------------------------

const PKEYS = [0xffff, 0x8001, 0x0002, 0x7fff, 0x0001, 0];
const RECEIVE_BYTES = 2200;
const PACKET_BYTES_MAX = 8 + 40 + 12 + 8 + 4 + 2048;
const COUNTERS = [
  "receives",
  "droppedNoReceive",
  "droppedQkey",
  "droppedPkey",
  "droppedNoQp",
  "droppedTooLong",
  "droppedBadPacket",
  "droppedGid",
  "droppedBusy",
] as const;

interface Target {
  /** Number on the wire. */
  qpn: number;
  number: number;
  qkey: number;
  pkeyIndex: number;
  post: () => void;
  posted: number;
  /** Bytes of each receive. */
  room: number;
  isShared: boolean;
}

class PortWorld {
  readonly random: Random;
  readonly budget: Budget;
  readonly bed = new TestBed(1, { memoryBytes: 2 << 20 });
  readonly guest: Guest = this.bed[0];
  readonly buffer: Buffer64;
  readonly targets: Target[] = [];
  #recycle: (completion: Completion) => void = () => {};

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    this.guest.device.commands.useEvents(false);
    this.buffer = new Buffer64(this.guest, RECEIVE_BYTES);
    for (const [i, pkey] of PKEYS.entries()) this.bed.wires[0]!.pkeys[i] = pkey;
    for (let i = 0; i < 3; i++) this.#addQp(i);
    this.#addShared();
    this.#addSpecial(Qpn.SMI, this.guest.device.specialQpBase, 0);
    this.#addSpecial(Qpn.GSI, this.guest.device.specialQpBase + 2, GSI_QKEY);
  }

  #sge(room: number) {
    return [this.buffer.sge(0, room)];
  }

  #add(target: Omit<Target, "posted">): void {
    this.targets.push({ ...target, posted: 0 });
  }

  #addQp(pkeyIndex: number): void {
    const qp = newQp(this.guest, Service.UD, { receiveWqes: 8 });
    qp.init({ qkey: QKEY + pkeyIndex, pkeyIndex });
    qp.readyToReceive();
    const room = pkeyIndex === 2 ? 100 : RECEIVE_BYTES;
    const post = (): void => void qp.postReceive(this.#sge(room));
    this.#add({ qpn: qp.number, number: qp.number, qkey: QKEY + pkeyIndex, pkeyIndex, room, isShared: false, post });
  }

  #addShared(): void {
    const { device, pd } = this.guest;
    const srq = new DriverSharedReceiveQueue(device, { pd, wqes: 15, sges: 1 });
    const qp = datagramQp(this.guest, QKEY, { srq });
    this.#recycle = ({ qpn, wqe }) => void (qpn === qp.number && srq.recycle(wqe));
    const post = (): void => void srq.postReceive(this.#sge(300));
    this.#add({ qpn: qp.number, number: qp.number, qkey: QKEY, pkeyIndex: 0, room: 300, isShared: true, post });
  }

  #addSpecial(qpn: number, number: number, qkey: number): void {
    const qp = newQp(this.guest, Service.MLX, { number, receiveWqes: 8 });
    qp.init({ qkey });
    qp.readyToReceive();
    const post = (): void => void qp.postReceive(this.#sge(RECEIVE_BYTES));
    this.#add({ qpn, number, qkey, pkeyIndex: 0, room: RECEIVE_BYTES, isShared: false, post });
  }

  #packet(): { fields: PacketFields; bytes: Uint8Array } {
    const { random } = this;
    const target = random.pick(this.targets);
    const isSmi = target.qpn === Qpn.SMI;
    const length = random.pick([256, 256, random.below(300), 2048, random.below(2100)]) & ~3;
    const fields: PacketFields = {
      vl: (isSmi ? VL15 : 0) ^ (random.chance(0.05) ? VL15 : 0),
      lnh: random.chance(0.3) ? LrhNextHeader.GRH : LrhNextHeader.BTH,
      dlid: random.chance(0.85) ? this.guest.wire.lid : random.pick([Lid.PERMISSIVE, 2, MLID, 0]),
      opcode: random.chance(0.9) ? random.pick([UD_SEND_ONLY, UD_SEND_ONLY_IMM]) : number32(random, 8),
      pkey: random.chance(0.7) ? (PKEYS[target.pkeyIndex] ?? 0) | 0x8000 : random.pick([...PKEYS, number32(random, 16)]),
      destQp: random.chance(0.9) ? target.qpn : number32(random, 24),
      qkey: random.chance(0.85) ? target.qkey : number32(random),
      dgid: random.chance(0.8) ? this.guest.wire.gids.slice(0, 16) : randomBytes(random, 16),
      payload: randomBytes(random, length),
    };
    return { fields, bytes: buildPacket(fields) };
  }

  /** Where the packet must go, and else what must count it (9.6.1). */
  #expected(fields: PacketFields, bytes: Uint8Array): (typeof COUNTERS)[number] {
    const { destQp, dlid, vl, opcode } = fields;
    const target = this.targets.find(({ qpn }) => qpn === destQp);
    const isSmi = destQp === Qpn.SMI;
    if (bytes.length > PACKET_BYTES_MAX || (opcode !== UD_SEND_ONLY && opcode !== UD_SEND_ONLY_IMM)) return "droppedBadPacket";
    // VL 15 is for QP0, and QP0 for VL 15; only there is the permissive LID an address (13.5.1, 14.2.1).
    if ((vl === VL15) !== isSmi) return "droppedBadPacket";
    if (dlid !== this.guest.wire.lid && !(isSmi && dlid === Lid.PERMISSIVE)) return "droppedBadPacket";
    if (target === undefined) return "droppedNoQp";
    if (fields.lnh === LrhNextHeader.GRH && dlid !== Lid.PERMISSIVE && !this.#isOwnGid(fields.dgid)) return "droppedGid";
    const { pkeys } = this.bed.wires[0]!;
    const matches = (index: number): boolean => {
      const [own, other] = [pkeys[index] ?? 0, fields.pkey ?? 0];
      return (own & 0x7fff) !== 0 && (own & 0x7fff) === (other & 0x7fff) && ((own | other) & 0x8000) !== 0;
    };
    if (target.qpn !== Qpn.SMI && target.qpn !== Qpn.GSI && !matches(target.pkeyIndex)) return "droppedPkey";
    if (!isSmi && fields.qkey !== target.qkey) return "droppedQkey";
    if (target.posted === 0) return "droppedNoReceive";
    return 40 + fields.payload.length > target.room ? "droppedTooLong" : "receives";
  }

  #isOwnGid(gid: Uint8Array | undefined): boolean {
    return gid !== undefined && Buffer.from(gid).equals(this.guest.wire.gids.subarray(0, 16));
  }

  act(): void {
    const { random, guest, buffer } = this;
    for (const target of this.targets) {
      if (target.posted > 3 || random.chance(0.5)) continue;
      target.post();
      target.posted++;
    }
    const { fields, bytes } = this.#packet();
    const expected = this.#expected(fields, bytes);
    const counters = guest.node.hca.adapter.counters;
    const before = Float64Array.from(counters);
    buffer.bytes.fill(0xee);
    this.budget.trace({ ...fields, payload: fields.payload.length }, expected);
    receivePacket(guest.node.hca.adapter.ports[0]!, bytes);
    this.bed.domain.settle();
    const changed = COUNTERS.filter((name) => counters[AdapterCounter[name]] !== before[AdapterCounter[name]]);
    assert.deepEqual(changed, [expected], "delivered, or counted by the name of what was wrong");
    this.budget.note(`${fields.destQp} ${expected} ${fields.lnh}`);
    const completions = guest.cq.poll();
    for (const completion of completions) this.#recycle(completion);
    const target = this.targets.find(({ qpn }) => qpn === fields.destQp);
    // A datagram too long for its WQE uses up the WQE of a shared queue, which has no way back.
    const isUsedUp = expected === "receives" || (expected === "droppedTooLong" && target?.isShared === true);
    if (target !== undefined && isUsedUp) target.posted--;
    assert.equal(completions.length, isUsedUp ? 1 : 0, "completions");
    if (expected === "receives") this.#checkDelivered(fields, bytes, completions[0]!, target!);
    else
      assert.ok(
        buffer.bytes.every((byte) => byte === 0xee),
        "a packet that was dropped has left bytes",
      );
  }

  #checkDelivered(fields: PacketFields, bytes: Uint8Array, completion: Completion, target: Target): void {
    const { payload } = fields;
    const { bytes: memory } = this.buffer;
    assert.deepEqual(
      [completion.qpn, completion.syndrome, completion.byteCount, completion.remoteQpn],
      [target.number, 0, 40 + payload.length, 0x77],
    );
    assert.equal(completion.hasGrh, fields.lnh === LrhNextHeader.GRH);
    assert.ok(memory.subarray(40, 40 + payload.length).equals(payload), "the payload");
    if (completion.hasGrh) assert.ok(memory.subarray(0, 40).equals(bytes.subarray(8, 48)), "the GRH");
    assert.ok(
      memory.subarray(40 + payload.length).every((byte) => byte === 0xee),
      "bytes behind the payload",
    );
  }

  /** Bytes at random: dropped or delivered, but counted once, and nothing throws. */
  bent(): void {
    const { bytes } = this.#packet();
    const cut = this.random.chance(0.3) ? bytes.subarray(0, this.random.below(bytes.length)) : bytes;
    bend(this.random, cut, 40);
    const counters = this.guest.node.hca.adapter.counters;
    const sum = (): number => COUNTERS.reduce((total, name) => total + (counters[AdapterCounter[name]] ?? 0), 0);
    const before = sum();
    receivePacket(this.guest.node.hca.adapter.ports[0]!, cut);
    assert.equal(sum(), before + 1, "counted once");
    for (const completion of this.guest.cq.poll()) {
      this.#recycle(completion);
      const target = this.targets.find(({ number }) => number === completion.qpn);
      if (target !== undefined) target.posted--;
    }
  }
}

fuzz(
  "packets/port",
  (random, budget) => {
    const world = new PortWorld(random, budget);
    for (let i = 0; i < PACKETS; i++) {
      if (random.chance(0.8)) world.act();
      else world.bent();
    }
  },
  { share: 0.5 },
);
