// Connections by the connection manager. IBA vol 1, 12.9; annex A11.

import assert from "node:assert/strict";
import {
  ALL_ACCESS,
  type CompletionQueue,
  type ConnectionQpOptions,
  ConnectionRejected,
  type Context,
  connect,
  createConnectionQp,
  listen,
  type MemoryRegion,
  type ProtectionDomain,
  RejectReason,
} from "../../src/verbs/index.ts";
import { refusal, verbsTest, type World } from "./worlds.ts";

const PORT = 7174;

interface Host {
  readonly context: Context;
  readonly pd: ProtectionDomain;
  readonly cq: CompletionQueue;
  readonly mr: MemoryRegion;
  readonly gid: Uint8Array;
  readonly qp: ConnectionQpOptions;
}

async function newHost(world: World): Promise<Host> {
  const context = await world.open();
  const pd = context.allocPd();
  const cq = context.createCq(255);
  const mr = pd.regMr(context.allocMemory(8192), ALL_ACCESS);
  return { context, pd, cq, mr, gid: context.queryGid(), qp: { pd, sendCq: cq, recvCq: cq } };
}

function dropHost(...hosts: readonly Host[]): void {
  for (const { mr, cq, pd } of hosts) {
    mr.destroy();
    mr.memory.destroy();
    cq.destroy();
    pd.destroy();
  }
}

const text = (data: Buffer): string => data.toString("latin1").replace(/\0+$/, "");

verbsTest("connect, accept, private data both ways, data both ways, disconnect", async (world) => {
  const [server, client] = [await newHost(world), await newHost(world)];
  const listener = listen(server.context, { port: PORT, qp: server.qp });
  const serving = (async () => {
    const request = await listener.next();
    assert.equal(text(request.privateData), "may I?");
    assert.equal(request.privateData.length, 56);
    assert.deepEqual(request.ip, { source: "10.87.0.7", sourcePort: 4000, destination: "10.87.0.8" });
    assert.deepEqual([request.responderResources, request.initiatorDepth], [4, 2]);
    request.qp.postRecv({ wrId: 5, sgList: [{ addr: server.mr.addr, length: 100, lkey: server.mr.lkey }] });
    const connection = await request.accept({ privateData: Buffer.from("you may"), initiatorDepth: 1 });
    assert.deepEqual([connection.responderResources, connection.initiatorDepth], [2, 1], "no more than the peer wants");
    const wc = await server.cq.next({ timeoutMs: 5000 });
    assert.deepEqual([wc.wrId, wc.status, wc.byteLen], [5, "SUCCESS", 5]);
    assert.equal(server.mr.bytes.toString("latin1", 0, 5), "hello");
    assert.equal(connection.peer.lid, client.context.queryPort().lid);
    const how = await connection.disconnected({ timeoutMs: 5000 });
    assert.deepEqual([how.reason, text(how.privateData)], ["REMOTE", "bye"]);
    assert.equal(connection.qp.query().qpState, "ERR");
    await connection.close();
  })();
  const connection = await connect(client.context, {
    ...{ dgid: server.gid, port: PORT, qp: client.qp, privateData: Buffer.from("may I?") },
    ...{ sourceIp: "10.87.0.7", sourcePort: 4000, destinationIp: "10.87.0.8", initiatorDepth: 2 },
  });
  assert.equal(text(connection.privateData), "you may");
  assert.deepEqual([connection.responderResources, connection.initiatorDepth], [1, 2]);
  assert.equal(connection.qp.query().qpState, "RTS");
  assert.deepEqual(connection.qp.query().destQpNum, connection.peer.qpNum);
  client.mr.bytes.write("hello");
  const sgList = [{ addr: client.mr.addr, length: 5, lkey: client.mr.lkey }];
  await connection.qp.send({ opcode: "SEND", sgList });
  const read = { opcode: "RDMA_READ", sgList, remoteAddr: server.mr.addr, rkey: server.mr.rkey } as const;
  await connection.qp.send(read);
  let ends = 0;
  connection.onDisconnect = ({ reason }) => {
    assert.equal(reason, "LOCAL");
    ends++;
  };
  await connection.disconnect({ privateData: Buffer.from("bye") });
  await connection.disconnect();
  assert.deepEqual([ends, connection.isConnected, connection.qp.state], [1, false, "ERR"]);
  await serving;
  await connection.close();
  listener.close();
  dropHost(server, client);
});

