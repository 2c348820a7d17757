// Guest images: a read-only EROFS with a Debian userland, shared by all VMs. Named by what is in them, so the same selection
// of the same versions is built once.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LabError, lastLines } from "../lab-error.ts";
import type { Apt, Package } from "../packages/apt.ts";
import { type Cache, readFolder } from "../packages/cache.ts";
import { packagesHash, type Tool, treeTool } from "../packages/tree.ts";
import type { Progress } from "../progress.ts";
import { runCommand } from "../run-command.ts";
import { dropSnapshots } from "../vm/snapshot.ts";
import { DEFAULT_PACKAGES, IMAGE_BUILDER_VERSION, normalisePackages } from "./guest-packages.ts";
import { getRights, type Rights, removeAsRoot } from "./rights.ts";

/** An image in the cache. */
export interface GuestImage {
  readonly hash: string;
  /** The EROFS file. */
  readonly file: string;
  readonly sizeBytes: number;
  /** The packages asked for beyond the default ones. */
  readonly packages: readonly string[];
  /** Names given with `--name`. */
  readonly names: readonly string[];
  readonly builtAt: string;
  /** Every package in it, with its version. */
  readonly contents: readonly string[];
}

const ROOT_SCRIPT = fileURLToPath(new URL("root.sh", import.meta.url));

