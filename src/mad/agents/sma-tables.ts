// The tables of a port: GUIDInfo, P_KeyTable, SLtoVLMappingTable, VLArbitrationTable; and LedInfo. IBA vol 1, 14.2.5.5,
// 14.2.5.7 to 14.2.5.9, 14.2.5.16.

import { MadHeader, SMP_DATA_AT } from "../../spec/mad/headers.ts";
import { GUID_BLOCK, MadStatus, NodeType, P_KEY_BLOCK, VL_ARB_BLOCK } from "../../spec/mad/numbers.ts";
import { LedInfo, PortInfo, SL_TO_VL_BYTES } from "../../spec/mad/sm-attributes.ts";
import type { ManagedNode, PortAttributes } from "../attributes.ts";
import { bytesOf } from "../mad.ts";
import type { Attribute, SmaContext } from "./attribute.ts";

const AT = SMP_DATA_AT;
const LOW_16 = 0xffff;
const VL_ARB_BLOCKS = 4;

const isSwitch = (node: ManagedNode): boolean => node.type === NodeType.SWITCH;

/** First GUID of the block asked for, and the end port that has it; undefined when there is no such block. */
function guidBlock(node: ManagedNode, mad: DataView, context: SmaContext): { port: PortAttributes; first: number } | undefined {
  const port = node.ports[isSwitch(node) ? 0 : context.port];
  const first = MadHeader.attributeModifier.get(mad, 0) * GUID_BLOCK;
  return port === undefined || first >= port.gidCount ? undefined : { port, first };
}

function getGuidInfo(node: ManagedNode, mad: DataView, context: SmaContext): number {
  const where = guidBlock(node, mad, context);
  if (where === undefined) return MadStatus.INVALID_FIELD;
  for (let i = 0; i < GUID_BLOCK && where.first + i < where.port.gidCount; i++) {
    mad.setBigUint64(AT + i * 8, where.port.guidAt(where.first + i));
  }
  return MadStatus.OK;
}

export const guidInfo: Attribute = {
  get: getGuidInfo,
  set(node, mad, context) {
    const where = guidBlock(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    for (let i = 0; i < GUID_BLOCK && where.first + i < where.port.gidCount; i++) {
      // entry 0 is the port's own GUID and read-only
      if (where.first + i > 0) where.port.setGuid(where.first + i, mad.getBigUint64(AT + i * 8));
    }
    node.attributesChanged();
    return getGuidInfo(node, mad, context);
  },
};

/** P_Key block: the port is in the upper half of the modifier on a switch, the block in the lower. */
function pKeyBlock(node: ManagedNode, mad: DataView, context: SmaContext): { port: PortAttributes; first: number } | undefined {
  const modifier = MadHeader.attributeModifier.get(mad, 0);
  const port = node.ports[isSwitch(node) ? modifier >>> 16 : context.port];
  const first = (modifier & LOW_16) * P_KEY_BLOCK;
  return port === undefined || first >= port.pkeys.length ? undefined : { port, first };
}

function getPKeyTable(node: ManagedNode, mad: DataView, context: SmaContext): number {
  const where = pKeyBlock(node, mad, context);
  if (where === undefined) return MadStatus.INVALID_FIELD;
  for (let i = 0; i < P_KEY_BLOCK; i++) mad.setUint16(AT + i * 2, where.port.pkeys[where.first + i] ?? 0);
  return MadStatus.OK;
}

export const pKeyTable: Attribute = {
  get: getPKeyTable,
  set(node, mad, context) {
    const where = pKeyBlock(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    const { pkeys } = where.port;
    for (let i = 0; i < P_KEY_BLOCK && where.first + i < pkeys.length; i++) pkeys[where.first + i] = mad.getUint16(AT + i * 2);
    node.attributesChanged();
    return getPKeyTable(node, mad, context);
  },
};

/** Bits of a switch's SLtoVL modifier: the table is for packets from all ports, or to all ports (optimized programming, Set only). */
const ALL_INPUTS = 0x20000;
const ALL_OUTPUTS = 0x10000;

/** SLtoVL: on a switch bits 15:8 of the modifier are the input port and 7:0 the output port. */
function slToVlTable(node: ManagedNode, mad: DataView, context: SmaContext): { port: PortAttributes; input: number } | undefined {
  const modifier = MadHeader.attributeModifier.get(mad, 0);
  if (!isSwitch(node)) {
    const port = node.ports[context.port];
    return port === undefined ? undefined : { port, input: 0 };
  }
  const input = (modifier >>> 8) & 0xff;
  const port = node.ports[modifier & 0xff];
  if (port === undefined || node.ports[input] === undefined || modifier > LOW_16) return undefined;
  return { port, input };
}

function setMany(node: ManagedNode, modifier: number, table: Uint8Array): number {
  const outputs = (modifier & ALL_OUTPUTS) === 0 ? [node.ports[modifier & 0xff]] : node.ports;
  const input = (modifier & ALL_INPUTS) === 0 ? (modifier >>> 8) & 0xff : undefined;
  if (modifier > (ALL_INPUTS | ALL_OUTPUTS | LOW_16) || (input !== undefined && node.ports[input] === undefined))
    return MadStatus.INVALID_FIELD;
  if (outputs.every((port) => port === undefined)) return MadStatus.INVALID_FIELD;
  for (const port of outputs) {
    if (input !== undefined) port?.setSlToVl(input, table);
    else port?.setSlToVlFromAll(table);
  }
  return MadStatus.OK;
}

export const slToVl: Attribute = {
  get(node, mad, context) {
    const where = slToVlTable(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    bytesOf(mad).set(where.port.slToVlFrom(where.input), AT);
    return MadStatus.OK;
  },
  set(node, mad, context) {
    const table = bytesOf(mad).slice(AT, AT + SL_TO_VL_BYTES);
    const modifier = MadHeader.attributeModifier.get(mad, 0);
    if (isSwitch(node) && (modifier & (ALL_INPUTS | ALL_OUTPUTS)) !== 0) return setMany(node, modifier, table);
    const where = slToVlTable(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    where.port.setSlToVl(where.input, table);
    return MadStatus.OK;
  },
};

/** VLArbitration: the block (1 and 2 low priority, 3 and 4 high) is in the upper half of the modifier, the port below. */
function vlArbBlock(node: ManagedNode, mad: DataView, context: SmaContext): { port: PortAttributes; block: number } | undefined {
  const modifier = MadHeader.attributeModifier.get(mad, 0);
  const block = modifier >>> 16;
  const port = node.ports[isSwitch(node) ? modifier & LOW_16 : context.port];
  if (port === undefined || block < 1 || block > VL_ARB_BLOCKS) return undefined;
  return PortInfo.vlArbLowCap.get(port.info, 0) === 0 ? undefined : { port, block };
}

export const vlArbitration: Attribute = {
  get(node, mad, context) {
    const where = vlArbBlock(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    bytesOf(mad).set(where.port.vlArbitrationBlock(where.block), AT);
    return MadStatus.OK;
  },
  set(node, mad, context) {
    const where = vlArbBlock(node, mad, context);
    if (where === undefined) return MadStatus.INVALID_FIELD;
    where.port.setVlArbitration(where.block, bytesOf(mad).slice(AT, AT + VL_ARB_BLOCK * 2));
    node.attributesChanged();
    return MadStatus.OK;
  },
};

/** There is no lamp; a Set is accepted and forgotten. */
export const ledInfo: Attribute = {
  get(_node, mad) {
    LedInfo.mask.set(mad, AT, 0);
    return MadStatus.OK;
  },
  set: () => MadStatus.OK,
};
