// What the differential test of the compiled program plays on: connections between two guests, of one with itself, of a queue pair with
// itself, all on one completion queue for each guest; regions of every kind; and steps drawn from a seed.

import type { Random } from "../../src/base/random.ts";
import type { DriverQueuePair, SendRequest } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, MTT_BYTES, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import type { CompiledBed } from "./compiled-kit.ts";
import { Buffer64, fill, type Guest, newQp } from "./pair.ts";

const PAGE = 4096;
const DMA_BASE = 0x10_0000;
const LENGTHS = [1, 7, 8, 64, 65, 300, 2048, 2049, 4096, 4097, 9000, 5 * PAGE];
/** From the beginning of a region, or from its end. */
const OFFSETS = [0, 0, 1, 8, 4088, 4095, 4096, 8191, -1, -8, -64, -5000];
const INLINE_BYTES = 60;
const QUEUES = { sendWqes: 8, receiveWqes: 8, inlineBytes: INLINE_BYTES, sges: 2, receiveSges: 1 };
/** How a region is made; every guest has one of each for each connection, at either end. */
const KINDS = ["whole", "odd", "huge", "across", "local", "foreign"] as const;
/** Those of them that every request may name. */
const GOOD_KINDS = 4;
type Kind = (typeof KINDS)[number];

/** One request, as it is drawn. */
interface Drawn {
  isSend: boolean;
  isInline: boolean;
  length: number;
  from: number;
  to: number;
  source: number;
  target: number;
  isSignaled: boolean;
  isSolicited: boolean;
  hasReceive: boolean;
  room: number;
  wrong: "" | "lkey" | "rkey" | "over";
}

export type Step =
  | { kind: "post"; pair: number; requests: Drawn[]; isAtOnce: boolean; change: number }
  | { kind: "swap" | "hide" | "again" | "resize" | "reset" | "remap" | "freeze" | "wrap"; pair: number; which: number }
  | { kind: "rights"; pair: number; allows: boolean }
  | { kind: "arm"; pair: number; isSolicited: boolean };

const COMMANDS = ["swap", "hide", "again", "resize", "reset", "remap", "freeze", "wrap"] as const;

export function drawStep(random: Random): Step {
  const pair = random.below(4);
  const kind = random.below(16);
  if (kind === 0) return { kind: "rights", pair, allows: random.chance(0.7) };
  if (kind === 1) return { kind: "arm", pair, isSolicited: random.chance(0.5) };
  if (kind < 5) return { kind: random.pick(COMMANDS), pair, which: random.below(KINDS.length) };
  const requests = Array.from({ length: 1 + random.below(5) }, () => drawRequest(random));
  return { kind: "post", pair, requests, isAtOnce: random.chance(0.6), change: random.below(4) };
}

function drawRequest(random: Random): Drawn {
  const length = random.pick(LENGTHS);
  const isWild = random.chance(0.05);
  const region = (): number => random.below(isWild ? KINDS.length : GOOD_KINDS);
  return {
    isSend: random.chance(0.5),
    isInline: length <= INLINE_BYTES && random.chance(0.5),
    length,
    from: random.pick(OFFSETS),
    to: random.pick(OFFSETS),
    source: region(),
    target: region(),
    isSignaled: random.chance(0.7),
    isSolicited: random.chance(0.5),
    hasReceive: random.chance(0.99),
    room: random.pick([0, 0, 0, 100, 4 * PAGE]),
    wrong: isWild ? random.pick(["", "lkey", "rkey", "over"]) : "",
  };
}

interface Pair {
  readonly near: Guest;
  readonly far: Guest;
  readonly qp: DriverQueuePair;
  readonly peer: DriverQueuePair;
  readonly sources: Buffer64[];
  readonly targets: Buffer64[];
}

const BUFFER_BYTES = 6 * PAGE;

function newBuffer(guest: Guest, kind: Kind): Buffer64 {
  switch (kind) {
    case "odd":
      return new Buffer64(guest, BUFFER_BYTES - 200, { virtualAddress: 0x1234_5064n });
    case "huge":
      return new Buffer64(guest, 2 * 4 * PAGE, { pageBytes: 4 * PAGE });
    case "across":
      return new Buffer64(guest, BUFFER_BYTES, { virtualAddress: 0x7_ffff_f000n });
    case "local":
      return new Buffer64(guest, BUFFER_BYTES, { access: Access.LOCAL_READ | Access.LOCAL_WRITE });
    case "foreign":
      return new Buffer64(guest, BUFFER_BYTES, { pd: guest.device.allocatePd() });
    default:
      return new Buffer64(guest, BUFFER_BYTES);
  }
}

