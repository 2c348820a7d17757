// The control thread's side of a device domain: starts the engine thread, asks it things, stops it.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type Listing, NotFoundError, type Page } from "../base/inspect.ts";
import type { Log } from "../base/log.ts";
import type { ListKind, ObjectDetails, ObjectKind, ObjectViews } from "../hca/inspect.ts";
import { createEventfd, signalEventfd } from "../host/eventfd.ts";
import { closeDescriptor } from "../host/libc.ts";
import type { HcaView } from "./device-domain.ts";
import { type HcaDeviceView, type HcaTree, type InspectQuestion, LISTED_MAX } from "./inspect.ts";
import type { DomainView, EngineOptions, EngineReply, EngineRequest, NewHca } from "./protocol.ts";

/** A request without its number. */
type Question = EngineRequest extends infer R ? (R extends { id: number } ? Omit<R, "id"> : never) : never;

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export interface DomainOptions {
  sm?: "builtin" | "none";
  log: Log;
  /** Cores the engine may count on; all of the machine's by default. */
  cores?: number;
}

/** A running device domain. */
/**
 * The engine allocates next to nothing while it works; what starting up and firmware commands leave behind need not pile up to the
 * 48 MB that a thread may use for young objects otherwise.
 */
const YOUNG_GENERATION_MB = 6;

export class DomainHandle {
  readonly #worker: Worker;
  readonly #doorbell = new Int32Array(new SharedArrayBuffer(4));
  readonly #wakeDescriptor = createEventfd();
  readonly #pending = new Map<number, Pending>();
  readonly #log: Log;
  /** Settles when the engine thread has ended; rejects if it crashed. */
  readonly ended: Promise<void>;
  #nextId = 1;
  #hasEnded = false;

  constructor(options: DomainOptions) {
    this.#log = options.log;
    const workerData: EngineOptions = {
      sm: options.sm ?? "builtin",
      cores: options.cores ?? availableParallelism(),
      doorbell: this.#doorbell.buffer,
      wakeDescriptor: this.#wakeDescriptor,
    };
    this.#worker = new Worker(engineEntry(), { workerData, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB } });
    this.#worker.on("message", (reply: EngineReply) => this.#receive(reply));
    this.ended = new Promise((resolve, reject) => {
      this.#worker.once("error", (error) => {
        this.#failAll(error instanceof Error ? error : new Error(String(error)));
        reject(error);
      });
      this.#worker.once("exit", () => {
        this.#failAll(new Error("the engine thread has ended"));
        closeDescriptor(this.#wakeDescriptor);
        resolve();
      });
    });
    this.ended.catch(() => {});
  }

  /** Plugs in an HCA that listens at `socketPath` for its VM. */
  addHca(hca: NewHca): Promise<HcaView> {
    return this.#ask({ method: "addHca", hca });
  }

  /** Unplugs an HCA; false if there is none of that name. */
  removeHca(name: string): Promise<boolean> {
    return this.#ask({ method: "removeHca", name });
  }

  /** HCAs with their counters, the fabric, the engine's own figures. */
  describe(): Promise<DomainView> {
    return this.#ask({ method: "describe" });
  }

  /**
   * An HCA with at most `limit` objects of each kind. The engine makes it in parts, each of them a moment of its own, so that
   * nobody's messages wait for a long listing.
   * @throws NotFoundError if there is no HCA of that name
   */
  async tree(name: string, limit = LISTED_MAX): Promise<HcaTree> {
    const device = await this.#inspect<HcaDeviceView>(name, { part: "device" });
    const list = <K extends ListKind>(kind: K): Promise<Listing<ObjectViews[K]>> => this.#list(name, kind, limit);
    return {
      ...device,
      qps: await list("qps"),
      cqs: await list("cqs"),
      srqs: await list("srqs"),
      regions: await list("regions"),
      groups: await list("groups"),
    };
  }

  /**
   * Everything about one object of an HCA.
   * @throws NotFoundError if there is no such HCA or object; the message says what there is
   */
  object<K extends ObjectKind>(name: string, kind: K, number: number): Promise<ObjectDetails[K]> {
    return this.#inspect(name, { part: "object", kind, number });
  }

  async #list<K extends ListKind>(name: string, kind: K, limit: number): Promise<Listing<ObjectViews[K]>> {
    const most = Math.min(limit, LISTED_MAX);
    const items: ObjectViews[K][] = [];
    for (let from = 0; ; ) {
      const question: InspectQuestion = { part: "list", kind, from, limit: most - items.length };
      const page = await this.#inspect<Page<ObjectViews[K]>>(name, question);
      items.push(...page.items);
      const isLast = page.next === undefined || page.next <= from;
      if (isLast || items.length >= Math.min(most, page.count)) {
        return { count: page.count, isCut: page.next !== undefined && page.count > items.length, items };
      }
      from = page.next ?? 0;
    }
  }

  #inspect<T>(name: string, question: InspectQuestion): Promise<T> {
    return this.#ask({ method: "inspect", name, question });
  }

  /** Unplugs everything and ends the thread. */
  async stop(): Promise<void> {
    try {
      await this.#ask({ method: "stop" });
    } catch {
      // It has ended already; that is what was wanted.
    }
    await this.ended.catch(() => {});
  }

  #ask<T>(question: Question): Promise<T> {
    if (this.#hasEnded) return Promise.reject(new Error("the engine thread has ended"));
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ ...question, id });
      // In this order: the engine drains the descriptor once it has seen the doorbell, so it never stays readable.
      signalEventfd(this.#wakeDescriptor);
      Atomics.store(this.#doorbell, 0, 1);
    });
  }

  #receive(reply: EngineReply): void {
    if ("log" in reply) {
      this.#log[reply.log](reply.message);
      return;
    }
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ("error" in reply) pending?.reject(reply.isNotFound ? new NotFoundError(reply.error) : new Error(reply.error));
    else pending?.resolve(reply.value);
  }

  #failAll(error: Error): void {
    this.#hasEnded = true;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/** The worker's file: TypeScript in a checkout, JavaScript in an installed package. */
function engineEntry(): URL {
  return new URL(`./engine-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
}
