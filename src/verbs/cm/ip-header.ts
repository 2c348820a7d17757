// The IP addresses of a connection, in front of the private data of its REQ. IBA vol 1, annex A11.

import { IP_SERVICE_PREFIX, IpCmHeader, IpProtocol } from "../../spec/mad/cm.ts";
import { VerbsError } from "../error.ts";
import { ipText } from "./ip.ts";

const V4 = 4;
const V6 = 6;
const V4_AT = 12;
const SERVICE_PREFIX_BITS = 24n;
const PORT_BITS = 16n;

/** Who connects to whom, in terms of IP. */
export interface IpAddresses {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
}

/** The service id of a TCP port (RDMA_PS_TCP). @throws VerbsError EINVAL */
export function serviceIdOf(port: number): bigint {
  if (!(Number.isInteger(port) && port > 0 && port <= 0xffff)) throw new VerbsError("EINVAL", `port ${port}: must be 1 to 65535`);
  return IP_SERVICE_PREFIX | (BigInt(IpProtocol.TCP) << PORT_BITS) | BigInt(port);
}

/** Whether REQs to this service begin with an IP header. */
export const isIpService = (serviceId: bigint): boolean =>
  serviceId >> SERVICE_PREFIX_BITS === IP_SERVICE_PREFIX >> SERVICE_PREFIX_BITS;

export const portOf = (serviceId: bigint): number => Number(serviceId & 0xffffn);

/** @param source and destination: 4 or 16 bytes, of one length */
export function encodeIpHeader(source: Uint8Array, sourcePort: number, destination: Uint8Array): Uint8Array {
  if (source.length !== destination.length) {
    throw new VerbsError("EINVAL", `connect: from ${ipText(source)} to ${ipText(destination)}: both must be of one IP version`);
  }
  const bytes = new Uint8Array(IpCmHeader.byteLength);
  const view = new DataView(bytes.buffer);
  const isV4 = source.length === V4;
  IpCmHeader.ipVersion.set(view, 0, isV4 ? V4 : V6);
  IpCmHeader.sourcePort.set(view, 0, sourcePort);
  bytes.set(source, IpCmHeader.source.offset + (isV4 ? V4_AT : 0));
  bytes.set(destination, IpCmHeader.destination.offset + (isV4 ? V4_AT : 0));
  return bytes;
}

/** The header at the start of private data; undefined if there is none that we understand. */
export function decodeIpHeader(privateData: Uint8Array): IpAddresses | undefined {
  const view = new DataView(privateData.buffer, privateData.byteOffset, privateData.byteLength);
  const version = IpCmHeader.ipVersion.get(view, 0);
  if (IpCmHeader.majorVersion.get(view, 0) !== 0 || (version !== V4 && version !== V6)) return undefined;
  const from = version === V4 ? V4_AT : 0;
  return {
    source: ipText(IpCmHeader.source.get(view, 0).subarray(from)),
    sourcePort: IpCmHeader.sourcePort.get(view, 0),
    destination: ipText(IpCmHeader.destination.get(view, 0).subarray(from)),
  };
}