verbsTest("rejected by the program, by its absence, by a full backlog", async (world) => {
  const [server, client] = [await newHost(world), await newHost(world)];
  const to = { dgid: server.gid, qp: client.qp };
  const listener = listen(server.context, { port: PORT, qp: server.qp, backlog: 1 });
  assert.throws(() => listen(server.context, { port: PORT }), refusal("EBUSY", /service 0x1061c06 has a listener already/));

  await assert.rejects(connect(client.context, { ...to, port: PORT + 1 }), (error: unknown) => {
    assert.ok(error instanceof ConnectionRejected);
    assert.equal(error.reason, RejectReason.INVALID_SERVICE_ID);
    return refusal("ECONNREFUSED", /connecting to port 7175 at LID \d+: rejected, INVALID_SERVICE_ID: nobody listens/)(error);
  });
  const refused = connect(client.context, { ...to, port: PORT });
  const request = await listener.next();
  assert.match(request.ip?.source ?? "", /^fe80::/, "link-local addresses if nothing is said");
  request.reject(RejectReason.CONSUMER_DEFINED, Buffer.from("not today"));
  assert.throws(() => request.reject(), refusal("ECONNRESET", /has been answered/));
  await assert.rejects(request.accept(), refusal("ECONNRESET", /has been answered/));
  await assert.rejects(refused, (error: unknown) => {
    assert.ok(error instanceof ConnectionRejected);
    assert.deepEqual([error.reasonName, text(error.privateData)], ["CONSUMER_DEFINED", "not today"]);
    return true;
  });

  const waiting = connect(client.context, { ...to, port: PORT });
  waiting.catch(() => {});
  await server.context.until(() => (listener.refuse({ ...quiet, transportType: 0 }) !== 0 ? true : undefined), {
    what: "a request",
  });
  await assert.rejects(connect(client.context, { ...to, port: PORT }), refusal("ECONNREFUSED", /NO_RESOURCES/));
  const iterating = (async () => {
    for await (const one of listener) return one;
    return undefined;
  })();
  const last = await iterating;
  listener.close();
  listener.close();
  await assert.rejects(listener.next(), refusal("ECANCELED", /the listener on port 7174 has been closed/));
  last?.reject();
  await assert.rejects(waiting, refusal("ECONNREFUSED", /CONSUMER_DEFINED/));
  dropHost(server, client);
});

const quiet = {
  ...{ tid: { hi: 0, lo: 0 }, localCommId: 0, serviceId: 0n, qpn: 0, psn: 0, responderResources: 0, initiatorDepth: 0 },
  ...{ retryCount: 0, rnrRetryCount: 0, pathMtu: 1, pkey: 0xffff, lid: 1, gid: Buffer.alloc(16), ownGid: Buffer.alloc(16) },
  ...{ sl: 0, ackTimeout: 0, isSubnetLocal: true, flowLabel: 0, trafficClass: 0, hopLimit: 0 },
  privateData: Buffer.concat([Buffer.of(0, 0x40), Buffer.alloc(90)]),
};

