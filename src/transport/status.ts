// Outcomes of the steps of a work request. Numbers, so that the hot path neither throws nor allocates.

/** Work of one WQE that moves nothing, in the bytes that take as long; keeps turns of small and large messages alike. */
export const WQE_COST_BYTES = 512;

/** Bytes of one message moved before others have a turn: about 5 µs of copying. */
export const SLICE_BYTES = 64 * 1024;

/** What became of an attempt to carry out a WQE. */
export const Outcome = {
  /** Carried out; complete it. */
  DONE: 0,
  /** A slice was moved; come back for more. */
  MORE: 1,
  /** The responder has no receive WQE (RC): wait for its RNR timer. */
  RNR: 2,
  /** Nobody answers, or not for this connection (RC): wait for the ACK timeout. */
  NO_ANSWER: 3,
  /** The request was not accepted; `Syndrome` in the QP says why. */
  ERROR: 4,
  /** The peer is reached by packets only. */
  PACKETS: 5,
  /** A lane of the fabric is full: it has its next turn when there is room. */
  HELD_BACK: 6,
} as const;
