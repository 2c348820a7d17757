// What this machine has for a lab, what is missing, what will be used, and how to mend what is wrong. Changes nothing.

import { existsSync, statfsSync } from "node:fs";
import { availableParallelism, freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { listImages } from "./image/image.ts";
import { findKernel, type KernelChoice, listKernels } from "./image/kernel.ts";
import { findRights } from "./image/rights.ts";
import { Cache } from "./packages/cache.ts";
import { GUEST_RELEASE, readMachine, systemName } from "./packages/machine.ts";
import { listLabs } from "./run-folder.ts";
import { recallVerdict } from "./vm/accelerator.ts";
import { findSshTools } from "./vm/keys.ts";
import { findQemu, findSystemQemu, type Qemu } from "./vm/qemu.ts";

/** "ok": there; "will-fetch": missing, and we know how to get it; "limited": works, but less well; "missing": VMs cannot run. */
export type FindingState = "ok" | "will-fetch" | "limited" | "missing";

export interface Finding {
  /** What was looked at, such as "QEMU". */
  readonly subject: string;
  readonly state: FindingState;
  /** What there is, and what will be used. */
  readonly found: string;
  /** What to do about it, where something can be done. */
  readonly mend?: string;
}

const MIB = 1 << 20;
const BUILD_SPACE_MIB = 2500;
const LAB_MEMORY_MIB = 2500;

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

/** Looks at everything a lab needs. Takes about a second, and never the network. */
export async function examineMachine(cache = new Cache()): Promise<Finding[]> {
  const qemu = await findQemu(cache);
  return [
    {
      subject: "system",
      state: process.platform === "linux" ? "ok" : "missing",
      found: `${systemName()}, Node.js ${process.version}`,
    },
    examineCores(),
    examineMemory(),
    await examineMirror(),
    await examineQemu(qemu),
    examineAccelerator(cache, qemu),
    examineSsh(cache),
    await examineRights(),
    examineCache(cache),
    examineKernel(cache, "6.12"),
    examineKernel(cache, "newest"),
    examineImages(cache),
    examineLabs(),
  ];
}

function examineCores(): Finding {
  const cores = availableParallelism();
  const found = `${cores} usable`;
  if (cores >= 2) return { subject: "cores", state: "ok", found };
  return { subject: "cores", state: "limited", found, mend: "two guests and the HCA share one core: expect long latencies" };
}

function examineMemory(): Finding {
  const found = `${megabytes(freemem())} free of ${megabytes(totalmem())}`;
  if (freemem() > LAB_MEMORY_MIB * MIB) return { subject: "memory", state: "ok", found };
  return { subject: "memory", state: "limited", found, mend: "give guests less with --memory, or free some" };
}

async function examineMirror(): Promise<Finding> {
  try {
    const machine = await readMachine();
    return {
      subject: "package mirror",
      state: "ok",
      found: `${machine.archive.uri} (${GUEST_RELEASE}), from apt's own settings`,
    };
  } catch (error) {
    return { subject: "package mirror", state: "missing", found: (error as Error).message };
  }
}

async function examineQemu(qemu: Qemu | undefined): Promise<Finding> {
  const system = await findSystemQemu();
  const old = system !== undefined && system.version === undefined ? `; ${system.path} has no vfio-user-pci (10.1 has)` : "";
  if (qemu === undefined)
    return {
      subject: "QEMU",
      state: "will-fetch",
      found: `none that is new enough${old}`,
      mend: "fetched from backports into the cache at first use",
    };
  return { subject: "QEMU", state: "ok", found: `${qemu.version} (${qemu.where})${old}` };
}

function examineAccelerator(cache: Cache, qemu: Qemu | undefined): Finding {
  const verdict = qemu && recallVerdict(cache, qemu);
  if (verdict === undefined)
    return {
      subject: "accelerator",
      state: "will-fetch",
      found: "KVM not tried yet",
      mend: "tried once when the first VM starts",
    };
  if (verdict.accelerator === "kvm") return { subject: "accelerator", state: "ok", found: `KVM: ${verdict.reason}` };
  return { subject: "accelerator", state: "limited", found: `TCG (slower): ${verdict.reason}` };
}

function examineSsh(cache: Cache): Finding {
  const tools = findSshTools(cache);
  if (tools === undefined)
    return { subject: "ssh", state: "will-fetch", found: "no client", mend: "fetched with the host tools" };
  return { subject: "ssh", state: "ok", found: tools.ssh.args.length === 0 ? tools.ssh.file : "from the cache" };
}

async function examineRights(): Promise<Finding> {
  const rights = await findRights();
  if (rights !== undefined) return { subject: "rights to build images", state: "ok", found: rights.kind };
  return {
    subject: "rights to build images",
    state: "missing",
    found: "neither root nor user namespaces",
    mend: "run `vhca image build` once as root, or sysctl -w kernel.unprivileged_userns_clone=1",
  };
}

function examineCache(cache: Cache): Finding {
  let existing = cache.folder;
  while (!existsSync(existing)) existing = dirname(existing);
  const space = statfsSync(existing);
  const freeBytes = space.bavail * space.bsize;
  const found = `${cache.folder}: ${megabytes(cache.sizeBytes())} used, ${megabytes(freeBytes)} free on its disk`;
  if (freeBytes > BUILD_SPACE_MIB * MIB) return { subject: "cache", state: "ok", found };
  return {
    subject: "cache",
    state: "limited",
    found,
    mend: `building needs ${BUILD_SPACE_MIB} MiB: free some, or set VHCA_CACHE`,
  };
}

function examineKernel(cache: Cache, choice: KernelChoice): Finding {
  const kernel = findKernel(cache, choice);
  const subject = `kernel ${choice}`;
  if (kernel === undefined) return { subject, state: "will-fetch", found: "not here", mend: "fetched at first use" };
  return {
    subject,
    state: "ok",
    found: `${kernel.release}${listKernels(cache).length > 2 ? " (older ones are in the cache, too)" : ""}`,
  };
}

function examineImages(cache: Cache): Finding {
  const images = listImages(cache);
  if (images.length === 0)
    return { subject: "guest images", state: "will-fetch", found: "none", mend: "built at first use (about 30 s)" };
  const texts = images.map(({ names, hash, sizeBytes }) => `${names.join("/") || hash.slice(0, 8)} ${megabytes(sizeBytes)}`);
  return { subject: "guest images", state: "ok", found: texts.join(", ") };
}

function examineLabs(): Finding {
  const labs = listLabs();
  const texts = labs.map(({ id, nodes, owner }) => `${id} (${nodes.length} nodes, process ${owner.pid})`);
  return { subject: "running labs", state: "ok", found: texts.join(", ") || "none" };
}
