// KVM or TCG. That /dev/kvm opens proves little (nested and hardened hosts let QEMU create a VM and then fail), so `auto` lets
// a guest kernel start once under KVM and remembers the answer for this QEMU, processor and host kernel.

import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestKernel } from "../image/kernel.ts";
import { LabError, lastLines } from "../lab-error.ts";
import type { Cache } from "../packages/cache.ts";
import { onLines, signalGroup, spawnTied } from "../run-command.ts";
import { initialArchive } from "./guest-files.ts";
import type { Qemu } from "./qemu.ts";
import { type Accelerator, KERNEL_WORDS, machineArguments } from "./qemu-command.ts";

export type AcceleratorChoice = "auto" | Accelerator;

export interface Verdict {
  readonly accelerator: Accelerator;
  /** Why, in a few words. */
  readonly reason: string;
}

/** A guest kernel says this when it runs (`guest/init`). */
const MARKER = "vhca: kernel runs";
/** Under KVM a kernel prints its first line after 0.1 s and ends after less than a second; a guest that hangs is of no use. */
const FIRST_SIGN_TIMEOUT_MS = 4_000;
const PROBE_TIMEOUT_MS = 20_000;

/** Not quiet, and from the first instruction on. */
const PROBE_COMMAND_LINE = [...KERNEL_WORDS.filter((word) => word !== "quiet"), "earlyprintk=ttyS0", "vhca.node=probe"].join(" ");

/** Why KVM cannot even be tried. */
function kvmObstacle(): string | undefined {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? "there is no /dev/kvm"
      : "/dev/kvm is not ours to open (group kvm?)";
  }
}

function machineKey(qemu: Qemu): string {
  return `${qemu.version} | ${cpus()[0]?.model ?? "?"} | ${release()}`;
}

/** The remembered answer, without trying anything. */
export function recallVerdict(cache: Cache, qemu: Qemu): Verdict | undefined {
  const obstacle = kvmObstacle();
  if (obstacle !== undefined) return { accelerator: "tcg", reason: obstacle };
  const known = cache.readState().kvm[machineKey(qemu)];
  return known && { accelerator: known.works ? "kvm" : "tcg", reason: known.reason };
}

/** @throws LabError when `kvm` is demanded and does not work. */
export async function chooseAccelerator(
  cache: Cache,
  qemu: Qemu,
  kernel: GuestKernel,
  choice: AcceleratorChoice,
): Promise<Verdict> {
  if (choice === "tcg") return { accelerator: "tcg", reason: "as asked" };
  let verdict = recallVerdict(cache, qemu);
  if (verdict === undefined) {
    const reason = await tryKvm(qemu, kernel);
    verdict = { accelerator: reason === undefined ? "kvm" : "tcg", reason: reason ?? "a guest started under KVM" };
    const works = reason === undefined;
    cache.updateState((state) => {
      state.kvm[machineKey(qemu)] = { works, reason: verdict?.reason ?? "" };
    });
  }
  if (choice === "kvm" && verdict.accelerator !== "kvm")
    throw new LabError("no-accelerator", `KVM does not work here: ${verdict.reason}`, { mend: "use --accel tcg" });
  return verdict;
}

/** Starts a guest under KVM; undefined when its kernel ran, else what went wrong. */
async function tryKvm(qemu: Qemu, kernel: GuestKernel): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "vhca-kvm-"));
  try {
    const archive = join(folder, "initial.cpio");
    writeFileSync(archive, initialArchive(readFileSync(kernel.bootArchive), new Map()));
    const args = [
      ...[...qemu.tool.args, ...machineArguments("kvm", 256, 1), "-serial", "stdio"],
      ...["-kernel", kernel.kernelFile, "-initrd", archive, "-append", PROBE_COMMAND_LINE],
    ];
    return await watchProbe(qemu.tool.file, args);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function watchProbe(file: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawnTied(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    let errors = "";
    let hasRun = false;
    const end = (): void => signalGroup(child.pid, "SIGKILL");
    const late = (limitMs: number): NodeJS.Timeout =>
      setTimeout(() => {
        errors ||= `a guest hangs, nothing came within ${limitMs / 1000} s`;
        end();
      }, limitMs);
    const timers = [late(FIRST_SIGN_TIMEOUT_MS), late(PROBE_TIMEOUT_MS)];
    if (child.stdout)
      onLines(child.stdout, (line) => {
        clearTimeout(timers[0]);
        if (!line.includes(MARKER)) return;
        hasRun = true;
        end();
      });
    if (child.stderr)
      onLines(child.stderr, (line) => {
        errors ||= line;
        // QEMU then waits for a debugger instead of ending
        if (line.includes("KVM internal error")) end();
      });
    child.on("error", (error) => {
      errors ||= error.message;
    });
    child.on("close", () => {
      for (const timer of timers) clearTimeout(timer);
      resolve(hasRun ? undefined : lastLines(errors, 1).slice(0, 200) || "QEMU ended without a word");
    });
  });
}