export class CompiledStage {
  readonly bed: CompiledBed;
  readonly pairs: Pair[];
  /** Messages that have been posted so far. */
  messages = 0;
  #psn: number;

  constructor(bed: CompiledBed, seed: number) {
    this.bed = bed;
    this.#psn = (seed * 0x123456) & 0xffffff;
    const [a, b] = [bed[0], bed[1]];
    this.pairs = [
      [a, b],
      [b, a],
      [a, a],
      [a, a],
    ].map(([near, far], i) => this.#newPair(near as Guest, far as Guest, i === 3));
    for (const pair of this.pairs) this.#connect(pair);
  }

  get buffers(): Buffer64[] {
    return this.pairs.flatMap(({ sources, targets }) => [...sources, ...targets]);
  }

  #newPair(near: Guest, far: Guest, isSelf: boolean): Pair {
    const qp = newQp(near, Service.RC, QUEUES);
    const [sources, targets] = [near, far].map((guest) => KINDS.map((kind) => newBuffer(guest, kind)));
    for (const [i, { bytes }] of (sources ?? []).entries()) fill(bytes, i + 1);
    return { near, far, qp, peer: isSelf ? qp : newQp(far, Service.RC, QUEUES), sources: sources!, targets: targets! };
  }

  #connect({ near, far, qp, peer }: Pair): void {
    const psns = { sendPsn: this.#psn, receivePsn: this.#psn, rnrRetry: 0, retryCount: 0 };
    for (const [end, other, guest] of new Set(
      qp === peer ? [[qp, qp, near] as const] : [[qp, peer, far] as const, [peer, qp, near] as const],
    )) {
      end.init();
      end.readyToReceive({ remoteQpn: other.number, dlid: guest.wire.lid, ...psns });
      end.readyToSend({ remoteQpn: other.number, dlid: guest.wire.lid, ...psns });
    }
    this.bed.domain.settle();
  }

  /** Does the step, and lets everything come of it. */
  run(step: Step): void {
    const pair = this.pairs[step.pair]!;
    if (step.kind === "post") this.#post(pair, step);
    else if (step.kind === "arm") pair.far.cq.arm(step.isSolicited);
    else if (step.kind === "rights") this.#allow(pair.peer, step.allows);
    else this.#command(pair, step.kind, step.which);
    this.bed.elapse(1e9);
    for (const each of this.pairs)
      if (stateOf(each.near, each.qp) === QpState.ERR || stateOf(each.far, each.peer) === QpState.ERR) this.#reset(each);
  }

