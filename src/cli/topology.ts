// --topology FILE|SHAPE: the fabric that HCAs are plugged into.

import { readFileSync, statSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve, sep } from "node:path";
import { type Command, Option } from "commander";
import type { Topology } from "../fabric/topology/topology.ts";
import { plural, UsageError } from "./output.ts";

/** Of a file that a netlist includes. */
const INCLUDE_BYTES = 1 << 26;

export function addTopologyOption(command: Command): Command {
  const text = "the fabric: a YAML file, ibnetdiscover's output, an ibsim netlist, or a shape (below); default: one switch";
  return command.addOption(new Option("--topology <file or shape>", text)).addHelpText(
    "after",
    `
Shapes for --topology: pair, star:N, fat-tree:K (three levels, K³/4 hosts), torus:AxBxC[:HOSTS], dragonfly:A,P,H (A·H+1 groups of A switches
with P hosts each). HCAs take the places of the hosts of their names, else of the first that are free; the other hosts are phantoms: they
answer management and nothing else.`,
  );
}

export interface TopologyUse {
  /** As given; undefined for one switch. */
  readonly text: string | undefined;
  readonly hcas: number;
  readonly engines: number;
  readonly sm: "builtin" | "none";
  readonly lmc: number | undefined;
}

/** Reads the topology that was asked for. @throws UsageError if it makes no sense, or not with these HCAs and engines */
export async function loadTopology({ text, hcas, engines, sm, lmc }: TopologyUse): Promise<Topology | undefined> {
  if (text === undefined) return undefined;
  if (engines > 1) throw new UsageError(`--topology lives in one engine for now: expected --engines 1, got ${engines}`);
  // Loaded only where it is needed: the parser of YAML is large.
  const [{ parseTopology }, { isShape, shapeTopology }, { checkHasSwitch, checkLids }, { nodesOf, TopologyError }] =
    await Promise.all([
      import("../fabric/topology/parse.ts"),
      import("../fabric/topology/shapes.ts"),
      import("../fabric/topology/check.ts"),
      import("../fabric/topology/topology.ts"),
    ]);
  try {
    const topology = isShape(text) ? shapeTopology(text) : parseTopology(readTopologyFile(text), text, includesBeside(text));
    if (sm === "builtin") {
      checkHasSwitch(topology);
      checkLids(topology, lmc ?? 0);
    }
    const hosts = nodesOf(topology, "host").length;
    if (hcas > hosts)
      throw new UsageError(
        `${text} has ${plural(hosts, "host")}, and ${hcas} HCAs need one each; use a larger one, or fewer HCAs`,
      );
    return topology;
  } catch (error) {
    throw error instanceof TopologyError ? new UsageError(error.message) : error;
  }
}

function readTopologyFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      `--topology ${path}: expected a shape (vhca up --help lists them) or a file, and there is none to read: ${why}`,
    );
  }
}

/** Files that a netlist includes: those of its folder and below, by their names from there, as for ibsim that was started there. */
function includesBeside(path: string): (name: string) => string {
  const folder = resolve(dirname(path));
  return (name) => {
    const file = resolve(folder, name);
    if (isAbsolute(name) || relative(folder, file).split(sep)[0] === "..")
      throw new Error(`expected a file in ${folder} or below`);
    if (statSync(file).size > INCLUDE_BYTES) throw new Error(`expected at most ${INCLUDE_BYTES} bytes`);
    return readFileSync(file, "utf8");
  };
}

/** "fat-tree:4: 16 hosts, 20 switches". */
export function topologyText({ source, nodes }: Topology): string {
  const hosts = nodes.filter(({ kind }) => kind === "host").length;
  return `${source}: ${plural(hosts, "host")}, ${plural(nodes.length - hosts, "switch", "switches")}`;
}
