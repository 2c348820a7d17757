// Serves the control API of one device domain.

import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { Readable } from "node:stream";
import Fastify, { type FastifyInstance } from "fastify";
import { ZodError } from "zod";
import { NotFoundError } from "../base/inspect.ts";
import type { DomainHandle } from "../domain/domain-handle.ts";
import type { HcaView } from "../domain/plugged-hca.ts";
import { AddHca, type ApiError, CaptureQuery, ObjectNumber, type Status, TreeQuery } from "./api.ts";
import { addFabricRoutes } from "./fabric-routes.ts";
import { addFaultRoutes } from "./fault-api.ts";
import { hcaSocketPath } from "./socket-paths.ts";

export interface ControlOptions {
  domain: DomainHandle;
  /** Where to listen. */
  socketPath: string;
  /** Folder for the sockets of HCAs that are added. */
  hcaFolder: string;
  kind: "up" | "run";
  version: string;
  /** Called once when a client asks the domain to end. */
  onStop: () => void;
}

/** A running server. */
export interface ControlServer {
  close(): Promise<void>;
}

/**
 * Starts serving; only the owner of the socket's folder can connect.
 * @throws if the socket cannot be made
 */
export async function startControlServer(options: ControlOptions): Promise<ControlServer> {
  const app = Fastify();
  describeErrors(app);
  addRoutes(app, options, new Date().toISOString());
  addInspection(app, options.domain);
  addFabricRoutes(app, options.domain.fabric);
  addFaultRoutes(app, options.domain.faults);
  addCapture(app, options);
  if (existsSync(options.socketPath)) unlinkSync(options.socketPath);
  await app.listen({ path: options.socketPath });
  chmodSync(options.socketPath, 0o600);
  const close = async (): Promise<void> => {
    // Its answer would not end by itself.
    await options.domain.stopCapture();
    await app.close();
  };
  return { close };
}

function describeErrors(app: FastifyInstance): void {
  app.setErrorHandler((error, _request, reply) => {
    const message = error instanceof ZodError ? issuesText(error) : error instanceof Error ? error.message : String(error);
    const body: ApiError = { error: message };
    return reply.status(error instanceof NotFoundError ? 404 : 400).send(body);
  });
  app.setNotFoundHandler((request, reply) => {
    const body: ApiError = { error: `no such thing: ${request.method} ${request.url}` };
    return reply.status(404).send(body);
  });
}

/** Every issue in one line: `guid: expected a GUID such as …`. */
const issuesText = ({ issues }: ZodError): string =>
  issues.map(({ path, message }) => (path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`)).join("; ");

function addRoutes(app: FastifyInstance, options: ControlOptions, startedAt: string): void {
  const { domain, kind, version, hcaFolder } = options;
  const findHca = async (name: string): Promise<HcaView | undefined> =>
    (await domain.describe()).hcas.find((h) => h.name === name);

  app.get("/v1/status", async (): Promise<Status> => {
    return { ...(await domain.describe()), pid: process.pid, version, kind, startedAt };
  });
  app.post("/v1/hcas", (request) => {
    const { name, doorbells, quota } = AddHca.parse(request.body);
    return domain.addHca({ name, socketPath: hcaSocketPath(hcaFolder, name), doorbells, quota });
  });
  app.get<{ Params: { name: string } }>("/v1/hcas/:name", async (request, reply) => {
    const view = await findHca(request.params.name);
    return view ?? reply.status(404).send({ error: `there is no HCA named ${request.params.name}` } satisfies ApiError);
  });
  app.delete<{ Params: { name: string } }>("/v1/hcas/:name", async (request, reply) => {
    if (await domain.removeHca(request.params.name)) return {};
    return reply.status(404).send({ error: `there is no HCA named ${request.params.name}` } satisfies ApiError);
  });
  app.post("/v1/stop", () => {
    setImmediate(options.onStop);
    return {};
  });
}

function addCapture(app: FastifyInstance, { domain, version }: ControlOptions): void {
  app.get("/v1/capture", async (request, reply) => {
    const { port } = CaptureQuery.parse(request.query);
    const capture = await domain.startCapture(port, `vhca ${version}`);
    // Also when the client is gone without a word.
    reply.raw.once("close", () => void domain.stopCapture(capture));
    return reply.type("application/octet-stream").send(Readable.from(capture.chunks()));
  });
  app.delete("/v1/capture", async () => {
    await domain.stopCapture();
    return {};
  });
}

/** The live device: reads only. */
function addInspection(app: FastifyInstance, domain: DomainHandle): void {
  app.get<{ Params: { name: string } }>("/v1/hcas/:name/tree", (request) =>
    domain.tree(request.params.name, TreeQuery.parse(request.query).limit),
  );
  for (const kind of ["qp", "cq", "srq", "region"] as const) {
    app.get<{ Params: { name: string; number: string } }>(`/v1/hcas/:name/${kind}/:number`, (request) =>
      domain.object(request.params.name, kind, ObjectNumber.parse(request.params.number)),
    );
  }
}
