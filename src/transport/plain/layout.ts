// What the compiled requests (assembly/) and the rest of the transport share: tables of 32-bit words in the window, by byte offset.
// This file is part of both programs, so it has nothing but whole numbers in it.

/** A page that a key opens (translation-cache.ts). */
export const TLB_ENTRIES = 1024;
export const LOG_TLB_ENTRY_BYTES = 5;
export const TLB_KEY = 0;
export const TLB_HI = 4;
export const TLB_PAGE = 8;
/** Protection domain and access in one word. */
export const TLB_RIGHTS = 12;
/** Where in its memory the page begins, and where in the window: 0 if it does not lie there. */
export const TLB_AT = 16;
export const TLB_WINDOW = 20;
/** Where in the page the region begins (upper half) and ends (lower half). */
export const TLB_BOUNDS = 24;
export const TLB_GENERATION = 28;

// ---- an HCA, behind its table of known pages ---------------------------------------------------------------------------------

/** Regions by key, as far as they have been asked for. */
export const HCA_REGIONS = 32768;
export const REGION_ENTRIES = 64;
export const LOG_REGION_BYTES = 5;
export const REGION_KEY = 0;
/** Protection domain and granted access in one word. */
export const REGION_RIGHTS = 4;
/** First address and length, 64 bits each, low word first. */
export const REGION_START = 8;
export const REGION_LENGTH = 16;
/** Number of its first entry in the translation table (MTT). */
export const REGION_MTT = 24;
/** 0: no entry. */
export const REGION_LOG_PAGE = 28;
/** Pages of the translation table by their number, plus 1, in ICM, and where in the window they are. */
export const HCA_MTT_PAGES = 34816;
export const MTT_PAGE_ENTRIES = 256;
export const LOG_MTT_PAGE_BYTES = 3;
export const MTT_PAGE_NUMBER = 0;
export const MTT_PAGE_WINDOW = 4;
/** The largest ranges of guest memory: first page frame, pages, where in the window they are, whether they may be written. */
export const HCA_RANGES = 36864;
export const RANGE_ENTRIES = 15;
export const LOG_RANGE_BYTES = 4;
export const RANGE_FIRST = 0;
export const RANGE_PAGES = 4;
export const RANGE_WINDOW = 8;
export const RANGE_IS_WRITABLE = 12;
/** Bytes of all that. */
export const HCA_BYTES = 40960;

/** Words of a queue pair or of a completion queue, in bytes. */
export const QUEUE_BYTES = 256;
/** The first words of both are the same: whose memory their addresses mean. */
export const TLB = 0;
export const GENERATION = 4;
/** Number of the HCA's region table among those that `translate` knows. */
export const TABLE = 8;
export const PD = 12;

// ---- a queue pair ------------------------------------------------------------------------------------------------------------

/** 0 if messages to it would not be plain now. */
export const PEER = 16;
export const QP_NUMBER = 20;
export const WQE_LKEY = 24;
export const WQE_BASE_HI = 28;
export const SEND_CQ = 32;
export const RECEIVE_CQ = 36;
export const FLAGS = 40;
export const FLAG_SIGNAL_ALL = 1;
export const FLAG_SENDS_WRITES = 2;
export const FLAG_ALLOWS_REMOTE_WRITE = 4;
export const FLAG_HAS_SRQ = 8;
/** Longest message that the queue pair may send, and the path's MTU. */
export const MOST_BYTES = 44;
export const LOG_MTU = 48;
/** Where in the window its doorbell records are; 0 if they are not. */
export const SQ_RECORD = 52;
export const RQ_RECORD = 56;
export const SQ_BASE = 60;
export const LOG_SQ_SIZE = 64;
export const LOG_SQ_STRIDE = 68;
export const RQ_BASE = 72;
export const LOG_RQ_SIZE = 76;
export const LOG_RQ_STRIDE = 80;
/** WQEs carried out, and posted as far as known, modulo 2^16. */
export const SQ_HEAD = 84;
export const SQ_POSTED = 88;
export const RQ_HEAD = 92;
// What has been done since these words were last 0.
export const MESSAGES = 96;
export const SENDS = 100;
export const BYTES = 104;
export const DATA_WORDS = 108;
export const PACKETS = 112;
export const SEND_COMPLETIONS = 116;
/** 1: the WQE at its head has been found not to be plain. */
export const IS_STUCK = 120;
/** Bytes of the message at its head that have been moved. */
export const DONE = 124;

/** Pages of its rings found last: number, plus 1, and where in the window. */
export const SQ_PAGE = 128;
export const RQ_PAGE = 136;

// ---- a completion queue ------------------------------------------------------------------------------------------------------

export const CQ_LKEY = 16;
export const CQ_START_HI = 20;
export const CQ_START_LO = 24;
export const CQ_LOG_SIZE = 28;
/** CQEs written, and taken as far as known; 32 bits. */
export const CQ_PRODUCER = 32;
export const CQ_CONSUMER = 36;
export const CQ_CI_RECORD = 40;
/** Not 0: somebody wants to be told of the next entry, or the queue is broken, and writing it is not plain. */
export const CQ_IS_HELD = 44;
export const CQ_LAST_SOLICITED = 48;
/** As `SQ_PAGE`. */
export const CQ_PAGE = 56;

// ---- answers of `run` and `spin` ---------------------------------------------------------------------------------------------

/** The WQE at the head is not plain. */
export const NOT_PLAIN = -1;
/** What a WQE costs besides its bytes (status.ts). */
export const WQE_COST = 512;
