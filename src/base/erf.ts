// The header that capture cards of Endace put before a packet (Extensible Record Format). pcapng has a link type of its own for InfiniBand,
// 247, but Wireshark up to at least 4.4 shows packets of that type as unknown bytes; as ERF records, it dissects them.

export const ERF_BYTES = 16;
const INFINIBAND = 21;
const NS_PER_S = 1_000_000_000n;

/** Writes the header of a record around an InfiniBand packet of `length` bytes with its CRCs. @param port 0 to 3 */
export function writeErfHeader(target: Buffer, at: number, timeNs: bigint, length: number, port: number): void {
  // Seconds in the upper half, their binary fraction in the lower one; the rest is big-endian.
  target.writeBigUInt64LE(((timeNs / NS_PER_S) << 32n) | (((timeNs % NS_PER_S) << 32n) / NS_PER_S), at);
  target[at + 8] = INFINIBAND;
  // The interface, and that records are of different lengths.
  target[at + 9] = (port & 3) | 4;
  target.writeUInt16BE(ERF_BYTES + length, at + 10);
  target.writeUInt16BE(0, at + 12);
  target.writeUInt16BE(length, at + 14);
}
