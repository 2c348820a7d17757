// A program that listens and connects, an honest one beside it, and an attacker, on a fabric whose time stands still unless they let
// it pass.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { CmAttribute } from "../../src/spec/mad/cm.ts";
import {
  ALL_ACCESS,
  activateUd,
  type CompletionQueue,
  type Connection,
  type ConnectionQpOptions,
  type ConnectionRequest,
  type Context,
  connect,
  type Listener,
  listen,
  type MemoryRegion,
  newWorkCompletions,
  type ProtectionDomain,
  VerbsError,
} from "../../src/verbs/index.ts";
import { SimulatedFabric } from "../verbs/simulated.ts";
import { Attacker, attributeOf, copyOf, isCm } from "./cm-attacker.ts";
import { CmOracle } from "./cm-oracle.ts";
import type { Budget } from "./kit.ts";
import { randomBytes } from "./values.ts";

const PORT = 18515;
/** Nobody listens there but the attacker. */
const ATTACKED_PORT = 4000;
const REGION_BYTES = 4096;
const GSI_QKEY = 0x80010000;
/** Of limits.ts: what one peer may have waiting, and how long a message can be put off. */
const PENDING_PER_PEER = 64;
const LONGEST_MS = 310_000;
/** For those that were connected in the last moment. */
const LAST_MS = 30_000;
const STEP_MS = 500;
const SHORT_STEP_MS = 20;

export class Host {
  readonly context: Context;
  readonly lid: number;
  readonly pd: ProtectionDomain;
  readonly cq: CompletionQueue;
  readonly mr: MemoryRegion;
  readonly qp: ConnectionQpOptions;

  constructor(context: Context) {
    this.context = context;
    this.lid = context.queryPort().lid;
    this.pd = context.allocPd();
    this.cq = context.createCq(255);
    this.mr = this.pd.regMr(context.allocMemory(REGION_BYTES), ALL_ACCESS);
    this.qp = { pd: this.pd, sendCq: this.cq, recvCq: this.cq };
  }

  /** Nothing may be left of its connections: otherwise one of these is refused. */
  close(): void {
    this.mr.destroy();
    this.mr.memory.destroy();
    this.cq.destroy();
    this.pd.destroy();
    this.context.close();
  }
}

export class CmWorld {
  readonly simulated: SimulatedFabric;
  readonly victim: Host;
  readonly honest: Host;
  readonly attacker: Attacker;
  readonly attackerLid: number;
  readonly oracle = new CmOracle();
  /** Requests of the attacker that wait for the program, and connections with it. */
  requests: ConnectionRequest[] = [];
  connections: Connection[] = [];
  readonly #random: Random;
  readonly #budget: Budget;
  readonly #listener: Listener;
  readonly #timersBefore: number;
  readonly #failures: unknown[] = [];
  /** What the program has begun and not heard the end of. */
  #underWay = 0;
  #served: Connection[] = [];

  static async open(random: Random, budget: Budget): Promise<CmWorld> {
    const simulated = new SimulatedFabric(random.u32());
    const contexts = await simulated.open(3);
    const [victim, honest, attacker] = contexts.map((context) => new Host(context)) as [Host, Host, Host];
    const request = await captureRequest(simulated, attacker, victim.lid);
    return new CmWorld(random, budget, simulated, { victim, honest, attacker, request });
  }

  private constructor(
    random: Random,
    budget: Budget,
    simulated: SimulatedFabric,
    { victim, honest, attacker, request }: { victim: Host; honest: Host; attacker: Host; request: DataView },
  ) {
    this.#random = random;
    this.#budget = budget;
    this.simulated = simulated;
    this.victim = victim;
    this.honest = honest;
    this.attackerLid = attacker.lid;
    this.attacker = new Attacker(random, attacker.context, {
      victim: victim.lid,
      request,
      sendAsProgram: programOf(attacker, victim.lid),
    });
    this.#timersBefore = victim.context.timers.pending;
    this.#listener = listen(victim.context, { port: PORT, qp: victim.qp });
    this.#watch();
    this.#serve().catch((error: unknown) => this.#failures.push(error));
  }

