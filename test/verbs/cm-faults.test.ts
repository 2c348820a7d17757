// The connection manager when messages are lost, come twice, come from nowhere or are lies. All under a simulated clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nameOf } from "../../src/base/names.ts";
import { CM_DATA_AT, CmAttribute, CmDreq, CmMra, CmRej, CmRep, CmReq, CmRtu, RejectReason } from "../../src/spec/mad/cm.ts";
import { MadHeader } from "../../src/spec/mad/headers.ts";
import { MgmtClass } from "../../src/spec/mad/numbers.ts";
import { CmLimits } from "../../src/verbs/cm/limits.ts";
import type { ConnectionManager } from "../../src/verbs/cm/manager.ts";
import {
  type Connection,
  type Context,
  connect,
  createConnectionQp,
  type Listener,
  listen,
  type QueuePair,
} from "../../src/verbs/index.ts";
import { SimulatedFabric } from "./simulated.ts";
import { refusal } from "./worlds.ts";

const PORT = 18515;
const AT = CM_DATA_AT;
const attributeOf = (mad: DataView): number => MadHeader.attributeId.get(mad, 0);
const isCm = (mad: DataView): boolean => MadHeader.mgmtClass.get(mad, 0) === MgmtClass.COM_MGT;
const copyOf = (mad: DataView): DataView => new DataView(mad.buffer.slice(mad.byteOffset, mad.byteOffset + 256));

interface Side {
  readonly context: Context;
  readonly manager: ConnectionManager;
  readonly newQp: () => QueuePair;
  readonly lid: number;
}

class Pair {
  readonly world = new SimulatedFabric(7);
  client!: Side;
  server!: Side;
  listener!: Listener;
  /** Messages of both sides: "12 > REQ", by the milliseconds since `mark`. */
  readonly trace: string[] = [];
  /** Which messages the client's port loses, by name and direction, how many of each. */
  readonly losses = new Map<string, number>();
  #startMs = 0;

  static async make(): Promise<Pair> {
    const pair = new Pair();
    const [a, b] = await pair.world.open(2);
    pair.client = sideOf(a!);
    pair.server = sideOf(b!);
    pair.listener = listen(pair.server.context, { port: PORT });
    pair.client.context.mads.filter = (mad, isSent) => pair.#note(mad, isSent);
    pair.mark();
    return pair;
  }

  mark(): void {
    this.#startMs = this.world.nowMs;
    this.trace.length = 0;
  }

  #note(mad: DataView, isSent: boolean): boolean {
    if (!isCm(mad)) return false;
    const name = nameOf(CmAttribute, attributeOf(mad));
    const key = `${isSent ? ">" : "<"} ${name}`;
    const left = this.losses.get(key) ?? 0;
    if (left > 0) this.losses.set(key, left - 1);
    this.trace.push(`${this.world.nowMs - this.#startMs} ${key}${left > 0 ? " lost" : ""}`);
    return left > 0;
  }

  connect(options: { timeoutMs?: number; qp?: QueuePair } = {}): Promise<Connection> {
    return connect(this.client.context, { dlid: this.server.lid, port: PORT, qp: this.client.newQp(), ...options });
  }

  async accepted(options: { timeoutMs?: number } = {}): Promise<Connection> {
    return (await this.listener.next()).accept({ qp: this.server.newQp(), ...options });
  }

  async connected(): Promise<[Connection, Connection]> {
    const both = Promise.all([this.connect(), this.accepted()]);
    return this.world.during(both);
  }
}

function sideOf(context: Context): Side {
  const pd = context.allocPd();
  const cq = context.createCq(255);
  const newQp = (): QueuePair => createConnectionQp({ pd, sendCq: cq, recvCq: cq });
  return { context, manager: context.cm, newQp, lid: context.queryPort().lid };
}

