// The subnet administration and what it stands on. `sa/rmpp`: a table in segments over a network that loses, doubles and reorders:
// the receiver has exactly the table, or the transfer was given up; either way it ends. `sa/transactions`: every request ends once.
// `sa/records`: services and memberships against a model, with queries that must list exactly what the model has.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf, copyMad, newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, type MadPacket, parseMadPacket } from "../../src/mad/packet.ts";
import { DEFAULT_RMPP_LIMITS, RmppSender } from "../../src/mad/rmpp.ts";
import { Transactions } from "../../src/mad/transactions.ts";
import { IPOIB_BROADCAST } from "../../src/sm/sa/mcmember.ts";
import type { SubnetManager } from "../../src/sm/subnet-manager.ts";
import { McComponent as M } from "../../src/spec/mad/components.ts";
import { MadHeader, Rmpp, SA_DATA_AT, SA_DATA_BYTES } from "../../src/spec/mad/headers.ts";
import {
  JoinState,
  MadStatus,
  Method,
  MgmtClass,
  RmppFlag,
  RmppType,
  SaAttribute,
  SaStatus,
} from "../../src/spec/mad/numbers.ts";
import { McMemberRecord, ServiceRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, askTable, bit, gidOf, hexOf, request, running, S } from "../sm/administrator-kit.ts";
import { BadNetwork } from "./bad-network.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, number32, randomBytes } from "./values.ts";

const MS = 1e6;
/** By then every transfer and every request has ended: the sum of all waits with their doubling. */
const LONG_NS = 60 * S;

// ---- RMPP -------------------------------------------------------------------------------------------------------------------

/** A receiver as 13.6.3 has it: takes segments in order, acknowledges what it has, opens its window step by step. */
class RmppReceiver {
  readonly parts: Buffer[] = [];
  isComplete = false;
  /** Has acknowledged segments that it does not have: the sender may believe it. */
  hasCheated = false;
  readonly #random: Random;
  readonly #ack: (mad: DataView) => void;

  constructor(random: Random, ack: (mad: DataView) => void) {
    this.#random = random;
    this.#ack = ack;
  }

