// What can be said of a live HCA, as plain values: the answers of `inspect.ts`, and with them the control API's JSON. Numbers of
// objects are numbers, states and services have the names of the specification, addresses and keys are hexadecimal text. What is
// undefined here is left out of JSON.

/** A port: what the subnet manager has set, and the QPs that stand for QP0 and QP1. */
export interface PortView {
  readonly number: number;
  readonly guid: string;
  readonly state: string;
  readonly lid: number;
  readonly lmc: number;
  readonly smLid: number;
  readonly mtuBytes: number;
  /** P_Keys and GIDs that are set, with their index. */
  readonly pkeys: readonly { readonly index: number; readonly pkey: string }[];
  readonly gids: readonly { readonly index: number; readonly gid: string }[];
  /** Internal numbers of the special QPs; undefined until CONF_SPECIAL_QP. */
  readonly smiQpn: number | undefined;
  readonly gsiQpn: number | undefined;
  readonly counters: Record<string, number>;
}

/** Table sizes of INIT_HCA. */
export interface ProfileView {
  readonly qps: number;
  readonly cqs: number;
  readonly srqs: number;
  readonly regions: number;
  readonly multicastEntries: number;
  readonly multicastHashEntries: number;
  readonly uars: number;
  readonly uarContextBytes: number;
  readonly checksAvPort: boolean;
}

export interface EqView {
  readonly number: number;
  readonly size: number;
  readonly producer: number;
  readonly consumer: number;
  /** EQEs kept back because the queue is full. */
  readonly pending: number;
  readonly isArmed: boolean;
  /** MSI-X vector; undefined: the INTx line. */
  readonly vector: number | undefined;
}

/** Everything of an HCA but its many objects. */
export interface DeviceView {
  readonly firmware: string;
  readonly pciId: string;
  readonly systemState: string;
  readonly profile: ProfileView | undefined;
  readonly ports: PortView[];
  readonly icmPages: number;
  /** Bytes in all regions that translate. */
  readonly registeredBytes: number;
  readonly eqs: EqView[];
  /** QPs that have work, and QPs that wait or still flush. */
  readonly scheduling: { readonly hasActive: boolean; readonly waiting: number };
  readonly counters: Record<string, number>;
  readonly errors: Record<string, number>;
}

/** A ring of work requests: `head` counts those that were fetched, `posted` those that were not, modulo 2^16. */
export interface RingView {
  readonly size: number;
  readonly head: number;
  readonly posted: number;
}

export interface QpView {
  readonly number: number;
  /** "SMI" or "GSI" for the QPs that stand for QP0 and QP1. */
  readonly special: string | undefined;
  readonly service: string;
  readonly state: string;
  readonly port: number;
  readonly pd: number;
  readonly uar: number;
  readonly sendCq: number;
  readonly receiveCq: number;
  readonly srq: number | undefined;
  /** The other end of a connection; undefined for datagram services and before RTR. */
  readonly remote: { readonly qpn: number; readonly lid: number } | undefined;
  readonly send: RingView;
  /** Undefined for a QP that takes its receives from an SRQ. */
  readonly receive: RingView | undefined;
  readonly sendPsn: number;
  readonly receivePsn: number;
  /** Retries left of a requester; connected services only. */
  readonly retriesLeft: number | "no limit" | undefined;
  readonly rnrRetriesLeft: number | "no limit" | undefined;
  /** Name of `Waiting`: NO, RNR (a receive WQE at the peer) or NO_ANSWER. */
  readonly waitsFor: string;
  /** Until the next try; undefined if it waits for nothing. */
  readonly waitsNs: number | undefined;
  readonly isActive: boolean;
}

/** A data segment, and what its key is worth now: undefined if the bytes can be reached. */
export interface SegmentView {
  readonly address: string;
  readonly lkey: string;
  readonly length: number;
  readonly problem: string | undefined;
}

export interface WqeView {
  /** Position in the queue, modulo 2^16. */
  readonly index: number;
  /** MR offset, as its completion names it. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Send queues only. */
  readonly opcode: string | undefined;
  readonly flags: string[];
  readonly immediate: string | undefined;
  readonly remote: { readonly address: string; readonly rkey: string } | undefined;
  readonly atomic: { readonly swapAdd: string; readonly compare: string } | undefined;
  /** Address vector, destination QP and Q_Key of a UD send. */
  readonly datagram: Record<string, number | string> | undefined;
  /** Control of a management send (MLX). */
  readonly management: Record<string, number | string> | undefined;
  readonly inlineBytes: number | undefined;
  readonly segments: SegmentView[];
  /** Why it cannot be read or would not be carried out. */
  readonly problem: string | undefined;
}

