// Answers of the control socket that only tell about a client's port.

import type { Port } from "../fabric/port.ts";
import { processSmp } from "../mad/agents/sma.ts";
import { bytesOf, newRequest } from "../mad/mad.ts";
import {
  CONTROL_DATA_AT,
  CONTROL_DATA_BYTES,
  Connect,
  ControlType,
  GidView,
  GuidView,
  NODE_NAME_BYTES,
  PortView,
  Vendor,
} from "../spec/ibsim/messages.ts";
import { SMP_DATA_AT } from "../spec/mad/headers.ts";
import { Method, MgmtClass, P_KEY_BLOCK, SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";

const AT = CONTROL_DATA_AT;
const FIRMWARE = 1n;

/** Writes the data of the reply to a question about `port` into `view`, 64 bytes from CONTROL_DATA_AT; false if it is none. */
export function answerControl(type: number, port: Port, view: DataView): boolean {
  const asked = view.getUint8(AT);
  const { node } = port;
  new Uint8Array(view.buffer, view.byteOffset + AT, CONTROL_DATA_BYTES).fill(0);
  switch (type) {
    case ControlType.GET_PORT:
      PortView.lid.set(view, AT, port.lid);
      PortView.state.set(view, AT, Uint8Array.of(port.state));
      return true;
    case ControlType.GET_VENDOR:
      Vendor.vendorId.set(view, AT, node.vendorId);
      Vendor.deviceId.set(view, AT, node.deviceId);
      Vendor.revision.set(view, AT, node.revision);
      Vendor.firmware.setBig(view, AT, FIRMWARE);
      return true;
    case ControlType.GET_GID:
      GidView.prefix.setBig(view, AT, PortInfo.gidPrefix.getBig(port.info, 0));
      GidView.guid.setBig(view, AT, node.guid);
      return true;
    case ControlType.GET_GUID:
      GuidView.guid.setBig(view, AT, node.guid);
      return true;
    case ControlType.GET_NODE_INFO:
      copyAttribute(port, SmAttribute.NODE_INFO, view);
      return true;
    case ControlType.GET_PORT_INFO:
      copyAttribute(node.ports[asked === 0 ? port.number : asked] ?? port, SmAttribute.PORT_INFO, view);
      return true;
    case ControlType.GET_P_KEYS:
      copyPkeys(port, view);
      return true;
    default:
      return false;
  }
}

/** An attribute as the port's own agent tells it. */
function copyAttribute(port: Port, attribute: number, view: DataView): void {
  const modifier = attribute === SmAttribute.PORT_INFO ? port.number : 0;
  const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, attribute, modifier);
  processSmp(port.node, mad, { port: port.number, ignoreMkey: true, nowNs: port.node.fabric.nowNs });
  new Uint8Array(view.buffer, view.byteOffset + AT, CONTROL_DATA_BYTES).set(
    bytesOf(mad).subarray(SMP_DATA_AT, SMP_DATA_AT + CONTROL_DATA_BYTES),
  );
}

function copyPkeys({ pkeys }: Port, view: DataView): void {
  const count = Math.min(pkeys.length, P_KEY_BLOCK);
  for (let i = 0; i < count; i++) view.setUint16(AT + 2 * i, pkeys[i] ?? 0);
}

/** The node that CONNECT asks for; empty: any. */
export function readNodeName(view: DataView): string {
  const bytes = Connect.nodeName.get(view, AT);
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
}

/** Writes the reply to CONNECT. */
export function writeConnected(view: DataView, slot: number, name: string): void {
  Connect.id.set(view, AT, slot);
  Connect.nodeName.set(view, AT, Buffer.from(name).subarray(0, NODE_NAME_BYTES - 1));
}

/** What the name of a node in a message may be compared with, since longer ones are cut. */
export const shortName = (name: string): string =>
  Buffer.from(name)
    .subarray(0, NODE_NAME_BYTES - 1)
    .toString();
