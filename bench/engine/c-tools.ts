// The C references: compiled into a temporary folder when there is a compiler.

import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAMS = ["ping-pong", "memcpy", "engine"] as const;
const MAX_OUTPUT_BYTES = 256 << 20;

export type Program = (typeof PROGRAMS)[number];

export class CTools {
  /** Version of the compiler. */
  readonly compiler: string;
  readonly #folder: string;

  private constructor(compiler: string, folder: string) {
    this.compiler = compiler;
    this.#folder = folder;
  }

  /** Compiles the programs; undefined where there is no C compiler. */
  static build(): CTools | undefined {
    const version = spawnSync("cc", ["--version"], { encoding: "utf8" });
    if (version.status !== 0) return undefined;
    const folder = mkdtempSync(join(tmpdir(), "vhca-bench-c-"));
    for (const program of PROGRAMS) {
      const source = fileURLToPath(new URL(`./c/${program}.c`, import.meta.url));
      const { status, stderr } = spawnSync("cc", ["-O2", "-o", join(folder, program), source], { encoding: "utf8" });
      if (status !== 0) throw new Error(`cc ${program}.c: ${stderr}`);
    }
    return new CTools(version.stdout.split("\n")[0] ?? "cc", folder);
  }

  path(program: Program): string {
    return join(this.#folder, program);
  }

  /** Runs a program to its end; returns what it printed. */
  run(program: Program, args: readonly number[]): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const options = { encoding: "buffer", maxBuffer: MAX_OUTPUT_BYTES } as const;
      execFile(this.path(program), args.map(String), options, (error, stdout) =>
        error === null ? resolve(stdout) : reject(error),
      );
    });
  }

  /** One-way times in ns of a word between two processes, net of the clock. */
  async pingPong(rounds: number): Promise<Float64Array> {
    const output = await this.run("ping-pong", [rounds]);
    const times = new BigUint64Array(new Uint8Array(output).buffer);
    const clock = Number(times[0]);
    return Float64Array.from(times.subarray(1), (time) => (Number(time) - clock) / 2);
  }

  /**
   * Bytes per second of memcpy: messages go round through `setBytes`, in shuffled pages unless `pageBytes` is 0.
   * @param isPolled while another process looks at a word, as an application does
   */
  async memcpy(
    messageBytes: number,
    setBytes: number,
    pageBytes: number,
    totalBytes: number,
    isPolled: boolean,
  ): Promise<number> {
    const output = await this.run("memcpy", [messageBytes, setBytes, pageBytes, totalBytes, Number(isPolled)]);
    return totalBytes / (Number(output.toString()) / 1e9);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
