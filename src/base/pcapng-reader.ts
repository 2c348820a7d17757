// Reads pcapng as pcapng.ts writes it: cuts a stream into whole blocks and says what each is. Any bytes may come; what makes no sense is
// an error that says where. Blocks of other kinds are passed on unread, as the draft wants (3.1).

import { BlockType, BYTE_ORDER_MAGIC, Option } from "./pcapng.ts";

/** Longest block that is believed: far more than a packet takes. */
const BLOCK_BYTES_MAX = 1 << 20;
const BLOCK_BYTES_MIN = 12;

/** Collects bytes until blocks are whole. */
export class BlockSplitter {
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of all the blocks that were whole. */
  #passed = 0;

  /**
   * The blocks that `bytes` make whole, in order.
   * @throws if the lengths are not those of blocks
   */
  push(bytes: Uint8Array): Buffer[] {
    const all = Buffer.concat([this.#rest, bytes]);
    const blocks: Buffer[] = [];
    let at = 0;
    while (all.length - at >= BLOCK_BYTES_MIN) {
      const length = all.readUInt32LE(at + 4);
      if (length < BLOCK_BYTES_MIN || length > BLOCK_BYTES_MAX || length % 4 !== 0)
        throw this.#error(at, `a length of ${length}`);
      if (all.length - at < length) break;
      if (all.readUInt32LE(at + length - 4) !== length) throw this.#error(at, "two lengths");
      blocks.push(all.subarray(at, at + length));
      at += length;
    }
    this.#rest = Buffer.from(all.subarray(at));
    this.#passed += at;
    return blocks;
  }

  /** True if a block has begun and not ended. */
  get isInBlock(): boolean {
    return this.#rest.length > 0;
  }

  #error(at: number, what: string): Error {
    return new Error(`pcapng: the block at byte ${this.#passed + at} has ${what}`);
  }
}

export type PcapngBlock =
  | { readonly kind: "section"; readonly application: string }
  | { readonly kind: "interface"; readonly linkType: number; readonly name: string; readonly description: string }
  | {
      readonly kind: "packet";
      readonly interface: number;
      readonly timeNs: bigint;
      readonly bytes: Buffer;
      readonly originalLength: number;
      readonly flags: number;
    }
  | { readonly kind: "statistics"; readonly interface: number; readonly received: number; readonly dropped: number }
  | { readonly kind: "other"; readonly type: number };

/** Reads a whole block. @throws if its body does not fit its kind */
export function decodeBlock(block: Buffer): PcapngBlock {
  const type = block.readUInt32LE(0);
  const body = block.subarray(8, block.length - 4);
  switch (type) {
    case BlockType.SECTION_HEADER:
      return decodeSection(body);
    case BlockType.INTERFACE:
      return decodeInterface(body);
    case BlockType.PACKET:
      return decodePacket(body);
    case BlockType.STATISTICS:
      return decodeStatistics(body);
    default:
      return { kind: "other", type };
  }
}

function decodeSection(body: Buffer): PcapngBlock {
  demand(body, 16);
  if (body.readUInt32LE(0) !== BYTE_ORDER_MAGIC) throw new Error("pcapng: expected a section in little-endian order");
  return { kind: "section", application: text(optionsAt(body, 16).get(Option.SECTION_APPLICATION)) };
}

function decodeInterface(body: Buffer): PcapngBlock {
  demand(body, 8);
  const options = optionsAt(body, 8);
  return {
    kind: "interface",
    linkType: body.readUInt16LE(0),
    name: text(options.get(Option.INTERFACE_NAME)),
    description: text(options.get(Option.INTERFACE_DESCRIPTION)),
  };
}

function decodePacket(body: Buffer): PcapngBlock {
  demand(body, 20);
  const length = body.readUInt32LE(12);
  const optionsStart = 20 + ((length + 3) & ~3);
  demand(body, optionsStart);
  const flags = optionsAt(body, optionsStart).get(Option.PACKET_FLAGS);
  return {
    kind: "packet",
    interface: body.readUInt32LE(0),
    timeNs: (BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8)),
    bytes: body.subarray(20, 20 + length),
    originalLength: body.readUInt32LE(16),
    flags: flags?.length === 4 ? flags.readUInt32LE(0) : 0,
  };
}

function decodeStatistics(body: Buffer): PcapngBlock {
  demand(body, 12);
  const options = optionsAt(body, 12);
  const count = (value: Buffer | undefined): number => (value?.length === 8 ? Number(value.readBigUInt64LE(0)) : 0);
  return {
    kind: "statistics",
    interface: body.readUInt32LE(0),
    received: count(options.get(Option.STATISTICS_RECEIVED)),
    dropped: count(options.get(Option.STATISTICS_DROPPED)),
  };
}

/** Options by code; of several with one code, the last. */
function optionsAt(body: Buffer, start: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = start; at + 4 <= body.length; ) {
    const code = body.readUInt16LE(at);
    const length = body.readUInt16LE(at + 2);
    if (code === Option.END) break;
    demand(body, at + 4 + length);
    found.set(code, body.subarray(at + 4, at + 4 + length));
    at += 4 + ((length + 3) & ~3);
  }
  return found;
}

function demand(body: Buffer, length: number): void {
  if (body.length < length) throw new Error(`pcapng: a block's body of ${body.length} bytes should have at least ${length}`);
}

const text = (value: Buffer | undefined): string => value?.toString() ?? "";
