// vhca up: a device domain that stays, for VMs of your own.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { Log } from "../base/log.ts";
import { HcaName } from "../control/api.ts";
import { startControlServer } from "../control/server.ts";
import { hcaSocketPath } from "../control/socket-paths.ts";
import { DomainHandle } from "../domain/domain-handle.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { Quota } from "../hca/limits.ts";
import { collectAndTrim } from "../host/thrift.ts";
import { RunFolder } from "../lab/run-folder.ts";
import type { DataPath } from "../transport/network.ts";
import { addDataPathOption, assertDataPath } from "./data-path.ts";
import { CONTROL_SOCKET, domainSummary, findDomains, getUpDomain, type RunningDomain } from "./domains.ts";
import { addEnginesOption } from "./engines.ts";
import { addIbsimOption, ibsimArguments, ibsimText, serveIbsim } from "./ibsim.ts";
import { catchInterrupts, type Interrupt } from "./interrupt.ts";
import { addManagerOptions, type ManagerFlags, managerArguments, managerOf } from "./manager.ts";
import { plural, printJson, printLine, UsageError } from "./output.ts";
import { qemuHint } from "./qemu-hint.ts";
import { addQuotaOption, quotaText } from "./quota.ts";
import { PIPE_STATUS } from "./standard-output.ts";
import { takeStartLock } from "./start-lock.ts";
import { addTopologyOption, loadTopology, topologyText } from "./topology.ts";
import { QUIET_VARIABLE, startInBackground } from "./up-detached.ts";
import { VERSION } from "./version.ts";

/** After so long a domain that nobody uses yet has done what it does at its start. */
const SETTLED_MS = 30_000;

interface UpOptions extends ManagerFlags {
  hca: string[];
  doorbells: "mapped" | "trapped";
  sm: "builtin" | "none";
  quota?: Partial<Quota>;
  engines: number;
  topology?: string;
  ibsim?: string | true;
  dataPath: DataPath;
  foreground?: boolean;
  json?: boolean;
}

export function addUp(program: Command): void {
  addIbsimOption(addDataPathOption(addManagerOptions(addTopologyOption(addEnginesOption(addQuotaOption(program.command("up")))))))
    .summary("start a device domain that stays")
    .description(
      "Starts a device domain with one switch, or a topology, and HCAs in it, for VMs of your own; they connect by socket path.",
    )
    .addOption(
      new Option("--hca <names>", "HCAs to create, comma-separated").argParser(parseNames).default(["n1", "n2"], "n1,n2"),
    )
    .addOption(
      new Option("--doorbells <how>", "map doorbells into the guest, or trap them")
        .choices(["mapped", "trapped"])
        .default("mapped"),
    )
    .addOption(
      new Option("--sm <which>", "who manages the subnet: ourselves, or OpenSM in a guest")
        .choices(["builtin", "none"])
        .default("builtin"),
    )
    .option("--foreground", "stay in this terminal; Ctrl-C ends the domain")
    .option("--json", "print what was started as JSON")
    .addHelpText("after", "\nAttach a VM with the line that is printed; QEMU 10.1 or newer, guest memory from a shared memfd.")
    .action((options: UpOptions) => {
      assertDataPath(options.dataPath, options.engines);
      return options.foreground === true ? serve(options) : startDetached(options);
    });
}

const topologyOf = ({ topology: text, hca, engines, sm, lmc }: UpOptions): Promise<Topology | undefined> =>
  loadTopology({ text, hcas: hca.length, engines, sm, lmc });

function parseNames(text: string): string[] {
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names) {
    const { error } = HcaName.safeParse(name);
    if (error !== undefined) throw new InvalidArgumentError(`${name}: ${error.issues[0]?.message}`);
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new InvalidArgumentError(`${twice}: expected each name once`);
  return names;
}

/** Runs the domain in this process until a signal or `vhca down`, or until nobody reads what it prints. */
async function serve(options: UpOptions): Promise<void> {
  const interrupt = catchInterrupts();
  const giveBack = once(takeStartLock());
  try {
    await assertNoneRuns();
    await runDomain(options, await topologyOf(options), interrupt, giveBack);
  } finally {
    giveBack();
    if (interrupt.status === PIPE_STATUS) process.exitCode = PIPE_STATUS;
    interrupt.dispose();
  }
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}

