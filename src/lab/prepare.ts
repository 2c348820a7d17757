// Everything a lab needs before a VM can start: QEMU, an ssh client, a kernel, an image, an accelerator. What is in the cache is
// used without touching the network; what is missing is fetched and built.

import { DEFAULT_PACKAGES } from "./image/guest-packages.ts";
import { buildImage, findImage, type GuestImage, getNamedPackages } from "./image/image.ts";
import { buildKernel, findKernel, type GuestKernel, type KernelChoice } from "./image/kernel.ts";
import { removeAsRoot } from "./image/rights.ts";
import { LabError } from "./lab-error.ts";
import { Apt } from "./packages/apt.ts";
import { Cache } from "./packages/cache.ts";
import { buildTree, findTree, QEMU, TOOLS, type TreeKind } from "./packages/tree.ts";
import { type Progress, silentProgress } from "./progress.ts";
import { type AcceleratorChoice, chooseAccelerator, type Verdict } from "./vm/accelerator.ts";
import { findSshTools, type SshTools } from "./vm/keys.ts";
import { findQemu, type Qemu } from "./vm/qemu.ts";

export interface PrepareOptions {
  /** Name given with `image build --name`. */
  readonly image?: string | undefined;
  /** Debian packages beyond the image's own. */
  readonly packages?: readonly string[] | undefined;
  readonly kernel?: KernelChoice | undefined;
  readonly accel?: AcceleratorChoice | undefined;
  readonly onProgress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly cache?: Cache | undefined;
}

/** A lab's ingredients, ready to start VMs from. */
export interface Prepared {
  readonly qemu: Qemu;
  readonly ssh: SshTools;
  readonly kernel: GuestKernel;
  readonly image: GuestImage;
  readonly verdict: Verdict;
}

/** Finds or builds everything. @throws LabError with what, where and how to mend. */
export async function prepareLab(options: PrepareOptions = {}): Promise<Prepared> {
  const cache = options.cache ?? new Cache();
  const progress = options.onProgress ?? silentProgress;
  const choice = options.kernel ?? "6.12";
  const packages = selectPackages(cache, options);
  const found = await findAll(cache, choice, packages);
  if (isComplete(found)) return finish(cache, found, options);
  await cache.withLock(progress, options.signal, async () => {
    const missing = await findAll(cache, choice, packages);
    if (!isComplete(missing)) await buildMissing(cache, missing, choice, packages, options);
  });
  const built = await findAll(cache, choice, packages);
  if (!isComplete(built))
    throw new LabError(
      "build",
      `the cache ${cache.folder} is damaged: ${JSON.stringify(missingNames(built))} not usable after building`,
      {
        mend: "remove the folder and try again",
      },
    );
  return finish(cache, built, options);
}

/**
 * Builds an image from the newest packages, for `vhca image build`; `name` makes it known under that name. A `kernel` that is
 * named is brought up to date, too.
 */
export async function buildNamedImage(options: PrepareOptions & { readonly name?: string | undefined }): Promise<GuestImage> {
  const cache = options.cache ?? new Cache();
  const progress = options.onProgress ?? silentProgress;
  const packages = selectPackages(cache, options);
  const { name } = options;
  return cache.withLock(progress, options.signal, async () => {
    const apt = await openApt(cache, options);
    const tools = await buildTree(cache, apt, TOOLS, progress, options.signal);
    if (options.kernel !== undefined) await buildKernel(cache, apt, tools, options.kernel, progress, options.signal);
    const image = await buildImage(cache, apt, tools, packages, progress, options.signal);
    if (name === undefined) return image;
    cache.updateState((state) => {
      state.names[name] = [...packages];
    });
    return { ...image, names: [...new Set([...image.names, name])] };
  });
}

/** Finds or builds a tree of host programs. @throws LabError with what, where and how to mend. */
export async function prepareTree(kind: TreeKind, options: PrepareOptions = {}): Promise<string> {
  const cache = options.cache ?? new Cache();
  const progress = options.onProgress ?? silentProgress;
  return (
    findTree(cache, kind) ??
    cache.withLock(progress, options.signal, async () =>
      buildTree(cache, await openApt(cache, options), kind, progress, options.signal),
    )
  );
}

/** The packages of the named image and those added, without the default ones. */
function selectPackages(cache: Cache, { image, packages = [] }: PrepareOptions): string[] {
  const named = image === undefined ? [] : getNamedPackages(cache, image);
  return [...new Set([...named, ...packages])].filter((name) => !DEFAULT_PACKAGES.includes(name)).sort();
}

interface Found {
  readonly qemu: Qemu | undefined;
  readonly ssh: SshTools | undefined;
  readonly kernel: GuestKernel | undefined;
  readonly image: GuestImage | undefined;
}
type Complete = { readonly [K in keyof Found]: NonNullable<Found[K]> };

async function findAll(cache: Cache, choice: KernelChoice, packages: readonly string[]): Promise<Found> {
  return {
    qemu: await findQemu(cache),
    ssh: findSshTools(cache),
    kernel: findKernel(cache, choice),
    image: findImage(cache, packages),
  };
}

function missingNames(found: Found): string[] {
  return Object.entries(found)
    .filter(([, value]) => value === undefined)
    .map(([name]) => name);
}

const isComplete = (found: Found): found is Complete => missingNames(found).length === 0;

async function openApt(cache: Cache, options: PrepareOptions): Promise<Apt> {
  await cache.sweep(removeAsRoot);
  const apt = await Apt.open(cache.folder, { progress: options.onProgress ?? silentProgress, signal: options.signal });
  await apt.update();
  await apt.dropOutdated();
  return apt;
}

async function buildMissing(
  cache: Cache,
  found: Found,
  choice: KernelChoice,
  packages: readonly string[],
  options: PrepareOptions,
): Promise<void> {
  const progress = options.onProgress ?? silentProgress;
  const apt = await openApt(cache, options);
  const tools = await buildTree(cache, apt, TOOLS, progress, options.signal);
  if (found.qemu === undefined) await buildTree(cache, apt, QEMU, progress, options.signal);
  if (found.kernel === undefined) await buildKernel(cache, apt, tools, choice, progress, options.signal);
  if (found.image === undefined) await buildImage(cache, apt, tools, packages, progress, options.signal);
}

async function finish(cache: Cache, found: Complete, options: PrepareOptions): Promise<Prepared> {
  const verdict = await chooseAccelerator(cache, found.qemu, found.kernel, options.accel ?? "auto");
  return { ...found, verdict };
}
