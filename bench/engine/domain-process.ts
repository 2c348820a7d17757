// The process of a device domain that is measured: an engine thread, HCAs, sockets, and a parent that says when to end.
// Arguments: a folder for the sockets, the number of engine threads, how messages go, and the names of the HCAs.

import { join } from "node:path";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import type { DataPath } from "../../src/transport/network.ts";

/** What the parent may ask; each is answered by one message. */
export type DomainQuestion = "describe" | "stop";

const [folder = "", engines = "1", dataPath = "auto", ...names] = process.argv.slice(2);
const say = (text: string): void => void process.stderr.write(`domain: ${text}\n`);
const domain = new DomainHandle({
  log: { debug: () => {}, info: () => {}, warn: say },
  engines: Number(engines),
  dataPath: dataPath as DataPath,
});

async function answer(question: DomainQuestion): Promise<void> {
  if (question === "describe") {
    process.send?.(await domain.describe());
    return;
  }
  await domain.stop();
  process.exit(0);
}

process.on("message", (question: DomainQuestion) => void answer(question));
// The parent has gone: nobody is left to measure for.
process.on("disconnect", () => void answer("stop"));
domain.ended.catch((error: Error) => {
  say(error.message);
  process.exit(1);
});
for (const name of names) await domain.addHca({ name, socketPath: join(folder, `${name}.sock`) });
process.send?.("ready");
