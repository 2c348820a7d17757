// A capture that runs: what the engines have put into their rings becomes blocks of a pcapng file, in the order of time, with the CRCs that
// packets have on a wire.

import { setTimeout } from "node:timers/promises";
import { ERF_BYTES, writeErfHeader } from "../base/erf.ts";
import {
  Direction,
  interfaceDescription,
  interfaceStatistics,
  LinkType,
  packetBlockBytes,
  packetDataAt,
  sectionHeader,
  writePacketBlock,
} from "../base/pcapng.ts";
import { CRC_BYTES, writeCrcs } from "../transport/packets/crc.ts";
import type { PacketRing } from "../transport/packets/ring.ts";
import { CaptureCount, COUNTS_PER_INTERFACE, newCaptureRing, openCaptureRing, TIME_BYTES } from "./capture-buffer.ts";
import type { EngineHandle } from "./engine-handle.ts";

/** Between two looks at rings in which there was nothing. */
const REST_MS = 5;
const CHUNK_BYTES = 256 * 1024;

const NOTHING = Buffer.alloc(0);

/** An interface of the file, in the order of their numbers. */
export interface CaptureInterface {
  readonly name: string;
  readonly description: string;
  readonly engine: EngineHandle;
}

/** An engine's ring, and what has to be added to its times to get nanoseconds since the epoch. */
interface Source {
  readonly engine: EngineHandle;
  readonly memory: SharedArrayBuffer;
  readonly ring: PacketRing;
  originNs: bigint;
}

export class Capture {
  readonly #interfaces: readonly CaptureInterface[];
  readonly #application: string;
  readonly #counts: SharedArrayBuffer;
  readonly #sources: Source[];
  readonly #reported: number[];
  #stopping: Promise<void> | undefined;
  #isStopped = false;

  constructor(interfaces: readonly CaptureInterface[], application: string) {
    this.#interfaces = interfaces;
    this.#application = application;
    this.#counts = new SharedArrayBuffer(Math.max(1, interfaces.length) * COUNTS_PER_INTERFACE * 8);
    this.#reported = interfaces.map(() => 0);
    this.#sources = [...new Set(interfaces.map(({ engine }) => engine))].map((engine) => {
      const memory = newCaptureRing();
      return { engine, memory, ring: openCaptureRing(memory), originNs: 0n };
    });
  }

  /** Lets the engines begin. @throws what one of them says; the others have stopped again then */
  async start(): Promise<void> {
    const wallNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    try {
      for (const source of this.#sources) {
        const interfaces = this.#interfaces.flatMap(({ engine, name }, id) => (engine === source.engine ? [{ name, id }] : []));
        const capture = { interfaces, ring: source.memory, counts: this.#counts };
        source.originNs = wallNs + (await source.engine.ask<bigint>({ method: "startCapture", capture }));
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends it: `chunks` then hands out what is there and ends. */
  stop(): Promise<void> {
    this.#stopping ??= Promise.allSettled(this.#sources.map(({ engine }) => engine.ask({ method: "stopCapture" }))).then(() => {
      this.#isStopped = true;
    });
    return this.#stopping;
  }

  /** The file, in pieces of whole blocks. */
  async *chunks(): AsyncGenerator<Buffer> {
    const interfaces = this.#interfaces.map(({ name, description }) => interfaceDescription(LinkType.ERF, name, description));
    yield Buffer.concat([sectionHeader(this.#application), ...interfaces]);
    for (;;) {
      // In this order: what comes after this look is taken by the next.
      const isLast = this.#isStopped;
      const packets = this.#takePackets();
      const statistics = this.#statistics(false);
      if (packets.length > 0) yield packets;
      if (statistics.length > 0) yield statistics;
      if (packets.length > 0) continue;
      if (isLast) break;
      await setTimeout(REST_MS);
    }
    yield this.#statistics(true);
  }

  /** Blocks of packets that wait, as many as a piece holds. */
  #takePackets(): Buffer {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let at = 0;
    for (let source = this.#oldest(); source !== undefined; source = this.#oldest()) {
      const { ring, originNs } = source;
      const length = ring.length - TIME_BYTES;
      const recordBytes = ERF_BYTES + length + CRC_BYTES;
      if (at + packetBlockBytes(recordBytes) > CHUNK_BYTES) break;
      const dataAt = packetDataAt(at) + ERF_BYTES;
      ring.memory.bytes.copy(chunk, dataAt, ring.at + TIME_BYTES, ring.at + ring.length);
      writeCrcs(chunk, dataAt, length);
      const timeNs = originNs + BigInt(ring.memory.view.getFloat64(ring.at, true));
      const direction = (ring.tag & 1) === 1 ? Direction.SENT : Direction.RECEIVED;
      writeErfHeader(chunk, packetDataAt(at), timeNs, length + CRC_BYTES, ring.tag >>> 1);
      at = writePacketBlock(chunk, at, ring.tag >>> 1, timeNs, recordBytes, direction);
      ring.release();
    }
    return chunk.subarray(0, at);
  }

  /** The engine whose next packet is the oldest of all that wait. */
  #oldest(): Source | undefined {
    let oldest: Source | undefined;
    let oldestNs = 0n;
    for (const source of this.#sources) {
      if (!source.ring.take()) continue;
      if (this.#sources.length === 1) return source;
      const timeNs = source.originNs + BigInt(source.ring.memory.view.getFloat64(source.ring.at, true));
      if (oldest !== undefined && timeNs >= oldestNs) continue;
      [oldest, oldestNs] = [source, timeNs];
    }
    return oldest;
  }

  /** What has been dropped since this was last said; of all interfaces at the end. */
  #statistics(isEnd: boolean): Buffer {
    const counts = new Float64Array(this.#counts);
    const blocks: Buffer[] = [];
    if (!isEnd && this.#reported.every((count, id) => count === counts[id * COUNTS_PER_INTERFACE + CaptureCount.DROPPED]))
      return NOTHING;
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    for (const id of this.#interfaces.keys()) {
      const dropped = counts[id * COUNTS_PER_INTERFACE + CaptureCount.DROPPED]!;
      if (!isEnd && dropped === this.#reported[id]) continue;
      this.#reported[id] = dropped;
      blocks.push(interfaceStatistics(id, nowNs, counts[id * COUNTS_PER_INTERFACE + CaptureCount.SEEN]!, dropped));
    }
    return Buffer.concat(blocks);
  }
}
