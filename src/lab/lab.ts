// A lab: N guests with their HCAs, an Ethernet between them, commands in them, and nothing left of it afterwards.

import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { type Log, silentLog } from "../base/log.ts";
import { LabError } from "./lab-error.ts";
import { Cache } from "./packages/cache.ts";
import { type Prepared, type PrepareOptions, prepareLab } from "./prepare.ts";
import { silentProgress } from "./progress.ts";
import { listLabs, RunFolder } from "./run-folder.ts";
import { MAX_NODES, nodeName } from "./vm/addresses.ts";
import { EthernetSwitch } from "./vm/ethernet-switch.ts";
import { commonFiles, filesArchive, initialArchive, labFiles } from "./vm/guest-files.ts";
import { makeKeys } from "./vm/keys.ts";
import type { GuestConfig } from "./vm/qemu-command.ts";
import { Qmp, type QmpEvent } from "./vm/qmp.ts";
import { dropSnapshot, prepareSnapshot, type Snapshot, type SnapshotMachine } from "./vm/snapshot.ts";
import { type ExecOptions, type ExecResult, execOver, type SshEndpoint } from "./vm/ssh.ts";
import { type BootEvent, type BootReport, Vm } from "./vm/vm.ts";

export interface LabOptions extends PrepareOptions {
  /** How many guests: n1, n2, … */
  readonly nodes: number;
  /** Already prepared ingredients, else `prepareLab` with these options is done first. */
  readonly prepared?: Prepared | undefined;
  /** vfio-user socket of a node's HCA. Undefined: a guest without HCA. */
  readonly hcaSocket?: ((node: string, index: number) => string | undefined) | undefined;
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

/** One guest of a lab. */
export class LabNode {
  readonly name: string;
  /** 1 for n1. */
  readonly index: number;
  readonly #start: (how: "warm" | "cold") => Vm;
  readonly #endpoint: SshEndpoint;
  readonly #qmpSocket: string;
  #how: "warm" | "cold";
  #vm: Vm;
  #ready: Promise<BootReport>;

  constructor(config: GuestConfig, endpoint: SshEndpoint, how: "warm" | "cold", start: (how: "warm" | "cold") => Vm) {
    this.name = config.name;
    this.index = config.index;
    this.#endpoint = endpoint;
    this.#qmpSocket = config.qmpSocket;
    this.#how = how;
    this.#start = start;
    this.#vm = start(how);
    this.#ready = this.#readyOrBooted();
  }

  /** Settles when the guest can be used, or with the reason why it cannot. */
  get ready(): Promise<BootReport> {
    return this.#ready;
  }

  /** A guest that cannot be restored is booted. */
  async #readyOrBooted(): Promise<BootReport> {
    try {
      return await this.#vm.ready;
    } catch (error) {
      if (!(error instanceof LabError && error.code === "restore")) throw error;
      await this.#vm.kill();
      this.#how = "cold";
      this.#vm = this.#start("cold");
      return this.#vm.ready;
    }
  }

  get isRunning(): boolean {
    return !this.#vm.hasEnded;
  }

  /** Resolves when the guest that runs now has ended, however that happens. */
  get exited(): Promise<number | null> {
    return this.#vm.exited;
  }

  /** QEMU's process id. */
  get pid(): number | undefined {
    return this.#vm.pid;
  }

