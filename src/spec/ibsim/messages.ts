// Datagrams between ibsim 0.12 and the programs that its preload library libumad2sim attaches (linux-rdma/ibsim, include/ibsim.h and
// umad2sim/sim_client.c). Structures of C in the host's byte order, which is little-endian on every machine this program supports;
// what the library copies out of a struct ib_user_mad keeps that one's network order.

import { be16, be32, bytes, half64, layout, le16, le32, leHalf64 } from "../../base/layout.ts";

/** Value of `Control.magic`. */
export const IBSIM_MAGIC = 0xdeadbeef;
export const CONTROL_DATA_AT = 16;
export const CONTROL_DATA_BYTES = 64;

/** Request and reply on the control socket, equally long. */
export const Control = layout("ibsim control", CONTROL_DATA_AT + CONTROL_DATA_BYTES, {
  magic: le32(0),
  /** Slot of the client, from the reply to its CONNECT. */
  client: le32(4),
  /** A `ControlType`; ERROR in a reply that says no. */
  type: le32(8),
  /** Bytes of `data` that mean something. */
  length: le32(12),
  data: bytes(CONTROL_DATA_AT, CONTROL_DATA_BYTES),
});

export const ControlType = {
  ERROR: 0,
  CONNECT: 1,
  DISCONNECT: 2,
  GET_PORT: 3,
  GET_VENDOR: 4,
  GET_GID: 5,
  GET_GUID: 6,
  GET_NODE_INFO: 7,
  GET_PORT_INFO: 8,
  SET_IS_SM: 9,
  GET_P_KEYS: 10,
} as const;

export const NODE_NAME_BYTES = 32;

/** Data of CONNECT. */
export const Connect = layout("ibsim CONNECT", 12 + NODE_NAME_BYTES, {
  /** What the client's own socket is named after, its process number; in the reply, its slot. */
  id: le32(0),
  qp: le32(4),
  isSm: le32(8),
  /** NUL-terminated; empty: any node. In the reply, the node it got. */
  nodeName: bytes(12, NODE_NAME_BYTES),
});

/** Data of the reply to GET_PORT. */
export const PortView = layout("ibsim GET_PORT", 4, { lid: le16(0), state: bytes(2, 1) });

/** Data of the reply to GET_VENDOR. */
export const Vendor = layout("ibsim GET_VENDOR", 24, {
  vendorId: le32(0),
  deviceId: le32(4),
  revision: le32(8),
  firmware: leHalf64(16),
});

/** Data of the replies to GET_GID and GET_GUID: the GUID is the host's number, not the wire's. */
export const GidView = layout("ibsim GET_GID", 16, { prefix: half64(0), guid: leHalf64(8) });
export const GuidView = layout("ibsim GET_GUID", 8, { guid: leHalf64(0) });

/** Data of SET_IS_SM. */
export const SetIsSm = layout("ibsim SET_IS_SM", 4, { isSm: le32(0) });

export const DATAGRAM_MAD_AT = 32;

/** A MAD on a data socket, either way (struct sim_request). */
export const MadDatagram = layout("ibsim MAD", DATAGRAM_MAD_AT + 256, {
  /** 16 bits in the first half of a word. */
  dlid: be16(0),
  /** 0: that of the client's port. */
  slid: be16(4),
  destQp: be32(8),
  srcQp: be32(12),
  /** 0, or an errno: ETIMEDOUT where a request comes back because nobody has answered. */
  status: be32(16),
  length: half64(24),
});

/** errno ETIMEDOUT, as `MadDatagram.status`. */
export const TIMED_OUT = 110;

/** The names of the sockets, all of them abstract (unix(7)); `base` is "sim" unless somebody has chosen another. */
export const SocketName = {
  /** Where the server takes control messages. */
  control: (base: string): string => `${base}:ctl`,
  /** Where it takes the MADs of the client in `slot`. */
  data: (base: string, slot: number): string => `${base}:out${slot}`,
  /** Where the client with this id takes MADs. */
  clientData: (base: string, id: number): string => `${base}:in${id}`,
} as const;

export const DEFAULT_BASE_NAME = "sim";
