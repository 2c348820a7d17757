// A device domain and a lab of VMs on it, started and ended together: what `vhca run` and the tour are made of.

import type { Log } from "../base/log.ts";
import { hcaSocketPath } from "../control/socket-paths.ts";
import { DomainHandle } from "../domain/domain-handle.ts";
import type { DomainView } from "../domain/protocol.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { Quota } from "../hca/limits.ts";
import { type Lab, type LabOptions, startLab } from "../lab/lab.ts";
import { RunFolder } from "../lab/run-folder.ts";
import type { ChosenOptions } from "../sm/options.ts";
import type { DataPath } from "../transport/network.ts";
import { CONTROL_SOCKET } from "./domains.ts";
import { VERSION } from "./version.ts";

/** How doorbells and other accesses reach the HCA: as shared memory, as messages, or as messages whose answers the guest waits for. */
export type Doorbells = "mapped" | "trapped" | "answered";

export interface SessionOptions extends Omit<LabOptions, "hcaSocket" | "awaitsWrites" | "waitForIb"> {
  readonly doorbells?: Doorbells | undefined;
  readonly sm?: "builtin" | "none" | undefined;
  /** Of the built-in subnet manager. */
  readonly manager?: ChosenOptions | undefined;
  /** Engine threads; 1 if left out. */
  readonly engines?: number | undefined;
  /** Shape of the fabric; one switch if left out. */
  readonly topology?: Topology | undefined;
  /** How messages between the VMs go; "auto" if left out. */
  readonly dataPath?: DataPath | undefined;
  /** What each HCA may have. */
  readonly quota?: Partial<Quota> | undefined;
  readonly log: Log;
}

/** Running VMs, each with an HCA on one switch. */
export class Session {
  readonly domain: DomainHandle;
  readonly lab: Lab;
  readonly #folder: RunFolder;
  readonly #closeControl: () => Promise<void>;

  private constructor(domain: DomainHandle, lab: Lab, folder: RunFolder, closeControl: () => Promise<void>) {
    this.domain = domain;
    this.lab = lab;
    this.#folder = folder;
    this.#closeControl = closeControl;
  }

  /** Starts the domain, plugs in an HCA per node, boots the VMs; resolves when all are ready. */
  static async start(options: SessionOptions): Promise<Session> {
    const folder = RunFolder.create();
    const domain = new DomainHandle({
      sm: options.sm ?? "builtin",
      manager: options.manager,
      engines: options.engines ?? 1,
      topology: options.topology,
      dataPath: options.dataPath,
      log: options.log,
    });
    const removeFolder = (): void => folder.remove();
    process.once("exit", removeFolder);
    let closeControl = async (): Promise<void> => {};
    try {
      const hcasReady = addHcas(domain, folder, options);
      // Awaited much later, when the lab is prepared.
      hcasReady.catch(() => {});
      const lab = startLab({
        ...options,
        hcaSocket: (node) => hcaSocketPath(folder.path, node),
        awaitsWrites: options.doorbells === "answered",
        hcasReady,
        waitForIb: options.sm !== "none",
      });
      // Loaded while the guests start: they are what somebody waits for.
      const control = import("../control/server.ts").then(({ startControlServer }) =>
        startControlServer({
          domain,
          socketPath: folder.file(CONTROL_SOCKET),
          hcaFolder: folder.path,
          kind: "run",
          version: VERSION,
          // A domain that belongs to a run ends with the run.
          onStop: () => process.kill(process.pid, "SIGTERM"),
        }),
      );
      control.catch(() => {});
      closeControl = async () => (await control).close();
      return new Session(domain, await lab, folder, closeControl);
    } catch (error) {
      await closeControl().catch(() => {});
      await domain.stop();
      removeFolder();
      throw error;
    } finally {
      process.off("exit", removeFolder);
    }
  }

  describe(): Promise<DomainView> {
    return this.domain.describe();
  }

  /** Ends VMs and domain and removes every file. */
  async stop(): Promise<void> {
    await this.lab.stop();
    await this.#closeControl();
    await this.domain.stop();
    this.#folder.remove();
  }
}

/** Plugs in an HCA for each node. */
async function addHcas(domain: DomainHandle, folder: RunFolder, { nodes, doorbells, quota }: SessionOptions): Promise<void> {
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const how = (doorbells ?? "mapped") === "mapped" ? "mapped" : "trapped";
  const add = (name: string): Promise<unknown> =>
    domain.addHca({ name, socketPath: hcaSocketPath(folder.path, name), doorbells: how, quota });
  await Promise.all(names.map(add));
}
