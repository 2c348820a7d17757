// Two HCAs for an example: of a running device domain if their sockets are given (`npx vhca up --hca n1,n2` prints them), else both
// inside this process.

import { LocalFabric } from "../../src/domain/local-fabric.ts";
import { type Context, openDevice } from "../../src/verbs/index.ts";

/** Opens two HCAs and waits until their ports are ACTIVE. */
export async function openTwo(): Promise<[Context, Context]> {
  const [first, second] = process.argv.slice(2);
  const fabric = new LocalFabric();
  const open = (path: string | undefined): Context => (path === undefined ? fabric.openDevice() : openDevice(path));
  const pair: [Context, Context] = [open(first), open(second)];
  for (const context of pair) await context.portActive();
  return pair;
}
