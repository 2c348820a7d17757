// What people and programs tell a device domain. `api/http`: the control API of a running domain over its socket: paths, methods,
// bodies, right ones, bent ones, and bytes that are no HTTP; never a 5xx, the domain lives, and its list of HCAs is the model's.
// `api/cli`: command lines; options are taken within their bounds or refused as wrong usage, and nothing else is ever thrown.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { Command, CommanderError } from "commander";
import { silentLog } from "../../src/base/log.ts";
import type { Random } from "../../src/base/random.ts";
import { addDown } from "../../src/cli/down.ts";
import { addExec } from "../../src/cli/exec.ts";
import { addFabric } from "../../src/cli/fabric.ts";
import { addHca } from "../../src/cli/hca.ts";
import { addImage } from "../../src/cli/image.ts";
import { UsageError } from "../../src/cli/output.ts";
import { addRun, planCommands } from "../../src/cli/run.ts";
import { addStatus } from "../../src/cli/status.ts";
import { addUp } from "../../src/cli/up.ts";
import type { Status } from "../../src/control/api.ts";
import { type ControlServer, startControlServer } from "../../src/control/server.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, randomBytes } from "./values.ts";

const REQUESTS = 15;
const TIMEOUT_MS = 5000;
/** Fastify's limit. */
const BODY_BYTES_MAX = 1 << 20;

interface Answer {
  status: number;
  body: string;
}

/** A domain with its API, made at the first case and ended after the last. */
class Served {
  readonly folder = mkdtempSync(join(tmpdir(), "vhca-api-"));
  readonly socketPath = join(this.folder, "control.sock");
  readonly domain = new DomainHandle({ log: silentLog });
  stops = 0;
  #server: ControlServer | undefined;

  async start(): Promise<this> {
    this.#server = await startControlServer({
      domain: this.domain,
      socketPath: this.socketPath,
      hcaFolder: this.folder,
      kind: "up",
      version: "0",
      onStop: () => {
        this.stops++;
      },
    });
    return this;
  }

  async end(): Promise<void> {
    await this.#server?.close();
    await this.domain.stop();
    rmSync(this.folder, { recursive: true });
  }

  call(method: string, path: string, body?: string | Buffer, type = "application/json"): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(body) };
      const to = { socketPath: this.socketPath, agent: false, timeout: TIMEOUT_MS };
      const call = request({ ...to, method, path, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
      });
      call.on("timeout", () => call.destroy(new Error(`no answer to ${method} ${path}`)));
      // A body beyond the server's limit is refused before it has been sent.
      const isTooLong = (body?.length ?? 0) > BODY_BYTES_MAX;
      call.on("error", (error) => (isTooLong ? resolve({ status: 413, body: error.message }) : reject(error)));
      call.end(body);
    });
  }

  /** Sends bytes as they are and waits until the server has closed or answered. */
  raw(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(this.socketPath, () => socket.end(bytes));
      socket.on("data", () => socket.destroy());
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      socket.setTimeout(200, () => socket.destroy());
    });
  }
}

let served: Promise<Served> | undefined;
after(async () => (await served)?.end());
const NAME = /^[a-zA-Z][a-zA-Z0-9-]{0,30}$/;

class ApiCase {
  readonly random: Random;
  readonly budget: Budget;
  readonly api: Served;
  readonly hcas = new Set<string>();

  constructor(random: Random, budget: Budget, api: Served) {
    this.random = random;
    this.budget = budget;
    this.api = api;
  }

