// vhca capture: what goes over the ports of a running domain, into a file that Wireshark and tshark read.

import { closeSync, fstatSync, lstatSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { type Command, InvalidArgumentError } from "commander";
import { BlockType } from "../base/pcapng.ts";
import { BlockSplitter, decodeBlock } from "../base/pcapng-reader.ts";
import { hasNoReader } from "../host/poller.ts";
import { getDomainOf, type RunningDomain } from "./domains.ts";
import { domainOption } from "./fabric/common.ts";
import { catchInterrupts } from "./interrupt.ts";
import { bytesText, plural, printJson, UsageError } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { writeToOutput } from "./standard-output.ts";

const PROGRESS_MS = 500;
/** After the end was asked for, so long for what has been captured. */
const FLUSH_MS = 5000;

interface CaptureCommandOptions {
  domain?: number;
  port?: string[];
  count?: number;
  seconds?: number;
  json?: boolean;
}

/** What has been written. */
interface Written {
  packets: number;
  bytes: number;
  dropped: number;
}

export function addCapture(program: Command): void {
  program
    .command("capture <file>")
    .summary("write the packets of a running domain's ports to a file for Wireshark")
    .description("Writes what ports send and receive to a pcapng file (- is standard output), until Ctrl-C or the bound given.")
    .option("--port <names...>", "HCAs whose ports are looked at; all of the domain if left out", addNames)
    .addOption(domainOption())
    .option("--count <packets>", "end after so many packets", parseCount)
    .option("--seconds <time>", "end after so long", parsePositive)
    .option("--json", "print what was written as JSON")
    .addHelpText(
      "after",
      `
Examples:
  vhca capture all.pcapng                      every port, until Ctrl-C
  vhca capture n1.pcapng --port n1 --seconds 5
  vhca capture - --port n1 n2 | wireshark -k -i -

While it runs, messages of these ports go as packets, which is slower than from memory to memory. Packets that come faster than they
are written are dropped from the file, not from the fabric; the count is printed.`,
    )
    .action(capture);
}

/** `--port n1 n2`, `--port n1,n2` and `--port n1 --port n2` are the same. */
const addNames = (text: string, names: readonly string[] = []): string[] => [
  ...new Set([...names, ...text.split(",").filter((name) => name !== "")]),
];

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError("expected a number above 0");
  return value;
}

function parseCount(text: string): number {
  const value = parsePositive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError("expected a whole number above 0");
  return value;
}

async function capture(file: string, options: CaptureCommandOptions): Promise<void> {
  if (file === "-" && options.json === true) throw new UsageError("--json needs a FILE: standard output is the capture's");
  if (file === "-" && process.stdout.isTTY) throw new UsageError("a capture is no text: send it into a file or a program");
  const domain = await getDomainOf(options.port ?? [], options.domain);
  const ports = options.port ?? domain.status.hcas.map(({ name }) => name);
  if (ports.length === 0) throw new UsageError("the device domain has no HCA whose port could be looked at; vhca hca add NAME");
  const target = file === "-" ? process.stdout.fd : openTarget(file);
  const progress = new ProgressLine(options.json);
  try {
    const stream = await startCapture(domain, ports, file);
    const written = await run(domain, stream, ports, target, options, progress);
    progress.done();
    if (options.json === true) printJson({ file, ports, ...written });
    else process.stderr.write(`vhca: ${textOf(written)}\n`);
  } finally {
    progress.done();
    if (file !== "-") closeSync(target);
  }
}

