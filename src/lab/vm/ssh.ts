// Commands in guests go through OpenSSH: one master connection per guest over a virtio-serial port, and one short-lived client
// per command that shares it (ssh_config(5), ControlMaster). Another process reaches the guest through the same control socket.

import type { ChildProcess, StdioOptions } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { KeptOutput } from "../kept-output.ts";
import { LabError } from "../lab-error.ts";
import type { Tool } from "../packages/tree.ts";
import { runCommand, signalGroup, spawnTied } from "../run-command.ts";
import { HOST_KEY_ALIAS } from "./keys.ts";

/** Status of a command that ran out of time, as timeout(1) has it. */
export const STATUS_TIMED_OUT = 124;
/** ssh's own status when the connection, not the command, failed. */
const STATUS_SSH_FAILED = 255;
/** Time between asking a command to end and making it. */
const GRACE_MS = 2000;

export interface ExecOptions {
  /** What the command reads: nothing (default), a text, a stream, or our own standard input. */
  readonly stdin?: string | Readable | "inherit" | undefined;
  /** Called with each piece of output as it comes; without it the output is kept for the result (kept-output.ts). */
  readonly onStdout?: ((chunk: Buffer) => void) | undefined;
  readonly onStderr?: ((chunk: Buffer) => void) | undefined;
  /** Ends the command, and what it started, when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Ends it after this time, with status 124. */
  readonly timeoutMs?: number | undefined;
  /** Gives the command a terminal, ours: for interactive use, with all three standard streams inherited. */
  readonly tty?: boolean | undefined;
}