test("each message is sent again when it is lost, at the same times in every run", async () => {
  const run = async (): Promise<string[]> => {
    const pair = await Pair.make();
    for (const loss of ["> REQ", "< REP", "> RTU", "> DREQ", "< DREP"]) pair.losses.set(loss, 1);
    const [near, far] = await pair.connected();
    const trace = [...pair.trace];
    pair.mark();
    await pair.world.during(near.disconnect());
    assert.equal(far.isConnected, false);
    assert.deepEqual([near.qp.state, far.qp.state], ["ERR", "ERR"]);
    await pair.world.elapse(5000);
    assert.deepEqual([pair.client.manager.size, pair.server.manager.size], [0, 0], "nothing is left");
    return [...trace, ...pair.trace];
  };
  const first = await run();
  assert.deepEqual(first, [
    ...["0 > REQ lost", "500 > REQ", "500 < REP lost", "1000 < REP", "1000 > RTU lost", "2000 < REP", "2000 > RTU"],
    ...["0 > DREQ lost", "500 > DREQ", "500 < DREP lost", "1500 > DREQ", "1500 < DREP"],
  ]);
  assert.deepEqual(await run(), first);
});

test("a duplicate of each message changes nothing and is answered as the first was", async () => {
  const pair = await Pair.make();
  const seen = new Map<number, DataView>();
  const { client, server, world } = pair;
  const note = client.context.mads.filter;
  client.context.mads.filter = (mad, isSent) => {
    if (isCm(mad)) seen.set(attributeOf(mad), copyOf(mad));
    return note(mad, isSent);
  };
  const again = async (from: Side, attribute: number): Promise<string[]> => {
    pair.mark();
    from.context.mads.send(seen.get(attribute)!, { dlid: from === client ? server.lid : client.lid, sl: 0 });
    await world.elapse(3);
    return pair.trace.map((line) => line.replace(/^\d+ /, "")).slice(from === client ? 1 : 0);
  };
  const connecting = pair.connect();
  const request = await world.during(pair.listener.next());
  assert.deepEqual(await again(client, CmAttribute.REQ), ["< MRA"], "it waits for the program");
  pair.losses.set("> RTU", 1);
  const accepting = request.accept({ qp: server.newQp() });
  await world.elapse(3);
  assert.deepEqual(await again(client, CmAttribute.REQ), ["< REP", "> RTU"], "the last word was lost");
  const [near, far] = await world.during(Promise.all([connecting, accepting]));
  assert.deepEqual(await again(client, CmAttribute.REQ), []);
  assert.deepEqual(await again(server, CmAttribute.REP), ["< REP", "> RTU"]);
  assert.deepEqual(await again(client, CmAttribute.RTU), []);
  assert.deepEqual([near.isConnected, far.isConnected], [true, true]);
  await world.during(far.disconnect());
  assert.equal((await near.disconnected()).reason, "REMOTE");
  assert.deepEqual(await again(server, CmAttribute.DREQ), ["< DREQ", "> DREP"]);
  assert.deepEqual(await again(server, CmAttribute.REP), ["< REP"]);
  assert.deepEqual(await again(client, CmAttribute.REQ), ["< REJ"], "the connection has been");
  assert.equal(CmRej.reason.get(seen.get(CmAttribute.REJ)!, AT), RejectReason.STALE_CONN);
  assert.deepEqual([client.manager.counts.duplicates, server.manager.counts.duplicates], [4, 6]);
  // long after, nobody remembers: a REP is refused, a DREQ is answered all the same
  await world.elapse(5000);
  assert.deepEqual(await again(server, CmAttribute.DREQ), ["< DREQ", "> DREP"]);
  assert.deepEqual(await again(server, CmAttribute.REP), ["< REP", "> REJ"]);
  assert.equal(CmRej.reason.get(seen.get(CmAttribute.REJ)!, AT), RejectReason.INVALID_COMM_ID);
  assert.equal(client.manager.counts.unknown, 2);
  assert.equal(client.manager.size, 0);
});

