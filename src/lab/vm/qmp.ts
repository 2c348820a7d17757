// A small QMP client: one command at a time, events passed on. QEMU, docs/interop/qmp-spec.rst.

import { connect, type Socket } from "node:net";
import { onLines } from "../run-command.ts";

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
}

/** How much of a line that makes no sense is shown. */
const SHOWN_CHARACTERS = 80;

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  readonly #onEvent: (event: QmpEvent) => void;

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    onLines(socket, (line) => this.#receive(line));
    socket.on("error", () => {});
    socket.on("close", () => this.#fail("QMP: the monitor was closed"));
  }

  /** Connects to the monitor's socket and leaves negotiation mode. */
  static async open(path: string, onEvent: (event: QmpEvent) => void = () => {}): Promise<Qmp> {
    const socket = connect(path);
    const qmp = new Qmp(socket, onEvent);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    await qmp.execute("qmp_capabilities");
    return qmp;
  }

  /** Runs a command and returns its `return` member; an error reply is thrown with QEMU's own words. */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #fail(reason: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
  }

  #receive(line: string): void {
    if (line.trim() === "") return;
    const reply = parse(line);
    if (reply === undefined) {
      // which answer belongs to which command cannot be told any more
      this.#fail(`QMP: not JSON: ${line.slice(0, SHOWN_CHARACTERS)}`);
      this.close();
      return;
    }
    if (reply.event !== undefined) this.#onEvent(reply as QmpEvent);
    else if (reply.error !== undefined) this.#waiting.shift()?.reject(new Error(`QMP: ${reply.error.desc}`));
    else if ("return" in reply) this.#waiting.shift()?.resolve(reply.return);
  }
}

function parse(line: string): Reply | undefined {
  try {
    return JSON.parse(line) as Reply;
  } catch {
    return undefined;
  }
}
