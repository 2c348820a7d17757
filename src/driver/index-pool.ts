// Numbers handed out from a range and given back; the lowest free one first.

import { DriverError } from "./access.ts";

export class IndexPool {
  readonly #what: string;
  readonly #end: number;
  readonly #free: number[] = [];
  #next: number;

  /** Numbers from `first` to `end - 1`; `what` names them in errors. */
  constructor(what: string, first: number, end: number) {
    this.#what = what;
    this.#next = first;
    this.#end = end;
  }

  allocate(): number {
    const recycled = this.#free.pop();
    if (recycled !== undefined) return recycled;
    if (this.#next >= this.#end) throw new DriverError("ENOMEM", `no ${this.#what} left of ${this.#end}`);
    return this.#next++;
  }

  free(index: number): void {
    this.#free.push(index);
  }
}
