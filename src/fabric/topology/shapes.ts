// Topologies by name: `fat-tree:4` needs no file. Hosts are n1, n2, …; the first switch, behind whose port 0 the subnet manager lives, lies
// where directed routes are short.
//
//   pair              two hosts on one switch
//   star:N            N hosts on one switch
//   fat-tree:K        k-ary fat tree of three levels: K pods of K/2 edge and K/2 aggregation switches, (K/2)² core switches, K³/4 hosts
//                     (Al-Fares, Loukissas, Vahdat, SIGCOMM 2008)
//   torus:AxB…[:H]    switches on a grid whose rows are rings, H hosts (1) on each; two switches in a row are joined once
//   dragonfly:A,P,H   groups of A switches, each with P hosts and H cables to other groups, A·H+1 groups; all switches of a group are
//                     joined, and any two groups once (Kim, Dally, Scott, Abts, ISCA 2008)

import { MAX_NODE_PORTS } from "../limits.ts";
import { MAX_LIDS } from "./check.ts";
import { type Topology, TopologyError } from "./topology.ts";
import { TopologyBuilder } from "./topology-builder.ts";

interface Shape {
  readonly form: string;
  readonly about: string;
  /** The numbers after the colon, or undefined if there is something else. */
  readonly pattern: RegExp;
  readonly build: (to: TopologyBuilder, numbers: readonly number[]) => void;
  /** What is wrong with the numbers, if anything; they are at least 1. */
  readonly wrong: (numbers: readonly number[]) => string | undefined;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  pair: {
    form: "pair",
    about: "two hosts on one switch",
    pattern: /^$/,
    wrong: () => undefined,
    build: (to) => buildStar(to, 2),
  },
  star: {
    form: "star:N",
    about: "N hosts on one switch",
    pattern: /^(\d+)$/,
    wrong: ([n = 0]) => (n > MAX_NODE_PORTS ? `a switch has at most ${MAX_NODE_PORTS} ports` : undefined),
    build: (to, [n = 0]) => buildStar(to, n),
  },
  "fat-tree": {
    form: "fat-tree:K",
    about: "three levels of switches with K ports (K even), K³/4 hosts",
    pattern: /^(\d+)$/,
    wrong: ([k = 0]) => {
      if (k % 2 !== 0) return "K is even: half of a switch's ports lead up, half down";
      return tooMany(k ** 3 / 4 + (5 * k * k) / 4, k);
    },
    build: (to, [k = 0]) => buildFatTree(to, k),
  },
  torus: {
    form: "torus:AxBxC[:H]",
    about: "a grid of switches whose rows are rings, with H hosts (1) on each",
    pattern: /^((?:\d+x)*\d+)(?::(\d+))?$/,
    wrong: (numbers) => {
      const hosts = numbers.at(-1) ?? 1;
      const sizes = numbers.slice(0, -1);
      return tooMany(sizes.reduce((product, size) => product * size, 1) * (1 + hosts), hosts + 2 * sizes.length);
    },
    build: (to, numbers) => buildTorus(to, numbers.slice(0, -1), numbers.at(-1) ?? 1),
  },
  dragonfly: {
    form: "dragonfly:A,P,H",
    about: "A·H+1 groups of A switches, each switch with P hosts and H cables to other groups",
    pattern: /^(\d+),(\d+),(\d+)$/,
    wrong: ([a = 0, p = 0, h = 0]) => tooMany((a * h + 1) * a * (1 + p), a - 1 + p + h),
    build: (to, [a = 0, p = 0, h = 0]) => buildDragonfly(to, a, p, h),
  },
};

/** What shapes there are, for help and errors: form and meaning of each. */
export const shapeForms: readonly (readonly [form: string, about: string])[] = Object.values(SHAPES).map(({ form, about }) => [
  form,
  about,
]);

/** Whether `text` names a shape, right or wrong; anything else may be a file. */
export const isShape = (text: string): boolean => Object.hasOwn(SHAPES, text.split(":")[0] ?? "");

