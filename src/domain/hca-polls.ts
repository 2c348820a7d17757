// Which HCAs are asked for work in a sweep: all of them, or, in a hurry, those that have had some lately and now and then one of the others.

import type { PluggedHca } from "./plugged-hca.ts";

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

  /** @param hcas those of the domain, which come and go in this array */
  constructor(hcas: readonly PluggedHca[]) {
    this.#hcas = hcas;
  }

  /** An HCA is gone. */
  forget(hca: PluggedHca): void {
    const index = this.#busy.indexOf(hca);
    if (index >= 0) this.#busy.splice(index, 1);
  }

  /** Polls every HCA; returns the work done. */
  pollAll(nowNs: number): number {
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
  pollHastily(nowNs: number): number {
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
