// Several datagrams in one system call (recvmmsg(2)): memory for them, and the kernel's headers, which are written once.

import { allocateNative, type NativeMemory, setPointer, setWord64 } from "./mapping.ts";
import { MSG_IOV, MSG_IOVLEN } from "./msghdr.ts";

/** struct mmsghdr: a struct msghdr, then how long the datagram is. */
const MMSGHDR_BYTES = 64;
const MSG_LEN = 56;
const IOVEC_BYTES = 16;

export class DatagramBatch {
  /** Most datagrams in it. */
  readonly capacity: number;
  readonly memory: NativeMemory;
  /** Address of the headers. A BigInt made once: a Number this large would become a new heap number at every load. */
  readonly headers: bigint;
  readonly #dataAt: number;
  readonly #bytesEach: number;

  /** @param bytesEach room for each */
  constructor(capacity: number, bytesEach: number) {
    this.capacity = capacity;
    this.#bytesEach = bytesEach;
    const iovecsAt = capacity * MMSGHDR_BYTES;
    this.#dataAt = iovecsAt + capacity * IOVEC_BYTES;
    this.memory = allocateNative(this.#dataAt + capacity * bytesEach);
    const { view, address } = this.memory;
    this.headers = BigInt(address);
    for (let index = 0; index < capacity; index++) {
      const iovecAt = iovecsAt + index * IOVEC_BYTES;
      setPointer(view, index * MMSGHDR_BYTES + MSG_IOV, this.memory, iovecAt);
      setWord64(view, index * MMSGHDR_BYTES + MSG_IOVLEN, 1);
      setPointer(view, iovecAt, this.memory, this.offsetOf(index));
      setWord64(view, iovecAt + 8, bytesEach);
    }
  }

  /** Where datagram `index` begins in `memory`. */
  offsetOf(index: number): number {
    return this.#dataAt + index * this.#bytesEach;
  }

  /** How long datagram `index` of the last receive is, or was before it was cut. */
  lengthOf(index: number): number {
    return this.memory.view.getUint32(index * MMSGHDR_BYTES + MSG_LEN, true);
  }
}
