// Faults put in by hand, each a single field, number or comparison, that the tests without VMs must notice. `npm run mutate` tries them.

export interface Fault {
  /** What is wrong then. */
  readonly what: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export const faults: readonly Fault[] = [
  {
    what: "the remote QPN stands elsewhere in the QP context",
    file: "src/spec/hca/contexts.ts",
    from: "remoteQpn: bits(0x14, 23, 0)",
    to: "remoteQpn: bits(0x18, 23, 0)",
  },
  {
    what: "the syndrome of an error completion is one byte off",
    file: "src/transport/completion-queue.ts",
    from: "(syndrome << 24) | (vendorError << 16)",
    to: "(syndrome << 16) | (vendorError << 24)",
  },
  {
    what: "a region's protection domain is not compared",
    file: "src/transport/memory.ts",
    from: "words[at + Word.PD] !== pd || ",
    to: "",
  },
  {
    what: "a region is one byte longer than it is",
    file: "src/transport/memory.ts",
    from: "offset + length <= lengthOf(words, at)",
    to: "offset + length <= lengthOf(words, at) + 1",
  },
  {
    what: "PSNs are 25 bits wide",
    file: "src/base/seq24.ts",
    from: "0xffffff",
    to: "0x1ffffff",
  },
  {
    what: "an RNR wait takes the timer of code 0",
    file: "src/transport/requester.ts",
    from: "RNR_TIMER_NS[qp.peer?.attributes.minRnrTimer ?? 0]",
    to: "RNR_TIMER_NS[0]",
  },
  {
    what: "a transition takes the P_Key index from a call that does not name it",
    file: "src/hca/qp-transitions.ts",
    from: "[O.PKEY_INDEX, PRIMARY_PATH_AT, [AddressPath.pkeyIndex]]",
    to: "[O.PRIMARY_PATH, PRIMARY_PATH_AT, [AddressPath.pkeyIndex]]",
  },
  {
    what: "the completion event of a CQ is announced twice",
    file: "src/transport/completion-queue.ts",
    from: "this.eventCount = (this.eventCount + 1) & 3;",
    to: "this.eventCount = (this.eventCount + 2) & 3;",
  },
  {
    what: "a doorbell works from every UAR page",
    file: "src/hca/doorbells.ts",
    from: "cq === undefined || cq.uar !== uar.index",
    to: "cq === undefined",
  },
  {
    what: "two limited members of a partition hear each other",
    file: "src/transport/port.ts",
    from: " && ((a | b) & 0x8000) !== 0",
    to: "",
  },
  {
    what: "the Q_Key is not compared",
    file: "src/transport/datagram-receive.ts",
    from: "(target.attributes.qkey | 0) !== datagram.qkey",
    to: "false",
  },
  {
    what: "the flush forgets requests that were not signaled",
    file: "src/transport/flush.ts",
    from: "while (count < limit && qp.sqHead !== qp.sqPosted)",
    to: "while (count < limit && ((qp.sqHead + 1) & 0xffff) !== qp.sqPosted && qp.sqHead !== qp.sqPosted)",
  },
  {
    what: "a packet that comes twice is executed twice",
    file: "src/transport/packets/responder.ts",
    from: "if (ahead < 0) {",
    to: "if (ahead < -1000) {",
  },
  {
    what: "a packet that is lost is sent again from the one behind it",
    file: "src/transport/packets/retries.ts",
    from: "Math.max(0, diff24(psn, messages.psn(index)))",
    to: "Math.max(0, diff24(psn, messages.psn(index)) + 1)",
  },
  {
    what: "the packet with the end of a write need not bring all of it",
    file: "src/transport/packets/arrivals.ts",
    from: "arrived > c.length || isEnd !== (arrived === c.length)",
    to: "arrived > c.length",
  },
  {
    what: "a packet may come from any LID",
    file: "src/transport/packets/receive.ts",
    from: "qp.port === port && qp.attributes.rlid === packet.slid",
    to: "qp.port === port",
  },
  {
    what: "a read's packets after the first come from its beginning",
    file: "src/transport/packets/replies.ts",
    from: "range.skip(sent * mtu);",
    to: "",
  },
  {
    what: "compiled requests reach beyond the end of a region inside a page",
    file: "src/transport/plain/assembly/memory.ts",
    from: " || inPage + length > (bounds & END_MASK)",
    to: "",
  },
  {
    what: "compiled requests use translations of before a change",
    file: "src/transport/plain/assembly/memory.ts",
    from: "load<u32>(entry, TLB_GENERATION) !== load<u32>(owner, GENERATION) || ",
    to: "",
  },
  {
    what: "compiled requests take all pages of a long message to be in one range of memory",
    file: "src/transport/plain/assembly/walk.ts",
    from: "if (range === 0 || pfn - load<u32>(range, RANGE_FIRST) >= load<u32>(range, RANGE_PAGES)) {",
    to: "if (range === 0) {",
  },
  {
    what: "compiled requests copy whole pages beyond the range of memory found last",
    file: "src/transport/plain/assembly/walk.ts",
    from: " || toIndex >= toPages",
    to: "",
  },
  {
    what: "compiled requests write into a full completion queue",
    file: "src/transport/plain/assembly/completion.ts",
    from: "if (number - consumer >= size) return 0;",
    to: "",
  },
  {
    what: "compiled requests look for a receive behind its slot",
    file: "src/transport/plain/assembly/index.ts",
    from: "if (stride < NEXT_BYTES + SEGMENT_BYTES) return false;",
    to: "",
  },
  {
    what: "compiled requests do not hear of rights that are taken away",
    file: "src/transport/plain/words.ts",
    from: "if (this.#epoch !== epoch) this.#loadAttributes(epoch);",
    to: "if (this.#epoch === -1) this.#loadAttributes(epoch);",
  },
  {
    what: "compiled requests keep the page of a completion queue that is resized",
    file: "src/transport/plain/words.ts",
    from: "    this.set(Layout.CQ_LOG_SIZE, cq.logSize);\n    this.set(Layout.CQ_PAGE, 0);",
    to: "    this.set(Layout.CQ_LOG_SIZE, cq.logSize);",
  },
];
