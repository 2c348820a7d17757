import assert from "node:assert/strict";
import { test } from "node:test";
import { HopHabit } from "./hop-habit.ts";

/** What a message found the engine do: nothing yet, hop at once, or hop after waiting; work comes after that. */
function message(habit: HopHabit, isElsewhere: boolean): "stayed" | "hopped at once" | "hopped late" | "rested" {
  habit.noteWork();
  if (habit.isEager) {
    habit.noteHop();
    if (isElsewhere) return "hopped at once";
    assert.equal(habit.shouldHop(), false, "no second hop without work between");
    return "rested";
  }
  if (!isElsewhere) return "stayed";
  if (!habit.shouldHop()) return "rested";
  habit.noteHop();
  return "hopped late";
}

/** A message to which nobody answers soon, wherever the engine is; true if the engine hopped. */
function unanswered(habit: HopHabit): boolean {
  habit.noteWork();
  const hops = habit.isEager || habit.shouldHop();
  if (hops) habit.noteHop();
  assert.equal(habit.shouldHop(), false);
  return hops;
}

test("where the other VM answers only once the engine has left its core, hopping at once becomes a habit", () => {
  const habit = new HopHabit();
  const seen = Array.from({ length: 200 }, () => message(habit, true));
  assert.deepEqual(seen.slice(0, 4), ["hopped late", "hopped late", "hopped late", "hopped late"]);
  const eager = seen.filter((what) => what === "hopped at once").length;
  assert.ok(eager > 180, `${eager} of 200`);
  assert.ok(!seen.includes("rested"));
});

test("the habit is given up soon where answers come without hopping", () => {
  const habit = new HopHabit();
  for (let i = 0; i < 50; i++) message(habit, true);
  const seen = Array.from({ length: 100 }, () => message(habit, false));
  assert.ok(
    seen.slice(20).every((what) => what === "stayed"),
    seen.join(),
  );
});

test("where nobody answers soon, trials become rare, and one that succeeds leads to the next", () => {
  const habit = new HopHabit();
  const hops = Array.from({ length: 2000 }, () => unanswered(habit)).filter((hopped) => hopped).length;
  assert.ok(hops > 5 && hops < 150, `${hops} of 2000`);
  for (let i = 0; i < 20; i++) message(habit, true);
  assert.equal(message(habit, true), "hopped at once");
});

test("one hop in vain does not end the habit, a few in a row do", () => {
  const habit = new HopHabit();
  for (let i = 0; i < 50; i++) message(habit, true);
  unanswered(habit);
  assert.equal(message(habit, true), "hopped at once");
  const hops = Array.from({ length: 10 }, () => unanswered(habit)).filter((hopped) => hopped).length;
  assert.ok(hops < 6, `${hops} of 10`);
});

test("whoever had to be interrupted is not waited for on another core, habit or not", () => {
  const habit = new HopHabit();
  for (let i = 0; i < 50; i++) message(habit, true);
  habit.noteWork();
  habit.noteInterrupt();
  assert.deepEqual([habit.isEager, habit.shouldHop()], [false, false]);
  assert.equal(message(habit, true), "hopped at once", "and the habit is still there");
});

test("without work the engine hops once, then rests", () => {
  const habit = new HopHabit();
  assert.equal(habit.isEager, false);
  assert.equal(habit.shouldHop(), true);
  habit.noteHop();
  for (let i = 0; i < 10; i++) assert.equal(habit.shouldHop(), false);
});