export interface ExecResult {
  /** The command's exit status; 128 + n when signal n ended it, 124 when it ran out of time. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** What a command needs to reach a guest; plain data, so that another process can read it from the run folder. */
export interface SshEndpoint {
  readonly ssh: Tool;
  readonly node: string;
  readonly controlSocket: string;
}

/** Starts the master connection over an already connected socket, which becomes the program's standard input and output. */
export function startMaster(endpoint: SshEndpoint, runFolder: string, socket: Socket): ChildProcess {
  const options: Record<string, string> = {
    ProxyCommand: "-",
    ControlMaster: "yes",
    ControlPath: endpoint.controlSocket,
    ControlPersist: "no",
    BatchMode: "yes",
    IdentitiesOnly: "yes",
    IdentityFile: join(runFolder, "key"),
    UserKnownHostsFile: join(runFolder, "known_hosts"),
    GlobalKnownHostsFile: "none",
    HostKeyAlias: HOST_KEY_ALIAS,
    StrictHostKeyChecking: "yes",
    KexAlgorithms: "curve25519-sha256",
    Ciphers: "aes128-gcm@openssh.com",
    LogLevel: "ERROR",
    User: "root",
  };
  const args = [
    ...endpoint.ssh.args,
    "-F",
    "none",
    "-N",
    ...Object.entries(options).flatMap(([key, value]) => ["-o", `${key}=${value}`]),
  ];
  const child = spawnTied(endpoint.ssh.file, [...args, endpoint.node], { stdio: [socket, socket, "pipe"] });
  child.on("error", () => {});
  return child;
}

/** Connects to a UNIX socket that a program is about to create; undefined when `giveUp` turns true first. */
export async function connectWhenThere(path: string, giveUp: () => boolean): Promise<Socket | undefined> {
  while (!giveUp()) {
    const socket = existsSync(path) ? await tryConnect(path) : undefined;
    if (socket !== undefined) return socket;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return undefined;
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.pause();
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}

let lastCommand = 0;

/** The text the guest's shell gets: it notes its process group for `endCommand` and turns death by signal into a status. */
export function remoteCommand(id: string, command: string): string {
  return `echo $$ >/run/vhca/${id}\n${command}\nexit $?`;
}

/** Runs a shell command in a guest. @throws LabError("node-gone") when the guest cannot be reached any more. */
export async function execOver(endpoint: SshEndpoint, command: string, options: ExecOptions = {}): Promise<ExecResult> {
  options.signal?.throwIfAborted();
  const id = `${process.pid}-${++lastCommand}`;
  const args = [
    "-F",
    "none",
    "-q",
    "-S",
    endpoint.controlSocket,
    options.tty ? "-tt" : "-T",
    endpoint.node,
    remoteCommand(id, command),
  ];
  const child = spawnClient(endpoint, args, options);
  const stdout = collect(child.stdout, options.onStdout);
  const stderr = collect(child.stderr, options.onStderr);
  feed(child, options.stdin);
  const { status, timedOut } = await superviseCommand(endpoint, id, child, options);
  options.signal?.throwIfAborted();
  if (status === STATUS_SSH_FAILED && !(await isMasterAlive(endpoint)))
    throw new LabError("node-gone", `${endpoint.node} is gone: its VM has ended, or the connection to it`, { details: stderr() });
  return { status: timedOut ? STATUS_TIMED_OUT : status, stdout: stdout(), stderr: stderr(), timedOut };
}

/** Whether 255 was the command's own status: then the connection still stands. */
async function isMasterAlive(endpoint: SshEndpoint): Promise<boolean> {
  const args = [...endpoint.ssh.args, "-F", "none", "-q", "-S", endpoint.controlSocket, "-O", "check", endpoint.node];
  return (await runCommand(endpoint.ssh.file, args)).status === 0;
}

function spawnClient(endpoint: SshEndpoint, args: readonly string[], options: ExecOptions): ChildProcess {
  const input = options.stdin === undefined ? "ignore" : options.stdin === "inherit" ? "inherit" : "pipe";
  const stdio: StdioOptions = options.tty ? "inherit" : [input, "pipe", "pipe"];
  // a terminal client must stay in our session, or it could not use our terminal
  if (options.tty) return spawnTied(endpoint.ssh.file, [...endpoint.ssh.args, ...args], { stdio, detached: false });
  return spawnTied(endpoint.ssh.file, [...endpoint.ssh.args, ...args], { stdio });
}

function collect(stream: Readable | null, listener: ((chunk: Buffer) => void) | undefined): () => string {
  const kept = new KeptOutput();
  stream?.on("data", listener ?? ((chunk: Buffer) => kept.push(chunk)));
  return () => kept.text;
}

function feed(child: ChildProcess, stdin: ExecOptions["stdin"]): void {
  if (child.stdin === null) return;
  child.stdin.on("error", () => {});
  if (typeof stdin === "string") child.stdin.end(stdin);
  else stdin?.pipe(child.stdin);
}

/** Waits for the client; on abort or time-out ends the command in the guest first, so that nothing of it stays behind. */
function superviseCommand(
  endpoint: SshEndpoint,
  id: string,
  child: ChildProcess,
  options: ExecOptions,
): Promise<{ status: number; timedOut: boolean }> {
  return new Promise((resolve, reject) => {
    let timedOut = false;
    let grace: NodeJS.Timeout | undefined;
    const end = (): void => {
      endCommand(endpoint, id);
      grace = setTimeout(() => signalGroup(child.pid, "SIGKILL"), 2 * GRACE_MS);
    };
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            end();
          }, options.timeoutMs);
    options.signal?.addEventListener("abort", end, { once: true });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      clearTimeout(grace);
      options.signal?.removeEventListener("abort", end);
      resolve({ status: code ?? (signal === null ? 1 : STATUS_SSH_FAILED), timedOut });
    });
  });
}

/** Asks the process group of a command to end, and makes it after a while. */
function endCommand(endpoint: SshEndpoint, id: string): void {
  const script = `group=-$(cat /run/vhca/${id}) && kill -TERM -- $group && sleep ${GRACE_MS / 1000} && kill -KILL -- $group`;
  const args = [...endpoint.ssh.args, "-F", "none", "-q", "-S", endpoint.controlSocket, "-T", endpoint.node, script];
  spawnTied(endpoint.ssh.file, args, { stdio: "ignore" }).on("error", () => {});
}