  receive({ view, madAt, bytes }: MadPacket): void {
    const segment = Rmpp.segment.get(view, madAt);
    if (segment === this.parts.length + 1) {
      const isLast = (Rmpp.flags.get(view, madAt) & RmppFlag.LAST) !== 0;
      const length = isLast ? Rmpp.payloadOrWindow.get(view, madAt) - 20 : SA_DATA_BYTES;
      assert.ok(length >= 0 && length <= SA_DATA_BYTES, `last segment of ${length} bytes`);
      this.parts.push(Buffer.from(bytes.slice(madAt + SA_DATA_AT, madAt + SA_DATA_AT + length)));
      this.isComplete ||= isLast;
    }
    const ack = copyMad(bytes, madAt);
    const kind = this.#random.below(60);
    Rmpp.type.set(ack, 0, kind === 0 ? RmppType.ABORT : kind === 1 ? RmppType.STOP : RmppType.ACK);
    Rmpp.flags.set(ack, 0, RmppFlag.ACTIVE);
    const claimed = kind === 2 ? number32(this.#random) : this.parts.length;
    // What has not been sent yet may be by the time that this arrives.
    this.hasCheated ||= claimed > this.parts.length;
    Rmpp.segment.set(ack, 0, claimed);
    Rmpp.payloadOrWindow.set(ack, 0, kind === 3 ? number32(this.#random) : this.parts.length + 1 + this.#random.below(20));
    this.#ack(ack);
  }
}

fuzz(
  "sa/rmpp",
  (random, budget) => {
    const limits = { ...DEFAULT_RMPP_LIMITS, maxTransfers: 8, maxTransfersPerLid: 3, maxBytes: 40_000 };
    const out = new BadNetwork<Uint8Array>(random);
    const back = new BadNetwork<MadPacket>(random);
    let nowNs = 0;
    let sentNow = 0;
    const transfers = new Map<string, { data: Buffer; receiver: RmppReceiver }>();
    const isBending = random.chance(0.3);
    const keyOf = ({ dlid, view, madAt }: MadPacket): string => `${dlid}/${MadHeader.tid.lo.get(view, madAt)}`;
    const sender = new RmppSender((packet) => {
      sentNow++;
      const parsed = parseMadPacket(packet);
      assert.ok(parsed, "a segment is a sound packet");
      out.put(packet, nowNs);
    }, limits);
    for (let i = 0; i < 12; i++) startTransfer(i);
    function startTransfer(i: number): void {
      const lid = 1 + random.below(4);
      const header = newRequest(MgmtClass.SUBN_ADM, Method.GET_TABLE_RESP, SaAttribute.NODE_RECORD);
      MadHeader.tid.setBig(header, 0, BigInt(i));
      const data = randomBytes(random, random.below(12_000));
      const open = [...transfers.values()].reduce((sum, { data: other }) => sum + other.length, 0);
      const isTaken = sender.start(header, gmpAddress(100, lid), data, nowNs);
      const perLid = [...transfers.keys()].filter((key) => key.startsWith(`${lid}/`)).length;
      assert.equal(isTaken, transfers.size < 8 && perLid < 3 && open + data.length <= 40_000, "limits of transfers");
      const receiver = new RmppReceiver(random, (mad) =>
        back.put(parseMadPacket(buildMadPacket(gmpAddress(lid, 100), mad))!, nowNs),
      );
      if (isTaken) transfers.set(`${lid}/${i}`, { data, receiver });
    }
    for (; nowNs < LONG_NS && sender.active > 0; nowNs += 10 * MS) {
      budget.step();
      sentNow = 0;
      for (const packet of out.take(nowNs)) {
        const parsed = parseMadPacket(packet)!;
        transfers.get(keyOf(parsed))?.receiver.receive(parsed);
      }
      for (const packet of back.take(nowNs)) {
        if (isBending && random.chance(0.05)) bend(random, bytesOf(packet.view).subarray(packet.madAt), 40);
        sender.receive(packet, nowNs);
      }
      sender.step(nowNs);
      assert.ok(sentNow <= 64 * 20 * transfers.size, "segments of one moment");
    }
    assert.equal(sender.active, 0, "every transfer ends");
    assert.equal(sender.nextDeadlineNs(), Number.POSITIVE_INFINITY);
    assert.equal(sender.counts.completed + sender.counts.abandoned, transfers.size);
    for (const { data, receiver } of transfers.values()) {
      const got = Buffer.concat(receiver.parts);
      assert.ok(receiver.isComplete ? got.equals(data) : data.subarray(0, got.length).equals(got), "the table as it was sent");
    }
    const believable = [...transfers.values()].filter(({ receiver }) => receiver.isComplete || receiver.hasCheated).length;
    if (!isBending) assert.ok(sender.counts.completed <= believable, "completed only what was received");
    budget.note(`${sender.counts.completed} ${sender.counts.abandoned}`);
  },
  { share: 0.3 },
);

// ---- transactions -----------------------------------------------------------------------------------------------------------

fuzz(
  "sa/transactions",
  (random, budget) => {
    const network = new BadNetwork<Uint8Array>(random);
    const answers = new BadNetwork<Uint8Array>(random);
    let nowNs = 0;
    const transactions = new Transactions({
      send: (packet) => network.put(packet, nowNs),
      random,
      maxOutstanding: 5,
      timeoutNs: 20 * MS,
      tries: 4,
    });
    const count = 1 + random.below(30);
    const ends = new Array<number>(count).fill(0);
    for (let i = 0; i < count; i++) {
      const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, 0x11, i);
      const onDone = (reply: MadPacket | undefined): void => {
        ends[i] = (ends[i] ?? 0) + 1;
        if (reply === undefined) return;
        assert.equal(MadHeader.attributeModifier.get(reply.view, reply.madAt), i, "the answer to another request");
        assert.equal(MadHeader.method.get(reply.view, reply.madAt), Method.GET_RESP);
      };
      transactions.submit({ mad, address: gmpAddress(1, 2), group: i % 3, onDone }, nowNs);
    }
    for (; nowNs < LONG_NS && transactions.pending > 0; nowNs += 5 * MS) {
      budget.step();
      for (const packet of network.take(nowNs)) {
        const mad = copyMad(packet, packet.length - 256);
        MadHeader.method.set(mad, 0, random.chance(0.95) ? Method.GET_RESP : random.below(256));
        if (random.chance(0.1)) bend(random, bytesOf(mad), 24);
        answers.put(buildMadPacket(gmpAddress(2, 1), mad), nowNs);
      }
      for (const packet of answers.take(nowNs)) transactions.receive(parseMadPacket(packet)!, nowNs);
      transactions.step(nowNs);
      for (const group of [0, 1, 2]) assert.ok(transactions.freshCount(group) >= 0);
    }
    assert.deepEqual(ends, new Array<number>(count).fill(1), "every request ends once");
    assert.equal(transactions.counts.completed + transactions.counts.timedOut, count);
    assert.ok(transactions.counts.sent <= 4 * count, "tries");
    for (const group of [0, 1, 2]) assert.equal(transactions.freshCount(group), 0);
    budget.note(`${transactions.counts.completed} ${transactions.counts.timedOut}`);
  },
  { share: 0.2 },
);

// ---- records ----------------------------------------------------------------------------------------------------------------

const HOSTS = 3;
const REQUESTS = 40;
const SERVICES_PER_PORT = 64;

interface Service {
  owner: number;
  expiresNs: number;
  name: string;
}

/** A host's membership of a group, and who has joined it. */
interface Member {
  readonly state: number;
  readonly joinedBy: number;
}

/** `by` joins or leaves a group for `host`. */
interface Wish {
  readonly host: number;
  readonly by: number;
  readonly isTrusted: boolean;
  readonly joinState: number;
  readonly isJoin: boolean;
}

class Records {
  readonly random: Random;
  readonly budget: Budget;
  readonly subnet: SimulatedSubnet;
  readonly manager: SubnetManager;
  readonly services = new Map<string, Service>();
  /** Memberships by MGID and host. */
  readonly members = new Map<string, Map<number, Member>>();

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    ({ subnet: this.subnet, manager: this.manager } = running({ hosts: HOSTS }));
  }

  /** Sends a request; there is one answer, well formed, and its status is returned. */
  #ask(host: number, mad: DataView): number {
    const driver = this.subnet.host(host);
    driver.sendGmp(this.subnet.port(host).smLid, mad);
    this.subnet.runFor(0);
    const answers = driver.received.splice(0);
    assert.equal(answers.length, 1, "one answer");
    const { view, madAt } = answers[0]!;
    assert.equal(MadHeader.tid.getBig(view, madAt), MadHeader.tid.getBig(mad, 0));
    const method = MadHeader.method.get(mad, 0);
    assert.equal(MadHeader.method.get(view, madAt), method === Method.SET ? Method.GET_RESP : method | 0x80);
    const status = MadHeader.status.get(view, madAt);
    this.budget.note(`${MadHeader.attributeId.get(mad, 0)} ${method} ${status}`);
    return status;
  }

