// Between an end port of the fabric and a software agent behind it (the subnet manager, later others): the two rooms do not
// import each other, both know these interfaces.

/** What an agent can do with its port. */
export interface ManagementPort {
  readonly guid: bigint;
  /** Base LID; 0 until a subnet manager has set it. */
  readonly lid: number;
  /** Sends a MAD packet as this port; a directed-route SMP with hop pointer 0 begins its route here. Never answers at once. */
  send(packet: Uint8Array): void;
  /** Says in PortInfo.CapabilityMask whether a subnet manager is behind the port (IBA vol 1, 14.2.5.6, IsSM). */
  setIsSm(isSm: boolean): void;
}

/** An agent that receives what a port's own SMA and PMA do not execute. */
export interface ManagementEndpoint {
  /** A MAD packet for this port; valid during the call only. */
  receive(packet: Uint8Array, nowNs: number): void;
  /** Does what time has made due. */
  step(nowNs: number): void;
  /** When `step` next has something to do; Infinity if nothing is pending. */
  nextDeadlineNs(): number;
}

/** Makes an endpoint for a port; this is how the fabric gets a subnet manager without knowing one. */
export type EndpointFactory = (port: ManagementPort) => ManagementEndpoint;