verbsTest("a service id, UC, QPs of one's own, receives posted before", async (world) => {
  const [server, client] = [await newHost(world), await newHost(world)];
  const serviceId = 0x1000_0000_0000_0042n;
  const listener = listen(server.context, { serviceId });
  const mine = createConnectionQp({ ...client.qp, qpType: "UC" });
  const theirs = server.pd.createQp({ ...server.qp, qpType: "UC" });
  const wrong = server.pd.createQp({ ...server.qp, qpType: "RC" });
  const data = Buffer.alloc(92, "x");
  const connecting = connect(client.context, { dlid: server.context.queryPort().lid, serviceId, qp: mine, privateData: data });
  const request = await listener.next();
  assert.deepEqual([request.qpType, request.ip, request.privateData], ["UC", undefined, data]);
  assert.throws(() => request.qp, refusal("EINVAL", /give accept a QP, or listen what it takes/));
  await assert.rejects(request.accept({ qp: wrong }), refusal("EINVAL", /is RC, the peer's is UC/));
  await assert.rejects(request.accept({ qp: theirs, privateData: Buffer.alloc(197) }), refusal("EINVAL", /at most 196 fit/));
  const accepting = request.accept({ qp: theirs, responderResources: 1 });
  const [a, b] = await Promise.all([connecting, accepting]);
  assert.deepEqual([a.initiatorDepth, b.responderResources], [1, 1], "no more than the peer serves");
  const sgList = [{ addr: server.mr.addr, length: 64, lkey: server.mr.lkey }];
  const received = b.qp.recv({ sgList });
  client.mr.bytes.write("unreliable");
  await a.qp.send({ opcode: "SEND", sgList: [{ addr: client.mr.addr, length: 10, lkey: client.mr.lkey }] });
  assert.equal((await received).byteLen, 10);
  await assert.rejects(
    connect(client.context, { dgid: server.gid, serviceId, qp: mine }),
    refusal("EINVAL", /is in RTS: only a QP in/),
  );
  // both at once
  await Promise.all([a.disconnect(), b.disconnect()]);
  await a.close();
  assert.equal(mine.isDestroyed, false, "a QP of one's own stays");
  for (const qp of [mine, theirs, wrong]) qp.destroy();
  listener.close();
  dropHost(server, client);
});

verbsTest("many connections at once, in both directions, and with oneself", async (world) => {
  const [a, b] = [await newHost(world), await newHost(world)];
  const serve = async (host: Host, count: number): Promise<void> => {
    const listener = listen(host.context, { port: PORT, qp: host.qp });
    const accepted = [];
    for (let i = 0; i < count; i++)
      accepted.push((await listener.next()).accept({ privateData: Buffer.from(`from ${host.gid[15]}`) }));
    const connections = await Promise.all(accepted);
    await Promise.all(connections.map((connection) => connection.disconnected()));
    for (const connection of connections) await connection.close();
    listener.close();
  };
  const use = async (from: Host, to: Host): Promise<void> => {
    const connection = await connect(from.context, { dgid: to.gid, port: PORT, qp: from.qp });
    assert.equal(text(connection.privateData), `from ${to.gid[15]}`);
    const sgList = [{ addr: from.mr.addr, length: 8, lkey: from.mr.lkey }];
    await connection.qp.send({ opcode: "RDMA_WRITE", sgList, remoteAddr: to.mr.addr, rkey: to.mr.rkey });
    await connection.close();
  };
  const uses = [use(a, b), use(a, b), use(a, b), use(b, a), use(b, a), use(a, a)];
  await Promise.all([serve(a, 3), serve(b, 3), ...uses]);
  dropHost(a, b);
});

verbsTest("what cannot be meant is refused before anything is sent", async (world) => {
  const host = await newHost(world);
  const to = { dlid: 1, port: PORT, qp: host.qp };
  await assert.rejects(connect(host.context, { ...to, port: 0 }), refusal("EINVAL", /port 0: must be 1 to 65535/));
  await assert.rejects(connect(host.context, { ...to, destinationIp: "10.0.0.1" }), refusal("EINVAL", /sourceIp must be given/));
  await assert.rejects(connect(host.context, { ...to, destinationIp: "10.0.0" }), refusal("EINVAL", /"10.0.0" is no IP address/));
  const mixed = { sourceIp: "fe80::1", destinationIp: "10.0.0.1" };
  await assert.rejects(connect(host.context, { ...to, ...mixed }), refusal("EINVAL", /both must be of one IP version/));
  await assert.rejects(
    connect(host.context, { ...to, privateData: Buffer.alloc(57) }),
    refusal("EINVAL", /57 bytes of private data; at most 56 fit/),
  );
  dropHost(host);
});
