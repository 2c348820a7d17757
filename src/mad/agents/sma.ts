// Subnet management agent: executes Get and Set of a node's attributes. IBA vol 1, 14.2.5 and the M_Key rules of 14.2.4.
// Works in place on a 256-byte MAD; how it came and where the answer goes is the caller's business.

import { MadHeader, SMP_DATA_AT, SMP_DATA_BYTES } from "../../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MadStatus, Method, NodeType, SM_CLASS_VERSION, SmAttribute } from "../../spec/mad/numbers.ts";
import type { ManagedNode } from "../attributes.ts";
import { bytesOf, isResponse, makeResponse, Verdict } from "../mad.ts";
import type { Attribute, SmaContext } from "./attribute.ts";
import { checkMkey } from "./mkey.ts";
import { nodeDescription, nodeInfo } from "./sma-node.ts";
import { portInfo } from "./sma-port-info.ts";
import { linearForwarding, multicastForwarding, switchInfo } from "./sma-switch.ts";
import { guidInfo, ledInfo, pKeyTable, slToVl, vlArbitration } from "./sma-tables.ts";

const ATTRIBUTES: Readonly<Record<number, Attribute>> = {
  [SmAttribute.NODE_DESCRIPTION]: nodeDescription,
  [SmAttribute.NODE_INFO]: nodeInfo,
  [SmAttribute.SWITCH_INFO]: switchInfo,
  [SmAttribute.GUID_INFO]: guidInfo,
  [SmAttribute.PORT_INFO]: portInfo,
  [SmAttribute.P_KEY_TABLE]: pKeyTable,
  [SmAttribute.SL_TO_VL_MAPPING]: slToVl,
  [SmAttribute.VL_ARBITRATION]: vlArbitration,
  [SmAttribute.LINEAR_FORWARDING]: linearForwarding,
  [SmAttribute.MULTICAST_FORWARDING]: multicastForwarding,
  [SmAttribute.LED_INFO]: ledInfo,
};

/** True for what the SMA executes; SMInfo, traps and responses are for a subnet manager. */
export function isForSma(mad: DataView, at = 0): boolean {
  const method = MadHeader.method.get(mad, at);
  if (method !== Method.GET && method !== Method.SET && method !== Method.TRAP_REPRESS) return false;
  return MadHeader.attributeId.get(mad, at) !== SmAttribute.SM_INFO;
}

/**
 * Executes the SMP in `mad` (256 bytes, changed in place to the response).
 * @returns a `Verdict`; DROP after a M_Key violation, as 14.2.4.1 demands.
 */
export function processSmp(node: ManagedNode, mad: DataView, context: SmaContext): number {
  if (isResponse(mad) && MadHeader.method.get(mad, 0) !== Method.TRAP_REPRESS) return Verdict.DROP;
  if (MadHeader.baseVersion.get(mad, 0) !== MAD_BASE_VERSION || MadHeader.classVersion.get(mad, 0) !== SM_CLASS_VERSION) {
    return reply(mad, MadStatus.BAD_VERSION);
  }
  const keyPort = node.ports[node.type === NodeType.SWITCH ? 0 : context.port];
  if (keyPort === undefined) return Verdict.DROP;
  if (!context.ignoreMkey && !checkMkey(keyPort, mad, context.nowNs)) return Verdict.DROP;
  return execute(node, mad, context);
}

function execute(node: ManagedNode, mad: DataView, context: SmaContext): number {
  const method = MadHeader.method.get(mad, 0);
  if (method === Method.TRAP_REPRESS) {
    node.trapRepressed(MadHeader.tid.hi.get(mad, 0), MadHeader.tid.lo.get(mad, 0));
    return Verdict.CONSUMED;
  }
  if (method !== Method.GET && method !== Method.SET) return reply(mad, MadStatus.UNSUPPORTED_METHOD);
  const attribute = ATTRIBUTES[MadHeader.attributeId.get(mad, 0)];
  if (attribute === undefined || (attribute.switchOnly === true && node.switch === undefined)) {
    return reply(mad, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  }
  if (method === Method.SET) {
    if (attribute.set === undefined) return reply(mad, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
    return reply(mad, attribute.set(node, mad, context));
  }
  bytesOf(mad).fill(0, SMP_DATA_AT, SMP_DATA_AT + SMP_DATA_BYTES);
  return reply(mad, attribute.get(node, mad, context));
}

function reply(mad: DataView, status: number): number {
  makeResponse(mad, status);
  return Verdict.REPLY;
}
