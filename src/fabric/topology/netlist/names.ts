// Names in a netlist: modules and aliases.
//
//   module="rack1"                    what follows is called rack1#leaf, … ; module="" ends it
//   @[5] "uplink"                     port 5 of the node may be named instead: "@uplink" in the module, "rack1@uplink" anywhere
//   [1] "rack1@uplink"                the cable to it, after the alias; it needs no line at the other end

import { failAt, type Place } from "./place.ts";

/** ibsim's bound of a module's name. */
const MODULE_LENGTH = 20;

/** What a name stands for: a node, or a port by its alias. */
export interface Named {
  readonly node: string;
  readonly port?: number;
}

export class NetlistNames {
  readonly #aliases = new Map<string, Required<Named>>();
  #module = "";

  startModule(name: string, place: Place): void {
    if (name.length > MODULE_LENGTH) failAt(place, `module "${name}": expected at most ${MODULE_LENGTH} characters`);
    this.#assertPlain("module", name, place);
    this.#module = name;
  }

  /** The full name of a node that is listed. */
  ofNode(name: string, place: Place): string {
    this.#assertPlain("node", name, place);
    return this.#module === "" ? name : `${this.#module}#${name}`;
  }

  addAlias(alias: string, port: Required<Named>, place: Place): void {
    this.#assertPlain("alias", alias, place);
    const name = `${this.#module}@${alias}`;
    const other = this.#aliases.get(name);
    if (other !== undefined) failAt(place, `alias "${name}" is that of "${other.node}"[${other.port}] already`);
    this.#aliases.set(name, port);
  }

  /** What a cable or a command means by `name`. */
  find(name: string, place: Place): Named {
    if (!name.includes("@")) return { node: this.#module === "" || name.includes("#") ? name : `${this.#module}#${name}` };
    const full = name.startsWith("@") ? this.#module + name : name;
    return this.#aliases.get(full) ?? failAt(place, `no port has the alias "${full}"; an alias comes before what uses it`);
  }

  #assertPlain(what: string, name: string, place: Place): void {
    if (/[#@]/.test(name)) failAt(place, `${what} "${name}": # and @ join names of modules and aliases; use other characters`);
  }
}
