// How this process may act as root for a maintainer script: as root, or in a user namespace (unshare(1), user_namespaces(7)).

import { LabError } from "../lab-error.ts";
import { findProgram, runCommand } from "../run-command.ts";

/** A way to run a program as (some kind of) root. */
export interface Rights {
  readonly kind: "root" | "root without mounts" | "user namespace" | "user namespace with one id";
  /** Put before the program. */
  readonly prefix: readonly string[];
  readonly canMount: boolean;
  /** Only id 0 exists, so that changing owners needs fakeroot. */
  readonly isOneId: boolean;
}

const UNSHARE = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"];

/** Candidates, best first. Inside, mounting and chroot must work. */
function candidates(isRoot: boolean): Rights[] {
  if (isRoot)
    return [
      { kind: "root", prefix: UNSHARE, canMount: true, isOneId: false },
      { kind: "root without mounts", prefix: [], canMount: false, isOneId: false },
    ];
  const one = [...UNSHARE, "--map-root-user"];
  const many: Rights[] = [{ kind: "user namespace", prefix: [...one, "--map-auto"], canMount: true, isOneId: false }];
  return [
    ...(findProgram("newuidmap") === undefined ? [] : many),
    { kind: "user namespace with one id", prefix: one, canMount: true, isOneId: true },
  ];
}

/** Tries the ways in turn. */
export async function findRights(isRoot = process.getuid?.() === 0): Promise<Rights | undefined> {
  for (const rights of candidates(isRoot)) {
    const probe = rights.canMount ? "mount -t tmpfs probe /mnt && chroot / true" : "chroot / true";
    const result = await runCommand(rights.prefix[0] ?? "sh", [
      ...rights.prefix.slice(1),
      ...(rights.canMount ? ["sh"] : []),
      "-c",
      probe,
    ]);
    if (result.status === 0) return rights;
  }
  return undefined;
}

/** @throws LabError that says how user namespaces are allowed. */
export async function getRights(): Promise<Rights> {
  const rights = await findRights();
  if (rights !== undefined) return rights;
  throw new LabError("no-rights", "installing guest packages needs root or user namespaces, and this system allows neither", {
    mend: "run `vhca image build` once as root, or allow them: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
  });
}

/** Removes a folder that may hold files of other ids of a user namespace. */
export async function removeAsRoot(folder: string): Promise<void> {
  const rights = await findRights();
  const [file = "rm", ...args] = [...(rights?.prefix ?? []), "rm", "-rf", "--one-file-system", folder];
  await runCommand(file, args);
}
