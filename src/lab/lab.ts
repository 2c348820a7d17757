// A lab: N guests with their HCAs, an Ethernet between them, commands in them, and nothing left of it afterwards.

import { existsSync, realpathSync, statSync } from "node:fs";
import { type Log, silentLog } from "../base/log.ts";
import { LabError } from "./lab-error.ts";
import { LabNode } from "./lab-node.ts";
import { Cache } from "./packages/cache.ts";
import { type Prepared, type PrepareOptions, prepareLab } from "./prepare.ts";
import { silentProgress } from "./progress.ts";
import { listLabs, RunFolder } from "./run-folder.ts";
import { MAX_NODES, nodeName } from "./vm/addresses.ts";
import { EthernetSwitch } from "./vm/ethernet-switch.ts";
import { GuestStart, INITIAL_ARCHIVE } from "./vm/guest-start.ts";
import type { GuestConfig } from "./vm/qemu-command.ts";
import { prepareSnapshot, type Snapshot, type SnapshotMachine } from "./vm/snapshot.ts";
import { type ExecOptions, type ExecResult, execOver } from "./vm/ssh.ts";
import type { BootEvent } from "./vm/vm.ts";

export { LabNode } from "./lab-node.ts";

export interface LabOptions extends PrepareOptions {
  /** How many guests: n1, n2, … */
  readonly nodes: number;
  /** Already prepared ingredients, else `prepareLab` with these options is done first. */
  readonly prepared?: Prepared | undefined;
  /** vfio-user socket of a node's HCA. Undefined: a guest without HCA. */
  readonly hcaSocket?: ((node: string, index: number) => string | undefined) | undefined;
  /** Guests wait for the answer to each write that leaves them for the HCA (false: QEMU sends it and lets them go on). */
  readonly awaitsWrites?: boolean | undefined;
  /** Settles when those sockets listen, if they do not yet: what needs no HCA is done meanwhile. */
  readonly hcasReady?: Promise<unknown> | undefined;
  /** "Ready" means that IPoIB has joined (default), not only that the driver is up: false where no subnet manager runs yet. */
  readonly waitForIb?: boolean | undefined;
  /** Guest memory (default 1024) and processors (default 1). */
  readonly memoryMiB?: number | undefined;
  readonly cpus?: number | undefined;
  /** Host folder to mount in every guest at /mnt/host, for reading and writing. */
  readonly mount?: string | undefined;
  /** MTU of the Ethernet between the guests (default 1500, at most 65521). */
  readonly ethernetMtu?: number | undefined;
  /** From a snapshot of a guest that has booted (default), or each from its kernel. */
  readonly start?: "warm" | "cold" | undefined;
  readonly bootTimeoutMs?: number | undefined;
  readonly log?: Log | undefined;
  /** What a guest says while it boots. */
  readonly onBootEvent?: ((node: string, event: BootEvent) => void) | undefined;
}

const DEFAULT_MEMORY_MIB = 1024;
const DEFAULT_ETHERNET_MTU = 1500;
const MAX_ETHERNET_MTU = 65521;
const DEFAULT_BOOT_TIMEOUT_MS = 120_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A running lab. Dispose of it with `stop` or `await using`. */
export class Lab implements AsyncDisposable {
  readonly id: string;
  readonly nodes: readonly LabNode[];
  readonly prepared: Prepared;
  readonly #folder: RunFolder;
  readonly #ethernet: EthernetSwitch;
  #isStopped = false;

  private constructor(folder: RunFolder, ethernet: EthernetSwitch, prepared: Prepared, makeNodes: () => LabNode[]) {
    this.#folder = folder;
    this.#ethernet = ethernet;
    this.id = folder.id;
    this.prepared = prepared;
    process.on("exit", this.#onExit);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    this.nodes = makeNodes();
  }

  /** Where logs and sockets of the lab are, until it stops. */
  get runFolder(): string {
    return this.#folder.path;
  }

  /** Prepares what is missing, boots all guests in parallel and waits until each is ready. */
  static async start(options: LabOptions): Promise<Lab> {
    checkOptions(options);
    const prepared = options.prepared ?? (await prepareLab(options));
    const lab = await Lab.#create(options, prepared);
    const abort = (): void => void lab.stop();
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      await Promise.all(lab.nodes.map((node) => node.ready));
      options.signal?.throwIfAborted();
      lab.#writeRecord(prepared);
      return lab;
    } catch (error) {
      await lab.stop();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
  }

  static async #create(options: LabOptions, prepared: Prepared): Promise<Lab> {
    const folder = RunFolder.create();
    let ethernet: EthernetSwitch | undefined;
    try {
      const log = options.log ?? silentLog;
      const start = await GuestStart.prepare({
        ...{ prepared, folder, log, nodes: options.nodes, snapshot: await findSnapshot(options, prepared) },
        bootTimeoutMs: options.bootTimeoutMs ?? DEFAULT_BOOT_TIMEOUT_MS,
        onBootEvent: (node, event) => {
          log.debug(`${node}: ${event.event} ${event.detail}after ${event.seconds} s`);
          options.onBootEvent?.(node, event);
        },
      });
      const listening = await EthernetSwitch.listen(folder.file("eth"));
      ethernet = listening;
      await options.hcasReady;
      const indices = Array.from({ length: options.nodes }, (_, index) => index + 1);
      return new Lab(folder, listening, prepared, () =>
        indices.map((index) => makeNode(options, prepared, folder, index, start)),
      );
    } catch (error) {
      ethernet?.close();
      folder.remove();
      throw error;
    }
  }

  /** The node of this name. */
  node(name: string): LabNode {
    const node = this.nodes.find((each) => each.name === name);
    if (node === undefined)
      throw new LabError("usage", `there is no node ${name}`, { mend: `there are n1 to n${this.nodes.length}` });
    return node;
  }