  /** The oracle sees each endpoint when it is made, and each message before and after it is handled. */
  #watch(): void {
    const { agent, cm } = this.victim.context;
    const handle = agent.onGeneralMad;
    agent.onGeneralMad = (mad, from) => {
      if (!isCm(mad)) return handle(mad, from);
      this.oracle.begin(mad, from);
      const isNew = this.oracle.isNewRequest(mad, from);
      const [sent, alive] = [cm.counts.sent, this.oracle.alive.length];
      handle(mad, from);
      for (const note of this.oracle.end(mad)) this.#budget.note(note);
      if (isNew) assert.ok(cm.counts.sent > sent || this.oracle.alive.length > alive, "a request without any answer");
    };
    this.victim.context.addBackground(() => {
      this.oracle.look();
      return 0;
    });
    const newActive = cm.newActive.bind(cm);
    cm.newActive = (peer) => {
      const made = newActive(peer);
      this.oracle.track(made.endpoint);
      return made;
    };
    const offer = this.#listener.offer.bind(this.#listener);
    this.#listener.offer = (info, endpoint) => {
      this.oracle.track(endpoint);
      offer(info, endpoint);
    };
  }

  async #serve(): Promise<void> {
    for await (const request of this.#listener) {
      if (request.peer.lid === this.attackerLid) this.requests.push(request);
      else this.#try(this.#serveHonest(request));
    }
  }

  async #serveHonest(request: ConnectionRequest): Promise<void> {
    const { mr } = this.victim;
    request.qp.postRecv({ wrId: 1, sgList: [{ addr: mr.addr, length: REGION_BYTES, lkey: mr.lkey }] });
    this.#served.push(await request.accept());
  }

  /** Peers may make any step of the program fail, but only in the ways that are documented. */
  #try(promise: Promise<unknown>): void {
    this.#underWay++;
    const isLegal = (error: unknown): boolean => error instanceof VerbsError && error.code !== "EIO";
    promise
      .catch((error: unknown) => {
        if (!isLegal(error)) this.#failures.push(error);
      })
      .finally(() => {
        this.#underWay--;
      });
  }

  // ---- what the program does -------------------------------------------------------------------------------------------------

  answerRequest(): void {
    const random = this.#random;
    const [request] = this.requests.splice(random.below(Math.max(1, this.requests.length)), 1);
    if (request === undefined) return;
    const kind = random.below(4);
    if (kind === 3) return;
    if (kind === 2) this.#try((async () => request.reject())());
    else this.#try(this.#accept(request));
  }

  async #accept(request: ConnectionRequest): Promise<void> {
    const options = this.#random.chance(0.3) ? { timeoutMs: 1 + this.#random.below(4000) } : {};
    this.connections.push(await request.accept(options));
  }

  connectToAttacker(): void {
    this.#try(this.#connect());
  }

  async #connect(): Promise<void> {
    const random = this.#random;
    const options = random.chance(0.5) ? { timeoutMs: 1 + random.below(8000) } : {};
    const target = { dlid: this.attackerLid, port: ATTACKED_PORT, qp: this.victim.qp };
    this.connections.push(await connect(this.victim.context, { ...target, ...options }));
  }

  disconnect(): void {
    const [connection] = this.connections.splice(this.#random.below(Math.max(1, this.connections.length)), 1);
    if (connection !== undefined) this.#try(connection.close());
  }

  /** A connection beside all of it: made, used both ways, ended. */
  async exchange(): Promise<void> {
    const { honest, victim } = this;
    const near = await this.#during(connect(honest.context, { dlid: victim.lid, port: PORT, qp: honest.qp }));
    await this.#until(() => this.#served.length > 0, SHORT_STEP_MS);
    const [far] = this.#served.splice(0) as [Connection];
    await this.#disturb();
    const said = randomBytes(this.#random, 100);
    honest.mr.bytes.set(said);
    await this.#during(near.qp.send({ opcode: "SEND", sgList: [{ addr: honest.mr.addr, length: 100, lkey: honest.mr.lkey }] }));
    const completion = await this.#during(victim.cq.next());
    assert.deepEqual([completion.status, completion.byteLen, completion.qpNum], ["SUCCESS", 100, far.qp.qpNum]);
    assert.ok(said.equals(victim.mr.bytes.subarray(0, 100)), "what was said has not arrived");
    await this.#during(near.close());
    assert.equal((await this.#during(far.disconnected())).reason, "REMOTE");
    await this.#during(far.close());
  }

  // ---- what must hold ---------------------------------------------------------------------------------------------------------

  check(): void {
    if (this.#failures.length > 0) throw this.#failures[0];
    this.oracle.look();
    const { cm, timers } = this.victim.context;
    const alive = this.oracle.alive.length;
    assert.equal(cm.size, alive, "endpoints of the manager");
    assert.ok(timers.pending <= this.#timersBefore + alive, `${timers.pending} timers for ${alive} endpoints`);
    assert.ok(this.oracle.pendingOf(this.attackerLid) <= PENDING_PER_PEER, "requests of one peer that wait");
  }

  /** Everything is closed and forgotten in time; then nothing is left. */
  async end(): Promise<void> {
    const { simulated, victim } = this;
    for (const connection of this.connections.splice(0)) this.#try(connection.close());
    this.#listener.close();
    await simulated.elapse(LONGEST_MS, STEP_MS);
    await this.#until(() => this.#underWay === 0, STEP_MS);
    for (const connection of this.connections.splice(0)) this.#try(connection.close());
    await simulated.elapse(LAST_MS, STEP_MS);
    await this.#until(() => this.#underWay === 0, STEP_MS);
    for (const request of this.requests) if (request.isPending) request.reject();
    this.check();
    const { cm, timers, qps } = victim.context;
    assert.deepEqual([cm.size, qps.size, timers.pending], [0, 0, this.#timersBefore], "endpoints, QPs and timers at the end");
    victim.close();
  }

  /** The attacker has learnt of the honest connection and speaks about it. */
  async #disturb(): Promise<void> {
    const { attacker, oracle, honest } = this;
    for (const { peer, localCommId, remoteCommId, localQpn } of oracle.alive) {
      if (peer.dlid === honest.lid) attacker.learn({ mine: remoteCommId, theirs: localCommId, qpn: localQpn });
    }
    for (const mad of attacker.speak()) attacker.send(mad);
    await this.simulated.elapse(1);
  }

  /** Takes everything away after a failure: whoever still waits would keep the process from ending. */
  abandon(): void {
    for (const host of [this.victim, this.honest]) {
      const { context } = host;
      if (context.isDestroyed) continue;
      context.agent.onGeneralMad = () => {};
      this.#listener.close();
      for (const qp of context.qps.values()) qp.destroy();
      host.close();
    }
  }

  /** Lets time pass until something has happened; it must happen in bounded time. */
  async #until(isTrue: () => boolean, stepMs: number): Promise<void> {
    const { simulated } = this;
    const endMs = simulated.nowMs + LONGEST_MS;
    while (!isTrue()) {
      this.check();
      assert.ok(simulated.nowMs < endMs, "the connection manager has come to a stop");
      await simulated.elapse(stepMs, stepMs);
    }
  }

  async #during<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.#until(() => isSettled, SHORT_STEP_MS);
    return promise;
  }
}

/** Sends to QP1 of a port from a UD QP, as a program with the Q_Key can. */
function programOf({ pd, cq, mr }: Host, dlid: number): (bytes: Uint8Array) => void {
  const qp = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
  activateUd(qp, GSI_QKEY);
  const ah = pd.createAh({ dlid });
  const sent = newWorkCompletions(8);
  return (bytes) => {
    while (cq.poll(sent) > 0);
    mr.bytes.set(bytes);
    const sgList = [{ addr: mr.addr, length: bytes.length, lkey: mr.lkey }];
    qp.postSend({ opcode: "SEND", sgList, ah, remoteQpn: 1, remoteQkey: GSI_QKEY });
  };
}

/** A REQ as the port's own connection manager writes it; nobody hears of it. */
async function captureRequest(simulated: SimulatedFabric, from: Host, dlid: number): Promise<DataView> {
  const { mads } = from.context;
  let request: DataView | undefined;
  mads.filter = (mad, isSent) => {
    if (isSent && isCm(mad) && attributeOf(mad) === CmAttribute.REQ) request ??= copyOf(mad);
    return isCm(mad);
  };
  const attempt = connect(from.context, { dlid, port: PORT, qp: from.qp, timeoutMs: 1 });
  await assert.rejects(simulated.during(attempt));
  assert.ok(request !== undefined);
  return request;
}
