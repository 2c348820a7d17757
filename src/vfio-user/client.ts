// A vfio-user client: what a VMM does, for drivers in user space and for tests. Calls block until the reply is there or the
// time is up.

import type { Memory } from "../base/bytes.ts";
import { NS_PER_MS } from "../base/clock.ts";
import { nameOf } from "../base/names.ts";
import { systemClock } from "../host/clock.ts";
import { PollEvent, waitFor } from "../host/poller.ts";
import { type SharedMemory, SharedMemoryRegistry } from "../host/shared-memory.ts";
import { Errno, SystemError } from "../host/system-error.ts";
import { connectUnix } from "../host/unix-socket.ts";
import {
  DeviceInfo,
  DmaMap,
  DmaUnmap,
  Header,
  IrqInfo,
  IrqSet,
  RegionAccess,
  RegionCapability,
  RegionInfo,
  SparseMmap,
  SparseMmapArea,
  Version,
  WriteMulti,
  WriteMultiEntry,
} from "../spec/vfio-user/messages.ts";
import {
  Command,
  DmaMapFlag,
  DmaUnmapFlag,
  IrqSetFlag,
  MessageType,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  RegionCapabilityId,
  RegionFlag,
} from "../spec/vfio-user/numbers.ts";
import {
  allocateBuffers,
  Connection,
  getWord64,
  type MessageBuffers,
  PAYLOAD,
  Received,
  releaseBuffers,
  setWord64,
} from "./connection.ts";
import type { MappableArea } from "./device.ts";
import { VfioUserError } from "./error.ts";
import { MAX_DATA_BYTES, MAX_MESSAGE_DESCRIPTORS } from "./limits.ts";
import { type Capabilities, decodeCapabilities, encodeCapabilities } from "./version.ts";

const DEFAULT_TIMEOUT_MS = 5000;
/** Enough for a region info with this many sparse areas. */
const MAX_AREAS = 256;
const MAX_REGION_INFO_BYTES = RegionInfo.byteLength + SparseMmap.byteLength + MAX_AREAS * SparseMmapArea.byteLength;

export interface ClientOptions {
  /** How long a reply may take; 5000 ms if left out. */
  readonly timeoutMs?: number;
  /** Called again and again while waiting, instead of sleeping: for a server in the same thread. */
  readonly whileWaiting?: () => void;
}

/** What a server says about a region. */
export interface RegionDescription {
  readonly index: number;
  readonly sizeBytes: number;
  /** `RegionFlag` bits. */
  readonly flags: number;
  /** The parts that can be mapped; empty if none. */
  readonly areas: readonly MappableArea[];
}

/** A mapped part of a region. */
export interface MappedArea extends MappableArea {
  readonly memory: Memory;
}

/** One write of `writeMulti`: at most 8 bytes. */
export interface SingleWrite {
  readonly region: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface DmaMapping {
  /** DMA address and size in bytes; multiples of the page size. */
  readonly address: number;
  readonly sizeBytes: number;
  /** A memfd sealed with F_SEAL_SHRINK; without one the device cannot reach the range. */
  readonly descriptor?: number;
  /** Where the range begins in it. */
  readonly offset?: number;
  /** False if the device must not write there; true if left out. */
  readonly isWritable?: boolean;
}

export class VfioUserClient {
  /** What the server can take. */
  readonly capabilities: Capabilities;
  readonly #path: string;
  readonly #connection: Connection;
  readonly #buffers: MessageBuffers;
  readonly #registry = new SharedMemoryRegistry();
  readonly #mapped: SharedMemory[] = [];
  readonly #timeoutNs: number;
  readonly #whileWaiting: (() => void) | undefined;
  #lastId = 0;
  /** Why nothing more can be asked: the two ends no longer agree where they are. */
  #failure: Error | undefined;
  #isClosed = false;

