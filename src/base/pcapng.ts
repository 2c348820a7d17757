// Capture files as packet tools read them: pcapng, of which these are the blocks a live capture needs. Internet draft
// draft-ietf-opsawg-pcapng, sections 3 (blocks, options), 4.1 (section), 4.2 (interface), 4.3 (packet), 4.6 (statistics).
//
//   block:   type, total length, body, padding to 4 bytes, total length again
//   option:  code (16 bits), length (16 bits), value, padding to 4 bytes; code 0 ends a list
//
// Everything is little-endian, which the section header's byte-order magic says.

export const BlockType = { SECTION_HEADER: 0x0a0d0d0a, INTERFACE: 1, STATISTICS: 5, PACKET: 6 } as const;
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Link types of interfaces (the registry of the pcap link types): ERF records (erf.ts); bare InfiniBand packets from the LRH to the VCRC. */
export const LinkType = { ERF: 197, INFINIBAND: 247 } as const;
/** Direction of a packet, in its flags. */
export const Direction = { RECEIVED: 1, SENT: 2 } as const;

/** Options, each valid in one kind of block. */
export const Option = {
  END: 0,
  SECTION_APPLICATION: 4,
  INTERFACE_NAME: 2,
  INTERFACE_DESCRIPTION: 3,
  INTERFACE_TIME_RESOLUTION: 9,
  PACKET_FLAGS: 2,
  STATISTICS_RECEIVED: 4,
  STATISTICS_DROPPED: 5,
} as const;

const MAJOR_VERSION = 1;
/** A section whose length is not known. */
const NO_LENGTH = -1n;
/** Timestamps count units of 10^-9 s. */
const NANOSECONDS = 9;
/** Type, total length, total length again. */
const BLOCK_BYTES = 12;
const OPTION_HEAD_BYTES = 4;
/** Interface, timestamp, both lengths. */
const PACKET_FIELDS_BYTES = 20;
const PACKET_OPTIONS_BYTES = 12;

const padded = (bytes: number): number => (bytes + 3) & ~3;

/** Begins a file: everything up to the next section header belongs to this section. */
export function sectionHeader(application: string): Buffer {
  const fields = Buffer.alloc(16);
  fields.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  fields.writeUInt16LE(MAJOR_VERSION, 4);
  fields.writeBigInt64LE(NO_LENGTH, 8);
  return block(BlockType.SECTION_HEADER, [fields, option(Option.SECTION_APPLICATION, Buffer.from(application)), END]);
}

/** Describes an interface; the first of a section is number 0, the next 1. Its timestamps are nanoseconds, its packets whole. */
export function interfaceDescription(linkType: number, name: string, description: string): Buffer {
  const fields = Buffer.alloc(8);
  fields.writeUInt16LE(linkType, 0);
  return block(BlockType.INTERFACE, [
    fields,
    option(Option.INTERFACE_NAME, Buffer.from(name)),
    option(Option.INTERFACE_DESCRIPTION, Buffer.from(description)),
    option(Option.INTERFACE_TIME_RESOLUTION, Buffer.of(NANOSECONDS)),
    END,
  ]);
}

/** What an interface has counted by `timeNs` since the epoch: packets it saw, and those that are missing in the file. */
export function interfaceStatistics(id: number, timeNs: bigint, received: number, dropped: number): Buffer {
  const fields = Buffer.alloc(12);
  fields.writeUInt32LE(id, 0);
  writeTime(fields, 4, timeNs);
  return block(BlockType.STATISTICS, [
    fields,
    option(Option.STATISTICS_RECEIVED, counter(received)),
    option(Option.STATISTICS_DROPPED, counter(dropped)),
    END,
  ]);
}

/** Bytes of the block of a packet of `length` bytes. */
export const packetBlockBytes = (length: number): number =>
  BLOCK_BYTES + PACKET_FIELDS_BYTES + padded(length) + PACKET_OPTIONS_BYTES;

/** Where the bytes of a packet lie in a block that begins at `at`. */
export const packetDataAt = (at: number): number => at + 8 + PACKET_FIELDS_BYTES;

/**
 * Writes a packet's block around its `length` bytes, which lie at `packetDataAt(at)` already.
 * @param direction a `Direction`
 * @returns where the block ends
 */
export function writePacketBlock(
  target: Buffer,
  at: number,
  id: number,
  timeNs: bigint,
  length: number,
  direction: number,
): number {
  const total = packetBlockBytes(length);
  target.writeUInt32LE(BlockType.PACKET, at);
  target.writeUInt32LE(total, at + 4);
  target.writeUInt32LE(id, at + 8);
  writeTime(target, at + 12, timeNs);
  target.writeUInt32LE(length, at + 20);
  target.writeUInt32LE(length, at + 24);
  const dataEnd = packetDataAt(at) + length;
  const options = packetDataAt(at) + padded(length);
  for (let i = dataEnd; i < options; i++) target[i] = 0;
  target.writeUInt16LE(Option.PACKET_FLAGS, options);
  target.writeUInt16LE(4, options + 2);
  target.writeUInt32LE(direction, options + 4);
  target.writeUInt32LE(Option.END, options + 8);
  target.writeUInt32LE(total, at + total - 4);
  return at + total;
}

const END = Buffer.alloc(OPTION_HEAD_BYTES);

function block(type: number, parts: readonly Buffer[]): Buffer {
  const total = BLOCK_BYTES + parts.reduce((sum, part) => sum + part.length, 0);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(total, 4);
  return Buffer.concat([head, ...parts, head.subarray(4)]);
}

function option(code: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(OPTION_HEAD_BYTES + padded(value.length));
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt16LE(value.length, 2);
  value.copy(bytes, OPTION_HEAD_BYTES);
  return bytes;
}

function counter(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** The upper half of a timestamp comes first, whatever the byte order. */
function writeTime(target: Buffer, at: number, timeNs: bigint): void {
  target.writeUInt32LE(Number(timeNs >> 32n), at);
  target.writeUInt32LE(Number(timeNs & 0xffffffffn), at + 4);
}
