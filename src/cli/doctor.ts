// vhca doctor: what is there, what is missing, what will be used.

import type { Command } from "commander";
import { examineMachine, type FindingState } from "../lab/doctor.ts";
import { ExitCode, green, printJson, printLine, red, table, yellow } from "./output.ts";

const WORDS: Readonly<Record<FindingState, string>> = {
  ok: green("ok"),
  "will-fetch": green("will fetch"),
  limited: yellow("limited"),
  missing: red("missing"),
};

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .summary("say what this machine has, what is missing and what will be used")
    .description("Looks at what VMs with HCAs need here. Changes nothing and uses no network. Status 3 if VMs cannot run.")
    .option("--json", "print the findings as JSON")
    .action(async (options: { json?: boolean }) => {
      const findings = await examineMachine();
      if (options.json === true) printJson(findings);
      else {
        printLine(
          table(
            ["what", "state", "found"],
            findings.map((f) => [f.subject, WORDS[f.state], f.found]),
          ),
        );
        for (const { subject, mend } of findings) if (mend !== undefined) printLine(`\n${subject}: ${mend}`);
      }
      process.exitCode = findings.some((f) => f.state === "missing") ? ExitCode.LAB : ExitCode.OK;
    });
}