test("a peer that never answers: connecting, accepting and disconnecting come to an end", async () => {
  const pair = await Pair.make();
  const { world, losses } = pair;
  losses.set("> REQ", 1000);
  await assert.rejects(
    world.during(pair.connect({ timeoutMs: 3000 })),
    refusal("ETIMEDOUT", /connecting to port 18515 .*: no answer/),
  );
  assert.deepEqual(pair.trace, ["0 > REQ lost", "500 > REQ lost", "1500 > REQ lost", "3000 > REJ"]);
  losses.clear();

  losses.set("> RTU", 1000);
  const connecting = pair.connect();
  const accepting = pair.accepted({ timeoutMs: 2000 });
  await assert.rejects(world.during(accepting), refusal("ETIMEDOUT", /accepting .*the peer does not answer/));
  const near = await world.during(connecting);
  // the server has said that it gave up
  assert.equal((await world.during(near.disconnected())).reason, "STALE");
  losses.clear();

  const [mine] = await pair.connected();
  losses.set("> DREQ", 1000);
  pair.mark();
  await world.during(mine.disconnect({ timeoutMs: 1000 }));
  assert.deepEqual(pair.trace, ["0 > DREQ lost", "500 > DREQ lost"]);
  assert.equal(world.nowMs > 0, true);
});

test("a program that takes its time: the peer is asked for patience, and told in the end", async () => {
  const pair = await Pair.make();
  const { world } = pair;
  const connecting = pair.connect();
  connecting.catch(() => {});
  const request = await world.during(pair.listener.next());
  await world.elapse(40_000);
  assert.equal(request.isPending, true);
  assert.deepEqual(pair.trace, ["0 > REQ", "500 > REQ", "500 < MRA"]);
  await world.elapse(25_000);
  assert.equal(request.isPending, false);
  await assert.rejects(connecting, refusal("ECONNREFUSED", /TIMEOUT: it has waited too long/));
  await assert.rejects(request.accept({ qp: pair.server.newQp() }), refusal("ECONNRESET", /the peer has given up/));
  assert.deepEqual([pair.client.manager.size, pair.server.manager.size], [0, 0]);
});

test("the program's own limit is firm, whatever the peer asks for", async () => {
  const pair = await Pair.make();
  const { world } = pair;
  const connecting = pair.connect({ timeoutMs: 3000 });
  const request = await world.during(pair.listener.next());
  await assert.rejects(world.during(connecting), refusal("ETIMEDOUT", /no answer/));
  assert.deepEqual(pair.trace, ["0 > REQ", "500 > REQ", "500 < MRA", "3000 > REJ"]);
  await world.elapse(2);
  assert.equal(request.isPending, false, "the server has been told");
});

test("a peer that has forgotten a connection and makes a new one of the same QP", async () => {
  const pair = await Pair.make();
  const { world, client, server } = pair;
  const [near, far] = await pair.connected();
  // as after a restart: the same QP, another communication id
  const req = await captureReq(pair);
  CmReq.localCommId.set(req, AT, 0x1234);
  CmReq.localQpn.set(req, AT, near.qp.qpNum);
  pair.mark();
  client.context.mads.send(req, { dlid: server.lid, sl: 0 });
  await world.elapse(5);
  assert.equal((await far.disconnected()).reason, "STALE");
  assert.equal((await near.disconnected()).reason, "REMOTE");
  assert.deepEqual(
    pair.trace.map((line) => line.replace(/^\d+ /, "")),
    ["> REQ", "< DREQ", "> DREP", "< REJ"],
  );
  assert.equal(server.manager.counts.stale, 1);
});

/** A REQ as the client would send it now; nobody hears of it. */
async function captureReq(pair: Pair): Promise<DataView> {
  const { client, world } = pair;
  const before = client.context.mads.filter;
  let captured: DataView | undefined;
  client.context.mads.filter = (mad, isSent) => {
    if (isSent && isCm(mad) && attributeOf(mad) === CmAttribute.REQ) captured ??= copyOf(mad);
    return isCm(mad);
  };
  await assert.rejects(world.during(pair.connect({ timeoutMs: 1 })));
  client.context.mads.filter = before;
  return captured!;
}

