// `do` of a netlist: commands of ibsim's console that say something about the fabric. The others, which show or wait, do nothing.
//
//   do Link "a"[1] "b"[2]     do Unlink "a"[1]     do ReLink "a"     do Clear "a"[1]     do Guid "a" 0x1234     do Error "a"[1] 10
//   do !file                  a file of such commands, one in a line

import type { LinkEnd } from "../topology.ts";
import type { NetlistCables } from "./cables.ts";
import type { NetlistNames } from "./names.ts";
import { failAt, type Place, parseNumber } from "./place.ts";

/** What commands can change of the netlist so far. */
export interface CommandTarget {
  readonly names: NetlistNames;
  readonly cables: NetlistCables;
  /** Number of ports of a node that has been listed. */
  portCount(node: string): number | undefined;
  /** Before a command plugs a cable in at a port. */
  prepare(end: LinkEnd): void;
  /** @param port undefined for the node's own GUID */
  setGuid(node: string, port: number | undefined, guid: bigint): void;
  runFile(name: string, place: Place): void;
}

const IGNORED = new Set(["start", "dump", "route", "baselid", "verbose", "wait", "attached", "x", "help", "?", ""]);

/** @throws TopologyError if the command is wrong, or not one that can be carried out here */
export function runCommand(target: CommandTarget, text: string, place: Place): void {
  const command = text.trim();
  if (command.startsWith("#")) return;
  if (command.startsWith("!")) {
    target.runFile(command.slice(1).trim(), place);
    return;
  }
  const [word = ""] = command.split(/\s/, 1);
  const rest = command.slice(word.length);
  const run = COMMANDS[word.toLowerCase()];
  if (run !== undefined) run(target, rest, place);
  else if (!IGNORED.has(word.toLowerCase())) failAt(place, `expected a command for the fabric (${KNOWN}), got: ${command}`);
}

type Run = (target: CommandTarget, rest: string, place: Place) => void;

const COMMANDS: Readonly<Record<string, Run>> = {
  link: (target, text, place) => {
    const a = takePort(target, text, place);
    const b = takePort(target, a.rest, place);
    for (const { end } of [a, b]) target.prepare(end);
    target.cables.link(a.end, b.end, place);
  },
  unlink: (target, text, place) => {
    const { ports, isWholeNode } = takePorts(target, text, place);
    const count = ports.filter((end) => target.cables.unlink(end)).length;
    if (count === 0 && !isWholeNode)
      failAt(
        place,
        "there is no cable yet that a command has plugged in: those of lines come when all is read; leave such a line out",
      );
  },
  clear: (target, text, place) => {
    for (const end of takePorts(target, text, place).ports) target.cables.unlink(end);
  },
  relink: (target, text, place) => {
    const { ports, isWholeNode } = takePorts(target, text, place);
    const count = ports.filter((end) => target.cables.relink(end, place)).length;
    if (count === 0 && !isWholeNode) failAt(place, "no cable has been unplugged there");
  },
  guid: (target, text, place) => {
    const { node, port, rest } = takeNode(target, text, place);
    if (rest.trim() !== "") target.setGuid(node, port, parseNumber(rest));
  },
  error: (target, text, place) => {
    const { ports, rest } = takePorts(target, text, place);
    const [rate = "", attribute] = rest.trim().split(/\s+/);
    const percent = Number(parseNumber(rate));
    if (rate === "" || percent > 100) failAt(place, `expected a part from 0 to 100 (percent), got: ${rate}`);
    if (attribute !== undefined) failAt(place, "a port loses packets, whatever attribute they carry; leave the attribute out");
    for (const end of ports) target.cables.setLoss(end, percent / 100);
  },
};

const KNOWN = "Link, Unlink, ReLink, Clear, Guid, Error";
const NAMED = /^[^"]*"([^"]*)"(?:\[\s*(\d+)[^\]]*\]?)?(.*)$/;

interface Taken {
  readonly node: string;
  readonly port: number | undefined;
  /** What comes behind. */
  readonly rest: string;
}

function takeNode(target: CommandTarget, text: string, place: Place): Taken {
  const [, name = "", number, rest = ""] =
    NAMED.exec(text) ?? failAt(place, `expected the name of a node in quotes, got: ${text}`);
  const { node, port = number === undefined ? undefined : Number(number) } = target.names.find(name, place);
  const count =
    target.portCount(node) ?? failAt(place, `there is no node "${node}" yet; a command comes after the nodes it names`);
  if (port !== undefined && (port < 1 || port > count)) failAt(place, `"${node}" has ports 1 to ${count}, got ${port}`);
  return { node, port, rest };
}

function takePort(target: CommandTarget, text: string, place: Place): { end: LinkEnd; rest: string } {
  const { node, port, rest } = takeNode(target, text, place);
  return { end: { node, port: port ?? failAt(place, `expected a port: "${node}"[1]`) }, rest };
}

/** A port, or all those of a node. */
function takePorts(target: CommandTarget, text: string, place: Place): { ports: LinkEnd[]; isWholeNode: boolean; rest: string } {
  const { node, port, rest } = takeNode(target, text, place);
  const all = (): LinkEnd[] => Array.from({ length: target.portCount(node) ?? 0 }, (_, i) => ({ node, port: i + 1 }));
  return { ports: port === undefined ? all() : [{ node, port }], isWholeNode: port === undefined, rest };
}
