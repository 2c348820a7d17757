// Where the sockets of a domain lie.

import { join } from "node:path";

/** The path of an HCA's socket in a folder. */
export const hcaSocketPath = (folder: string, name: string): string => join(folder, `${name}.sock`);