test("requests that cannot be right are rejected with the reason", async () => {
  const pair = await Pair.make();
  const { client, server, world } = pair;
  const req = await captureReq(pair);
  const reasons: Record<string, number> = {};
  const rejected = client.context.mads.filter;
  const ask = async (what: string, change: (mad: DataView) => void): Promise<void> => {
    const mad = copyOf(req);
    change(mad);
    client.context.mads.filter = (answer, isSent) => {
      if (!isSent && attributeOf(answer) === CmAttribute.REJ) reasons[what] = CmRej.reason.get(answer, AT);
      return rejected(answer, isSent);
    };
    client.context.mads.send(mad, { dlid: server.lid, sl: 0 });
    await world.elapse(3);
  };
  await ask("service", (mad) => CmReq.serviceId.setBig(mad, AT, 77n));
  await ask("lid", (mad) => CmReq.localLid.set(mad, AT, server.lid));
  await ask("mtu", (mad) => CmReq.pathMtu.set(mad, AT, 9));
  await ask("transport", (mad) => CmReq.transportType.set(mad, AT, 3));
  await ask("ip version", (mad) => CmReq.privateData.get(mad, AT).fill(0xff, 0, 2));
  const R = RejectReason;
  const expected = { service: R.INVALID_SERVICE_ID, lid: R.INVALID_LID, mtu: R.INVALID_MTU };
  assert.deepEqual(reasons, { ...expected, transport: R.INVALID_TRANSPORT_TYPE, "ip version": R.CONSUMER_DEFINED });
  assert.deepEqual([server.manager.counts.invalid, server.manager.size], [5, 0]);
});

test("a flood of requests from one peer: so many wait, the rest are refused, and all is forgotten", async () => {
  const pair = await Pair.make();
  const { client, server, world } = pair;
  pair.listener.close();
  pair.listener = listen(server.context, { port: PORT, backlog: 100_000 });
  const req = await captureReq(pair);
  for (let i = 1; i <= 300; i++) {
    CmReq.localCommId.set(req, AT, i);
    CmReq.localQpn.set(req, AT, i);
    client.context.mads.send(copyOf(req), { dlid: server.lid, sl: 0 });
    if (i % 8 === 0) await world.elapse(1);
  }
  await world.elapse(5);
  assert.equal(server.manager.size, CmLimits.PENDING_PER_PEER);
  assert.equal(server.manager.counts.refused, 300 - CmLimits.PENDING_PER_PEER);
  await world.elapse(61_000);
  assert.equal(server.manager.size, 0);
  // and the next is served
  await pair.connected();
});

test("messages about a connection count only from its peer, with its ids", async () => {
  const pair = await Pair.make();
  const [near, far] = await pair.connected();
  const { world, client, server } = pair;
  const third = sideOf((await world.open(1))[0]!);
  const seen: DataView[] = [];
  server.context.mads.filter = (mad, isSent) => {
    if (isSent && isCm(mad)) seen.push(copyOf(mad));
    return false;
  };
  // the true message, from somebody else
  client.context.mads.filter = (mad, isSent) => {
    if (isSent && isCm(mad)) third.context.mads.send(copyOf(mad), { dlid: server.lid, sl: 0 });
    return isSent && isCm(mad);
  };
  await world.during(near.disconnect({ timeoutMs: 400 }));
  assert.equal(far.isConnected, true, "the third port has no say");
  assert.equal(server.manager.counts.unknown, 1);
  assert.deepEqual(seen.map(attributeOf), [CmAttribute.DREP]);
  // from the peer, but with ids and QPN that are not those of the connection
  client.context.mads.filter = () => false;
  const [mine, again] = await pair.connected();
  for (const attribute of [CmAttribute.REJ, CmAttribute.DREQ, CmAttribute.RTU, CmAttribute.MRA, CmAttribute.DREP]) {
    const mad = copyOf(seen[0]!);
    MadHeader.attributeId.set(mad, 0, attribute);
    client.context.mads.send(mad, { dlid: server.lid, sl: 0 });
    await world.elapse(2);
  }
  assert.equal(again.isConnected, true);
  // its own DREQ, but for one field
  let dreq: DataView | undefined;
  client.context.mads.filter = (mad, isSent) => {
    if (isSent && isCm(mad)) dreq = copyOf(mad);
    return isSent && isCm(mad);
  };
  await world.during(mine.disconnect({ timeoutMs: 1 }));
  client.context.mads.filter = () => false;
  for (const spoil of [
    (mad: DataView) => CmDreq.localCommId.set(mad, AT, 99),
    (mad: DataView) => CmDreq.remoteCommId.set(mad, AT, 99),
    (mad: DataView) => CmDreq.remoteQpn.set(mad, AT, 99),
    (mad: DataView) => MadHeader.classVersion.set(mad, 0, 1),
  ]) {
    const mad = copyOf(dreq!);
    spoil(mad);
    client.context.mads.send(mad, { dlid: server.lid, sl: 0 });
    await world.elapse(2);
    assert.equal(again.isConnected, true, String(spoil));
  }
  client.context.mads.send(dreq!, { dlid: server.lid, sl: 0 });
  await world.elapse(2);
  assert.equal(again.isConnected, false);
});

