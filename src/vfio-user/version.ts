// VERSION: the first message of a session ("VFIO_USER_VERSION"). Both ends describe themselves in JSON with a terminating NUL.

import { Errno } from "../host/system-error.ts";
import { DEFAULT_MAX_DATA_BYTES, DEFAULT_MAX_MESSAGE_DESCRIPTORS, DEFAULT_PAGE_SIZES } from "../spec/vfio-user/numbers.ts";
import { VfioUserError } from "./error.ts";
import { MAX_DATA_BYTES, MAX_DMA_MAPS, MAX_MESSAGE_DESCRIPTORS, MAX_VERSION_BYTES } from "./limits.ts";

/** What a peer can take. */
export interface Capabilities {
  readonly maxMessageDescriptors: number;
  readonly maxDataBytes: number;
  readonly maxDmaMaps: number;
  readonly pageSizes: number;
  readonly writeMultiple: boolean;
}

/** What a peer that says nothing can take, and what stands in for whatever it leaves out. */
const DEFAULTS: Capabilities = {
  maxMessageDescriptors: DEFAULT_MAX_MESSAGE_DESCRIPTORS,
  maxDataBytes: DEFAULT_MAX_DATA_BYTES,
  maxDmaMaps: 65535,
  pageSizes: DEFAULT_PAGE_SIZES,
  writeMultiple: false,
};

/** What this program can take, as a peer reads it. */
export function encodeCapabilities(writeMultiple: boolean): Buffer {
  const capabilities = {
    max_msg_fds: MAX_MESSAGE_DESCRIPTORS,
    max_data_xfer_size: MAX_DATA_BYTES,
    max_dma_maps: MAX_DMA_MAPS,
    pgsizes: DEFAULT_PAGE_SIZES,
    ...(writeMultiple ? { write_multiple: true } : {}),
  };
  return Buffer.from(`${JSON.stringify({ capabilities })}\0`);
}

/**
 * Reads the JSON behind a VERSION message's numbers; an empty one means the defaults.
 * @throws VfioUserError EINVAL if it is too long, lacks its NUL, is not JSON, or has a capability of the wrong kind.
 */
export function decodeCapabilities(data: Buffer): Capabilities {
  if (data.length === 0) return DEFAULTS;
  if (data.length > MAX_VERSION_BYTES)
    throw invalid(`${data.length} bytes of version data; expected at most ${MAX_VERSION_BYTES}`);
  if (data.at(-1) !== 0) throw invalid("version data without a terminating NUL");
  const text = data.toString("utf8", 0, data.indexOf(0));
  if (text === "") return DEFAULTS;
  const given = asObject(asObject(parseJson(text)).capabilities ?? {});
  return {
    maxMessageDescriptors: countOf(given, "max_msg_fds", DEFAULTS.maxMessageDescriptors),
    maxDataBytes: countOf(given, "max_data_xfer_size", DEFAULTS.maxDataBytes),
    maxDmaMaps: countOf(given, "max_dma_maps", DEFAULTS.maxDmaMaps),
    pageSizes: countOf(given, "pgsizes", DEFAULTS.pageSizes),
    writeMultiple: given.write_multiple === true,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("version data that is not JSON");
  }
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("version data: expected JSON objects");
  return value as Record<string, unknown>;
}

function countOf(given: Record<string, unknown>, name: string, otherwise: number): number {
  const value = Object.hasOwn(given, name) ? given[name] : otherwise;
  if (typeof value !== "number" || !(value >= 0)) throw invalid(`capability ${name}: expected a number`);
  return value;
}

const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
