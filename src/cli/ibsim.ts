// --ibsim [NAME]: programs of the host use the fabric through ibsim's preload library.

import { type Command, InvalidArgumentError } from "commander";
import type { DomainHandle } from "../domain/domain-handle.ts";
import { DEFAULT_BASE_NAME } from "../spec/ibsim/messages.ts";
import { UsageError } from "./output.ts";

/** The longest name leaves room for what is put behind it. */
const NAME_BYTES_MAX = 80;

export function addIbsimOption(command: Command): Command {
  return command
    .option("--ibsim [name]", "serve programs of this host, such as OpenSM, in ibsim's place (below)", parseName)
    .addHelpText(
      "after",
      `
With --ibsim, programs that use libibumad find the fabric through ibsim's preload library, without root (Debian: libumad2sim0):
  ibsim-run ibnetdiscover                              (Debian: ibsim-utils; it sets LD_PRELOAD=…/umad2sim/libumad2sim.so)
  SIM_HOST=HOST ibsim-run opensm -f opensm.log         on the host HOST; with --sm none, nobody else manages the subnet
Another name than "sim" is given to them in IBSIM_SOCKNAME. docs/ibsim.md has more.`,
    );
}

function parseName(text: string): string {
  if (!/^[\w.-]+$/.test(text) || Buffer.byteLength(text) > NAME_BYTES_MAX) {
    throw new InvalidArgumentError(`expected at most ${NAME_BYTES_MAX} letters, digits, dots, dashes and underscores`);
  }
  return text;
}

const nameOf = (ibsim: string | true): string => (ibsim === true ? DEFAULT_BASE_NAME : ibsim);

/** The option as it is written on a command line. */
export const ibsimArguments = (ibsim: string | true | undefined): string[] =>
  ibsim === undefined ? [] : ["--ibsim", nameOf(ibsim)];

/** Serves, if that is wanted. @throws UsageError if somebody else does under that name */
export async function serveIbsim(domain: DomainHandle, ibsim: string | true | undefined): Promise<void> {
  if (ibsim === undefined) return;
  const name = nameOf(ibsim);
  try {
    await domain.serveIbsim(name);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--ibsim ${name}: ${why}; is ibsim running, or another domain? --ibsim OTHER-NAME goes beside it`);
  }
}

/** How to use it. */
export function ibsimText(ibsim: string | true): string {
  const name = nameOf(ibsim);
  const variable = name === DEFAULT_BASE_NAME ? "" : `IBSIM_SOCKNAME=${name} `;
  return `Programs of this host: ${variable}ibsim-run ibnetdiscover (docs/ibsim.md)`;
}
