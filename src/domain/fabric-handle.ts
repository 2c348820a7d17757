// The control thread's side of the fabric: what can be seen of it and changed in it, of all engines as one.

import { NotFoundError, type Page } from "../base/inspect.ts";
import type { AddedNode } from "../fabric/added-node.ts";
import type { CableRate, LinkChange } from "../fabric/changes.ts";
import { noNodeText, parseEnd } from "../fabric/find.ts";
import type { NodeView } from "../fabric/inspect.ts";
import type { LinkEndView, LinkView } from "../fabric/inspect-links.ts";
import { type NodeDetails, withoutLanes } from "../fabric/inspect-node.ts";
import type { FabricAnswers, FabricOperation } from "../fabric/operations.ts";
import type { PathView } from "../fabric/path.ts";
import type { EngineHandle } from "./engine-handle.ts";
import { joinNodes, trunkViews } from "./join-views.ts";

/** Asked of one engine at a time. */
const ALL = Number.MAX_SAFE_INTEGER;

export class FabricHandle {
  readonly #engines: readonly EngineHandle[];

  constructor(engines: readonly EngineHandle[]) {
    this.#engines = engines;
  }

  /** At most `limit` nodes from number `from`. */
  async nodes(from: number, limit: number): Promise<Page<NodeView>> {
    const only = this.#only;
    return only === undefined ? pageOf((await this.#parts()).flat(), from, limit) : gather(only, "nodes", from, limit);
  }

  /** At most `limit` links from number `from`. */
  async links(from: number, limit: number): Promise<Page<LinkView>> {
    const only = this.#only;
    return only === undefined ? pageOf(await this.#allLinks(), from, limit) : gather(only, "links", from, limit);
  }

  /**
   * Changes the cable at `end` (NODE:PORT; NODE where it has one cable).
   * @throws NotFoundError, or what is wrong with the values
   */
  async changeLink(end: string, change: LinkChange): Promise<LinkView> {
    const engine = await this.engineOf(end);
    return this.#whole(await operate(engine, { op: "changeLink", end, change }));
  }

  /**
   * Joins two ports of one engine; an end without a port gets the first that is free.
   * @throws NotFoundError, or if a port is taken
   */
  async addCable(ends: readonly [string, string], rate: CableRate = {}): Promise<LinkView> {
    const [engine, other] = [await this.engineOf(ends[0]), await this.engineOf(ends[1])];
    if (engine !== other) throw new Error(`${this.#places(ends[0], engine, ends[1], other)}; a cable joins ports of one engine`);
    return operate(engine, { op: "addCable", ends, rate });
  }

  /** Takes the cable at `end` away; returns what it was. @throws NotFoundError */
  async removeCable(end: string): Promise<LinkView> {
    return operate(await this.engineOf(end), { op: "removeCable", end });
  }

  /** Adds a switch or a phantom host and its cables. @throws NotFoundError, or what is wrong with it */
  async addNode(node: AddedNode): Promise<NodeView> {
    const first = this.#engines[0] as EngineHandle;
    if (this.#only !== undefined) return operate(first, { op: "addNode", node });
    const parts = await this.#parts();
    if (parts.some((nodes) => nodes.some(({ name }) => name === node.name)))
      throw new Error(`there is a node named ${node.name} already`);
    const [engine = first, ...others] = await Promise.all((node.at ?? []).map((end) => this.engineOf(end)));
    if (others.some((other) => other !== engine))
      throw new Error(`${node.at?.join(", ")} are on different engines; a node is on one`);
    if (node.kind === "switch" && engine !== first)
      throw new Error(
        `${node.at?.[0]} is on engine ${this.#numberOf(engine)}; switches can be added to engine 1, where the subnet manager is`,
      );
    return operate(engine, { op: "addNode", node });
  }

  /** One node, with the lanes of its ports. @throws NotFoundError */
  async node(name: string): Promise<NodeDetails> {
    if (this.#only !== undefined) return operate(this.#only, { op: "node", name });
    // Several engines have no lanes, but cables to each other.
    const { guid } = await operate(await this.engineOf(name), { op: "node", name });
    const view = (await this.#parts()).flat().find((node) => node.guid === guid);
    if (view === undefined) throw new NotFoundError(noNodeText(name, []));
    return withoutLanes(view);
  }

  /** Takes a node and its cables away; returns what it was. @throws NotFoundError, or if it cannot go */
  async removeNode(name: string): Promise<NodeView> {
    return operate(await this.engineOf(name), { op: "removeNode", name });
  }

  /**
   * The way of a packet from one node to another as the switches' tables have it now.
   * @param offset which of the other end's LIDs, from 0
   * @throws NotFoundError, also if that has not so many
   */
  async path(from: string, to: string, offset = 0): Promise<PathView> {
    const dlid = await operate(await this.engineOf(to), { op: "lid", end: to, offset });
    let engine = await this.engineOf(from);
    let path = await operate(engine, { op: "path", start: { from }, dlid });
    const hops = [...path.hops];
    const links = this.#only === undefined ? await this.#allLinks() : [];
    for (let i = 0; path.leaves && i <= this.#engines.length; i++) {
      const far = farEnd(links, hops.at(-1)?.node ?? "", hops.at(-1)?.out ?? 0);
      if (far === undefined) break;
      engine = await this.engineOf(far.node);
      path = await operate(engine, { op: "path", start: { from: `${far.node}:${far.port}`, isArriving: true }, dlid });
      hops.push(...path.hops);
    }
    return { ...path, hops };
  }

  get #only(): EngineHandle | undefined {
    return this.#engines.length === 1 ? this.#engines[0] : undefined;
  }

  /** The engine that has the node of an end, NODE or NODE:PORT. @throws NotFoundError */
  async engineOf(end: string): Promise<EngineHandle> {
    if (this.#only !== undefined) return this.#only;
    const parts = await this.#parts();
    const { node } = parseEnd(end);
    const index = parts.findIndex((nodes) => nodes.some(({ name, hca }) => name === node || hca === node));
    const names = parts.flat().map(({ name }) => name);
    if (index < 0) throw new NotFoundError(noNodeText(node, names));
    return this.#engines[index] as EngineHandle;
  }

  /** The cable with its far end, where that is in another engine. */
  async #whole(view: LinkView): Promise<LinkView> {
    if (this.#only !== undefined) return view;
    const isSame = (end: LinkEndView, other: LinkEndView): boolean => end.guid === other.guid && end.port === other.port;
    const all = await this.#allLinks();
    return all.find(({ a, b }) => [view.a, view.b].some((end) => isSame(end, a) || isSame(end, b))) ?? view;
  }

  /** Over several engines there are few. */
  async #allLinks(): Promise<LinkView[]> {
    const parts = await Promise.all(this.#engines.map((engine) => gather<LinkView>(engine, "links", 0, ALL)));
    return [...parts.flatMap(({ items }) => items), ...trunkViews(await this.#parts())];
  }

  /** The nodes of each engine. */
  async #parts(): Promise<NodeView[][]> {
    const parts = await Promise.all(this.#engines.map((engine) => gather<NodeView>(engine, "nodes", 0, ALL)));
    return joinNodes(parts.map(({ items }) => items));
  }

  #numberOf(engine: EngineHandle): number {
    return this.#engines.indexOf(engine) + 1;
  }

  #places(end: string, engine: EngineHandle, other: string, otherEngine: EngineHandle): string {
    return `${end} is on engine ${this.#numberOf(engine)} and ${other} on engine ${this.#numberOf(otherEngine)}`;
  }
}

const operate = <O extends FabricOperation>(engine: EngineHandle, operation: O): Promise<FabricAnswers[O["op"]]> =>
  engine.ask({ method: "fabric", operation });

function farEnd(links: readonly LinkView[], node: string, port: number): LinkEndView | undefined {
  for (const { a, b } of links) {
    if (a.node === node && a.port === port) return b;
    if (b.node === node && b.port === port) return a;
  }
  return undefined;
}

/** The engine makes a listing in parts, each of them a moment of its own, so that nobody's messages wait for a long one. */
async function gather<T>(engine: EngineHandle, method: "nodes" | "links", from: number, limit: number): Promise<Page<T>> {
  const items: T[] = [];
  for (let at = from; ; ) {
    const page = await engine.ask<Page<T>>({ method, from: at, limit: limit - items.length });
    items.push(...page.items);
    if (page.next === undefined || items.length >= limit) return { ...page, items };
    at = page.next;
  }
}

function pageOf<T>(all: readonly T[], from: number, limit: number): Page<T> {
  const next = from + limit;
  return { count: all.length, items: all.slice(from, next), next: next < all.length ? next : undefined };
}