  /**
   * Connects to the server at `path` and agrees on the version.
   * @throws SystemError if nobody listens there or no reply comes in time, VfioUserError if the server declines.
   */
  constructor(path: string, options: ClientOptions = {}) {
    this.#timeoutNs = (options.timeoutMs ?? DEFAULT_TIMEOUT_MS) * NS_PER_MS;
    this.#whileWaiting = options.whileWaiting;
    this.#path = path;
    const socket = connectUnix(path);
    this.#buffers = allocateBuffers();
    this.#connection = new Connection(socket, this.#buffers);
    try {
      this.capabilities = this.#negotiate();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The socket, to wait for: between two calls it can be read only when the server has gone or misbehaves. */
  get descriptor(): number {
    return this.#connection.socket.descriptor;
  }

  /** Looks whether the server has hung up; to be called between two calls. */
  hasServerGone(): boolean {
    return this.#isClosed || this.#failure !== undefined || this.#connection.receive() === Received.CLOSED;
  }

  deviceInfo(): { flags: number; regionCount: number; irqCount: number } {
    const view = this.#connection.outgoing.view;
    this.#clearPayload(DeviceInfo.byteLength);
    DeviceInfo.argsz.set(view, PAYLOAD, DeviceInfo.byteLength);
    this.#request(Command.DEVICE_GET_INFO, DeviceInfo.byteLength, DeviceInfo.byteLength);
    const reply = this.#connection.incoming.view;
    return {
      flags: DeviceInfo.flags.get(reply, PAYLOAD),
      regionCount: DeviceInfo.regionCount.get(reply, PAYLOAD),
      irqCount: DeviceInfo.irqCount.get(reply, PAYLOAD),
    };
  }

  regionInfo(index: number): RegionDescription {
    this.#requestRegionInfo(index);
    const info = this.#decodeRegionInfo(index);
    this.#connection.dropDescriptors();
    return info;
  }

  /**
   * Maps what can be mapped of a region. The memory stays valid until `close`.
   * @throws VfioUserError ENOTSUP if the region cannot be mapped; SystemError if its memory could shrink.
   */
  mapRegion(index: number): readonly MappedArea[] {
    this.#requestRegionInfo(index);
    const info = this.#decodeRegionInfo(index);
    const base = getWord64(RegionInfo.offset, this.#connection.incoming.view, PAYLOAD);
    if ((info.flags & RegionFlag.MMAP) === 0 || this.#connection.descriptorCount === 0) {
      throw new VfioUserError(Errno.ENOTSUP, `region ${index} cannot be mapped`);
    }
    try {
      const shared = this.#registry.acquire(this.#connection.peekDescriptor(0));
      this.#mapped.push(shared);
      return info.areas.map((area) => ({ ...area, memory: shared.slice(base + area.offset, area.sizeBytes) }));
    } finally {
      this.#connection.dropDescriptors();
    }
  }

  irqInfo(index: number): { flags: number; count: number } {
    const view = this.#connection.outgoing.view;
    this.#clearPayload(IrqInfo.byteLength);
    IrqInfo.argsz.set(view, PAYLOAD, IrqInfo.byteLength);
    IrqInfo.index.set(view, PAYLOAD, index);
    this.#request(Command.DEVICE_GET_IRQ_INFO, IrqInfo.byteLength, IrqInfo.byteLength);
    const reply = this.#connection.incoming.view;
    return { flags: IrqInfo.flags.get(reply, PAYLOAD), count: IrqInfo.count.get(reply, PAYLOAD) };
  }

  /**
   * Connects eventfds to the vectors from `start` on; they stay the caller's.
   * @throws VfioUserError EINVAL if there are more than fit into one message.
   */
  setEventfds(index: number, start: number, eventfds: readonly number[]): void {
    const most = Math.min(this.capabilities.maxMessageDescriptors, MAX_MESSAGE_DESCRIPTORS);
    if (eventfds.length > most) throw invalid(`${eventfds.length} eventfds in one message; expected at most ${most}`);
    this.#connection.outgoingDescriptors.set(eventfds);
    this.#setIrqs(IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER, index, start, eventfds.length, eventfds.length);
  }

  /** Disconnects the eventfds of some vectors. */
  clearEventfds(index: number, start: number, count: number): void {
    this.#setIrqs(IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER, index, start, count, 0);
  }

  /** Disconnects all eventfds of an interrupt index. */
  disableIrqs(index: number): void {
    this.#setIrqs(IrqSetFlag.DATA_NONE | IrqSetFlag.ACTION_TRIGGER, index, 0, 0, 0);
  }

  /** Masks, unmasks or triggers vectors (`IrqSetFlag.ACTION_…`). */
  actOnIrqs(action: number, index: number, start: number, count: number): void {
    this.#setIrqs(IrqSetFlag.DATA_NONE | action, index, start, count, 0);
  }

  /** Reads from a region; returns a fresh array. */
  read(region: number, offset: number, length: number): Uint8Array {
    this.#encodeAccess(region, offset, length);
    const dataBytes =
      this.#request(Command.REGION_READ, RegionAccess.byteLength, RegionAccess.byteLength) - RegionAccess.byteLength;
    if (dataBytes !== length) throw this.#protocolError(`${dataBytes} bytes; expected ${length}`);
    const at = PAYLOAD + RegionAccess.byteLength;
    return Uint8Array.from(this.#connection.incoming.bytes.subarray(at, at + length));
  }

  /** Reads a little-endian word of 4 bytes. */
  read32(region: number, offset: number): number {
    this.#encodeAccess(region, offset, 4);
    this.#request(Command.REGION_READ, RegionAccess.byteLength, RegionAccess.byteLength + 4);
    return this.#connection.incoming.view.getUint32(PAYLOAD + RegionAccess.byteLength, true);
  }

  write(region: number, offset: number, data: Uint8Array): void {
    this.#encodeAccess(region, offset, data.length);
    this.#connection.outgoing.bytes.set(data, PAYLOAD + RegionAccess.byteLength);
    this.#request(Command.REGION_WRITE, RegionAccess.byteLength + data.length, RegionAccess.byteLength);
  }

  /** Writes a little-endian word of 4 bytes. */
  write32(region: number, offset: number, value: number): void {
    this.#encodeAccess(region, offset, 4);
    this.#connection.outgoing.view.setUint32(PAYLOAD + RegionAccess.byteLength, value, true);
    this.#request(Command.REGION_WRITE, RegionAccess.byteLength + 4, RegionAccess.byteLength);
  }

  /** Writes without waiting for an answer; a later command's reply says it has been done, not that it was legal. */
  post(region: number, offset: number, data: Uint8Array): void {
    this.#encodeAccess(region, offset, data.length);
    this.#connection.outgoing.bytes.set(data, PAYLOAD + RegionAccess.byteLength);
    this.#send(Command.REGION_WRITE, RegionAccess.byteLength + data.length, 0, true);
  }

  /** Several short writes in one message. Returns how many were made. */
  writeMulti(writes: readonly SingleWrite[]): number {
    const payloadBytes = WriteMulti.byteLength + writes.length * WriteMultiEntry.byteLength;
    if (payloadBytes > MAX_DATA_BYTES) throw invalid(`${writes.length} writes in one message`);
    const { view, bytes } = this.#connection.outgoing;
    this.#clearPayload(payloadBytes);
    setWord64(WriteMulti.count, view, PAYLOAD, writes.length);
    writes.forEach(({ region, offset, data }, i) => {
      const at = PAYLOAD + WriteMulti.byteLength + i * WriteMultiEntry.byteLength;
      setWord64(WriteMultiEntry.offset, view, at, offset);
      WriteMultiEntry.region.set(view, at, region);
      WriteMultiEntry.count.set(view, at, data.length);
      bytes.set(data.subarray(0, 8), at + WriteMultiEntry.data.offset);
    });
    this.#request(Command.REGION_WRITE_MULTI, payloadBytes, WriteMulti.byteLength);
    return getWord64(WriteMulti.count, this.#connection.incoming.view, PAYLOAD);
  }

  dmaMap(mapping: DmaMapping): void {
    const { view } = this.#connection.outgoing;
    this.#clearPayload(DmaMap.byteLength);
    DmaMap.argsz.set(view, PAYLOAD, DmaMap.byteLength);
    DmaMap.flags.set(view, PAYLOAD, DmaMapFlag.READ | (mapping.isWritable === false ? 0 : DmaMapFlag.WRITE));
    setWord64(DmaMap.offset, view, PAYLOAD, mapping.offset ?? 0);
    setWord64(DmaMap.address, view, PAYLOAD, mapping.address);
    setWord64(DmaMap.size, view, PAYLOAD, mapping.sizeBytes);
    if (mapping.descriptor !== undefined) this.#connection.outgoingDescriptors[0] = mapping.descriptor;
    this.#request(Command.DMA_MAP, DmaMap.byteLength, 0, mapping.descriptor === undefined ? 0 : 1);
  }

  /** Unmaps a range exactly as it was mapped. */
  dmaUnmap(address: number, sizeBytes: number): void {
    this.#dmaUnmap(0, address, sizeBytes);
  }

  dmaUnmapAll(): void {
    this.#dmaUnmap(DmaUnmapFlag.ALL, 0, 0);
  }

  /** Resets the device. */
  reset(): void {
    this.#request(Command.DEVICE_RESET, 0, 0);
  }

  /** Ends the session; mapped regions show zeros from now on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
    for (const shared of this.#mapped) this.#registry.release(shared);
    releaseBuffers(this.#buffers);
  }

  #negotiate(): Capabilities {
    const { outgoing, incoming } = this.#connection;
    const text = encodeCapabilities(true);
    Version.major.set(outgoing.view, PAYLOAD, PROTOCOL_MAJOR);
    Version.minor.set(outgoing.view, PAYLOAD, PROTOCOL_MINOR);
    text.copy(outgoing.bytes, PAYLOAD + Version.byteLength);
    const replyBytes = this.#request(Command.VERSION, Version.byteLength + text.length, Version.byteLength);
    const major = Version.major.get(incoming.view, PAYLOAD);
    if (major !== PROTOCOL_MAJOR) throw this.#protocolError(`protocol version ${major}`);
    try {
      return decodeCapabilities(incoming.bytes.subarray(PAYLOAD + Version.byteLength, PAYLOAD + replyBytes));
    } catch (error) {
      throw this.#protocolError(error instanceof Error ? error.message : String(error));
    }
  }

  #requestRegionInfo(index: number): void {
    const { view } = this.#connection.outgoing;
    this.#clearPayload(RegionInfo.byteLength);
    RegionInfo.argsz.set(view, PAYLOAD, MAX_REGION_INFO_BYTES);
    RegionInfo.index.set(view, PAYLOAD, index);
    this.#request(Command.DEVICE_GET_REGION_INFO, RegionInfo.byteLength, RegionInfo.byteLength);
  }

  #decodeRegionInfo(index: number): RegionDescription {
    const { view } = this.#connection.incoming;
    const flags = RegionInfo.flags.get(view, PAYLOAD);
    const sizeBytes = getWord64(RegionInfo.size, view, PAYLOAD);
    const sparse = (flags & RegionFlag.CAPS) === 0 ? undefined : this.#decodeSparseMmap();
    const whole = (flags & RegionFlag.MMAP) === 0 ? [] : [{ offset: 0, sizeBytes }];
    const areas = sparse ?? whole;
    const outside = areas.find((area) => area.offset + area.sizeBytes > sizeBytes);
    if (outside === undefined) return { index, sizeBytes, flags, areas };
    throw this.#protocolError(
      `an area of ${outside.sizeBytes} bytes at ${outside.offset} of region ${index}, which has ${sizeBytes}`,
    );
  }

  /** The areas of the first sparse-mmap capability in the list, if there is one. */
  #decodeSparseMmap(): MappableArea[] | undefined {
    const { view } = this.#connection.incoming;
    const payloadBytes = this.#connection.size - PAYLOAD;
    let at = RegionInfo.capOffset.get(view, PAYLOAD);
    for (let hops = 0; at !== 0 && hops < MAX_AREAS; hops++) {
      if (at + SparseMmap.byteLength > payloadBytes) throw this.#protocolError(`capability at ${at}`);
      if (RegionCapability.id.get(view, PAYLOAD + at) === RegionCapabilityId.SPARSE_MMAP)
        return this.#decodeAreas(at, payloadBytes);
      at = RegionCapability.next.get(view, PAYLOAD + at);
    }
    return undefined;
  }

  #decodeAreas(at: number, payloadBytes: number): MappableArea[] {
    const { view } = this.#connection.incoming;
    const count = SparseMmap.areaCount.get(view, PAYLOAD + at);
    const first = at + SparseMmap.byteLength;
    if (first + count * SparseMmapArea.byteLength > payloadBytes) throw this.#protocolError(`${count} mappable areas`);
    return Array.from({ length: count }, (_, i) => {
      const areaAt = PAYLOAD + first + i * SparseMmapArea.byteLength;
      return { offset: getWord64(SparseMmapArea.offset, view, areaAt), sizeBytes: getWord64(SparseMmapArea.size, view, areaAt) };
    });
  }

  #setIrqs(flags: number, index: number, start: number, count: number, descriptorCount: number): void {
    const { view } = this.#connection.outgoing;
    this.#clearPayload(IrqSet.byteLength);
    IrqSet.argsz.set(view, PAYLOAD, IrqSet.byteLength);
    IrqSet.flags.set(view, PAYLOAD, flags);
    IrqSet.index.set(view, PAYLOAD, index);
    IrqSet.start.set(view, PAYLOAD, start);
    IrqSet.count.set(view, PAYLOAD, count);
    this.#request(Command.DEVICE_SET_IRQS, IrqSet.byteLength, 0, descriptorCount);
  }

  #dmaUnmap(flags: number, address: number, sizeBytes: number): void {
    const { view } = this.#connection.outgoing;
    this.#clearPayload(DmaUnmap.byteLength);
    DmaUnmap.argsz.set(view, PAYLOAD, DmaUnmap.byteLength);
    DmaUnmap.flags.set(view, PAYLOAD, flags);
    setWord64(DmaUnmap.address, view, PAYLOAD, address);
    setWord64(DmaUnmap.size, view, PAYLOAD, sizeBytes);
    this.#request(Command.DMA_UNMAP, DmaUnmap.byteLength, DmaUnmap.byteLength);
  }

  #encodeAccess(region: number, offset: number, count: number): void {
    const most = Math.min(this.capabilities.maxDataBytes, MAX_DATA_BYTES);
    if (count > most) throw invalid(`access of ${count} bytes; expected at most ${most}`);
    const { view } = this.#connection.outgoing;
    setWord64(RegionAccess.offset, view, PAYLOAD, offset);
    RegionAccess.region.set(view, PAYLOAD, region);
    RegionAccess.count.set(view, PAYLOAD, count);
  }

