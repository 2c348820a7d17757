// One guest of a lab, over all of its lives.

import { LabError } from "./lab-error.ts";
import type { GuestStart } from "./vm/guest-start.ts";
import type { GuestConfig } from "./vm/qemu-command.ts";
import { Qmp, type QmpEvent } from "./vm/qmp.ts";
import { type ExecOptions, type ExecResult, execOver, type SshEndpoint } from "./vm/ssh.ts";
import type { BootReport, Vm } from "./vm/vm.ts";

/** One guest of a lab. */
export class LabNode {
  readonly name: string;
  /** 1 for n1. */
  readonly index: number;
  readonly #config: GuestConfig;
  readonly #endpoint: SshEndpoint;
  readonly #start: GuestStart;
  #vm: Vm;
  #ready: Promise<BootReport>;

  constructor(config: GuestConfig, endpoint: SshEndpoint, start: GuestStart) {
    this.name = config.name;
    this.index = config.index;
    this.#config = config;
    this.#endpoint = endpoint;
    this.#start = start;
    this.#vm = start.start(config, endpoint);
    this.#ready = this.#readyOrBooted(this.#vm);
  }

  /** Settles when the guest can be used, or with the reason why it cannot. */
  get ready(): Promise<BootReport> {
    return this.#ready;
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
    return Qmp.open(this.#config.qmpSocket, onEvent);
  }

  /** Ends the guest as pulling the plug does; its HCA's socket becomes free. */
  async kill(): Promise<void> {
    await this.#vm.kill();
  }

  /** The same without waiting, for a process that is exiting. */
  killNow(): void {
    this.#vm.killNow();
  }

  /** Starts the guest again, as it started first, on the same HCA; ends it first if it runs. */
  async restart(): Promise<BootReport> {
    await this.#vm.kill();
    this.#vm = this.#start.start(this.#config, this.#endpoint);
    this.#ready = this.#readyOrBooted(this.#vm);
    return this.#ready;
  }

  /** A guest that cannot be restored boots, unless it was ended on purpose. */
  async #readyOrBooted(vm: Vm): Promise<BootReport> {
    try {
      return await vm.ready;
    } catch (error) {
      if (!vm.isRestored || vm.wasKilled) throw error;
      await this.#start.giveUpSnapshot(error);
      // Somebody may have ended it, or have started it again, meanwhile.
      if (this.#vm !== vm || vm.wasKilled) throw error;
      this.#vm = this.#start.start(this.#config, this.#endpoint);
      return await this.#vm.ready;
    }
  }
}
