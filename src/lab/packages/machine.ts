// What the machine itself says about its Debian mirror and its apt settings. No host name is written down in this program:
// the mirrors, proxies and keys are those the administrator chose.

import { existsSync, readFileSync } from "node:fs";
import { LabError } from "../lab-error.ts";
import { findProgram, runCommand } from "../run-command.ts";

/** The Debian release guests and tools come from, and the suites of it that we read. */
export const GUEST_RELEASE = "trixie";

/** One archive as `sources.list` names it. */
export interface Mirror {
  readonly uri: string;
}

export interface Machine {
  readonly archive: Mirror;
  /** The security archive, if the machine uses one. */
  readonly security: Mirror | undefined;
  /** Files with the archive's public keys. */
  readonly keyrings: readonly string[];
  /** `Acquire` settings of the machine's apt: proxies, retries, time-outs. */
  readonly acquire: readonly string[];
}

/** The keyrings of Debian 12 and 13 both verify trixie: its Release files carry the signatures of bookworm's keys too. */
const KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

const RELEASES = /^(bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$/;
const SECURITY_RELEASES = /-security$|^[a-z]+\/updates$/;

/** One line of `apt-get indextargets` in the format asked for below. */
interface Target {
  readonly site: string;
  readonly release: string;
  readonly component: string;
}

/** Without `--no-release-info` apt 3 is silent until lists were fetched, as on a fresh container. */
const TARGETS = ["indextargets", "--no-release-info", "--format", "$(SITE)|$(RELEASE)|$(COMPONENT)"];

export function parseTargets(text: string): Target[] {
  return text
    .split("\n")
    .map((line) => line.split("|"))
    .filter((fields) => fields.length === 3)
    .map(([site = "", release = "", component = ""]) => ({ site, release, component }));
}

/**
 * Chooses the Debian archive and the security archive among everything the machine fetches packages from. Vendors call their
 * suites "stable" or "bookworm", too; only Debian's own archive comes with updates.
 */
export function chooseMirrors(targets: readonly Target[]): { archive: Mirror | undefined; security: Mirror | undefined } {
  const main = targets.filter((target) => target.component === "main");
  const releases = main.filter((target) => RELEASES.test(target.release));
  const has = ({ site, release }: Target, suffix: string): boolean =>
    main.some((other) => other.site === site && other.release === `${release}${suffix}`);
  const isDebian = (target: Target): boolean => has(target, "-updates") || has(target, "-backports");
  const archive = releases.find(isDebian) ?? releases.find(({ site }) => /\/debian\/?$/.test(site)) ?? releases[0];
  const security = main.find((target) => SECURITY_RELEASES.test(target.release));
  return { archive: archive && { uri: archive.site }, security: security && { uri: security.site } };
}

/** Settings that shape how files are fetched; what concerns the machine's own lists and hooks is left out. */
export function acquireSettings(configDump: string): string[] {
  const unwanted = /^Acquire::(IndexTargets|Languages|GzipIndexes|PDiffs|cdrom|CompressionTypes|Changelogs)\b/i;
  return configDump.split("\n").filter((line) => /^Acquire::[A-Za-z]/.test(line) && !unwanted.test(line) && !/ "";$/.test(line));
}

/** @throws LabError when this is no Debian machine on a PC, or apt knows no Debian mirror. */
export async function readMachine(): Promise<Machine> {
  assertSupported();
  const targets = await runCommand("apt-get", TARGETS);
  const override = process.env.VHCA_MIRROR;
  const { archive, security } = chooseMirrors(parseTargets(targets.stdout));
  if (override === undefined && archive === undefined)
    throw new LabError("no-mirror", "apt on this machine names no Debian mirror", {
      mend: `add one to /etc/apt/sources.list, or set VHCA_MIRROR to the address of an archive that holds ${GUEST_RELEASE}`,
    });
  const keyrings = KEYRINGS.filter((path) => existsSync(path)).slice(0, 1);
  if (keyrings.length === 0)
    throw new LabError("no-mirror", `no keyring of the Debian archive (${KEYRINGS[0]})`, {
      mend: "apt-get install debian-archive-keyring",
    });
  const dump = await runCommand("apt-config", ["dump"]);
  return {
    archive: override === undefined ? (archive as Mirror) : { uri: override },
    security: override === undefined ? security : undefined,
    keyrings,
    acquire: acquireSettings(dump.stdout),
  };
}

function assertSupported(): void {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new LabError("unsupported-machine", `VMs need Linux on x86-64, this is ${process.platform} on ${process.arch}`);
  for (const program of ["apt-get", "dpkg-deb", "tar", "flock"])
    if (findProgram(program) === undefined)
      throw new LabError("unsupported-machine", `${program} is not on this machine (${systemName()})`, {
        mend: "VMs need Debian 12 or 13, or a container of it",
      });
}

/** The operating system's own name for itself. */
export function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown system";
  } catch {
    return "unknown system";
  }
}
