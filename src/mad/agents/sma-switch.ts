// SwitchInfo and the forwarding tables. IBA vol 1, 14.2.5.4, 14.2.5.10, 14.2.5.12.

import type { Field } from "../../base/layout.ts";
import { MadHeader, SMP_DATA_AT } from "../../spec/mad/headers.ts";
import { LFT_BLOCK_LIDS, MadStatus } from "../../spec/mad/numbers.ts";
import { SwitchInfo } from "../../spec/mad/sm-attributes.ts";
import type { ManagedNode } from "../attributes.ts";
import { bytesOf } from "../mad.ts";
import type { Attribute } from "./attribute.ts";

const AT = SMP_DATA_AT;

const WRITABLE: readonly Field[] = [
  SwitchInfo.linearFdbTop,
  SwitchInfo.defaultPort,
  SwitchInfo.defaultMulticastPrimaryPort,
  SwitchInfo.defaultMulticastNotPrimaryPort,
  SwitchInfo.lifeTime,
];

function getSwitchInfo(node: ManagedNode, mad: DataView): number {
  if (node.switch === undefined || MadHeader.attributeModifier.get(mad, 0) !== 0) return MadStatus.INVALID_FIELD;
  bytesOf(mad).set(bytesOf(node.switch.info), AT);
  return MadStatus.OK;
}

export const switchInfo: Attribute = {
  switchOnly: true,
  get: getSwitchInfo,
  set(node, mad) {
    if (node.switch === undefined || MadHeader.attributeModifier.get(mad, 0) !== 0) return MadStatus.INVALID_FIELD;
    const { info, linear } = node.switch;
    if (SwitchInfo.linearFdbTop.get(mad, AT) >= linear.capacity) return MadStatus.INVALID_FIELD;
    for (const field of WRITABLE) field.set(info, 0, field.get(mad, AT));
    // what a manager says it will fill is made room for once, not block by block
    linear.reserve(SwitchInfo.linearFdbTop.get(mad, AT) + 1);
    // written as 1 it is cleared, written as 0 it stays
    if (SwitchInfo.portStateChange.get(mad, AT) === 1) SwitchInfo.portStateChange.set(info, 0, 0);
    node.attributesChanged();
    return getSwitchInfo(node, mad);
  },
};

/** The part of the data area that holds a block. */
const blockOf = (mad: DataView): Uint8Array => bytesOf(mad).subarray(AT, AT + LFT_BLOCK_LIDS);

export const linearForwarding: Attribute = {
  switchOnly: true,
  get(node, mad) {
    const table = node.switch?.linear;
    const block = MadHeader.attributeModifier.get(mad, 0);
    if (table === undefined || block >= table.blockCount) return MadStatus.INVALID_FIELD;
    table.readBlock(block, blockOf(mad));
    return MadStatus.OK;
  },
  set(node, mad) {
    const table = node.switch?.linear;
    const block = MadHeader.attributeModifier.get(mad, 0);
    if (table === undefined || block >= table.blockCount) return MadStatus.INVALID_FIELD;
    if (table.writeBlock(block, blockOf(mad))) node.attributesChanged();
    return MadStatus.OK;
  },
};

const MFT_BLOCK_MASK = 0x1ff;
const MFT_POSITION_SHIFT = 28;

/** Block and position of a multicast block, or undefined when the switch has no such block. */
function multicastBlock(node: ManagedNode, mad: DataView): { block: number; position: number } | undefined {
  const table = node.switch?.multicast;
  const modifier = MadHeader.attributeModifier.get(mad, 0);
  const block = modifier & MFT_BLOCK_MASK;
  const position = modifier >>> MFT_POSITION_SHIFT;
  if (table === undefined || block >= table.blockCount || position >= table.positions) return undefined;
  return { block, position };
}

export const multicastForwarding: Attribute = {
  switchOnly: true,
  get(node, mad) {
    const where = multicastBlock(node, mad);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    node.switch?.multicast.readBlock(where.block, where.position, mad, AT);
    return MadStatus.OK;
  },
  set(node, mad) {
    const where = multicastBlock(node, mad);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    if (node.switch?.multicast.writeBlock(where.block, where.position, mad, AT) === true) node.attributesChanged();
    return MadStatus.OK;
  },
};
