// The control thread's side of the fabric: what can be seen of it, of all engines as one.

import type { Page } from "../base/inspect.ts";
import type { NodeView } from "../fabric/inspect.ts";
import type { LinkView } from "../fabric/inspect-links.ts";
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
    const [only, second] = this.#engines;
    if (only !== undefined && second === undefined) return gather<NodeView>(only, "nodes", from, limit);
    return pageOf((await this.#joinedNodes()).flat(), from, limit);
  }

  /** At most `limit` links from number `from`. */
  async links(from: number, limit: number): Promise<Page<LinkView>> {
    const [only, second] = this.#engines;
    if (only !== undefined && second === undefined) return gather<LinkView>(only, "links", from, limit);
    // Over several engines there are few.
    const parts = await Promise.all(this.#engines.map((engine) => gather<LinkView>(engine, "links", 0, ALL)));
    const trunks = trunkViews(await this.#joinedNodes());
    return pageOf([...parts.flatMap(({ items }) => items), ...trunks], from, limit);
  }

  async #joinedNodes(): Promise<NodeView[][]> {
    const parts = await Promise.all(this.#engines.map((engine) => gather<NodeView>(engine, "nodes", 0, ALL)));
    return joinNodes(parts.map(({ items }) => items));
  }
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
