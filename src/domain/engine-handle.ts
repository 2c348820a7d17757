// The control thread's side of one engine: starts its thread, asks it things, stops it.

import { Worker } from "node:worker_threads";
import { NotFoundError } from "../base/inspect.ts";
import type { Log } from "../base/log.ts";
import { createEventfd, signalEventfd } from "../host/eventfd.ts";
import { closeDescriptor } from "../host/libc.ts";
import type { EngineBell, EngineOptions, EngineReply, EngineRequest } from "./protocol.ts";

/** A request without its number. */
export type Question = EngineRequest extends infer R ? (R extends { id: number } ? Omit<R, "id"> : never) : never;

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/**
 * The engine allocates next to nothing while it works; what starting up and firmware commands leave behind need not pile up to the
 * 48 MB that a thread may use for young objects otherwise.
 */
const YOUNG_GENERATION_MB = 6;

/** What wakes an engine: made before its thread, since the other engines need it too. */
export function newBell(): EngineBell {
  return { doorbell: new SharedArrayBuffer(4), wakeDescriptor: createEventfd() };
}

export class EngineHandle {
  readonly #worker: Worker;
  readonly #bell: EngineBell;
  readonly #doorbell: Int32Array;
  readonly #pending = new Map<number, Pending>();
  readonly #log: Log;
  /** Settles when the thread has ended; rejects if it crashed. */
  readonly ended: Promise<void>;
  #nextId = 1;
  #hasEnded = false;

  constructor(options: EngineOptions, log: Log) {
    this.#log = log;
    this.#bell = options.bell;
    this.#doorbell = new Int32Array(options.bell.doorbell);
    this.#worker = new Worker(engineEntry(), {
      workerData: options,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.#worker.on("message", (reply: EngineReply) => this.#receive(reply));
    this.ended = new Promise((resolve, reject) => {
      this.#worker.once("error", (error) => {
        this.#failAll(error instanceof Error ? error : new Error(String(error)));
        reject(error);
      });
      this.#worker.once("exit", () => {
        this.#failAll(new Error("the engine thread has ended"));
        resolve();
      });
    });
    this.ended.catch(() => {});
  }

  /** Puts a question; rejects with what the engine says, or if it has ended. */
  ask<T>(question: Question): Promise<T> {
    if (this.#hasEnded) return Promise.reject(new Error("the engine thread has ended"));
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ ...question, id });
      // In this order: the engine drains the descriptor once it has seen the doorbell, so it never stays readable.
      signalEventfd(this.#bell.wakeDescriptor);
      Atomics.store(this.#doorbell, 0, 1);
    });
  }

  /** Unplugs everything and ends the thread. */
  async stop(): Promise<void> {
    try {
      await this.ask({ method: "stop" });
    } catch {
      // It has ended already; that is what was wanted.
    }
    await this.ended.catch(() => {});
  }

  /** Closes what wakes it: after all engines have ended. */
  close(): void {
    closeDescriptor(this.#bell.wakeDescriptor);
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
