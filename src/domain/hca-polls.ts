// Which HCAs are asked for work in a sweep: all of them; in a hurry those that have had some lately, and now and then one of the others; or none,
// where all are calm and others are at work.

import type { PluggedHca } from "./plugged-hca.ts";

/** After so long without work of guests the engine has time for thorough sweeps, and for everybody. */
const HASTE_NS = 10_000;
/** After so long none of them polls. */
const CALM_NS = 3_000_000;
/** Where there is other work, calm HCAs are asked this often. */
const CALM_POLL_NS = 100_000;
/** Polls without work after which an HCA counts as quiet: some milliseconds. */
const BUSY_POLLS = 10_000;
/** Hasty sweeps to one look at an HCA that has been quiet: all that it touches has left the cache, so the look is dear. */
const SWEEPS_PER_QUIET_HCA = 4;

export class HcaPolls {
  readonly #hcas: readonly PluggedHca[];
  /** HCAs that have had something to do lately, in any order. */
  readonly #busy: PluggedHca[] = [];
  /** Whose turn it is among the HCAs that have been quiet. */
  #quietCursor = 0;
  #sweepsToQuietHca = 0;
  /** Before then calm HCAs need not be asked where there is other work. */
  #nextCalmNs = 0;

  /** @param hcas those of the domain, which come and go in this array */
  constructor(hcas: readonly PluggedHca[]) {
    this.#hcas = hcas;
  }

  /** An HCA is gone. */
  forget(hca: PluggedHca): void {
    const index = this.#busy.indexOf(hca);
    if (index >= 0) this.#busy.splice(index, 1);
  }

  /**
   * Polls those that this sweep is for; returns the work done.
   * @param idleNs since the last work of guests
   * @param isServing programs of the host are being served: a subnet manager sends tens of thousands of MADs, and to ask guests that sleep
   * with each of them would take longer than to answer it
   */
  poll(nowNs: number, idleNs: number, isServing: boolean): number {
    if (idleNs < HASTE_NS) return this.#pollHastily(nowNs);
    if (isServing && idleNs >= CALM_NS && nowNs < this.#nextCalmNs) return 0;
    this.#nextCalmNs = nowNs + CALM_POLL_NS;
    return this.#pollAll(nowNs);
  }

  #pollAll(nowNs: number): number {
    const hcas = this.#hcas;
    let work = 0;
    for (let i = 0; i < hcas.length; i++) {
      const hca = hcas[i]!;
      const done = hca.fn.hca.poll(nowNs);
      if (done > 0) this.#noteBusy(hca);
      work += done;
    }
    return work;
  }

  /** Polls the HCAs that have had something to do lately, and now and then one of the others. */
  #pollHastily(nowNs: number): number {
    const busy = this.#busy;
    let work = 0;
    if (--this.#sweepsToQuietHca < 0) {
      this.#sweepsToQuietHca = SWEEPS_PER_QUIET_HCA - 1;
      work = this.#pollNextQuiet(nowNs);
    }
    for (let i = busy.length - 1; i >= 0; i--) {
      const hca = busy[i]!;
      const done = hca.fn.hca.poll(nowNs, true);
      work += done;
      if (done > 0) hca.busyPolls = BUSY_POLLS;
      else if (--hca.busyPolls === 0) this.#dropBusy(i);
    }
    return work;
  }

  #pollNextQuiet(nowNs: number): number {
    this.#quietCursor = this.#quietCursor + 1 < this.#hcas.length ? this.#quietCursor + 1 : 0;
    const hca = this.#hcas[this.#quietCursor];
    if (hca === undefined || hca.busyPolls > 0) return 0;
    const done = hca.fn.hca.poll(nowNs, true);
    if (done > 0) this.#noteBusy(hca);
    return done;
  }

  #noteBusy(hca: PluggedHca): void {
    if (hca.busyPolls === 0) this.#busy.push(hca);
    hca.busyPolls = BUSY_POLLS;
  }

  #dropBusy(index: number): void {
    const last = this.#busy.pop()!;
    if (index < this.#busy.length) this.#busy[index] = last;
  }
}
