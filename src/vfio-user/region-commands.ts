// DEVICE_GET_REGION_INFO, REGION_READ, REGION_WRITE and REGION_WRITE_MULTI.

import { Errno } from "../host/system-error.ts";
import { RegionAccess, RegionInfo, SparseMmap, SparseMmapArea, WriteMulti, WriteMultiEntry } from "../spec/vfio-user/messages.ts";
import { REGION_COUNT, RegionCapabilityId, RegionFlag } from "../spec/vfio-user/numbers.ts";
import { type Connection, getWord64, PAYLOAD, setWord64 } from "./connection.ts";
import type { Region, VfioUserDevice } from "./device.ts";
import { VfioUserError } from "./error.ts";
import { MAX_DATA_BYTES, MAX_MULTI_WRITES } from "./limits.ts";
import { assertArgsz, assertPayload } from "./payload.ts";

/** Where the data of a region access lie in its message. */
const DATA = PAYLOAD + RegionAccess.byteLength;
/** Accesses up to this length, which is what a CPU makes, use windows that are made once. */
const SHORT_ACCESS = 8;

/** A region access of a device: one per session, because it keeps windows onto the session's buffers. */
export class RegionCommands {
  readonly #connection: Connection;
  readonly #device: VfioUserDevice;
  readonly #written: Uint8Array[] = [];
  readonly #toRead: Uint8Array[] = [];

  constructor(connection: Connection, device: VfioUserDevice) {
    this.#connection = connection;
    this.#device = device;
    for (let length = 0; length <= SHORT_ACCESS; length++) {
      this.#written.push(window(connection.incoming.bytes, DATA, length));
      this.#toRead.push(window(connection.outgoing.bytes, DATA, length));
    }
  }

