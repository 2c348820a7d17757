// Every verbs object: who holds it, and that it goes only when nobody does any more.

import { VerbsError } from "./error.ts";

/** How many holders an error names. */
const NAMED = 4;

export abstract class VerbsObject {
  readonly #owners: readonly VerbsObject[];
  readonly #holders = new Set<VerbsObject>();
  #isDestroyed = false;

  /** @param owners what this object needs for as long as it lives */
  protected constructor(owners: readonly VerbsObject[]) {
    for (const owner of owners) owner.#assertAlive("to create something of it");
    this.#owners = owners;
  }

  /** Called by a constructor once the object exists in the device. */
  protected holdOwners(): void {
    for (const owner of this.#owners) owner.#holders.add(this);
  }

  /** How errors call it: "QP 0x406". */
  abstract get label(): string;

  /** Gives it back to the device. */
  protected abstract release(): void;

  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  /**
   * Destroys the object; a second time does nothing.
   * @throws VerbsError EBUSY naming what still holds it: destroy that first
   */
  destroy(): void {
    if (this.#isDestroyed) return;
    if (this.#holders.size > 0) {
      const names = [...this.#holders].slice(0, NAMED).map(({ label }) => label);
      const more = this.#holders.size > NAMED ? ` and ${this.#holders.size - NAMED} more` : "";
      throw new VerbsError("EBUSY", `${this.label} is still held by ${names.join(", ")}${more}: destroy them first`);
    }
    try {
      this.release();
    } catch (error) {
      // what the device had of it has gone with the device
      if (!(error instanceof VerbsError && error.code === "ENODEV")) throw error;
    }
    this.#isDestroyed = true;
    for (const owner of this.#owners) owner.#holders.delete(this);
  }

  /** `using` destroys it at the end of the block. */
  [Symbol.dispose](): void {
    this.destroy();
  }

  /** @throws VerbsError EINVAL if it is gone */
  protected assertAlive(action: string): void {
    this.#assertAlive(action);
  }

  #assertAlive(action: string): void {
    if (this.#isDestroyed) throw new VerbsError("EINVAL", `${this.label} has been destroyed: too late ${action}`);
  }
}
