// Topologies as YAML:
//
//   switches:
//     leaf1: { ports: 36 }                       36 is the default
//     spine: { ports: 8, guid: 0x1405000000aa00, description: top of the rack }
//   hosts:
//     n1: { switch: leaf1 }                      at the next free port
//     "m[1-16]": { switch: leaf1, speed: SDR }   sixteen hosts, m1 to m16
//     fat: { ports: 2 }
//   links:
//     - [leaf1, spine]                           a cable between the next free ports
//     - [fat:1, leaf1:36]                        NODE:PORT says which
//     - { ends: [fat:2, spine:8], width: 1X, speed: SDR, loss: 0.01, corruption: 0.1%, delay: 5us }
//   partitions:                                  and qos: (partitions.ts)
//     blue: { pkey: 0x11, full: [n1], limited: ["m[1-16]"] }
//   lanes: true                                  data go hop by hop, through virtual lanes with credits; or
//   lanes: { buffer: 8KiB }                      with so much room for each lane of a port

import { z } from "zod";
import { MAX_LIDS } from "./check.ts";
import { LanesSchema, readLanes } from "./lanes.ts";
import { PartitionSchema, QosSchema, readPartition, readQos } from "./partitions.ts";
import { PortAllocator } from "./port-allocator.ts";
import {
  SPEEDS,
  type SpeedName,
  type Topology,
  TopologyError,
  type TopologyLink,
  type TopologyNode,
  type TopologyPartition,
  WIDTHS,
  type WidthName,
} from "./topology.ts";
import { duration, integer, part, readYaml, strict, unknownText } from "./yaml-document.ts";

const DEFAULT_SWITCH_PORTS = 36;

const guid = z.bigint({ error: "expected a GUID such as 0x0002c90200000010" });
const rate = {
  width: z.enum(Object.keys(WIDTHS) as [WidthName]).optional(),
  speed: z.enum(Object.keys(SPEEDS) as [SpeedName]).optional(),
  loss: part.optional(),
  corruption: part.optional(),
  delay: duration.optional(),
};
const end = z.string({ error: "expected NODE or NODE:PORT" });
const ends = z.tuple([end, end], { error: "expected two ends: [NODE:PORT, NODE:PORT]" });
const name = z.string().regex(/^[A-Za-z0-9][\w.-]*(?:\[\d+-\d+\])?$/, "expected a name of letters, digits, '.', '_' and '-'");
const node = { guid: guid.optional(), description: z.string().optional() };
const Switch = strict({ ports: integer.optional(), ...node }).nullable();
const Host = strict({ ports: integer.optional(), switch: end.optional(), ...node, ...rate }).nullable();
const Link = z.union([ends.transform((both) => ({ ends: both })), z.strictObject({ ends, ...rate })], {
  error:
    "expected [NODE:PORT, NODE:PORT] or { ends: [NODE:PORT, NODE:PORT], width: …, speed: …, loss: …, corruption: …, delay: … }",
});
const sections = {
  switches: z.record(name, Switch).nullish(),
  hosts: z.record(name, Host).nullish(),
  links: z.array(Link).nullish(),
  partitions: z.record(z.string(), PartitionSchema).nullish(),
  qos: QosSchema.nullish(),
  lanes: LanesSchema.nullish(),
};
const File = z.strictObject(sections, {
  error: (issue) => {
    if (issue.code === "unrecognized_keys") return unknownText(issue.keys, sections);
    return issue.code === "invalid_type" ? "expected switches:, hosts:, links:, partitions:, qos: and lanes:" : undefined;
  },
});
type File = z.output<typeof File>;

/** @throws TopologyError with the line, what was expected there and what was found */
export function parseYamlTopology(text: string, source: string): Topology {
  const { data, lineOf } = readYaml(File, text, source);
  return new Reader(source, lineOf).read(data);
}

type Rate = Pick<TopologyLink, "width" | "speed" | "loss" | "corruption" | "delayNs">;

type CableKeys = Omit<Rate, "delayNs"> & { delay?: number | undefined };

const rateOf = ({ delay, ...rate }: { [K in keyof CableKeys]?: CableKeys[K] | undefined }): Rate =>
  given({ ...rate, delayNs: delay });

/** Cable as it was written: its ends may leave the port open. */
interface Wanted {
  readonly ends: readonly [string, string];
  readonly rate: Rate;
  readonly line: number | undefined;
}

class Reader {
  readonly #source: string;
  readonly #lineOf: (path: readonly PropertyKey[]) => number | undefined;
  readonly #nodes: TopologyNode[] = [];
  readonly #wanted: Wanted[] = [];

  constructor(source: string, lineOf: (path: readonly PropertyKey[]) => number | undefined) {
    this.#source = source;
    this.#lineOf = lineOf;
  }