  /**
   * Answers DEVICE_GET_REGION_INFO. A reply that has no room for the capabilities still says where they would be, and the
   * descriptor comes only with the complete one: QEMU asks first with room for the fixed part alone, checks `cap_offset` in
   * that answer, and would lose a descriptor that came with it.
   */
  getInfo(): { payloadBytes: number; descriptorCount: number } {
    const { incoming, outgoing, outgoingDescriptors } = this.#connection;
    assertPayload(this.#connection, RegionInfo.byteLength);
    const argsz = RegionInfo.argsz.get(incoming.view, PAYLOAD);
    assertArgsz(argsz, RegionInfo.byteLength);
    const index = RegionInfo.index.get(incoming.view, PAYLOAD);
    if (index >= REGION_COUNT) throw invalid(`region ${index}`);
    const region = this.#device.regions[index];
    const mapping = region?.mapping;
    const areas = mapping?.areas;
    const capabilityBytes = areas === undefined ? 0 : SparseMmap.byteLength + areas.length * SparseMmapArea.byteLength;
    const wholeBytes = RegionInfo.byteLength + capabilityBytes;
    const view = outgoing.view;
    RegionInfo.argsz.set(view, PAYLOAD, wholeBytes);
    RegionInfo.flags.set(view, PAYLOAD, region === undefined ? 0 : regionFlags(region));
    RegionInfo.index.set(view, PAYLOAD, index);
    RegionInfo.capOffset.set(view, PAYLOAD, areas === undefined ? 0 : RegionInfo.byteLength);
    setWord64(RegionInfo.size, view, PAYLOAD, region?.sizeBytes ?? 0);
    setWord64(RegionInfo.offset, view, PAYLOAD, mapping?.offset ?? 0);
    if (argsz < wholeBytes) return { payloadBytes: RegionInfo.byteLength, descriptorCount: 0 };
    if (areas !== undefined) encodeSparseMmap(view, PAYLOAD + RegionInfo.byteLength, areas);
    if (mapping !== undefined) outgoingDescriptors[0] = mapping.descriptor;
    return { payloadBytes: wholeBytes, descriptorCount: mapping === undefined ? 0 : 1 };
  }

  /** REGION_READ; returns the length of the reply's payload. */
  read(): number {
    const count = this.#decodeAccess();
    const { incoming, outgoing } = this.#connection;
    const region = RegionAccess.region.get(incoming.view, PAYLOAD);
    const offset = getWord64(RegionAccess.offset, incoming.view, PAYLOAD);
    if (!this.#checkRange(region, offset, count).isReadable)
      throw new VfioUserError(Errno.EACCES, `region ${region} cannot be read`);
    const target = this.#toRead[count] ?? window(outgoing.bytes, DATA, count);
    target.fill(0);
    if (count > 0) this.#device.read(region, offset, target);
    this.#echoAccess(region, offset, count);
    return RegionAccess.byteLength + count;
  }

  /** REGION_WRITE; returns the length of the reply's payload. */
  write(): number {
    const count = this.#decodeAccess();
    const { incoming, size } = this.#connection;
    if (size - DATA !== count) throw invalid(`write of ${count} bytes with ${size - DATA} bytes of data`);
    const region = RegionAccess.region.get(incoming.view, PAYLOAD);
    const offset = getWord64(RegionAccess.offset, incoming.view, PAYLOAD);
    if (!this.#checkRange(region, offset, count).isWritable)
      throw new VfioUserError(Errno.EACCES, `region ${region} cannot be written`);
    if (count > 0) this.#device.write(region, offset, this.#written[count] ?? window(incoming.bytes, DATA, count));
    this.#echoAccess(region, offset, count);
    return RegionAccess.byteLength;
  }

  /**
   * REGION_WRITE_MULTI: all writes are checked, then all are made; returns the length of the reply's payload and how many
   * there were.
   */
  writeMulti(): { payloadBytes: number; writes: number } {
    const { incoming, outgoing } = this.#connection;
    assertPayload(this.#connection, WriteMulti.byteLength);
    const writes = getWord64(WriteMulti.count, incoming.view, PAYLOAD);
    if (writes > MAX_MULTI_WRITES) throw invalid(`${writes} writes in one message; expected at most ${MAX_MULTI_WRITES}`);
    const first = PAYLOAD + WriteMulti.byteLength;
    if (this.#connection.size !== first + writes * WriteMultiEntry.byteLength) throw invalid(`wrong length for ${writes} writes`);
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < writes; i++) this.#writeEntry(first + i * WriteMultiEntry.byteLength, pass === 1);
    }
    setWord64(WriteMulti.count, outgoing.view, PAYLOAD, writes);
    return { payloadBytes: WriteMulti.byteLength, writes };
  }

  #writeEntry(at: number, isChecked: boolean): void {
    const { view, bytes } = this.#connection.incoming;
    const offset = getWord64(WriteMultiEntry.offset, view, at);
    const region = WriteMultiEntry.region.get(view, at);
    const count = WriteMultiEntry.count.get(view, at);
    if (isChecked) {
      if (count > 0) this.#device.write(region, offset, window(bytes, at + WriteMultiEntry.data.offset, count));
      return;
    }
    if (count > 8) throw invalid(`single write of ${count} bytes; expected at most 8`);
    if (!this.#checkRange(region, offset, count).isWritable)
      throw new VfioUserError(Errno.EACCES, `region ${region} cannot be written`);
  }

  #decodeAccess(): number {
    assertPayload(this.#connection, RegionAccess.byteLength);
    const count = RegionAccess.count.get(this.#connection.incoming.view, PAYLOAD);
    if (count > MAX_DATA_BYTES) throw invalid(`access of ${count} bytes; expected at most ${MAX_DATA_BYTES}`);
    return count;
  }

  #checkRange(index: number, offset: number, count: number): Region {
    const region = index < REGION_COUNT ? this.#device.regions[index] : undefined;
    if (region === undefined) throw invalid(`region ${index}`);
    if (offset + count > region.sizeBytes) throw invalid(`${count} bytes at 0x${offset.toString(16)} of region ${index}`);
    return region;
  }

  #echoAccess(region: number, offset: number, count: number): void {
    const view = this.#connection.outgoing.view;
    setWord64(RegionAccess.offset, view, PAYLOAD, offset);
    RegionAccess.region.set(view, PAYLOAD, region);
    RegionAccess.count.set(view, PAYLOAD, count);
  }
}

function regionFlags(region: Region): number {
  const access = (region.isReadable ? RegionFlag.READ : 0) | (region.isWritable ? RegionFlag.WRITE : 0);
  if (region.mapping === undefined) return access;
  return access | RegionFlag.MMAP | (region.mapping.areas === undefined ? 0 : RegionFlag.CAPS);
}

function encodeSparseMmap(view: DataView, at: number, areas: readonly { offset: number; sizeBytes: number }[]): void {
  // its reserved bytes too, else they would show what the last reply had there
  new Uint8Array(view.buffer, view.byteOffset + at, SparseMmap.byteLength).fill(0);
  SparseMmap.id.set(view, at, RegionCapabilityId.SPARSE_MMAP);
  SparseMmap.version.set(view, at, 1);
  SparseMmap.next.set(view, at, 0);
  SparseMmap.areaCount.set(view, at, areas.length);
  areas.forEach((area, i) => {
    const areaAt = at + SparseMmap.byteLength + i * SparseMmapArea.byteLength;
    setWord64(SparseMmapArea.offset, view, areaAt, area.offset);
    setWord64(SparseMmapArea.size, view, areaAt, area.sizeBytes);
  });
}

const window = (bytes: Buffer, at: number, length: number): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + at, length);
const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
