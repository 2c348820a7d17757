// Shared receive queues. IBA vol 1, 10.2.9.

import { DriverSharedReceiveQueue } from "../driver/shared-receive-queue.ts";
import { asVerb, VerbsError } from "./error.ts";
import { VerbsObject } from "./object.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { RecvWr } from "./work-request.ts";

export interface SrqInitAttributes {
  readonly maxWr: number;
  /** SGEs of a request; 1 if left out. */
  readonly maxSge?: number;
}

export class SharedReceiveQueue extends VerbsObject {
  readonly pd: ProtectionDomain;
  readonly maxWr: number;
  readonly maxSge: number;
  /** @internal */
  readonly driver: DriverSharedReceiveQueue;
  readonly #ids: Float64Array;

  /** Use `pd.createSrq`. */
  constructor(pd: ProtectionDomain, { maxWr, maxSge = 1 }: SrqInitAttributes) {
    super([pd]);
    this.pd = pd;
    this.maxSge = maxSge;
    this.driver = asVerb(() => new DriverSharedReceiveQueue(pd.context.device, { pd: pd.number, wqes: maxWr, sges: maxSge }));
    this.maxWr = this.driver.capacity;
    this.#ids = new Float64Array(this.driver.size);
    pd.context.srqs.set(this.number, this);
    this.holdOwners();
  }

  get label(): string {
    return `SRQ ${this.number}`;
  }

  get number(): number {
    return this.driver.number;
  }

  /**
   * Posts receives.
   * @throws VerbsError ENOMEM if the queue is full, EINVAL if there are too many SGEs: the ones before were posted
   */
  postRecv(...requests: readonly RecvWr[]): void {
    this.assertAlive("to post receives");
    for (const { wrId = 0, sgList = [] } of requests) {
      if (sgList.length > this.maxSge) {
        throw new VerbsError("EINVAL", `${this.label}: a receive takes ${this.maxSge} SGEs, not ${sgList.length}`);
      }
      const sges = sgList.map(({ addr, length, lkey }) => ({ address: BigInt(addr), length, lkey }));
      const wqe = asVerb(() => this.driver.postReceive(sges));
      this.#ids[this.driver.slotOf(wqe)] = wrId;
    }
  }

  /** Asks for one SRQ_LIMIT_REACHED event when fewer than `srqLimit` requests are left. */
  modify({ srqLimit }: { srqLimit: number }): void {
    if (!(srqLimit >= 0 && srqLimit <= this.maxWr)) {
      throw new VerbsError("EINVAL", `${this.label}: srqLimit ${srqLimit} is not between 0 and ${this.maxWr}`);
    }
    asVerb(() => this.driver.armLimit(srqLimit));
  }

  query(): { maxWr: number; maxSge: number; srqLimit: number } {
    const { limit } = asVerb(() => this.driver.query());
    return { maxWr: this.maxWr, maxSge: this.maxSge, srqLimit: limit };
  }

  /** @internal A receive has completed: its place is free. Returns its wrId. */
  complete(wqe: number): number {
    this.driver.recycle(wqe);
    return this.#ids[this.driver.slotOf(wqe)] as number;
  }

  protected release(): void {
    asVerb(() => this.driver.destroy());
    this.pd.context.srqs.delete(this.number);
  }
}