  /** Runs a shell command as root in the guest. */
  async exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    if (this.#vm.hasEnded) throw new LabError("node-gone", `${this.name} is gone: its VM has ended`);
    return execOver(this.#endpoint, command, options);
  }

  /** QEMU's monitor, for what only it can do: pausing, device_add. The caller closes it. */
  monitor(onEvent?: (event: QmpEvent) => void): Promise<Qmp> {
    return Qmp.open(this.#qmpSocket, onEvent);
  }

  /** Ends the guest as pulling the plug does; its HCA's socket becomes free. */
  async kill(): Promise<void> {
    await this.#vm.kill();
  }

  /** The same without waiting, for a process that is exiting. */
  killNow(): void {
    this.#vm.killNow();
  }

  /** Starts the guest again, from the image, on the same HCA; ends it first if it runs. */
  async restart(): Promise<BootReport> {
    await this.#vm.kill();
    this.#vm = this.#start(this.#how);
    this.#ready = this.#readyOrBooted();
    return this.#ready;
  }
}

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
    try {
      const keys = await makeKeys(prepared.ssh, folder.path);
      const snapshot = await findSnapshot(options, prepared);
      const files = labFiles(options.nodes, keys);
      const archive = initialArchive(readFileSync(prepared.kernel.bootArchive), new Map([...commonFiles(), ...files]));
      writeFileSync(folder.file("initial.cpio"), archive, { mode: 0o600 });
      const start = { snapshot, files: filesArchive(files) };
      const ethernet = await EthernetSwitch.listen(folder.file("eth"));
      // a guest that boots has its HCA from the start
      if (snapshot === undefined) await options.hcasReady;
      const indices = Array.from({ length: options.nodes }, (_, index) => index + 1);
      return new Lab(folder, ethernet, prepared, () => indices.map((index) => makeNode(options, prepared, folder, index, start)));
    } catch (error) {
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
    throw new LabError("usage", `the folder to mount does not exist: ${mount}`);
}

/** What a lab's guests start from, if not from their kernel. */
interface WarmStart {
  readonly snapshot: Snapshot | undefined;
  /** What makes a restored guest one of this lab. */
  readonly files: Buffer;
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

function makeNode(options: LabOptions, prepared: Prepared, folder: RunFolder, index: number, warm: WarmStart): LabNode {
  const name = nodeName(index);
  const log = options.log ?? silentLog;
  const endpoint: SshEndpoint = { ssh: prepared.ssh.ssh, node: name, controlSocket: folder.file(`${name}.ctl`) };
  const config = guestConfig(options, prepared, folder, index);
  const { snapshot, files } = warm;
  const start = (how: "warm" | "cold"): Vm => {
    const isWarm = how === "warm" && snapshot !== undefined;
    const vm = new Vm({
      qemu: prepared.qemu,
      config: isWarm ? { ...config, start: "restore", initialArchive: snapshot.initialArchive } : config,
      endpoint,
      restore: isWarm ? { snapshotFile: snapshot.file, files, hcasReady: options.hcasReady } : undefined,
      runFolder: folder.path,
      bootTimeoutMs: options.bootTimeoutMs ?? DEFAULT_BOOT_TIMEOUT_MS,
      onProcess: (pid) => folder.addProcess(pid),
      onEvent: (event) => {
        log.debug(`${name}: ${event.event} ${event.detail}after ${event.seconds} s`);
        options.onBootEvent?.(name, event);
      },
    });
    if (isWarm)
      vm.ready.catch((error) => {
        if (!(error instanceof LabError && error.code === "restore")) return;
        log.warn(`${error.message}; it boots instead`);
        dropSnapshot(snapshot);
      });
    return vm;
  };
  return new LabNode(config, endpoint, snapshot === undefined ? "cold" : "warm", start);
}

function guestConfig(options: LabOptions, prepared: Prepared, folder: RunFolder, index: number): GuestConfig {
  const name = nodeName(index);
  return {
    ...machineOf(options, prepared),
    name,
    index,
    start: "boot",
    kernelFile: prepared.kernel.kernelFile,
    initialArchive: folder.file("initial.cpio"),
    rootImage: prepared.image.file,
    modulesImage: prepared.kernel.modulesImage,
    serialLog: folder.file(`${name}.log`),
    qmpSocket: folder.file(`${name}.qmp`),
    sshSocket: folder.file(`${name}.ssh`),
    statusSocket: folder.file(`${name}.new`),
    setupSocket: folder.file(`${name}.set`),
    ethernetSocket: folder.file("eth"),
    hcaSocket: options.hcaSocket?.(name, index),
    share: options.mount === undefined ? undefined : realpathSync(options.mount),
    waitForIb: options.waitForIb ?? true,
  };
}
