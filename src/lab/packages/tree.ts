// Host tools without installing anything: packages unpacked into a folder, run through that folder's own dynamic loader, so
// that neither the machine's C library nor its rights matter.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "../lab-error.ts";
import type { Progress } from "../progress.ts";
import { findProgram, runCommand } from "../run-command.ts";
import type { Apt, Package, ResolveOptions } from "./apt.ts";
import type { Cache } from "./cache.ts";

const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const LOADER = `${LIBRARIES}/ld-linux-x86-64.so.2`;

/** A program and the arguments that come before the caller's own. */
export interface Tool {
  readonly file: string;
  readonly args: readonly string[];
}

/**
 * A program inside an unpacked tree, to be run through the tree's loader.
 * @param preload a library of the tree that is loaded before the others
 */
export function treeTool(tree: string, program: string, preload?: string): Tool {
  const libraries = `${join(tree, LIBRARIES)}:${join(tree, "usr/lib")}`;
  const preloaded = preload === undefined ? [] : ["--preload", join(tree, preload)];
  return { file: join(tree, LOADER), args: ["--library-path", libraries, ...preloaded, join(tree, program)] };
}

/** The machine's own program if it has one, else the tree's. */
export function hostTool(tree: string, program: string): Tool {
  const own = findProgram(program.split("/").at(-1) ?? program);
  return own === undefined ? treeTool(tree, program) : { file: own, args: [] };
}

/** A short name for exactly these packages. */
export function packagesHash(packages: readonly Package[], salt: string): string {
  const hash = createHash("sha256").update(salt);
  for (const each of packages) hash.update(`\n${each.name} ${each.version} ${each.sha256}`);
  return hash.digest("hex").slice(0, 16);
}

/** Unpacks package files, without documentation, below `folder`; no maintainer script runs. */
export async function unpack(
  apt: Apt,
  packages: readonly Package[],
  folder: string,
  progress: (fraction: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const [index, { file }] of packages.entries()) {
    progress(index / packages.length);
    const script =
      'dpkg-deb --fsys-tarfile "$1" | tar -x --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man -C "$2"';
    const result = await runCommand("bash", ["-o", "pipefail", "-c", script, "unpack", join(apt.archives, file), folder], {
      ...(signal && { signal }),
    });
    if (result.status !== 0)
      throw new LabError("build", `${file} cannot be unpacked: ${result.stderr.trim()}`, {
        mend: `check the free space of ${folder}, or remove the file from ${apt.archives}`,
      });
  }
}

/** A kind of tree: its purpose, and what is in it. */
export interface TreeKind {
  readonly purpose: string;
  readonly title: string;
  readonly packages: readonly string[];
  readonly options?: ResolveOptions;
  /** A file that must be there afterwards. */
  readonly witness: string;
}

/** What building images and kernels needs, and an ssh client for machines without one. */
export const TOOLS: TreeKind = {
  purpose: "tools",
  title: "host tools",
  packages: ["erofs-utils", "kmod", "busybox-static", "xz-utils", "openssh-client", "fakeroot"],
  witness: "usr/bin/mkfs.erofs",
};

/** QEMU ≥ 10.1, the first with vfio-user-pci. */
export const QEMU: TreeKind = {
  purpose: "qemu",
  title: "QEMU",
  packages: ["qemu-system-x86"],
  options: { suite: "trixie-backports" },
  witness: "usr/bin/qemu-system-x86_64",
};

/** Programs that manage and look at a fabric from the host, and ibsim with its preload library. */
export const FABRIC_TOOLS: TreeKind = {
  purpose: "fabric-tools",
  title: "OpenSM, infiniband-diags and ibsim",
  packages: ["ibsim-utils", "infiniband-diags", "libumad2sim0", "opensm"],
  witness: "usr/sbin/opensm",
};

/** The tree of a kind as it was built last, if it is still there. */
export function findTree(cache: Cache, kind: TreeKind): string | undefined {
  const name = cache.readState().trees[kind.purpose];
  if (name === undefined) return undefined;
  const folder = cache.path("trees", name);
  return existsSync(join(folder, kind.witness)) ? folder : undefined;
}

/** Builds a tree; the caller holds the cache's lock. */
export async function buildTree(
  cache: Cache,
  apt: Apt,
  kind: TreeKind,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const found = findTree(cache, kind);
  if (found !== undefined) return found;
  const packages = await apt.resolve(kind.packages, kind.options);
  await apt.download(kind.packages, kind.options, kind.title);
  const name = `${kind.purpose}-${packagesHash(packages, "tree 1")}`;
  const folder = await cache.build(join("trees", name), (temporary) =>
    unpack(apt, packages, temporary, (fraction) => progress({ step: kind.title, detail: "unpacking", fraction }), signal),
  );
  cache.updateState((state) => {
    state.trees[kind.purpose] = name;
  });
  return folder;
}