  read({ switches, hosts, links, partitions, qos, lanes }: File): Topology {
    for (const [key, value] of Object.entries(switches ?? {})) {
      const { ports = DEFAULT_SWITCH_PORTS, ...rest } = value ?? {};
      this.#addNodes("switch", key, ports, rest, this.#lineOf(["switches", key]));
    }
    for (const [key, value] of Object.entries(hosts ?? {})) {
      const { ports = 1, switch: at, guid, description, ...cable } = value ?? {};
      const line = this.#lineOf(["hosts", key]);
      const names = this.#addNodes("host", key, ports, { guid, description }, line);
      if (at !== undefined) for (const host of names) this.#wanted.push({ ends: [host, at], rate: rateOf(cable), line });
    }
    for (const [index, { ends, ...cable }] of (links ?? []).entries()) {
      this.#wanted.push({ ends, rate: rateOf(cable), line: this.#lineOf(["links", index]) });
    }
    const ports = new PortAllocator(this.#source, this.#nodes);
    for (const { ends, line } of this.#wanted) for (const each of ends) ports.claim(each, line);
    const cables = this.#wanted.map(({ ends: [a, b], rate, line }): TopologyLink => {
      const both = [ports.resolve(a, line), ports.resolve(b, line)] as const;
      return { ends: both, ...rate, ...(line === undefined ? {} : { line }) };
    });
    const extras = {
      partitions: this.#partitions(partitions ?? {}),
      qos: qos == null ? undefined : readQos(qos),
      lanes: lanes == null ? undefined : readLanes(lanes),
    };
    return { source: this.#source, nodes: this.#nodes, links: cables, ...given(extras) };
  }

  #partitions(written: NonNullable<File["partitions"]>): TopologyPartition[] | undefined {
    const hosts = new Set(this.#nodes.filter(({ kind }) => kind === "host").map((node) => node.name));
    const keys = new Map<number, string>();
    const all = Object.entries(written).map(([key, value]): TopologyPartition => {
      const line = this.#lineOf(["partitions", key]);
      const partition = readPartition(key, value);
      if (partition === undefined) throw new TopologyError(this.#source, line, `partition ${key}: expected a P_Key: pkey: 0x11`);
      const other = keys.get(partition.pkey);
      if (other !== undefined) {
        const what = `partition ${key}: P_Key 0x${partition.pkey.toString(16)} is that of ${other}; give it another one`;
        throw new TopologyError(this.#source, line, what);
      }
      keys.set(partition.pkey, key);
      const expand = (members: readonly string[] | "all"): readonly string[] | "all" =>
        members === "all" ? members : members.flatMap((member) => this.#hostsOf(member, hosts, key, line));
      return { ...partition, full: expand(partition.full), limited: expand(partition.limited) };
    });
    return all.length === 0 ? undefined : all;
  }

  #hostsOf(member: string, hosts: ReadonlySet<string>, partition: string, line: number | undefined): string[] {
    const names = this.#namesOf(member, line);
    const stranger = names.find((each) => !hosts.has(each));
    if (stranger === undefined) return names;
    throw new TopologyError(this.#source, line, `partition ${partition}: there is no host ${stranger}; expected one of hosts:`);
  }

  #addNodes(
    kind: TopologyNode["kind"],
    key: string,
    portCount: number,
    about: { guid?: bigint | undefined; description?: string | undefined },
    line: number | undefined,
  ): string[] {
    const names = this.#namesOf(key, line);
    if (this.#nodes.length + names.length > MAX_LIDS) {
      throw new TopologyError(this.#source, line, `${key}: expected at most ${MAX_LIDS} nodes in all, one LID each`);
    }
    if (names.length > 1 && about.guid !== undefined) {
      throw new TopologyError(
        this.#source,
        line,
        `${kind}s ${key}: a range cannot have one GUID; leave it out, or write the ${kind}s out`,
      );
    }
    for (const name of names) this.#nodes.push({ kind, name, portCount, ...given({ ...about, line }) });
    return names;
  }

  /** `m[1-3]` is m1, m2, m3. */
  #namesOf(key: string, line: number | undefined): string[] {
    const [, stem = "", from = "", to = ""] = /^(.*)\[(\d+)-(\d+)\]$/.exec(key) ?? [];
    if (from === "") return [key];
    const count = Number(to) - Number(from) + 1;
    if (!(count >= 1 && count <= MAX_LIDS)) {
      throw new TopologyError(this.#source, line, `${key}: expected a range of 1 to ${MAX_LIDS} nodes, such as [1-16]`);
    }
    return Array.from({ length: count }, (_, i) => `${stem}${Number(from) + i}`);
  }
}

/** The values that are there. */
function given<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
