// Gives requests to the compiled program: those of a queue pair whose turn it is, and those of busy queue pairs as soon as they are posted. What
// the program finds out of the ordinary it leaves to the others (plain-request.ts, requester.ts).

import { OUTSIDE } from "../../base/bytes.ts";
import type { Window } from "../../base/window.ts";
import type { Adapter } from "../adapter.ts";
import type { CompletionQueue } from "../completion-queue.ts";
import { AdapterCounter } from "../counters.ts";
import type { RegionTable } from "../memory.ts";
import { account, areBothReady, counts } from "../plain-request.ts";
import type { QueuePair } from "../queue-pair.ts";
import { newParty } from "../scratch.ts";
import { HcaWords } from "./hca-words.ts";
import * as Layout from "./layout.ts";
import { instantiate, type PlainProgram } from "./program.ts";
import { CompletionQueueWords, QueuePairWords } from "./words.ts";

/** Queue pairs looked at by `spin`. */
const MOST_HOT = 8;
/** Spins in vain after which one is not looked at any more: a millisecond, if nothing else happens. */
const SPINS_TO_COLD = 256;
const PAGE_BYTES = 4096;

interface ServedHca {
  readonly words: HcaWords;
  readonly regions: RegionTable;
}

export class CompiledRequests {
  readonly #window: Window;
  readonly #program: PlainProgram;
  /** HCAs by their number; free numbers are undefined. */
  readonly #hcas: (ServedHca | undefined)[] = [];
  readonly #cursor = newParty().cursor;
  /** Queue pairs that have had plain requests lately. */
  readonly #hot: QueuePair[] = [];
  /** The one that makes room for the next. */
  #oldest = 0;
  /** Those of them that can be looked at now, and where the program finds them. */
  readonly #ready: QueuePair[] = [];
  readonly #listAt: number;
  /** Messages carried out so far. */
  messages = 0;

