// Reads what ibnetdiscover prints and what ibsim takes: nodes with their ports, every cable listed at both of its ends, or at one.
//
//   switchguid=0x5442ba00003080(5442ba00003080)
//   Switch  24 "S-005442ba00003080"   # "ISR9024 Voltaire" base port 0 lid 6 lmc 0
//   [22]    "H-0008f10403961354"[1](8f10403961355)   # "MT23108 InfiniHost" lid 4 4xSDR
//
// And ibsim's statements about what follows: module= and aliases (netlist/names.ts), rates (netlist/rates.ts), GUIDs (netlist/identities.ts),
// commands (netlist/commands.ts), and include "file". Other lines are ignored, as there.
//
// LIDs are the subnet manager's to give and are not taken over.

import { NetlistCables } from "./netlist/cables.ts";
import { type CommandTarget, runCommand } from "./netlist/commands.ts";
import { NetlistIdentities, type NetlistKind } from "./netlist/identities.ts";
import { NetlistNames } from "./netlist/names.ts";
import { failAt, type Place, parseNumber } from "./netlist/place.ts";
import { DEFAULT_RATES, type PortRates, ratesOf, withMask } from "./netlist/rates.ts";
import type { LinkEnd, Topology, TopologyIdentity, TopologyNode } from "./topology.ts";

