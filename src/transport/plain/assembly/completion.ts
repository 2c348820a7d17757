// Completion queue entries. Docs "infinihost" 5.6, 5.7.

import {
  CQ_CI_RECORD,
  CQ_CONSUMER,
  CQ_IS_HELD,
  CQ_LAST_SOLICITED,
  CQ_LKEY,
  CQ_LOG_SIZE,
  CQ_PAGE,
  CQ_PRODUCER,
  CQ_START_HI,
  CQ_START_LO,
} from "../layout.ts";
import { findInRing, record } from "./memory.ts";

const CQE_SHIFT: u32 = 5;
const CQE_BYTES: u32 = 1 << CQE_SHIFT;
const WORD_MASK: u32 = 3;
const LOCAL_WRITE: u32 = 1 << 11;

/** Where in the window the entry goes that is written `ahead` entries from now; 0 if writing it would not be plain. */
export function nextEntry(cq: u32, ahead: u32): u32 {
  if (load<u32>(cq, CQ_IS_HELD) !== 0) return 0;
  const size: u32 = (<u32>1) << load<u32>(cq, CQ_LOG_SIZE);
  const number = load<u32>(cq, CQ_PRODUCER) + ahead;
  // The consumer index is read again only when the last one seen says "full".
  if (number - load<u32>(cq, CQ_CONSUMER) >= size) {
    const ciRecord = load<u32>(cq, CQ_CI_RECORD);
    if (ciRecord === 0) return 0;
    const consumer = record(ciRecord);
    store<u32>(cq, consumer, CQ_CONSUMER);
    if (number - consumer >= size) return 0;
  }
  const start = load<u32>(cq, CQ_START_LO);
  // Words are stored as a whole where they are aligned only.
  if ((start & WORD_MASK) !== 0) return 0;
  const lo = start + ((number & (size - 1)) << CQE_SHIFT);
  const hi = load<u32>(cq, CQ_START_HI) + u32(lo < start);
  return findInRing(cq + CQ_PAGE, cq, load<u32>(cq, CQ_LKEY), LOCAL_WRITE, hi, lo, CQE_BYTES);
}

/** Fills the entry at `at` and hands it over: the dword with the owner byte goes last (P-27). */
export function complete(cq: u32, at: u32, qpn: u32, byteCount: u32, wqe: u32, lastWord: u32): void {
  store<u32>(at, bswap<u32>(qpn));
  store<u32>(at, 0, 4);
  store<u64>(at, 0, 8);
  store<u32>(at, 0, 16);
  store<u32>(at, bswap<u32>(byteCount), 20);
  store<u32>(at, bswap<u32>(wqe), 24);
  atomic.store<u32>(at, lastWord, 28);
  store<u32>(cq, load<u32>(cq, CQ_PRODUCER) + 1, CQ_PRODUCER);
}

/** The entry written last counts for those who wait for solicited ones. */
export function noteSolicited(cq: u32): void {
  store<u32>(cq, load<u32>(cq, CQ_PRODUCER), CQ_LAST_SOLICITED);
}