  act(): void {
    const kind = this.random.below(10);
    if (kind < 4) this.#service();
    else if (kind < 8) this.#membership();
    else if (kind < 9) this.#bent();
    else this.#waitAndLook();
  }

  #service(): void {
    const { random, subnet } = this;
    const host = random.below(HOSTS);
    const id = BigInt(random.below(80));
    const pkey = random.pick([0xffff, 1]);
    const lease = random.pick([0xffffffff, 1, 5]);
    const name = `service ${random.below(3)}`;
    const method = random.chance(0.7) ? Method.SET : Method.DELETE;
    const mad = request(method, SaAttribute.SERVICE_RECORD, bit(0, 1, 2, 4, 6), (view) => {
      ServiceRecord.id.setBig(view, AT, id);
      ServiceRecord.gid.set(view, AT, gidOf(subnet, 0));
      ServiceRecord.pkey.set(view, AT, pkey);
      ServiceRecord.lease.set(view, AT, lease);
      ServiceRecord.name.set(view, AT, Buffer.from(name));
    });
    const key = `${id}/${pkey}`;
    const known = this.services.get(key);
    const own = [...this.services.values()].filter(({ owner }) => owner === host).length;
    const status = this.#ask(host, mad);
    if (method === Method.DELETE) {
      assert.equal(status, known?.owner === host ? 0 : SaStatus.NO_RECORDS, "Delete of a service");
      if (status === 0) this.services.delete(key);
      return;
    }
    const isFree = known === undefined ? own < SERVICES_PER_PORT : known.owner === host;
    assert.equal(status, isFree ? 0 : SaStatus.NO_RESOURCES, "Set of a service");
    const expiresNs = lease === 0xffffffff ? Number.POSITIVE_INFINITY : subnet.clock.nowNs() + lease * S;
    if (isFree) this.services.set(key, { owner: host, expiresNs, name });
  }

  #mgid(): Uint8Array {
    const { random } = this;
    return random.chance(0.3)
      ? IPOIB_BROADCAST
      : Uint8Array.of(0xff, 0x12, 0xa0, 0x1c, ...new Array(11).fill(0), random.below(5));
  }

  #membership(): void {
    const { random, subnet } = this;
    const host = random.below(HOSTS);
    const forHost = random.chance(0.8) ? host : random.below(HOSTS);
    const isTrusted = random.chance(0.2);
    const mgid = this.#mgid();
    const joinState = random.pick([JoinState.FULL, JoinState.NON, JoinState.SEND_ONLY_NON, JoinState.FULL | JoinState.NON, 0]);
    const isJoin = random.chance(0.6);
    const mask = bit(M.MGID, M.PORT_GID, M.JOIN_STATE, M.P_KEY, M.Q_KEY, M.SL, M.FLOW_LABEL, M.TRAFFIC_CLASS);
    const fill = (view: DataView): void => {
      McMemberRecord.mgid.set(view, AT, mgid);
      McMemberRecord.portGid.set(view, AT, gidOf(subnet, forHost));
      McMemberRecord.joinState.set(view, AT, joinState);
      McMemberRecord.pkey.set(view, AT, 0xffff);
      McMemberRecord.qkey.set(view, AT, 0x0b1b);
    };
    const method = isJoin ? Method.SET : Method.DELETE;
    const status = this.#ask(host, request(method, SaAttribute.MC_MEMBER_RECORD, mask, fill, isTrusted ? 1n : 0n));
    const expected = this.#memberModel(hexOf(mgid), { host: forHost, by: host, isTrusted, joinState, isJoin });
    assert.equal(status === MadStatus.OK, expected, `${isJoin ? "join" : "leave"} of ${hexOf(mgid)}: status ${status}`);
  }

  /** 15.2.5.17.2: whether the request is granted, and what it leaves. A group ends with its last full member. */
  #memberModel(mgid: string, { host, by, isTrusted, joinState, isJoin }: Wish): boolean {
    const isPermanent = mgid === hexOf(IPOIB_BROADCAST);
    const group = this.members.get(mgid) ?? (isPermanent ? new Map<number, Member>() : undefined);
    const { state, joinedBy } = group?.get(host) ?? { state: 0, joinedBy: by };
    if ((by !== host && by !== joinedBy && !isTrusted) || joinState === 0) return false;
    if (isJoin) {
      if (group === undefined && (joinState & JoinState.FULL) === 0) return false;
      const joined = group ?? new Map<number, Member>();
      joined.set(host, { state: state | joinState, joinedBy: by === host ? by : joinedBy });
      this.members.set(mgid, joined);
      return true;
    }
    if (group === undefined || (state & joinState) !== joinState) return false;
    if (state === joinState) group.delete(host);
    else group.set(host, { state: state & ~joinState, joinedBy });
    if (!isPermanent && ![...group.values()].some((each) => (each.state & JoinState.FULL) !== 0)) this.members.delete(mgid);
    return true;
  }

  /** A request with bytes changed: answered or not, but the tables stay as they are if it changes nothing by right. */
  #bent(): void {
    const { random } = this;
    const attribute = random.pick(Object.values(SaAttribute));
    const mad = request(
      random.pick([Method.GET, Method.GET_TABLE]),
      attribute,
      BigInt(number32(random)) & BigInt(number32(random)),
    );
    bend(random, bytesOf(mad).subarray(36), 60);
    const driver = this.subnet.host(0);
    driver.sendGmp(this.subnet.port(0).smLid, mad);
    this.subnet.runFor(0);
    driver.received.splice(0);
    this.subnet.runFor(30 * S);
    driver.received.splice(0);
    assert.equal(this.manager.administrator.transfers, 0, "a transfer that nobody acknowledges is given up");
    this.#expire();
  }

  #expire(): void {
    const now = this.subnet.clock.nowNs();
    for (const [key, { expiresNs }] of this.services) if (expiresNs <= now) this.services.delete(key);
  }

  /** Time passes, leases end, and tables list exactly what the model has. */
  #waitAndLook(): void {
    const { random, subnet } = this;
    subnet.runFor(random.below(7000) * MS + 1);
    this.#expire();
    this.check();
  }

  check(): void {
    const { subnet } = this;
    const services = askTable(subnet, 1, request(Method.GET_TABLE, SaAttribute.SERVICE_RECORD, 0n)).records.map(
      (record) => `${ServiceRecord.id.getBig(record, 0)}/${ServiceRecord.pkey.get(record, 0)}`,
    );
    assert.deepEqual(services.sort(), [...this.services.keys()].sort(), "services");
    const named = askTable(
      subnet,
      2,
      request(Method.GET_TABLE, SaAttribute.SERVICE_RECORD, bit(6), (mad) => {
        ServiceRecord.name.set(mad, AT, Buffer.from("service 1"));
      }),
    ).records.length;
    assert.equal(named, [...this.services.values()].filter(({ name }) => name === "service 1").length, "services of one name");
    const records = askTable(
      subnet,
      1,
      request(Method.GET_TABLE, SaAttribute.MC_MEMBER_RECORD, 0n, () => {}, 1n),
    ).records;
    const found = records
      .filter((record) => McMemberRecord.portGid.get(record, 0).some((byte) => byte !== 0))
      .map(memberOf(subnet));
    const expected = [...this.members].flatMap(([mgid, group]) =>
      [...group].map(([host, { state }]) => `${mgid} ${host} ${state}`),
    );
    assert.deepEqual(found.sort(), expected.sort(), "members of groups");
    const mlids = new Map(records.map((r) => [hexOf(McMemberRecord.mgid.get(r, 0)), McMemberRecord.mlid.get(r, 0)]));
    assert.equal(new Set(mlids.values()).size, mlids.size, "each group has an MLID of its own");
    for (const [mgid, mlid] of mlids) this.#checkRoutes(mgid, mlid);
  }

  /** The switch sends a group's packets to those who want them, and to nobody else. */
  #checkRoutes(mgid: string, mlid: number): void {
    const { subnet } = this;
    const group = this.members.get(mgid) ?? new Map<number, Member>();
    const wants = [...group].filter(([, { state }]) => (state & (JoinState.FULL | JoinState.NON)) !== 0).map(([host]) => host);
    const out = new Int32Array(64);
    for (let from = 0; from < HOSTS; from++) {
      const reached = [...out.subarray(0, subnet.port(from).resolveMulticast(mlid, out))];
      const hosts = reached.map((index) => subnet.hosts.findIndex(({ port }) => port.index === index)).sort();
      // A sender that has not joined is let in by the switch; whether it must be a member is not for the tables.
      assert.deepEqual(hosts, wants.filter((host) => host !== from).sort(), `group ${mgid} from host ${from}`);
    }
  }
}

const memberOf =
  (subnet: SimulatedSubnet) =>
  (record: DataView): string => {
    const gid = hexOf(McMemberRecord.portGid.get(record, 0));
    const host = subnet.hosts.findIndex((_, i) => hexOf(gidOf(subnet, i)) === gid);
    return `${hexOf(McMemberRecord.mgid.get(record, 0))} ${host} ${McMemberRecord.joinState.get(record, 0)}`;
  };

fuzz(
  "sa/records",
  (random, budget) => {
    const records = new Records(random, budget);
    for (let i = 0; i < REQUESTS; i++) records.act();
    records.check();
  },
  { share: 0.5 },
);
