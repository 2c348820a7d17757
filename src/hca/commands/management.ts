// Ports and management datagrams: INIT_IB, CLOSE_IB, SET_IB, MAD_IFC. Docs "infinihost" 2.8.9, 2.8.10, 6.3.

import { Command, CommandStatus, InitIb, MAD_BYTES, MadIfcModifier, SetIb } from "../../spec/hca/commands.ts";
import type { AdapterPort } from "../../transport/port.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import type { CommandTable } from "./handler.ts";

const portOf = (hca: Hca, number: number): AdapterPort | undefined => hca.adapter.ports[number - 1];

function initIb(hca: Hca, call: CommandCall): number {
  const port = portOf(hca, call.modifier);
  if (port === undefined) return CommandStatus.BAD_INDEX;
  if (!call.readInput(InitIb.byteLength)) return CommandStatus.BAD_PARAM;
  port.wire.enable();
  return CommandStatus.OK;
}

function closeIb(hca: Hca, call: CommandCall): number {
  const port = portOf(hca, call.modifier);
  if (port === undefined) return CommandStatus.BAD_INDEX;
  port.wire.disable();
  return CommandStatus.OK;
}

function setIb(hca: Hca, call: CommandCall): number {
  const port = portOf(hca, call.modifier);
  if (port === undefined) return CommandStatus.BAD_INDEX;
  if (!call.readInput(SetIb.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  // The GUID is stack garbage unless its flag is set, and Linux never sets it (P-33).
  port.wire.setCapabilityMask(SetIb.capabilityMask.get(view, 0));
  if (SetIb.resetQkeyViolations.get(view, 0) === 1) port.wire.resetQkeyViolations();
  return CommandStatus.OK;
}

/** The port's own agents execute a MAD; "bad packet" means that none of them does (2.5). */
function madIfc(hca: Hca, call: CommandCall): number {
  const port = portOf(hca, call.modifier & 0xff);
  if (port === undefined) return CommandStatus.BAD_INDEX;
  if (!call.readInput(MAD_BYTES)) return CommandStatus.BAD_PARAM;
  call.startOutput(MAD_BYTES);
  const request = new Uint8Array(call.input.bytes.buffer, call.input.bytes.byteOffset, MAD_BYTES);
  const response = new Uint8Array(call.output.bytes.buffer, call.output.bytes.byteOffset, MAD_BYTES);
  const handled = port.wire.processMad(request, response, {
    slid: call.modifier >>> 16,
    ignoreMkey: (call.opcodeModifier & MadIfcModifier.IGNORE_MKEY) !== 0,
  });
  if (!handled) return CommandStatus.BAD_PACKET;
  return call.writeOutput(MAD_BYTES) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

export const managementCommands: CommandTable = [
  [Command.INIT_IB, initIb],
  [Command.CLOSE_IB, closeIb],
  [Command.SET_IB, setIb],
  [Command.MAD_IFC, madIfc],
];
