// More programs than cores, all of them polling: does anybody starve, and how much gets done in all?

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import type { BenchContext, Group } from "../context.ts";
import type { MemberAnswer, MemberRequest } from "../crowd-member.ts";
import { Domain } from "../domain.ts";
import { type Figure, type Goal, ratioAtLeast } from "../figure.ts";

const MEMBER = fileURLToPath(new URL("../crowd-member.ts", import.meta.url));
const RUN_MS = 4000;
/** As lab VMs run (src/lab/vm/niceness.ts): the domain that all of them wait for goes first. */
const NICE = 5;
const SMALL_CROWD = 2;
const LARGE_CROWD = 16;
/** Nobody starves who gets this part of an equal share. */
const FAIR_PART = 0.25;

/** One program with two HCAs. */
class Member {
  readonly #child: ChildProcess;

  constructor(domain: Domain, index: number) {
    const names = [`a${index}`, `b${index}`];
    const child = fork(
      MEMBER,
      names.map((name) => `${name}=${domain.socketPath(name)}`),
      { stdio: ["ignore", "ignore", "inherit", "ipc"] },
    );
    this.#child = child;
    child.on("message", (answer: MemberAnswer) => {
      if (answer.kind === "describe")
        void domain.describe().then((view) => child.send({ kind: "view", view } satisfies MemberRequest));
    });
  }

  /** Resolves once its HCAs are connected with each other. */
  async ready(): Promise<void> {
    await this.#answer("ready");
    if (this.#child.pid !== undefined) setPriority(this.#child.pid, NICE);
  }

  /** Polls and writes for some time; returns writes per second. */
  async run(ms: number): Promise<number> {
    this.#child.send({ kind: "run", ms } satisfies MemberRequest);
    return ((await this.#answer("done")).writes * 1000) / ms;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const hasEnded = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await hasEnded;
  }

  #answer<K extends MemberAnswer["kind"]>(kind: K): Promise<Extract<MemberAnswer, { kind: K }>> {
    return new Promise((resolve, reject) => {
      this.#child.once("exit", () => reject(new Error("a member of the crowd has ended")));
      this.#child.on("message", (answer: MemberAnswer) => {
        if (answer.kind === kind) resolve(answer as Extract<MemberAnswer, { kind: K }>);
      });
    });
  }
}

/** Writes per second of each of `count` programs that run at once. */
async function crowdOf(context: BenchContext, count: number): Promise<number[]> {
  context.show(`${count} polling programs`);
  const indexes = Array.from({ length: count }, (_, i) => i + 1);
  const domain = await Domain.start(indexes.flatMap((i) => [`a${i}`, `b${i}`]));
  const members: Member[] = [];
  try {
    for (const index of indexes) {
      const member = new Member(domain, index);
      members.push(member);
      await member.ready();
    }
    return await Promise.all(members.map((member) => member.run(Math.max(200, RUN_MS * context.scale))));
  } finally {
    for (const member of members) await member.stop();
    await domain.stop();
  }
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export const crowd: Group = {
  name: "crowd",
  summary: "sixteen polling programs beside two",
  async measure(context) {
    const two = await crowdOf(context, SMALL_CROWD);
    const sixteen = await crowdOf(context, LARGE_CROWD);
    const least = Math.min(...sixteen) / (sum(sixteen) / LARGE_CROWD);
    const fair: Goal = { text: `≥ ${FAIR_PART} of an equal share`, isMet: (value) => value >= FAIR_PART };
    const figures: Figure[] = [
      {
        name: `8 B writes of ${LARGE_CROWD} polling programs`,
        value: sum(sixteen) / 1e6,
        unit: "M/s",
        reference: { name: `${SMALL_CROWD} programs`, value: sum(two) / 1e6 },
        goal: ratioAtLeast(0.75),
      },
      { name: "the slowest of them against an equal share", value: least, unit: "", goal: fair },
    ];
    return figures;
  },
};