/** Opens a new file, or a device or pipe that exists. */
function openTarget(file: string): number {
  const made = open(file, "wx", "EEXIST");
  if (made !== undefined) return made;
  const descriptor = open(file, "r+") as number;
  if (!fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  throw new UsageError(`${file} exists already; remove it or choose another name`);
}

/** @returns undefined after that error. @throws UsageError after others */
function open(file: string, flags: string, expected?: string): number | undefined {
  try {
    return openSync(file, flags, 0o600);
  } catch (error) {
    if (expected !== undefined && (error as NodeJS.ErrnoException).code === expected) return undefined;
    throw new UsageError(`${file} cannot be written: ${(error as Error).message}`);
  }
}

/** @throws what the domain says, after removing the file that was made for its packets */
async function startCapture({ client }: RunningDomain, ports: readonly string[], file: string): Promise<IncomingMessage> {
  try {
    return await client.capture(ports);
  } catch (error) {
    if (file !== "-" && lstatSync(file).isFile()) unlinkSync(file);
    throw error;
  }
}

async function run(
  { client }: RunningDomain,
  stream: IncomingMessage,
  ports: readonly string[],
  target: number,
  options: CaptureCommandOptions,
  progress: ProgressLine,
): Promise<Written> {
  const written = { packets: 0, bytes: 0, dropped: 0 };
  const interrupt = catchInterrupts();
  let hasEnded = false;
  const end = (): void => {
    if (hasEnded) return;
    hasEnded = true;
    client.stopCapture().catch(() => {});
    setTimeout(() => stream.destroy(), FLUSH_MS).unref();
  };
  interrupt.signal.addEventListener("abort", end);
  const timer = options.seconds === undefined ? undefined : setTimeout(end, options.seconds * 1000);
  const show = (): void => {
    progress.show({ step: `capturing ${ports.join(", ")}`, detail: textOf(written) });
    // where nothing is captured nothing is written, which would say so
    if (target === process.stdout.fd && hasNoReader(target)) end();
  };
  const shower = setInterval(show, PROGRESS_MS);
  show();
  try {
    await copy(stream, target, written, options.count ?? Number.POSITIVE_INFINITY, end);
  } catch (error) {
    if (!isEnd(error)) throw error;
    // The domain or the reader has gone: what is written is a whole file.
  } finally {
    clearTimeout(timer);
    clearInterval(shower);
    end();
    interrupt.dispose();
  }
  return written;
}

const isEnd = (error: unknown): boolean =>
  ["ECONNRESET", "EPIPE", "ERR_STREAM_DESTROYED", "ERR_STREAM_PREMATURE_CLOSE"].includes(
    (error as NodeJS.ErrnoException).code ?? "",
  );

/** Writes whole blocks only, and no packet beyond the count. */
async function copy(
  stream: AsyncIterable<Buffer>,
  target: number,
  written: Written,
  count: number,
  end: () => void,
): Promise<void> {
  const splitter = new BlockSplitter();
  const dropped = new Map<number, number>();
  for await (const bytes of stream) {
    const blocks: Buffer[] = [];
    let isWhole = true;
    for (const block of splitter.push(bytes)) {
      const type = block.readUInt32LE(0);
      if (type === BlockType.PACKET && written.packets++ >= count) isWhole = false;
      else blocks.push(block);
      if (type === BlockType.STATISTICS) noteDropped(block, dropped);
    }
    const piece = isWhole ? together(blocks) : Buffer.concat(blocks);
    if (target === process.stdout.fd) await writeToOutput(piece);
    else writeFileSync(target, piece);
    written.bytes += piece.length;
    written.packets = Math.min(written.packets, count);
    written.dropped = [...dropped.values()].reduce((sum, each) => sum + each, 0);
    if (written.packets >= count) end();
  }
}

/** Blocks that lie one behind the other in the same memory. */
function together(blocks: readonly Buffer[]): Buffer {
  const [first, last] = [blocks[0], blocks.at(-1)];
  if (first === undefined || last === undefined) return Buffer.alloc(0);
  return Buffer.from(first.buffer, first.byteOffset, last.byteOffset + last.length - first.byteOffset);
}

function noteDropped(block: Buffer, dropped: Map<number, number>): void {
  const statistics = decodeBlock(block);
  if (statistics.kind === "statistics") dropped.set(statistics.interface, statistics.dropped);
}

const textOf = ({ packets, bytes, dropped }: Written): string =>
  `${plural(packets, "packet")}, ${bytesText(bytes)}${dropped === 0 ? "" : `, ${dropped} dropped`}`;
