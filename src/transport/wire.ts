// What an HCA port asks of the fabric behind it, and what the fabric tells the HCA. The two rooms do not import each
// other: the fabric's CA port has this shape, and the domain plugs one into the other.

/** The fabric side of one HCA port. Owned by the fabric; every field is read-only for the HCA. */
export interface Wire {
  /** Dense number of this end port in its fabric; `resolve` answers in these numbers. */
  readonly index: number;
  /** PortInfo as the subnet manager has set it. */
  readonly lid: number;
  readonly lmc: number;
  readonly smLid: number;
  /** Logical state, `PortState`. */
  readonly state: number;
  /** Neighbour MTU code in force on the link. */
  readonly mtuCode: number;
  /** P_Key table; index 0 is the default partition. */
  readonly pkeys: Uint16Array;
  /** The same, with 0 for those that the switch at the other end of the cable lets nothing pass with. */
  readonly usablePkeys: Uint16Array;
  /** GID table as 16-byte entries, `gidCount` of them; unset entries are zero. */
  readonly gids: Uint8Array;
  readonly gidCount: number;
  /** Slots of `PortCounter`. */
  readonly counters: Float64Array;
  /** Data by service level, in slots of spec/ib/port-counters.ts. */
  readonly slData: Float64Array;
  /** Changes whenever an answer of `resolve` or `resolveMulticast` may have become wrong. */
  readonly epoch: number;

  /** End port that a packet to unicast `dlid` sent here would reach, a lane of the network (-2 and below) if it leaves this engine, or -1. Must not allocate. */
  resolve(dlid: number): number;
  /**
   * End ports that a multicast packet to `dlid` sent here would reach (never this port itself), written to `out`; returns how
   * many, at most `out.length`.
   */
  resolveMulticast(dlid: number, out: Int32Array): number;
  /** True if some cable of the fabric has faults: only then the next three have something to say. */
  readonly hasFaultyFabric: boolean;
  /** Whether a cable on the way to unicast `dlid` loses, corrupts or delays packets. Must not allocate. */
  crossesFaults(dlid: number): boolean;
  /**
   * Sends a packet of data of `words` of 4 bytes through the cables on that way: the nanoseconds that it takes, or -1 if it is lost or the way has
   * gone. Must not allocate.
   */
  passFaults(dlid: number, sl: number, words: number): number;
  /** True if switches count packets to `dlid` one by one: in lanes, and where some cable has faults if it does not leave this engine. */
  countsHops(dlid: number): boolean;
  /** Packets go to `dlid` and nothing on the way can happen to them: switches are to count them. Must not allocate. */
  countPath(dlid: number, sl: number, words: number, packets: number): void;
  /**
   * As `resolveMulticast`, but only those that a packet of `words` of 4 bytes reaches that is sent now, with the time that it takes to each. Must not
   * allocate.
   */
  passFaultsToGroup(dlid: number, sl: number, words: number, out: Int32Array, delaysNs: Float64Array): number;
  /** Sends a management packet: LRH … payload, without ICRC and VCRC. The fabric keeps no reference to `packet`. */
  transmit(packet: Uint8Array): void;

  /** INIT_IB: the link trains and goes to INIT. */
  enable(): void;
  /** CLOSE_IB or device reset: the port goes down and forgets what the subnet manager set. */
  disable(): void;
  /** SET_IB: a new PortInfo.CapabilityMask. */
  setCapabilityMask(mask: number): void;
  /** SET_IB: resets the Q_Key violation counter. */
  resetQkeyViolations(): void;
  /** Counts a Q_Key or P_Key violation seen by a QP of this port. */
  countQkeyViolation(): void;
  countPkeyViolation(): void;
  /**
   * MAD_IFC: the port's own agents (SMA, PMA) execute the 256-byte MAD in `request` and write a whole 256-byte response.
   * @returns false if no agent handles it (the command answers "bad management packet").
   */
  processMad(request: Uint8Array, response: Uint8Array, context: MadContext): boolean;
}

/** What MAD_IFC knows about how the MAD came (infinihost 6.3). */
export interface MadContext {
  /** Source LID; 0 when the driver itself asks. */
  readonly slid: number;
  readonly ignoreMkey: boolean;
}

/** The HCA side of one port: what the fabric calls. */
export interface WireClient {
  /** A management packet for this port: LRH … payload, without CRCs; valid during the call only. */
  receive(packet: Uint8Array): void;
  /** The logical state became ACTIVE (true) or the link went down (false). */
  portStateChanged(active: boolean): void;
}
