// Two guests whose plain requests are carried out by the compiled program, and a look at whether they really were. To be imported before
// anything makes a test bed.

import "./compiled.ts";
import assert from "node:assert/strict";
import type { DriverQueuePair, QueuePairOptions } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import type { CompiledRequests } from "../../src/transport/plain/compiled-requests.ts";
import { Buffer64, connect, type Guest, TestBed } from "./pair.ts";

export class CompiledBed extends TestBed {
  constructor(count = 2) {
    // Packets go another way.
    super(count, { packets: false });
  }

  get compiled(): CompiledRequests {
    const { compiled } = this.domain.network;
    assert.ok(compiled, "the test bed has no compiled program");
    return compiled;
  }

  /** Messages that the program carries out during `act` and until everything is done. */
  messagesDuring(act: () => void): number {
    const before = this.compiled.messages;
    act();
    this.domain.settle();
    return this.compiled.messages - before;
  }

  /** Two queue pairs that the program looks at: the first has written twice. */
  hotPair(a: Guest, b: Guest, options: Partial<QueuePairOptions> = {}): [DriverQueuePair, DriverQueuePair] {
    const pair = connect(a, b, undefined, {}, options);
    this.heat(pair[0], a, b);
    return pair;
  }

  /** Lets a connected queue pair of `a` write to `b`, twice: by the general way, then by the program. */
  heat(qp: DriverQueuePair, a: Guest, b: Guest): void {
    const target = new Buffer64(b, 8);
    const write = (): void => {
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...target.remote() });
    };
    this.messagesDuring(write);
    assert.equal(this.messagesDuring(write), 1, "the second write is carried out by the program");
    for (const guest of [a, b]) guest.cq.poll();
    target.region.deregister();
    this.domain.settle();
  }

  /** Syndromes of a guest's new completions. */
  syndromes(guest: Guest): number[] {
    return guest.cq.poll().map(({ syndrome }) => syndrome);
  }
}
