// What the messages of a peer may do to the endpoints of a connection manager: the state diagrams of IBA vol 1, 12.9.5 to 12.9.7, once
// more and as tables. It looks at every endpoint before and after each message.

import assert from "node:assert/strict";
import { nameOf } from "../../src/base/names.ts";
import { CM_CLASS_VERSION, CM_DATA_AT, CmAttribute, CmDreq, CmRej, CmRep, CmReq, RejectReason } from "../../src/spec/mad/cm.ts";
import { MadHeader } from "../../src/spec/mad/headers.ts";
import { MAD_BASE_VERSION, Method } from "../../src/spec/mad/numbers.ts";
import type { Endpoint, EndpointState as State } from "../../src/verbs/cm/endpoint.ts";
import type { MadSource } from "../../src/verbs/general-mads.ts";

const AT = CM_DATA_AT;
const GSI = 1;
const { REQ, REP, RTU, REJ, DREQ, DREP } = CmAttribute;

/** Where a program and its timers lead an endpoint, without any message. */
const ALONE: Readonly<Record<State, readonly State[]>> = {
  REQ_SENT: ["CLOSED"],
  REP_RCVD: ["ESTABLISHED", "CLOSED"],
  REQ_RCVD: ["REP_SENT", "CLOSED"],
  REP_SENT: ["CLOSED"],
  ESTABLISHED: ["DREQ_SENT"],
  DREQ_SENT: ["TIMEWAIT"],
  TIMEWAIT: ["CLOSED"],
  CLOSED: [],
};

/** Where a message of its peer, with its ids, leads it; nowhere if it is not named. */
const BY_MESSAGE: Readonly<Record<number, Readonly<Partial<Record<State, State>>>>> = {
  [REP]: { REQ_SENT: "REP_RCVD" },
  [RTU]: { REP_SENT: "ESTABLISHED" },
  [REJ]: {
    ...{ REQ_SENT: "CLOSED", REP_RCVD: "CLOSED", REQ_RCVD: "CLOSED", REP_SENT: "CLOSED" },
    ...{ ESTABLISHED: "TIMEWAIT", DREQ_SENT: "TIMEWAIT" },
  },
  [DREQ]: { REP_RCVD: "TIMEWAIT", REP_SENT: "TIMEWAIT", ESTABLISHED: "TIMEWAIT", DREQ_SENT: "TIMEWAIT" },
  [DREP]: { DREQ_SENT: "TIMEWAIT" },
};

export class CmOracle {
  readonly #states = new Map<Endpoint, State>();
  /** Messages in hand and what each endpoint must be afterwards. */
  #expected: Map<Endpoint, State> | undefined;
  /** Endpoints that a REQ may prove stale: it uses a QP of theirs (12.9.8.3.1). */
  #mayBeStale = new Set<Endpoint>();
  readonly #passive = new WeakSet<Endpoint>();

  /** From now on the endpoint is watched. */
  track(endpoint: Endpoint): void {
    assert.ok(endpoint.state === "REQ_SENT" || endpoint.state === "REQ_RCVD");
    if (endpoint.state === "REQ_RCVD") this.#passive.add(endpoint);
    this.#states.set(endpoint, endpoint.state);
  }