test("any bytes at all: nothing is thrown, nothing grows, and connections go on", async () => {
  const pair = await Pair.make();
  const { client, server, world } = pair;
  const req = await captureReq(pair);
  const [near, far] = await pair.connected();
  const attributes = Object.values(CmAttribute);
  const layouts = [CmReq, CmRep, CmRej, CmMra, CmRtu, CmDreq];
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          attribute: fc.constantFrom(...attributes, 0xffff),
          layout: fc.constantFrom(...layouts),
          bytes: fc.uint8Array({ minLength: 232, maxLength: 232 }),
          isNearlyRight: fc.boolean(),
          version: fc.constantFrom(2, 2, 2, 1),
        }),
        { maxLength: 10 },
      ),
      async (messages) => {
        for (const { attribute, bytes, isNearlyRight, version } of messages) {
          const mad = copyOf(req);
          if (!isNearlyRight) new Uint8Array(mad.buffer, AT).set(bytes);
          else for (let i = 0; i < 4; i++) new Uint8Array(mad.buffer, AT)[(bytes[i] ?? 0) % 232] = bytes[i + 4] ?? 0;
          MadHeader.attributeId.set(mad, 0, attribute);
          MadHeader.classVersion.set(mad, 0, version);
          client.context.mads.send(mad, { dlid: server.lid, sl: 0 });
        }
        await world.elapse(2);
        assert.ok(server.manager.size <= CmLimits.PENDING_PER_PEER + 1);
      },
    ),
    { numRuns: 60, interruptAfterTimeLimit: 5000 },
  );
  assert.deepEqual([near.isConnected, far.isConnected], [true, true]);
  await world.elapse(62_000);
  assert.equal(server.manager.size, 1);
  await world.during(near.disconnect());
});

test("who listens to nothing says so, and an HCA that closes ends what waits", async () => {
  const pair = await Pair.make();
  const { world, client, server } = pair;
  const [third] = (await world.open(1)).map(sideOf);
  const nowhere = connect(client.context, { dlid: third!.lid, port: PORT, qp: client.newQp() });
  await assert.rejects(world.during(nowhere), refusal("ECONNREFUSED", /INVALID_SERVICE_ID/));
  const context = world.fabric.openDevice({ memoryBytes: 16 << 20, mtts: 16384 });
  await world.during(context.portActive(1, Number.POSITIVE_INFINITY));
  const [pd, cq] = [context.allocPd(), context.createCq(15)];
  const waiting = connect(context, { dlid: server.lid, port: PORT, qp: createConnectionQp({ pd, sendCq: cq, recvCq: cq }) });
  const listening = listen(context, { port: PORT }).next();
  for (const promise of [waiting, listening]) promise.catch(() => {});
  await world.during(pair.listener.next());
  for (const qp of context.qps.values()) qp.destroy();
  cq.destroy();
  pd.destroy();
  context.close();
  await assert.rejects(world.during(waiting), refusal("ECANCELED", /closed while waiting for connecting to port/));
  await assert.rejects(world.during(listening), refusal("ECANCELED", /closed while waiting for a request/));
});

test("at most so many ended connections are remembered", async () => {
  const pair = await Pair.make();
  const { world, client } = pair;
  for (let i = 0; i < 5; i++) {
    const [near, far] = await pair.connected();
    await world.during(Promise.all([near.disconnect(), far.disconnect()]));
    near.qp.destroy();
    far.qp.destroy();
  }
  assert.equal(client.manager.size, 5);
  await world.elapse(5000);
  assert.equal(client.manager.size, 0);
});
