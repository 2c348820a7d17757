// One client of a server: negotiates, then executes its commands in the order they come (vfio-user.rst, "Commands").
//
// A client's mistake is thrown as VfioUserError and answered with its errno in `#execute`, the only place that catches; the
// session goes on. Only a byte stream that makes no sense ends it.

import type { Log } from "../base/log.ts";
import { nameOf } from "../base/names.ts";
import type { SharedMemoryRegistry } from "../host/shared-memory.ts";
import { Errno, SystemError } from "../host/system-error.ts";
import {
  DeviceInfo,
  DmaMap,
  DmaUnmap,
  FeatureRequest,
  Header,
  RegionIoDescriptors,
  Version,
} from "../spec/vfio-user/messages.ts";
import {
  Command,
  DeviceInfoFlag,
  DmaMapFlag,
  DmaUnmapFlag,
  IRQ_INDEX_COUNT,
  MessageType,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  REGION_COUNT,
} from "../spec/vfio-user/numbers.ts";
import { type Connection, getWord64, PAYLOAD, Received } from "./connection.ts";
import { COMMAND_SLOTS, countUp, ServerCounter } from "./counters.ts";
import type { VfioUserDevice } from "./device.ts";
import { DmaTable } from "./dma-table.ts";
import { VfioUserError } from "./error.ts";
import { getIrqInfo, setIrqs } from "./irq-commands.ts";
import type { IrqTable } from "./irq-table.ts";
import { MESSAGES_PER_POLL } from "./limits.ts";
import { assertArgsz, assertPayload } from "./payload.ts";
import { RegionCommands } from "./region-commands.ts";
import { decodeCapabilities, encodeCapabilities } from "./version.ts";

/** What a session needs of its server. */
export interface SessionContext {
  readonly device: VfioUserDevice;
  readonly irqs: IrqTable;
  readonly registry: SharedMemoryRegistry;
  readonly counters: Float64Array;
  readonly log: Log;
}

const KNOWN_DMA_MAP_FLAGS = DmaMapFlag.READ | DmaMapFlag.WRITE | DmaMapFlag.MMAP | DmaMapFlag.FILE_IO;
const KNOWN_DMA_UNMAP_FLAGS = DmaUnmapFlag.GET_DIRTY_BITMAP | DmaUnmapFlag.ALL;

const refusalCounters: ReadonlyMap<number, number> = new Map([
  [Errno.EINVAL, ServerCounter.refusedInvalid],
  [Errno.ENOTSUP, ServerCounter.refusedUnsupported],
]);

export class Session {
  readonly connection: Connection;
  /** The client has gone, or has been sent away: `close` is due. */
  isOver = false;
  readonly #context: SessionContext;
  readonly #dma: DmaTable;
  readonly #regions: RegionCommands;
  #isNegotiated = false;
  /** Descriptors to go with the reply being made. */
  #replyDescriptors = 0;

  constructor(connection: Connection, context: SessionContext) {
    this.connection = connection;
    this.#context = context;
    this.#dma = new DmaTable(context.device.dma, context.registry);
    this.#regions = new RegionCommands(connection, context.device);
  }

  /**
   * Executes what has come, at most MESSAGES_PER_POLL messages, and never waits.
   * @returns how many, or 1 if only parts of messages moved; 0 if there was nothing to do.
   */
  poll(): number {
    const { connection } = this;
    const flushed = connection.isSending && connection.flush() > 0 ? 1 : 0;
    for (let done = 0; done < MESSAGES_PER_POLL; done++) {
      // a client that does not take its replies is not served on, so that they cannot pile up here
      if (connection.isSending) return done + flushed;
      const received = connection.receive();
      if (received === Received.NOTHING) return done + flushed;
      if (received === Received.PARTIAL) return done + 1;
      if (received !== Received.MESSAGE) {
        this.#lost(received);
        return done;
      }
      this.#execute();
      if (this.isOver) return done + 1;
    }
    return MESSAGES_PER_POLL;
  }

  /** Takes everything of the client's away and resets the device. */
  close(): void {
    const { device, irqs } = this.#context;
    this.isOver = true;
    irqs.close();
    try {
      if (this.#isNegotiated) {
        device.disconnected();
        device.reset();
      }
    } finally {
      irqs.reset();
      this.#dma.close();
      this.connection.close();
    }
  }