/** The topology of a shape such as `fat-tree:4`. @throws TopologyError if there is no such shape or its numbers make none */
export function shapeTopology(text: string): Topology {
  const [name = ""] = text.split(":");
  const shape = Object.hasOwn(SHAPES, name) ? SHAPES[name] : undefined;
  if (shape === undefined) {
    const forms = shapeForms.map(([form]) => form).join(", ");
    throw new TopologyError(text, undefined, `there is no such shape; there are ${forms}`);
  }
  const numbers = numbersOf(shape, text.slice(name.length + 1));
  const problem = numbers === undefined ? "it does not have this form" : problemOf(shape, numbers);
  if (numbers === undefined || problem !== undefined) {
    throw new TopologyError(text, undefined, `expected ${shape.form} (${shape.about}); ${problem}`);
  }
  const builder = new TopologyBuilder(text);
  shape.build(builder, numbers);
  return builder.topology();
}

/** `AxBxC:H` becomes A, B, C, H; what is left out at the end is 1. */
function numbersOf({ pattern }: Shape, text: string): number[] | undefined {
  const match = pattern.exec(text);
  return match?.slice(1).flatMap((part: string | undefined) => (part ?? "1").split("x").map(Number));
}

const problemOf = ({ wrong }: Shape, numbers: readonly number[]): string | undefined =>
  numbers.some((n) => n < 1) ? "every number is at least 1" : wrong(numbers);

function tooMany(lids: number, switchPorts: number): string | undefined {
  if (switchPorts > MAX_NODE_PORTS) return `a switch would need ${switchPorts} ports and has at most ${MAX_NODE_PORTS}`;
  return lids > MAX_LIDS ? `there would be ${lids} switches and hosts, and there are ${MAX_LIDS} LIDs` : undefined;
}

function buildStar(to: TopologyBuilder, hosts: number): void {
  to.addSwitch("s1", hosts);
  to.addHosts("s1", hosts);
}

/** Switch j of each level of a pod: the edge switch is joined to all aggregation switches, number j of these to core switches j·K/2+1… */
function buildFatTree(to: TopologyBuilder, k: number): void {
  const half = k / 2;
  for (let i = 1; i <= half * half; i++) to.addSwitch(`core${i}`, k);
  for (let pod = 1; pod <= k; pod++) {
    for (let j = 0; j < half; j++) {
      to.addSwitch(`agg${pod}-${j + 1}`, k);
      for (let i = 1; i <= half; i++) to.join(`agg${pod}-${j + 1}`, `core${j * half + i}`);
    }
    for (let j = 1; j <= half; j++) {
      to.addSwitch(`edge${pod}-${j}`, k);
      to.addHosts(`edge${pod}-${j}`, half);
      for (let i = 1; i <= half; i++) to.join(`edge${pod}-${j}`, `agg${pod}-${i}`);
    }
  }
}

function buildTorus(to: TopologyBuilder, sizes: readonly number[], hosts: number): void {
  const places = placesOf(sizes);
  const nameAt = (place: readonly number[]): string => `s${place.map((x) => x + 1).join("-")}`;
  for (const place of places) {
    to.addSwitch(nameAt(place), hosts + 2 * sizes.length);
    to.addHosts(nameAt(place), hosts);
  }
  for (const place of places) {
    for (const [axis, size] of sizes.entries()) {
      const x = place[axis] ?? 0;
      // A ring of two is one cable, a ring of one is none.
      if (size === 1 || (size === 2 && x === 1)) continue;
      to.join(nameAt(place), nameAt(place.with(axis, (x + 1) % size)));
    }
  }
}

/** Every place of a grid. */
function placesOf(sizes: readonly number[]): number[][] {
  let places: number[][] = [[]];
  for (const size of sizes) places = places.flatMap((place) => Array.from({ length: size }, (_, x) => [...place, x]));
  return places;
}

/** Cable c of group g (0 to A·H-1) leads to the group c+1 further on; the other way round it is cable A·H-1-c. */
function buildDragonfly(to: TopologyBuilder, a: number, p: number, h: number): void {
  const groups = a * h + 1;
  const name = (group: number, at: number): string => `g${group + 1}-${at + 1}`;
  for (let group = 0; group < groups; group++) {
    for (let at = 0; at < a; at++) {
      to.addSwitch(name(group, at), a - 1 + p + h);
      to.addHosts(name(group, at), p);
      for (let other = 0; other < at; other++) to.join(name(group, at), name(group, other));
    }
  }
  for (let group = 0; group < groups; group++) {
    for (let cable = 0; cable < a * h; cable++) {
      const peer = (group + cable + 1) % groups;
      const peerCable = a * h - 1 - cable;
      if (group < peer) to.join(name(group, Math.floor(cable / h)), name(peer, Math.floor(peerCable / h)));
    }
  }
}
