// Finds a case that never returns: a thread beside the fuzzing one measures the CPU time since the case began. A thread that is
// caught in a loop cannot be interrupted, so the process ends, after the seed has been printed.

import { once } from "node:events";
import { writeSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const LOOK_EVERY_MS = 250;
const STDERR = 2;
/** Stands for the seed in the command that repeats a case. */
export const SEED_PLACE = "#";
/** Words shared by both threads. */
const Word = { CASE: 0, SEED: 1 } as const;

interface WatchData {
  words: Int32Array<SharedArrayBuffer>;
  /** Command that repeats a case, with `SEED_PLACE` where its seed goes. */
  repeat: string;
  limitMs: number;
}

/** Watches cases until `end`. Call `begin` at the start of each. Resolves when the thread runs and opens no more files. */
export async function watchCases(repeat: string, limitMs: number): Promise<{ begin(seed: number): void; end(): Promise<void> }> {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const data: WatchData = { words, repeat, limitMs };
  const worker = new Worker(new URL(import.meta.url), { workerData: data, execArgv: [] });
  await once(worker, "message");
  worker.unref();
  return {
    begin: (seed) => {
      words[Word.SEED] = seed;
      Atomics.add(words, Word.CASE, 1);
    },
    end: async () => void (await worker.terminate()),
  };
}

function watch({ words, repeat, limitMs }: WatchData): never {
  parentPort?.postMessage("ready");
  let watched = -1;
  let sinceUs = 0;
  for (;;) {
    Atomics.wait(words, Word.CASE, words[Word.CASE] ?? 0, LOOK_EVERY_MS);
    const { user, system } = process.cpuUsage();
    const now = user + system;
    const current = Atomics.load(words, Word.CASE);
    if (current !== watched) {
      watched = current;
      sinceUs = now;
    } else if (now - sinceUs > limitMs * 1000) {
      const seed = (words[Word.SEED] ?? 0) >>> 0;
      writeSync(STDERR, `\na case takes more than ${limitMs} ms of CPU time\nrepeat: ${repeat.replace(SEED_PLACE, `${seed}`)}\n`);
      process.kill(process.pid, "SIGKILL");
    }
  }
}

if (!isMainThread && (workerData as Partial<WatchData> | null)?.limitMs !== undefined) watch(workerData as WatchData);