  #post(pair: Pair, { requests, isAtOnce, change }: Step & { kind: "post" }): void {
    for (const [i, drawn] of requests.entries()) {
      const source = pair.sources[drawn.source]!;
      const target = pair.targets[drawn.target]!;
      const { to, far, length } = extentOf(drawn, source, target);
      const into = target.sge(to, drawn.wrong === "over" ? length : Math.min(far, length + drawn.room));
      if (drawn.isSend && drawn.hasReceive) pair.peer.postReceive([into]);
      pair.qp.postSend(requestOf(drawn, source, target));
      this.messages++;
      // Whoever changes what has been posted already has one message or the other: so only when it has gone.
      if (!isAtOnce) this.bed.domain.settle();
      if (!isAtOnce && i === change) fill(source.bytes, this.messages);
      if (isAtOnce && i === change) this.bed.domain.step();
    }
    this.bed.domain.settle();
  }

  #allow(qp: DriverQueuePair, allows: boolean): void {
    qp.transition(Command.RTS2RTS_QP, QpState.RTS, QpOptional.REMOTE_WRITE, (view, at) => {
      QpContext.remoteWrite.set(view, at, allows ? 1 : 0);
    });
  }

  #command(pair: Pair, kind: (typeof COMMANDS)[number], which: number): void {
    const { far } = pair;
    const target = pair.targets[which]!;
    if (kind === "swap") changeTable(far, target, (one, other) => [other, one]);
    if (kind === "hide") changeTable(far, target, (one, other) => [one & ~1n, other | 1n]);
    if (kind === "again") this.#registerAgain(pair, which);
    if (kind === "resize") far.cq.resize(which % 2 === 0 ? 255 : 500);
    if (kind === "reset") this.#reset(pair);
    if (kind === "remap") this.#remap(far);
    if (kind === "freeze") this.#freeze(pair);
    if (kind === "wrap") this.#psn = 0xfffff0 + which;
  }

  /** Takes a region back and makes another one, which may have its key. */
  #registerAgain(pair: Pair, which: number): void {
    pair.targets[which]!.region.deregister();
    pair.targets[which] = newBuffer(pair.far, KINDS[(which + 1) % KINDS.length]!);
  }

  #reset(pair: Pair): void {
    for (const end of new Set([pair.qp, pair.peer])) end.reset();
    for (const { cq } of [pair.near, pair.far]) {
      for (const end of [pair.qp, pair.peer]) cq.strip(end.number);
    }
    this.#connect(pair);
  }

  /** Takes the memory away from the device for a moment. */
  #remap({ node }: Guest): void {
    const { memory } = node.access;
    node.dma.unmap(DMA_BASE, memory.bytes.length);
    this.bed.domain.settle();
    node.dma.map(DMA_BASE, memory.bytes.length, memory, 0, true);
  }

  /** The sender's HCA stands still while it posts. */
  #freeze(pair: Pair): void {
    const { bed } = this;
    bed.domain.setFrozen(pair.near.node, true);
    pair.qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(7), ...pair.targets[0]!.remote() });
    bed.domain.settle();
    bed.domain.setFrozen(pair.near.node, false);
    bed.domain.settle();
    this.messages++;
  }

  /** Completions by queue pair and direction, in their order. */
  takeCompletions(): Record<string, unknown[]> {
    const taken: Record<string, unknown[]> = {};
    for (const [i, { cq }] of this.bed.guests.entries()) {
      for (const completion of cq.poll()) {
        const key = `${i} ${completion.qpn} ${completion.isSend}`;
        taken[key] ??= [];
        taken[key].push(completion);
      }
    }
    return taken;
  }

  describeQps(): (number | undefined)[][] {
    return this.pairs.flatMap(({ near, far, qp, peer }) => [words(near, qp), words(far, peer)]);
  }
}

const find = (guest: Guest, { number }: DriverQueuePair) => guest.node.hca.adapter.qps.find(number);
const stateOf = (guest: Guest, qp: DriverQueuePair): number | undefined => find(guest, qp)?.state;

function words(guest: Guest, driver: DriverQueuePair): (number | undefined)[] {
  const qp = find(guest, driver);
  return [qp?.state, qp?.nextPsn, qp?.expectedPsn, qp?.messageCount, qp?.rqHead, qp?.sqHead, qp?.retriesLeft, qp?.rnrRetriesLeft];
}

/** A place in a buffer that `offset` stands for. */
const placeIn = ({ bytes }: Buffer64, offset: number): number => (offset < 0 ? bytes.length + offset : offset);

/** What one request really asks for: no more than there is at either end, unless it is to be wrong. */
function extentOf({ length, from, to, wrong }: Drawn, source: Buffer64, target: Buffer64) {
  const places = { from: placeIn(source, from), to: placeIn(target, to) };
  const [near, far] = [source.bytes.length - places.from, target.bytes.length - places.to];
  return { ...places, far, length: wrong === "over" ? far + 1 : Math.min(length, near, far) };
}

function requestOf(drawn: Drawn, source: Buffer64, target: Buffer64): SendRequest {
  const { from, to, length } = extentOf(drawn, source, target);
  const sge = source.sge(from, length);
  const { remoteAddress, rkey } = target.remote(to);
  return {
    opcode: drawn.isSend ? SendOpcode.SEND : SendOpcode.RDMA_WRITE,
    ...(drawn.isInline && length <= INLINE_BYTES
      ? { inline: source.bytes.subarray(from, from + length) }
      : { sges: [drawn.wrong === "lkey" ? { ...sge, lkey: 0x77 } : sge] }),
    ...(drawn.isSend ? {} : { remoteAddress, rkey: drawn.wrong === "rkey" ? 0x77 : rkey }),
    isSignaled: drawn.isSignaled,
    isSolicited: drawn.isSolicited,
  };
}

/** Changes the third and fourth entries of a region's translation table, which the device may have read already. */
function changeTable({ device }: Guest, { region }: Buffer64, change: (one: bigint, other: bigint) => [bigint, bigint]): void {
  const { view } = device.access.memory;
  const [at, next] = [2, 3].map((page) => device.icm.mttAt(region.mttAddress + page * MTT_BYTES)) as [number, number];
  const [one, other] = change(view.getBigUint64(at), view.getBigUint64(next));
  view.setBigUint64(at, one);
  view.setBigUint64(next, other);
}