  #name(): string {
    const { random } = this;
    if (random.chance(0.7)) return random.pick(["n1", "n2", "a-b", "control", "x".repeat(31)]);
    return random.pick([
      "",
      "1n",
      "a/b",
      "..",
      "../x",
      "ä",
      "x".repeat(32),
      "a b",
      "%00",
      "a.sock",
      "__proto__",
      "constructor",
      "a\n",
    ]);
  }

  async act(): Promise<void> {
    const kind = this.random.below(10);
    if (kind < 4) await this.#add();
    else if (kind < 6) await this.#remove();
    else if (kind < 7) await this.#find();
    else await this.#anything();
  }

  async #add(): Promise<void> {
    const { random } = this;
    const name = this.#name();
    const doorbells = random.pick(["mapped", "trapped", undefined, undefined, "maybe", 7]);
    const { status, body } = await this.api.call("POST", "/v1/hcas", JSON.stringify({ name, doorbells }));
    const isRight =
      NAME.test(name) && !name.endsWith("\n") && (doorbells === undefined || /^(mapped|trapped)$/.test(`${doorbells}`));
    // A name whose socket is taken is refused, whoever has it.
    const isTaken = this.hcas.has(name) || name === "control";
    assert.equal(status, isRight && !isTaken ? 200 : 400, `adding ${name}: ${body}`);
    if (status === 200) this.hcas.add(name);
    this.budget.note(`add ${name} ${status}`);
  }

  async #remove(): Promise<void> {
    const name = this.#name();
    const { status } = await this.api.call("DELETE", `/v1/hcas/${encodeURIComponent(name)}`);
    assert.equal(status, this.hcas.delete(name) ? 200 : 404, `removing ${name}`);
    this.budget.note(`remove ${name} ${status}`);
  }

  async #find(): Promise<void> {
    const name = this.#name();
    const { status, body } = await this.api.call("GET", `/v1/hcas/${encodeURIComponent(name)}`);
    assert.equal(status, this.hcas.has(name) ? 200 : 404, `finding ${name}`);
    if (status === 200) assert.equal((JSON.parse(body) as { name: string }).name, name);
  }

  /** Any method, path and body that is none of the above: refused with words. */
  async #anything(): Promise<void> {
    const { random } = this;
    if (random.chance(0.2)) {
      const text = Buffer.from(
        `POST /v1/hcas HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
      );
      if (random.chance(0.7)) bend(random, text);
      await this.api.raw(random.chance(0.8) ? text : randomBytes(random, random.below(300)));
      return;
    }
    const method = random.pick(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "REPORT"]);
    const path = random.pick([
      "/",
      "/v1",
      "/v1/hcas",
      "/v1/hcas/",
      "/v1/status",
      "/v2/status",
      "/v1/%ff",
      `/${"x".repeat(5000)}`,
      "/v1/stopp",
    ]);
    const body = random.pick([
      undefined,
      "",
      "{",
      "null",
      "[]",
      '"x"',
      "7",
      '{"__proto__":{"name":"n9"}}',
      "x".repeat(2_000_000),
    ]);
    const type = random.pick(["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"]);
    const { status, body: answer } = await this.api.call(method, path, body, type);
    this.budget.note(`${method} ${path.slice(0, 12)} ${status}`);
    assert.ok(status === 200 || (status >= 400 && status < 500), `${method} ${path.slice(0, 40)}: ${status} ${answer}`);
    const isQuery = path === "/v1/status" && (method === "GET" || method === "HEAD");
    assert.equal(status === 200, isQuery && status === 200, "nothing but a query has succeeded");
  }

  async check(): Promise<void> {
    const { status, body } = await this.api.call("GET", "/v1/status");
    assert.equal(status, 200, body);
    const names = (JSON.parse(body) as Status).hcas.map(({ name }) => name);
    assert.deepEqual(new Set(names), this.hcas, "HCAs of the domain");
    assert.equal(this.api.stops, 0, "nobody has asked it to stop");
    for (const name of names) assert.equal((await this.api.call("DELETE", `/v1/hcas/${name}`)).status, 200);
  }
}

fuzz(
  "api/http",
  async (random, budget) => {
    served ??= new Served().start();
    const one = new ApiCase(random, budget, await served);
    for (let i = 0; i < REQUESTS; i++) await one.act();
    await one.check();
  },
  { share: 0.7 },
);

// ---- the command line -----------------------------------------------------------------------------------------------------

const WORDS = [
  ...[
    "run",
    "exec",
    "up",
    "down",
    "status",
    "hca",
    "fabric",
    "image",
    "add",
    "rm",
    "show",
    "list",
    "build",
    "n1",
    "n2",
    "n99",
    "--",
  ],
  ...["--nodes", "--on", "--image", "--packages", "--kernel", "--memory", "--cpus", "--accel", "--doorbells", "--sm", "--mount"],
  ...["--timeout", "--stagger", "--keep-going", "--json", "--verbose", "--hca", "--foreground", "--lab", "--name", "--nodes=3"],
  ...[
    "mapped",
    "trapped",
    "maybe",
    "kvm",
    "tcg",
    "6.12",
    "newest",
    "builtin",
    "none",
    "ibstat",
    "true",
    "a,b",
    "-x",
    "--no-such",
  ],
];
const NUMBERS = [
  "0",
  "1",
  "2",
  "-1",
  "1.5",
  "1e3",
  "1e9",
  "1e300",
  "0x10",
  " 4",
  "",
  "NaN",
  "Infinity",
  "99999999999999999999",
  "４",
];
const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  doorbells: ["mapped", "trapped"],
  sm: ["builtin", "none"],
  accel: ["auto", "kvm", "tcg"],
  kernel: ["6.12", "newest"],
};
/** The longest time a timer of Node takes. */
const TIMER_SECONDS_MAX = 2_147_483;

/** The program with its actions replaced: what they would have been called with. */
function parseOnly(): {
  program: Command;
  called: { words: readonly string[]; options: Record<string, unknown>; name: string }[];
} {
  const program = new Command("vhca").exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
  for (const add of [addRun, addExec, addUp, addDown, addStatus, addHca, addFabric, addImage]) add(program);
  const called: { words: readonly string[]; options: Record<string, unknown>; name: string }[] = [];
  const replace = (command: Command): void => {
    const note = (): void => void called.push({ words: command.args, options: command.opts(), name: command.name() });
    if (command.commands.length === 0) command.action(note);
    for (const sub of command.commands) replace(sub);
  };
  replace(program);
  return { program, called };
}

function checkOptions(name: string, options: Record<string, unknown>, words: readonly string[]): void {
  for (const [option, choices] of Object.entries(CHOICES)) {
    if (options[option] !== undefined) assert.ok(choices.includes(options[option]), `--${option} ${options[option]}`);
  }
  for (const option of ["nodes", "memory", "cpus"]) {
    const value = options[option];
    if (value !== undefined) assert.ok(Number.isSafeInteger(value) && (value as number) >= 1, `--${option} ${value}`);
  }
  for (const option of ["timeout", "stagger"]) {
    const value = options[option];
    if (value !== undefined) assert.ok((value as number) >= 0 && (value as number) <= TIMER_SECONDS_MAX, `--${option} ${value}`);
  }
  if (name === "up") for (const hca of options.hca as string[]) assert.match(hca, NAME);
  if (name !== "run") return;
  const nodes = options.nodes as number;
  assert.ok(nodes <= 64, `--nodes ${nodes}: the switch has 64 ports`);
  const commands = planCommands(options.on as string[], words, nodes);
  assert.ok(commands.length > 0);
  for (const { node } of commands) assert.ok(Number(node.slice(1)) >= 1 && Number(node.slice(1)) <= nodes, node);
}

fuzz(
  "api/cli",
  async (random, budget) => {
    const argv = Array.from({ length: random.below(9) }, () => random.pick(random.chance(0.8) ? WORDS : NUMBERS));
    if (random.chance(0.7)) argv.unshift(random.pick(["run", "run", "up", "exec", "hca", "image"]));
    if (random.chance(0.5))
      argv.splice(1, 0, random.pick(["--nodes", "--memory", "--timeout", "--stagger"]), random.pick(NUMBERS));
    budget.trace(argv);
    const { program, called } = parseOnly();
    try {
      await program.parseAsync(argv, { from: "user" });
      for (const { name, options, words } of called) checkOptions(name, options, words);
      budget.note(`${called[0]?.name} ok`);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof CommanderError || error instanceof UsageError, `${argv.join(" ")}: ${error}`);
      assert.ok(error.message.length > 0);
      budget.note(error instanceof CommanderError ? error.code : "usage");
    }
  },
  { share: 0.3 },
);
