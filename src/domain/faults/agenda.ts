// What has to happen at a time: a list in the order of the times, of things that can be struck out by their key.

interface Entry {
  readonly atNs: number;
  readonly key: string;
  readonly run: (nowNs: number) => void;
}

export class Agenda {
  /** Time of the next one; Infinity if there is none. */
  nextNs: number = Number.POSITIVE_INFINITY;
  /** The next one last. */
  #entries: Entry[] = [];

  /** Notes something; what had the same key is struck out. */
  set(key: string, atNs: number, run: (nowNs: number) => void): void {
    this.delete(key);
    const at = this.#entries.findIndex((entry) => entry.atNs <= atNs);
    this.#entries.splice(at < 0 ? this.#entries.length : at, 0, { atNs, key, run });
    this.#noteNext();
  }

  /** Many at once, with different keys. */
  addAll(entries: readonly Entry[]): void {
    // What is due at the same time goes in the order in which it was noted: the last entry is the next.
    this.#entries = [...entries.toReversed(), ...this.#entries].sort((a, b) => b.atNs - a.atNs);
    this.#noteNext();
  }

  delete(key: string): void {
    this.deleteAll((each) => each === key);
  }

  deleteAll(isMeant: (key: string) => boolean): void {
    this.#entries = this.#entries.filter(({ key }) => !isMeant(key));
    this.#noteNext();
  }

  /** When that is due, or undefined. */
  timeOf(key: string): number | undefined {
    return this.#entries.find((entry) => entry.key === key)?.atNs;
  }

  /** Runs what is due, in order; returns how many. */
  run(nowNs: number): number {
    let done = 0;
    while (nowNs >= this.nextNs) {
      const entry = this.#entries.pop();
      this.#noteNext();
      entry?.run(nowNs);
      done++;
    }
    return done;
  }

  #noteNext(): void {
    this.nextNs = this.#entries.at(-1)?.atNs ?? Number.POSITIVE_INFINITY;
  }
}
