// Guest kernels: Debian's own, unchanged. From the package come vmlinux, a first root file system with the few modules a guest
// starts with, and an EROFS image with all modules.

import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "../lab-error.ts";
import type { Apt, Package } from "../packages/apt.ts";
import { type Cache, readFolder } from "../packages/cache.ts";
import { hostTool, type Tool, treeTool, unpack } from "../packages/tree.ts";
import type { Progress } from "../progress.ts";
import { runCommand } from "../run-command.ts";
import { CpioWriter } from "./cpio.ts";
import {
  DISK_MODULES,
  HCA_MODULES,
  loadOrder,
  moduleName,
  OTHER_MODULES,
  parseModulesDep,
  parseSoftdep,
  SHARE_MODULES,
} from "./modules.ts";
import { extractVmlinux } from "./vmlinux.ts";

/** Which kernel guests run: Debian 13's own, or the newest of its backports. */
export type KernelChoice = "6.12" | "newest";

/** Raised when the files below are made differently. */
const KERNEL_BUILDER_VERSION = 2;

/** A kernel in the cache. */
export interface GuestKernel {
  /** As `uname -r` prints it. */
  readonly release: string;
  /** ELF kernel, or the bzImage where it could not be unpacked. */
  readonly kernelFile: string;
  /** First root file system without our scripts: busybox and the starting modules. */
  readonly bootArchive: string;
  /** EROFS image of /usr/lib/modules. */
  readonly modulesImage: string;
}

function readKernel(cache: Cache, folder: string): GuestKernel | undefined {
  const path = (name: string): string => cache.path("kernels", folder, name);
  const kernelFile = ["vmlinux", "vmlinuz"].map(path).find((file) => existsSync(file));
  if (kernelFile === undefined) return undefined;
  const release = readFileSync(path("release"), "utf8").trim();
  return { release, kernelFile, bootArchive: path("boot.cpio"), modulesImage: path("modules.erofs") };
}

/** The kernel as it was built last, if it is still there. */
export function findKernel(cache: Cache, choice: KernelChoice): GuestKernel | undefined {
  const folder = cache.readState().kernels[choice];
  return folder?.endsWith(`.${KERNEL_BUILDER_VERSION}`) ? readKernel(cache, folder) : undefined;
}

/** All kernels in the cache. */
export function listKernels(cache: Cache): GuestKernel[] {
  return readFolder(cache.path("kernels"))
    .map((folder) => readKernel(cache, folder))
    .filter((kernel) => kernel !== undefined);
}

