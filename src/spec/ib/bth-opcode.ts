// BTH opcodes (IBA vol 1, table 38) as data: what a packet of each opcode is and carries.

const TRANSPORT_SHIFT = 5;

/** Top three bits of the opcode. */
export const OpcodeTransport = { RC: 0, UC: 1, RD: 2, UD: 3 } as const;

/** Low five bits of the opcode, the same for every transport that has the operation. */
export const Operation = {
  SEND_FIRST: 0x00,
  SEND_MIDDLE: 0x01,
  SEND_LAST: 0x02,
  SEND_LAST_IMM: 0x03,
  SEND_ONLY: 0x04,
  SEND_ONLY_IMM: 0x05,
  WRITE_FIRST: 0x06,
  WRITE_MIDDLE: 0x07,
  WRITE_LAST: 0x08,
  WRITE_LAST_IMM: 0x09,
  WRITE_ONLY: 0x0a,
  WRITE_ONLY_IMM: 0x0b,
  READ_REQUEST: 0x0c,
  READ_RESPONSE_FIRST: 0x0d,
  READ_RESPONSE_MIDDLE: 0x0e,
  READ_RESPONSE_LAST: 0x0f,
  READ_RESPONSE_ONLY: 0x10,
  ACKNOWLEDGE: 0x11,
  ATOMIC_ACKNOWLEDGE: 0x12,
  COMPARE_SWAP: 0x13,
  FETCH_ADD: 0x14,
} as const;

/** The full opcode byte. */
export const bthOpcode = (transport: number, operation: number): number => (transport << TRANSPORT_SHIFT) | operation;

export const UD_SEND_ONLY = bthOpcode(OpcodeTransport.UD, Operation.SEND_ONLY);
export const UD_SEND_ONLY_IMM = bthOpcode(OpcodeTransport.UD, Operation.SEND_ONLY_IMM);
