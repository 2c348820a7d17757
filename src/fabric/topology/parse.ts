// Reads a topology from text, whatever its form, and checks it.

import { checkTopology } from "./check.ts";
import { isNetlist, parseNetlist } from "./netlist.ts";
import { type Topology, TopologyError } from "./topology.ts";
import { parseYamlTopology } from "./yaml.ts";

/** Characters of a file; ten times what ibnetdiscover prints of the largest fabric. */
const MAX_CHARACTERS = 1 << 26;

/**
 * YAML (yaml.ts), or a netlist of ibsim or ibnetdiscover (netlist.ts); the text shows which.
 * @param source what errors call it, such as the file's name
 * @throws TopologyError with the line, what is wrong and how to mend it
 */
export function parseTopology(text: string, source: string): Topology {
  if (text.length > MAX_CHARACTERS) throw new TopologyError(source, undefined, `expected at most ${MAX_CHARACTERS} characters`);
  const topology = isNetlist(text) ? parseNetlist(text, source) : parseYamlTopology(text, source);
  checkTopology(topology);
  return topology;
}
