// More programs than cores, all of them polling: does anybody starve, and how much gets done in all?

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import type { BenchContext, Group } from "../context.ts";
import type { MemberAnswer, MemberRequest } from "../crowd-member.ts";
import { Domain } from "../domain.ts";
import { type Figure, type Goal, ratioAtLeast } from "../figure.ts";
import { median } from "../statistics.ts";

const MEMBER = fileURLToPath(new URL("../crowd-member.ts", import.meta.url));
const RUN_MS = 700;
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
      const hasEnded = (): void => reject(new Error("a member of the crowd has ended"));
      const hear = (answer: MemberAnswer): void => {
        if (answer.kind !== kind) return;
        this.#child.off("exit", hasEnded).off("message", hear);
        resolve(answer as Extract<MemberAnswer, { kind: K }>);
      };
      this.#child.once("exit", hasEnded).on("message", hear);
    });
  }
}

/** A domain and the programs on it; it stands still but for its turns. */
class Crowd {
  readonly #domain: Domain;
  readonly #members: Member[] = [];

  private constructor(domain: Domain) {
    this.#domain = domain;
  }

  /** @param close gets what ends it, from the first process on */
  static async start(context: BenchContext, size: number, close: (() => Promise<void>)[]): Promise<Crowd> {
    context.show(`starting ${size} polling programs`);
    const indexes = Array.from({ length: size }, (_, i) => i + 1);
    const crowd = new Crowd(await Domain.start(indexes.flatMap((i) => [`a${i}`, `b${i}`])));
    close.push(() => crowd.#stop());
    for (const index of indexes) {
      const member = new Member(crowd.#domain, index);
      crowd.#members.push(member);
      await member.ready();
    }
    crowd.#domain.freeze();
    return crowd;
  }

  /** Writes per second of each program, all of them at once. */
  async run(ms: number): Promise<number[]> {
    this.#domain.thaw();
    const rates = await Promise.all(this.#members.map((member) => member.run(ms)));
    this.#domain.freeze();
    return rates;
  }

  async #stop(): Promise<void> {
    for (const member of this.#members) await member.stop();
    await this.#domain.stop();
  }
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** What the one that got least got of an equal share. */
const leastShare = (rates: readonly number[]): number => (Math.min(...rates) * rates.length) / sum(rates);

/** Writes per second of each program, in turns of one crowd and the other that followed each other. */
interface Round {
  readonly two: readonly number[];
  readonly sixteen: readonly number[];
}

const ratioOf = ({ two, sixteen }: Round): number => sum(sixteen) / sum(two);

/**
 * The round with the median ratio. Where the processors are at times threads of one core and at times cores, which makes three times as much of
 * both rates (decision 16), medians of all rounds would not belong together.
 */
function typical(rounds: readonly Round[]): Round {
  const ratio = median(rounds.map(ratioOf));
  const round = rounds.find((one) => ratioOf(one) === ratio);
  if (round === undefined) throw new Error("invariant: the median is one of them");
  return round;
}

function figuresOf(rounds: readonly Round[]): Figure[] {
  const { two, sixteen } = typical(rounds);
  const fair: Goal = { text: `≥ ${FAIR_PART} of an equal share`, isMet: (value) => value >= FAIR_PART };
  return [
    {
      name: `8 B writes of ${LARGE_CROWD} polling programs`,
      value: sum(sixteen) / 1e6,
      unit: "M/s",
      reference: { name: `${SMALL_CROWD} programs`, value: sum(two) / 1e6 },
      goal: ratioAtLeast(0.75),
    },
    {
      name: "the slowest of them against an equal share",
      value: median(rounds.map((round) => leastShare(round.sixteen))),
      unit: "",
      goal: fair,
    },
  ];
}

export const crowd: Group = {
  name: "crowd",
  summary: "sixteen polling programs beside two",
  async measure(context) {
    const close: (() => Promise<void>)[] = [];
    const ms = Math.max(200, RUN_MS * context.scale);
    try {
      const small = await Crowd.start(context, SMALL_CROWD, close);
      const large = await Crowd.start(context, LARGE_CROWD, close);
      const count = 2 * context.rounds + 1;
      const rounds: Round[] = [];
      for (let i = 1; i <= count; i++) {
        context.show(`polling programs, round ${i} of ${count}`);
        rounds.push({ two: await small.run(ms), sixteen: await large.run(ms) });
      }
      return figuresOf(rounds);
    } finally {
      for (const one of close.reverse()) await one();
    }
  },
};