/** The key of a selection in the cache's state: what was asked for, not what it resolved to. */
export function selectionKey(packages: readonly string[]): string {
  const text = `${IMAGE_BUILDER_VERSION} ${normalisePackages(packages).join(" ")}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** The name of an image: exactly these versions, built this way. */
export function imageHash(packages: readonly Package[]): string {
  return packagesHash(packages, `image ${IMAGE_BUILDER_VERSION}`);
}

/** The image of a selection as it was built last, if it is still there. */
export function findImage(cache: Cache, packages: readonly string[]): GuestImage | undefined {
  const hash = cache.readState().images[selectionKey(packages)];
  return hash === undefined ? undefined : readImage(cache, hash);
}

/** The packages behind an image's name. */
export function getNamedPackages(cache: Cache, name: string): readonly string[] {
  const packages = cache.readState().names[name];
  if (packages !== undefined) return packages;
  const known = Object.keys(cache.readState().names);
  throw new LabError("usage", `no image is named ${name}${known.length > 0 ? ` (there are: ${known.join(", ")})` : ""}`, {
    mend: `vhca image build --name ${name} --packages …`,
  });
}

/** All images, newest first. */
export function listImages(cache: Cache): GuestImage[] {
  return readFolder(cache.path("images"))
    .map((hash) => readImage(cache, hash))
    .filter((image) => image !== undefined)
    .sort((a, b) => (a.builtAt < b.builtAt ? 1 : -1));
}

/**
 * Removes the image with this name or hash; VMs that use it keep it until they end. By name, the image itself stays while
 * another selection resolved to the same versions.
 */
export function removeImage(cache: Cache, nameOrHash: string): GuestImage {
  const isHash = (image: GuestImage): boolean => nameOrHash.length >= 4 && image.hash.startsWith(nameOrHash);
  const image = listImages(cache).find((each) => each.names.includes(nameOrHash) || isHash(each));
  if (image === undefined) throw new LabError("usage", `no image ${nameOrHash}`, { mend: "see vhca image list" });
  cache.updateState((state) => {
    const isWanted = (name: string): boolean =>
      image.names.includes(nameOrHash) ? name === nameOrHash : image.names.includes(name);
    const keys = new Set<string>();
    for (const name of Object.keys(state.names).filter(isWanted)) {
      keys.add(selectionKey(state.names[name] ?? []));
      delete state.names[name];
    }
    for (const [key, hash] of Object.entries(state.images))
      if (keys.has(key) || (hash === image.hash && isHash(image))) delete state.images[key];
  });
  if (!Object.values(cache.readState().images).includes(image.hash)) {
    rmSync(cache.path("images", image.hash), { recursive: true, force: true });
    dropSnapshots(cache, image.hash);
  }
  return image;
}

function readImage(cache: Cache, hash: string): GuestImage | undefined {
  const folder = cache.path("images", hash);
  const file = join(folder, "root.erofs");
  try {
    const facts = JSON.parse(readFileSync(join(folder, "image.json"), "utf8")) as Pick<
      GuestImage,
      "packages" | "builtAt" | "contents"
    >;
    const { names, images } = cache.readState();
    const own = Object.keys(names).filter((name) => images[selectionKey(names[name] ?? [])] === hash);
    return { hash, file, sizeBytes: statSync(file).size, names: own, ...facts };
  } catch {
    return undefined;
  }
}

/** Builds the image of a selection, or finds it already built from the same versions. The caller holds the cache's lock. */
export async function buildImage(
  cache: Cache,
  apt: Apt,
  tools: string,
  packages: readonly string[],
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<GuestImage> {
  const wanted = ["?essential", ...normalisePackages(packages)];
  const contents = await apt.resolve(wanted);
  const hash = imageHash(contents);
  if (!existsSync(cache.path("images", hash))) {
    const rights = await getRights();
    await apt.download(wanted, {}, "guest packages");
    const essential = await apt.resolve(["?essential"]);
    const build = (folder: string): Promise<void> =>
      fillImage({ folder, apt, tools, rights, packages, contents, essential, progress, signal });
    await cache.build(join("images", hash), build, removeAsRoot);
  }
  cache.updateState((state) => {
    state.images[selectionKey(packages)] = hash;
  });
  const image = readImage(cache, hash);
  if (image === undefined) throw new LabError("build", `image ${hash} is damaged`, { mend: `vhca image rm ${hash}` });
  return image;
}

interface Filling {
  readonly folder: string;
  readonly apt: Apt;
  readonly tools: string;
  readonly rights: Rights;
  readonly packages: readonly string[];
  readonly contents: readonly Package[];
  readonly essential: readonly Package[];
  readonly progress: Progress;
  readonly signal: AbortSignal | undefined;
}

async function fillImage(filling: Filling): Promise<void> {
  const { folder, rights, signal } = filling;
  const essentialList = join(folder, "essential");
  writeFileSync(essentialList, `${filling.essential.map(({ file }) => file).join("\n")}\n`);
  const [file = "", ...args] = [...rights.prefix, "sh", ROOT_SCRIPT];
  const result = await runCommand(file, args, {
    env: { ...filling.apt.environment(), ...rootEnvironment(filling, essentialList) },
    onStatusLine: (line) => reportStatus(line, filling.progress),
    signal,
  });
  if (result.status !== 0 || !existsSync(join(folder, "root.erofs"))) throw installError(result.stdout + result.stderr);
  await removeAsRoot(join(folder, "root"));
  rmSync(essentialList);
  const facts = {
    packages: filling.packages,
    builtAt: new Date().toISOString(),
    contents: filling.contents.map((each) => `${each.name} ${each.version}`),
  };
  writeFileSync(join(folder, "image.json"), `${JSON.stringify(facts, null, 2)}\n`);
}

function rootEnvironment({ folder, apt, tools, rights, packages }: Filling, essentialList: string): Record<string, string> {
  const mkfs = treeTool(tools, "usr/bin/mkfs.erofs");
  return {
    ROOT: join(folder, "root"),
    DEBS: apt.archives,
    ESSENTIAL: essentialList,
    PACKAGES: normalisePackages(packages).join(" "),
    MKFS: commandText(mkfs, ["-d1", "--tar=f", join(folder, "root.erofs")]),
    MOUNTS: rights.canMount ? "1" : "0",
    FAKEROOT: rights.isOneId ? tools : "",
  };
}

/** Words for an unquoted `$MKFS`: our own paths must hold no blank. */
function commandText(tool: Tool, args: readonly string[]): string {
  const words = [tool.file, ...tool.args, ...args];
  const bad = words.find((word) => /\s/.test(word));
  if (bad !== undefined)
    throw new LabError("usage", `the cache folder's path holds a blank (${bad})`, { mend: "set VHCA_CACHE" });
  return words.join(" ");
}

/** apt's status lines: `pmstatus:PACKAGE:PERCENT:TEXT`; ours have the same form. */
function reportStatus(line: string, progress: Progress): void {
  const match = /^pmstatus:([^:]*):([\d.]+):(.*)/.exec(line);
  if (match === null) return;
  const [, name = "", percent = "0", text = ""] = match;
  const fraction = name === "vhca" ? Number(percent) / 100 : 0.3 + (Number(percent) / 100) * 0.65;
  progress({
    step: "guest image",
    detail: name === "vhca" ? text : name === "dpkg-exec" ? "unpacking" : name.replace(/:amd64$/, ""),
    fraction,
  });
}

function installError(log: string): LabError {
  const reason = /^(?:E: |dpkg: error |.*: error |.*: Cannot ).*/m.exec(log)?.[0] ?? lastLines(log, 1);
  return new LabError("build", `installing the guest's packages failed: ${reason}`, {
    mend: "try without the packages added last",
    details: lastLines(log, 40),
  });
}

/** The default selection's size in packages, for `doctor`. */
export const defaultPackageCount = DEFAULT_PACKAGES.length;