  #clearPayload(length: number): void {
    this.#connection.outgoing.bytes.fill(0, PAYLOAD, PAYLOAD + length);
  }

  /**
   * Sends the command whose payload is in the outgoing buffer and waits for its reply, of at least `expectedBytes` of payload.
   * @returns the length of the reply's payload.
   */
  #request(command: number, payloadBytes: number, expectedBytes: number, descriptorCount = 0): number {
    this.#send(command, payloadBytes, descriptorCount, false);
    const name = nameOf(Command, command);
    this.#await(() => this.#isReplied(name), name);
    const view = this.#connection.incoming.view;
    if (Header.id.get(view, 0) !== this.#lastId || Header.command.get(view, 0) !== command) {
      const other = nameOf(Command, Header.command.get(view, 0));
      throw this.#fail(this.#protocolError(`a reply to another command than ${name}: ${other}, id ${Header.id.get(view, 0)}`));
    }
    if (Header.error.get(view, 0) !== 0) {
      // "It may be zero even if the Error bit is set"
      const errno = Header.errno.get(view, 0);
      throw new VfioUserError(errno === 0 ? Errno.EIO : errno, `answer to ${name} from ${this.#path}`);
    }
    const replyBytes = this.#connection.size - PAYLOAD;
    if (replyBytes < expectedBytes) throw this.#protocolError(`${replyBytes} bytes in answer to ${name}`);
    return replyBytes;
  }

  #send(command: number, payloadBytes: number, descriptorCount: number, isPosted: boolean): void {
    if (this.#isClosed) throw new Error("vfio-user client: used after close");
    if (this.#failure !== undefined) throw this.#failure;
    const { view } = this.#connection.outgoing;
    this.#lastId = (this.#lastId + 1) & 0xffff;
    Header.id.set(view, 0, this.#lastId);
    Header.command.set(view, 0, command);
    view.setUint32(8, 0, true);
    Header.noReply.set(view, 0, isPosted ? 1 : 0);
    Header.errno.set(view, 0, 0);
    this.#connection.send(PAYLOAD + payloadBytes, descriptorCount);
    this.#await(
      () => {
        this.#connection.flush();
        return !this.#connection.isSending;
      },
      nameOf(Command, command),
    );
  }

  #isReplied(name: string): boolean {
    const received = this.#connection.receive();
    const { view } = this.#connection.incoming;
    if (received === Received.NOTHING || received === Received.PARTIAL) return false;
    if (received === Received.BROKEN) {
      throw this.#fail(this.#protocolError(`a message of ${Header.size.get(view, 0)} bytes in answer to ${name}`));
    }
    if (received !== Received.MESSAGE) {
      const detail = `${this.#path}: the server ended the session before it answered ${name}`;
      throw this.#fail(new SystemError("vfio-user", Errno.ECONNRESET, detail));
    }
    // a server may send commands of its own at any time; this client has nothing to offer and does not answer them
    return Header.type.get(view, 0) === MessageType.REPLY;
  }

  /** Waits until `isDone`, at most the client's timeout. */
  #await(isDone: () => boolean, name: string): void {
    const endNs = systemClock.nowNs() + this.#timeoutNs;
    while (!isDone()) {
      const leftNs = endNs - systemClock.nowNs();
      if (leftNs <= 0) {
        const detail = `${this.#path}: no answer to ${name} within ${this.#timeoutNs / NS_PER_MS} ms`;
        throw this.#fail(new SystemError("vfio-user", Errno.ETIMEDOUT, detail));
      }
      if (this.#whileWaiting !== undefined) this.#whileWaiting();
      else {
        const events = this.#connection.isSending ? PollEvent.OUT : PollEvent.IN;
        waitFor(this.#connection.socket.descriptor, events, leftNs);
      }
    }
  }

  /** Whatever is asked from now on fails for the same reason: an answer that came late would be taken for another's. */
  #fail(error: Error): Error {
    this.#failure = error;
    return error;
  }

  #protocolError(message: string): VfioUserError {
    return new VfioUserError(Errno.EPROTO, `${this.#path}: the server sent ${message}`);
  }
}

const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
