// How much a vfio-user peer can make us keep or do. docs/limits.md lists these.

import { MAX_RANGES } from "../base/address-space.ts";
import { Header, RegionAccess } from "../spec/vfio-user/messages.ts";
import { DEFAULT_MAX_DATA_BYTES } from "../spec/vfio-user/numbers.ts";

/** Data in one region access, either way; the protocol's default, so it holds for peers that negotiate nothing. */
export const MAX_DATA_BYTES = DEFAULT_MAX_DATA_BYTES;
/** The largest message there is: a region write of that many bytes. A longer one is a framing error. */
export const MAX_MESSAGE_BYTES = Header.byteLength + RegionAccess.byteLength + MAX_DATA_BYTES;
/** Descriptors with one message; QEMU sends at most 16. */
export const MAX_MESSAGE_DESCRIPTORS = 16;
/** DMA ranges of one session, with and without descriptor. */
export const MAX_DMA_MAPS = MAX_RANGES;
/** Different memfds one session may have mapped at a time; a VM has one per NUMA node or memory device. */
export const MAX_MEMORIES = 64;
/** Bytes of all of them, which take as much of this process's address space: of 128 TiB that all VMs share. */
export const MAX_MEMORY_BYTES = 2 ** 40;
/** The JSON text of a VERSION message. */
export const MAX_VERSION_BYTES = 4096;
/** Writes in one REGION_WRITE_MULTI, so that one message cannot hold up the engine for long. */
export const MAX_MULTI_WRITES = 256;
/** Messages one `poll` handles. */
export const MESSAGES_PER_POLL = 8;
/** System calls one `poll` makes to complete one message that arrives in pieces. */
export const RECEIVES_PER_MESSAGE = 4;
/** Vectors of one interrupt index: the most MSI-X can have (PCI Express 5.0, 7.7.2.2). */
export const MAX_IRQ_VECTORS = 2048;