/** The QP at the other end of a connection. */
export interface PeerView {
  readonly hca: string;
  readonly number: number;
  readonly service: string;
  readonly state: string;
  readonly receivePsn: number;
}

export interface QpDetails extends QpView {
  /** The context as its driver's transitions have filled it in. */
  readonly context: Record<string, number | string>;
  readonly primaryPath: Record<string, number | string>;
  readonly alternatePath: Record<string, number | string>;
  readonly live: {
    readonly migration: string;
    readonly messages: number;
    readonly isReceiving: boolean;
    readonly isTransferring: boolean;
    readonly receiveOffset: number;
  };
  /** The WQE that is being carried out. */
  readonly inHand:
    | { readonly opcode: string; readonly offset: number; readonly doneBytes: number; readonly totalBytes: number }
    | undefined;
  readonly sends: WqeView[];
  readonly receives: WqeView[];
  readonly peer: PeerView | undefined;
  /** Why requests would not be accepted at the other end now. */
  readonly peerProblem: string | undefined;
}

export interface CqView {
  readonly number: number;
  readonly size: number;
  readonly producer: number;
  readonly consumer: number;
  /** Name of `CqArm`. */
  readonly armed: string;
  readonly eq: number;
  readonly uar: number;
  readonly pd: number;
  readonly isBroken: boolean;
  /** How often QPs name it: one whose sends and receives complete here does so twice. */
  readonly users: number;
}

export interface CqeView {
  readonly index: number;
  /** False: the driver has not taken it yet. */
  readonly isTaken: boolean;
  readonly qpn: number;
  readonly isSend: boolean;
  readonly opcode: string;
  /** Name of `Syndrome` for an error completion. */
  readonly syndrome: string | undefined;
  readonly byteCount: number;
  readonly immediate: string;
  readonly wqe: string;
  readonly remoteQpn: number;
  readonly remoteLid: number;
}

export interface CqDetails extends CqView {
  /** Numbers of the first QPs that complete here, at most 64. */
  readonly qps: number[];
  /** The latest CQEs, oldest first; fewer if the buffer is not mapped. */
  readonly entries: CqeView[];
  readonly problem: string | undefined;
}

export interface SrqView {
  readonly number: number;
  readonly size: number;
  readonly posted: number;
  /** WQEs taken so far, modulo 2^16. */
  readonly taken: number;
  readonly limit: number;
  readonly pd: number;
  readonly uar: number;
  readonly isBroken: boolean;
  readonly users: number;
}

export interface SrqDetails extends SrqView {
  readonly qps: number[];
  readonly lkey: string;
  readonly receives: WqeView[];
}

export interface RegionView {
  /** lkey and rkey as the guest writes them. */
  readonly key: string;
  readonly pd: number;
  readonly start: string;
  /** Bytes; 2^64 for "everything". */
  readonly length: number;
  readonly pageBytes: number;
  readonly access: string[];
  readonly isPhysical: boolean;
  readonly mttAddress: string | undefined;
}

export interface RegionDetails extends RegionView {
  readonly index: number;
  /** The first pages: where each lies in guest memory, or "not mapped". */
  readonly pages: { readonly offset: number; readonly dmaAddress: string; readonly problem: string | undefined }[];
}

export interface GroupView {
  readonly index: number;
  readonly mgid: string;
  readonly qps: number[];
}

/** Objects that there may be many of. */
export interface ObjectViews {
  readonly qps: QpView;
  readonly cqs: CqView;
  readonly srqs: SrqView;
  readonly regions: RegionView;
  readonly groups: GroupView;
}
export type ListKind = keyof ObjectViews;

/** One object with all that can be said of it. */
export interface ObjectDetails {
  readonly qp: QpDetails;
  readonly cq: CqDetails;
  readonly srq: SrqDetails;
  readonly region: RegionDetails;
}
export type ObjectKind = keyof ObjectDetails;