const NODE = /^(Switch|Hca|Ca)[^\d"]*(0x[0-9a-fA-F]+|\d+)[^"]*"([^"]+)"(.*)$/;
const KEYWORD = /^(?:Switch|Hca|Ca)\b/;
const PORT = /^(@?)\[(\d+)\](?:\s*\(([0-9a-fA-F]+)\))?[^"]*"([^"]+)"\s*(?:\[(\d+)\])?(.*)$/;
const STATEMENT = /^([a-z]+)([^=+]*)([=+]+)(.*)$/;
const QUOTED = /^[^"]*"([^"]*)"/;
const COMMENT_QUOTED = /^[^#]*#\s*"([^"]*)"(.*)$/;
const COMMENT_BARE = /^[^#]*#\s*(.*)$/;
/** Where a description without quotes ends. */
const DESCRIPTION_ENDS = [" enhanced port ", " base port ", " lid ", " lmc "];

/** Files that include each other, one in the other, as in ibsim; and files in all. */
const MAX_DEPTH = 9;
const MAX_FILES = 1024;

/** The text of a file that another one includes. @throws Error if there is none to read */
export type ReadInclude = (name: string) => string;

/** Whether a text is a netlist rather than YAML. */
export const isNetlist = (text: string): boolean =>
  /^(?:(?:Switch|Hca|Ca|Rt)\s+\d+\s+"|(?:vendid|devid|sysimgguid|switchguid|caguid|hcaguids?)\s*[+=]|(?:include|module\s*=)\s*")/m.test(
    text,
  );

/**
 * @param readInclude for `include` and `do !file`; without it there are no other files
 * @param maxCharacters of all files together
 * @throws TopologyError with the line that makes no sense
 */
export function parseNetlist(
  text: string,
  source: string,
  { readInclude, maxCharacters = Number.POSITIVE_INFINITY }: { readInclude?: ReadInclude; maxCharacters?: number } = {},
): Topology {
  const parser = new NetlistParser(source, readInclude, maxCharacters);
  parser.read(text, source, undefined);
  return parser.topology();
}

/** A node while its file is read. */
interface MutableNode extends TopologyNode {
  guid: bigint;
  readonly portGuids: Map<number, bigint>;
  /** What its ports have where nothing is said of them. */
  readonly rates: PortRates;
}

class NetlistParser implements CommandTarget {
  readonly names = new NetlistNames();
  readonly cables = new NetlistCables();
  readonly #source: string;
  readonly #readInclude: ReadInclude | undefined;
  readonly #identities = new NetlistIdentities();
  readonly #nodes = new Map<string, MutableNode>();
  #current: MutableNode | undefined = undefined;
  #rates: PortRates = DEFAULT_RATES;
  #files = 0;
  #depth = 0;
  #charactersLeft: number;

  constructor(source: string, readInclude: ReadInclude | undefined, maxCharacters: number) {
    this.#source = source;
    this.#readInclude = readInclude;
    this.#charactersLeft = maxCharacters;
  }

  read(text: string, source: string, parent: Place | undefined): void {
    this.#eachLine(text, source, parent, (line, place) => this.#take(line, place));
  }

  runFile(name: string, place: Place): void {
    const text = this.#textOf(name, place);
    this.#eachLine(text, name, place, (line, from) => runCommand(this, line, from));
  }

  topology(): Topology {
    const nodes = [...this.#nodes.values()].map(({ rates: _rates, ...node }) => node);
    return { source: this.#source, nodes, links: this.cables.links(this.#source) };
  }

  // --- what commands need

  portCount(node: string): number | undefined {
    return this.#nodes.get(node)?.portCount;
  }

  prepare(end: LinkEnd): void {
    this.cables.setDefaultRates(end, this.#nodes.get(end.node)?.rates ?? DEFAULT_RATES);
  }

  setGuid(name: string, port: number | undefined, guid: bigint): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    if (port === undefined) node.guid = guid;
    else node.portGuids.set(port, guid);
  }

  // --- files

  #eachLine(text: string, source: string, parent: Place | undefined, take: (line: string, place: Place) => void): void {
    this.#charactersLeft -= text.length;
    if (this.#charactersLeft < 0 || ++this.#files > MAX_FILES)
      failAt(parent ?? { source, line: 1 }, "the files are too large, or too many; do they include each other in a circle?");
    const more = parent === undefined ? {} : { parent };
    for (const [index, line] of text.split(/\r?\n/).entries()) take(line.trimEnd(), { source, line: index + 1, ...more });
    this.#current = undefined;
  }

  #textOf(name: string, place: Place): string {
    if (this.#readInclude === undefined)
      failAt(place, `"${name}" is not read: this netlist has no folder; put the files together into one`);
    if (this.#depth >= MAX_DEPTH) failAt(place, `expected at most ${MAX_DEPTH} files that include each other, one in the other`);
    try {
      return this.#readInclude(name);
    } catch (error) {
      return failAt(place, `"${name}" cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #include(name: string, place: Place): void {
    const text = this.#textOf(name, place);
    this.#depth++;
    this.read(text, name, place);
    this.#depth--;
  }

  // --- lines

  #take(text: string, place: Place): void {
    if (text.startsWith("[") || text.startsWith("@[")) this.#takePort(text, place);
    else if (KEYWORD.test(text)) this.#takeNode(text, place);
    else if (/^Rt\b/.test(text)) failAt(place, "routers are not there; leave the node and the cables to it out");
    else if (text.startsWith("include")) this.#include(quotedIn(text, place), place);
    else if (/^do\s/.test(text)) runCommand(this, text.slice(2), place);
    else this.#takeStatement(text, place);
  }

  #takeStatement(text: string, place: Place): void {
    const [, name = "", , sign = "", value = ""] = STATEMENT.exec(text) ?? [];
    if (name === "module") {
      this.names.startModule(quotedIn(value, place), place);
      return;
    }
    if (this.#identities.take(name, sign, value, place)) return;
    const rates = sign === "=" ? withMask(this.#rates, name.length === 1 ? "" : name, Number(parseNumber(value))) : undefined;
    if (typeof rates === "string") failAt(place, rates);
    this.#rates = rates ?? this.#rates;
  }

  #takeNode(text: string, place: Place): void {
    const [, type, ports = "", ownName = "", rest = ""] = NODE.exec(text) ?? failAt(place, `expected ${NODE_FORM}, got: ${text}`);
    const name = this.names.ofNode(ownName, place);
    const first = this.#nodes.get(name);
    if (first !== undefined) {
      const where = (first.source ?? this.#source) === place.source ? "" : ` of ${first.source ?? this.#source}`;
      failAt(place, `node "${name}" is in line ${first.line}${where} already; leave one of the two out`);
    }
    const kind: NetlistKind = type === "Switch" ? "switch" : "host";
    const portCount = Number(parseNumber(ports));
    const { description, behind } = descriptionIn(rest);
    const { guid, identity } = this.#identities.next(kind, portCount);
    this.#current = {
      ...{ kind, name, portCount, guid, portGuids: new Map(), rates: this.#rates },
      ...this.#whereIs(place),
      ...(description === "" ? {} : { description }),
      identity: withPort0(identity, kind, behind),
    };
    this.#nodes.set(name, this.#current);
  }

  #takePort(text: string, place: Place): void {
    const [, at, number, guid, remote = "", remotePort = "1", rest = ""] =
      PORT.exec(text) ?? failAt(place, `expected ${PORT_FORM}, got: ${text}`);
    const node = this.#current ?? failAt(place, `a port without a node; put ${NODE_FORM} before it`);
    const near = { node: node.name, port: Number(number) };
    if (guid !== undefined && node.kind === "host") node.portGuids.set(near.port, BigInt(`0x${guid}`));
    if (at === "@") this.names.addAlias(remote, near, place);
    else {
      const far = this.names.find(remote, place);
      this.cables.claim(near, { node: far.node, port: far.port ?? Number(remotePort) }, place);
    }
    const rates = ratesOf(rest, node.rates);
    if (typeof rates === "string") failAt(place, rates);
    this.cables.setRates(near, rates);
  }

  #whereIs({ source, line }: Place): { line: number; source?: string } {
    return source === this.#source ? { line } : { line, source };
  }
}

const NODE_FORM = 'a node such as: Switch 36 "name" # "description"';
const PORT_FORM = 'a cable such as: [1] "name"[2]';

const quotedIn = (text: string, place: Place): string =>
  QUOTED.exec(text)?.[1] ?? failAt(place, `expected a name in quotes, got: ${text}`);

/** NodeDescription, and what comes behind it. */
function descriptionIn(rest: string): { description: string; behind: string } {
  const [, quoted, after = ""] = COMMENT_QUOTED.exec(rest) ?? [];
  if (quoted !== undefined) return { description: quoted, behind: after };
  const bare = COMMENT_BARE.exec(rest)?.[1] ?? "";
  const end = DESCRIPTION_ENDS.map((text) => bare.indexOf(text)).find((at) => at >= 0) ?? bare.length;
  return { description: bare.slice(0, end).trimEnd(), behind: bare.slice(end) };
}

const withPort0 = (identity: TopologyIdentity, kind: NetlistKind, behind: string): TopologyIdentity =>
  kind === "switch" ? { ...identity, enhancedPort0: behind.includes("enhanced port 0") } : identity;