async function runDomain(
  options: UpOptions,
  topology: Topology | undefined,
  interrupt: Interrupt,
  giveBack: () => void,
): Promise<void> {
  const folder = RunFolder.create();
  const domain = new DomainHandle({
    sm: options.sm,
    manager: managerOf(options),
    log: stderrLog,
    engines: options.engines,
    topology,
    dataPath: options.dataPath,
  });
  try {
    for (const name of options.hca) {
      await domain.addHca({
        name,
        socketPath: hcaSocketPath(folder.path, name),
        doorbells: options.doorbells,
        quota: options.quota,
      });
    }
    await serveIbsim(domain, options.ibsim);
    await serveUntilStopped(domain, folder, options, interrupt, giveBack);
  } finally {
    await domain.stop();
    folder.remove();
  }
}

/** @param giveBack called when others can see this domain */
async function serveUntilStopped(
  domain: DomainHandle,
  folder: RunFolder,
  options: UpOptions,
  { signal }: Interrupt,
  giveBack: () => void,
): Promise<void> {
  let stop: () => void = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  const socketPath = folder.file(CONTROL_SOCKET);
  const server = await startControlServer({
    domain,
    socketPath,
    hcaFolder: folder.path,
    kind: "up",
    version: VERSION,
    onStop: stop,
  });
  giveBack();
  if (process.env[QUIET_VARIABLE] === undefined) await announce(options, await getUpDomain(), false);
  // The topology as it was read; and once more when the engine has taken it over and has warmed up, since other threads collect and compile, too.
  collectAndTrim();
  setTimeout(collectAndTrim, SETTLED_MS).unref();
  await Promise.race([stopped, domain.ended]);
  await server.close();
}

/** Starts `vhca up --foreground` in the background and says what is there when it serves. */
async function startDetached(options: UpOptions): Promise<void> {
  await assertNoneRuns();
  await topologyOf(options);
  const args = ["up", "--foreground", "--hca", options.hca.join(","), "--doorbells", options.doorbells, "--sm", options.sm];
  args.push("--engines", String(options.engines), ...managerArguments(options), "--data-path", options.dataPath);
  args.push(...ibsimArguments(options.ibsim));
  if (options.topology !== undefined) args.push("--topology", options.topology);
  if (options.quota !== undefined) args.push("--quota", quotaText(options.quota));
  const domain = await startInBackground(args);
  if (domain !== undefined) await announce(options, domain, true);
}

const findUpDomain = async (): Promise<RunningDomain | undefined> => (await findDomains()).find((d) => d.status.kind === "up");

async function assertNoneRuns(): Promise<void> {
  const running = await findUpDomain();
  if (running === undefined) return;
  const { pid, hcas } = running.status;
  throw new UsageError(
    `a device domain is up already (process ${pid}, HCAs: ${hcas.map((h) => h.name).join(", ") || "none"}); vhca down ends it`,
  );
}

async function announce(options: UpOptions, { status }: RunningDomain, isDetached: boolean): Promise<void> {
  const { hcas, pid } = status;
  if (options.json === true) {
    printJson(domainSummary(status));
    return;
  }
  const topology = await topologyOf(options);
  const where = topology === undefined ? switchesText(options.engines) : `in ${topologyText(topology)}`;
  printLine(`Device domain up (process ${pid}): ${plural(hcas.length, "HCA")} ${where}, subnet manager ${options.sm}.`);
  for (const { name, socketPath } of hcas) printLine(`\n${name}:\n${qemuHint(socketPath)}`);
  if (options.ibsim !== undefined) printLine(`\n${ibsimText(options.ibsim)}`);
  printLine(isDetached ? "\nvhca status shows it, vhca down ends it." : "\nCtrl-C ends it.");
}

const stderrLog: Log = {
  debug: () => {},
  info: (message) => process.stderr.write(`${new Date().toISOString()} ${message}\n`),
  warn: (message) => process.stderr.write(`${new Date().toISOString()} warning: ${message}\n`),
};

const switchesText = (engines: number): string =>
  engines === 1 ? "on one switch" : `on ${engines} switches, one for each engine`;
