// Talks to the control API of a domain in another process.

import { type IncomingMessage, request } from "node:http";
import { NotFoundError, type Page, RefusedError } from "../base/inspect.ts";
import type { Fault, FaultPlan, FaultsView } from "../domain/faults/operations.ts";
import type { HcaView } from "../domain/plugged-hca.ts";
import type { NodeView } from "../fabric/inspect.ts";
import type { LinkView } from "../fabric/inspect-links.ts";
import type { NodeDetails } from "../fabric/inspect-node.ts";
import type { PathView } from "../fabric/path.ts";
import type { AddHca, ApiError, HcaTree, ObjectDetails, ObjectKind, Status } from "./api.ts";
import { type AddCable, type AddNode, type ChangeLink, FABRIC_PAGE_MAX } from "./fabric-api.ts";

const TIMEOUT_MS = 10_000;

const NOT_FOUND = 404;
/** What a connection to a domain that has ended, or ends, comes to. */
const GONE_CODES = ["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"];

export class ControlClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  status(): Promise<Status> {
    return this.#call("GET", "/v1/status");
  }

  addHca(hca: AddHca): Promise<HcaView> {
    return this.#call("POST", "/v1/hcas", hca);
  }

  hca(name: string): Promise<HcaView> {
    return this.#call("GET", `/v1/hcas/${encodeURIComponent(name)}`);
  }

  /** The live device with at most `limit` objects of each kind. @throws NotFoundError if there is no such HCA */
  tree(name: string, limit?: number): Promise<HcaTree> {
    return this.#call("GET", `/v1/hcas/${encodeURIComponent(name)}/tree${limit === undefined ? "" : `?limit=${limit}`}`);
  }

  /** Everything about one object; a region by its key. @throws NotFoundError if there is no such HCA or object */
  object<K extends ObjectKind>(name: string, kind: K, number: number): Promise<ObjectDetails[K]> {
    return this.#call("GET", `/v1/hcas/${encodeURIComponent(name)}/${kind}/${number}`);
  }

  /** Every node of the fabric; asked for in parts. */
  fabricNodes(): Promise<NodeView[]> {
    return this.#pages("nodes");
  }

  /** One node with the virtual lanes of its ports. @throws NotFoundError */
  fabricNode(name: string): Promise<NodeDetails> {
    return this.#call("GET", `/v1/fabric/nodes/${encodeURIComponent(name)}`);
  }

  /** Every link of the fabric; asked for in parts. */
  fabricLinks(): Promise<LinkView[]> {
    return this.#pages("links");
  }

  /** Changes the cable at `end`, NODE:PORT. @throws NotFoundError, or what the domain says */
  changeLink(end: string, change: ChangeLink): Promise<LinkView> {
    return this.#call("PATCH", `/v1/fabric/links/${encodeURIComponent(end)}`, change);
  }

  /** Joins two ports. @throws NotFoundError, or what the domain says */
  addCable(cable: AddCable): Promise<LinkView> {
    return this.#call("POST", "/v1/fabric/links", cable);
  }

  /** Takes a cable away; what it was. @throws NotFoundError */
  removeCable(end: string): Promise<LinkView> {
    return this.#call("DELETE", `/v1/fabric/links/${encodeURIComponent(end)}`);
  }

  /** Adds a switch or a phantom host. @throws NotFoundError, or what the domain says */
  addNode(node: AddNode): Promise<NodeView> {
    return this.#call("POST", "/v1/fabric/nodes", node);
  }

  /** Takes a node and its cables away; what it was. @throws NotFoundError, or what the domain says */
  removeNode(name: string): Promise<NodeView> {
    return this.#call("DELETE", `/v1/fabric/nodes/${encodeURIComponent(name)}`);
  }

  /** The way of a packet, to one of the other end's LIDs. @throws NotFoundError */
  path(from: string, to: string, offset = 0): Promise<PathView> {
    const query = new URLSearchParams({ from, to, offset: String(offset) });
    return this.#call("GET", `/v1/fabric/path?${query.toString()}`);
  }

  /** What is wrong now, on purpose, and what has been counted. */
  faults(): Promise<FaultsView> {
    return this.#call("GET", "/v1/faults");
  }

  /** Injects a fault, or clears some. @throws NotFoundError, or what the domain says */
  injectFault(fault: Fault): Promise<FaultsView> {
    return this.#call("POST", "/v1/faults", fault);
  }

  /** Starts a plan of faults. @throws NotFoundError, or what the domain says */
  startFaults(plan: FaultPlan): Promise<FaultsView> {
    return this.#call("POST", "/v1/faults/plan", plan);
  }

  async #pages<T>(kind: "nodes" | "links"): Promise<T[]> {
    const items: T[] = [];
    for (let from: number | undefined = 0; from !== undefined; ) {
      const page: Page<T> = await this.#call("GET", `/v1/fabric/${kind}?from=${from}&limit=${FABRIC_PAGE_MAX}`);
      items.push(...page.items);
      from = page.next;
    }
    return items;
  }

  async removeHca(name: string): Promise<void> {
    await this.#call("DELETE", `/v1/hcas/${encodeURIComponent(name)}`);
  }

  /** A pcapng stream of what the ports of these HCAs send and receive, until `stopCapture`. @throws what the domain says */
  capture(ports: readonly string[]): Promise<IncomingMessage> {
    const path = `/v1/capture?${ports.map((name) => `port=${encodeURIComponent(name)}`).join("&")}`;
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socketPath, path }, (response) => {
        if (response.statusCode === 200) resolve(response);
        else readJson(response).then((error) => reject(new RefusedError((error as ApiError).error)), reject);
      });
      call.on("error", (error) => reject(this.#explained(error)));
      call.end();
    });
  }

  async stopCapture(): Promise<void> {
    await this.#call("DELETE", "/v1/capture");
  }

  async stop(): Promise<void> {
    await this.#call("POST", "/v1/stop", {});
  }

  /** An error of the connection in words: the domain has ended, before or in the middle of its answer. */
  #explained(error: NodeJS.ErrnoException): Error {
    if (!GONE_CODES.includes(error.code ?? "")) return error;
    return new Error(`the device domain has ended: nobody serves ${this.socketPath} any more`, { cause: error });
  }

  #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => reject(this.#explained(error));
      const headers = body === undefined ? {} : { "content-type": "application/json" };
      const call = request({ socketPath: this.socketPath, method, path, headers, timeout: TIMEOUT_MS }, (response) => {
        readAnswer<T>(response).then(resolve, fail);
      });
      call.on("timeout", () => call.destroy(new Error(`no answer from ${this.socketPath} within ${TIMEOUT_MS / 1000} s`)));
      call.on("error", fail);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** @throws NotFoundError or RefusedError with what the domain says */
async function readAnswer<T>(response: IncomingMessage): Promise<T> {
  const value = await readJson(response);
  if (response.statusCode === 200) return value as T;
  const { error } = value as ApiError;
  throw response.statusCode === NOT_FOUND ? new NotFoundError(error) : new RefusedError(error);
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return JSON.parse(Buffer.concat(parts).toString());
}