  /** Endpoints that are there. */
  get alive(): Endpoint[] {
    return [...this.#states.keys()].filter(({ state }) => state !== "CLOSED");
  }

  /** How many wait for the program, of one peer. */
  pendingOf(lid: number): number {
    return this.alive.filter(({ state, peer }) => state === "REQ_RCVD" && peer.dlid === lid).length;
  }

  /** A message is about to be handled. */
  begin(mad: DataView, from: MadSource): void {
    this.look();
    this.#expected = new Map();
    this.#mayBeStale = new Set();
    for (const endpoint of this.#states.keys()) this.#expected.set(endpoint, this.#after(endpoint, mad, from));
  }

  /** It has been handled: returns what it was and did, to be counted. */
  end(mad: DataView): string[] {
    const attribute = nameOf(CmAttribute, MadHeader.attributeId.get(mad, 0));
    const notes: string[] = [];
    for (const [endpoint, state] of this.#expected ?? []) {
      const isStale = this.#mayBeStale.has(endpoint) && endpoint.state === "DREQ_SENT";
      if (!isStale) assert.equal(endpoint.state, state, `${attribute} to an endpoint in ${this.#states.get(endpoint)}`);
      notes.push(`${this.#states.get(endpoint)} ${attribute} ${endpoint.state}`);
      this.#note(endpoint);
    }
    this.#expected = undefined;
    return notes;
  }

  /** A request that no endpoint stems from: it must be answered, or make one. */
  isNewRequest(mad: DataView, from: MadSource): boolean {
    const id = CmReq.localCommId.get(mad, AT);
    const isKnown = this.alive.some((one) => this.#passive.has(one) && one.peer.dlid === from.slid && one.remoteCommId === id);
    return isSound(mad, from) && MadHeader.attributeId.get(mad, 0) === REQ && !isKnown;
  }

  /** Whatever has changed since it looked last was the program's or a timer's doing, and one step. */
  look(): void {
    for (const [endpoint, before] of this.#states) {
      const { state } = endpoint;
      if (state === before) continue;
      assert.ok(ALONE[before].includes(state), `without any message from ${before} to ${state}`);
      this.#note(endpoint);
    }
  }

  #note(endpoint: Endpoint): void {
    if (endpoint.state === "CLOSED") this.#states.delete(endpoint);
    else this.#states.set(endpoint, endpoint.state);
  }

  #after(endpoint: Endpoint, mad: DataView, from: MadSource): State {
    const { state } = endpoint;
    if (!isSound(mad, from)) return state;
    const attribute = MadHeader.attributeId.get(mad, 0);
    if (attribute === REQ) {
      const usesItsQp = endpoint.remoteQpn === CmReq.localQpn.get(mad, AT) && endpoint.peer.dlid === from.slid;
      if (usesItsQp && (state === "ESTABLISHED" || state === "REP_SENT")) this.#mayBeStale.add(endpoint);
      return state;
    }
    if (!this.#isNamed(endpoint, attribute, mad, from)) return state;
    if (attribute === DREQ && CmDreq.remoteQpn.get(mad, AT) !== endpoint.localQpn) return state;
    return BY_MESSAGE[attribute]?.[state] ?? state;
  }

  /** The ids are those of the connection, and the sender is its peer (12.9.8). Before a REP its id is not known. */
  #isNamed(endpoint: Endpoint, attribute: number, mad: DataView, from: MadSource): boolean {
    if (endpoint.peer.dlid !== from.slid) return false;
    const sender = CmRep.localCommId.get(mad, AT);
    const isItsId = endpoint.state === "REQ_SENT" || endpoint.remoteCommId === sender;
    const named = CmRep.remoteCommId.get(mad, AT);
    if (named === endpoint.localCommId) return isItsId;
    // A peer that has no answer yet gives up without our id; ids of others it may name are looked at first.
    const isGivenUp = attribute === REJ && CmRej.reason.get(mad, AT) === RejectReason.TIMEOUT && this.#passive.has(endpoint);
    const isOthers = [...this.#states.keys()].some((other) => other.localCommId === named && isFrom(other, from, sender));
    return isGivenUp && !isOthers && endpoint.remoteCommId === sender;
  }
}

/** A message of this class, by its header and its sender (13.4.3, 16.7.1): others are nobody's. */
function isSound(mad: DataView, { srcQp }: MadSource): boolean {
  const { baseVersion, classVersion, method } = MadHeader;
  const isOfClass = baseVersion.get(mad, 0) === MAD_BASE_VERSION && classVersion.get(mad, 0) === CM_CLASS_VERSION;
  return isOfClass && method.get(mad, 0) === Method.SEND && srcQp === GSI;
}

const isFrom = ({ peer, state, remoteCommId }: Endpoint, from: MadSource, sender: number): boolean =>
  peer.dlid === from.slid && (state === "REQ_SENT" || remoteCommId === sender);