  #lost(received: number): void {
    this.isOver = true;
    if (received === Received.CLOSED && this.connection.partialBytes > 0)
      countUp(this.#context.counters, ServerCounter.truncatedMessages);
    if (received === Received.BROKEN) {
      countUp(this.#context.counters, ServerCounter.framingErrors);
      const size = Header.size.get(this.connection.incoming.view, 0);
      this.#context.log.warn(`client sent away: message of ${size} bytes`);
    }
  }

  #execute(): void {
    const { connection } = this;
    const { counters } = this.#context;
    const view = connection.incoming.view;
    const command = Header.command.get(view, 0);
    countUp(counters, ServerCounter.messagesIn);
    countUp(counters, ServerCounter.bytesIn, connection.size);
    countUp(counters, command < COMMAND_SLOTS ? command : ServerCounter.unknown);
    // no command of ours is ever outstanding, so a reply answers nothing; answering it could go on for ever
    if (Header.type.get(view, 0) === MessageType.REPLY) {
      countUp(counters, ServerCounter.unexpectedReplies);
      return;
    }
    let errno = 0;
    let payloadBytes = 0;
    this.#replyDescriptors = 0;
    try {
      payloadBytes = this.#dispatch(command);
    } catch (error) {
      if (!(error instanceof VfioUserError || error instanceof SystemError)) throw error;
      errno = error.errno;
      this.#replyDescriptors = 0;
      this.#refused(command, error);
    }
    if (Header.noReply.get(view, 0) === 0) this.#reply(command, payloadBytes, errno);
    if (errno !== 0 && !this.#isNegotiated) this.isOver = true;
  }

  #refused(command: number, error: VfioUserError | SystemError): void {
    const { counters, log } = this.#context;
    countUp(counters, ServerCounter.errors);
    countUp(counters, refusalCounters.get(error.errno) ?? ServerCounter.refusedOther);
    const message = `${nameOf(Command, command)} refused: ${error.message}`;
    // clients try out what a server can do; that is no mistake
    if (error.errno === Errno.ENOTSUP) log.debug(message);
    else log.warn(message);
  }

  #reply(command: number, payloadBytes: number, errno: number): void {
    const { connection } = this;
    const { counters } = this.#context;
    const view = connection.outgoing.view;
    const size = PAYLOAD + (errno === 0 ? payloadBytes : 0);
    Header.id.set(view, 0, Header.id.get(connection.incoming.view, 0));
    Header.command.set(view, 0, command);
    view.setUint32(8, 0, true);
    Header.type.set(view, 0, MessageType.REPLY);
    Header.error.set(view, 0, errno === 0 ? 0 : 1);
    Header.errno.set(view, 0, errno);
    countUp(counters, ServerCounter.messagesOut);
    countUp(counters, ServerCounter.bytesOut, size);
    connection.send(size, this.#replyDescriptors);
  }

  /** Executes the command; returns the length of its reply's payload, which is then in the outgoing buffer. */
  #dispatch(command: number): number {
    const { connection } = this;
    const { device, irqs } = this.#context;
    if (Header.type.get(connection.incoming.view, 0) !== MessageType.COMMAND) throw invalid("neither a command nor a reply");
    if (connection.hadTooManyDescriptors) throw invalid("too many descriptors with one message");
    if (connection.lostDescriptors)
      throw new VfioUserError(Errno.EMFILE, "descriptors lost: this process has too many open files");
    if ((command === Command.VERSION) === this.#isNegotiated) throw invalid("VERSION must be the first message, once");
    switch (command) {
      case Command.VERSION:
        return this.#negotiate();
      case Command.DMA_MAP:
        return this.#dmaMap();
      case Command.DMA_UNMAP:
        return this.#dmaUnmap();
      case Command.DEVICE_GET_INFO:
        return this.#getInfo();
      case Command.DEVICE_GET_REGION_INFO: {
        const { payloadBytes, descriptorCount } = this.#regions.getInfo();
        this.#replyDescriptors = descriptorCount;
        return payloadBytes;
      }
      case Command.DEVICE_GET_REGION_IO_FDS:
        assertPayload(connection, RegionIoDescriptors.byteLength);
        throw unsupported("region I/O descriptors");
      case Command.DEVICE_GET_IRQ_INFO:
        return getIrqInfo(connection, irqs);
      case Command.DEVICE_SET_IRQS:
        return setIrqs(connection, irqs);
      case Command.REGION_READ:
        return this.#regions.read();
      case Command.REGION_WRITE:
        return this.#regions.write();
      case Command.REGION_WRITE_MULTI:
        return this.#regions.writeMulti().payloadBytes;
      case Command.DEVICE_RESET:
        irqs.reset();
        device.reset();
        return 0;
      case Command.DEVICE_FEATURE:
        assertPayload(connection, FeatureRequest.byteLength);
        throw unsupported(`device feature ${FeatureRequest.flags.get(connection.incoming.view, PAYLOAD) & 0xffff}`);
      case Command.DIRTY_PAGES:
      case Command.MIG_DATA_READ:
      case Command.MIG_DATA_WRITE:
        throw unsupported("migration");
      default:
        // DMA_READ and DMA_WRITE go the other way; the rest nobody has heard of
        throw invalid(`command ${nameOf(Command, command)}`);
    }
  }