/** Fetches and prepares a kernel. The caller holds the cache's lock. */
export async function buildKernel(
  cache: Cache,
  apt: Apt,
  tools: string,
  choice: KernelChoice,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<GuestKernel> {
  const step = `kernel ${choice}`;
  const options = { suite: choice === "newest" ? "trixie-backports" : "trixie" } as const;
  const packages = kernelPackages(await apt.resolve(["linux-image-amd64"], options));
  const folder = `${packages.map((each) => each.version).at(0) ?? ""}.${KERNEL_BUILDER_VERSION}`.replace(/[^\w.+~-]/g, "_");
  const names = packages.map((each) => `${each.name}=${each.version}`);
  await cache.build(join("kernels", folder), async (temporary) => {
    await apt.downloadOnly(names, step);
    const build = { apt, tools, temporary, step, progress, signal };
    await fillKernel(build, packages);
  });
  apt.forget(packages);
  cache.updateState((state) => {
    state.kernels[choice] = folder;
  });
  const kernel = readKernel(cache, folder);
  if (kernel === undefined) throw new LabError("build", `the kernel ${folder} in the cache is damaged`, { mend: "remove it" });
  return kernel;
}

/** The packages with files of the kernel, not the tools that a bootable machine would need. */
export function kernelPackages(closure: readonly Package[]): Package[] {
  return closure.filter((each) => /^linux-(image|binary|modules)-\d/.test(each.name));
}

interface KernelBuild {
  readonly apt: Apt;
  readonly tools: string;
  readonly temporary: string;
  readonly step: string;
  readonly progress: Progress;
  readonly signal: AbortSignal | undefined;
}

async function fillKernel(build: KernelBuild, packages: readonly Package[]): Promise<void> {
  const { temporary, tools, step, progress } = build;
  const tree = join(temporary, "tree");
  await unpack(
    build.apt,
    packages,
    tree,
    (fraction) => progress({ step, detail: "unpacking", fraction: fraction * 0.3 }),
    build.signal,
  );
  const release = readdirSync(join(tree, "usr/lib/modules"))[0] ?? "";
  writeFileSync(join(temporary, "release"), `${release}\n`);
  writeKernel(tree, temporary);
  progress({ step, detail: "module dependencies", fraction: 0.4 });
  // depmod looks for BASE/lib/modules; Debian's packages hold usr/lib/modules
  symlinkSync("usr/lib", join(tree, "lib"));
  await must(treeTool(tools, "usr/sbin/depmod"), ["-b", tree, release], build.signal);
  progress({ step, detail: "first root file system", fraction: 0.8 });
  writeFileSync(join(temporary, "boot.cpio"), await bootArchive(join(tree, "usr/lib/modules", release), tools, build.signal));
  progress({ step, detail: "modules image", fraction: 0.9 });
  const image = join(temporary, "modules.erofs");
  await must(
    treeTool(tools, "usr/bin/mkfs.erofs"),
    ["-d1", "--all-root", "-T0", image, join(tree, "usr/lib/modules")],
    build.signal,
  );
  rmSync(tree, { recursive: true });
}

function writeKernel(tree: string, folder: string): void {
  const boot = [join(tree, "boot"), join(tree, "usr/lib/linux"), join(tree, "usr/lib/modules")];
  const file = boot.map(findBzImage).find((path) => path !== undefined);
  if (file === undefined) throw new LabError("build", "the kernel package holds no vmlinuz");
  const bzImage = readFileSync(file);
  const vmlinux = extractVmlinux(bzImage);
  if (vmlinux === undefined) writeFileSync(join(folder, "vmlinuz"), bzImage);
  else writeFileSync(join(folder, "vmlinux"), vmlinux);
}

function findBzImage(folder: string): string | undefined {
  for (const entry of readFolder(folder)) {
    if (entry.startsWith("vmlinuz")) return join(folder, entry);
    if (existsSync(join(folder, entry, "vmlinuz"))) return join(folder, entry, "vmlinuz");
  }
  return undefined;
}

/** busybox, the starting modules (unpacked: xz under TCG is slow) and their load order, list by list. */
async function bootArchive(modules: string, tools: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const table = parseModulesDep(readFileSync(join(modules, "modules.dep"), "utf8"));
  const soft = parseSoftdep(readFileSync(join(modules, "modules.softdep"), "utf8"));
  const cpio = new CpioWriter();
  for (const folder of ["bin", "dev", "proc", "sys", "image", "rw", "root", "modules"]) cpio.folder(folder);
  cpio.characterDevice("dev/console", 0o600, 5, 1);
  cpio.file("bin/busybox", readFileSync(join(tools, "usr/bin/busybox")), 0o755);
  const lists = { disk: DISK_MODULES, hca: HCA_MODULES, other: OTHER_MODULES, share: SHARE_MODULES };
  const done = new Set<string>();
  for (const [list, wanted] of Object.entries(lists)) {
    const order = loadOrder(wanted, table, soft).filter((name) => !done.has(name));
    for (const name of order) {
      done.add(name);
      cpio.file(`modules/${name}.ko`, await readModule(join(modules, table.get(name)?.path ?? ""), tools, signal));
    }
    cpio.file(`modules/${list}`, `${order.join("\n")}\n`);
  }
  return cpio.finish();
}

async function readModule(path: string, tools: string, signal: AbortSignal | undefined): Promise<Buffer> {
  if (path.endsWith(".ko")) return readFileSync(path);
  if (!path.endsWith(".xz")) throw new LabError("build", `the module ${moduleName(path)} is packed in an unknown way (${path})`);
  const plain = path.slice(0, -3);
  await must(hostTool(tools, "usr/bin/xz"), ["-dk", path], signal);
  const data = readFileSync(plain);
  rmSync(plain);
  return data;
}

async function must(tool: Tool, args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const result = await runCommand(tool.file, [...tool.args, ...args], { signal });
  if (result.status === 0) return;
  throw new LabError("build", `${args.at(-1)}: ${result.stderr.trim().split("\n").at(-1)}`, { details: result.stderr });
}
