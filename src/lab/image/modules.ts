// Which kernel modules a guest needs to start, in the order they must be loaded. modules.dep(5), modules.softdep, depmod(8).

/** What the first root file system loads before it can mount the image. */
export const DISK_MODULES: readonly string[] = ["virtio_blk", "overlay", "erofs"];

/** The HCA's driver first: its one-second reset runs while everything else starts. */
export const HCA_MODULES: readonly string[] = ["ib_core", "ib_mthca"];

/** Everything else a verbs guest uses, in order of use. */
export const OTHER_MODULES: readonly string[] = ["ib_uverbs", "ib_ipoib", "ib_umad", "rdma_cm", "rdma_ucm", "virtio_net"];

/** What mounts the host's folder; loaded only where one is mounted. */
export const SHARE_MODULES: readonly string[] = ["9p", "9pnet_virtio"];

/** `modules.dep` as a table: module name → its path and the names it depends on. */
export interface ModuleEntry {
  readonly path: string;
  readonly needs: readonly string[];
}

/** ib_mthca.ko.xz and ib-mthca are ib_mthca. */
export function moduleName(path: string): string {
  const file = path.split("/").at(-1) ?? path;
  return file.replace(/\.ko(\.(xz|zst|gz))?$/, "").replaceAll("-", "_");
}

/** Parses modules.dep: `path: path path …`. */
export function parseModulesDep(text: string): Map<string, ModuleEntry> {
  const table = new Map<string, ModuleEntry>();
  for (const line of text.split("\n")) {
    const [path, needs] = line.split(":");
    if (path === undefined || needs === undefined) continue;
    table.set(moduleName(path), { path, needs: needs.trim().split(/\s+/).filter(Boolean).map(moduleName) });
  }
  return table;
}

/** Parses modules.softdep: `softdep NAME pre: A B post: C`; only `pre` counts, and only what exists as a module. */
export function parseSoftdep(text: string): Map<string, string[]> {
  const table = new Map<string, string[]>();
  for (const match of text.matchAll(/^softdep (\S+) .*?pre: ([^:\n]*?)(?: post:.*)?$/gm)) {
    const [, name = "", before = ""] = match;
    table.set(moduleName(name), before.trim().split(/\s+/).map(moduleName));
  }
  return table;
}

/** Names modules ask for by purpose instead of by file: libcrc32c wants "crc32c". */
const PROVIDERS: Readonly<Record<string, readonly string[]>> = { crc32c: ["crc32c_intel", "crc32c_generic"] };

/**
 * The load order of `wanted` with all dependencies, each once. A name without a file is built into the kernel, or not in
 * this version; both mean that there is nothing to load.
 */
export function loadOrder(
  wanted: readonly string[],
  table: ReadonlyMap<string, ModuleEntry>,
  soft: ReadonlyMap<string, readonly string[]> = new Map(),
): string[] {
  const order: string[] = [];
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const entry = table.get(name);
    if (entry === undefined) {
      for (const provider of PROVIDERS[name] ?? []) visit(provider);
      return;
    }
    for (const before of soft.get(name) ?? []) visit(before);
    // modules.dep lists the direct dependency first and what that needs after it
    for (const need of [...entry.needs].reverse()) visit(need);
    order.push(name);
  };
  for (const name of wanted) visit(moduleName(name));
  return order;
}
