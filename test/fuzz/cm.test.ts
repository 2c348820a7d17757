// The connection manager and a peer that lies, repeats itself, is silent or out of order. Whatever it says: nothing is thrown, each
// endpoint goes the ways of the state diagrams only (cm-oracle.ts), what is kept is bounded and is gone in the end, and an honest
// peer connects, exchanges data and disconnects meanwhile.

import type { Random } from "../../src/base/random.ts";
import { CmWorld } from "./cm-world.ts";
import { type Budget, fuzz } from "./kit.ts";

const ACTS = 60;
/** Messages sent at a time: QP1 has so many receives posted. */
const AT_ONCE = 8;
const FLOOD = 100;

fuzz("cm", async (random, budget) => {
  const world = await CmWorld.open(random, budget);
  try {
    await run(random, budget, world);
  } finally {
    world.abandon();
  }
});

async function run(random: Random, budget: Budget, world: CmWorld): Promise<void> {
  const { attacker, simulated } = world;
  const say = async (messages: readonly DataView[]): Promise<void> => {
    for (const [i, mad] of messages.entries()) {
      attacker.send(mad);
      if (i % AT_ONCE === AT_ONCE - 1) await simulated.elapse(1);
    }
    await simulated.elapse(1);
  };
  const acts: (() => void | Promise<void>)[] = [
    ...Array.from({ length: 11 }, () => () => say(attacker.speak())),
    ...Array.from({ length: 4 }, () => () => world.answerRequest()),
    () => world.connectToAttacker(),
    () => world.connectToAttacker(),
    () => world.disconnect(),
    () => simulated.elapse(1 + random.below(40)),
    () => simulated.elapse(100 + random.below(6000), 100),
    () => (random.chance(0.3) ? world.exchange() : undefined),
    () => (random.chance(0.1) ? say(attacker.flood(FLOOD)) : undefined),
    () => (random.chance(0.1) ? simulated.elapse(70_000, 500) : undefined),
  ];
  for (let i = 0; i < ACTS; i++) {
    budget.step();
    await random.pick(acts)();
    world.check();
  }
  await world.exchange();
  await world.end();
}
