// What the driver asks its own port's agent: the verbs' query port, GID and P_Key. Docs "infinihost" 6.3; IBA vol 1, 14.2.5.

import { MadHeader, SMP_DATA_AT } from "../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MAD_BYTES, Method, MgmtClass, SM_CLASS_VERSION, SmAttribute } from "../spec/mad/numbers.ts";
import { DriverError } from "./access.ts";
import type { Device } from "./device.ts";
import { executeMad } from "./management-agent.ts";

const GIDS_PER_BLOCK = 8;
const PKEYS_PER_BLOCK = 32;

/**
 * Gets a subnet management attribute of this HCA.
 * @returns the attribute's bytes, 64 of them
 * @throws DriverError EINVAL if the agent knows no such attribute
 */
export function getSmAttribute(device: Device, attribute: number, modifier: number): DataView {
  const mad = new Uint8Array(MAD_BYTES);
  const view = new DataView(mad.buffer);
  MadHeader.baseVersion.set(view, 0, MAD_BASE_VERSION);
  MadHeader.mgmtClass.set(view, 0, MgmtClass.SUBN_LID_ROUTED);
  MadHeader.classVersion.set(view, 0, SM_CLASS_VERSION);
  MadHeader.method.set(view, 0, Method.GET);
  MadHeader.attributeId.set(view, 0, attribute);
  MadHeader.attributeModifier.set(view, 0, modifier);
  const answer = executeMad(device, mad);
  const status = answer === undefined ? -1 : MadHeader.status.get(answer, 0);
  if (answer === undefined || status !== 0)
    throw new DriverError("EINVAL", `attribute 0x${attribute.toString(16)}, modifier ${modifier}: status ${status}`);
  return new DataView(answer.buffer, answer.byteOffset + SMP_DATA_AT, MAD_BYTES - SMP_DATA_AT);
}

/** GUID number `index` of the port: the lower half of its GID. */
export function getPortGuid(device: Device, index: number): Uint8Array {
  const block = getSmAttribute(device, SmAttribute.GUID_INFO, Math.floor(index / GIDS_PER_BLOCK));
  const at = block.byteOffset + (index % GIDS_PER_BLOCK) * 8;
  return new Uint8Array(block.buffer.slice(at, at + 8));
}

/** P_Key number `index` of the port's table. */
export function getPortPkey(device: Device, index: number): number {
  const block = getSmAttribute(device, SmAttribute.P_KEY_TABLE, Math.floor(index / PKEYS_PER_BLOCK));
  return block.getUint16((index % PKEYS_PER_BLOCK) * 2, false);
}
