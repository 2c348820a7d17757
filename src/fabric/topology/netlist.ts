// Reads what ibnetdiscover prints and what ibsim takes: nodes with their ports, every cable listed at both of its ends, or at one.
//
//   switchguid=0x5442ba00003080(5442ba00003080)
//   Switch  24 "S-005442ba00003080"   # "ISR9024 Voltaire" base port 0 lid 6 lmc 0
//   [22]    "H-0008f10403961354"[1](8f10403961355)   # "MT23108 InfiniHost" lid 4 4xSDR
//
// LIDs are the subnet manager's to give and are not taken over.

import {
  type LinkEnd,
  SPEEDS,
  type SpeedName,
  type Topology,
  TopologyError,
  type TopologyIdentity,
  type TopologyLink,
  type TopologyNode,
  WIDTHS,
  type WidthName,
} from "./topology.ts";

const NODE = /^(Switch|Hca|Ca|Rt)\s+(\d+)\s+"([^"]+)"(.*)$/;
const KEYWORD = /^(?:Switch|Hca|Ca|Rt)\b/;
const PORT = /^\[(\d+)\](?:\s*\(([0-9a-fA-F]+)\))?[^"]*"([^"]+)"\s*(?:\[(\d+)\])?(.*)$/;
const GUID = /^(switchguid|caguid|hcaguids?)=\s*(?:0x)?([0-9a-fA-F]{1,16})\b/;
const IDENTITY = /^(vendid|devid|sysimgguid)=\s*(?:0x)?([0-9a-fA-F]{1,16})\b/;
const PORT_0 = /\b(enhanced|base) port 0\b/;
const COMMENT_QUOTED = /#\s*"([^"]*)"/;
const COMMENT_BARE = /#\s*(.*?)\s*$/;
const RATE = /\b(\d+)x([A-Z]+\d*)\b/;
/** Statements of ibsim that would change what follows, and what to do instead. */
const REFUSED: readonly (readonly [pattern: RegExp, what: string, mend: string])[] = [
  [/^Rt\b/, "routers are not there", "leave the node and the cables to it out"],
  [/^include\b/, "other files are not read", "put them together into one"],
  [/^do\b/, "commands of ibsim's console are not executed", "change the fabric with: vhca fabric"],
  [/^module=/, "modules are not read", "write each node out, or let ibnetdiscover print the fabric"],
  [/^@/, "port aliases are not read", "write the cable with both of its ports"],
  [/^(?:switchguid|caguid|hcaguids?)\+=/, "relative GUIDs are not read", "write the GUID out, or leave it to be given"],
];

/** Whether a text is a netlist rather than YAML. */
export const isNetlist = (text: string): boolean =>
  /^(?:(?:Switch|Hca|Ca|Rt)\s+\d+\s+"|(?:vendid|devid|sysimgguid|switchguid|caguid|hcaguids?)\+?=)/m.test(text);

/** @throws TopologyError with the line that makes no sense */
export function parseNetlist(text: string, source: string): Topology {
  const parser = new NetlistParser(source);
  text.split(/\r?\n/).forEach((line, index) => {
    parser.take(line.trimEnd(), index + 1);
  });
  return parser.topology();
}

interface Claim {
  readonly near: LinkEnd;
  readonly far: LinkEnd;
  readonly rate: Pick<TopologyLink, "width" | "speed">;
  readonly line: number;
}

interface MutableNode extends TopologyNode {
  readonly portGuids: Map<number, bigint>;
}

class NetlistParser {
  readonly #source: string;
  readonly #nodes = new Map<string, MutableNode>();
  /** Cables by their near end. */
  readonly #claims = new Map<string, Claim>();
  #current: MutableNode | undefined = undefined;
  /** GUIDs said before the node they belong to. */
  #guids: Partial<Record<TopologyNode["kind"], bigint>> = {};
  #identity: TopologyIdentity = {};

  constructor(source: string) {
    this.#source = source;
  }

  take(text: string, line: number): void {
    for (const [pattern, what, mend] of REFUSED) if (pattern.test(text)) this.#fail(line, `${what}; ${mend}`);
    const guid = GUID.exec(text);
    const identity = IDENTITY.exec(text);
    if (guid !== null) this.#guids[guid[1] === "switchguid" ? "switch" : "host"] = BigInt(`0x${guid[2]}`);
    else if (identity !== null) this.#takeIdentity(identity[1], BigInt(`0x${identity[2]}`));
    else if (KEYWORD.test(text)) this.#takeNode(text, line);
    else if (text.startsWith("[")) this.#takePort(text, line);
  }

  topology(): Topology {
    const links: TopologyLink[] = [];
    for (const { near, far, rate, line } of this.#claims.values()) {
      const back = this.#claims.get(`${far.node}[${far.port}]`);
      if (back !== undefined && !isSame(back.far, near)) {
        const sides = `${endName(near)} leads to ${endName(far)}, but in line ${back.line} that leads to ${endName(back.far)}`;
        this.#fail(line, `${sides}; let both lines name each other`);
      }
      // Where both ends are listed, the first makes the cable.
      if (back === undefined || back.line > line || isSame(near, far)) links.push({ ends: [near, far], ...rate, line });
    }
    return { source: this.#source, nodes: [...this.#nodes.values()], links };
  }

  #takeIdentity(key: string | undefined, value: bigint): void {
    if (key === "vendid") this.#identity = { ...this.#identity, vendorId: Number(value & 0xffffffn) };
    else if (key === "devid") this.#identity = { ...this.#identity, deviceId: Number(value & 0xffffn) };
    else this.#identity = { ...this.#identity, systemImageGuid: value };
  }

  #takeNode(text: string, line: number): void {
    const [, type, ports, name = "", rest = ""] = NODE.exec(text) ?? this.#fail(line, `expected ${NODE_FORM}, got: ${text}`);
    const first = this.#nodes.get(name);
    if (first !== undefined) this.#fail(line, `node "${name}" is in line ${first.line} already; leave one of the two out`);
    const kind = type === "Switch" ? "switch" : "host";
    const description = (COMMENT_QUOTED.exec(rest) ?? COMMENT_BARE.exec(rest))?.[1] ?? "";
    const guid = this.#guids[kind];
    const port0 = kind === "switch" ? PORT_0.exec(rest)?.[1] : undefined;
    const identity = { ...this.#identity, ...(port0 === undefined ? {} : { enhancedPort0: port0 === "enhanced" }) };
    this.#current = {
      kind,
      name,
      portCount: Number(ports),
      portGuids: new Map(),
      line,
      ...(description === "" ? {} : { description }),
      ...(guid === undefined ? {} : { guid }),
      ...(Object.keys(identity).length === 0 ? {} : { identity }),
    };
    this.#nodes.set(name, this.#current);
    this.#guids = {};
    // As in ibsim, the device stays for the nodes that follow.
    const { deviceId } = this.#identity;
    this.#identity = deviceId === undefined ? {} : { deviceId };
  }

  #takePort(text: string, line: number): void {
    const [, number, guid, remote = "", remotePort = "1", rest = ""] =
      PORT.exec(text) ?? this.#fail(line, `expected ${PORT_FORM}, got: ${text}`);
    const node = this.#current ?? this.#fail(line, `a port without a node; put ${NODE_FORM} before it`);
    const near = { node: node.name, port: Number(number) };
    const key = `${near.node}[${near.port}]`;
    const first = this.#claims.get(key);
    if (first !== undefined) this.#fail(line, `port ${near.port} of "${near.node}" is in line ${first.line} already`);
    if (guid !== undefined && node.kind === "host") node.portGuids.set(near.port, BigInt(`0x${guid}`));
    this.#claims.set(key, { near, far: { node: remote, port: Number(remotePort) }, rate: rateOf(rest), line });
  }

  #fail(line: number, message: string): never {
    throw new TopologyError(this.#source, line, message);
  }
}

const NODE_FORM = 'a node such as: Switch 36 "name" # "description"';
const PORT_FORM = 'a cable such as: [1] "name"[2]';

const isSame = (a: LinkEnd, b: LinkEnd): boolean => a.node === b.node && a.port === b.port;
const endName = ({ node, port }: LinkEnd): string => `"${node}"[${port}]`;

/** Lanes and bit rate of a cable, where they are known. */
function rateOf(text: string): Claim["rate"] {
  const [, lanes, speed] = RATE.exec(text) ?? [];
  const width = `${lanes}X`;
  return {
    ...(Object.hasOwn(WIDTHS, width) ? { width: width as WidthName } : {}),
    ...(speed !== undefined && Object.hasOwn(SPEEDS, speed) ? { speed: speed as SpeedName } : {}),
  };
}