  #negotiate(): number {
    const { connection } = this;
    const { incoming, outgoing, size } = connection;
    assertPayload(connection, Version.byteLength);
    const major = Version.major.get(incoming.view, PAYLOAD);
    const minor = Version.minor.get(incoming.view, PAYLOAD);
    if (major !== PROTOCOL_MAJOR)
      throw unsupported(`protocol version ${major}.${minor}; this is ${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}`);
    const capabilities = decodeCapabilities(incoming.bytes.subarray(PAYLOAD + Version.byteLength, size));
    const ours = encodeCapabilities(capabilities.writeMultiple);
    Version.major.set(outgoing.view, PAYLOAD, PROTOCOL_MAJOR);
    Version.minor.set(outgoing.view, PAYLOAD, Math.min(minor, PROTOCOL_MINOR));
    ours.copy(outgoing.bytes, PAYLOAD + Version.byteLength);
    this.#isNegotiated = true;
    countUp(this.#context.counters, ServerCounter.sessions);
    // what the device may have signalled while nobody was there is nobody's
    this.#context.irqs.reset();
    this.#context.device.connected(this.#context.irqs);
    return Version.byteLength + ours.length;
  }

  #getInfo(): number {
    const { connection } = this;
    assertPayload(connection, DeviceInfo.byteLength);
    assertArgsz(DeviceInfo.argsz.get(connection.incoming.view, PAYLOAD), DeviceInfo.byteLength);
    const reply = connection.outgoing.view;
    DeviceInfo.argsz.set(reply, PAYLOAD, DeviceInfo.byteLength);
    DeviceInfo.flags.set(reply, PAYLOAD, DeviceInfoFlag.RESET | DeviceInfoFlag.PCI);
    DeviceInfo.regionCount.set(reply, PAYLOAD, REGION_COUNT);
    DeviceInfo.irqCount.set(reply, PAYLOAD, IRQ_INDEX_COUNT);
    return DeviceInfo.byteLength;
  }

  #dmaMap(): number {
    const { connection } = this;
    const view = connection.incoming.view;
    assertPayload(connection, DmaMap.byteLength);
    assertArgsz(DmaMap.argsz.get(view, PAYLOAD), DmaMap.byteLength);
    const flags = DmaMap.flags.get(view, PAYLOAD);
    const offset = getWord64(DmaMap.offset, view, PAYLOAD);
    const address = getWord64(DmaMap.address, view, PAYLOAD);
    const sizeBytes = getWord64(DmaMap.size, view, PAYLOAD);
    if ((flags & ~KNOWN_DMA_MAP_FLAGS) !== 0) throw invalid(`DMA_MAP flags 0x${flags.toString(16)}`);
    if (connection.descriptorCount > 1) throw invalid(`DMA_MAP with ${connection.descriptorCount} descriptors`);
    if (connection.descriptorCount === 0) {
      if ((flags & (DmaMapFlag.MMAP | DmaMapFlag.FILE_IO)) !== 0)
        throw invalid("DMA_MAP without the descriptor its flags promise");
      this.#dma.mapUnreachable(address, sizeBytes);
      countUp(this.#context.counters, ServerCounter.unreachableRanges);
      return 0;
    }
    if ((flags & DmaMapFlag.FILE_IO) !== 0) throw unsupported("memory that cannot be mapped");
    if ((flags & DmaMapFlag.READ) === 0) throw invalid("DMA_MAP of memory that cannot be read");
    this.#dma.map(address, sizeBytes, connection.peekDescriptor(0), offset, (flags & DmaMapFlag.WRITE) !== 0);
    return 0;
  }

  #dmaUnmap(): number {
    const { connection } = this;
    const view = connection.incoming.view;
    assertPayload(connection, DmaUnmap.byteLength);
    assertArgsz(DmaUnmap.argsz.get(view, PAYLOAD), DmaUnmap.byteLength);
    const flags = DmaUnmap.flags.get(view, PAYLOAD);
    const address = getWord64(DmaUnmap.address, view, PAYLOAD);
    const sizeBytes = getWord64(DmaUnmap.size, view, PAYLOAD);
    if ((flags & ~KNOWN_DMA_UNMAP_FLAGS) !== 0) throw invalid(`DMA_UNMAP flags 0x${flags.toString(16)}`);
    if ((flags & DmaUnmapFlag.GET_DIRTY_BITMAP) !== 0) throw unsupported("dirty page bitmap");
    if ((flags & DmaUnmapFlag.ALL) === 0) this.#dma.unmap(address, sizeBytes);
    else if (address !== 0 || sizeBytes !== 0) throw invalid("DMA_UNMAP of all with an address or size");
    else this.#dma.unmapAll();
    // the reply repeats the request
    connection.incoming.bytes.copy(connection.outgoing.bytes, PAYLOAD, PAYLOAD, PAYLOAD + DmaUnmap.byteLength);
    DmaUnmap.argsz.set(connection.outgoing.view, PAYLOAD, DmaUnmap.byteLength);
    return DmaUnmap.byteLength;
  }
}

const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
const unsupported = (message: string): VfioUserError => new VfioUserError(Errno.ENOTSUP, `${message} not supported`);
