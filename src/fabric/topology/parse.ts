// Reads a topology from text, whatever its form, and checks it.

import { checkTopology } from "./check.ts";
import { isNetlist, parseNetlist, type ReadInclude } from "./netlist.ts";
import { type Topology, TopologyError } from "./topology.ts";
import { parseYamlTopology } from "./yaml.ts";

/** Characters of a file; ten times what ibnetdiscover prints of the largest fabric. */
const MAX_CHARACTERS = 1 << 26;

/**
 * YAML (yaml.ts), or a netlist of ibsim or ibnetdiscover (netlist.ts); the text shows which.
 * @param source what errors call it, such as the file's name
 * @param readInclude for netlists that include files; without it they cannot
 * @throws TopologyError with the line, what is wrong and how to mend it
 */
export function parseTopology(text: string, source: string, readInclude?: ReadInclude): Topology {
  if (text.length > MAX_CHARACTERS) throw new TopologyError(source, undefined, `expected at most ${MAX_CHARACTERS} characters`);
  const topology = isNetlist(text)
    ? parseNetlist(text, source, { maxCharacters: MAX_CHARACTERS, ...(readInclude === undefined ? {} : { readInclude }) })
    : parseYamlTopology(text, source);
  checkTopology(topology);
  return topology;
}