  /** Ends all guests and removes everything; may be called more than once. */
  async stop(): Promise<void> {
    if (!this.#isStopped) this.#stopNow();
    await Promise.all(this.nodes.map((node) => node.exited));
    this.#folder.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** All that can be done without waiting. */
  #stopNow(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    process.off("exit", this.#onExit);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    for (const node of this.nodes) node.killNow();
    this.#ethernet.close();
    this.#folder.remove();
  }

  readonly #onExit = (): void => this.#stopNow();

  /** Cleans up, then lets the signal do what it does: nobody else may be listening. */
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#stopNow();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };

  #writeRecord({ ssh }: Prepared): void {
    this.#folder.writeRecord({
      startedAt: new Date().toISOString(),
      nodes: this.nodes.map(({ name }) => ({ name, controlSocket: this.#folder.file(`${name}.ctl`) })),
      ssh: ssh.ssh,
    });
  }
}

/** Starts a lab; see `Lab.start`. */
export const startLab = (options: LabOptions): Promise<Lab> => Lab.start(options);

/** Runs a command in a node of a lab that any process of this user started: in the lab `labId`, else in the newest one. */
export async function execInRunningLab(
  node: string,
  command: string,
  options: ExecOptions & { labId?: string } = {},
): Promise<ExecResult> {
  const labs = listLabs();
  const lab = options.labId === undefined ? labs.at(-1) : labs.find((each) => each.id === options.labId);
  if (lab === undefined)
    throw new LabError("usage", options.labId === undefined ? "no lab is running" : `no lab ${options.labId} is running`, {
      mend: "start one with vhca run",
    });
  const found = lab.nodes.find(({ name }) => name === node);
  if (found === undefined) {
    const names = lab.nodes.map(({ name }) => name).join(", ");
    throw new LabError("usage", `lab ${lab.id} has no node ${node}`, { mend: `it has ${names}` });
  }
  return execOver({ ssh: lab.ssh, node, controlSocket: found.controlSocket }, command, options);
}

function checkOptions(options: LabOptions): void {
  const { nodes, memoryMiB = DEFAULT_MEMORY_MIB, cpus = 1, ethernetMtu = DEFAULT_ETHERNET_MTU, mount } = options;
  const isWhole = (value: number, least: number, most: number): boolean =>
    Number.isInteger(value) && value >= least && value <= most;
  if (!isWhole(nodes, 1, MAX_NODES)) throw new LabError("usage", `nodes: expected 1 to ${MAX_NODES}, got ${nodes}`);
  if (!isWhole(memoryMiB, 256, 1 << 20)) throw new LabError("usage", `memory: expected at least 256 MiB, got ${memoryMiB}`);
  if (!isWhole(cpus, 1, 64)) throw new LabError("usage", `cpus: expected 1 to 64, got ${cpus}`);
  if (!isWhole(ethernetMtu, 68, MAX_ETHERNET_MTU))
    throw new LabError("usage", `MTU: expected 68 to ${MAX_ETHERNET_MTU}, got ${ethernetMtu}`);
  if (mount !== undefined && !(existsSync(mount) && statSync(mount).isDirectory()))
    throw new LabError(
      "usage",
      `mount: expected a folder, ${existsSync(mount) ? "and this is none" : "which does not exist"}: ${mount}`,
    );
}

/** The snapshot for this lab; without one its guests boot, which takes longer but needs nothing. */
async function findSnapshot(options: LabOptions, prepared: Prepared): Promise<Snapshot | undefined> {
  if (options.start === "cold") return undefined;
  const cache = options.cache ?? new Cache();
  const progress = options.onProgress ?? silentProgress;
  try {
    return await prepareSnapshot(cache, prepared, machineOf(options, prepared), { progress, signal: options.signal });
  } catch (error) {
    options.signal?.throwIfAborted();
    (options.log ?? silentLog).warn(`${error instanceof Error ? error.message : error}; the guests boot instead`);
    return undefined;
  }
}

const machineOf = (options: LabOptions, prepared: Prepared): SnapshotMachine => ({
  accelerator: prepared.verdict.accelerator,
  memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
  cpus: options.cpus ?? 1,
  ethernetMtu: options.ethernetMtu ?? DEFAULT_ETHERNET_MTU,
});

function makeNode(options: LabOptions, prepared: Prepared, folder: RunFolder, index: number, start: GuestStart): LabNode {
  const config = guestConfig(options, prepared, folder, index);
  const endpoint = { ssh: prepared.ssh.ssh, node: config.name, controlSocket: folder.file(`${config.name}.ctl`) };
  return new LabNode(config, endpoint, start);
}

function guestConfig(options: LabOptions, prepared: Prepared, folder: RunFolder, index: number): GuestConfig {
  const name = nodeName(index);
  return {
    ...machineOf(options, prepared),
    name,
    index,
    start: "boot",
    kernelFile: prepared.kernel.kernelFile,
    initialArchive: folder.file(INITIAL_ARCHIVE),
    rootImage: prepared.image.file,
    modulesImage: prepared.kernel.modulesImage,
    serialLog: folder.file(`${name}.log`),
    qmpSocket: folder.file(`${name}.qmp`),
    sshSocket: folder.file(`${name}.ssh`),
    statusSocket: folder.file(`${name}.new`),
    setupSocket: folder.file(`${name}.set`),
    ethernetSocket: folder.file("eth"),
    hcaSocket: options.hcaSocket?.(name, index),
    awaitsWrites: options.awaitsWrites,
    share: options.mount === undefined ? undefined : realpathSync(options.mount),
    waitForIb: options.waitForIb ?? true,
  };
}