  /**
   * @param window where guests' memory is
   * @param program what `npm run build:wasm` has made of assembly/
   * @throws if it is none
   */
  constructor(window: Window, program: Uint8Array) {
    this.#window = window;
    this.#program = instantiate(window.memory, program, {
      translate: (table, key, pd, access, hi, lo, length) =>
        this.#hcas[table]!.regions.locate(key, pd, access, hi, lo, length, 0, length, this.#cursor),
      describeRegion: (table, key) => this.#hcas[table]!.words.describeRegion(this.#hcas[table]!.regions, key),
      findIcm: (table, page) => this.#hcas[table]!.regions.icm.windowAt(page),
    });
    this.#listAt = window.take(PAGE_BYTES);
    if (this.#listAt === OUTSIDE) throw new Error("the window has no room for a page");
  }

  /** Gives back what it has in the window; its HCAs are gone. */
  close(): void {
    this.#window.give(this.#listAt, PAGE_BYTES);
  }

  /** What an HCA has in the window; undefined if there is no room. `serve` completes it. */
  newHca(): HcaWords | undefined {
    const free = this.#hcas.indexOf(undefined);
    return HcaWords.take(this.#window, free < 0 ? this.#hcas.length : free);
  }

  /** Requests of an HCA with these regions may be carried out from now on. */
  serve(words: HcaWords, regions: RegionTable): void {
    this.#hcas[words.table] = { words, regions };
  }

  /** The HCA is gone. */
  forgetHca(hca: HcaWords): void {
    this.#hcas[hca.table] = undefined;
    hca.giveBack();
  }

  /**
   * Carries out plain requests from the head of the send queue of `qp`, which is ready for them as its peer is.
   * @param limit about how much work to do, in bytes
   * @returns work done; 0 if the WQE at the head is none of them
   */
  run(qp: QueuePair, peer: QueuePair, limit: number): number {
    if (!load(qp, peer)) return 0;
    const work = this.#program.run(qp.words!.at, limit);
    if (work <= 0) return 0;
    store(qp, peer);
    this.messages += counts.messages;
    return work;
  }

  /** Looks at `qp` in `spin` for a while. */
  noteHot(qp: QueuePair): void {
    qp.coldSpins = 0;
    if (qp.isHot) return;
    qp.isHot = true;
    if (this.#hot.length < MOST_HOT) {
      this.#hot.push(qp);
      return;
    }
    this.#oldest = this.#oldest + 1 < MOST_HOT ? this.#oldest + 1 : 0;
    this.#drop(this.#oldest);
    this.#hot.push(qp);
  }

  /** Looks at nothing of this HCA's any more, until it has plain requests again. */
  cool(adapter: Adapter): void {
    for (let i = this.#hot.length - 1; i >= 0; i--) if (this.#hot[i]!.adapter === adapter) this.#drop(i);
  }

  /** A queue pair is gone. */
  forgetQp(qp: QueuePair): void {
    if (qp.isHot) this.#remove(this.#hot.indexOf(qp));
    // Else the memory of a guest that has gone would be held.
    this.#ready.length = 0;
  }

  /**
   * Looks for new requests of the hot queue pairs and carries them out.
   * @param looks how often to look at one of them; at each once at least
   * @param limit about how much work to do, in bytes
   * @returns work done
   */
  spin(looks: number, limit: number): number {
    const count = this.#gather();
    if (count === 0) return 0;
    const work = this.#program.spin(this.#listAt, count, looks, limit);
    const ready = this.#ready;
    for (let i = 0; i < count; i++) this.messages += settle(ready[i]!);
    return work;
  }

  /** Loads the hot queue pairs that can be looked at now; returns how many. */
  #gather(): number {
    const hot = this.#hot;
    const { words } = this.#window;
    let count = 0;
    for (let i = hot.length - 1; i >= 0; i--) {
      const qp = hot[i]!;
      if (++qp.coldSpins > SPINS_TO_COLD) {
        this.#drop(i);
        continue;
      }
      if (!isQuiet(qp)) continue;
      const { peer } = qp;
      if (peer === undefined || !areBothReady(qp, peer) || !load(qp, peer)) {
        this.#drop(i);
        continue;
      }
      this.#ready[count] = qp;
      words[(this.#listAt >>> 2) + count] = qp.words!.at;
      count++;
    }
    return count;
  }

  /** Those who are hot need not wait in line, and their doorbells are not followed: this one's are again, and the last may have been missed. */
  #drop(index: number): void {
    const qp = this.#hot[index]!;
    this.#remove(index);
    // Its turn looks at the record. To look here could end a connection whose other end is about to be looked at.
    if (isQuiet(qp)) qp.adapter.activate(qp);
  }

  #remove(index: number): void {
    this.#hot[index]!.isHot = false;
    const last = this.#hot.pop()!;
    if (index < this.#hot.length) this.#hot[index] = last;
  }
}

/** Nobody else is at work on its send queue. */
function isQuiet(qp: QueuePair): boolean {
  return !qp.isActive && qp.waitingIndex < 0 && !qp.isTransferring && !qp.isHeldBack && qp.connection?.isRequesting !== true;
}

/** Fills the words of both ends. False if some of them have no place. */
function load(qp: QueuePair, peer: QueuePair): boolean {
  const near = wordsOf(qp);
  const far = wordsOf(peer);
  const sendCq = cqWordsOf(qp.setup.sendCq);
  const receiveCq = cqWordsOf(peer.setup.receiveCq);
  if (near === undefined || far === undefined || sendCq === undefined || receiveCq === undefined) return false;
  near.loadSender(far, sendCq);
  far.loadReceiver(receiveCq);
  sendCq.load();
  receiveCq.load();
  return near.hasRecord;
}

/**
 * After `spin`: takes over what has been done, and gives the queue pair a turn if there is something that is not plain. Returns how many
 * messages have been carried out.
 */
function settle(qp: QueuePair): number {
  const words = qp.words!;
  const messages = words.get(Layout.MESSAGES);
  if (messages > 0 || words.get(Layout.DONE) !== 0) qp.coldSpins = 0;
  if (messages > 0) store(qp, qp.peer!);
  else words.storeSender();
  if (words.take(Layout.IS_STUCK) !== 0) qp.adapter.activate(qp);
  return messages;
}

/** Takes over what has been done. */
function store(qp: QueuePair, peer: QueuePair): void {
  const words = qp.words!;
  const sends = words.take(Layout.SENDS);
  words.storeSender();
  qp.setup.sendCq.words!.store();
  if (sends > 0) {
    peer.words!.storeReceiver();
    peer.setup.receiveCq.words!.store();
  }
  counts.messages = words.take(Layout.MESSAGES);
  counts.sends = sends;
  counts.bytes = words.take(Layout.BYTES) >>> 0;
  counts.words = words.take(Layout.DATA_WORDS);
  counts.packets = words.take(Layout.PACKETS);
  account(qp, peer);
  qp.adapter.counters[AdapterCounter.completions]! += words.take(Layout.SEND_COMPLETIONS);
  if (sends === 0) return;
  const { counters } = peer.adapter;
  counters[AdapterCounter.completions]! += sends;
  counters[AdapterCounter.receives]! += sends;
}

function wordsOf(qp: QueuePair): QueuePairWords | undefined {
  return qp.words ?? newQueuePairWords(qp);
}

function newQueuePairWords(qp: QueuePair): QueuePairWords | undefined {
  const { hcaWords } = qp.adapter;
  const at = hcaWords?.takeQueue() ?? OUTSIDE;
  if (hcaWords === undefined || at === OUTSIDE) return undefined;
  qp.words = new QueuePairWords(hcaWords, at, qp);
  return qp.words;
}

function cqWordsOf(cq: CompletionQueue): CompletionQueueWords | undefined {
  return cq.words ?? newCompletionQueueWords(cq);
}

function newCompletionQueueWords(cq: CompletionQueue): CompletionQueueWords | undefined {
  const { hcaWords } = cq.adapter;
  const at = hcaWords?.takeQueue() ?? OUTSIDE;
  if (hcaWords === undefined || at === OUTSIDE) return undefined;
  cq.words = new CompletionQueueWords(hcaWords, at, cq);
  return cq.words;
}
