// Two queue pairs of a native process, each on an HCA of its own, connected to each other; and the loops over them, which allocate nothing.

import {
  AccessFlag,
  type CompletionChannel,
  type CompletionQueue,
  type Context,
  connectQp,
  type MemoryRegion,
  type QueuePair,
  SendFlag,
} from "../../verbs/index.ts";

const CQ_ENTRIES = 256;
/** Messages under way when bandwidth is measured; perftest has 128. */
export const IN_FLIGHT = 64;
/** Looks at a queue before a message counts as lost: some ten seconds. */
const LOOKS_MAX = 1e9;

export interface End {
  readonly qp: QueuePair;
  readonly sendCq: CompletionQueue;
  readonly recvCq: CompletionQueue;
  readonly channel: CompletionChannel;
  readonly mr: MemoryRegion;
}

/** Two connected ends with `bytes` of memory each. */
export function connectEnds(near: Context, far: Context, bytes: number): [End, End] {
  const [a, b] = [newEnd(near, bytes), newEnd(far, bytes)];
  connectQp(a.qp, { lid: far.queryPort().lid, qpNum: b.qp.qpNum });
  connectQp(b.qp, { lid: near.queryPort().lid, qpNum: a.qp.qpNum });
  return [a, b];
}

function newEnd(context: Context, bytes: number): End {
  const pd = context.allocPd();
  const channel = context.createCompChannel();
  const [sendCq, recvCq] = [context.createCq(CQ_ENTRIES), context.createCq(CQ_ENTRIES, { channel })];
  const mr = pd.regMr(context.allocMemory(bytes), AccessFlag.LOCAL_WRITE | AccessFlag.REMOTE_WRITE);
  const cap = { maxSendWr: IN_FLIGHT, maxRecvWr: IN_FLIGHT };
  return { qp: pd.createQp({ qpType: "RC", sendCq, recvCq, cap }), sendCq, recvCq, channel, mr };
}

export function postReceive({ qp, mr }: End, bytes: number): void {
  qp.postRecv({ sgList: [{ addr: mr.addr, length: bytes, lkey: mr.lkey }] });
}

export function send({ qp, mr }: End, bytes: number): void {
  qp.wrStart();
  qp.wrFlags = SendFlag.SIGNALED;
  qp.wrSend();
  qp.wrSetSge(mr.lkey, mr.addr, bytes);
  if (qp.wrComplete() !== 0) throw new Error("the send queue is full");
}

export function write({ qp, mr }: End, bytes: number, to: MemoryRegion): void {
  qp.wrStart();
  qp.wrFlags = SendFlag.SIGNALED;
  qp.wrRdmaWrite(to.rkey, to.addr);
  qp.wrSetSge(mr.lkey, mr.addr, bytes);
  if (qp.wrComplete() !== 0) throw new Error("the send queue is full");
}

/** Waits for a completion, polling, and takes it. */
export function take(cq: CompletionQueue): void {
  let looks = 0;
  while (!cq.startPoll()) if (++looks > LOOKS_MAX) throw new Error("a completion did not come");
  if (cq.status !== "SUCCESS") throw new Error(`a completion says ${cq.status}`);
  cq.endPoll();
}

/** Takes a completion if there is one. */
export function takeIfThere(cq: CompletionQueue): boolean {
  if (!cq.startPoll()) return false;
  if (cq.status !== "SUCCESS") throw new Error(`a completion says ${cq.status}`);
  cq.endPoll();
  return true;
}

/** Waits until the last byte of a region's first `bytes` is `value`. */
export function awaitByte({ mr }: End, bytes: number, value: number): void {
  let looks = 0;
  while (Atomics.load(mr.bytes, bytes - 1) !== value) if (++looks > LOOKS_MAX) throw new Error("a write has not arrived");
}
